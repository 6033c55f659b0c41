//! What the kernel knows about a mount point of a plugin. Only reads.

use error::{Error, Result};
use host::Mount;
use host::process::{self, Identity};
use host::{User, mountinfo};
use std::path::{Path, PathBuf};

/// Whether another mount namespace, or another place of this one, has what is at `mountpoint`. The
/// namespace of the plugin itself does not count.
pub(super) fn is_used(mountpoint: &Path, plugin: Option<&Identity>) -> Result<bool> {
    let mount = mount_of(mountpoint)?;
    let own = plugin.filter(|process| process.is_alive()).and_then(|p| namespace_of(p.pid));
    let is_plugins = |user: &User| own.is_some() && namespace_of(user.pid) == own;
    Ok(process::other_users(&mount)?.iter().any(|user| !is_plugins(user)))
}

/// The mounts below `propagated` in our own namespace, with their paths below it.
pub(super) fn mounts_below(propagated: &Path) -> Result<Vec<(PathBuf, String)>> {
    let below = |mount: Mount| {
        let rest = mount.target.strip_prefix(propagated).ok()?.to_str()?.to_owned();
        (!rest.is_empty()).then_some((mount.target, rest))
    };
    Ok(mountinfo::table()?.into_iter().filter_map(below).collect())
}

/// The mount at `path`; for a mere directory the mount that a bind mount of it would be.
fn mount_of(path: &Path) -> Result<Mount> {
    if let Some(mount) = mountinfo::at(path)? {
        return Ok(mount);
    }
    let containing =
        mountinfo::table()?.into_iter().filter(|mount| path.starts_with(&mount.target));
    // Of several at one place the last one is on top, and that is the one max_by_key takes.
    let mount = containing.max_by_key(|mount| mount.target.components().count());
    let mut mount = mount.ok_or_else(|| Error::internal("the mount table has no root"))?;
    if let Ok(rest) = path.strip_prefix(&mount.target) {
        mount.root.push(rest);
    }
    mount.target = path.to_owned();
    Ok(mount)
}

fn namespace_of(pid: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()
}
