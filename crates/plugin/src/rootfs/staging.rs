//! A layer being made: a directory that becomes a layer by one rename, and vanishes otherwise.
//!
//! ```text
//! <layers>/tmp-<uuid>/{fs,work}  locked (flock) by whoever makes it
//! <layers>/<hex>/{fs,layer.json} complete
//! ```

use error::{Error, IoContext, Result};
use host::{failpoint, file};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

const PREFIX: &str = "tmp-";

pub(super) struct Staging {
    dir: PathBuf,
    /// Held until it is renamed or removed.
    _lock: File,
}

impl Staging {
    pub(super) fn new(layers: &Path) -> Result<Self> {
        loop {
            let dir = layers.join(format!("{PREFIX}{}", uuid::Uuid::new_v4()));
            file::make_dir(&dir, 0o700)?;
            let lock = match File::open(&dir) {
                // Somebody sweeps, and was faster than our lock.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                other => other.doing(|| format!("open {}", dir.display()))?,
            };
            lock.lock().doing(|| format!("lock {}", dir.display()))?;
            if dir.exists() {
                let staging = Self { dir, _lock: lock };
                file::make_dir(&staging.fs(), 0o755)?;
                return Ok(staging);
            }
        }
    }

    /// The root of the layer.
    pub(super) fn fs(&self) -> PathBuf {
        self.dir.join("fs")
    }

    /// What overlayfs needs beside it.
    pub(super) fn work(&self) -> Result<PathBuf> {
        let work = self.dir.join("work");
        file::make_dir(&work, 0o700)?;
        Ok(work)
    }

    /// Writes a file beside the root, durably.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        file::write_new(&self.dir.join(name), bytes)
    }

    /// Gives it its name, durably; all of it is on disk already. Another that was faster wins.
    pub(super) fn publish(self, to: &Path) -> Result<()> {
        file::remove_tree(&self.dir.join("work"))?;
        failpoint::hit("layer.synced");
        match file::rename_synced(&self.dir, to) {
            Err(_) if to.exists() => Ok(()),
            other => {
                failpoint::hit("layer.published");
                other
            }
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = file::remove_tree(&self.dir) {
            tracing::warn!(%error, "a part of a layer stays until the next start");
        }
    }
}

/// Removes a layer, so that an interruption leaves what [`sweep`] takes away, and no half layer.
pub(super) fn discard(layer: &Path) -> Result<()> {
    let doomed = layer.with_file_name(format!("{PREFIX}{}", uuid::Uuid::new_v4()));
    file::rename_synced(layer, &doomed)?;
    failpoint::hit("layer.doomed");
    file::remove_tree(&doomed).map(drop)
}

/// Whether the directory is one of those here, and no layer.
pub(super) fn is_staging(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
}

/// Removes what interrupted work left; what is being made stays.
pub(super) fn sweep(layers: &Path) -> Result<()> {
    let list = || format!("list {}", layers.display());
    for entry in fs::read_dir(layers).doing(list)? {
        let path = entry.doing(list)?.path();
        if is_staging(&path) {
            remove_if_abandoned(&path)?;
        }
    }
    Ok(())
}

fn remove_if_abandoned(dir: &Path) -> Result<()> {
    let open = || format!("open {}", dir.display());
    let lock = match File::open(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.doing(open)?,
    };
    match lock.try_lock() {
        Ok(()) => file::remove_tree(dir).map(drop),
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(Error::io(open(), error)),
    }
}
