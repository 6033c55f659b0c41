//! The engine: what front ends call. One operation at a time per plugin; every operation outlives
//! the client that asked for it.

mod change;
mod collect;
mod describe;
mod drivers;
mod heard;
mod install;
mod launch;
mod legacy;
mod names;
mod open;
mod protocol;
mod push;
mod ready;
mod running;
mod slot;
mod sockets;
mod sources;

pub use protocol::Protocol;

use crate::config::Config;
use crate::discovery::Discovery;
use crate::events::Events;
use crate::home::Home;
use crate::id::PluginId;
use crate::ledger::Ledger;
use crate::logs::{Follow, Line, LogLimits};
use crate::privileges::Privilege;
use crate::progress::Progress;
use crate::registry::{Auth, Found, Options as RegistryOptions, Registry};
use crate::rootfs::{Layers, Limits};
use crate::runtime::{Exit, Process, Runtime};
use crate::settings::Settings;
use crate::spec::Confinement;
use crate::store::Store;
use crate::volumes::Volumes;
use error::{Error, Result};
use heard::Heard;
use host::lock::HomeLock;
use jiff::Timestamp;
use names::Names;
use serde::{Deserialize, Serialize};
use slot::Slot;
use sockets::Sockets;
use std::collections::BTreeMap;
use std::future::Future;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;

/// How an engine is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where everything lives.
    pub home: Home,
    /// How registries are reached.
    pub registry: RegistryOptions,
    /// How much may come out of a plugin's layers.
    pub limits: Limits,
    /// Who makes containers.
    pub runtime: Runtime,
    /// Output kept per plugin.
    pub log: LogLimits,
    /// How long a plugin may take to accept connections when nothing else is said.
    pub start_timeout: Duration,
    /// How long a plugin may take to end after SIGTERM when nothing else is said.
    pub stop_timeout: Duration,
    /// Starts in a row that may fail before a plugin is left alone for a minute at a time.
    pub restarts: u32,
    /// Whether enabled plugins get a socket in [`Home::sockets`] when nothing else is said.
    pub publish: bool,
}

/// What an operator may choose per plugin; kept over upgrades.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Choices {
    /// How far it is confined.
    pub confinement: Confinement,
    /// Seconds to accept connections; `None`: the engine's.
    pub start_timeout: Option<u64>,
    /// Seconds to end after SIGTERM; `None`: the engine's.
    pub stop_timeout: Option<u64>,
    /// Seconds that a Create or Mount may take.
    pub call_timeout: u64,
    /// Whether it gets a socket; `None`: as the engine does.
    pub publish: Option<bool>,
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            confinement: Confinement::default(),
            start_timeout: None,
            stop_timeout: None,
            call_timeout: 120,
            publish: None,
        }
    }
}

/// The longest time that may be chosen, in seconds: a week.
const LONGEST: u64 = 7 * 24 * 3600;

impl Choices {
    /// `OutOfRange` for times that nobody could mean.
    fn check(&self) -> Result<()> {
        let times = [self.start_timeout, self.stop_timeout, Some(self.call_timeout)];
        match times.into_iter().flatten().find(|time| *time == 0 || *time > LONGEST) {
            None => Ok(()),
            Some(time) => Err(Error::out_of_range(format!(
                "a time of {time} s cannot be chosen; give 1 to {LONGEST} seconds"
            ))),
        }
    }
}

/// A plugin in Docker's API (`GET /plugins`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plugin {
    /// Its configuration.
    #[serde(rename = "Config")]
    pub config: Arc<Config>,
    /// Whether it is wanted to run.
    #[serde(rename = "Enabled")]
    pub enabled: bool,
    /// Its identity.
    #[serde(rename = "Id")]
    pub id: PluginId,
    /// `name:tag`.
    #[serde(rename = "Name")]
    pub name: String,
    /// Where it came from, in full.
    #[serde(rename = "PluginReference")]
    pub reference: String,
    /// What its user set, secrets redacted.
    #[serde(rename = "Settings")]
    pub settings: Settings,
}

/// How a plugin really is, beside what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not wanted to run, and does not.
    Disabled,
    /// Being started, or waiting for the next attempt.
    Starting,
    /// Accepts connections.
    Running,
    /// Wanted to run; the last attempt failed, the next one comes later.
    Failing,
}

/// What Docker's API has no room for (`GET /mobula/plugins/{name}`), for managed and legacy ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// `managed` or `legacy`.
    pub kind: String,
    /// `name:tag`, or the file name of a legacy one.
    pub name: String,
    /// Identity of a managed one.
    pub id: Option<String>,
    /// The configuration's description.
    pub description: String,
    /// Interface types (`docker.volumedriver/1.0`).
    pub types: Vec<String>,
    /// Wanted to run.
    pub enabled: bool,
    /// How it is.
    pub state: State,
    /// Where it came from, in full.
    pub reference: String,
    /// The manifest's digest.
    pub digest: Option<String>,
    /// Main process.
    pub pid: Option<i32>,
    /// Since when it runs.
    pub started: Option<Timestamp>,
    /// Starts after it was enabled that nobody asked for.
    pub restarts: u32,
    /// How it ended last.
    pub last_exit: Option<Exit>,
    /// Why it does not run.
    pub problem: Option<String>,
    /// Where its socket is published, or the legacy plugin's address.
    pub socket: Option<String>,
    /// What is mounted on whose behalf: `volume (mount ID)`.
    pub in_use: Vec<String>,
    /// Its propagated mount on the host.
    pub propagated_mount: Option<PathBuf>,
    /// Operator's choices.
    pub choices: Option<Choices>,
    /// What it was granted.
    pub privileges: Vec<Privilege>,
}

/// Which plugins to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginFilter {
    /// Only (not) enabled ones.
    pub enabled: Option<bool>,
    /// Only those with one of these capabilities (`volumedriver`).
    pub capabilities: Vec<String>,
}

/// A plugin to be installed from a registry.
#[derive(Debug, Clone)]
pub struct Pull {
    /// Where from.
    pub remote: String,
    /// Under which name; empty: the remote's.
    pub name: String,
    /// What its user grants.
    pub privileges: Vec<Privilege>,
    /// Who asks the registry; `None`: look into the Docker configuration.
    pub auth: Option<Auth>,
}

/// A command's result inside a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executed {
    /// Its exit code; 128 + n when killed by signal n.
    pub code: i32,
    /// The first MiB of its standard output.
    pub stdout: String,
    /// The first MiB of its standard error.
    pub stderr: String,
}

/// A socket to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Whose.
    pub plugin: PluginId,
    /// The name by which engines know the driver: the plugin's name without `:latest`.
    pub name: String,
    /// Where: `/run/docker/plugins/<name>.sock`.
    pub path: PathBuf,
    /// What is spoken there.
    pub protocol: Protocol,
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    options: Options,
    store: Store,
    layers: Layers,
    registry: Registry,
    ledger: Arc<Ledger>,
    volumes: Volumes,
    discovery: Discovery,
    events: Events,
    slots: RwLock<BTreeMap<PluginId, Arc<Slot>>>,
    /// Directories of plugins whose records cannot be read: what they need is not known.
    unreadable: Vec<PathBuf>,
    /// Names of what is being installed.
    names: Names,
    /// Held for writing while garbage is collected, so that nothing is taken away that is about to
    /// be installed.
    collecting: tokio::sync::RwLock<()>,
    published: watch::Sender<Arc<Vec<Published>>>,
    /// Held while the list is made.
    publishing: Mutex<()>,
    sockets: Sockets,
    heard: Heard,
    _lock: HomeLock,
}

impl Engine {
    /// Ends the engine; plugins go on running.
    pub async fn close(&self) {
        for slot in self.slots() {
            slot.unwatch().await;
        }
        self.published.send_replace(Arc::default());
    }

    /// Events past and to come.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// The installed plugins, by name.
    pub fn list(&self, filter: &PluginFilter) -> Vec<Plugin> {
        let slots = self.slots();
        let mut plugins: Vec<_> = slots.iter().map(|slot| describe::plugin(slot)).collect();
        plugins.retain(|plugin| filter.admits(plugin));
        plugins.sort_by(|one, other| one.name.cmp(&other.name));
        plugins
    }

    /// One plugin by `name`, `name:tag`, full reference, ID or unique prefix of it. `NotFound`:
    /// `plugin "x" not found`; ambiguous prefix: `InvalidArgument`.
    pub fn get(&self, name: &str) -> Result<Plugin> {
        self.slot(name).map(|slot| describe::plugin(&slot))
    }

    /// What the plugin at `remote` asks for.
    pub async fn privileges(
        self: &Arc<Self>,
        remote: &str,
        auth: Option<Auth>,
    ) -> Result<Vec<Privilege>> {
        outlive(Arc::clone(self).privileges_now(remote.to_owned(), auth)).await
    }

    /// Installs from a registry, disabled. Its name.
    pub async fn pull(self: &Arc<Self>, pull: Pull, progress: Arc<dyn Progress>) -> Result<String> {
        outlive(Arc::clone(self).pull_now(pull, progress)).await
    }

    /// Installs from a create context (tar), disabled.
    pub async fn create(self: &Arc<Self>, name: &str, tar: Box<dyn Read + Send>) -> Result<()> {
        outlive(Arc::clone(self).create_now(name.to_owned(), tar)).await
    }

    /// Replaces a plugin by what `remote` has; same ID, name, data and settings. Lines about
    /// settings that could not be carried over go to `progress`. An enabled one is
    /// `FailedPrecondition` unless `drain`: then it is stopped for the moment of the exchange,
    /// what it has mounted stays, and the version before comes back if the new one does not start.
    pub async fn upgrade(
        self: &Arc<Self>,
        name: &str,
        pull: Pull,
        drain: bool,
        progress: Arc<dyn Progress>,
    ) -> Result<()> {
        let slot = self.slot(name)?;
        outlive(Arc::clone(self).upgrade_now(slot, pull, drain, progress)).await
    }

    /// Pushes to the registry that its name says.
    pub async fn push(
        self: &Arc<Self>,
        name: &str,
        auth: Option<Auth>,
        progress: Arc<dyn Progress>,
    ) -> Result<()> {
        let slot = self.slot(name)?;
        outlive(Arc::clone(self).push_now(slot, auth, progress)).await
    }

    /// Writes a plugin as an OCI archive.
    pub async fn save(self: &Arc<Self>, name: &str, to: Box<dyn Write + Send>) -> Result<()> {
        let slot = self.slot(name)?;
        outlive(Arc::clone(self).save_now(slot, to)).await
    }

    /// Installs the plugins of an OCI archive, disabled; `privileges: None` answers
    /// `PermissionDenied` with nothing installed unless they ask for none. Their names. `name`
    /// renames a single one.
    pub async fn load(
        self: &Arc<Self>,
        from: Box<dyn Read + Send>,
        name: Option<String>,
        privileges: Option<Vec<Privilege>>,
    ) -> Result<Vec<String>> {
        outlive(Arc::clone(self).load_now(from, name, privileges)).await
    }

    /// Starts a plugin and waits until it accepts connections. `within`: as long as this; `None`:
    /// as configured.
    pub async fn enable(self: &Arc<Self>, name: &str, within: Option<Duration>) -> Result<()> {
        let slot = self.slot(name)?;
        outlive(Arc::clone(self).enable_now(slot, within)).await
    }

    /// Stops a plugin. In use → `FailedPrecondition` naming the mounts, unless `force`.
    pub async fn disable(self: &Arc<Self>, name: &str, force: bool) -> Result<()> {
        let slot = self.slot(name)?;
        outlive(Arc::clone(self).disable_now(slot, force)).await
    }

    /// Removes a plugin and its data. Enabled or in use → `FailedPrecondition`, unless `force`.
    pub async fn remove(self: &Arc<Self>, name: &str, force: bool) -> Result<()> {
        let slot = self.slot(name)?;
        outlive(Arc::clone(self).remove_now(slot, force)).await
    }

    /// Applies `KEY=VALUE` settings, all or none. Enabled → `FailedPrecondition`.
    pub async fn set(self: &Arc<Self>, name: &str, items: &[String]) -> Result<()> {
        let slot = self.slot(name)?;
        outlive(Arc::clone(self).set_now(slot, items.to_vec())).await
    }

    /// Changes the operator's choices; in effect from the next start on.
    pub async fn choose(self: &Arc<Self>, name: &str, choices: Choices) -> Result<()> {
        let slot = self.slot(name)?;
        outlive(Arc::clone(self).choose_now(slot, choices)).await
    }

    /// The last lines of a plugin's output.
    pub async fn logs(
        &self,
        name: &str,
        count: usize,
        since: Option<Timestamp>,
    ) -> Result<Vec<Line>> {
        let log = self.slot(name)?.home.log();
        blocking(move || crate::logs::tail(&log, count, since)).await
    }

    /// The plugin's output from now on.
    pub fn follow(&self, name: &str) -> Result<Follow> {
        Follow::new(&self.slot(name)?.home.log())
    }

    /// A plugin's processes.
    pub async fn top(&self, name: &str) -> Result<Vec<Process>> {
        let instance = self.running(name)?;
        blocking(move || instance.processes()).await
    }

    /// Runs a command inside a plugin.
    pub async fn exec(&self, name: &str, command: Vec<String>) -> Result<Executed> {
        let instance = self.running(name)?;
        blocking(move || {
            let (code, stdout, stderr) = instance.exec(command, OUTPUT)?;
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            Ok(Executed { code, stdout: text(stdout), stderr: text(stderr) })
        })
        .await
    }

    /// Searches a registry.
    pub async fn search(&self, term: &str, limit: usize) -> Result<Vec<Found>> {
        self.registry.search(term, limit).await
    }
}

/// What is kept of each output stream of a command, in bytes.
const OUTPUT: usize = 1 << 20;

impl PluginFilter {
    fn admits(&self, plugin: &Plugin) -> bool {
        let capabilities = &self.capabilities;
        self.enabled.is_none_or(|enabled| enabled == plugin.enabled)
            && (capabilities.is_empty()
                || capabilities.iter().any(|wanted| plugin.config.has_capability(wanted)))
    }
}

/// Runs file and kernel work on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|failure| Err(lost(failure)))
}

/// Runs an operation to its end, whatever becomes of who asked for it.
async fn outlive<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|failure| Err(lost(failure)))
}

fn lost(failure: tokio::task::JoinError) -> Error {
    Error::internal("an operation ended before its time").because(failure)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
