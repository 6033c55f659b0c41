//! What only some back ends have: claims that can be lost, attachments that are left, and actions.

use super::{Disks, NODE};
use error::{Error, Result};
use volume::driver::{Action, ActionRequest, Lost, Report, Subject, Told};
use volume::{OptionSpec, Unit, Volume, VolumeId, VolumeName};

/// The actions: one about the service, one about a volume.
pub(super) const ACTIONS: [Action; 2] = [
    Action {
        name: "count",
        help: "Counts the disks.",
        subject: Subject::Service,
        options: &[OptionSpec::new("unit", Unit::Text, "What they are called.").default("disks")],
        order: None,
    },
    Action {
        name: "poke",
        help: "Pokes a disk.",
        subject: Subject::Volume,
        options: &[],
        order: None,
    },
];

impl Disks {
    /// Somebody else may have the volume from now on.
    pub fn lose(&self, name: &str, why: &str) {
        let name = VolumeName::parse(name).expect("a test knows the rule of names");
        let mut state = self.state();
        let id = state.disks.get(&name).expect("the volume exists").volume.id.clone();
        state.lost.push(Lost { id, why: why.to_owned() });
    }

    pub(super) fn lost_of(&self, held: &[VolumeId]) -> Vec<Lost> {
        let state = self.state();
        state.lost.iter().filter(|lost| held.contains(&lost.id)).cloned().collect()
    }

    pub(super) fn left_here(&self) -> Vec<Volume> {
        let state = self.state();
        let here = state.disks.values().filter(|disk| disk.is_at(NODE) && !disk.kept);
        here.map(|disk| disk.volume.clone()).collect()
    }

    pub(super) fn run_action(&self, request: &ActionRequest, told: &Told) -> Result<Report> {
        told("looking");
        let state = self.state();
        let row = match (request.action.as_str(), &request.subject) {
            ("count", None) => vec![state.disks.len().to_string(), request.options["unit"].clone()],
            ("poke", Some(name)) => {
                let disk = state.disks.get(&VolumeName::parse(name)?);
                let disk = disk.ok_or_else(|| Error::not_found(format!("no volume {name}")))?;
                vec![name.clone(), disk.volume.id.to_string()]
            }
            (other, _) => return Err(Error::unimplemented(format!("no action {other}"))),
        };
        let columns = ["WHAT", "OF"].map(str::to_owned).to_vec();
        Ok(Report { columns, rows: vec![row], notes: Vec::new() })
    }
}
