//! Content-addressed blobs, shared by all plugins. A blob appears under its name only when size and
//! digest held. What a blob means is no business of this module.
//!
//! ```text
//! <dir>/sha256/<hex>           complete and verified
//! <dir>/partial/<hex>          coming in, its digest known; locked (flock) by its writer
//! <dir>/partial/ingest-<uuid>  coming in, its digest unknown; locked likewise
//! ```

mod follow;
mod incoming;

pub use follow::Follower;
pub use incoming::{Ingest, Writer};

use crate::digest::Digest;
use error::{Error, IoContext, Kind, Result};
use incoming::Partial;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A store of blobs.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// A blob that nothing needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbage {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes that its removal frees.
    pub bytes: u64,
}

impl Store {
    /// Opens the store, making its directories (0700) if needed.
    pub fn open(dir: &Path) -> Result<Self> {
        let store = Self { dir: dir.to_owned() };
        for part in [&store.complete(), &store.partial()] {
            host::file::make_dir(part, 0o700)?;
        }
        Ok(store)
    }

    /// The blob's size in bytes, if it is here.
    pub fn find(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.path(digest);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => Ok(Some(found.len())),
            Ok(_) => Err(Error::failed_precondition(format!(
                "{} is in the way: not a file; move it away",
                path.display()
            ))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format!("look for blob {digest}"), error)),
        }
    }

    /// Opens a blob for reading; `NotFound` if it is not here.
    pub fn blob(&self, digest: &Digest) -> Result<File> {
        File::open(self.path(digest)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::not_found(format!(
                "blob {digest} is not here; install or create its plugin again"
            )),
            _ => Error::io(format!("open blob {digest}"), error),
        })
    }

    /// A whole blob of at most `limit` bytes, verified while reading.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.blob(digest)?;
        file.take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .doing(|| format!("read blob {digest}"))?;
        if bytes.len() as u64 > limit {
            return Err(Error::out_of_range(format!(
                "blob {digest} is larger than the {limit} bytes that are allowed for it"
            )));
        }
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(Error::internal(format!(
                "{} is damaged: its digest is {found}; remove the file, and install or create its plugin again",
                self.path(digest).display()
            )));
        }
        Ok(bytes)
    }

    /// Stores `bytes`; nothing happens if they are here already.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if self.find(&digest)? == Some(bytes.len() as u64) {
            return Ok(digest);
        }
        let mut ingest = self.ingest()?;
        ingest.write_all(bytes).doing(|| format!("write blob {digest}"))?;
        ingest.commit().map(|(digest, _)| digest)
    }

    /// Begins, or goes on with, a blob of known digest and size. Two at once for one digest: the
    /// second waits (file lock), and then finds all bytes here; so call it where waiting is allowed.
    pub fn writer(&self, digest: &Digest, size: u64) -> Result<Writer> {
        let partial = Partial::open(self.partial().join(digest.hex()))?;
        let is_here = self.find(digest)? == Some(size);
        Writer::resume(self.clone(), partial, digest.clone(), size, is_here)
    }

    /// Begins a blob whose digest is not known yet.
    pub fn ingest(&self) -> Result<Ingest> {
        let name = format!("ingest-{}", uuid::Uuid::new_v4());
        Ok(Ingest::new(self.clone(), Partial::open(self.partial().join(name))?))
    }

    /// Removes every blob that is not in `keep`, and abandoned partial ones; `dry_run` only tells.
    ///
    /// What a living writer has locked stays, and so do partial blobs in `keep`. A blob that was
    /// committed and is not in `keep` yet goes: the caller keeps pulls and collections apart.
    pub fn collect(&self, keep: &HashSet<Digest>, dry_run: bool) -> Result<Vec<Garbage>> {
        let kept: HashSet<&str> = keep.iter().map(Digest::hex).collect();
        let mut garbage = Vec::new();
        for path in files(&self.complete())? {
            if !is_named(&path, &kept) {
                let found = Garbage::of(path)?;
                if !dry_run {
                    found.remove()?;
                }
                garbage.push(found);
            }
        }
        for path in files(&self.partial())? {
            if !is_named(&path, &kept) {
                garbage.extend(incoming::collect(path, dry_run)?);
            }
        }
        garbage.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(garbage)
    }

    fn complete(&self) -> PathBuf {
        self.dir.join("sha256")
    }

    fn partial(&self) -> PathBuf {
        self.dir.join("partial")
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.complete().join(digest.hex())
    }
}

impl Garbage {
    fn of(path: PathBuf) -> Result<Self> {
        let bytes = host::file::allocated(&path)?;
        Ok(Self { path, bytes })
    }

    /// Removes the file; gone already is as good.
    fn remove(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::new(Kind::of_io(&error), format!("remove {}", self.path.display()))
                    .because(error))
            }
            _ => Ok(()),
        }
    }
}

fn is_named(path: &Path, names: &HashSet<&str>) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| names.contains(name))
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let list = || format!("list {}", dir.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).doing(list)? {
        let entry = entry.doing(list)?;
        if entry.file_type().doing(list)?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
