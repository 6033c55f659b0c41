//! Calls that change something, above all mounts: verified, noted, and only then acknowledged.
//!
//! ```text
//! Mount ─▶ the plugin ─▶ verify ─▶ ledger ─▶ answer        Unmount ─▶ the plugin ─▶ ledger ─▶ answer
//!              │            └──────┴─ failed: taken back                   └─ failed: stays noted
//!              └─ failed: nothing was mounted, nothing is sent
//! ```

use super::Answer;
use super::request::Request;
use crate::id::PluginId;
use crate::ledger::{Holder, Ledger};
use crate::rpc::fields;
use crate::volumes::Driver;
use error::{Error, Result};
use futures_util::FutureExt;
use host::process::Identity;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// One call under way.
struct Change {
    driver: Driver,
    ledger: Ledger,
    request: Request,
    caller: Option<Identity>,
}

/// Answers a call that changes something. The work goes on when the caller is gone.
pub(super) async fn change(
    driver: &Driver,
    ledger: &Ledger,
    method: &str,
    body: &[u8],
    caller: Option<Identity>,
) -> Answer {
    let is_mount = matches!(method, "VolumeDriver.Mount" | "VolumeDriver.Unmount");
    let read = if is_mount { Request::read_mount(body) } else { Request::read(body) };
    let request = match read {
        Ok(request) => request,
        Err(error) => return Answer::failure(&error),
    };
    let id = if is_mount { request.id().to_owned() } else { String::new() };
    let plugin = driver.id.clone();
    let key = plugin.map(|plugin| (plugin, request.name().to_owned(), id));
    let change = Change { driver: driver.clone(), ledger: ledger.clone(), request, caller };
    let owned = method.to_owned();
    let work = async move { change.run(&owned).await.into() };
    let answer = match key {
        Some(key) => ledger.calls.run(key, method, work.boxed()).await,
        None => tokio::spawn(work).await.ok(),
    };
    answer.unwrap_or_else(|| {
        Answer::failure(&Error::internal(format!("{method} broke off inside the engine")))
    })
}

impl Change {
    async fn run(self, method: &str) -> Result<Value> {
        let Self { driver, request, .. } = &self;
        match (method, &driver.id) {
            ("VolumeDriver.Mount", Some(plugin)) => self.mount(plugin).await,
            ("VolumeDriver.Mount", None) => self.mount_legacy().await,
            ("VolumeDriver.Unmount", Some(plugin)) => self.unmount(plugin).await,
            ("VolumeDriver.Remove", Some(plugin)) => self.remove(plugin).await,
            ("VolumeDriver.Create", _) => request.clone().call(driver, method, driver.long).await,
            _ => request.clone().call(driver, method, driver.short).await,
        }
    }

    async fn mount(&self, plugin: &PluginId) -> Result<Value> {
        let mut answer = self.call_mount().await?;
        let inside = PathBuf::from(fields::text(&answer, "Mountpoint"));
        match self.note(plugin, inside).await {
            Ok(mountpoint) => {
                put_mountpoint(&mut answer, &mountpoint);
                Ok(answer)
            }
            Err(error) => {
                self.take_back(plugin).await;
                Err(error)
            }
        }
    }

    async fn mount_legacy(&self) -> Result<Value> {
        let mut answer = self.call_mount().await?;
        let path = self.driver.scope.on_host(Path::new(fields::text(&answer, "Mountpoint")))?;
        put_mountpoint(&mut answer, &path);
        Ok(answer)
    }

    async fn call_mount(&self) -> Result<Value> {
        let within = self.driver.long;
        self.request.clone().call(&self.driver, "VolumeDriver.Mount", within).await
    }

    /// Verifies what the plugin mounted, and notes it. The host path.
    async fn note(&self, plugin: &PluginId, inside: PathBuf) -> Result<PathBuf> {
        let host = self.driver.scope.on_host(&inside)?;
        let holder = Holder {
            volume: self.request.name().to_owned(),
            id: self.request.id().to_owned(),
            mountpoint: host.clone(),
            since: Timestamp::now(),
            caller: self.caller,
        };
        let (scope, pid) = (self.driver.scope.clone(), self.driver.pid);
        let (ledger, plugin) = (self.ledger.clone(), plugin.clone());
        let work = move || {
            scope.verify(pid, &inside, &host)?;
            if let Some(pid) = pid {
                ledger.runs_as(&plugin, pid)?;
            }
            ledger.add(&plugin, holder)?;
            Ok(host)
        };
        let noted = tokio::time::timeout(self.driver.short, tokio::task::spawn_blocking(work));
        let noted = noted.await.map_err(|_| {
            Error::deadline_exceeded("the mount could not be verified in time; does it hang?")
        })?;
        noted.map_err(|source| Error::internal("note a mount").because(source))?
    }

    /// A mount that nobody gets is given back, unless somebody has it under the same ID.
    async fn take_back(&self, plugin: &PluginId) {
        let (name, id) = (self.request.name(), self.request.id());
        if self.ledger.knows(plugin, name, id) {
            return;
        }
        let wish = json!({ "Name": name, "ID": id });
        let within = self.driver.short;
        if let Err(error) = self.driver.client.call("VolumeDriver.Unmount", &wish, within).await {
            tracing::warn!(driver = self.driver.name, volume = name, %error, "mount not taken back");
        }
    }

    /// An ID that nobody knows is passed on as well: the plugin may know better.
    async fn unmount(&self, plugin: &PluginId) -> Result<Value> {
        let within = self.driver.short;
        let answer =
            self.request.clone().call(&self.driver, "VolumeDriver.Unmount", within).await?;
        self.ledger.remove(plugin, self.request.name(), self.request.id())?;
        Ok(answer)
    }

    async fn remove(&self, plugin: &PluginId) -> Result<Value> {
        let within = self.driver.short;
        let answer = self.request.clone().call(&self.driver, "VolumeDriver.Remove", within).await?;
        self.ledger.remove_volume(plugin, self.request.name())?;
        Ok(answer)
    }
}

/// Puts a host path where the plugin's was.
pub(super) fn put_mountpoint(answer: &mut Value, path: &Path) {
    if let Some(mountpoint) = fields::get_mut(answer, "Mountpoint") {
        *mountpoint = path.to_string_lossy().into_owned().into();
    }
}
