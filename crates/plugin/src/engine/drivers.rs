//! Plugins as volume drivers, the volumes of all of them, and what published sockets answer.

use super::slot::Slot;
use super::{Engine, Protocol, Published, State, blocking, locked, names, outlive};
use crate::bridge::{self, Answer};
use crate::config::Mount;
use crate::id::PluginId;
use crate::rpc::{Address, Client, Stream};
use crate::runtime::Instance;
use crate::scope::Scope;
use crate::settings::Settings;
use crate::volumes::{Create, Driver, Drivers, Filter, Running, Volume};
use error::{Error, Kind, Result};
use futures_util::future::{BoxFuture, join_all};
use host::process::Identity;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a call waits for a plugin that is being (re)started.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a call that only looks may take.
pub(super) const SHORT: Duration = Duration::from_secs(60);

impl Engine {
    /// Volumes over all plugins.
    pub async fn volumes(&self, filter: &Filter) -> Result<(Vec<Volume>, Vec<String>)> {
        self.volumes.list(self, &self.ledger, filter).await
    }

    /// One volume.
    pub async fn volume(&self, name: &str) -> Result<Volume> {
        self.volumes.get(self, name).await
    }

    /// Makes a volume.
    pub async fn create_volume(self: &Arc<Self>, wish: Create) -> Result<Volume> {
        let engine = Arc::clone(self);
        outlive(async move {
            engine.await_driver(&wish.driver).await;
            let volume = engine.volumes.create(&*engine, wish).await?;
            let attributes = [("driver", volume.driver.as_str())];
            engine.events.publish("volume", "create", &volume.name, &attributes);
            Ok(volume)
        })
        .await
    }

    /// Removes a volume; in use → `FailedPrecondition`.
    pub async fn remove_volume(self: &Arc<Self>, name: &str, force: bool) -> Result<()> {
        let (engine, name) = (Arc::clone(self), name.to_owned());
        outlive(async move {
            engine.refuse_used_volume(&name).await?;
            let driver = engine.volumes.recorded_driver(&name).unwrap_or_default();
            engine.volumes.remove(&*engine, &name, force).await?;
            engine.events.publish("volume", "destroy", &name, &[("driver", &driver)]);
            Ok(())
        })
        .await
    }

    async fn refuse_used_volume(&self, name: &str) -> Result<()> {
        let (ledger, ids) = (Arc::clone(&self.ledger), self.ids());
        let volume = name.to_owned();
        let users = blocking(move || {
            let mut users = Vec::new();
            for id in ids {
                users.extend(ledger.users(&id, &volume)?);
            }
            Ok(users)
        });
        let users: Vec<_> = users.await?.into_iter().map(|holder| holder.id).collect();
        if users.is_empty() {
            return Ok(());
        }
        Err(Error::failed_precondition(format!(
            "remove {name}: volume is in use - [{}]",
            users.join(", ")
        )))
    }

    /// The sockets that should be there now: plugin name (as a driver) and path; changes are told
    /// by the watch. The front end binds them and hands every request to
    /// [`answer`](Self::answer).
    pub fn published(&self) -> watch::Receiver<Arc<Vec<Published>>> {
        self.published.subscribe()
    }

    /// Answers a request that came in at a published socket.
    pub async fn answer(
        &self,
        plugin: &PluginId,
        method: &str,
        body: &[u8],
        caller: Option<Identity>,
    ) -> Answer {
        let Some(slot) = self.find_id(plugin) else {
            return Answer::failure(&names::missing(plugin.as_str()));
        };
        if method == "Plugin.Activate" {
            return bridge::activation(&types(&slot));
        }
        match self.driver_of(&slot).await {
            Ok(driver) => bridge::answer(&driver, &self.ledger, method, body, caller).await,
            Err(error) => Answer::failure(&error),
        }
    }

    /// A connection to a plugin's own socket, for a client of its own protocol; waits for one that
    /// is being started.
    pub async fn connect(&self, plugin: &PluginId) -> Result<Box<dyn Stream>> {
        let slot = self.find_id(plugin).ok_or_else(|| names::missing(plugin.as_str()))?;
        self.driver_of(&slot).await?.client.connect().await
    }

    /// The text of a Podman drop-in for the published volume plugins.
    pub fn podman_configuration(&self) -> Result<String> {
        let published = self.published.borrow().clone();
        let plugins: Vec<_> = published
            .iter()
            .filter(|published| {
                let slot = self.find_id(&published.plugin);
                slot.is_some_and(|slot| is_volume_driver(&slot))
            })
            .map(|published| (published.name.clone(), published.path.clone()))
            .collect();
        bridge::podman_configuration(&plugins)
    }

    /// Tells the front end which sockets to serve.
    pub(super) fn refresh_published(&self) {
        // One at a time: an older list must not come after a newer one.
        let _alone = locked(&self.publishing);
        let published: Vec<_> = self
            .slots()
            .iter()
            .map(|slot| slot.installed())
            .filter(|installed| installed.record.enabled)
            .filter(|installed| installed.record.choices.publish.unwrap_or(self.options.publish))
            .map(|installed| {
                let record = &installed.record;
                let name = record.name.strip_suffix(":latest").unwrap_or(&record.name).to_owned();
                let path = self.options.home.sockets.join(format!("{name}.sock"));
                let protocol = Protocol::of(&installed.config_or_empty());
                Published { plugin: record.id.clone(), name, path, protocol }
            })
            .collect();
        self.sockets.note(published.iter().map(|published| published.path.clone()));
        self.published.send_if_modified(|now| {
            let changed = **now != published;
            *now = Arc::new(published);
            changed
        });
    }

    /// The running instance of a plugin.
    pub(super) fn running(&self, name: &str) -> Result<Arc<Instance>> {
        let slot = self.slot(name)?;
        slot.now().instance.ok_or_else(|| {
            Error::failed_precondition(format!("plugin {} does not run; enable it", slot.name()))
        })
    }

    /// A managed plugin as a driver; waits for one that is being started.
    async fn driver_of(&self, slot: &Arc<Slot>) -> Result<Driver> {
        let mut status = slot.status.subscribe();
        let name = slot.name();
        let runs =
            status.wait_for(|status| status.state == State::Running || !slot.record().enabled);
        match tokio::time::timeout(PATIENCE, runs).await {
            Ok(Ok(_)) if slot.record().enabled => {}
            Ok(_) => {
                return Err(Error::failed_precondition(format!(
                    "plugin {name} found but disabled"
                )));
            }
            Err(_) => {
                let problem = slot.now().problem.unwrap_or_else(|| "it is starting".to_owned());
                return Err(Error::unavailable(format!("plugin {name} does not run: {problem}")));
            }
        }
        let installed = slot.installed();
        let (record, config) = (&installed.record, installed.config()?);
        let settings = Settings::shown(&config, &record.overrides);
        Ok(Driver {
            name,
            id: Some(record.id.clone()),
            client: Client {
                address: Address::Own(slot.home.sockets().join(&config.interface.socket)),
            },
            scope: Scope::Managed {
                propagated: (PathBuf::from(&config.propagated_mount), slot.home.propagated()),
                binds: binds(&settings),
            },
            pid: slot.now().instance.map(|instance| instance.pid()),
            long: Duration::from_secs(record.choices.call_timeout),
            short: SHORT,
        })
    }
}

impl Drivers for Engine {
    fn driver<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<Driver>>> {
        Box::pin(async move {
            match self.slot(name) {
                Ok(slot) if is_volume_driver(&slot) => self.driver_of(&slot).await.map(Arc::new),
                Ok(slot) => Err(no_volume_driver(&slot)),
                Err(error) if error.kind() == Kind::NotFound => {
                    match self.legacy_plugin(name).await? {
                        Some(legacy) => self.legacy_driver(&legacy).await.map(Arc::new),
                        None => Err(error),
                    }
                }
                Err(error) => Err(error),
            }
        })
    }

    fn drivers(&self) -> BoxFuture<'_, Running> {
        Box::pin(async move {
            let slots: Vec<_> = self
                .slots()
                .into_iter()
                .filter(|slot| slot.now().state == State::Running && is_volume_driver(slot))
                .collect();
            let managed = join_all(slots.iter().map(|slot| self.driver_of(slot))).await;
            let (legacy, mut silent) = self.legacy_drivers().await;
            let mut drivers = Vec::new();
            for (slot, driver) in slots.iter().zip(managed) {
                match driver {
                    Ok(driver) => drivers.push(Arc::new(driver)),
                    Err(error) => silent.push((slot.name(), error)),
                }
            }
            drivers.extend(legacy.into_iter().map(Arc::new));
            Running { drivers, silent }
        })
    }
}

/// Directories of the host that the plugin was given: inside, and on the host.
fn binds(settings: &Settings) -> Vec<(PathBuf, PathBuf)> {
    let paths = |mount: &Mount| {
        let source = mount.source.as_deref().filter(|source| source.starts_with('/'))?;
        Some((PathBuf::from(&mount.destination), PathBuf::from(source)))
    };
    settings.mounts.iter().filter(|mount| mount.is_bind()).filter_map(paths).collect()
}

fn types(slot: &Slot) -> Vec<String> {
    let config = slot.installed().config_or_empty();
    config.interface.types.iter().map(ToString::to_string).collect()
}

fn is_volume_driver(slot: &Slot) -> bool {
    let config = slot.installed().config_or_empty();
    config.has_capability("volumedriver") && config.interface.takes_calls()
}

fn no_volume_driver(slot: &Slot) -> Error {
    let (name, config) = (slot.name(), slot.installed().config_or_empty());
    if !config.interface.takes_calls() {
        let scheme = &config.interface.protocol_scheme;
        return Error::failed_precondition(format!(
            "plugin {name} speaks {scheme}, which only its own clients do; its volumes can't be \
             asked for"
        ));
    }
    let types = types(slot).join(", ");
    Error::failed_precondition(format!("plugin {name} is no volume driver, its types are {types}"))
}
