//! What Docker puts into every plugin's root file system before it runs: mount points and the files
//! that programs expect. All of it by in-root resolution, since links in an image may lie.

use error::{IoContext, Result};
use host::root::{Attributes, Root};
use std::ffi::OsStr;
use std::path::Path;

const DIRECTORIES: [&str; 7] =
    ["dev/pts", "dev/shm", "proc", "sys", "etc", "dev", "run/docker/plugins"];

const FILES: [&str; 5] =
    [".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "dev/console"];

/// Makes what is missing; what is there stays, whatever it is.
pub(super) fn prepare(root: &mut Root) -> Result<()> {
    for dir in DIRECTORIES {
        root.make_dirs(Path::new(dir)).doing(|| format!("make /{dir} in the plugin's root"))?;
    }
    for file in FILES {
        make_file(root, Path::new(file)).doing(|| format!("make /{file} in the plugin's root"))?;
    }
    let mtab = Path::new("etc/mtab");
    let make = || "make /etc/mtab in the plugin's root";
    if root.find(mtab).doing(make)?.is_none() {
        root.symlink(OsStr::new("/proc/mounts"), mtab).doing(make)?;
    }
    Ok(())
}

fn make_file(root: &mut Root, path: &Path) -> std::io::Result<()> {
    if root.find(path)?.is_some() {
        return Ok(());
    }
    let file = root.create(path)?;
    Attributes { mode: 0o755, ..Attributes::default() }.apply_to_file(&file)
}
