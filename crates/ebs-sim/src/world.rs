//! The account: volumes, attachments, snapshots and instances, and how they change as time goes by.
//! Time is an argument (milliseconds since 1970), so nothing here waits; disks are behind
//! [`Hardware`]; nothing here knows of requests or XML.
//!
//! ```text
//! volume:      creating ─▶ available ⇄ in-use          available ─▶ deleting ─▶ gone
//!                  └─────▶ error ─▶ deleting
//! attachment:  attaching ─▶ attached ─▶ detaching ─▶ gone
//!                               held by a mount └─▶ busy ─▶ gone, when let go or forced
//! snapshot:    pending ─▶ completed | error
//! instance:    running ⇄ stopping/stopped/pending    any ─▶ shutting-down ─▶ terminated
//! ```

pub(crate) mod attachment;
pub(crate) mod instance;
pub(crate) mod kinds;
pub(crate) mod limits;
pub(crate) mod modification;
pub(crate) mod snapshot;
pub(crate) mod tags;
pub(crate) mod volume;

use crate::config::{Config, Delays};
use crate::hardware::Hardware;
use crate::refusal::{Answered, Refusal};
use instance::Instance;
use serde::{Deserialize, Serialize};
use snapshot::Snapshot;
use std::collections::BTreeMap;
use volume::Volume;

/// Everything in the account.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct World {
    pub(crate) volumes: BTreeMap<String, Volume>,
    pub(crate) snapshots: BTreeMap<String, Snapshot>,
    pub(crate) instances: BTreeMap<String, Instance>,
}

/// What a change needs besides the world itself.
pub(crate) struct Step<'a> {
    /// Milliseconds since 1970.
    pub(crate) now: u64,
    pub(crate) delays: Delays,
    pub(crate) hardware: &'a mut dyn Hardware,
}

/// An ID of AWS's length.
pub(crate) fn new_id(prefix: &str) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{prefix}-0{}", &random[..16])
}

impl World {
    /// An account with these instances, each with its root volume.
    pub(crate) fn add_instances(&mut self, config: &Config, now: u64) {
        for wanted in &config.instances {
            if !self.instances.contains_key(&wanted.id) {
                self.add_instance(wanted, config, now);
            }
        }
    }

    /// Lets everything happen that is due; `true` when something changed. What the hardware failed
    /// to do is tried again the next time.
    pub(crate) fn advance(&mut self, step: &mut Step<'_>) -> bool {
        let results = [
            self.advance_instances(step),
            self.advance_volumes(step),
            self.advance_attachments(step),
            self.advance_modifications(step),
            Ok(self.advance_snapshots(step.now)),
        ];
        // An error was logged where it was made, and may have come after a change.
        results.iter().any(|result| *result != Ok(false))
    }

    /// What is stuck goes on.
    pub(crate) fn release(&mut self) {
        for volume in self.volumes.values_mut() {
            volume.attachments.iter_mut().for_each(|attachment| attachment.stuck = false);
        }
        self.snapshots.values_mut().for_each(|snapshot| snapshot.stuck = false);
    }

    /// The volume, if it is in this region and not deleted.
    pub(crate) fn volume(&self, id: &str, region: &str) -> Answered<&Volume> {
        check_id(id, "vol", "Volume", "volume")?;
        let found = self.volumes.get(id).filter(|volume| volume.is_there(region));
        found.ok_or_else(|| missing_volume(id))
    }

    pub(crate) fn volume_mut(&mut self, id: &str, region: &str) -> Answered<&mut Volume> {
        check_id(id, "vol", "Volume", "volume")?;
        let found = self.volumes.get_mut(id).filter(|volume| volume.is_there(region));
        found.ok_or_else(|| missing_volume(id))
    }

    pub(crate) fn snapshot(&self, id: &str, region: &str) -> Answered<&Snapshot> {
        check_id(id, "snap", "Snapshot", "snapshotId")?;
        let found = self.snapshots.get(id).filter(|snapshot| snapshot.region == region);
        found.ok_or_else(|| missing_snapshot(id))
    }

    pub(crate) fn snapshot_mut(&mut self, id: &str, region: &str) -> Answered<&mut Snapshot> {
        check_id(id, "snap", "Snapshot", "snapshotId")?;
        let found = self.snapshots.get_mut(id).filter(|snapshot| snapshot.region == region);
        found.ok_or_else(|| missing_snapshot(id))
    }

    pub(crate) fn instance(&self, id: &str, region: &str) -> Answered<&Instance> {
        let found = self.instances.get(id).filter(|instance| instance.region == region);
        found.ok_or_else(|| missing_instance(id))
    }

    pub(crate) fn instance_mut(&mut self, id: &str, region: &str) -> Answered<&mut Instance> {
        let found = self.instances.get_mut(id).filter(|instance| instance.region == region);
        found.ok_or_else(|| missing_instance(id))
    }
}

fn missing_volume(id: &str) -> Refusal {
    Refusal::client("InvalidVolume.NotFound", format!("The volume '{id}' does not exist."))
}

fn missing_snapshot(id: &str) -> Refusal {
    Refusal::client("InvalidSnapshot.NotFound", format!("The snapshot '{id}' does not exist."))
}

fn missing_instance(id: &str) -> Refusal {
    if is_id(id, "i") {
        let what = format!("The instance ID '{id}' does not exist");
        return Refusal::client("InvalidInstanceID.NotFound", what);
    }
    Refusal::client("InvalidInstanceID.Malformed", format!("Invalid id: \"{id}\""))
}

/// `vol-` and 8 or 17 hexadecimal digits.
fn is_id(id: &str, prefix: &str) -> bool {
    let digits = id.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
    digits.is_some_and(|digits| {
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        matches!(digits.len(), 8 | 17) && digits.chars().all(is_hex)
    })
}

/// Refuses what can't be an ID of this kind.
fn check_id(id: &str, prefix: &str, noun: &str, parameter: &str) -> Answered<()> {
    if is_id(id, prefix) {
        return Ok(());
    }
    if id.starts_with(&format!("{prefix}-")) {
        return Err(Refusal::parameter(parameter, id, &format!("Expected: '{prefix}-...'.")));
    }
    Err(Refusal::client(
        &format!("Invalid{noun}ID.Malformed"),
        format!("Invalid id: \"{id}\" (expecting \"{prefix}-...\")"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_of_aws() {
        assert!(is_id(&new_id("vol"), "vol"));
        assert!(is_id("i-1234abcd", "i"));
        for wrong in ["vol-", "vol-123", "vol-1234567G", "snap-12345678", "vol12345678"] {
            assert!(!is_id(wrong, "vol"), "{wrong}");
        }
    }
}
