//! Volumes by name, in the whole region: a volume of another zone is no missing volume.

use super::Ebs;
use super::record::{self, RECORD};
use crate::cloud::aws::{self, VolumeQuery};
use crate::name::VolumeName;
use crate::volume::Volume;
use error::{Error, Kind, Result};
use host::{Outcome, failpoint};
use std::collections::BTreeMap;

/// The tag of a volume that was moved to another zone: where it was before.
pub(super) const MOVED_FROM: &str = "mobula:moved-from";
/// The tag of a volume that stays attached where it is, used or not: the instance.
pub(super) const KEPT: &str = "mobula:kept";

/// A volume of a list, and which one it was moved from.
struct Shown {
    volume: Volume,
    moved_from: Option<String>,
}

impl Ebs {
    /// The value of the Name tag of this volume.
    pub(super) fn tag_of(&self, name: &VolumeName) -> String {
        format!("{}{name}", self.settings.prefix)
    }

    /// The volume of this name, wherever it is in the region. Two of one name are an error, but for
    /// one that was moved and its original.
    pub(super) async fn find_by_name(&self, name: &VolumeName) -> Result<Option<aws::Volume>> {
        let mut found = self.ec2.find_named(&self.tag_of(name)).await?;
        found.retain(|raw| !self.is_gone(&raw.id));
        match one(name, found)? {
            None => self.find_nameless(name).await,
            found => Ok(found),
        }
    }

    /// The volume that is listed under its ID, since it has no name any more.
    async fn find_nameless(&self, name: &VolumeName) -> Result<Option<aws::Volume>> {
        // AWS is asked only for what is an ID.
        let digits = name.as_str().strip_prefix("vol-").unwrap_or_default();
        if !matches!(digits.len(), 8 | 17) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let found = self.find_raw(name.as_str()).await?;
        Ok(found.filter(|raw| {
            record::name_of_nameless(&self.settings, raw).is_some_and(|known| known == *name)
        }))
    }

    /// All volumes that are ours to show, by name.
    pub(super) async fn list_all(&self) -> Result<Vec<Volume>> {
        let mut query: VolumeQuery = self.settings.scope();
        let key = if self.settings.lists_named { "Name" } else { RECORD };
        query.push(("tag-key".to_owned(), vec![key.to_owned()]));
        if !self.settings.prefix.is_empty() {
            query.push(("tag:Name".to_owned(), vec![format!("{}*", self.settings.prefix)]));
        }
        let mut by_name: BTreeMap<VolumeName, Shown> = BTreeMap::new();
        let take = |raw: aws::Volume| {
            let Some(shown) = self.shown(&raw) else { return };
            let name = shown.volume.name.clone();
            let shown = match by_name.remove(&name) {
                Some(other) => one_of(other, shown),
                None => shown,
            };
            by_name.insert(name, shown);
        };
        self.ec2.each_volume(&query, take).await?;
        Ok(by_name.into_values().map(|shown| shown.volume).collect())
    }

    /// A volume as it is listed, if it is.
    fn shown(&self, raw: &aws::Volume) -> Option<Shown> {
        if !raw.exists() || self.is_gone(&raw.id) {
            return None;
        }
        let volume = self.sound_or_faulty(raw)?;
        Some(Shown { volume, moved_from: raw.tag(MOVED_FROM).map(str::to_owned) })
    }

    /// A volume to be looked at, whatever is the matter with its tags; `None` when nothing says that
    /// it is one of ours.
    pub(super) fn sound_or_faulty(&self, raw: &aws::Volume) -> Option<Volume> {
        let name = record::name(&self.settings, raw)
            .or_else(|| record::name_of_nameless(&self.settings, raw))?;
        Some(self.volume(raw).unwrap_or_else(|why| record::unusable(raw, name, &why)))
    }

    /// The volumes that are attached to this machine and need not stay so.
    pub(super) async fn attached_here(&self) -> Result<Vec<Volume>> {
        let node = self.ec2.client().identity().await?.instance.clone();
        let mut query = self.settings.scope();
        query.push(("attachment.instance-id".to_owned(), vec![node.clone()]));
        query.push(("tag-key".to_owned(), vec![RECORD.to_owned()]));
        let found = self.ec2.list_volumes(&query).await?;
        let found = found.iter().filter(|raw| raw.tag(KEPT) != Some(&node));
        Ok(found.filter_map(|raw| self.volume(raw).ok()).collect())
    }

    /// Deletes a volume.
    pub(super) async fn delete_volume(&self, id: &str) -> Result<Outcome> {
        let Some(raw) = self.find_raw(id).await? else { return Ok(Outcome::AlreadyDone(())) };
        if let Some(attachment) = raw.attachments().first() {
            return Err(self.attached_to(&raw, &attachment.instance).await);
        }
        if raw.tag(RECORD).is_none() {
            let name = raw.tag("Name").unwrap_or_default();
            return Err(Error::failed_precondition(format!(
                "EBS volume {id} ({name}) was made by another program and never used by this one; \
                 delete it in AWS's console, or mount it once to make it this program's"
            )));
        }
        // What is not known to be nothing is not deleted.
        self.volume(&raw)?;
        // What it was moved from must not come back under its name.
        self.finish_move(&raw).await?;
        match self.ec2.delete_volume(id).await {
            Ok(()) => {}
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) if aws::code(&error) == Some("VolumeInUse") => {
                let now = self.ec2.find_volume(id).await?;
                let holder = now.as_ref().and_then(|raw| raw.attachments().first().cloned());
                return Err(match (now, holder) {
                    (Some(raw), Some(holder)) => self.attached_to(&raw, &holder.instance).await,
                    _ => error,
                });
            }
            Err(error) => return Err(error),
        }
        self.memory.note_gone(id);
        failpoint::hit("ebs.deleted");
        self.wait_unseen(id).await;
        Ok(Outcome::Done(()))
    }

    /// The error of what cannot be done while the volume is attached to `instance`.
    pub(super) async fn attached_to(&self, raw: &aws::Volume, instance: &str) -> Error {
        let name = raw.tag("Name").unwrap_or(&raw.id);
        if self.ec2.client().identity().await.is_ok_and(|known| known.instance == instance) {
            return Error::failed_precondition(format!(
                "volume {name} ({}) is attached to this machine ({instance}); unmount and detach it \
                 first (`mobula volume unmount {name}`, `mobula volume detach {name}`)",
                raw.id
            ));
        }
        let what = self.describe(instance).await;
        Error::failed_precondition(format!(
            "volume {name} ({}) is attached to {what} in {}; stop what uses it there, or take it by \
             force (`mobula ebs take {name} --force`) once that machine is sure to be gone",
            raw.id, raw.zone
        ))
    }

    /// An instance in words: `instance i-0a (web-1, running)`.
    pub(super) async fn describe(&self, instance: &str) -> String {
        match self.ec2.find_instance(instance).await {
            Ok(Some(found)) => {
                let name = found.name().map(|name| format!("{name}, ")).unwrap_or_default();
                format!("instance {instance} ({name}{})", found.state())
            }
            _ => format!("instance {instance}"),
        }
    }
}

fn one(name: &VolumeName, mut found: Vec<aws::Volume>) -> Result<Option<aws::Volume>> {
    let originals: Vec<_> =
        found.iter().filter_map(|raw| raw.tag(MOVED_FROM)).map(str::to_owned).collect();
    found.retain(|raw| !originals.contains(&raw.id));
    if found.len() > 1 {
        let shown = found.iter().map(|raw| format!("{} in {}", raw.id, raw.zone));
        let shown = shown.collect::<Vec<_>>().join(", ");
        return Err(Error::failed_precondition(namesakes(found.len(), name, &shown)));
    }
    Ok(found.pop())
}

fn namesakes(count: usize, name: &VolumeName, shown: &str) -> String {
    format!(
        "{count} EBS volumes are named {name}: {shown}; give all but one of them another Name tag"
    )
}

/// Of two volumes of one name, the one to list: the older one, and a fault since nobody can tell
/// which is meant; but what was moved takes the place of its original.
fn one_of(one: Shown, other: Shown) -> Shown {
    let is_of = |moved: &Shown, original: &Shown| {
        moved.moved_from.as_deref() == Some(original.volume.id.as_str())
    };
    if is_of(&one, &other) {
        return one;
    }
    if is_of(&other, &one) {
        return other;
    }
    let (mut listed, left) =
        if one.volume.created < other.volume.created { (one, other) } else { (other, one) };
    let zone = |volume: &Volume| volume.details.get("zone").cloned().unwrap_or_default();
    let shown = [&listed.volume, &left.volume].map(|one| format!("{} in {}", one.id, zone(one)));
    listed.volume.fault = Some(namesakes(2, &listed.volume.name, &shown.join(", ")));
    listed
}
