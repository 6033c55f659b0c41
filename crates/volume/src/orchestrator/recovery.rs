//! What a crash, a reboot or a vanished caller left behind: found and put right at every start and
//! by a sweep every few seconds. The kernel decides what is in use, never a count.

use super::{Detached, Orchestrator};
use crate::driver::{Driver, blocking};
use crate::ledger::{Consumer, ConsumerKind, Entry, Shown, State};
use crate::name::VolumeName;
use error::{Error, Result};
use host::Mount;
use jiff::Timestamp;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError};

/// How long a mount ID counts at least, even when its caller has gone: the container of a caller
/// that was killed meanwhile may be about to mount.
const GRACE_SECONDS: i64 = 30;
/// The fault of a volume whose mount is gone.
pub(super) const UNDONE: &str = "unmounted by somebody else; the next mount of it puts it back";
/// How long recovery waits for volumes that hang.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

impl Orchestrator {
    /// Puts right what the last run left. Each volume by itself: one that fails stops no other,
    /// and one that hangs is left to itself after a while.
    pub async fn recover(self: &Arc<Self>) {
        let settling = self.ledger.list().into_iter().map(|entry| {
            let this = Arc::clone(self);
            tokio::spawn(async move { this.recover_one(&entry.name).await })
        });
        let until = tokio::time::Instant::now() + PATIENCE;
        for settled in settling.collect::<Vec<_>>() {
            let _ = tokio::time::timeout_at(until, settled).await;
        }
        if let Err(error) = self.find_mounts().await {
            tracing::error!(service = %self.service, %error, "the mount table cannot be read");
        }
        // A command that works without an agent sweeps nothing, and must tell them all the same.
        if let Err(error) = self.look_for_faults().await {
            tracing::error!(service = %self.service, %error, "faults of mounts cannot be told");
        }
        self.count_mounted();
    }

    async fn recover_one(&self, name: &VolumeName) {
        let _lock = self.driver.lock(name.as_str()).await;
        // Somebody may have been quicker.
        let Some(entry) = self.ledger.find(name) else { return };
        if let Err(error) = self.settle(&entry).await {
            tracing::error!(service = %self.service, volume = %name, %error, "not recovered");
        }
    }

    async fn settle(&self, entry: &Entry) -> Result<()> {
        let (host, target) = (Arc::clone(&self.host), self.target(&entry.name));
        let mounted = blocking(move || host.at(&target)).await?;
        match (entry.state, mounted) {
            (State::Mounted, Some(mount)) if entry.shown == Some(Shown::from(&mount)) => {
                self.thaw(entry).await
            }
            (State::Mounted, Some(mount)) => Err(Error::failed_precondition(format!(
                "{} shows {} {} instead; unmount it by hand",
                mount.target.display(),
                mount.fstype,
                mount.source
            ))),
            // To be mounted again for callers that had it, and killed meanwhile: gone through anew,
            // which looks at what is there.
            (State::Preparing, Some(_)) if !entry.consumers.is_empty() => {
                let volume = self.driver.get(&entry.id).await?;
                self.mount_anew(&volume, entry.clone(), None::<fn() -> Consumer>).await
            }
            (State::Attached, None) => Ok(()),
            // Without a device, an attachment by hand was never answered: nobody counts on it.
            _ => self.release(entry.clone(), entry.device.is_none()).await.map(drop),
        }
    }

    /// A snapshot that was killed leaves the file system frozen, and every writer waiting.
    async fn thaw(&self, entry: &Entry) -> Result<()> {
        if entry.device.is_none() {
            return Ok(());
        }
        let (host, target) = (Arc::clone(&self.host), self.target(&entry.name));
        if blocking(move || host.thaw(&target)).await?.is_done() {
            tracing::warn!(volume = %entry.name, "thawed: a snapshot had been interrupted");
        }
        Ok(())
    }

    /// Volumes that are mounted though the ledger does not know: it was lost.
    async fn find_mounts(&self) -> Result<()> {
        for mount in self.own_mounts().await? {
            let Some(name) = own_name(&mount, &self.mounts) else { continue };
            // The table was read without the lock: by now it may be in the ledger, or gone. One
            // with an operation under way is in the ledger soon.
            let Some(_lock) = self.driver.try_lock(name.as_str()) else { continue };
            if let Err(error) = self.adopt_mount(&name).await {
                tracing::error!(service = %self.service, volume = %name, %error, "mounted; left alone");
            }
        }
        Ok(())
    }

    async fn adopt_mount(&self, name: &VolumeName) -> Result<()> {
        let (host, target) = (Arc::clone(&self.host), self.target(name));
        let still = blocking(move || host.at(&target)).await?;
        let (None, Some(mount)) = (self.ledger.find(name), still) else { return Ok(()) };
        let volume = self.require(name).await?;
        let entry = self.new_entry(&volume);
        if !self.is_ours(&entry, mount.clone()).await? {
            return Err(Error::failed_precondition(format!(
                "{} {} is not this volume",
                mount.fstype, mount.source
            )));
        }
        tracing::warn!(volume = %name, "found mounted without a ledger entry");
        let device = volume.filesystem.is_some().then(|| mount.source.clone().into());
        let consumer = Consumer {
            id: "found".to_owned(),
            since: Timestamp::now(),
            kind: ConsumerKind::Found,
            caller: None,
        };
        self.ledger.put(Entry {
            state: State::Mounted,
            shown: Some(Shown::from(&mount)),
            consumers: vec![consumer],
            device,
            ..entry
        })
    }

    async fn own_mounts(&self) -> Result<Vec<Mount>> {
        let (host, dir) = (Arc::clone(&self.host), self.mounts.clone());
        blocking(move || {
            let mut mounts = host.table()?;
            mounts.retain(|mount| mount.target.parent() == Some(&dir));
            Ok(mounts)
        })
        .await
    }

    /// Releases what nobody uses any more, tries again what could not be released, and looks for
    /// mounts that have gone bad. Volumes with an operation under way are left for the next time.
    pub async fn sweep(&self) {
        if let Err(error) = self.look_for_faults().await {
            tracing::error!(service = %self.service, %error, "the mount table cannot be read");
        }
        for entry in self.ledger.list() {
            let Some(_lock) = self.driver.try_lock(entry.name.as_str()) else { continue };
            self.record_loss(&entry.name);
            let Some(entry) = self.ledger.find(&entry.name) else { continue };
            let swept = match entry.state {
                State::Releasing => self.release(Entry::clone(&entry), false).await.map(drop),
                // Nobody prepares it, or its lock were taken: that ended without a clean-up.
                State::Preparing => self.settle(&entry).await,
                State::Mounted if is_abandoned(&entry, Timestamp::now()) => {
                    self.reclaim(&entry).await
                }
                State::Mounted | State::Attached => Ok(()),
            };
            if let Err(error) = swept {
                tracing::debug!(service = %self.service, volume = %entry.name, %error, "not yet released");
            }
        }
    }

    /// Releases a mounted volume whose callers are all gone, unless a container still holds it.
    ///
    /// The mount tables of all processes are asked first, since that disturbs nobody. Then the
    /// kernel decides: without our own mount, an exclusive open of the device succeeds only when no
    /// mount namespace holds the file system. If one does, our mount is put back.
    async fn reclaim(&self, entry: &Entry) -> Result<()> {
        if !self.shows(&self.target(&entry.name), entry).await? {
            return self.released(entry, self.release(entry.clone(), false).await?);
        }
        if !self.users(entry).await?.is_empty() {
            return Ok(());
        }
        let Some(device) = entry.device.clone() else {
            return self.released(entry, self.release(entry.clone(), false).await?);
        };
        let (host, target) = (Arc::clone(&self.host), self.target(&entry.name));
        let held = blocking(move || {
            host.unmount(&target)?;
            host.is_held(&device)
        });
        if held.await? {
            let volume = self.driver.get(&entry.id).await?;
            return self.mount_anew(&volume, entry.clone(), None::<fn() -> Consumer>).await;
        }
        self.released(entry, self.release(entry.clone(), false).await?)
    }

    fn released(&self, entry: &Entry, how: Detached) -> Result<()> {
        let ids = entry.consumers.len();
        tracing::warn!(volume = %entry.name, ids, ?how, "released: its callers are gone and nobody holds it");
        Ok(())
    }

    /// Compares the mount table with the ledger, without touching any mount.
    async fn look_for_faults(&self) -> Result<()> {
        if self.mounted() == 0 {
            self.faults.write().unwrap_or_else(PoisonError::into_inner).clear();
            return Ok(());
        }
        let mounts = self.own_mounts().await?;
        let by_target: HashMap<&Path, &Mount> =
            mounts.iter().map(|mount| (mount.target.as_path(), mount)).collect();
        let mut found = HashMap::new();
        // That a claim was lost was told when it was.
        let mounted =
            |entry: &Arc<Entry>| entry.state == State::Mounted && self.lost(&entry.name).is_none();
        for entry in self.ledger.list().iter().filter(|entry| mounted(entry)) {
            let mount = by_target.get(self.target(&entry.name).as_path()).copied();
            if let Some(fault) = self.fault(entry, mount).await {
                found.insert(entry.name.clone(), fault);
            }
        }
        let mut faults = self.faults.write().unwrap_or_else(PoisonError::into_inner);
        for (name, fault) in found.iter().filter(|(name, fault)| faults.get(*name) != Some(fault)) {
            tracing::error!(service = %self.service, volume = %name, fault, "volume has a fault");
        }
        *faults = found;
        Ok(())
    }

    async fn fault(&self, entry: &Entry, mount: Option<&Mount>) -> Option<String> {
        let Some(mount) = mount else {
            return Some(UNDONE.to_owned());
        };
        if !mount.is_read_only() {
            return None;
        }
        let volume = self.driver.find(&entry.name).await.ok().flatten()?;
        (!volume.parameters.is_read_only()).then(|| {
            "read-only: the kernel met an error on the device; check its log, unmount the volume, \
             and mount it again to have it repaired"
                .to_owned()
        })
    }
}

fn own_name(mount: &Mount, dir: &Path) -> Option<VolumeName> {
    let name = mount.target.strip_prefix(dir).ok()?.to_str()?;
    VolumeName::parse(name).ok()
}

/// Whether nobody is left who could give the volume back.
fn is_abandoned(entry: &Entry, now: Timestamp) -> bool {
    let gone = |consumer: &Consumer| {
        let age = now.duration_since(consumer.since).as_secs();
        age >= GRACE_SECONDS
            && match consumer.kind {
                ConsumerKind::Standing => false,
                ConsumerKind::Found => true,
                ConsumerKind::Engine => {
                    consumer.caller.as_ref().is_some_and(|caller| !caller.is_alive())
                }
            }
    };
    entry.consumers.iter().all(gone)
}
