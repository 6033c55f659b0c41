//! [`Mounts`](crate::Mounts) over the kernel's mount API.

use super::Linux;
use crate::mount::{self, Mount, MountRequest, User};
use crate::{Mounts, Outcome, Usage, mountinfo, process};
use error::{Error, IoContext, Result};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{IntegerSetter, Opcode, opcode};
use rustix::mount::UnmountFlags;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a busy mount is given: files that are just being closed.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(20);
/// How many of those who hold a mount a message names.
const NAMED: usize = 5;

const FIFREEZE: Opcode = opcode::read_write::<i32>(b'X', 119);
const FITHAW: Opcode = opcode::read_write::<i32>(b'X', 120);

impl Mounts for Linux {
    fn table(&self) -> Result<Vec<Mount>> {
        mountinfo::table()
    }

    fn at(&self, target: &Path) -> Result<Option<Mount>> {
        mountinfo::at(target)
    }

    fn mount(&self, request: &MountRequest) -> Result<Mount> {
        mount::make(request)
    }

    fn check_options(&self, fstype: Option<&str>, options: &[String]) -> Result<()> {
        mount::check_options(fstype, options)
    }

    fn unmount(&self, target: &Path) -> Result<Outcome> {
        let outcome = take_away(target)?;
        if outcome.is_done() || mount::is_closed_point(target) {
            mount::remove_point(target)?;
        }
        Ok(outcome)
    }

    fn ensure_shared(&self, dir: &Path) -> Result<Outcome> {
        // Two at once would both find nothing, and the second hide what is mounted in the first.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        mount::make_directory(dir)?;
        let found = mountinfo::at(dir)?;
        if let Some(mount) = &found
            && is_own_group(mount, &mountinfo::table()?)
        {
            return Ok(Outcome::AlreadyDone(()));
        }
        mount::own_shared(dir, found.is_some())?;
        Ok(Outcome::Done(()))
    }

    fn other_users(&self, mount: &Mount) -> Result<Vec<User>> {
        process::other_users(mount)
    }

    fn freeze(&self, target: &Path) -> Result<Box<dyn Send>> {
        // Without this the file system below an empty mount point, often /, would freeze.
        if mountinfo::at(target)?.is_none() {
            let target = target.display();
            return Err(Error::failed_precondition(format!(
                "cannot freeze {target}: nothing is mounted there"
            )));
        }
        let frozen = Frozen { fd: open_root(target)?, target: target.to_owned() };
        frozen.freeze()?;
        Ok(Box::new(Thaw(frozen)))
    }

    fn thaw(&self, target: &Path) -> Result<Outcome> {
        let frozen = Frozen { fd: open_root(target)?, target: target.to_owned() };
        match frozen.thaw() {
            Ok(()) => Ok(Outcome::Done(())),
            // EINVAL: it is not frozen. EOPNOTSUPP: it never is.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Outcome::AlreadyDone(())),
            Err(errno) => Err(Error::io(format!("thaw {}", target.display()), errno.into())),
        }
    }

    fn shut_down(&self, target: &Path) -> Result<()> {
        crate::shutdown::shut_down(target)
    }

    fn usage(&self, target: &Path) -> Result<Usage> {
        let doing = || format!("read the free space of {}", target.display());
        let space = rustix::fs::statvfs(target).doing(doing)?;
        Ok(Usage {
            total: space.f_blocks.saturating_mul(space.f_frsize),
            available: space.f_bavail.saturating_mul(space.f_frsize),
        })
    }
}

/// Unmounts the top mount at `target`, with some patience.
fn take_away(target: &Path) -> Result<Outcome> {
    let until = Instant::now() + PATIENCE;
    loop {
        match rustix::mount::unmount(target, UnmountFlags::NOFOLLOW) {
            Ok(()) => return Ok(Outcome::Done(())),
            Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR)
                if mountinfo::at(target)?.is_none() =>
            {
                return Ok(Outcome::AlreadyDone(()));
            }
            Err(Errno::BUSY) if Instant::now() < until => std::thread::sleep(PAUSE),
            Err(Errno::BUSY) => return Err(busy(target)),
            Err(Errno::PERM) => {
                let target = target.display();
                return Err(Error::permission_denied(format!(
                    "cannot unmount {target}: not permitted; run as root, with CAP_SYS_ADMIN"
                )));
            }
            Err(errno) => {
                return Err(Error::io(format!("unmount {}", target.display()), errno.into()));
            }
        }
    }
}

fn busy(target: &Path) -> Error {
    let holders = process::holders_of(target).unwrap_or_default();
    let mut named: Vec<_> = holders
        .iter()
        .take(NAMED)
        .map(|pid| format!("{} (pid {pid})", process::name(*pid)))
        .collect();
    if holders.len() > NAMED {
        named.push(format!("{} more", holders.len() - NAMED));
    }
    let below = mountinfo::table().unwrap_or_default();
    let below = below.iter().map(|mount| &mount.target);
    let below = below.filter(|other| other.starts_with(target) && *other != target);
    named.extend(below.take(NAMED).map(|other| format!("the mount {}", other.display())));
    if named.is_empty() {
        // For example a loop device over a file in it, swap, or an NFS export.
        named.push("the kernel".to_owned());
    }
    Error::failed_precondition(format!(
        "{} is in use by {}; end that use and unmount again",
        target.display(),
        named.join(", ")
    ))
}

/// Whether `mount` is shared, receives from nobody, and no peer shows its mounts at the same path a
/// second time (the one that it was bound from would).
fn is_own_group(mount: &Mount, table: &[Mount]) -> bool {
    let is_double = |other: &Mount| {
        other.shared == mount.shared
            && other.id != mount.id
            && mount.target.starts_with(&other.target)
    };
    mount.shared.is_some() && mount.master.is_none() && !table.iter().any(is_double)
}

fn open_root(target: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, target, flags, Mode::empty())
        .doing(|| format!("open {}", target.display()))
}

/// A file system that can be frozen.
struct Frozen {
    fd: OwnedFd,
    target: PathBuf,
}

impl Frozen {
    fn freeze(&self) -> Result<()> {
        // SAFETY: the argument of this ioctl is not used by the kernel; 0 is no pointer.
        let freeze = unsafe { IntegerSetter::<FIFREEZE>::new_usize(0) };
        // SAFETY: the descriptor is open, and the call changes no memory of this process.
        let result = unsafe { rustix::ioctl::ioctl(&self.fd, freeze) };
        let target = self.target.display();
        result.map_err(|errno| match errno {
            Errno::OPNOTSUPP => {
                Error::unimplemented(format!("the file system at {target} cannot be frozen"))
            }
            Errno::BUSY => Error::failed_precondition(format!(
                "the file system at {target} is frozen already; thaw it (fsfreeze --unfreeze)"
            )),
            errno => Error::io(format!("freeze {target}"), errno.into()),
        })
    }

    fn thaw(&self) -> rustix::io::Result<()> {
        // SAFETY: the argument of this ioctl is not used by the kernel; 0 is no pointer.
        let thaw = unsafe { IntegerSetter::<FITHAW>::new_usize(0) };
        // SAFETY: the descriptor is open, and the call changes no memory of this process.
        unsafe { rustix::ioctl::ioctl(&self.fd, thaw) }
    }
}

/// Thaws when dropped.
struct Thaw(Frozen);

impl Drop for Thaw {
    fn drop(&mut self) {
        if let Err(error) = self.0.thaw() {
            let target = self.0.target.display();
            tracing::error!(%target, %error, "the file system stays frozen; run fsfreeze --unfreeze");
        }
    }
}
