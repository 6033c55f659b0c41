//! Opening an engine: taking up the plugins that an earlier one left, whatever became of it.

use super::heard::Heard;
use super::slot::{Installed, Slot};
use super::sockets::Sockets;
use super::{Engine, Names, Options, State, blocking};
use crate::discovery::Discovery;
use crate::events::Events;
use crate::home::Home;
use crate::id::PluginId;
use crate::ledger::Ledger;
use crate::record::Record;
use crate::registry::Registry;
use crate::rootfs::Layers;
use crate::runtime::{Instance, Runtime};
use crate::store::Store;
use crate::volumes::Volumes;
use error::{IoContext, Result};
use host::lock::HomeLock;
use host::record::Read;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedMutexGuard, RwLock, watch};

/// How long an engine that is ending is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Appended to the directory of a plugin that is being removed.
pub(super) const REMOVING: &str = "-removing";

impl Engine {
    /// Opens the engine: one per home (file lock). Adopts the plugins that still run and starts the
    /// other enabled ones in the background; never fails because of a plugin.
    pub async fn open(options: Options) -> Result<Arc<Self>> {
        let engine = Arc::new(blocking(move || Self::read(options)).await?);
        for slot in engine.slots() {
            // Taken before anybody else can ask: until then the plugin's state is not known.
            let turn = Arc::clone(&slot.turn).lock_owned().await;
            let engine = Arc::clone(&engine);
            tokio::spawn(async move { engine.take_up(slot, turn).await });
        }
        engine.refresh_published();
        Ok(engine)
    }

    fn read(mut options: Options) -> Result<Self> {
        for dir in [&mut options.home.state, &mut options.home.run] {
            make_private(dir)?;
            // The kernel's mount table knows no links: paths are compared with what it says.
            *dir = dir.canonicalize().doing(|| format!("look up {}", dir.display()))?;
        }
        let home = &options.home;
        make_private(&home.plugins())?;
        let lock = HomeLock::acquire(&home.run.join("engine.lock"), LOCK_PATIENCE)?;
        let store = Store::open(&home.blobs())?;
        let layers = Layers::open(&home.layers())?;
        let (slots, unreadable) = read_plugins(home, &store)?;
        for dir in [home.run.clone(), home.run.join("mounts"), home.volumes()] {
            remove_temporaries(&dir);
        }
        let ledger = Ledger::open(&home.run.join("mounts"))?;
        let is_known = |id: &PluginId| {
            slots.contains_key(id) || unreadable.iter().any(|dir| dir.ends_with(id.as_str()))
        };
        remove_orphans(home, &options.runtime, &ledger, is_known);
        Ok(Self {
            store,
            layers,
            registry: Registry::new(options.registry.clone())?,
            ledger: Arc::new(ledger),
            volumes: Volumes::open(&home.volumes())?,
            discovery: Discovery { sockets: home.sockets.clone(), specs: home.specs.clone() },
            events: Events::default(),
            slots: std::sync::RwLock::new(slots),
            unreadable,
            names: Names::default(),
            collecting: RwLock::default(),
            published: watch::Sender::new(Arc::default()),
            publishing: std::sync::Mutex::default(),
            sockets: Sockets::open(home.run.join("published.json"), &home.sockets)?,
            heard: Heard::default(),
            options,
            _lock: lock,
        })
    }

    /// Brings one plugin from how it was found to how it is wanted.
    async fn take_up(self: Arc<Self>, slot: Arc<Slot>, turn: OwnedMutexGuard<()>) {
        let (home, ledger, id) =
            (slot.home.clone(), Arc::clone(&self.ledger), slot.record().id.clone());
        let found = blocking(move || {
            let found = Instance::find(&home.run)?;
            if let Some(instance) = &found {
                ledger.runs_as(&id, instance.pid())?;
            }
            ledger.rediscover(&id, &home.propagated())?;
            Ok(found)
        });
        let found = found.await.unwrap_or_else(|error| {
            tracing::warn!(plugin = %slot.name(), %error, "look for a running plugin");
            None
        });
        let enabled = slot.record().enabled;
        slot.set_status(|status| {
            status.instance = found.map(Arc::new);
            status.state = if enabled { State::Starting } else { State::Disabled };
        });
        if enabled {
            self.watch(&slot);
        } else {
            self.halt(&slot).await;
        }
        drop(turn);
    }
}

/// A directory only for root.
pub(super) fn make_private(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir).doing(|| format!("make {}", dir.display()))?;
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(dir, mode).doing(|| format!("protect {}", dir.display()))
}

/// The installed plugins, and the directories of those that cannot be read.
type Plugins = (BTreeMap<PluginId, Arc<Slot>>, Vec<PathBuf>);

fn read_plugins(home: &Home, store: &Store) -> Result<Plugins> {
    let dir = home.plugins();
    let entries = std::fs::read_dir(&dir).doing(|| format!("read {}", dir.display()))?;
    let (mut slots, mut unreadable) = (BTreeMap::new(), Vec::new());
    for entry in entries {
        let entry = entry.doing(|| format!("read {}", dir.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        match PluginId::parse(name.strip_suffix(REMOVING).unwrap_or(&name)) {
            Ok(id) if !name.ends_with(REMOVING) => match read_plugin(home, store, &id) {
                Ok(Some(slot)) => drop(slots.insert(id, slot)),
                Ok(None) if has_content(&entry.path()) => {
                    tracing::error!(%id, "a plugin without its record is left alone");
                    unreadable.push(entry.path());
                }
                Ok(None) => discard(&entry.path()),
                Err(error) => {
                    tracing::error!(%id, %error, "a plugin is left alone");
                    unreadable.push(entry.path());
                }
            },
            Ok(_) => discard(&entry.path()),
            Err(_) => tracing::warn!(%name, "is no plugin's directory; it is left alone"),
        }
    }
    Ok((slots, unreadable))
}

/// Whether there is more than what an interrupted installation leaves.
fn has_content(dir: &Path) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| !is_temporary(&entry.file_name().to_string_lossy()))
}

fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.contains(".tmp-")
}

/// Removes what interrupted writes left in `dir`; nobody writes there now.
pub(super) fn remove_temporaries(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if is_temporary(&entry.file_name().to_string_lossy())
            && let Err(error) = std::fs::remove_file(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "remove half a record");
        }
    }
}

/// `None`: its installation never ended.
fn read_plugin(home: &Home, store: &Store, id: &PluginId) -> Result<Option<Arc<Slot>>> {
    let home = home.plugin(id);
    match Record::read(&home)? {
        Read::Fine(record) => {
            let config = record.configuration(store);
            super::change::remove_old_changes(&home, record.generation);
            remove_temporaries(&home.state);
            Ok(Some(Slot::new(home, Installed::new(record, config))))
        }
        Read::Missing => Ok(None),
        Read::Unusable(error) => Err(error),
    }
}

/// Ends and removes what runs, or ran, of plugins that are not installed any more.
fn remove_orphans(
    home: &Home,
    runtime: &Runtime,
    ledger: &Ledger,
    is_known: impl Fn(&PluginId) -> bool,
) {
    for entry in std::fs::read_dir(home.run.join("plugins")).into_iter().flatten().flatten() {
        let Ok(id) = PluginId::parse(&entry.file_name().to_string_lossy()) else { continue };
        if is_known(&id) {
            continue;
        }
        let removed = Instance::clean(&entry.path(), &id, runtime)
            .and_then(|()| host::file::remove_tree(&entry.path()))
            .and_then(|_| ledger.clear(&id));
        if let Err(error) = removed {
            tracing::warn!(%id, %error, "remove what ran of a plugin that is gone");
        }
    }
}

/// Finishes a removal, or takes back an installation, that was interrupted.
pub(super) fn discard(dir: &Path) {
    let gone = host::mount::unmount_below(dir, true).and_then(|_| host::file::remove_tree(dir));
    if let Err(error) = gone {
        tracing::warn!(%error, "what is left of a plugin is removed at the next start");
    }
}
