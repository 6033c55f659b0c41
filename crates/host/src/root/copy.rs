//! Copying a directory, for machines where it can't be laid over others: what overlayfs would show
//! is made by hand, one layer after the other.

use super::{Attributes, Found, Node, Root, found};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Copies what is in `layer` over what is in `into`, and carries out its whiteouts (overlayfs:
/// character devices 0:0, and `trusted.overlay.opaque` of directories). Blocks are shared where the
/// file system can.
pub fn merge_layer(layer: &Path, into: &mut Root) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::open(layer, flags, Mode::empty())?;
    Merge { into, linked: HashMap::new() }.directory(&dir, Path::new(""))
}

struct Merge<'a> {
    into: &'a mut Root,
    /// Where the first name of a file with several is, by its inode.
    linked: HashMap<u64, PathBuf>,
}

impl Merge<'_> {
    fn directory(&mut self, dir: &OwnedFd, path: &Path) -> io::Result<()> {
        for entry in rustix::fs::Dir::read_from(dir)? {
            let name = OsString::from_vec(entry?.file_name().to_bytes().to_owned());
            if name != "." && name != ".." {
                self.entry(dir.as_fd(), &name, &path.join(&name))?;
            }
        }
        let stat = rustix::fs::fstat(dir)?;
        self.into.dress(path, &attributes(dir.as_fd(), OsStr::new("."), &stat)?)
    }

    fn entry(&mut self, dir: BorrowedFd<'_>, name: &OsStr, path: &Path) -> io::Result<()> {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            return self.subdirectory(dir, name, path);
        }
        self.into.remove(path)?;
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            return Ok(());
        }
        if stat.st_nlink > 1 {
            if let Some(first) = self.linked.get(&stat.st_ino) {
                return self.into.hard_link(first, path);
            }
            self.linked.insert(stat.st_ino, path.to_owned());
        }
        self.make(dir, name, path, &stat)
    }

    fn subdirectory(&mut self, dir: BorrowedFd<'_>, name: &OsStr, path: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        if is_opaque(&source) || self.into.find(path)? != Some(Found::Directory) {
            self.into.remove(path)?;
            self.into.make_dir(path)?;
        }
        self.directory(&source, path)
    }

    fn make(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        stat: &Stat,
    ) -> io::Result<()> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let attributes = attributes(dir, name, stat)?;
        match found(kind) {
            Found::Link => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes();
                self.into.symlink(&OsString::from_vec(target), path)?;
                self.into.dress_link(path, &attributes)
            }
            Found::File => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let source: File = rustix::fs::openat(dir, name, flags, Mode::empty())?.into();
                let target = self.into.create(path)?;
                crate::file::clone_or_copy(&source, &target)?;
                attributes.apply_to_file(&target)
            }
            _ => self.node(kind, stat, path, &attributes),
        }
    }

    fn node(
        &mut self,
        kind: FileType,
        stat: &Stat,
        path: &Path,
        attributes: &Attributes,
    ) -> io::Result<()> {
        let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let node = match kind {
            FileType::Fifo => Node::Fifo,
            FileType::CharacterDevice => Node::Character { major, minor },
            FileType::BlockDevice => Node::Block { major, minor },
            // A socket is nothing without the process that listens.
            _ => return Ok(()),
        };
        self.into.node(path, node)?;
        self.into.dress(path, attributes)
    }
}

fn is_opaque(dir: &OwnedFd) -> bool {
    let mut value = [0; 1];
    rustix::fs::fgetxattr(dir, "trusted.overlay.opaque", &mut value)
        .is_ok_and(|length| length == 1 && value == *b"y")
}

fn attributes(dir: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> io::Result<Attributes> {
    let mut path = OsString::from(format!("/proc/self/fd/{}/", dir.as_raw_fd()));
    path.push(name);
    Ok(Attributes {
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: stat.st_mode & 0o7777,
        modified: Some(stat.st_mtime),
        xattrs: kept_xattrs(Path::new(&path))?,
    })
}

/// The extended attributes that a file keeps wherever it is copied: file capabilities and the users'
/// own. The ones of overlayfs and of security modules are not.
pub fn kept_xattrs(path: &Path) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    let mut kept = Vec::new();
    let mut list = vec![0; 1 << 16];
    let length = match rustix::fs::llistxattr(path, &mut list) {
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        other => other?,
    };
    for name in list[..length].split(|&byte| byte == 0) {
        if name == b"security.capability" || name.starts_with(b"user.") {
            let mut value = vec![0; 1 << 16];
            let length = rustix::fs::lgetxattr(path, name, &mut value)?;
            value.truncate(length);
            kept.push((OsStr::from_bytes(name).to_owned(), value));
        }
    }
    Ok(kept)
}
