//! What was asked for when a volume was made through the engine: one file per volume, named by the
//! digest of its name, since names are any text.

use super::Create;
use crate::digest::Digest;
use error::{Error, Result};
use host::file::Durability;
use host::record::{self, Read};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) name: String,
    /// The driver's canonical name.
    pub(super) driver: String,
    pub(super) options: BTreeMap<String, String>,
    pub(super) labels: BTreeMap<String, String>,
}

impl Record {
    pub(super) fn new(wish: Create, driver: &str) -> Self {
        let Create { name, options, labels, .. } = wish;
        Self { name, driver: driver.to_owned(), options, labels }
    }
}

/// All records; read from memory, each change on disk before it counts. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Records {
    dir: PathBuf,
    known: Arc<Mutex<BTreeMap<String, Record>>>,
}

impl Records {
    /// Reads the records in `dir`, which is made when missing.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        host::file::make_dir(dir, 0o700)?;
        let mut known = BTreeMap::new();
        for path in record::list(dir)? {
            match record::read::<Record>(&path)? {
                Read::Fine(record) => {
                    known.insert(record.name.clone(), record);
                }
                Read::Missing => {}
                Read::Unusable(error) => {
                    let kept = record::set_aside(&path)?;
                    tracing::warn!(%error, kept = %kept.display(), "volume record set aside");
                }
            }
        }
        Ok(Self { dir: dir.to_owned(), known: Arc::new(Mutex::new(known)) })
    }

    pub(super) fn find(&self, name: &str) -> Option<Record> {
        self.lock().get(name).cloned()
    }

    pub(super) fn all(&self) -> Vec<Record> {
        self.lock().values().cloned().collect()
    }

    pub(super) async fn put(&self, record: Record) -> Result<()> {
        let this = self.clone();
        blocking(move || {
            record::write(&this.path(&record.name), &record, Durability::Synced)?;
            this.lock().insert(record.name.clone(), record);
            Ok(())
        })
        .await
    }

    /// Forgets a volume; an unknown one is forgotten already.
    pub(super) async fn remove(&self, name: &str) -> Result<()> {
        if self.find(name).is_none() {
            return Ok(());
        }
        let (this, name) = (self.clone(), name.to_owned());
        blocking(move || {
            record::remove(&this.path(&name))?;
            this.lock().remove(&name);
            Ok(())
        })
        .await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{}.json", Digest::of(name.as_bytes()).hex()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Record>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Disks take their time; whoever else waits must not wait for them.
async fn blocking(work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("write a volume's record").because(error))?
}
