//! One installed plugin in memory: its record, how it really is, and whose turn it is to change it.

use super::State;
use crate::config::Config;
use crate::home::PluginHome;
use crate::record::Record;
use crate::runtime::{Exit, Instance};
use error::{Error, Result};
use jiff::Timestamp;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// How a plugin is now.
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) state: State,
    pub(super) instance: Option<Arc<Instance>>,
    pub(super) started: Option<Timestamp>,
    pub(super) restarts: u32,
    pub(super) last_exit: Option<Exit>,
    pub(super) problem: Option<String>,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            state: State::Disabled,
            instance: None,
            started: None,
            restarts: 0,
            last_exit: None,
            problem: None,
        }
    }
}

impl Status {
    /// No call goes to this run any more.
    pub(super) fn leave_running(&mut self) {
        if self.state == State::Running {
            self.state = State::Starting;
        }
    }
}

/// What a plugin is, by its record.
#[derive(Debug, Clone)]
pub(super) struct Installed {
    pub(super) record: Arc<Record>,
    /// Why the configuration can't be read, if so.
    pub(super) config: Result<Arc<Config>, Arc<Error>>,
}

impl Installed {
    pub(super) fn new(record: Record, config: Result<Config>) -> Self {
        Self { record: Arc::new(record), config: config.map(Arc::new).map_err(Arc::new) }
    }

    /// The configuration; an empty one when it can't be read.
    pub(super) fn config_or_empty(&self) -> Arc<Config> {
        self.config.clone().unwrap_or_default()
    }

    /// The configuration, or why there is none.
    pub(super) fn config(&self) -> Result<Arc<Config>> {
        self.config.clone().map_err(|error| {
            Error::failed_precondition(format!(
                "the configuration of plugin {} cannot be read; upgrade or remove it",
                self.record.name
            ))
            .because(error.chain())
        })
    }
}

/// The task that looks after an enabled plugin.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) stop: oneshot::Sender<()>,
    pub(super) task: JoinHandle<()>,
}

/// One installed plugin.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) home: PluginHome,
    /// One operation at a time; held while the plugin is changed.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    pub(super) status: watch::Sender<Status>,
    installed: RwLock<Installed>,
    supervisor: Mutex<Option<Supervisor>>,
}

impl Slot {
    pub(super) fn new(home: PluginHome, installed: Installed) -> Arc<Self> {
        Arc::new(Self {
            home,
            turn: Arc::default(),
            status: watch::Sender::new(Status::default()),
            installed: RwLock::new(installed),
            supervisor: Mutex::default(),
        })
    }

    pub(super) fn installed(&self) -> Installed {
        self.installed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn record(&self) -> Arc<Record> {
        Arc::clone(&self.installed.read().unwrap_or_else(PoisonError::into_inner).record)
    }

    pub(super) fn name(&self) -> String {
        self.record().name.clone()
    }

    /// Replaces what is installed, on disk first.
    pub(super) fn install(&self, installed: Installed) -> Result<()> {
        installed.record.write(&self.home)?;
        *self.installed.write().unwrap_or_else(PoisonError::into_inner) = installed;
        Ok(())
    }

    /// Changes the record, on disk first. Blocking.
    pub(super) fn update(&self, change: impl FnOnce(&mut Record)) -> Result<()> {
        let mut installed = self.installed();
        change(Arc::make_mut(&mut installed.record));
        self.install(installed)
    }

    pub(super) fn now(&self) -> Status {
        self.status.borrow().clone()
    }

    pub(super) fn set_status(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(change);
    }

    pub(super) fn supervisor(&self) -> MutexGuard<'_, Option<Supervisor>> {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the supervision; the plugin goes on as it is.
    pub(super) async fn unwatch(&self) {
        let supervisor = self.supervisor().take();
        if let Some(Supervisor { stop, task }) = supervisor {
            // It may have ended by itself.
            let _ = stop.send(());
            let _ = task.await;
        }
    }
}
