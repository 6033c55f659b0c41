//! Journal replay, check and a new UUID, by the file systems' own tools, on unmounted block devices.

use super::Fstype;
use super::probe::superblock_of;
use super::superblock::{self, START};
use crate::command::{self, Finished};
use crate::{Outcome, device, failpoint};
use error::{Error, IoContext, Result};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long a check may take: it reads all metadata.
const DEADLINE: Duration = Duration::from_hours(1);
/// How long an unmounted file system may still be winding up.
const SETTLED: Duration = Duration::from_secs(30);

/// Replays the journal and repairs what needs no decision; see [`Disks::check`](crate::Disks::check).
pub(crate) fn check(device: &Path, fstype: Fstype) -> Result<()> {
    require_unheld(device, "checked")?;
    match fstype {
        Fstype::Ext4 => e2fsck(device, &["-p"]),
        Fstype::Xfs => {
            // Without the replay xfs_repair -n takes what is still in the log for damage.
            replay(device, fstype)?;
            inspect(device, "xfs_repair", &["-n"], "xfs_repair")
        }
        Fstype::Btrfs => {
            replay_btrfs(device)?;
            inspect(device, "btrfs", &["check", "--readonly"], "btrfs check --repair")
        }
    }
}

/// Changes the UUID; see [`Disks::set_uuid`](crate::Disks::set_uuid).
pub(crate) fn set_uuid(device: &Path, fstype: Fstype, uuid: Uuid) -> Result<Outcome> {
    if read_uuid(device, fstype)? == uuid {
        return Ok(Outcome::AlreadyDone(()));
    }
    require_unheld(device, "given a new UUID")?;
    let said = match fstype {
        Fstype::Ext4 => set_ext4(device, uuid)?,
        Fstype::Xfs => set_xfs(device, uuid)?,
        Fstype::Btrfs => set_btrfs(device, uuid)?,
    };
    failpoint::hit("filesystem.uuid");
    // Not the exit code: xfs_db ends with 0 after it has refused.
    if read_uuid(device, fstype)? == uuid {
        return Ok(Outcome::Done(()));
    }
    Err(Error::internal(format!("the {fstype} on {} kept its UUID", device.display()))
        .because(command::failure("its tool", &said)))
}

/// Makes sure that no mount and no device mapper holds the block device.
pub(super) fn require_unheld(device: &Path, done: &str) -> Result<()> {
    if !device::is_held(device)? {
        return Ok(());
    }
    Err(Error::failed_precondition(format!(
        "{} can't be {done} while it is mounted or held by device mapper; unmount it first",
        device.display()
    )))
}

fn read_uuid(device: &Path, fstype: Fstype) -> Result<Uuid> {
    match superblock_of(device)? {
        Some(found) if found.fstype == fstype => Ok(found.uuid),
        other => Err(Error::failed_precondition(format!(
            "{} holds {} instead of {fstype}",
            device.display(),
            other.map_or("something else", |found| found.fstype.name())
        ))),
    }
}

fn run(device: &Path, program: &str, args: &[&str]) -> Result<Finished> {
    let args: Vec<_> = args.iter().map(AsRef::as_ref).chain([device.as_os_str()]).collect();
    command::run(program, &args, DEADLINE)
}

/// e2fsck(8): code 0 is clean, 1 repaired; 2 (reboot) is for the root file system.
pub(super) fn e2fsck(device: &Path, args: &[&str]) -> Result<()> {
    let finished = run(device, "e2fsck", args)?;
    if finished.code & !0b11 == 0 {
        return Ok(());
    }
    Err(damaged(device, "e2fsck -f").because(command::failure("e2fsck", &finished)))
}

fn inspect(device: &Path, program: &str, args: &[&str], by_hand: &str) -> Result<()> {
    let finished = run(device, program, args)?;
    if finished.code == 0 {
        return Ok(());
    }
    Err(damaged(device, by_hand).because(command::failure(program, &finished)))
}

fn damaged(device: &Path, by_hand: &str) -> Error {
    let device = device.display();
    Error::failed_precondition(format!(
        "the file system on {device} has damage that is not safe to repair without questions; run \
         {by_hand} {device} by hand"
    ))
}

/// A journal that is replayed later would bring the old UUID back, so it is replayed first.
fn set_ext4(device: &Path, uuid: Uuid) -> Result<Finished> {
    if has_journal_to_replay(device, Fstype::Ext4)? {
        e2fsck(device, &["-p"])?;
    }
    let uuid = uuid.to_string();
    let finished = run(device, "tune2fs", &["-U", &uuid])?;
    if finished.code == 0 {
        return Ok(finished);
    }
    // Without metadata_csum_seed all checksums change, and tune2fs wants a fresh check before.
    e2fsck(device, &["-f", "-p"])?;
    run(device, "tune2fs", &["-U", &uuid])
}

/// Only the superblock is written (-M): a killed btrfstune leaves the old UUID or the new one,
/// where -U would write all metadata anew and leave a wreck.
fn set_btrfs(device: &Path, uuid: Uuid) -> Result<Finished> {
    replay_btrfs(device)?;
    run(device, "btrfstune", &["-M", &uuid.to_string()])
}

fn has_journal_to_replay(device: &Path, fstype: Fstype) -> Result<bool> {
    let mut start = vec![0; START];
    let file = File::open(device);
    file.and_then(|file| file.read_exact_at(&mut start, 0))
        .doing(|| format!("read {}", device.display()))?;
    Ok(superblock::has_journal_to_replay(&start, fstype))
}

/// xfs_db refuses while the log is dirty, and that of a frozen file system is.
fn set_xfs(device: &Path, uuid: Uuid) -> Result<Finished> {
    let set = format!("uuid {uuid}");
    let args = ["-x", "-c", &set];
    let finished = run(device, "xfs_db", &args)?;
    if read_uuid(device, Fstype::Xfs)? == uuid {
        return Ok(finished);
    }
    replay(device, Fstype::Xfs)?;
    run(device, "xfs_db", &args)
}

/// btrfstune (6.2) counts the generation up and leaves the log tree behind, which no longer fits:
/// the file system can't be mounted any more. Linux 6.7 and newer mount a clone beside its source.
fn replay_btrfs(device: &Path) -> Result<()> {
    if !has_journal_to_replay(device, Fstype::Btrfs)? {
        return Ok(());
    }
    let replayed = replay(device, Fstype::Btrfs);
    if replayed.is_ok() && !has_journal_to_replay(device, Fstype::Btrfs)? {
        return Ok(());
    }
    let error = Error::failed_precondition(format!(
        "the log of the btrfs on {} could not be replayed; when it is a clone of a mounted btrfs,          unmount that first, or freeze it before it is cloned",
        device.display()
    ));
    Err(match replayed {
        Ok(()) => error,
        Err(cause) => error.because(cause),
    })
}

/// Lets the kernel replay the log: by a mount that is attached nowhere, so that nobody sees it.
fn replay(device: &Path, fstype: Fstype) -> Result<()> {
    mount_detached(device, fstype)
        .doing(|| format!("replay the log of the {fstype} on {} by a mount", device.display()))?;
    let until = Instant::now() + SETTLED;
    while device::is_held(device)? {
        if Instant::now() >= until {
            return Err(Error::deadline_exceeded(format!(
                "{} is still in use {} s after its log was replayed; try again",
                device.display(),
                SETTLED.as_secs()
            )));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn mount_detached(device: &Path, fstype: Fstype) -> Result<(), Errno> {
    let context = fsopen(fstype.name(), FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", device)?;
    if fstype == Fstype::Xfs {
        // Its source may be mounted with the same UUID.
        fsconfig_set_flag(&context, "nouuid")?;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NOSUID)?;
    Ok(())
}
