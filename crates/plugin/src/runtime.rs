//! Running a plugin: a shim (our own binary again, single-threaded) creates the container, keeps
//! its log and its exit status, and outlives the engine.
//!
//! ```text
//! engine ── __shim RUN ──> shim (sub-reaper, logs) ── __shim --make RUN ──> maker (libcontainer, runc)
//!    ^── answer: pipe ───────┘  ^── becomes its parent when the maker ends ─── plugin <──┘
//! ```
//!
//! The maker is a process of its own so that the shim stays small: what a runtime needs of memory
//! is gone with it. Nothing here decides when to start, stop or restart.

mod builtin;
mod clean;
mod complaints;
mod containers;
mod entrypoint;
mod exec;
mod filter;
mod launch;
mod mounts;
mod program;
pub(crate) mod readable;
mod records;
mod shim;

use crate::id::PluginId;
use crate::logs::LogLimits;
use error::{Error, Result};
use host::cgroup::Cgroup;
use host::process::{Description, Identity};
use host::reaper::Handle;
use jiff::Timestamp;
use oci_spec::runtime::Spec;
use records::{Files, Order};
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// How long what was killed may take to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// SIGKILL.
const KILLED: i32 = 9;

/// Which program makes containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Runtime {
    /// Ourselves.
    #[default]
    BuiltIn,
    /// A program with runc's command line.
    Program(PathBuf),
}

/// A container to be started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Whose; also the container's ID.
    pub id: PluginId,
    /// Who makes the container.
    pub runtime: Runtime,
    /// The plugin's directory below `/run`: bundle, status and control files go here.
    pub run: PathBuf,
    /// The whole spec, with an absolute root path and a mount namespace.
    pub spec: Spec,
    /// Where output goes.
    pub log: PathBuf,
    /// How much of it is kept.
    pub log_limits: LogLimits,
    /// The program to run as shim, whose main function hands `__shim`, `__exec` and `__mounts` to
    /// [`shim`], [`exec`] and [`mounts`]; `None`: the calling program.
    pub shim: Option<PathBuf>,
}

/// How a plugin's main process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, unless it was killed.
    pub code: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// The kernel killed for want of memory in its cgroup.
    pub out_of_memory: bool,
    /// When.
    pub at: Timestamp,
}

/// A running plugin, seen from the engine.
#[derive(Debug)]
pub struct Instance {
    files: Files,
    order: Order,
    shim: Handle,
    init: Identity,
    /// `None` when it had ended already.
    init_handle: Option<Handle>,
    exit: OnceLock<Exit>,
}

impl Instance {
    /// Starts a shim and waits until the plugin's program runs. Every failure says why (the
    /// runtime's own words) and leaves nothing behind. Blocking.
    ///
    /// Already running → `FailedPrecondition`; a program that is missing, not executable or made
    /// for another machine → `FailedPrecondition`, before anything is started.
    pub fn launch(launch: &Launch) -> Result<Self> {
        launch::run(launch)
    }

    /// The instance that an earlier engine launched with this `run` directory, if its shim and its
    /// plugin still live (process IDs are verified by start time). Blocking.
    pub fn find(run: &Path) -> Result<Option<Self>> {
        let files = Files::new(run);
        let (Some(order), Some(status)) = (files.order()?, files.status()?) else {
            return Ok(None);
        };
        let Some(init) = status.init else { return Ok(None) };
        match (Handle::open(status.shim)?, Handle::open(init)?) {
            (Some(shim), Some(handle)) => {
                Ok(Some(Self::new(files, order, shim, init, Some(handle))))
            }
            _ => Ok(None),
        }
    }

    fn new(
        files: Files,
        order: Order,
        shim: Handle,
        init: Identity,
        init_handle: Option<Handle>,
    ) -> Self {
        Self { files, order, shim, init, init_handle, exit: OnceLock::new() }
    }

    /// Removes whatever an instance of `run` left: kills what lives (also when only the shim died),
    /// deletes the container and its cgroup. Mounts below the propagated mount are not its business.
    /// Blocking, idempotent.
    pub fn clean(run: &Path, id: &PluginId, runtime: &Runtime) -> Result<()> {
        clean::everything(&Files::new(run), id, runtime)
    }

    /// The plugin's main process, in the engine's PID namespace.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.init.pid
    }

    /// Its shim.
    #[must_use]
    pub fn shim_pid(&self) -> i32 {
        self.shim.identity().pid
    }

    /// Waits for the end of the plugin (or of its shim, which is as bad). What it left is removed
    /// by [`clean`](Self::clean).
    pub async fn ended(&self) -> Exit {
        while let Err(error) = self.shim_ended().await {
            // No descriptors left, for example.
            tracing::warn!(error = %error.chain(), "can't watch a plugin's shim, trying again");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.exit().clone()
    }

    async fn shim_ended(&self) -> Result<()> {
        readable::readable(self.shim.as_fd()).await?;
        host::reaper::reap_one(self.shim.identity().pid);
        Ok(())
    }

    /// How it ended, once its shim has. A shim that was killed could not tell: the plugin counts as
    /// killed.
    fn exit(&self) -> &Exit {
        self.exit.get_or_init(|| {
            self.files.exit().ok().flatten().unwrap_or_else(|| Exit {
                code: None,
                signal: Some(KILLED),
                out_of_memory: false,
                at: Timestamp::now(),
            })
        })
    }

    /// SIGTERM, then SIGKILL after `grace`; returns when it has ended. Not even killed within 10 s
    /// (it waits for a device or a server) → `DeadlineExceeded`.
    pub async fn stop(&self, grace: Duration) -> Result<Exit> {
        if let Some(init) = &self.init_handle {
            init.terminate()?;
        }
        if let Ok(exit) = tokio::time::timeout(grace, self.ended()).await {
            return Ok(exit);
        }
        if let Some(init) = &self.init_handle {
            init.kill()?;
        }
        let cgroup = self.order.cgroup.clone();
        let kill = move || Cgroup::at(&cgroup)?.kill();
        tokio::task::spawn_blocking(kill)
            .await
            .map_err(|error| Error::internal("kill a plugin").because(error))??;
        tokio::time::timeout(PATIENCE, self.ended())
            .await
            .map_err(|_| Error::deadline_exceeded("the plugin was killed but does not end"))
    }

    /// Its processes, by PID.
    pub fn processes(&self) -> Result<Vec<Process>> {
        let mut pids = Cgroup::at(&self.order.cgroup)?.members()?;
        if self.init.is_alive() {
            pids.insert(self.init.pid);
        }
        let describe = |pid| host::process::describe(pid).map(|about| Process::new(pid, about));
        Ok(pids.into_iter().filter_map(describe).collect())
    }

    /// Runs a command in it, as the plugin's own user; its exit code (128 + n when killed by signal
    /// n) and the first `limit` bytes of either output stream. Not done within 100 s →
    /// `DeadlineExceeded`, and it is killed. Blocking.
    pub fn exec(&self, command: Vec<String>, limit: usize) -> Result<(i32, Vec<u8>, Vec<u8>)> {
        exec::run(&self.files, &self.order, command, limit)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // A shim that has ended must not stay a zombie of the engine's.
        host::reaper::reap_one(self.shim.identity().pid);
    }
}

/// The entry of the shim and of its helper (`mobula __shim …`): before anything has started a
/// thread. Returns the exit code.
#[must_use]
pub fn shim(arguments: &[String]) -> i32 {
    host::reaper::reset_signals();
    match arguments {
        [run] => shim::main(Path::new(run)),
        [make, run] if make == shim::MAKE => shim::make(Path::new(run)),
        _ => 2,
    }
}

/// The entry of the hook that makes a plugin's mounts (`mobula __mounts …`): before anything has
/// started a thread. Returns the exit code.
#[must_use]
pub fn mounts(arguments: &[String]) -> i32 {
    host::reaper::reset_signals();
    match arguments {
        [run] => mounts::main(Path::new(run)),
        _ => 2,
    }
}

/// The entry of the helper that runs a command in a plugin (`mobula __exec …`): before anything
/// has started a thread. Returns the exit code.
#[must_use]
pub fn exec(arguments: &[String]) -> i32 {
    host::reaper::reset_signals();
    match arguments {
        [run, name] => exec::main(Path::new(run), name),
        _ => 2,
    }
}

/// One process of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// In the host's PID namespace.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// Effective user ID.
    pub uid: u32,
    /// Resident memory in bytes.
    pub memory: u64,
    /// Processor time used, in milliseconds.
    pub cpu: u64,
    /// The command line; the name in brackets when there is none.
    pub command: String,
}

impl Process {
    fn new(pid: i32, about: Description) -> Self {
        let Description { parent, uid, memory, cpu, command } = about;
        Self { pid, parent, uid, memory, cpu, command }
    }
}
