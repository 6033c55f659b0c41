//! What an archive says about one file: read from a tar, checked, and made plain. Nothing is written
//! here, and nothing that comes out of here has a `..` or a name that no file system takes.

use error::{Error, Kind as ErrorKind, Result};
use host::root::{Attributes, Node};
use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What all the headers of one entry may take (long names, PAX, sparse maps), in bytes.
const HEADERS: u64 = 1 << 20;

/// The longest name that file systems take, and the longest path that Linux takes, in bytes.
const NAME: usize = 255;
const PATH: usize = 4095;

/// One file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Relative and clean; empty for the root itself.
    pub(super) path: PathBuf,
    pub(super) what: What,
    pub(super) attributes: Attributes,
    /// Bytes of a file's contents, holes included.
    pub(super) size: u64,
    /// Whether zeros in it are likely to be holes.
    pub(super) is_sparse: bool,
}

/// What kind of file it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Directory,
    File,
    Symlink(OsString),
    /// Another name of the file at this path of the archive.
    HardLink(PathBuf),
    Node(Node),
}

/// Reads a tar to the very end of `reader`, and hands each entry with its contents to `take`.
/// `origin` names the archive in errors.
pub(super) fn each<R: Read>(
    reader: R,
    origin: &str,
    mut take: impl FnMut(&Entry, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let allowed = Rc::new(Cell::new(HEADERS));
    let mut archive = tar::Archive::new(Metered { inner: reader, allowed: allowed.clone() });
    let broken = |last: &str, error| match last {
        "" => failed(origin, error),
        last => failed(&format!("{origin} after entry {last}"), error),
    };
    let mut last = String::new();
    for entry in archive.entries().map_err(|error| broken(&last, error))? {
        let mut entry = entry.map_err(|error| broken(&last, error))?;
        allowed.set(u64::MAX);
        let name = shown(&entry.path_bytes());
        let at = || format!("{origin} entry {name}");
        let parsed = Entry::parse(&mut entry).map_err(|why| refused(&at(), why))?;
        if let Some(parsed) = parsed {
            take(&parsed, &mut entry)?;
        }
        io::copy(&mut entry, &mut io::sink()).map_err(|error| failed(&at(), error))?;
        last = name;
        allowed.set(HEADERS);
    }
    allowed.set(u64::MAX);
    // Whoever made the archive may have padded it; who checks its digest needs all of it.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|error| broken(&last, error))?;
    Ok(())
}

/// An error about the archive or one of its entries.
pub(super) fn refused(at: &str, why: impl std::fmt::Display) -> Error {
    Error::invalid_argument(format!("{at}: {why}"))
}

/// An I/O error at an archive or one of its entries. One of ours that had to pass through
/// `std::io` keeps its kind and text.
pub(super) fn failed(at: &str, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => Error::new(own.kind(), at).because(own),
        Err(error) => {
            let kind = match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::InvalidData
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::TooManyLinks
                | io::ErrorKind::Other => ErrorKind::InvalidArgument,
                // ELOOP, which std has no stable name for.
                _ if error.raw_os_error() == Some(40) => ErrorKind::InvalidArgument,
                _ => ErrorKind::of_io(&error),
            };
            Error::new(kind, at).because(error)
        }
    }
}

/// A name as errors show it: quoted, one line.
pub(super) fn shown(name: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(name))
}

/// Stops a reader that wants too much at once: the archive crate holds long names in memory.
struct Metered<R> {
    inner: R,
    allowed: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let left = self.allowed.get();
        if count as u64 > left {
            let text = format!("the headers of one entry take more than {HEADERS} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if left != u64::MAX {
            self.allowed.set(left - count as u64);
        }
        Ok(count)
    }
}

impl Entry {
    /// `None` for what is no file (PAX global headers).
    fn parse<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Option<Self>, String> {
        let name = entry.path_bytes().into_owned();
        let Some(what) = what(entry, &name)? else { return Ok(None) };
        let path = clean(&name)?;
        let size = entry.size();
        if what != What::File && size != 0 {
            return Err(format!("it is no file, yet has {size} bytes of contents"));
        }
        if path.as_os_str().is_empty() && what != What::Directory {
            return Err("only a directory can be the root".to_owned());
        }
        let is_sparse = entry.header().entry_type().is_gnu_sparse();
        let attributes = attributes(entry)?;
        Ok(Some(Self { path, what, attributes, size, is_sparse }))
    }
}

fn what<R: Read>(entry: &tar::Entry<'_, R>, name: &[u8]) -> Result<Option<What>, String> {
    use tar::EntryType as Type;
    let link = || entry.link_name_bytes().ok_or_else(|| "it links to nothing".to_owned());
    let header = entry.header();
    Ok(Some(match header.entry_type() {
        // Before 1988 a directory was a file whose name ends so.
        Type::Regular if name.ends_with(b"/") => What::Directory,
        Type::Regular | Type::Continuous | Type::GNUSparse => What::File,
        Type::Directory => What::Directory,
        Type::Symlink => What::Symlink(link_target(link()?.into_owned())?),
        Type::Link => {
            What::HardLink(clean(&link()?).map_err(|why| format!("its link target: {why}"))?)
        }
        Type::Fifo => What::Node(Node::Fifo),
        Type::Char | Type::Block => What::Node(device(header)?),
        Type::XGlobalHeader => return Ok(None),
        other => return Err(format!("its type {:?} is not known", char::from(other.as_byte()))),
    }))
}

fn link_target(target: Vec<u8>) -> Result<OsString, String> {
    match target.len() {
        0 => Err("it links to nothing".to_owned()),
        length if length > PATH || target.contains(&0) => {
            Err("its link target is no path that Linux takes".to_owned())
        }
        _ => Ok(OsString::from_vec(target)),
    }
}

fn device(header: &tar::Header) -> Result<Node, String> {
    let number = |part: io::Result<Option<u32>>| {
        part.ok().flatten().ok_or_else(|| "its device numbers are unreadable".to_owned())
    };
    let (major, minor) = (number(header.device_major())?, number(header.device_minor())?);
    match header.entry_type() {
        tar::EntryType::Block => Ok(Node::Block { major, minor }),
        _ if (major, minor) == (0, 0) => {
            Err("character device 0:0 is how overlayfs says \"removed\"".to_owned())
        }
        _ => Ok(Node::Character { major, minor }),
    }
}

/// A path inside the archive: absolute ones are taken as relative, `.` is dropped.
fn clean(name: &[u8]) -> Result<PathBuf, String> {
    let mut path = PathBuf::new();
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("\"..\" in a name leads out of the archive".to_owned()),
            _ if part.len() > NAME => {
                return Err(format!("a name in it is longer than {NAME} bytes"));
            }
            _ if part.contains(&0) => return Err("a zero byte is in its name".to_owned()),
            _ => path.push(OsStr::from_bytes(part)),
        }
    }
    if path.as_os_str().len() > PATH {
        return Err(format!("its name is longer than {PATH} bytes"));
    }
    Ok(path)
}

fn attributes<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Attributes, String> {
    let unreadable = |what: &str, error: &io::Error| format!("its {what} is unreadable: {error}");
    let header = entry.header();
    let id = |what, id: io::Result<u64>| -> Result<u32, String> {
        let id = id.map_err(|error| unreadable(what, &error))?;
        u32::try_from(id).map_err(|_| format!("its {what} {id} is too large"))
    };
    let mut attributes = Attributes {
        uid: id("user ID", header.uid())?,
        gid: id("group ID", header.gid())?,
        mode: header.mode().map_err(|error| unreadable("mode", &error))? & 0o7777,
        // Before 1970 it is a negative number, which the crate takes for a huge one.
        modified: Some(header.mtime().map_err(|error| unreadable("time", &error))?.cast_signed()),
        xattrs: Vec::new(),
    };
    let records = entry.pax_extensions().map_err(|error| unreadable("PAX header", &error))?;
    for record in records.into_iter().flatten() {
        let record = record.map_err(|error| unreadable("PAX header", &error))?;
        extend(&mut attributes, record.key_bytes(), record.value_bytes())?;
    }
    Ok(attributes)
}

fn extend(attributes: &mut Attributes, key: &[u8], value: &[u8]) -> Result<(), String> {
    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
        if is_kept(name) {
            attributes.xattrs.push((OsStr::from_bytes(name).to_owned(), value.to_owned()));
        }
    } else if key == b"mtime" {
        let text = String::from_utf8_lossy(value);
        let seconds = text.split('.').next().unwrap_or_default();
        attributes.modified =
            Some(seconds.parse().map_err(|_| format!("its time {text:?} is unreadable"))?);
    } else if key.starts_with(b"GNU.sparse.") {
        return Err("sparse files of tar --format=posix can't be read; pack without --sparse, or with --format=gnu".to_owned());
    }
    Ok(())
}

/// File capabilities and the users' own attributes. Dropped are all others: labels of the machine
/// that packed it (`security.selinux`), ACLs, and what would command overlayfs (`trusted.overlay`).
fn is_kept(name: &[u8]) -> bool {
    name == b"security.capability"
        || name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")
}

/// What a whiteout entry (`.wh.name`) says; `None` for any other entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whiteout {
    /// The file of lower layers at this path is gone.
    Remove(PathBuf),
    /// All that lower layers have in this directory is gone.
    Opaque(PathBuf),
    /// Bookkeeping of an old storage driver: means nothing.
    Ignored,
}

impl Whiteout {
    pub(super) fn of(path: &Path) -> Result<Option<Self>, &'static str> {
        let (dir, name) = (path.parent().unwrap_or(Path::new("")), path.file_name());
        let Some(name) = name.and_then(|name| name.as_bytes().strip_prefix(b".wh.")) else {
            return Ok(None);
        };
        match name {
            b".wh..opq" => Ok(Some(Self::Opaque(dir.to_owned()))),
            b"" | b"." | b".." => Err("a whiteout of nothing, or of a directory itself"),
            _ if name.starts_with(b".wh.") => Ok(Some(Self::Ignored)),
            _ => Ok(Some(Self::Remove(dir.join(OsStr::from_bytes(name))))),
        }
    }
}
