//! Changes inside a directory tree that somebody hostile may have made: every path is resolved by
//! the kernel with that tree as its root (openat2(2), RESOLVE_IN_ROOT), so that symbolic links work
//! as they will in a container and lead nowhere else. The last component is never followed.
//!
//! What is written where is no business of this module, and neither are messages: callers know the
//! name that an error belongs to, so all of these return plain I/O errors.

mod attributes;
mod copy;
mod remove;

pub use attributes::Attributes;
pub use copy::{kept_xattrs, merge_layer};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// How many symbolic links to missing directories are followed, as the kernel does (path_resolution(7)).
const LINKS: usize = 40;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// For opening a file whose name must be no symbolic link (`OpenOptions::custom_flags`).
pub const NO_FOLLOW: i32 = libc::O_NOFOLLOW;

/// Major and minor number of a device, as stat(2) gives it.
#[must_use]
pub fn device_numbers(device: u64) -> (u32, u32) {
    (rustix::fs::major(device), rustix::fs::minor(device))
}

/// What is at a path; its last component is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A regular file.
    File,
    /// A device, a FIFO or a socket.
    Other,
}

/// A special file to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// A FIFO.
    Fifo,
    /// A character device.
    Character {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
}

/// A directory that is the root of all paths given to it. Those are relative; a leading `/` means
/// the same; `..` is refused (`InvalidInput`).
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    /// The directory that the last path was in: archives come directory by directory. Forgotten
    /// whenever something changes that a path may lead through.
    last: Option<(PathBuf, OwnedFd)>,
}

impl Root {
    /// Opens `dir`, which must not be a symbolic link.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let flags = DIRECTORY | OFlags::NOFOLLOW;
        Ok(Self::new(rustix::fs::open(dir, flags, Mode::empty())?))
    }

    /// The tree below an open directory, or a mount that is mounted nowhere.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd, last: None }
    }

    /// A path of the root itself, for reading what is below; good for as long as this lives.
    #[must_use]
    pub fn by_number(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    /// What is at `path`; `None` when it or its directory is missing.
    pub fn find(&mut self, path: &Path) -> io::Result<Option<Found>> {
        let (dir, name) = match self.parent(path) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            other => other?,
        };
        match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(found(FileType::from_raw_mode(stat.st_mode)))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes the directory `path` and its parents (0755) where missing. Links on the way and at its
    /// end are followed inside the root, and where they dangle their target is made.
    pub fn make_dirs(&mut self, path: &Path) -> io::Result<()> {
        check(path)?;
        Ok(self.make_dirs_to(&relative(path), LINKS)?)
    }

    fn make_dirs_to(&self, path: &Path, links: usize) -> Result<(), Errno> {
        match self.resolve(path) {
            Err(Errno::NOENT) => {}
            other => return other.map(drop),
        }
        let (parent, name) = ends(path)?;
        self.make_dirs_to(parent, links)?;
        let dir = self.resolve(parent)?;
        match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => open_up(&dir, name),
            // Nothing was found behind it, so it is a link that dangles (or somebody was faster).
            Err(Errno::EXIST) => match target(&dir, name)? {
                None => Ok(()),
                Some(target) => self.make_dirs_to(&parent.join(target), fewer(links)?),
            },
            Err(errno) => Err(errno),
        }
    }

    /// Makes an empty file (0600) where nothing is, and the directories that it is in. Links at its
    /// end are followed inside the root, too, and where they dangle their target is made.
    pub fn make_file(&mut self, path: &Path) -> io::Result<()> {
        check(path)?;
        Ok(self.make_file_to(&relative(path), LINKS)?)
    }

    fn make_file_to(&self, path: &Path, links: usize) -> Result<(), Errno> {
        let (parent, name) = ends(path)?;
        self.make_dirs_to(parent, links)?;
        let dir = self.resolve(parent)?;
        match create(&dir, name) {
            Err(Errno::EXIST) => match target(&dir, name)? {
                None => Ok(()),
                Some(target) => self.make_file_to(&parent.join(target), fewer(links)?),
            },
            other => other.map(drop),
        }
    }

    /// Makes the directory `path` itself (mode 0755); its parent is there.
    pub fn make_dir(&mut self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        Ok(rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755))?)
    }

    /// Makes a new file (mode 0600) for writing.
    pub fn create(&mut self, path: &Path) -> io::Result<File> {
        let (dir, name) = self.parent(path)?;
        Ok(create(dir, name)?.into())
    }

    /// Makes a symbolic link, whatever it leads to.
    pub fn symlink(&mut self, target: &OsStr, path: &Path) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        rustix::fs::symlinkat(target, dir, name)?;
        self.last = None;
        Ok(())
    }

    /// Makes a hard link to `target`, a path of this root as well; a link there is not followed.
    pub fn hard_link(&mut self, target: &Path, path: &Path) -> io::Result<()> {
        let (from, from_name) = split(target)?;
        let from = self.resolve(from)?;
        let (dir, name) = self.parent(path)?;
        Ok(rustix::fs::linkat(from, from_name, dir, name, AtFlags::empty())?)
    }

    /// Makes a device or FIFO with mode 0600.
    pub fn node(&mut self, path: &Path, node: Node) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        let (kind, device) = match node {
            Node::Fifo => (FileType::Fifo, 0),
            Node::Character { major, minor } => {
                (FileType::CharacterDevice, rustix::fs::makedev(major, minor))
            }
            Node::Block { major, minor } => {
                (FileType::BlockDevice, rustix::fs::makedev(major, minor))
            }
        };
        Ok(rustix::fs::mknodat(dir, name, kind, Mode::from_raw_mode(0o600), device)?)
    }

    /// Renames within the root; what is at `to` is replaced as rename(2) does.
    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (dir, name) = split(from)?;
        let dir = self.resolve(dir)?;
        let (to_dir, to_name) = self.parent(to)?;
        rustix::fs::renameat(dir, name, to_dir, to_name)?;
        self.last = None;
        Ok(())
    }

    /// Removes what is at `path`, a directory with all that is in it; missing is as good.
    pub fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (dir, name) = match self.parent(path) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            other => other?,
        };
        let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        if found(FileType::from_raw_mode(stat.st_mode)) == Found::Directory {
            remove::tree(dir, name)?;
        } else {
            rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
        }
        // A path may have led through it, be it a link or a directory.
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            self.last = None;
        }
        Ok(())
    }

    /// Names in the directory `path`, which may be reached by links; empty when it is missing.
    pub fn list(&mut self, path: &Path) -> io::Result<Vec<OsString>> {
        check(path)?;
        let dir = match self.resolve(&relative(path)) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
            other => other?,
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&dir)? {
            let name = entry?.file_name().to_bytes().to_owned();
            if !matches!(name.as_slice(), b"." | b"..") {
                names.push(OsString::from_vec(name));
            }
        }
        Ok(names)
    }

    /// Waits until all of the file system that the root is on is on disk (syncfs(2)).
    pub fn sync(&self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&self.fd, ".", flags, Mode::empty())?;
        Ok(rustix::fs::syncfs(dir)?)
    }

    /// The directory that `path` is in, and its name there.
    fn parent<'a>(&mut self, path: &'a Path) -> Result<(BorrowedFd<'_>, &'a OsStr), Errno> {
        let (dir, name) = split(path)?;
        if self.last.as_ref().is_none_or(|(last, _)| last != dir) {
            let fd = self.resolve(dir)?;
            self.last = Some((dir.to_owned(), fd));
        }
        let fd = self.last.as_ref().map_or(self.fd.as_fd(), |(_, fd)| fd.as_fd());
        Ok((fd, name))
    }

    /// Opens a directory, links followed inside the root.
    fn resolve(&self, dir: &Path) -> Result<OwnedFd, Errno> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        loop {
            match openat2(&self.fd, dir, flags, Mode::empty(), resolve) {
                // Something was renamed meanwhile, so that the kernel could not be sure of "..".
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }
}

fn create(dir: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    rustix::fs::openat(dir, name, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))
}

/// The directory and the name at the end of a path that a link may have made.
fn ends(path: &Path) -> Result<(&Path, &OsStr), Errno> {
    path.parent().zip(path.file_name()).ok_or(Errno::NOENT)
}

/// Where a link leads; `None` for what is no link.
fn target(dir: &OwnedFd, name: &OsStr) -> Result<Option<PathBuf>, Errno> {
    match rustix::fs::readlinkat(dir, name, Vec::new()) {
        Err(Errno::INVAL) => Ok(None),
        other => Ok(Some(OsString::from_vec(other?.into_bytes()).into())),
    }
}

fn fewer(links: usize) -> Result<usize, Errno> {
    links.checked_sub(1).ok_or(Errno::LOOP)
}

/// Gives a directory that was just made its mode, whatever the umask. What has taken its place
/// meanwhile is left alone: chmod(2) would follow a link, out of the root.
fn open_up(dir: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    rustix::fs::fchmod(made, Mode::from_raw_mode(0o755))
}

fn found(kind: FileType) -> Found {
    match kind {
        FileType::Directory => Found::Directory,
        FileType::Symlink => Found::Link,
        FileType::RegularFile => Found::File,
        _ => Found::Other,
    }
}

/// Refuses `..`: what it means depends on links, and no caller has a use for it.
fn check(path: &Path) -> Result<(), Errno> {
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(Errno::INVAL);
    }
    Ok(())
}

fn relative(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

fn split(path: &Path) -> Result<(&Path, &OsStr), Errno> {
    check(path)?;
    let name = path.file_name().ok_or(Errno::INVAL)?;
    Ok((path.parent().unwrap_or(Path::new("")), name))
}

#[cfg(test)]
mod tests;
