//! Shutting a mounted file system down at once: nothing reaches its device any more, whoever has
//! files open. For a disk that belongs to another machine by now, or soon. Who may be cut off is
//! decided elsewhere.
//!
//! ```text
//! freeze it, as far as that is done in time ─▶ shut it down ─▶ thaw it: whoever waits gets EIO
//!        └─ not in time, or not at all ─▶ shut it down all the same
//! ```
//!
//! Frozen first, since a sync that a shutdown meets on its way is told to have succeeded by ext4 and
//! by xfs (seen in Linux 6.18), though what it was to write is lost.

use crate::mount::Mount;
use crate::{mountinfo, process};
use error::{Error, IoContext, Result};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Setter, opcode};
use std::collections::HashSet;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// `EXT4_IOC_SHUTDOWN`, `XFS_IOC_GOINGDOWN`, `F2FS_IOC_SHUTDOWN`: one number for all of them.
const SHUTDOWN: Opcode = opcode::read::<u32>(b'X', 125);
/// `EXT4_GOING_FLAGS_DEFAULT` and its like: frozen, shut down, thawed.
const FROZEN: u32 = 0;
/// `EXT4_GOING_FLAGS_NOLOGFLUSH` and its like: not even the journal is written.
const WITHOUT_FLUSH: u32 = 2;
/// How long each way may take, of the time in which a machine must have stopped its writes: a device
/// may hang, or have much to write.
const PATIENCE: Duration = Duration::from_secs(2);

/// Shuts the file system mounted at `target` down, within some seconds. Reads and writes fail
/// with EIO from now on, in every mount of it; it can be unmounted, and what was synced before is
/// there when its device is mounted anew. What else there was to write may be there too.
///
/// ext4, xfs and f2fs can; others, such as btrfs before Linux 6.19 → `Unimplemented`. Nothing
/// mounted at `target` → `FailedPrecondition`. Shut down already → done. Its device hangs →
/// `DeadlineExceeded`; no write and no sync succeeds any more.
pub fn shut_down(target: &Path) -> Result<()> {
    // Without this the file system below an empty mount point, often /, would be shut down.
    if mountinfo::at(target)?.is_none() {
        let target = target.display();
        return Err(Error::failed_precondition(format!(
            "cannot shut down {target}: nothing is mounted there"
        )));
    }
    shut_down_at(target)
}

fn shut_down_at(target: &Path) -> Result<()> {
    let doing = || format!("shut down the file system at {}", target.display());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let root = match openat(CWD, target, flags, Mode::empty()) {
        // What is shut down already may refuse to be opened.
        Err(Errno::IO) => return Ok(()),
        other => other.doing(doing)?,
    };
    // EINVAL and the like: one that cannot be frozen now.
    let done = match bounded(&root, FROZEN) {
        Some(done @ (Ok(()) | Err(Errno::NOTTY | Errno::OPNOTSUPP))) => Some(done),
        _ => bounded(&root, WITHOUT_FLUSH),
    };
    let target = target.display();
    match done {
        Some(Ok(()) | Err(Errno::IO)) => Ok(()),
        Some(Err(Errno::NOTTY | Errno::OPNOTSUPP)) => Err(Error::unimplemented(format!(
            "the file system at {target} cannot be shut down; unmount it, or stop who writes to it"
        ))),
        Some(Err(errno)) => Err(Error::io(doing(), errno.into())),
        None => Err(Error::deadline_exceeded(format!(
            "the file system at {target} is told to shut down, and its device hangs; nobody is told \
             that anything is written, and it ends when the device answers or is gone"
        ))),
    }
}

/// Shuts down what `root` is of; `None` when that is not done in time. It goes on then.
fn bounded(root: &OwnedFd, how: u32) -> Option<Result<(), Errno>> {
    let root = root.try_clone().ok()?;
    let (done, result) = mpsc::channel();
    // A thread of its own: nothing ends a call that waits for a device.
    let shuts_down = move || {
        let result = go_down(&root, how);
        // First: whoever hears of it may unmount the file system.
        drop(root);
        let _ = done.send(result);
    };
    thread::Builder::new().name("shut-down".to_owned()).spawn(shuts_down).ok()?;
    result.recv_timeout(PATIENCE).ok()
}

fn go_down(root: impl AsFd, how: u32) -> Result<(), Errno> {
    // SAFETY: this request reads one u32, which is what `Setter` passes.
    let request = unsafe { Setter::<SHUTDOWN, u32>::new(how) };
    // SAFETY: the descriptor is open, and the call changes no memory of this process.
    unsafe { rustix::ioctl::ioctl(root, request) }
}

/// Shuts down every file system that is mounted from the block device `device`, in whatever mount
/// namespace; answers how many mounts of it there are. The first failure is the error, after all
/// were tried.
pub fn shut_down_device(device: &Path) -> Result<usize> {
    let number = fs::metadata(device).doing(|| format!("look at {}", device.display()))?.rdev();
    let mounts = mounts_of(number)?;
    let mut failed = None;
    for target in &mounts {
        if let Err(error) = shut_down_at(target) {
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(mounts.len()), Err)
}

/// The mounts of a block device in every mount namespace, as paths that this process can open.
fn mounts_of(number: u64) -> Result<Vec<PathBuf>> {
    let wanted = format!("{}:{}", libc::major(number), libc::minor(number));
    let on_device = |table: &[Mount], root: &Path| -> Vec<PathBuf> {
        // btrfs shows numbers of its own.
        let is_btrfs =
            |mount: &Mount| mount.fstype == "btrfs" && is_node_of(root, &mount.source, number);
        let here = table.iter().filter(|mount| mount.device == wanted || is_btrfs(mount));
        here.map(|mount| below(root, &mount.target)).collect()
    };
    let own = fs::read_link("/proc/thread-self/ns/mnt").doing(|| "read ns/mnt")?;
    let mut found = on_device(&mountinfo::table()?, Path::new("/"));
    let mut seen = HashSet::from([own]);
    for pid in process::pids()? {
        let Ok(namespace) = fs::read_link(format!("/proc/{pid}/ns/mnt")) else { continue };
        if seen.contains(&namespace) {
            continue;
        }
        // A process that has ended meanwhile: perhaps another one lives in the namespace.
        let Ok(table) = mountinfo::table_of(pid) else { continue };
        seen.insert(namespace);
        found.extend(on_device(&table, Path::new(&format!("/proc/{pid}/root"))));
    }
    Ok(found)
}

fn is_node_of(root: &Path, source: &str, number: u64) -> bool {
    fs::metadata(below(root, Path::new(source))).is_ok_and(|found| found.rdev() == number)
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use error::Kind;

    #[test]
    fn a_directory_that_is_no_mount_point_is_not_shut_down() {
        let dir = tempfile::tempdir().expect("made");
        let error = shut_down(dir.path()).expect_err("nothing mounted");
        assert_eq!(error.kind(), Kind::FailedPrecondition);
    }

    #[test]
    fn the_request_has_the_kernels_number() {
        assert_eq!(SHUTDOWN, 0x8004_587D);
    }
}
