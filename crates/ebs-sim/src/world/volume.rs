//! Volumes: creating, copying and deleting them. What is attached where is in `attachment`.

use super::attachment::Attachment;
use super::kinds::Shape;
use super::modification::Modification;
use super::tags::Tags;
use super::{Step, World, new_id};
use crate::refusal::{Answered, Refusal};
use serde::{Deserialize, Serialize};

/// How far a volume is, its attachments aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    Creating,
    Ready,
    Error,
    Deleting,
    Deleted,
}

/// A volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Volume {
    pub(crate) id: String,
    pub(crate) region: String,
    pub(crate) zone: String,
    pub(crate) shape: Shape,
    pub(crate) phase: Phase,
    /// When the phase ends.
    pub(crate) due: u64,
    /// It ends in `Error`.
    pub(crate) doomed: bool,
    pub(crate) created: u64,
    pub(crate) tags: Tags,
    pub(crate) encrypted: bool,
    pub(crate) kms_key: Option<String>,
    pub(crate) snapshot: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) outpost: Option<String>,
    pub(crate) multi_attach: bool,
    /// The root volume of an instance: it has no disk, and goes with its instance.
    pub(crate) root: bool,
    pub(crate) token: Option<Token>,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) modification: Option<Modification>,
}

/// The client token that a volume was made with, and what was asked for with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) fingerprint: String,
}

/// What a volume is to be.
#[derive(Debug, Clone)]
pub(crate) struct NewVolume {
    pub(crate) region: String,
    pub(crate) zone: String,
    pub(crate) shape: Shape,
    pub(crate) tags: Tags,
    pub(crate) encrypted: bool,
    pub(crate) kms_key: Option<String>,
    pub(crate) snapshot: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) outpost: Option<String>,
    pub(crate) multi_attach: bool,
    pub(crate) token: Option<Token>,
    /// It shall end in `error`.
    pub(crate) doomed: bool,
}

impl Volume {
    pub(crate) fn is_there(&self, region: &str) -> bool {
        self.region == region && self.phase != Phase::Deleted
    }

    /// Its state, as the API calls it.
    pub(crate) fn state(&self) -> &'static str {
        match self.phase {
            Phase::Creating => "creating",
            Phase::Ready if self.attachments.is_empty() => "available",
            Phase::Ready => "in-use",
            Phase::Error => "error",
            Phase::Deleting => "deleting",
            Phase::Deleted => "deleted",
        }
    }

    pub(crate) fn attachment(&self, instance: &str) -> Option<&Attachment> {
        self.attachments.iter().find(|attachment| attachment.instance == instance)
    }
}

impl World {
    /// The volume that was made with this token, deleted or not. Another request with it →
    /// `IdempotentParameterMismatch`.
    pub(crate) fn find_by_token(&self, token: &Token, region: &str) -> Answered<Option<&Volume>> {
        let is_it = |volume: &&Volume| {
            volume.region == region
                && volume.token.as_ref().is_some_and(|known| known.text == token.text)
        };
        let found = self.volumes.values().find(is_it);
        if found.is_some_and(|volume| volume.token.as_ref() != Some(token)) {
            return Err(Refusal::client(
                "IdempotentParameterMismatch",
                "The client token you have provided is associated with a resource that is \
                 already created with different parameters",
            ));
        }
        Ok(found)
    }

    /// Makes a volume, which will be `available` later.
    pub(crate) fn create_volume(
        &mut self,
        new: NewVolume,
        step: &mut Step<'_>,
    ) -> Answered<&Volume> {
        let id = new_id("vol");
        let from = new.source.as_deref().or(new.snapshot.as_deref());
        step.hardware
            .create(&id, new.shape.size, from)
            .map_err(|error| Refusal::internal(&error))?;
        let volume = Volume {
            id: id.clone(),
            region: new.region,
            zone: new.zone,
            shape: new.shape,
            phase: Phase::Creating,
            due: step.now + step.delays.create,
            doomed: new.doomed,
            created: step.now,
            tags: new.tags,
            encrypted: new.encrypted,
            kms_key: new.kms_key,
            snapshot: new.snapshot,
            source: new.source,
            outpost: new.outpost,
            multi_attach: new.multi_attach,
            root: false,
            token: new.token,
            attachments: Vec::new(),
            modification: None,
        };
        Ok(self.volumes.entry(id).or_insert(volume))
    }

    pub(crate) fn delete_volume(
        &mut self,
        id: &str,
        region: &str,
        step: &Step<'_>,
    ) -> Answered<()> {
        let volume = self.volume_mut(id, region)?;
        if let Some(attachment) = volume.attachments.first() {
            let instance = &attachment.instance;
            return Err(Refusal::client(
                "VolumeInUse",
                format!("Volume {id} is currently attached to {instance}"),
            ));
        }
        match volume.phase {
            Phase::Creating => Err(Refusal::client(
                "IncorrectState",
                format!("The volume '{id}' is 'creating' and can't be deleted now"),
            )),
            Phase::Deleting | Phase::Deleted => Ok(()),
            Phase::Ready | Phase::Error => {
                volume.phase = Phase::Deleting;
                volume.due = step.now + step.delays.delete;
                Ok(())
            }
        }
    }

    /// Volumes become available, or are gone.
    pub(super) fn advance_volumes(&mut self, step: &mut Step<'_>) -> Answered<bool> {
        let mut changed = false;
        let due = |volume: &&mut Volume| volume.due <= step.now;
        for volume in self.volumes.values_mut().filter(due) {
            let next = match volume.phase {
                Phase::Creating if volume.doomed => Phase::Error,
                Phase::Creating => Phase::Ready,
                Phase::Deleting => Phase::Deleted,
                Phase::Ready | Phase::Error | Phase::Deleted => continue,
            };
            if next == Phase::Deleted && !volume.root {
                step.hardware.remove(&volume.id).map_err(|error| Refusal::internal(&error))?;
            }
            volume.phase = next;
            changed = true;
        }
        Ok(changed)
    }
}
