//! What the kernel can do.

use error::{Error, Result};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use std::path::Path;

/// Major and minor number of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

/// What `uname -r` prints.
#[must_use]
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The version of this kernel.
pub fn kernel_version() -> Result<Version> {
    let release = kernel_release();
    parse(&release)
        .ok_or_else(|| Error::internal(format!("kernel release {release:?} is malformed")))
}

/// `6.1.0-18-amd64` → 6, 1.
fn parse(release: &str) -> Option<Version> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some(Version(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether openat2(2) works here: a container's seccomp filter may forbid what the kernel has.
#[must_use]
pub fn has_openat2() -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(CWD, "/", flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS).is_ok()
}

/// Whether statmount(2) is there (Linux 6.8).
#[must_use]
pub fn has_statmount() -> bool {
    crate::mountinfo::has_statmount()
}

/// How the kernel has the file system called `name`: `Some(true)` in it already, `Some(false)` as a
/// module that it can load, `None` not at all.
#[must_use]
pub fn filesystem(name: &str) -> Option<bool> {
    let listed = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if listed.lines().any(|line| line.split_ascii_whitespace().next_back() == Some(name)) {
        return Some(true);
    }
    has_module(Path::new("/lib/modules"), &kernel_release(), name).then_some(false)
}

/// Whether there is a module of this name for the kernel (modules.dep(5)).
fn has_module(modules: &Path, release: &str, name: &str) -> bool {
    ["modules.dep", "modules.builtin"].iter().any(|list| {
        let text = std::fs::read_to_string(modules.join(release).join(list)).unwrap_or_default();
        let file = |line: &str| {
            line.split(':').next().and_then(|path| path.rsplit('/').next().map(str::to_owned))
        };
        text.lines().filter_map(file).any(|file| file.split('.').next() == Some(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_a_version() {
        assert_eq!(parse("6.1.0-18-amd64"), Some(Version(6, 1)));
        assert_eq!(parse("5.12-rc3+"), Some(Version(5, 12)));
        assert_eq!(parse("next"), None);
        assert!(Version(5, 4) < Version(5, 12) && Version(6, 0) > Version(5, 12));
        kernel_version().expect("this one");
    }

    #[test]
    fn a_module_is_found_by_its_file() {
        let modules = tempfile::tempdir().expect("a directory");
        let dir = modules.path().join("6.1");
        std::fs::create_dir(&dir).expect("made");
        let text = "kernel/fs/xfs/xfs.ko.xz: kernel/lib/libcrc32c.ko.xz\nkernel/fs/fuse/fuse.ko:\n";
        std::fs::write(dir.join("modules.dep"), text).expect("written");
        std::fs::write(dir.join("modules.builtin"), "kernel/fs/ext4/ext4.ko\n").expect("written");
        for (name, there) in [("xfs", true), ("fuse", true), ("ext4", true), ("btrfs", false)] {
            assert_eq!(has_module(modules.path(), "6.1", name), there, "{name}");
        }
    }

    #[test]
    fn a_file_system_of_every_kernel_is_there() {
        assert_eq!(filesystem("proc"), Some(true));
        assert_eq!(filesystem("no-such-fs"), None);
        assert!(has_openat2());
    }
}
