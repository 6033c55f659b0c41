//! A directory inside a volume, found without ever leaving the volume: a symbolic link in it cannot
//! lead out (openat2(2), RESOLVE_IN_ROOT). Also who owns that directory.

use super::{Ownership, failure};
use error::{Error, IoContext, Kind, Result};
use rustix::fs::{Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// Bits of a mode that chmod(2) sets.
const MODE_BITS: u32 = 0o7777;
/// How often openat2(2) may say that the tree was changing underneath it.
const RACES: usize = 64;

/// Checks that `path` is relative and has no `..`.
pub(super) fn check(path: &Path) -> Result<()> {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if path.components().all(plain) {
        return Ok(());
    }
    Err(Error::invalid_argument(format!(
        "sub-directory {} must be relative to the volume's root, without \"..\"",
        path.display()
    )))
}

/// Opens (O_PATH) the directory `path` of the tree at `root`; what is missing of it is made, with
/// mode 0755, when `make`.
pub(super) fn open(root: impl AsFd, path: &Path, make: bool) -> Result<OwnedFd> {
    let mut so_far = PathBuf::from(".");
    let mut directory = resolve(&root, &so_far).map_err(|errno| explain(path, errno))?;
    for part in path.components().filter(|part| matches!(part, Component::Normal(_))) {
        so_far.push(part);
        // From the root each time: a link to ".." must be resolved against the volume's root.
        directory = match resolve(&root, &so_far) {
            Err(Errno::NOENT) if make => {
                make_directory(&directory, part).map_err(|errno| explain(&so_far, errno))?;
                resolve(&root, &so_far)
            }
            result => result,
        }
        .map_err(|errno| explain(&so_far, errno))?;
    }
    Ok(directory)
}

fn resolve(root: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut result = Err(Errno::AGAIN);
    for _ in 0..RACES {
        result = rustix::fs::openat2(&root, path, flags, Mode::empty(), inside);
        if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    result
}

fn make_directory(parent: impl AsFd, name: Component<'_>) -> rustix::io::Result<()> {
    match rustix::fs::mkdirat(parent, name.as_os_str(), Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) | Ok(()) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn explain(path: &Path, errno: Errno) -> Error {
    let path = path.strip_prefix(".").unwrap_or(path).display();
    match errno {
        Errno::NOENT => Error::not_found(format!("the volume has no directory {path}")),
        Errno::NOTDIR | Errno::LOOP => {
            Error::new(Kind::FailedPrecondition, format!("{path} in the volume is not a directory"))
        }
        errno => failure(&format!("open sub-directory {path} of the volume"), errno, "5.6"),
    }
}

/// Refuses what is no mode, before anything is mounted.
pub(super) fn check_ownership(ownership: &Ownership) -> Result<()> {
    match ownership.mode {
        Some(mode) if mode & !MODE_BITS != 0 => {
            Err(Error::invalid_argument(format!("mode {mode:o} is not between 0 and 7777")))
        }
        _ => Ok(()),
    }
}

/// Removes the directory `name` of `directory` if it is one, and empty.
pub(super) fn remove_if_empty(directory: impl AsFd, name: &str) -> Result<()> {
    match rustix::fs::unlinkat(directory, name, rustix::fs::AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::NOTDIR) => Ok(()),
        Err(errno) => Err(Error::io(format!("remove the empty directory {name}"), errno.into())),
    }
}

/// Gives `directory` its owner and mode; what is already right isn't written.
pub(super) fn apply(ownership: &Ownership, directory: impl AsFd) -> Result<()> {
    if *ownership == Ownership::default() {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let doing = || "set owner and mode of the volume's directory";
    let fd = rustix::fs::openat(directory, ".", flags, Mode::empty()).doing(doing)?;
    let stat = rustix::fs::fstat(&fd).doing(doing)?;
    let uid = ownership.uid.filter(|uid| *uid != stat.st_uid).map(Uid::from_raw);
    let gid = ownership.gid.filter(|gid| *gid != stat.st_gid).map(Gid::from_raw);
    if uid.is_some() || gid.is_some() {
        rustix::fs::fchown(&fd, uid, gid).doing(doing)?;
    }
    if let Some(mode) = ownership.mode.filter(|mode| *mode != stat.st_mode & MODE_BITS) {
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode)).doing(doing)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_are_sub_directories() {
        for path in ["a", "a/b", "./a", ""] {
            assert!(check(Path::new(path)).is_ok(), "{path}");
        }
        for path in ["/a", "..", "a/../b", "a/.."] {
            let error = check(Path::new(path)).expect_err(path);
            assert_eq!(error.kind(), Kind::InvalidArgument);
        }
    }

    #[test]
    fn a_mode_has_at_most_four_octal_digits() {
        assert!(check_ownership(&Ownership { mode: Some(0o7777), ..Default::default() }).is_ok());
        assert!(check_ownership(&Ownership { mode: Some(0o10000), ..Default::default() }).is_err());
    }
}
