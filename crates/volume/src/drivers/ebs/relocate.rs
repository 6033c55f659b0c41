//! A volume of another zone: it is never a reason for an empty twin. It is told where it is, or moved
//! by a snapshot; the original is kept, under another name, until somebody deletes it.
//!
//! ```text
//! note on the original ─▶ snapshot of it ─▶ volume here, without the name ─▶ verified
//!   ─▶ nobody has attached the original meanwhile
//!   ─▶ the new one gets the name (from here on it is the volume) ─▶ the original loses it
//! ```
//!
//! A move that was interrupted goes on with what is there, but never with what is not true any more:
//! whoever attaches the original makes the note void (see `moves`), and with it all copies.

use super::moves::{ARRIVING, MOVE, is_of_original};
use super::names::MOVED_FROM;
use super::record::{self, derived_uuid};
use super::snapshots::SEEN;
use super::wait::{Created, VISIBLE};
use super::{Ebs, lease};
use crate::cloud::aws::{self, NewSnapshot, NewVolume};
use crate::driver::Told;
use crate::name::VolumeName;
use crate::volume::Volume;
use error::{Error, Kind, Result};
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
        let attempt = self.begin_move(raw, zone).await?;
        failpoint::hit("ebs.move.noted");
        let words = format!("move\n{}\n{attempt}", raw.id);
        let snapshot = self.snapshot_to_move(raw, &volume.name, &words, told).await?;
        failpoint::hit("ebs.move.snapshot");
        told(&format!("volume {} is being created in {zone}", volume.name));
        let new = match self.create_moved(raw, &volume, zone, &snapshot.id, &words).await {
            Ok(Some(new)) => new,
            Ok(None) => return Err(self.begin_anew(raw, &attempt, &volume.name).await),
            // There is no such zone, or it has no such volumes: no repeat would use the snapshot.
            Err(error) if matches!(error.kind(), Kind::InvalidArgument | Kind::NotFound) => {
                if self.ec2.delete_snapshot(&snapshot.id).await.is_ok() {
                    self.memory.note_gone(&snapshot.id);
                }
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        failpoint::hit("ebs.move.created");
        self.verify(raw, &new)?;
        self.ensure_unused_since(raw, &attempt).await?;
        self.rename(raw, &volume.name, &new).await?;
        self.clean_up_after(&raw.id, &new.id).await;
        told(&format!(
            "volume {} is {} now; its original is kept as {}",
            volume.name, new.id, raw.id
        ));
        self.shown_moved(&volume.name, &new.id, zone).await
    }

    /// The volume once AWS shows it under its name: until then others may find the original.
    async fn shown_moved(&self, name: &VolumeName, id: &str, zone: &str) -> Result<Volume> {
        let mut waiting = self.waiting(VISIBLE);
        loop {
            match self.find_by_name(name).await? {
                Some(now) if now.id == id => return self.volume(&now),
                _ if waiting.pause().await => {}
                _ => {
                    return Err(Error::unavailable(format!(
                        "volume {name} was moved to {zone}, and AWS does not show it yet; try again"
                    )));
                }
            }
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
        let snapshot = match self.find_marked(&mark).await? {
            Some(found) => found,
            None => {
                let tags = self.settings.tags.clone().into_iter();
                let own = [
                    (MOVE.to_owned(), mark.clone()),
                    ("Name".to_owned(), format!("{} (being moved)", self.tag_of(name))),
                ];
                let tags: BTreeMap<_, _> = tags.chain(own).collect();
                let description = format!("volume {name} on its way to another zone");
                let new = NewSnapshot { volume: raw.id.clone(), description, tags };
                let taken = self.ec2.create_snapshot(&new).await;
                self.first_marked(&mark, taken).await?
            }
        };
        told(&format!("snapshot {} of volume {name} is taken", snapshot.id));
        self.wait_snapshot(&self.ec2, &snapshot.id, told).await
    }

    /// The first of the snapshots with this mark: another machine may have taken one as well.
    async fn find_marked(&self, mark: &str) -> Result<Option<aws::Snapshot>> {
        let query = vec![(format!("tag:{MOVE}"), vec![mark.to_owned()])];
        let mut found = self.ec2.list_snapshots(&query).await?;
        found.retain(|raw| raw.state != "error" && !self.is_gone(&raw.id));
        Ok(found.into_iter().min_by(|a, b| (&a.started, &a.id).cmp(&(&b.started, &b.id))))
    }

    /// The one to go on with, after one was taken, or its answer lost.
    async fn first_marked(
        &self,
        mark: &str,
        taken: Result<aws::Snapshot>,
    ) -> Result<aws::Snapshot> {
        let taken = match taken {
            Err(error) if !aws::is_doubtful(&error) => return Err(error),
            taken => taken,
        };
        let mut waiting = self.waiting(SEEN);
        loop {
            if let Some(found) = self.find_marked(mark).await? {
                return Ok(found);
            }
            if !waiting.pause().await {
                return taken;
            }
        }
    }

    /// The volume that is to take the place of `raw`; `None`: this attempt cannot make one any more.
    async fn create_moved(
        &self,
        raw: &aws::Volume,
        volume: &Volume,
        zone: &str,
        snapshot: &str,
        words: &str,
    ) -> Result<Option<aws::Volume>> {
        let is_chosen = matches!(raw.kind.as_str(), "gp3" | "io1" | "io2");
        let mut tags = raw.tags();
        tags.retain(|key, _| {
            !key.starts_with("aws:") && !is_of_original(key) && key != lease::LEASE
        });
        record::spell_out(&mut tags, &raw.id);
        tags.insert("Name".to_owned(), format!("{}{ARRIVING}", self.tag_of(&volume.name)));
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
        let new = match self.ec2.create_volume(&call).await {
            // The original has changed, or another machine uses another snapshot.
            Err(error) if aws::code(&error) == Some("IdempotentParameterMismatch") => {
                return Ok(None);
            }
            new => new?,
        };
        Ok(match self.wait_created(&new).await? {
            Created::Available(new) => Some(*new),
            // What came of an earlier move was deleted.
            Created::Gone => None,
        })
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
        let mut tags = raw.tags();
        record::spell_out(&mut tags, &raw.id);
        (raw.size, raw.kind.clone(), tags.remove(record::FILESYSTEM))
    }

    /// Gives the name to the new volume: with that, the move is done.
    async fn rename(&self, raw: &aws::Volume, name: &VolumeName, new: &aws::Volume) -> Result<()> {
        let named = BTreeMap::from([("Name".to_owned(), self.tag_of(name))]);
        self.ec2.create_tags(&[&new.id], &named).await?;
        failpoint::hit("ebs.move.named");
        self.rename_original(&raw.id, &self.tag_of(name), &new.id).await
    }
}
