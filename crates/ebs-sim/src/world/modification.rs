//! Modifications of volumes: larger, faster, of another type. Not smaller, and not often
//! (<https://docs.aws.amazon.com/ebs/latest/userguide/modify-volume-requirements.html>).

use super::kinds::Shape;
use super::volume::{Phase, Volume};
use super::{Step, World};
use crate::hardware::Plug;
use crate::refusal::{Answered, Refusal};
use serde::{Deserialize, Serialize};

/// How far a modification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ModificationState {
    Modifying,
    /// The new size can be used.
    Optimizing,
    Completed,
}

impl ModificationState {
    /// As the API calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Modifying => "modifying",
            Self::Optimizing => "optimizing",
            Self::Completed => "completed",
        }
    }
}

/// The last modification of a volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Modification {
    pub(crate) state: ModificationState,
    pub(crate) original: Shape,
    pub(crate) target: Shape,
    pub(crate) began: u64,
    pub(crate) ended: Option<u64>,
    /// When the state ends.
    pub(crate) due: u64,
}

impl Modification {
    /// Percent done.
    pub(crate) fn progress(&self) -> u32 {
        match self.state {
            ModificationState::Modifying => 0,
            ModificationState::Optimizing => 50,
            ModificationState::Completed => 100,
        }
    }
}

impl World {
    /// Whether the volume may become like this, `cooldown` milliseconds after the last time.
    pub(crate) fn check_modify(
        &self,
        id: &str,
        region: &str,
        target: &Shape,
        (now, cooldown): (u64, u64),
    ) -> Answered<()> {
        let volume = self.volume(id, region)?;
        if volume.phase != Phase::Ready {
            return Err(Refusal::client(
                "IncorrectState",
                format!("Cannot modify volume {id}: it is '{}'", volume.state()),
            ));
        }
        if target.size < volume.shape.size {
            return Err(Refusal::value(format!(
                "New size cannot be smaller than existing size: {} GiB",
                volume.shape.size
            )));
        }
        let Some(last) = &volume.modification else { return Ok(()) };
        if last.state != ModificationState::Completed {
            return Err(Refusal::client(
                "IncorrectModificationState",
                format!(
                    "Cannot modify volume {id}: a modification is in state {}",
                    last.state.name()
                ),
            ));
        }
        if now < last.began + cooldown {
            return Err(Refusal::client(
                "VolumeModificationRateExceeded",
                format!(
                    "You've reached the maximum modification rate per volume limit. Wait at least \
                     {} seconds between modifications per EBS volume.",
                    cooldown / 1000
                ),
            ));
        }
        Ok(())
    }

    /// Begins what was [checked](Self::check_modify).
    pub(crate) fn modify(
        &mut self,
        id: &str,
        region: &str,
        target: Shape,
        step: &Step<'_>,
    ) -> Answered<Modification> {
        let volume = self.volume_mut(id, region)?;
        let modification = Modification {
            state: ModificationState::Modifying,
            original: volume.shape.clone(),
            target,
            began: step.now,
            ended: None,
            due: step.now + step.delays.modify,
        };
        volume.modification = Some(modification.clone());
        Ok(modification)
    }

    pub(super) fn advance_modifications(&mut self, step: &mut Step<'_>) -> Answered<bool> {
        let mut changed = false;
        for volume in self.volumes.values_mut() {
            while volume.advance_modification(step)? {
                changed = true;
            }
        }
        Ok(changed)
    }
}

impl Volume {
    fn advance_modification(&mut self, step: &mut Step<'_>) -> Answered<bool> {
        let plugs: Vec<Plug> = self.attachments.iter().filter_map(|one| one.plug.clone()).collect();
        let Some(last) = &mut self.modification else { return Ok(false) };
        if last.due > step.now || last.state == ModificationState::Completed {
            return Ok(false);
        }
        if last.state == ModificationState::Modifying {
            if last.target.size > self.shape.size && !self.root {
                let grown = step.hardware.grow(&self.id, last.target.size, &plugs);
                grown.map_err(|error| Refusal::internal(&error))?;
            }
            self.shape = last.target.clone();
            last.state = ModificationState::Optimizing;
            last.due += step.delays.modify;
        } else {
            last.state = ModificationState::Completed;
            last.ended = Some(last.due);
        }
        Ok(true)
    }
}
