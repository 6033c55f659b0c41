//! A volume of another zone: it is never a reason for an empty twin. It is told where it is, or moved
//! by a snapshot; the original is kept, under another name, until somebody deletes it.
//!
//! ```text
//! snapshot of the original ─▶ volume here, without the name ─▶ verified
//!   ─▶ the new one gets the name (from here on it is the volume) ─▶ the original loses it
//! ```

use super::Ebs;
use super::names::MOVED_FROM;
use super::record::{self, SNAPSHOT, SNAPSHOT_OF, derived_uuid};
use super::wait::Created;
use crate::cloud::aws::{self, NewSnapshot, NewVolume};
use crate::driver::Told;
use crate::name::VolumeName;
use crate::volume::Volume;
use error::{Error, Result};
use host::failpoint;
use std::collections::BTreeMap;

/// The error of a volume that this machine cannot reach.
pub(super) fn elsewhere(name: &VolumeName, raw: &aws::Volume, here: &str) -> Error {
    Error::failed_precondition(format!(
        "volume {name} ({}) is in zone {}, and this machine is in {here}: a machine there can use it; \
         to have it here, move it (`mobula ebs move {name}`), or set relocate=snapshot",
        raw.id, raw.zone
    ))
}

impl Ebs {
    /// Whether the volume, or the service, is told to move volumes.
    pub(super) fn moves(&self, raw: &aws::Volume) -> Result<bool> {
        let volume = self.volume(raw)?;
        Ok(volume.parameters.driver.get("relocate").is_some_and(|how| how == "snapshot"))
    }

    /// The volume moved here, if it is elsewhere and told to move.
    pub(super) async fn relocate_here(&self, volume: &Volume) -> Result<Option<Volume>> {
        let here = self.ec2.client().identity().await?.zone.clone();
        let zone = volume.details.get("zone").map_or("", String::as_str);
        if zone.is_empty() || zone == here {
            return Ok(None);
        }
        let raw = self.get_raw(&volume.id).await?;
        if !self.moves(&raw)? {
            return Err(elsewhere(&volume.name, &raw, &here));
        }
        let name = volume.name.clone();
        let told = move |step: &str| tracing::info!(volume = %name, step, "moving");
        self.move_volume(&raw, &here, &told).await.map(Some)
    }

    /// Moves a volume to `zone`; nobody may have it attached.
    pub(super) async fn move_volume(
        &self,
        raw: &aws::Volume,
        zone: &str,
        told: &Told,
    ) -> Result<Volume> {
        let volume = self.volume(raw)?;
        if let Some(attachment) = raw.attachments().first() {
            let holder = attachment.clone();
            let node = self.ec2.client().identity().await?.instance.clone();
            self.take_over(raw, &holder, &node).await?;
        }
        // The same move again, or one that was interrupted, goes on with what is there.
        let words = format!("move\n{}\n{zone}", raw.id);
        let snapshot = self.snapshot_to_move(raw, &volume.name, &words, told).await?;
        failpoint::hit("ebs.move.snapshot");
        told(&format!("volume {} is created in {zone}", volume.name));
        let new = self.create_moved(raw, &volume, zone, &snapshot.id, &words).await?;
        failpoint::hit("ebs.move.created");
        self.verify(raw, &new)?;
        self.rename(raw, &volume.name, &new).await?;
        // Only an aid: what it holds is in both volumes.
        if let Err(error) = self.ec2.delete_snapshot(&snapshot.id).await {
            tracing::warn!(snapshot = snapshot.id, %error, "the snapshot of a move is left");
        }
        told(&format!(
            "volume {} is {} now; its original is kept as {}",
            volume.name, new.id, raw.id
        ));
        match self.find_by_name(&volume.name).await? {
            Some(now) => self.volume(&now),
            None => Err(Error::unavailable(format!(
                "volume {} was moved to {zone}, and AWS does not show it yet; try again",
                volume.name
            ))),
        }
    }

    async fn snapshot_to_move(
        &self,
        raw: &aws::Volume,
        name: &VolumeName,
        words: &str,
        told: &Told,
    ) -> Result<aws::Snapshot> {
        let mark = derived_uuid(words).to_string();
        let query = vec![("tag:mobula:move".to_owned(), vec![mark.clone()])];
        let found = self.ec2.list_snapshots(&query).await?;
        let usable = found.into_iter().find(|raw| raw.state != "error" && !self.is_gone(&raw.id));
        let snapshot = match usable {
            Some(found) => found,
            None => {
                let tags = self.settings.tags.clone().into_iter();
                let own = [
                    ("mobula:move".to_owned(), mark),
                    ("Name".to_owned(), format!("{} (being moved)", self.tag_of(name))),
                ];
                let tags: BTreeMap<_, _> = tags.chain(own).collect();
                let description = format!("volume {name} on its way to another zone");
                let new = NewSnapshot { volume: raw.id.clone(), description, tags };
                self.ec2.create_snapshot(&new).await?
            }
        };
        told(&format!("snapshot {} of volume {name} is taken", snapshot.id));
        self.wait_snapshot(&self.ec2, &snapshot.id, told).await
    }

    async fn create_moved(
        &self,
        raw: &aws::Volume,
        volume: &Volume,
        zone: &str,
        snapshot: &str,
        words: &str,
    ) -> Result<aws::Volume> {
        let is_chosen = matches!(raw.kind.as_str(), "gp3" | "io1" | "io2");
        let mut tags = raw.tags();
        tags.retain(|key, _| !key.starts_with("aws:") && !key.starts_with("mobula:lease"));
        tags.insert("Name".to_owned(), format!("{} (arriving)", self.tag_of(&volume.name)));
        tags.insert(MOVED_FROM.to_owned(), raw.id.clone());
        let call = NewVolume {
            zone: zone.to_owned(),
            size: Some(raw.size),
            kind: Some(raw.kind.clone()),
            iops: raw.iops.filter(|_| is_chosen),
            throughput: raw.throughput,
            encrypted: raw.encrypted.then_some(true),
            kms_key: raw.kms_key_id.clone().filter(|_| raw.encrypted),
            snapshot: Some(snapshot.to_owned()),
            multi_attach: raw.multi_attach_enabled,
            tags,
            token: derived_uuid(words).simple().to_string(),
            ..NewVolume::default()
        };
        let new = self.ec2.create_volume(&call).await?;
        match self.wait_created(&new).await? {
            Created::Available(new) => Ok(*new),
            Created::Gone => Err(Error::failed_precondition(format!(
                "volume {} was moved to {zone} before, and what came of that was deleted; take a \
                 snapshot of it, and create a volume there from that",
                volume.name
            ))),
        }
    }

    /// What the new volume is must be what the original was.
    fn verify(&self, raw: &aws::Volume, new: &aws::Volume) -> Result<()> {
        let (was, is) = (self.of(raw), self.of(new));
        if was == is && new.snapshot_id.as_deref().is_some_and(|snapshot| !snapshot.is_empty()) {
            return Ok(());
        }
        Err(Error::failed_precondition(format!(
            "EBS volume {} is not what {} was ({is:?} instead of {was:?}); nothing was renamed, and \
             the original stays what it is",
            new.id, raw.id
        )))
    }

    fn of(&self, raw: &aws::Volume) -> (u64, String, Option<String>) {
        (raw.size, raw.kind.clone(), raw.tag(record::FILESYSTEM).map(str::to_owned))
    }

    /// Gives the name to the new volume: with that, the move is done.
    async fn rename(&self, raw: &aws::Volume, name: &VolumeName, new: &aws::Volume) -> Result<()> {
        let named = |text: String| BTreeMap::from([("Name".to_owned(), text)]);
        self.ec2.create_tags(&[&new.id], &named(self.tag_of(name))).await?;
        failpoint::hit("ebs.move.named");
        let old = format!("{} (moved to {})", self.tag_of(name), new.id);
        self.ec2.create_tags(&[&raw.id], &named(old)).await
    }

    /// Begins to copy a snapshot to another region; answers its ID there.
    pub(super) async fn copy_to_region(
        &self,
        raw: &aws::Snapshot,
        region: &str,
        key: Option<&str>,
        told: &Told,
    ) -> Result<String> {
        let from = self.ec2.client().region().await?;
        if from == region {
            return Err(Error::invalid_argument(format!(
                "snapshot {} is in {region} already; give another region",
                raw.id
            )));
        }
        let there =
            aws::Ec2::new(std::sync::Arc::new(self.ec2.client().in_region(region)), Vec::new());
        let name = raw.tag(SNAPSHOT).unwrap_or(&raw.id).to_owned();
        let query = vec![("tag:mobula:copied-from".to_owned(), vec![raw.id.clone()])];
        if let Some(found) = there.list_snapshots(&query).await?.into_iter().next() {
            told(&format!("it was copied before, as {}", found.id));
            return Ok(self.wait_snapshot(&there, &found.id, told).await?.id);
        }
        let mut tags = raw.tags();
        tags.retain(|key, _| !key.starts_with("aws:"));
        tags.insert("mobula:copied-from".to_owned(), raw.id.clone());
        let of = raw.tag(SNAPSHOT_OF).unwrap_or(&raw.volume_id);
        let description = format!("volume {of} ({name}), copied from {from}");
        let new = NewSnapshot { volume: String::new(), description, tags };
        let id = there.copy_snapshot(&from, &raw.id, &new, key).await?;
        told(&format!("{id} is being copied to {region}"));
        Ok(self.wait_snapshot(&there, &id, told).await?.id)
    }
}
