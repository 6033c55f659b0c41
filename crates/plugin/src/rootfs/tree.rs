//! Entries of an archive become files below a root: in the order they come, the later of two with
//! the same name wins, whiteouts remove. Where entries come from is no business of this module.

use super::Limits;
use super::entry::{Entry, What, Whiteout, failed, refused, shown};
use error::{Error, Result};
use host::root::{Attributes, Found, Root};
use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is copied at once, in bytes.
const CHUNK: usize = 256 << 10;

/// What was taken of the limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) bytes: u64,
    pub(super) entries: u64,
}

/// A tree that entries are added to.
pub(super) struct Tree<'a> {
    root: Root,
    /// The archive, for errors.
    origin: &'a str,
    limits: &'a Limits,
    used: Used,
    /// What came in this archive, with the directories it is in: an opaque directory keeps that.
    /// `None` when nothing is below that could be hidden.
    own: Option<HashSet<PathBuf>>,
    /// Set at the end, since whatever comes into a directory changes them.
    dir_times: Vec<(PathBuf, i64)>,
    buffer: Vec<u8>,
}

impl<'a> Tree<'a> {
    /// `used` is what lower layers took of the limits; with `is_upper` there are some.
    pub(super) fn new(
        root: Root,
        origin: &'a str,
        limits: &'a Limits,
        used: Used,
        is_upper: bool,
    ) -> Self {
        let own = is_upper.then(HashSet::new);
        let buffer = vec![0; CHUNK];
        Self { root, origin, limits, used, own, dir_times: Vec::new(), buffer }
    }

    /// Adds one entry; `data` are its contents.
    pub(super) fn add(&mut self, entry: &Entry, data: &mut dyn Read) -> Result<()> {
        let origin = self.origin;
        let at = || format!("{origin} entry {}", shown(entry.path.as_os_str().as_bytes()));
        self.count(entry, &at)?;
        match Whiteout::of(&entry.path).map_err(|why| refused(&at(), why))? {
            Some(whiteout) => self.hide(&whiteout).map_err(|error| failed(&at(), error)),
            None => {
                self.remember(&entry.path);
                self.make(entry, data).map_err(|error| failed(&at(), error))
            }
        }
    }

    /// Sets what had to wait; what was used and the root.
    pub(super) fn finish(mut self) -> Result<(Used, Root)> {
        for (path, modified) in std::mem::take(&mut self.dir_times) {
            self.root.set_dir_time(&path, modified).map_err(|error| {
                let name = shown(path.as_os_str().as_bytes());
                failed(&format!("{} entry {name}", self.origin), error)
            })?;
        }
        Ok((self.used, self.root))
    }

    fn count(&mut self, entry: &Entry, at: &impl Fn() -> String) -> Result<()> {
        self.used.entries += 1;
        self.used.bytes = self.used.bytes.saturating_add(entry.size);
        let (what, limit) = if self.used.entries > self.limits.entries {
            ("files", self.limits.entries)
        } else if self.used.bytes > self.limits.bytes {
            ("bytes", self.limits.bytes)
        } else {
            return Ok(());
        };
        Err(Error::out_of_range(format!(
            "{}: the plugin has more than the {limit} {what} that are allowed; raise the limit if you trust it",
            at()
        )))
    }

    fn remember(&mut self, path: &Path) {
        let Some(own) = &mut self.own else { return };
        for path in path.ancestors() {
            if path.as_os_str().is_empty() || !own.insert(path.to_owned()) {
                return;
            }
        }
    }

    fn hide(&mut self, whiteout: &Whiteout) -> io::Result<()> {
        match whiteout {
            Whiteout::Remove(path) => self.root.remove(path),
            Whiteout::Opaque(dir) => self.empty(dir),
            Whiteout::Ignored => Ok(()),
        }
    }

    /// Removes what is in `dir` and did not come in this archive.
    fn empty(&mut self, dir: &Path) -> io::Result<()> {
        if self.own.is_none() {
            return Ok(());
        }
        for name in self.root.list(dir)? {
            let path = dir.join(name);
            let is_own = self.own.as_ref().is_some_and(|own| own.contains(&path));
            if !is_own {
                self.root.remove(&path)?;
            } else if self.root.find(&path)? == Some(Found::Directory) {
                self.empty(&path)?;
            }
        }
        Ok(())
    }

    fn make(&mut self, entry: &Entry, data: &mut dyn Read) -> io::Result<()> {
        let made = match self.try_make(entry) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.root.make_dirs(entry.path.parent().unwrap_or(Path::new("")))?;
                self.replace(entry)?
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.replace(entry)?,
            other => other?,
        };
        self.fill(entry, made, data)
    }

    /// A directory stays where one is; anything else gives way.
    fn replace(&mut self, entry: &Entry) -> io::Result<Made> {
        let found = self.root.find(&entry.path)?;
        if entry.what == What::Directory && found == Some(Found::Directory) {
            return Ok(None);
        }
        if found.is_some() {
            if entry.what == What::HardLink(entry.path.clone()) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it links to itself"));
            }
            self.root.remove(&entry.path)?;
        }
        self.try_make(entry)
    }

    fn try_make(&mut self, entry: &Entry) -> io::Result<Made> {
        let path = &entry.path;
        match &entry.what {
            What::Directory if path.as_os_str().is_empty() => Ok(None),
            What::Directory => self.root.make_dir(path).map(|()| None),
            What::File => self.root.create(path).map(Some),
            What::Symlink(target) => self.root.symlink(target, path).map(|()| None),
            What::HardLink(target) => self.root.hard_link(target, path).map(|()| None),
            What::Node(node) => self.root.node(path, *node).map(|()| None),
        }
    }

    fn fill(&mut self, entry: &Entry, made: Made, data: &mut dyn Read) -> io::Result<()> {
        let Entry { path, attributes, .. } = entry;
        match (&entry.what, made) {
            (What::File, Some(mut file)) => {
                self.copy(entry, data, &mut file)?;
                attributes.apply_to_file(&file)
            }
            (What::Directory, _) => {
                self.dir_times.extend(attributes.modified.map(|time| (path.clone(), time)));
                let attributes = Attributes { modified: None, ..attributes.clone() };
                self.root.dress(path, &attributes)
            }
            (What::Symlink(_), _) => self.root.dress_link(path, attributes),
            // The other name's entry said it all.
            (What::HardLink(_) | What::File, _) => Ok(()),
            (What::Node(_), _) => self.root.dress(path, attributes),
        }
    }

    fn copy(
        &mut self,
        entry: &Entry,
        data: &mut dyn Read,
        file: &mut std::fs::File,
    ) -> io::Result<()> {
        let mut length = 0;
        loop {
            let count = match data.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let bytes = &self.buffer[..count];
            if count == 0 {
                break;
            } else if entry.is_sparse && bytes.iter().all(|&byte| byte == 0) {
                file.seek(SeekFrom::Current(count as i64))?;
            } else {
                file.write_all(bytes)?;
            }
            length += count as u64;
        }
        if length != entry.size {
            let text = format!("the archive ends after {length} of its {} bytes", entry.size);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        if entry.is_sparse { file.set_len(length) } else { Ok(()) }
    }
}

/// The open file, where one was made.
type Made = Option<std::fs::File>;
