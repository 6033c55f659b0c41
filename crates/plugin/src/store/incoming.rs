//! Blobs on their way in: hashed while they are written, durable and verified before they get their
//! name. What is complete is the store's business.

use super::follow::{Announcer, Follower};
use super::{Garbage, Store};
use crate::digest::{Digest, Hasher};
use error::{Error, IoContext, Result};
use host::failpoint;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What one read of a resumed blob takes, in bytes.
const CHUNK: usize = 1 << 20;

/// A file in `partial/`, locked as long as this lives.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    file: File,
    hasher: Hasher,
    length: u64,
}

impl Partial {
    /// Opens or makes the file and waits for its lock.
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        let open = || format!("open {}", path.display());
        loop {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .doing(open)?;
            file.lock().doing(open)?;
            // While we waited it may have been renamed by a commit or removed as garbage.
            if is_at(&file, &path).doing(open)? {
                return Ok(Self { path, file, hasher: Hasher::default(), length: 0 });
            }
        }
    }

    /// Takes in what an earlier attempt left; more than `size` bytes of it are worth nothing.
    fn resume(&mut self, size: u64) -> Result<()> {
        let resume = || format!("resume {}", self.path.display());
        if self.file.metadata().doing(resume)?.len() > size {
            return self.restart();
        }
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = self.file.read(&mut buffer).doing(resume)?;
            if count == 0 {
                return Ok(());
            }
            self.hasher.update(&buffer[..count]);
            self.length += count as u64;
        }
    }

    fn restart(&mut self) -> Result<()> {
        let restart = || format!("empty {}", self.path.display());
        self.file.set_len(0).doing(restart)?;
        self.file.rewind().doing(restart)?;
        (self.hasher, self.length) = (Hasher::default(), 0);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.length += count as u64;
        Ok(count)
    }

    fn remove(&self) -> Result<()> {
        fs::remove_file(&self.path).doing(|| format!("remove {}", self.path.display()))
    }

    /// Gives the file its name among the complete ones, durably.
    fn publish(&self, to: &Path) -> Result<()> {
        self.file.sync_all().doing(|| format!("sync {}", self.path.display()))?;
        failpoint::hit("store.synced");
        host::file::rename_synced(&self.path, to)?;
        failpoint::hit("store.committed");
        Ok(())
    }
}

/// Removes the file if no writer lives; tells whether it is garbage.
pub(super) fn collect(path: PathBuf, dry_run: bool) -> Result<Option<Garbage>> {
    let open = || format!("open {}", path.display());
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.doing(open)?,
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(Error::io(open(), error)),
        Ok(()) => {}
    }
    if !is_at(&file, &path).doing(open)? {
        return Ok(None);
    }
    let garbage = Garbage::of(path)?;
    if !dry_run {
        garbage.remove()?;
    }
    Ok(Some(garbage))
}

/// Whether `path` still leads to the open `file`.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A blob coming in; what was written stays for the next attempt when dropped.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    partial: Partial,
    digest: Digest,
    size: u64,
    /// Another writer was faster: there is nothing to write.
    is_here: bool,
    announcer: Announcer,
}

impl Writer {
    pub(super) fn resume(
        store: Store,
        mut partial: Partial,
        digest: Digest,
        size: u64,
        is_here: bool,
    ) -> Result<Self> {
        if is_here {
            partial.remove()?;
        } else {
            partial.resume(size)?;
        }
        let announcer = Announcer::new(partial.length);
        Ok(Self { store, partial, digest, size, is_here, announcer })
    }

    /// A reader that goes along with what is written. `None`: the blob is here, whole.
    pub fn follow(&self) -> Result<Option<Follower>> {
        if self.is_here {
            return Ok(None);
        }
        let path = &self.partial.path;
        let file = File::open(path).doing(|| format!("open {}", path.display()))?;
        Ok(Some(self.announcer.follow(file)))
    }

    /// Bytes that are here already, to go on from. Equal to the size: only `commit` is missing.
    #[must_use]
    pub fn offset(&self) -> u64 {
        if self.is_here { self.size } else { self.partial.length }
    }

    /// Begins anew: the server does not do ranges.
    pub fn restart(&mut self) -> Result<()> {
        self.announcer.is_broken();
        if self.is_here { Ok(()) } else { self.partial.restart() }
    }

    /// Verifies size and digest, makes the blob durable and gives it its name. A wrong digest
    /// removes what came in; too few bytes (`Unavailable`) stay for the next attempt.
    pub fn commit(self) -> Result<()> {
        if self.is_here {
            return Ok(());
        }
        let Self { store, partial, digest, size, announcer, .. } = self;
        if partial.length != size {
            return Err(Error::unavailable(format!(
                "blob {digest} is incomplete: {} of {size} bytes came in; try again",
                partial.length
            )));
        }
        let found = partial.hasher.clone().finish();
        if found != digest {
            partial.remove()?;
            return Err(Error::internal(format!(
                "blob {digest} came in with the digest {found}: damaged or forged; nothing was kept"
            )));
        }
        partial.publish(&store.path(&digest))?;
        announcer.is_whole();
        Ok(())
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.size - self.offset() {
            // Whatever is wrong with it, going on from here won't mend it.
            self.restart().map_err(io::Error::other)?;
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("blob {} is larger than its {} bytes", self.digest, self.size),
            ));
        }
        let count = self.partial.append(bytes)?;
        self.announcer.has(self.partial.length);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A blob whose digest is computed as it comes in; removed when dropped uncommitted.
#[derive(Debug)]
pub struct Ingest {
    store: Store,
    /// Gone once it is committed.
    partial: Option<Partial>,
}

impl Ingest {
    pub(super) fn new(store: Store, partial: Partial) -> Self {
        Self { store, partial: Some(partial) }
    }

    /// Makes it durable; its digest and size.
    pub fn commit(mut self) -> Result<(Digest, u64)> {
        let gone = || Error::internal("a blob was committed twice");
        let partial = self.partial.as_ref().ok_or_else(gone)?;
        let (digest, length) = (partial.hasher.clone().finish(), partial.length);
        if self.store.find(&digest)? != Some(length) {
            partial.publish(&self.store.path(&digest))?;
            self.partial = None;
        }
        Ok((digest, length))
    }
}

impl Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.partial {
            Some(partial) => partial.append(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial
            && let Err(error) = partial.remove()
        {
            tracing::warn!(%error, "a part of a blob stays until the next collection");
        }
    }
}
