//! What lies in a plugin's run directory: the order to its shim, who its processes are, how it
//! ended. All of it means nothing after a reboot.
//!
//! ```text
//! run/order.json      engine → shim    what to start
//! run/mounts.json     engine → hook    what libcontainer must not mount
//! run/filter          engine → maker   the system call filter, as the kernel takes it
//! run/bundle/         engine → runtime
//! run/status.json     shim → engine    who runs; without `init` while it is starting
//! run/containers/     runtime          its state
//! run/pid, made.json, mounting.json, runtime.log  runtime → shim: the process, or why there is none
//! run/exit.json       shim → engine    how it ended
//! ```

use super::mounts::Mounts;
use super::{Exit, Runtime};
use crate::id::PluginId;
use crate::logs::LogLimits;
use error::{Error, Kind, Result};
use host::file::Durability;
use host::process::Identity;
use host::record::{self, Read};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What the shim is to start, beside the bundle.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) id: PluginId,
    pub(super) runtime: Runtime,
    /// The program whose helpers these are; `None`: the engine's own.
    pub(super) shim: Option<PathBuf>,
    pub(super) log: PathBuf,
    pub(super) log_limits: LogLimits,
    /// The control group, below the root of each hierarchy.
    pub(super) cgroup: PathBuf,
    /// Whom the output pipes belong to, so that the plugin may open `/dev/stdout`.
    pub(super) uid: u32,
}

/// Who runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Status {
    pub(super) boot: String,
    pub(super) shim: Identity,
    pub(super) init: Option<Identity>,
}

/// A failure on its way from one process to another.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    kind: Kind,
    message: String,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self { kind: error.kind(), message: error.chain() }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::new(failure.kind, failure.message)
    }
}

/// The run directory of one plugin.
#[derive(Debug, Clone)]
pub(super) struct Files(PathBuf);

impl Files {
    pub(super) fn new(run: &Path) -> Self {
        Self(run.to_owned())
    }

    pub(super) fn run(&self) -> &Path {
        &self.0
    }

    pub(super) fn bundle(&self) -> PathBuf {
        self.0.join("bundle")
    }

    pub(super) fn containers(&self) -> PathBuf {
        self.0.join("containers")
    }

    pub(super) fn pid(&self) -> PathBuf {
        self.0.join("pid")
    }

    /// What the runtime complains about.
    pub(super) fn runtime_log(&self) -> PathBuf {
        self.0.join("runtime.log")
    }

    fn filter_file(&self) -> PathBuf {
        self.0.join("filter")
    }

    /// The system call filter that we set ourselves.
    pub(super) fn filter(&self) -> Result<Option<Vec<u8>>> {
        host::file::read_optional(&self.filter_file())
    }

    pub(super) fn write_filter(&self, program: &[u8]) -> Result<()> {
        host::file::write_atomic(&self.filter_file(), program, Durability::Volatile)
    }

    fn path(&self, record: &str) -> PathBuf {
        self.0.join(format!("{record}.json"))
    }

    pub(super) fn order(&self) -> Result<Option<Order>> {
        read(&self.path("order"))
    }

    pub(super) fn write_order(&self, order: &Order) -> Result<()> {
        write(&self.path("order"), order)
    }

    /// What is to be mounted by ourselves.
    pub(super) fn mounts(&self) -> Result<Option<Mounts>> {
        read(&self.path("mounts"))
    }

    pub(super) fn write_mounts(&self, mounts: &Mounts) -> Result<()> {
        write(&self.path("mounts"), mounts)
    }

    /// `None` also for what an earlier boot left.
    pub(super) fn status(&self) -> Result<Option<Status>> {
        let status: Option<Status> = read(&self.path("status"))?;
        let Some(status) = status else { return Ok(None) };
        Ok((status.boot == host::process::boot_id()?).then_some(status))
    }

    pub(super) fn write_status(&self, shim: Identity, init: Option<Identity>) -> Result<()> {
        let status = Status { boot: host::process::boot_id()?, shim, init };
        write(&self.path("status"), &status)
    }

    pub(super) fn exit(&self) -> Result<Option<Exit>> {
        read(&self.path("exit"))
    }

    pub(super) fn write_exit(&self, exit: &Exit) -> Result<()> {
        write(&self.path("exit"), exit)
    }

    /// Why a helper could not do what it was to do.
    pub(super) fn failure(&self, of: &str) -> Result<Option<Error>> {
        let failure: Option<Failure> = read(&self.path(of))?;
        Ok(failure.map(Error::from))
    }

    pub(super) fn write_failure(&self, of: &str, error: &Error) -> Result<()> {
        write(&self.path(of), &Failure::from(error))
    }

    /// Removes everything that was named above, and nothing else of the directory.
    pub(super) fn remove(&self) -> Result<()> {
        for name in ["bundle", "containers"] {
            host::file::remove_tree(&self.0.join(name))?;
        }
        let records = ["order", "mounts", "mounting", "status", "exit", "made"]
            .map(|record| self.path(record));
        for path in records.into_iter().chain([self.pid(), self.runtime_log(), self.filter_file()])
        {
            record::remove(&path)?;
        }
        self.remove_half_written()
    }

    /// What a kill left of a write; nobody writes now.
    fn remove_half_written(&self) -> Result<()> {
        for entry in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.contains(".tmp-") {
                record::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Of this boot only, so nothing waits for the disk.
fn write<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    record::write(path, value, Durability::Volatile)
}

/// One line of JSON, without its newline.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::internal("write a record as JSON").because(error))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match record::read(path)? {
        Read::Fine(value) => Ok(Some(value)),
        Read::Missing => Ok(None),
        Read::Unusable(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_a_newer_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        assert!(files.exit().unwrap().is_none());
        std::fs::write(dir.path().join("exit.json"), r#"{"version":2,"other":1}"#).unwrap();
        let error = files.exit().unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
    }

    #[test]
    fn the_status_of_an_earlier_boot_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        let own = Identity::own().unwrap();
        files.write_status(own, Some(own)).unwrap();
        assert_eq!(files.status().unwrap().unwrap().init, Some(own));
        let text = std::fs::read_to_string(dir.path().join("status.json")).unwrap();
        let other = text.replace(&host::process::boot_id().unwrap(), "another");
        std::fs::write(dir.path().join("status.json"), other).unwrap();
        assert!(files.status().unwrap().is_none());
    }

    #[test]
    fn only_what_is_ours_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        std::fs::create_dir_all(files.bundle().join("below")).unwrap();
        std::fs::create_dir(dir.path().join("sockets")).unwrap();
        files.write_failure("made", &Error::not_found("x")).unwrap();
        std::fs::write(dir.path().join(".exit.json.tmp-1-0"), "{").unwrap();
        files.remove().unwrap();
        files.remove().unwrap();
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1);
    }
}
