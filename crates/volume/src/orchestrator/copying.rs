//! Expansion, snapshots and copies: what changes or reads a volume as a whole.

use super::Orchestrator;
use crate::driver::{Driver, Listed, Page, blocking};
use crate::ledger::State;
use crate::name::{SnapshotName, VolumeName};
use crate::size::Size;
use crate::volume::{Snapshot, Volume};
use error::{Error, Result};
use host::{Fstype, Outcome, failpoint};
use std::path::PathBuf;
use std::sync::Arc;

/// What an expansion came to.
#[derive(Debug, Clone)]
pub struct Expanded {
    /// The volume as it is now.
    pub volume: Volume,
    /// Whether users already see the new size; otherwise they will with the next mount.
    pub in_effect: bool,
}

/// Keeps a file system frozen while it lives.
pub(super) struct Still(Option<Box<dyn Send>>);

impl Still {
    /// Lets writers go on, and returns when they do: until then the next snapshot could not freeze.
    pub(super) async fn end(mut self) {
        if let Some(guard) = self.0.take() {
            // A panic of the guard has nothing to tell that it has not logged.
            let _ = tokio::task::spawn_blocking(move || drop(guard)).await;
        }
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        if let Some(guard) = self.0.take() {
            // Thawing may wait for the disk: not on a thread that others wait for.
            tokio::task::spawn_blocking(move || drop(guard));
        }
    }
}

impl Orchestrator {
    /// Grows a volume to `size`: online where file system and kernel can, else at the next mount.
    ///
    /// Mounted, and cannot grow online → `FailedPrecondition`, and nothing changes.
    pub async fn expand(&self, name: &VolumeName, size: Size) -> Result<Outcome<Expanded>> {
        let _lock = self.driver.lock_for(name.as_str(), "expand").await;
        let volume = self.require(name).await?;
        // Mounted read-only, it does not grow at once.
        let mounted = match volume.parameters.is_read_only() {
            true => None,
            false => self.mounted_device(name),
        };
        let fstype = volume.filesystem.as_ref().map(|filesystem| filesystem.fstype);
        let grows = volume.size.is_some_and(|have| have < size);
        if let (Some(_), Some(fstype), true) = (&mounted, fstype, grows)
            && !self.host.can_grow(fstype, true)
        {
            return Err(cannot_grow_online(name, fstype));
        }
        if let (Some(filesystem), true) = (&volume.filesystem, grows) {
            filesystem.ensure_grows_to(size)?;
        }
        let expanded = self.driver.expand(&volume.id, size).await?;
        failpoint::hit("expand.device");
        let (done, mut volume) = (expanded.is_done(), expanded.into_inner());
        let behind = volume.filesystem.as_ref().is_some_and(|fs| fs.covers < volume.size);
        let mut in_effect = !behind;
        if let (Some((device, target)), Some(fstype), true) = (mounted, fstype, behind)
            && self.host.can_grow(fstype, true)
        {
            // Others may have grown the same device.
            let _one_at_a_time = self.driver.lock(&format!("growth of {name}")).await;
            let host = Arc::clone(&self.host);
            let grown = blocking(move || {
                host.grow(&device, fstype, Some(&target))?;
                host.size(&device)
            });
            let covers = Size(grown.await?);
            failpoint::hit("expand.grown");
            if let Some(filesystem) = &volume.filesystem {
                self.driver.record_filesystem(&volume.id, &filesystem.covering(covers)).await?;
            }
            volume = self.driver.get(&volume.id).await?;
            in_effect = true;
        }
        let answer = Expanded { volume, in_effect };
        Ok(if done { Outcome::Done(answer) } else { Outcome::AlreadyDone(answer) })
    }

    fn mounted_device(&self, name: &VolumeName) -> Option<(PathBuf, PathBuf)> {
        let entry = self.ledger.find(name).filter(|entry| entry.state == State::Mounted)?;
        Some((entry.device.clone()?, self.target(name)))
    }

    /// Takes a snapshot; a mounted file system is frozen meanwhile, so that it is consistent.
    pub async fn snapshot(
        &self,
        name: &VolumeName,
        snapshot: &SnapshotName,
    ) -> Result<Outcome<Snapshot>> {
        let _lock = self.driver.lock(name.as_str()).await;
        let _name = self.driver.lock(&format!("snapshot {snapshot}")).await;
        let volume = self.require(name).await?;
        if !self.driver.capabilities().snapshots {
            return Err(self.driver.lacks("take snapshots"));
        }
        let still = self.freeze(Some(&volume)).await?;
        failpoint::hit("snapshot.frozen");
        let taken = self.driver.snapshot(&volume.id, snapshot).await;
        still.end().await;
        taken
    }

    /// Freezes the volume's file system if it is mounted from a device.
    ///
    /// Not mounted here, but held by somebody, here or on another machine → `FailedPrecondition`:
    /// what they have not written yet would be missing.
    pub(super) async fn freeze(&self, volume: Option<&Volume>) -> Result<Still> {
        let Some(volume) = volume else { return Ok(Still(None)) };
        self.refuse_held_elsewhere(volume).await?;
        let name = &volume.name;
        let entry = self.ledger.find(name);
        let Some((entry, device)) =
            entry.and_then(|entry| Some((entry.clone(), entry.device.clone()?)))
        else {
            return Ok(Still(None));
        };
        let (host, target) = (Arc::clone(&self.host), self.target(name));
        let guard = blocking(move || match host.at(&target)? {
            Some(mount) if mount.is_read_only() => Ok(Some(None)),
            Some(_) => host.freeze(&target).map(|guard| Some(Some(guard))),
            None if host.is_held(&device)? => Ok(None),
            None => Ok(Some(None)),
        });
        match guard.await? {
            Some(guard) => Ok(Still(guard)),
            None => Err(self.held(&entry).await),
        }
    }

    async fn refuse_held_elsewhere(&self, volume: &Volume) -> Result<()> {
        // A bare device has no file system of ours: who writes to it knows when it is consistent.
        if volume.attached.is_empty() || volume.filesystem.is_none() {
            return Ok(());
        }
        let here = self.driver.node().await?;
        match volume.attached.iter().find(|node| **node != here) {
            None => Ok(()),
            Some(node) => Err(Error::failed_precondition(format!(
                "volume {} is attached to {node}, and a copy would lack what is not written there yet; \
                 make it on that machine, or unmount the volume there first",
                volume.name
            ))),
        }
    }

    /// Deletes a snapshot.
    pub async fn remove_snapshot(&self, name: &SnapshotName) -> Result<Outcome> {
        let _lock = self.driver.lock(&format!("snapshot {name}")).await;
        self.driver.delete_snapshot(name).await
    }

    /// Snapshots by name; none for a driver that cannot take any.
    pub async fn snapshots(&self, page: &Page) -> Result<Listed<Snapshot>> {
        if !self.driver.capabilities().snapshots {
            return Ok(Listed { entries: Vec::new(), next: None });
        }
        self.driver.list_snapshots(page).await
    }
}

fn cannot_grow_online(name: &VolumeName, fstype: Fstype) -> Error {
    let why = match fstype {
        Fstype::Ext4 => "the kernel wants CAP_SYS_RESOURCE for growing a mounted ext4",
        Fstype::Xfs | Fstype::Btrfs => "its tools are not installed",
    };
    Error::failed_precondition(format!(
        "volume {name} is mounted and its {fstype} file system cannot grow now ({why}); unmount \
         it, expand it, and mount it again"
    ))
}
