//! Directories packed: a create context as the command line sends it, and all of a plugin's files as
//! one layer.

use super::entry::{Entry, What};
use super::header;
use error::{Error, IoContext, Result};
use host::root::{Attributes, Node};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Writes a create context of the directory `dir` (with `config.json` and `rootfs/`) as a plain tar.
///
/// Sorted by name, with the owners, modes, times in seconds and file capabilities that are on disk;
/// sockets are left out, symbolic links are not followed, and nothing else of `dir` is sent.
pub fn write_context(dir: &Path, tar: &mut dyn Write) -> Result<()> {
    let mut writer = Writer::new(dir, tar, Purpose::Context);
    for (name, is_right) in
        [("config.json", Metadata::is_file as fn(&Metadata) -> bool), ("rootfs", Metadata::is_dir)]
    {
        match fs::symlink_metadata(dir.join(name)) {
            Ok(found) if is_right(&found) => writer.add(Path::new(name), &found)?,
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(format!("look at {}", dir.join(name).display()), error));
            }
            _ => {
                return Err(Error::invalid_argument(format!(
                    "{} must have a file config.json and a directory rootfs in it; {name} is not there",
                    dir.display()
                )));
            }
        }
    }
    header::end(tar).doing(|| "write the plugin context")
}

/// Writes all that is in the directory `dir` as a plain layer: the same files give the same bytes,
/// on whichever machine they were unpacked.
pub(super) fn write_layer(dir: &Path, tar: &mut dyn Write) -> Result<()> {
    let found = fs::metadata(dir).doing(|| "look at a plugin's files")?;
    Writer::new(dir, tar, Purpose::Layer).add(Path::new(""), &found)?;
    header::end(tar).doing(|| "write a layer")
}

/// What becomes of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Context,
    Layer,
}

struct Writer<'a> {
    dir: &'a Path,
    tar: &'a mut dyn Write,
    purpose: Purpose,
    /// Under which name a file with several was written, by device and inode.
    linked: HashMap<(u64, u64), PathBuf>,
}

impl<'a> Writer<'a> {
    fn new(dir: &'a Path, tar: &'a mut dyn Write, purpose: Purpose) -> Self {
        Self { dir, tar, purpose, linked: HashMap::new() }
    }

    fn add(&mut self, path: &Path, found: &Metadata) -> Result<()> {
        let Some(entry) = self.entry(path, found)? else { return Ok(()) };
        let whole = if self.purpose == Purpose::Layer { "layer" } else { "plugin context" };
        let write = || format!("write {} to the {whole}", path.display());
        // Opened before its header is written: a file that is gone then is no half entry.
        let file = match entry.what {
            What::File => Some(self.open(path)?),
            _ => None,
        };
        header::write(self.tar, &entry).doing(write)?;
        if let Some(file) = file {
            let copied = io::copy(&mut file.take(entry.size), self.tar).doing(write)?;
            if copied != entry.size {
                return Err(Error::aborted(format!(
                    "{} became shorter while it was read; try again",
                    self.dir.join(path).display()
                )));
            }
            self.tar.write_all(header::padding(entry.size)).doing(write)?;
        }
        if entry.what == What::Directory { self.children(path) } else { Ok(()) }
    }

    fn children(&mut self, path: &Path) -> Result<()> {
        let dir = self.dir.join(path);
        let list = || format!("list {}", dir.display());
        let mut names = Vec::new();
        for entry in fs::read_dir(&dir).doing(list)? {
            names.push(entry.doing(list)?.file_name());
        }
        names.sort();
        for name in names {
            let path = path.join(name);
            let found = fs::symlink_metadata(self.dir.join(&path))
                .doing(|| format!("look at {}", path.display()))?;
            self.add(&path, &found)?;
        }
        Ok(())
    }

    /// `None` for what is left out.
    fn entry(&mut self, path: &Path, found: &Metadata) -> Result<Option<Entry>> {
        let Some(what) = self.what(path, found)? else { return Ok(None) };
        let is_dir = what == What::Directory;
        let xattrs = if what == What::File || is_dir { self.xattrs(path)? } else { Vec::new() };
        // A directory's own time is that of its unpacking, unless its archive said otherwise.
        let is_timed = !is_dir || self.purpose == Purpose::Context;
        let attributes = Attributes {
            uid: found.uid(),
            gid: found.gid(),
            mode: found.mode() & 0o7777,
            modified: is_timed.then(|| found.mtime()),
            xattrs,
        };
        let size = if what == What::File { found.len() } else { 0 };
        Ok(Some(Entry { path: path.to_owned(), what, attributes, size, is_sparse: false }))
    }

    /// Of what is sent, file capabilities only: users' own attributes are about their working copy.
    fn xattrs(&self, path: &Path) -> Result<Vec<(OsString, Vec<u8>)>> {
        let whole = self.dir.join(path);
        let mut xattrs = host::root::kept_xattrs(&whole)
            .doing(|| format!("read the attributes of {}", whole.display()))?;
        if self.purpose == Purpose::Context {
            xattrs.retain(|(name, _)| name == "security.capability");
        }
        xattrs.sort();
        Ok(xattrs)
    }

    fn what(&mut self, path: &Path, found: &Metadata) -> Result<Option<What>> {
        let kind = found.file_type();
        if !kind.is_dir() && found.nlink() > 1 {
            let first = self.linked.entry((found.dev(), found.ino()));
            let first = first.or_insert_with(|| path.to_owned());
            if first != path {
                return Ok(Some(What::HardLink(first.clone())));
            }
        }
        let device = found.rdev();
        let (major, minor) = host::root::device_numbers(device);
        Ok(Some(if kind.is_dir() {
            What::Directory
        } else if kind.is_file() {
            What::File
        } else if kind.is_symlink() {
            let whole = self.dir.join(path);
            let target = fs::read_link(&whole).doing(|| format!("read {}", whole.display()))?;
            What::Symlink(target.into_os_string())
        } else if kind.is_fifo() {
            What::Node(Node::Fifo)
        } else if kind.is_char_device() {
            What::Node(Node::Character { major, minor })
        } else if kind.is_block_device() {
            What::Node(Node::Block { major, minor })
        } else {
            return Ok(None);
        }))
    }

    fn open(&self, path: &Path) -> Result<File> {
        let path = self.dir.join(path);
        OpenOptions::new()
            .read(true)
            .custom_flags(host::root::NO_FOLLOW)
            .open(&path)
            .doing(|| format!("open {}", path.display()))
    }
}
