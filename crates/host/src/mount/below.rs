//! The mounts below a directory.

use super::Mount;
use crate::mountinfo;
use error::{Error, IoContext, Result};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use std::path::Path;

/// How often mounts that appear meanwhile are gone after.
const ROUNDS: usize = 16;

/// The mounts strictly below `dir`, in the order in which they were made. Does not touch them.
pub fn below(dir: &Path) -> Result<Vec<Mount>> {
    let mut mounts = mountinfo::table()?;
    mounts.retain(|mount| mount.target != dir && mount.target.starts_with(dir));
    Ok(mounts)
}

/// Unmounts whatever is mounted at `dir` and below it, the latest first, and tells how many mounts
/// that were. Busy → `FailedPrecondition`, unless `lazy`: then it is taken away at once and ends
/// when its last user ends (umount(2), MNT_DETACH).
pub fn unmount_below(dir: &Path, lazy: bool) -> Result<usize> {
    let how =
        UnmountFlags::NOFOLLOW | if lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    let mut count = 0;
    for _ in 0..ROUNDS {
        let mut mounts = mountinfo::table()?;
        mounts.retain(|mount| mount.target.starts_with(dir));
        if mounts.is_empty() {
            return Ok(count);
        }
        for mount in mounts.iter().rev() {
            match rustix::mount::unmount(&mount.target, how) {
                Ok(()) => count += 1,
                // It went with the one it was received from.
                Err(Errno::INVAL | Errno::NOENT) => {}
                Err(Errno::BUSY) => {
                    return Err(Error::failed_precondition(format!(
                        "{} is busy; end what uses it",
                        mount.target.display()
                    )));
                }
                Err(errno) => {
                    return Err(errno).doing(|| format!("unmount {}", mount.target.display()));
                }
            }
        }
    }
    Err(Error::failed_precondition(format!(
        "something goes on mounting below {}; end it first",
        dir.display()
    )))
}
