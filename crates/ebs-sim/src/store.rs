//! The account on disk: one record beside the images, so that a simulator that was killed goes on
//! where it was; and the lock that keeps a second one out.

use crate::world::World;
use error::{Error, IoContext, Result};
use host::file::Durability;
use host::lock::HomeLock;
use host::record;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The record of an account.
pub(crate) struct Store {
    path: PathBuf,
    _lock: HomeLock,
}

/// What is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Kept {
    pub(crate) world: World,
    /// How far the account's clock is ahead of this machine's, in milliseconds.
    pub(crate) ahead: u64,
}

impl Store {
    /// Opens the record in `dir` (made when missing). In use by another simulator →
    /// `FailedPrecondition`; unreadable → the error, and it stays as it is.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Kept)> {
        host::file::make_dir(dir, 0o700)?;
        let lock = HomeLock::acquire(&dir.join("lock"), Duration::ZERO)?;
        let path = dir.join("state.json");
        let kept = match std::fs::read(&path) {
            Ok(text) => record::decode(&text).map_err(|error| {
                Error::new(
                    error.kind(),
                    format!("cannot use {}; remove it and its images", path.display()),
                )
                .because(error)
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Kept::default(),
            Err(error) => return Err(error).doing(|| format!("read {}", path.display())),
        };
        Ok((Self { path, _lock: lock }, kept))
    }

    /// Replaces the record. It survives the process, not a power cut.
    pub(crate) fn save(&self, world: &World, ahead: u64) -> Result<()> {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct Borrowed<'a> {
            world: &'a World,
            ahead: u64,
        }
        record::write(&self.path, &Borrowed { world, ahead }, Durability::Volatile)
    }
}
