//! Snapshots: a moment of a volume, kept in the region, named by a tag. AWS knows no token for them,
//! so that a call whose answer was lost is looked for before it is made again.

use super::record::{self, SNAPSHOT};
use super::wait::VISIBLE;
use super::{Ebs, locked};
use crate::cloud::aws::{self, NewSnapshot, VolumeQuery};
use crate::name::{SnapshotName, VolumeId};
use crate::volume::Snapshot;
use error::{Error, Kind, Result};
use host::{Outcome, failpoint};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long AWS may take to show a snapshot of which the answer was lost.
pub(super) const SEEN: Duration = Duration::from_secs(10);
/// How long one that was taken here is there though AWS does not show it: longer than it ever takes,
/// and not so long that one that somebody else deleted would haunt.
const LATELY: Duration = Duration::from_secs(30);

/// Snapshots that were taken here lately, by name: AWS may take a moment to show them, and a repeat
/// in between would take another one.
#[derive(Default)]
pub(super) struct Taken(Mutex<HashMap<SnapshotName, (Instant, aws::Snapshot)>>);

impl Taken {
    fn note(&self, name: &SnapshotName, raw: &aws::Snapshot) {
        let mut taken = locked(&self.0);
        taken.retain(|_, (since, _)| since.elapsed() < LATELY);
        taken.insert(name.clone(), (Instant::now(), raw.clone()));
    }

    fn find(&self, name: &SnapshotName) -> Option<aws::Snapshot> {
        locked(&self.0)
            .get(name)
            .filter(|(since, _)| since.elapsed() < LATELY)
            .map(|one| one.1.clone())
    }

    fn all(&self) -> Vec<aws::Snapshot> {
        let taken = locked(&self.0);
        let lately = taken.values().filter(|(since, _)| since.elapsed() < LATELY);
        lately.map(|(_, raw)| raw.clone()).collect()
    }
}

impl Ebs {
    /// The query for our snapshot of this name.
    fn snapshot_query(&self, name: &SnapshotName) -> VolumeQuery {
        let mut query = self.settings.scope();
        query.push((format!("tag:{SNAPSHOT}"), vec![name.to_string()]));
        query.push(("tag:Name".to_owned(), vec![format!("{}{name}", self.settings.prefix)]));
        query
    }

    /// The snapshot of this name, the oldest if there are two by mischance.
    pub(super) async fn find_snapshot(&self, name: &SnapshotName) -> Result<Option<aws::Snapshot>> {
        let mut found = self.ec2.list_snapshots(&self.snapshot_query(name)).await?;
        found.retain(|raw| !self.is_gone(&raw.id));
        found.sort_by(|one, other| (&one.started, &one.id).cmp(&(&other.started, &other.id)));
        let shown = found.into_iter().next();
        Ok(shown.or_else(|| self.taken.find(name).filter(|raw| !self.is_gone(&raw.id))))
    }

    /// The snapshot of this name, or with this ID of AWS's: then it need not be of this program.
    pub(super) async fn get_snapshot(&self, name: &SnapshotName) -> Result<aws::Snapshot> {
        if let Some(found) = self.find_snapshot(name).await? {
            return Ok(found);
        }
        if name.as_str().starts_with("snap-") {
            let query = vec![("snapshot-id".to_owned(), vec![name.to_string()])];
            if let Some(found) = self.ec2.list_snapshots(&query).await?.into_iter().next() {
                return Ok(found);
            }
        }
        Err(Error::not_found(format!(
            "there is no snapshot {name}; `mobula snapshot ls` shows those there are"
        )))
    }

    /// Takes a snapshot; it holds what was on the device when AWS took the call.
    pub(super) async fn take_snapshot(
        &self,
        id: &VolumeId,
        name: &SnapshotName,
    ) -> Result<Outcome<Snapshot>> {
        let raw = self.get_raw(id).await?;
        let volume = self.volume(&raw)?;
        if let Some(found) = self.find_snapshot(name).await? {
            if found.state == "error" {
                return Err(Error::failed_precondition(format!(
                    "snapshot {name} ({}) has failed at AWS ({}) and holds nothing; remove it (`mobula \
                     snapshot rm {name}`) and take it again",
                    found.id,
                    found.status_message.as_deref().unwrap_or("it does not say why")
                )));
            }
            if found.volume_id == id.as_str() {
                return known(&found).map(Outcome::AlreadyDone);
            }
            let of = found.tag(record::SNAPSHOT_OF).unwrap_or(&found.volume_id);
            return Err(Error::already_exists(format!(
                "snapshot {name} exists already, of volume {of} ({}) as it was at {}; use another \
                 name",
                found.volume_id, found.started
            )));
        }
        let new = NewSnapshot {
            volume: id.to_string(),
            description: format!("volume {} ({name})", volume.name),
            tags: record::snapshot_tags(&self.settings, &raw, &volume.name, name),
        };
        failpoint::hit("ebs.snapshot");
        let taken = match self.ec2.create_snapshot(&new).await {
            Ok(taken) => taken,
            Err(error) if aws::is_doubtful(&error) => match self.snapshot_appears(name).await? {
                Some(found) => found,
                None => return Err(error),
            },
            Err(error) => return Err(error),
        };
        self.taken.note(name, &taken);
        failpoint::hit("ebs.snapshotted");
        // As others will see it; AWS may take a moment to show it.
        let shown = self.find_snapshot(name).await?.filter(|shown| shown.id == taken.id);
        known(&shown.unwrap_or(taken)).map(Outcome::Done)
    }

    async fn snapshot_appears(&self, name: &SnapshotName) -> Result<Option<aws::Snapshot>> {
        let mut waiting = self.waiting(SEEN);
        loop {
            if let Some(found) = self.find_snapshot(name).await? {
                return Ok(Some(found));
            }
            if !waiting.pause().await {
                return Ok(None);
            }
        }
    }

    /// Deletes our snapshots of this name.
    pub(super) async fn remove_snapshot(&self, name: &SnapshotName) -> Result<Outcome> {
        let mut outcome = Outcome::AlreadyDone(());
        while let Some(found) = self.find_snapshot(name).await? {
            match self.ec2.delete_snapshot(&found.id).await {
                Ok(()) => outcome = Outcome::Done(()),
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
            self.memory.note_gone(&found.id);
            self.wait_snapshot_unseen(found.id).await;
        }
        Ok(outcome)
    }

    /// Waits until AWS no longer shows a snapshot that was deleted. Only an aid.
    async fn wait_snapshot_unseen(&self, id: String) {
        let query = vec![("snapshot-id".to_owned(), vec![id])];
        let mut waiting = self.waiting(VISIBLE);
        while self.ec2.list_snapshots(&query).await.is_ok_and(|found| !found.is_empty()) {
            if !waiting.pause().await {
                return;
            }
        }
    }

    /// All snapshots of this program, by name.
    pub(super) async fn all_snapshots(&self) -> Result<Vec<Snapshot>> {
        let mut query = self.settings.scope();
        query.push(("tag-key".to_owned(), vec![SNAPSHOT.to_owned()]));
        if !self.settings.prefix.is_empty() {
            query.push(("tag:Name".to_owned(), vec![format!("{}*", self.settings.prefix)]));
        }
        let mut found = self.ec2.list_snapshots(&query).await?;
        let hidden = self.taken.all().into_iter();
        let hidden = hidden.filter(|raw| found.iter().all(|shown| shown.id != raw.id));
        found.extend(hidden.collect::<Vec<_>>());
        let ours = found.iter().filter(|raw| !self.is_gone(&raw.id));
        let mut all: Vec<_> = ours.filter_map(|raw| record::snapshot(raw).ok().flatten()).collect();
        all.sort_by(|one, other| (&one.name, one.created).cmp(&(&other.name, other.created)));
        all.dedup_by(|later, earlier| later.name == earlier.name);
        Ok(all)
    }
}

fn known(raw: &aws::Snapshot) -> Result<Snapshot> {
    record::snapshot(raw)?.ok_or_else(|| {
        Error::unavailable(format!("AWS shows snapshot {} without its tags; try again", raw.id))
    })
}
