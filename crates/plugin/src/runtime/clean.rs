//! Removing what an instance left, whoever of engine, shim and plugin died first.

use super::records::{Files, Order, Status};
use super::{PATIENCE, Runtime, containers};
use crate::id::PluginId;
use crate::logs::LogLimits;
use error::{Error, Result};
use host::cgroup::Cgroup;
use host::process::Identity;
use host::reaper::{Handle, reap_one};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The control group of a plugin whose spec names none.
pub(super) fn default_cgroup(id: &PluginId) -> PathBuf {
    Path::new("/mobula").join(id.as_str())
}

/// Ends and removes everything of the instance.
pub(super) fn everything(files: &Files, id: &PluginId, runtime: &Runtime) -> Result<()> {
    // A damaged record must not keep a plugin from ever being started again.
    if let Some(status) = files.status().unwrap_or_else(damaged) {
        end(&status)?;
    }
    let order = files.order().unwrap_or_else(damaged).unwrap_or_else(|| Order {
        id: id.clone(),
        runtime: runtime.clone(),
        shim: None,
        log: PathBuf::new(),
        log_limits: LogLimits::default(),
        cgroup: default_cgroup(id),
        uid: 0,
    });
    container(&order, files)?;
    files.remove()
}

#[expect(clippy::needless_pass_by_value, reason = "as unwrap_or_else hands it over")]
fn damaged<T>(error: Error) -> Option<T> {
    tracing::warn!(%error, "a record of a running plugin is damaged; its control group tells the rest");
    None
}

/// Ends the processes: first the shim, which would do the same at the same time.
fn end(status: &Status) -> Result<()> {
    if let Some(shim) = Handle::open(status.shim)? {
        // One that is still starting undoes it by itself, since nobody reads its answer.
        if status.init.is_none() {
            shim.wait(Instant::now() + PATIENCE)?;
        }
        kill(&shim)?;
    }
    reap_one(status.shim.pid);
    status.init.map_or(Ok(()), kill_init)
}

fn kill_init(init: Identity) -> Result<()> {
    if let Some(init) = Handle::open(init)? {
        kill(&init)?;
    }
    // Without its shim it may have become a child of ours.
    reap_one(init.pid);
    Ok(())
}

fn kill(process: &Handle) -> Result<()> {
    process.kill()?;
    if process.wait(Instant::now() + PATIENCE)? {
        return Ok(());
    }
    Err(Error::deadline_exceeded(format!(
        "process {} was killed but does not end; it waits for a device or a server",
        process.identity().pid
    )))
}

/// Kills what is left in the control group and removes it and the container.
pub(super) fn container(order: &Order, files: &Files) -> Result<()> {
    let cgroup = Cgroup::at(&order.cgroup)?;
    cgroup.kill()?;
    containers::of(order, files).delete()?;
    cgroup.remove()
}
