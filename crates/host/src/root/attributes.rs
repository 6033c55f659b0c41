//! Owner, mode, times and extended attributes of what is inside a [`Root`].

use super::Root;
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chownat,
    utimensat,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a file has beside its contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// User ID.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
    /// Permission bits, set-user-ID and so on: at most 0o7777.
    pub mode: u32,
    /// When the contents changed, in seconds since 1970; `None` leaves it.
    pub modified: Option<i64>,
    /// Extended attributes, by full name.
    pub xattrs: Vec<(OsString, Vec<u8>)>,
}

impl Attributes {
    /// Gives an open file all of them; the mode after the owner, whose change clears set-user-ID.
    pub fn apply_to_file(&self, file: &File) -> io::Result<()> {
        rustix::fs::fchown(file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))?;
        for (name, value) in &self.xattrs {
            set(name, rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()))?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))?;
        if let Some(times) = self.times() {
            rustix::fs::futimens(file, &times)?;
        }
        Ok(())
    }

    fn times(&self) -> Option<Timestamps> {
        let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let last_modification = Timespec { tv_sec: self.modified?, tv_nsec: 0 };
        Some(Timestamps { last_access, last_modification })
    }
}

/// User attributes are lost where the file system has none; file capabilities must not be.
fn set(name: &OsStr, result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::OPNOTSUPP) if name.as_bytes().starts_with(b"user.") => Ok(()),
        other => other,
    }
}

impl Root {
    /// Gives the symbolic link at `path` its owner and time: it has nothing else.
    pub fn dress_link(&mut self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        let owner = (Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)));
        chownat(dir, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
        if let Some(times) = attributes.times() {
            utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    /// Gives the directory, device or FIFO at `path` all of its attributes; a link → `ELOOP` or
    /// `EOPNOTSUPP`. The empty path is the root itself.
    pub fn dress(&mut self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        let fd = self.open_itself(path)?;
        let owner = (Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)));
        chownat(&fd, "", owner.0, owner.1, AtFlags::EMPTY_PATH)?;
        // The descriptor was opened with O_PATH, so as not to open a device: fchmod(2) and
        // fsetxattr(2) refuse it, its name in /proc does not.
        let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
        for (name, value) in &attributes.xattrs {
            set(name, rustix::fs::setxattr(&path, name, value, XattrFlags::empty()))?;
        }
        rustix::fs::chmod(&path, Mode::from_raw_mode(attributes.mode))?;
        if let Some(times) = attributes.times() {
            utimensat(rustix::fs::CWD, &path, &times, AtFlags::empty())?;
        }
        Ok(())
    }

    /// Sets the time of the directory at `path`, if there still is one.
    pub fn set_dir_time(&mut self, path: &Path, modified: i64) -> io::Result<()> {
        let Some(times) =
            (Attributes { modified: Some(modified), ..Attributes::default() }).times()
        else {
            return Ok(());
        };
        let set = self
            .open_itself(path)
            .and_then(|fd| utimensat(&fd, ".", &times, AtFlags::SYMLINK_NOFOLLOW));
        match set {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            other => Ok(other?),
        }
    }

    fn open_itself(&mut self, path: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if path.as_os_str().is_empty() {
            return rustix::fs::openat(&self.fd, ".", flags, Mode::empty());
        }
        let (dir, name) = self.parent(path)?;
        rustix::fs::openat(dir, name, flags, Mode::empty())
    }
}
