//! Snapshots: taken at once, complete later; copies of them in other regions; fast restore.

use super::tags::Tags;
use super::{Step, World, new_id};
use crate::refusal::{Answered, Refusal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The state of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SnapshotState {
    Pending,
    Completed,
    Error,
}

impl SnapshotState {
    /// As the API calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Completed => "completed",
            Self::Error => "error",
        }
    }
}

/// A snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Snapshot {
    pub(crate) id: String,
    pub(crate) region: String,
    /// What it is of; `vol-ffffffff` for a copy.
    pub(crate) volume: String,
    /// GiB.
    pub(crate) size: u64,
    pub(crate) state: SnapshotState,
    pub(crate) message: Option<String>,
    pub(crate) began: u64,
    pub(crate) due: u64,
    pub(crate) doomed: Option<String>,
    pub(crate) stuck: bool,
    pub(crate) description: String,
    pub(crate) tags: Tags,
    pub(crate) encrypted: bool,
    pub(crate) kms_key: Option<String>,
    /// Fast restore by zone.
    pub(crate) fast: BTreeMap<String, FastRestore>,
}

/// Fast restore of a snapshot in a zone.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct FastRestore {
    pub(crate) enabling: u64,
    /// When it is enabled.
    pub(crate) due: u64,
    pub(crate) disabling: bool,
}

impl FastRestore {
    /// Its state, as the API calls it.
    pub(crate) fn state(&self, now: u64) -> &'static str {
        match (self.disabling, self.due <= now) {
            (true, false) => "disabling",
            (true, true) => "disabled",
            (false, false) => "enabling",
            (false, true) => "enabled",
        }
    }
}

/// What a snapshot is to be.
#[derive(Debug, Clone)]
pub(crate) struct NewSnapshot {
    pub(crate) region: String,
    pub(crate) volume: String,
    /// What is copied: a volume or a snapshot.
    pub(crate) from: String,
    pub(crate) size: u64,
    pub(crate) description: String,
    pub(crate) tags: Tags,
    pub(crate) encrypted: bool,
    pub(crate) kms_key: Option<String>,
    /// Why it ends in `error`, if it does.
    pub(crate) doomed: Option<String>,
    pub(crate) stuck: bool,
}

impl Snapshot {
    /// Percent done.
    pub(crate) fn progress(&self, now: u64) -> u64 {
        if self.state == SnapshotState::Completed {
            return 100;
        }
        let (gone, all) = (now.saturating_sub(self.began), self.due - self.began);
        (gone * 100).checked_div(all).unwrap_or(99).min(99)
    }
}

impl World {
    pub(crate) fn create_snapshot(
        &mut self,
        new: NewSnapshot,
        step: &mut Step<'_>,
    ) -> Answered<&Snapshot> {
        let id = new_id("snap");
        step.hardware.copy(&new.from, &id).map_err(|error| Refusal::internal(&error))?;
        let snapshot = Snapshot {
            id: id.clone(),
            region: new.region,
            volume: new.volume,
            size: new.size,
            state: SnapshotState::Pending,
            message: None,
            began: step.now,
            due: step.now + step.delays.snapshot,
            doomed: new.doomed,
            stuck: new.stuck,
            description: new.description,
            tags: new.tags,
            encrypted: new.encrypted,
            kms_key: new.kms_key,
            fast: BTreeMap::new(),
        };
        Ok(self.snapshots.entry(id).or_insert(snapshot))
    }

    pub(crate) fn delete_snapshot(
        &mut self,
        id: &str,
        region: &str,
        step: &mut Step<'_>,
    ) -> Answered<()> {
        self.snapshot(id, region)?;
        step.hardware.remove(id).map_err(|error| Refusal::internal(&error))?;
        self.snapshots.remove(id);
        Ok(())
    }

    pub(super) fn advance_snapshots(&mut self, now: u64) -> bool {
        let mut changed = false;
        for snapshot in self.snapshots.values_mut() {
            let gone = |fast: &FastRestore| fast.disabling && fast.due <= now;
            let count = snapshot.fast.len();
            snapshot.fast.retain(|_, fast| !gone(fast));
            changed |= snapshot.fast.len() != count;
            let is_due = snapshot.due <= now && !snapshot.stuck;
            if snapshot.state == SnapshotState::Pending && is_due {
                snapshot.message = snapshot.doomed.take();
                snapshot.state = match snapshot.message {
                    Some(_) => SnapshotState::Error,
                    None => SnapshotState::Completed,
                };
                changed = true;
            }
        }
        changed
    }
}
