//! What `mobula plugin init` puts into a new plugin: a small but whole volume plugin. A volume is a
//! directory below the propagated mount; mounting binds it to a place that the machine sees.
//!
//! ```text
//! /volumes/data/NAME ──bind──▶ /volumes/mnt/NAME ──propagates──▶ the machine
//! ```
//!
//! Read it, then write your own: nothing else of mobula depends on it.

use crate::listen::{Bound, Inherited, Listen};
use crate::rest::read_body;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use error::{Error, IoContext, Kind, Result};
use host::file::{Durability, write_atomic};
use host::linux::Linux;
use host::{MountRequest, Mounts, Ownership, What};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::signal::unix::{SignalKind, signal};

/// What `propagatedMount` of the sample's configuration says.
pub const ROOT: &str = "/volumes";
/// Where engines look for the socket of a plugin whose configuration says `plugin.sock`.
pub const SOCKET: &str = "/run/docker/plugins/plugin.sock";

/// Runs the plugin until SIGTERM.
pub fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime
        .doing(|| "start the plugin")
        .and_then(|runtime| runtime.block_on(serve(Path::new(SOCKET), Path::new(ROOT))));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.chain());
            ExitCode::FAILURE
        }
    }
}

/// Serves the plugin at `socket`; everything it keeps is below `root`.
async fn serve(socket: &Path, root: &Path) -> Result<()> {
    let plugin =
        Arc::new(Plugin::open(root, std::env::var("LOG_LEVEL").is_ok_and(|l| l == "debug"))?);
    let mut terminate = signal(SignalKind::terminate()).doing(|| "wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).doing(|| "wait for SIGINT")?;
    let bound = Bound::bind(&Listen::Unix(socket.into()), None, &mut Inherited::default()).await?;
    say(&format!("the sample plugin listens at {}", socket.display()));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let serving = tokio::spawn(bound.serve(router(plugin), stopped));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let _ = stop.send(true);
    let _ = serving.await;
    Ok(())
}

fn router(plugin: Arc<Plugin>) -> Router {
    Router::new().fallback(answer).with_state(plugin)
}

/// Standard error is the plugin's log. Nothing can be done when even that fails.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Any request of the protocol.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Call {
    name: String,
    #[serde(rename = "ID")]
    id: String,
}

async fn answer(State(plugin): State<Arc<Plugin>>, request: Request) -> Response {
    let method = request.uri().path().trim_start_matches('/').to_owned();
    let answered = match read_body(request.into_body()).await {
        Ok(body) => {
            let (plugin, method) = (Arc::clone(&plugin), method.clone());
            // Mounting blocks.
            let work = tokio::task::spawn_blocking(move || plugin.call(&method, &body)).await;
            work.unwrap_or_else(|_| Err(Error::internal("the call was given up")))
        }
        Err(error) => Err(error),
    };
    if plugin.verbose || answered.is_err() {
        let outcome = answered.as_ref().map_or_else(Error::chain, |_| "done".to_owned());
        say(&format!("{method}: {outcome}"));
    }
    // An error must be told by the status as well: Podman takes any 200 for success.
    let (status, body) = match answered {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => {
            let status = StatusCode::from_u16(error.kind().http());
            (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), json!({ "Err": error.chain() }))
        }
    };
    let kind = [(header::CONTENT_TYPE, "application/vnd.docker.plugins.v1.2+json")];
    (status, kind, body.to_string()).into_response()
}

/// Who has which volume mounted, by mount ID.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Ledger {
    format: u32,
    mounted: BTreeMap<String, BTreeSet<String>>,
}

struct Plugin {
    root: PathBuf,
    verbose: bool,
    ledger: Mutex<Ledger>,
    machine: Linux,
}

impl Plugin {
    /// Reads what an earlier run left. What is mounted no more, after a reboot, is nobody's.
    fn open(root: &Path, verbose: bool) -> Result<Self> {
        host::file::make_dir(&root.join("data"), 0o700)?;
        host::file::make_dir(&root.join("mnt"), 0o700)?;
        let mut ledger = read_ledger(&root.join("ledger.json"))?;
        let machine = Linux::default();
        for name in ledger.mounted.keys().cloned().collect::<Vec<_>>() {
            if machine.at(&root.join("mnt").join(&name))?.is_none() {
                ledger.mounted.remove(&name);
            }
        }
        Ok(Self { root: root.into(), verbose, ledger: Mutex::new(ledger), machine })
    }

    /// One call at a time.
    fn call(&self, method: &str, body: &[u8]) -> Result<Value> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        match method {
            "Plugin.Activate" => return Ok(json!({ "Implements": ["VolumeDriver"] })),
            "VolumeDriver.Capabilities" => {
                return Ok(json!({ "Capabilities": { "Scope": "local" } }));
            }
            "VolumeDriver.List" => return self.list(&ledger),
            _ => {}
        }
        let call: Call = serde_json::from_slice(body)
            .map_err(|source| Error::invalid_argument("the request is no JSON").because(source))?;
        check_name(&call.name)?;
        match method {
            "VolumeDriver.Create" => self.create(&call.name),
            "VolumeDriver.Get" => Ok(json!({ "Volume": self.volume(&ledger, &call.name)? })),
            "VolumeDriver.Path" => {
                let volume = self.volume(&ledger, &call.name)?;
                Ok(json!({ "Mountpoint": volume["Mountpoint"] }))
            }
            "VolumeDriver.Mount" => self.mount(&mut ledger, &call),
            "VolumeDriver.Unmount" => self.unmount(&mut ledger, &call),
            "VolumeDriver.Remove" => self.remove(&ledger, &call.name),
            other => Err(Error::unimplemented(format!("there is no method \"{other}\""))),
        }
    }

    fn data(&self, name: &str) -> PathBuf {
        self.root.join("data").join(name)
    }

    fn target(&self, name: &str) -> PathBuf {
        self.root.join("mnt").join(name)
    }

    fn create(&self, name: &str) -> Result<Value> {
        host::file::make_dir(&self.data(name), 0o755)?;
        Ok(json!({}))
    }

    fn volume(&self, ledger: &Ledger, name: &str) -> Result<Value> {
        if !self.data(name).is_dir() {
            return Err(Error::not_found(format!("there is no volume {name}")));
        }
        let mounted = ledger.mounted.contains_key(name);
        let target = if mounted { self.target(name).display().to_string() } else { String::new() };
        Ok(json!({ "Name": name, "Mountpoint": target, "Status": {} }))
    }

    fn list(&self, ledger: &Ledger) -> Result<Value> {
        let dir = self.root.join("data");
        let mut volumes = Vec::new();
        for entry in dir.read_dir().doing(|| format!("list {}", dir.display()))? {
            let entry = entry.doing(|| format!("list {}", dir.display()))?;
            if let Some(name) = entry.file_name().to_str().filter(|name| check_name(name).is_ok()) {
                volumes.push(self.volume(ledger, name)?);
            }
        }
        Ok(json!({ "Volumes": volumes }))
    }

    fn mount(&self, ledger: &mut Ledger, call: &Call) -> Result<Value> {
        self.volume(ledger, &call.name)?;
        let target = self.target(&call.name);
        if self.machine.at(&target)?.is_none() {
            self.machine.mount(&MountRequest {
                what: What::Directory(self.data(&call.name)),
                target: target.clone(),
                options: Vec::new(),
                read_only: false,
                subpath: None,
                ownership: Ownership::default(),
                drop_empty: Vec::new(),
            })?;
        }
        ledger.mounted.entry(call.name.clone()).or_default().insert(call.id.clone());
        self.save(ledger)?;
        Ok(json!({ "Mountpoint": target }))
    }

    /// The last one who has it mounted unmounts it. Nobody's mount: nothing is left to be done.
    fn unmount(&self, ledger: &mut Ledger, call: &Call) -> Result<Value> {
        let Some(users) = ledger.mounted.get_mut(&call.name) else { return Ok(json!({})) };
        users.remove(&call.id);
        if users.is_empty() {
            if let Err(error) = self.machine.unmount(&self.target(&call.name)) {
                users.insert(call.id.clone());
                return Err(error);
            }
            ledger.mounted.remove(&call.name);
        }
        self.save(ledger)?;
        Ok(json!({}))
    }

    fn remove(&self, ledger: &Ledger, name: &str) -> Result<Value> {
        if let Some(users) = ledger.mounted.get(name) {
            let users = users.iter().cloned().collect::<Vec<_>>().join(", ");
            return Err(Error::failed_precondition(format!("volume {name} is in use by {users}")));
        }
        if !self.data(name).is_dir() {
            return Err(Error::not_found(format!("there is no volume {name}")));
        }
        host::file::remove_tree(&self.data(name))?;
        Ok(json!({}))
    }

    fn save(&self, ledger: &Ledger) -> Result<()> {
        let json = serde_json::to_vec(ledger)
            .map_err(|source| Error::internal("encode the ledger").because(source))?;
        write_atomic(&self.root.join("ledger.json"), &json, Durability::Synced)
    }
}

/// The format of the ledger's file.
const FORMAT: u32 = 1;

fn read_ledger(path: &Path) -> Result<Ledger> {
    let Some(bytes) = host::file::read_optional(path)? else {
        return Ok(Ledger { format: FORMAT, ..Ledger::default() });
    };
    let ledger: Ledger = serde_json::from_slice(&bytes)
        .map_err(|source| Error::new(Kind::Internal, "the ledger is damaged").because(source))?;
    if ledger.format > FORMAT {
        return Err(Error::failed_precondition(format!(
            "{} was written by a newer version (format {})",
            path.display(),
            ledger.format
        )));
    }
    Ok(ledger)
}

/// Names become file names; an empty one is what a client sends that lost the request's body.
fn check_name(name: &str) -> Result<()> {
    let inner = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins_well && name.len() <= 200 && name.chars().all(inner) {
        return Ok(());
    }
    Err(Error::invalid_argument(format!(
        "\"{}\" is no volume name; use letters, digits, \".\", \"_\" and \"-\"",
        name.escape_debug().take(60).collect::<String>()
    )))
}

#[cfg(test)]
mod tests;
