//! Shutting a mounted file system down at once, without flushing: nothing reaches its device any
//! more, whoever has files open. For a disk that belongs to another machine by now. Who may be cut
//! off is decided elsewhere.

use crate::mount::Mount;
use crate::{mountinfo, process};
use error::{Error, IoContext, Result};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Setter, opcode};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// `EXT4_IOC_SHUTDOWN`, `XFS_IOC_GOINGDOWN`, `F2FS_IOC_SHUTDOWN`: one number for all of them.
const SHUTDOWN: Opcode = opcode::read::<u32>(b'X', 125);
/// `EXT4_GOING_FLAGS_NOLOGFLUSH` and its like: not even the journal is written.
const WITHOUT_FLUSH: u32 = 2;

/// Shuts the file system mounted at `target` down, without writing anything. Reads and writes fail
/// with EIO from now on, in every mount of it; it can be unmounted, and what was synced before is
/// there when its device is mounted anew.
///
/// ext4, xfs and f2fs can; others, such as btrfs before Linux 6.19 → `Unimplemented`. Nothing
/// mounted at `target` → `FailedPrecondition`. Shut down already → done.
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
    // SAFETY: this request reads one u32, which is what `Setter` passes.
    let request = unsafe { Setter::<SHUTDOWN, u32>::new(WITHOUT_FLUSH) };
    // SAFETY: the descriptor is open, and the call changes no memory of this process.
    match unsafe { rustix::ioctl::ioctl(&root, request) } {
        Ok(()) | Err(Errno::IO) => Ok(()),
        Err(Errno::NOTTY | Errno::OPNOTSUPP) => Err(Error::unimplemented(format!(
            "the file system at {} cannot be shut down; unmount it, or stop who writes to it",
            target.display()
        ))),
        Err(errno) => Err(Error::io(doing(), errno.into())),
    }
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
