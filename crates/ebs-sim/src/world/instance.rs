//! Instances: their states, and what becomes of their volumes when they stop or end.

use super::attachment::{Attachment, AttachmentState};
use super::kinds::Shape;
use super::tags::Tags;
use super::volume::{Phase, Volume};
use super::{Step, World, new_id};
use crate::config::{Config, InstanceConfig};
use crate::refusal::{Answered, Refusal};
use serde::{Deserialize, Serialize};

/// GiB of a root volume, and the name it is attached under.
const ROOT: u64 = 8;
pub(crate) const ROOT_DEVICE: &str = "/dev/xvda";

/// What every instance was launched from.
pub(crate) const IMAGE: &str = "ami-0123456789abcdef0";

/// The state of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum InstanceState {
    Pending,
    Running,
    Stopping,
    Stopped,
    ShuttingDown,
    Terminated,
}

impl InstanceState {
    /// As the API calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
        }
    }

    /// The number that the API gives besides.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Pending => 0,
            Self::Running => 16,
            Self::ShuttingDown => 32,
            Self::Terminated => 48,
            Self::Stopping => 64,
            Self::Stopped => 80,
        }
    }
}

/// An instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) region: String,
    pub(crate) zone: String,
    pub(crate) kind: String,
    pub(crate) max_volumes: Option<usize>,
    pub(crate) tags: Tags,
    pub(crate) state: InstanceState,
    /// When the state ends, if it does.
    pub(crate) due: u64,
    pub(crate) launched: u64,
}

impl Instance {
    /// Whether it runs programs and has disks.
    pub(crate) fn is_on(&self) -> bool {
        use InstanceState::{Pending, Running, ShuttingDown, Stopping};
        matches!(self.state, Pending | Running | Stopping | ShuttingDown)
    }
}

/// What to do with an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Start,
    Stop,
    Terminate,
}

impl World {
    /// A running instance, with its root volume.
    pub(crate) fn add_instance(&mut self, wanted: &InstanceConfig, config: &Config, now: u64) {
        let zones = config.zones_of(&config.region);
        let zone = wanted.zone.clone().or_else(|| zones.first().cloned()).unwrap_or_default();
        let tags = wanted.name.iter().map(|name| ("Name".to_owned(), name.clone())).collect();
        let instance = Instance {
            id: wanted.id.clone(),
            region: config.region.clone(),
            zone: zone.clone(),
            kind: wanted.kind.clone(),
            max_volumes: wanted.max_volumes,
            tags,
            state: InstanceState::Running,
            due: 0,
            launched: now,
        };
        let root = root_volume(&instance, now);
        self.instances.insert(wanted.id.clone(), instance);
        self.volumes.insert(root.id.clone(), root);
    }

    /// Begins to change an instance; answers the state before. One that is there already stays.
    pub(crate) fn change_instance(
        &mut self,
        id: &str,
        region: &str,
        change: Change,
        step: &Step<'_>,
    ) -> Answered<InstanceState> {
        use InstanceState::{Pending, Running, ShuttingDown, Stopped, Stopping, Terminated};
        let instance = self.instance_mut(id, region)?;
        let before = instance.state;
        let next = match (change, before) {
            (Change::Start, Pending | Running)
            | (Change::Stop, Stopping | Stopped)
            | (Change::Terminate, ShuttingDown | Terminated) => return Ok(before),
            (Change::Start, Stopped) => Pending,
            (Change::Stop, Pending | Running) => Stopping,
            (Change::Terminate, _) => ShuttingDown,
            (Change::Start | Change::Stop, _) => {
                return Err(Refusal::client(
                    "IncorrectInstanceState",
                    format!(
                        "This instance '{id}' is not in a state from which it can be started or \
                         stopped: it is '{}'.",
                        before.name()
                    ),
                ));
            }
        };
        instance.state = next;
        instance.due = step.now + step.delays.terminate;
        Ok(before)
    }

    /// Instances arrive at where they were sent. The volumes of a terminated one are detached: its
    /// programs are dead, so that nothing writes to them.
    pub(super) fn advance_instances(&mut self, step: &mut Step<'_>) -> Answered<bool> {
        use InstanceState::{Pending, Running, ShuttingDown, Stopped, Stopping, Terminated};
        let mut terminated = Vec::new();
        let mut changed = false;
        for instance in self.instances.values_mut().filter(|one| one.due <= step.now) {
            instance.state = match instance.state {
                Pending => Running,
                Stopping => Stopped,
                ShuttingDown => {
                    terminated.push(instance.id.clone());
                    Terminated
                }
                Running | Stopped | Terminated => continue,
            };
            changed = true;
        }
        for volume in self.volumes.values_mut() {
            volume.leave(&terminated, step.now);
        }
        Ok(changed)
    }
}

impl Volume {
    /// It is detached from instances that are no more, and goes with them if it shall.
    fn leave(&mut self, terminated: &[String], now: u64) {
        let gone = |attachment: &&mut Attachment| terminated.contains(&attachment.instance);
        for attachment in self.attachments.iter_mut().filter(gone) {
            attachment.state = AttachmentState::Detaching;
            attachment.force = true;
            attachment.stuck = false;
            attachment.due = now;
        }
        let goes =
            |one: &Attachment| one.delete_on_termination && terminated.contains(&one.instance);
        if self.attachments.iter().any(goes) {
            self.attachments.clear();
            self.phase = Phase::Deleting;
            self.due = now;
        }
    }
}

fn root_volume(instance: &Instance, now: u64) -> Volume {
    let attachment = Attachment {
        instance: instance.id.clone(),
        device: ROOT_DEVICE.to_owned(),
        state: AttachmentState::Attached,
        since: now,
        due: 0,
        stuck: false,
        force: false,
        delete_on_termination: true,
        plug: None,
    };
    Volume {
        id: new_id("vol"),
        region: instance.region.clone(),
        zone: instance.zone.clone(),
        shape: Shape {
            kind: "gp3".to_owned(),
            size: ROOT,
            iops: Some(3000),
            throughput: Some(125),
        },
        phase: Phase::Ready,
        due: 0,
        doomed: false,
        created: now,
        tags: Tags::new(),
        encrypted: false,
        kms_key: None,
        snapshot: None,
        source: None,
        outpost: None,
        multi_attach: false,
        root: true,
        token: None,
        attachments: vec![attachment],
        modification: None,
    }
}
