//! A mount at its target: the mount point, and the order of steps after which a volume is there
//! complete or not at all.
//!
//! ```text
//! file system:  fsmount ─ owner, mode ─ move to target ─ verify
//! its part:     fsmount ─ mkdir, owner, mode ─ move to target ─ clone the part
//!                       ─ unmount ─ move the clone to target ─ verify
//! directory:    open ─ owner, mode ─ clone ─ attributes ─ move to target ─ verify
//! ```

use super::options::Options;
use super::{Mount, MountRequest, What, context, failure, set_attributes, subdirectory};
use crate::mountinfo;
use error::{Error, IoContext, Kind, Result};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path};

/// Mounts what is requested, in the calling thread's mount namespace.
pub(crate) fn make(request: &MountRequest) -> Result<Mount> {
    let options = Options::parse(&request.options, request.read_only)?;
    check(request, &options)?;
    let point = Point::prepare(&request.target)?;
    let placed = match &request.what {
        What::Device { device, fstype } => context::mount(fstype, device.as_os_str(), &options)
            .and_then(|whole| place_file_system(whole, request, &options, &point)),
        What::Network { fstype, source } => context::mount(fstype, source.as_ref(), &options)
            .and_then(|whole| place_file_system(whole, request, &options, &point)),
        What::Directory(directory) => place_directory(directory, request, &options, &point),
    };
    if placed.is_err() {
        point.undo();
    }
    placed
}

fn check(request: &MountRequest, options: &Options) -> Result<()> {
    if let Some(path) = &request.subpath {
        subdirectory::check(path)?;
    }
    if matches!(request.what, What::Directory(_)) {
        options.check_for_directory()?;
    }
    subdirectory::check_ownership(&request.ownership)
}

fn place_file_system(
    whole: OwnedFd,
    request: &MountRequest,
    options: &Options,
    point: &Point<'_>,
) -> Result<Mount> {
    let Some(path) = &request.subpath else {
        dress(&whole, request, options)?;
        return point.place(&whole);
    };
    let part = subdirectory::open(&whole, path, !options.is_read_only())?;
    dress(&part, request, options)?;
    // Only from Linux 6.15 on can a part of a mount that is nowhere be cloned.
    point.place(&whole)?;
    let clone = clone_tree(&part);
    drop((part, whole));
    detach(point.path)?;
    point.place(&clone?)
}

fn place_directory(
    directory: &Path,
    request: &MountRequest,
    options: &Options,
    point: &Point<'_>,
) -> Result<Mount> {
    let mut source = open_source(directory)?;
    if let Some(path) = &request.subpath {
        source = subdirectory::open(&source, path, !options.is_read_only())?;
    }
    dress(&source, request, options)?;
    let tree = clone_tree(&source)?;
    if options.set != 0 || options.clear != 0 {
        let attributes = libc::mount_attr {
            attr_set: options.set,
            attr_clr: options.clear,
            propagation: 0,
            userns_fd: 0,
        };
        set_attributes(&tree, &attributes, false)?;
    }
    point.place(&tree)
}

/// Owner and mode of what is going to be visible.
fn dress(directory: impl AsFd, request: &MountRequest, options: &Options) -> Result<()> {
    if options.is_read_only() {
        return Ok(());
    }
    for name in &request.drop_empty {
        subdirectory::remove_if_empty(&directory, name)?;
    }
    subdirectory::apply(&request.ownership, directory)
}

/// Opens (O_PATH) a directory, and no symbolic link to one.
pub(crate) fn open_source(directory: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, directory, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOTDIR => Error::failed_precondition(format!(
            "{} is not a directory (symbolic links are not followed)",
            directory.display()
        )),
        errno => Error::io(format!("open directory {}", directory.display()), errno.into()),
    })
}

/// A detached copy of the mount, with the directory that `fd` is as its root.
pub(crate) fn clone_tree(fd: impl AsFd) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(fd, "", flags).map_err(|errno| failure("clone a mount", errno, "5.2"))
}

/// Takes the top mount away from `target` at once, also when it is in use. Only for a mount made a
/// moment ago that nobody was told of.
fn detach(target: &Path) -> Result<()> {
    rustix::mount::unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .doing(|| format!("unmount {}", target.display()))
}

/// Makes the directory `dir` a mount point of its own, whose propagation group has no other member.
pub(crate) fn own_shared(dir: &Path, is_mount: bool) -> Result<()> {
    let dir_fd = open_source(dir)?;
    let tree = if is_mount { None } else { Some(clone_tree(&dir_fd)?) };
    let mount = tree.as_ref().unwrap_or(&dir_fd);
    for propagation in [libc::MS_PRIVATE, libc::MS_SHARED] {
        let attributes = libc::mount_attr { attr_set: 0, attr_clr: 0, propagation, userns_fd: 0 };
        set_attributes(mount, &attributes, false)?;
    }
    match &tree {
        Some(tree) => attach(tree, &dir_fd, dir),
        None => Ok(()),
    }
}

/// Moves the detached `mount` to `point`, which `path` names in messages.
pub(crate) fn attach(mount: &OwnedFd, point: &OwnedFd, path: &Path) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", point, "", flags)
        .map_err(|errno| failure(&format!("mount on {}", path.display()), errno, "5.2"))
}

/// Whether `target` is a mount point that was made here (mode 0000) and that an interrupted unmount
/// left behind. Ask only when nothing is mounted there.
pub(crate) fn is_closed_point(target: &Path) -> bool {
    std::fs::symlink_metadata(target)
        .is_ok_and(|found| found.is_dir() && found.permissions().mode() & 0o7777 == 0)
}

/// Removes the mount point when it is an empty directory of a file system that can be written.
pub(crate) fn remove_point(target: &Path) -> Result<()> {
    match rustix::fs::rmdir(target) {
        Ok(()) => Ok(()),
        Err(
            Errno::NOENT
            | Errno::NOTEMPTY
            | Errno::EXIST
            | Errno::NOTDIR
            | Errno::BUSY
            | Errno::ROFS,
        ) => Ok(()),
        Err(errno) => {
            Err(Error::io(format!("remove mount point {}", target.display()), errno.into()))
        }
    }
}

/// An empty directory that is going to be a mount point.
struct Point<'a> {
    path: &'a Path,
    fd: OwnedFd,
    /// Made here, so to be removed again when nothing comes of it.
    is_new: bool,
}

impl<'a> Point<'a> {
    fn prepare(path: &'a Path) -> Result<Self> {
        check_target(path)?;
        let is_new = make_point(path)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .doing(|| format!("open mount point {}", path.display()))?;
        if !is_new && !is_empty(&fd, path)? {
            return Err(Error::failed_precondition(format!(
                "mount point {} is not empty, and what is in it would be hidden; empty it or mount elsewhere",
                path.display()
            )));
        }
        Ok(Self { path, fd, is_new })
    }

    /// Moves the detached `mount` here, and makes sure that it is what the path leads to.
    fn place(&self, mount: &OwnedFd) -> Result<Mount> {
        attach(mount, &self.fd, self.path)?;
        let id = mountinfo::id_of(mount)?;
        match mountinfo::at(self.path) {
            Ok(Some(found)) if found.id == id => Ok(found),
            Ok(_) => Err(Error::aborted(format!(
                "something else was mounted at {} at the same time",
                self.path.display()
            ))),
            Err(error) => {
                detach(self.path)?;
                Err(error)
            }
        }
    }

    fn undo(&self) {
        if self.is_new
            && let Err(error) = remove_point(self.path)
        {
            tracing::warn!(%error, "the mount point stays");
        }
    }
}

fn check_target(path: &Path) -> Result<()> {
    let is_plain = path.components().all(|part| part != Component::ParentDir);
    if !path.is_absolute() || !is_plain {
        return Err(Error::invalid_argument(format!(
            "mount point {} must be an absolute path without \"..\"",
            path.display()
        )));
    }
    match mountinfo::at(path)? {
        None => Ok(()),
        Some(mount) => Err(Error::new(
            Kind::FailedPrecondition,
            format!(
                "{} of {} is already mounted at {}; unmount it first",
                mount.fstype,
                mount.source,
                path.display()
            ),
        )),
    }
}

/// Makes the mount point and its parents; true when the mount point is new. Nobody may enter it:
/// with its mode 0000 nothing is written beside a volume that isn't mounted.
fn make_point(path: &Path) -> Result<bool> {
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    match rustix::fs::mkdir(path, Mode::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(Error::io(format!("make mount point {}", path.display()), errno.into())),
    }
}

/// Makes `path` and its parents, each with mode 0700, where missing.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .doing(|| format!("make directory {}", path.display()))
}

fn is_empty(fd: impl AsFd, path: &Path) -> Result<bool> {
    let doing = || format!("read mount point {}", path.display());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(fd, ".", flags, Mode::empty()).doing(doing)?;
    for entry in rustix::fs::Dir::new(dir).doing(doing)? {
        let entry = entry.doing(doing)?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}
