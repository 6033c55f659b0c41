//! Attachments of volumes to instances: who may be attached where, and the way from `attaching` to
//! gone.

use super::instance::{Instance, InstanceState};
use super::limits;
use super::volume::{Phase, Volume};
use super::{Step, World};
use crate::hardware::{Plug, Unplugged};
use crate::refusal::{Answered, Refusal};
use serde::{Deserialize, Serialize};

/// Instances that a volume may be attached to at a time, if to several at all.
const MOST_INSTANCES: usize = 16;
/// Milliseconds until what the hardware failed to do is tried again.
const PATIENCE: u64 = 1000;

/// How far an attachment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AttachmentState {
    Attaching,
    Attached,
    Detaching,
    Busy,
}

impl AttachmentState {
    /// As the API calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Attaching => "attaching",
            Self::Attached => "attached",
            Self::Detaching => "detaching",
            Self::Busy => "busy",
        }
    }
}

/// A volume at an instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Attachment {
    pub(crate) instance: String,
    /// The name that it was attached under.
    pub(crate) device: String,
    pub(crate) state: AttachmentState,
    /// When it was attached.
    pub(crate) since: u64,
    /// When the state ends.
    pub(crate) due: u64,
    /// The state doesn't end.
    pub(crate) stuck: bool,
    /// It goes even if the instance uses it.
    pub(crate) force: bool,
    pub(crate) delete_on_termination: bool,
    /// Where the disk is now.
    pub(crate) plug: Option<Plug>,
}

/// What is to be detached.
#[derive(Debug, Clone)]
pub(crate) struct Detach {
    pub(crate) volume: String,
    pub(crate) instance: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) force: bool,
    pub(crate) stuck: bool,
}

impl World {
    /// Whether the volume may be attached there, under this name.
    pub(crate) fn check_attach(
        &self,
        volume: &str,
        instance: &str,
        device: &str,
        region: &str,
    ) -> Answered<()> {
        let volume = self.volume(volume, region)?;
        let instance = self.instance(instance, region)?;
        check_name(device)?;
        if !matches!(instance.state, InstanceState::Running | InstanceState::Stopped) {
            return Err(Refusal::client(
                "IncorrectState",
                format!("Instance '{}' is not 'running'.", instance.id),
            ));
        }
        volume.check_free(&instance.id)?;
        if volume.zone != instance.zone {
            return Err(Refusal::client(
                "InvalidVolume.ZoneMismatch",
                format!(
                    "The volume '{}' is not in the same availability zone as instance '{}'",
                    volume.id, instance.id
                ),
            ));
        }
        self.check_room(instance, device)
    }

    /// Whether the instance has the name and a place free.
    fn check_room(&self, instance: &Instance, device: &str) -> Answered<()> {
        let here: Vec<_> = self.attachments_of(&instance.id).collect();
        if here.iter().any(|(_, attachment)| attachment.device == device) {
            return Err(Refusal::value(format!(
                "Invalid value '{device}' for unixDevice. Attachment point {device} is already in \
                 use"
            )));
        }
        let most = instance.max_volumes.unwrap_or_else(|| {
            limits::find(&instance.kind).map_or(usize::MAX, |found| found.max_volumes)
        });
        if here.len() >= most {
            return Err(Refusal::client(
                "AttachmentLimitExceeded",
                format!(
                    "Volume attachment limit exceeded for instance '{}': {} takes {most} volumes",
                    instance.id, instance.kind
                ),
            ));
        }
        Ok(())
    }

    /// What is at an instance.
    pub(crate) fn attachments_of(
        &self,
        instance: &str,
    ) -> impl Iterator<Item = (&Volume, &Attachment)> {
        let there = |volume: &&Volume| volume.phase != Phase::Deleted;
        self.volumes
            .values()
            .filter(there)
            .filter_map(move |volume| Some((volume, volume.attachment(instance)?)))
    }

    /// Begins to attach what was [checked](Self::check_attach).
    pub(crate) fn attach(
        &mut self,
        volume: &str,
        instance: &str,
        device: &str,
        stuck: bool,
        step: &Step<'_>,
    ) -> Answered<Attachment> {
        let attachment = Attachment {
            instance: instance.to_owned(),
            device: device.to_owned(),
            state: AttachmentState::Attaching,
            since: step.now,
            due: step.now + step.delays.attach,
            stuck,
            force: false,
            delete_on_termination: false,
            plug: None,
        };
        let region = self.volumes.get(volume).map(|found| found.region.clone());
        let found = self.volume_mut(volume, &region.unwrap_or_default())?;
        found.attachments.push(attachment.clone());
        Ok(attachment)
    }

    /// Which attachment is meant.
    pub(crate) fn find_attachment(&self, detach: &Detach, region: &str) -> Answered<&Attachment> {
        let volume = self.volume(&detach.volume, region)?;
        if let Some(instance) = &detach.instance {
            self.instance(instance, region)?;
        }
        let id = &volume.id;
        if volume.attachments.is_empty() {
            return Err(Refusal::client(
                "IncorrectState",
                format!("Volume '{id}' is in the '{}' state.", volume.state()),
            ));
        }
        if detach.instance.is_none() && volume.attachments.len() > 1 {
            return Err(Refusal::missing("InstanceId"));
        }
        let is_meant = |attachment: &&Attachment| {
            detach.instance.as_ref().is_none_or(|wanted| *wanted == attachment.instance)
                && detach.device.as_ref().is_none_or(|wanted| *wanted == attachment.device)
        };
        let found = volume.attachments.iter().find(is_meant).ok_or_else(|| {
            let to = detach.instance.as_deref().or(detach.device.as_deref()).unwrap_or_default();
            Refusal::client(
                "InvalidAttachment.NotFound",
                format!("The volume '{id}' is not attached to '{to}'"),
            )
        })?;
        if volume.root && self.instances.get(&found.instance).is_some_and(Instance::is_on) {
            return Err(Refusal::client(
                "OperationNotPermitted",
                format!("Unable to detach root volume '{id}' from instance '{}'", found.instance),
            ));
        }
        Ok(found)
    }

    /// Begins to detach. What is being detached already goes on, by force if that is new.
    pub(crate) fn detach(
        &mut self,
        detach: &Detach,
        region: &str,
        step: &Step<'_>,
    ) -> Answered<Attachment> {
        let instance = self.find_attachment(detach, region)?.instance.clone();
        let volume = self.volume_mut(&detach.volume, region)?;
        let mut attachments = volume.attachments.iter_mut();
        let Some(found) = attachments.find(|one| one.instance == instance) else {
            return Err(Refusal::client("InvalidAttachment.NotFound", "It is gone"));
        };
        if matches!(found.state, AttachmentState::Attaching | AttachmentState::Attached) {
            found.state = AttachmentState::Detaching;
            found.due = step.now + step.delays.detach;
            found.stuck = detach.stuck && !detach.force;
        }
        if detach.force {
            found.force = true;
            found.stuck = false;
        }
        Ok(found.clone())
    }

    /// Disks appear and vanish.
    pub(super) fn advance_attachments(&mut self, step: &mut Step<'_>) -> Answered<bool> {
        let mut changed = false;
        for volume in self.volumes.values_mut() {
            let Volume { id, attachments, root, .. } = volume;
            let mut kept = Vec::with_capacity(attachments.len());
            let mut failed = None;
            for mut attachment in attachments.drain(..) {
                let is_on = self.instances.get(&attachment.instance).is_some_and(Instance::is_on);
                let before = (attachment.state, attachment.plug.clone());
                match attachment.advance(id, *root, is_on, step) {
                    Ok(true) => changed = true,
                    result => {
                        if let Err(refusal) = result {
                            attachment.due = step.now + PATIENCE;
                            failed = Some(refusal);
                        }
                        changed |= before != (attachment.state, attachment.plug.clone());
                        kept.push(attachment);
                    }
                }
            }
            *attachments = kept;
            if let Some(refusal) = failed {
                return Err(refusal);
            }
        }
        Ok(changed)
    }
}

impl Attachment {
    /// Goes on; `true` when it is gone. An instance that is off has no disks, but keeps its
    /// attachments.
    fn advance(
        &mut self,
        volume: &str,
        root: bool,
        is_on: bool,
        step: &mut Step<'_>,
    ) -> Answered<bool> {
        if !is_on {
            self.unplug(volume, true, step)?;
        }
        let is_due = self.due <= step.now && !self.stuck;
        match self.state {
            AttachmentState::Attaching if is_due => {
                if is_on && !root {
                    self.plug(volume, step)?;
                }
                self.state = AttachmentState::Attached;
            }
            AttachmentState::Attached if is_due && is_on && !root => self.plug(volume, step)?,
            AttachmentState::Detaching if self.stuck && self.due <= step.now => {
                self.state = AttachmentState::Busy;
            }
            AttachmentState::Detaching | AttachmentState::Busy if is_due => {
                if self.unplug(volume, self.force, step)? == Unplugged::Gone {
                    return Ok(true);
                }
                self.state = AttachmentState::Busy;
            }
            _ => {}
        }
        Ok(false)
    }

    fn plug(&mut self, volume: &str, step: &mut Step<'_>) -> Answered<()> {
        if self.plug.is_none() {
            let plug = step.hardware.plug(volume, &self.instance);
            self.plug = Some(plug.map_err(|error| Refusal::internal(&error))?);
        }
        Ok(())
    }

    fn unplug(&mut self, volume: &str, force: bool, step: &mut Step<'_>) -> Answered<Unplugged> {
        let Some(plug) = &self.plug else { return Ok(Unplugged::Gone) };
        let done = step.hardware.unplug(volume, &self.instance, plug, force);
        let done = done.map_err(|error| Refusal::internal(&error))?;
        if done == Unplugged::Gone {
            self.plug = None;
        }
        Ok(done)
    }
}

impl Volume {
    /// Whether it may be attached to one more instance.
    fn check_free(&self, instance: &str) -> Answered<()> {
        let id = &self.id;
        if self.phase != Phase::Ready {
            return Err(Refusal::client("IncorrectState", format!("{id} is not 'available'.")));
        }
        let taken = !self.attachments.is_empty() && !self.multi_attach;
        if taken || self.attachment(instance).is_some() {
            return Err(Refusal::client(
                "VolumeInUse",
                format!("{id} is already attached to an instance"),
            ));
        }
        if self.attachments.len() >= MOST_INSTANCES {
            return Err(Refusal::client(
                "AttachmentLimitExceeded",
                format!("{id} is attached to {MOST_INSTANCES} instances, the most it can be"),
            ));
        }
        Ok(())
    }
}

/// Device names of Linux instances
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/device_naming.html>).
fn check_name(device: &str) -> Answered<()> {
    let name = device.strip_prefix("/dev/").unwrap_or(device);
    let is_name = |rest: &str, first: &str| {
        let mut letters = rest.bytes();
        let first_letter = letters.next();
        first_letter.is_some_and(|letter| letter.is_ascii_lowercase())
            && match rest.len() {
                1 => true,
                2 => {
                    first.as_bytes().contains(&rest.as_bytes()[0])
                        && rest.as_bytes()[1].is_ascii_lowercase()
                }
                _ => false,
            }
    };
    let is_sd = |rest: &str| {
        let letter = rest.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
        let number = rest.get(1..).unwrap_or_default();
        let fits = number.is_empty() || number.parse::<u8>().is_ok_and(|n| (1..=15).contains(&n));
        letter && fits && !number.starts_with('0') && !number.starts_with('+')
    };
    let valid = match (name.strip_prefix("xvd"), name.strip_prefix("sd")) {
        (Some(rest), _) => is_name(rest, "abcd"),
        (_, Some(rest)) => is_sd(rest),
        _ => false,
    };
    match valid && device.starts_with("/dev/") {
        true => Ok(()),
        false => Err(Refusal::parameter(
            "device",
            device,
            &format!("{device} is not a valid EBS device name."),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_are_those_of_linux_instances() {
        for name in ["/dev/sdf", "/dev/sda1", "/dev/sdp15", "/dev/xvdf", "/dev/xvdaa", "/dev/xvddx"]
        {
            check_name(name).expect(name);
        }
        for name in [
            "sdf",
            "/dev/sdf16",
            "/dev/sdf01",
            "/dev/xvdea",
            "/dev/xvdaaa",
            "/dev/nvme1n1",
            "",
            "/dev/xvd",
            "/dev/sd",
            "/dev/sdé",
        ] {
            assert_eq!(check_name(name).expect_err(name).code, "InvalidParameterValue");
        }
    }
}
