//! Removing what no plugin needs. Alone: what is about to be installed is needed by nobody yet.

use super::{Engine, blocking, outlive};
use crate::store::Garbage;
use error::{Error, Result};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How long a collection of garbage waits for what is being installed.
const COLLECT_PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether something is being installed.
const COLLECT_PAUSE: Duration = Duration::from_millis(100);

impl Engine {
    /// Removes blobs and layers that no plugin needs.
    pub async fn collect(self: &Arc<Self>, dry_run: bool) -> Result<Vec<Garbage>> {
        let engine = Arc::clone(self);
        outlive(async move { engine.collect_now(dry_run).await }).await
    }

    pub(super) async fn collect_now(&self, dry_run: bool) -> Result<Vec<Garbage>> {
        self.refuse_unreadable()?;
        let _alone = self.alone().await?;
        let records: Vec<_> = self.slots().iter().map(|slot| slot.record()).collect();
        let (store, layers) = (self.store.clone(), self.layers.clone());
        blocking(move || {
            let blobs = records.iter().flat_map(|record| record.blobs().cloned()).collect();
            let chains: HashSet<_> = records.iter().map(|record| record.chain()).collect();
            let mut garbage = store.collect(&blobs, dry_run)?;
            garbage.extend(layers.collect(&chains, dry_run)?);
            Ok(garbage)
        })
        .await
    }

    /// `FailedPrecondition` when it is not known what is garbage.
    fn refuse_unreadable(&self) -> Result<()> {
        match self.unreadable.iter().find(|dir| dir.exists()) {
            None => Ok(()),
            Some(dir) => Err(Error::failed_precondition(format!(
                "nothing is collected, since nobody knows what the plugin in {} needs: its record \
                 cannot be read; mend it and start the engine again, or remove the directory",
                dir.display()
            ))),
        }
    }

    /// Waits until nothing is being installed. Whoever waits for the lock in its queue would hold up
    /// all that is to be installed meanwhile, for as long as the slowest client takes.
    async fn alone(&self) -> Result<tokio::sync::RwLockWriteGuard<'_, ()>> {
        let until = tokio::time::Instant::now() + COLLECT_PATIENCE;
        loop {
            match self.collecting.try_write() {
                Ok(alone) => return Ok(alone),
                Err(_) if tokio::time::Instant::now() < until => {
                    tokio::time::sleep(COLLECT_PAUSE).await;
                }
                Err(_) => {
                    return Err(Error::unavailable(
                        "plugins are being installed or saved; collect garbage later",
                    ));
                }
            }
        }
    }
}
