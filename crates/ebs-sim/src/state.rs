//! The account as it is at a moment, for whoever looks at it from outside: tests and the admin API.

use crate::world::{World, attachment, instance, snapshot, volume};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything in the account, sorted by ID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct State {
    /// Instances, those that were terminated too.
    pub instances: Vec<Instance>,
    /// Volumes that were not deleted, without root volumes.
    pub volumes: Vec<Volume>,
    /// Snapshots.
    pub snapshots: Vec<Snapshot>,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Instance {
    /// Its ID.
    pub id: String,
    /// Its zone.
    pub zone: String,
    /// Its type.
    pub kind: String,
    /// `running`, `stopped` …, as the API calls it.
    pub state: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Volume {
    /// Its ID.
    pub id: String,
    /// Its region.
    pub region: String,
    /// Its zone.
    pub zone: String,
    /// `creating`, `available` …, as the API calls it.
    pub state: String,
    /// GiB.
    pub size: u64,
    /// `gp3` …
    pub kind: String,
    /// I/O operations a second, if the type has that.
    pub iops: Option<u64>,
    /// MiB/s, if the type has that.
    pub throughput: Option<u64>,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Whether several instances may have it.
    pub multi_attach: bool,
    /// The snapshot it was made of.
    pub snapshot: Option<String>,
    /// The volume it is a copy of.
    pub source: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The token it was made with.
    pub client_token: Option<String>,
    /// Where it is attached.
    pub attachments: Vec<Attachment>,
    /// The state of its last modification, as the API calls it.
    pub modification: Option<String>,
}

/// A volume at an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Attachment {
    /// The instance.
    pub instance: String,
    /// The name it was attached under.
    pub device: String,
    /// `attaching`, `attached`, `detaching` or `busy`.
    pub state: String,
    /// When it was attached, in milliseconds since 1970.
    pub since: u64,
    /// The device node, while there is one.
    pub node: Option<PathBuf>,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Snapshot {
    /// Its ID.
    pub id: String,
    /// Its region.
    pub region: String,
    /// The volume it is of.
    pub volume: String,
    /// `pending`, `completed` or `error`.
    pub state: String,
    /// GiB.
    pub size: u64,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl State {
    pub(crate) fn of(world: &World) -> Self {
        let is_shown = |one: &&volume::Volume| !one.root && one.phase != volume::Phase::Deleted;
        Self {
            instances: world.instances.values().map(Instance::of).collect(),
            volumes: world.volumes.values().filter(is_shown).map(Volume::of).collect(),
            snapshots: world.snapshots.values().map(Snapshot::of).collect(),
        }
    }
}

impl Instance {
    fn of(one: &instance::Instance) -> Self {
        Self {
            id: one.id.clone(),
            zone: one.zone.clone(),
            kind: one.kind.clone(),
            state: one.state.name().to_owned(),
            tags: one.tags.clone(),
        }
    }
}

impl Volume {
    fn of(one: &volume::Volume) -> Self {
        Self {
            id: one.id.clone(),
            region: one.region.clone(),
            zone: one.zone.clone(),
            state: one.state().to_owned(),
            size: one.shape.size,
            kind: one.shape.kind.clone(),
            iops: one.shape.iops,
            throughput: one.shape.throughput,
            encrypted: one.encrypted,
            multi_attach: one.multi_attach,
            snapshot: one.snapshot.clone(),
            source: one.source.clone(),
            tags: one.tags.clone(),
            client_token: one.token.as_ref().map(|token| token.text.clone()),
            attachments: one.attachments.iter().map(Attachment::of).collect(),
            modification: one.modification.as_ref().map(|last| last.state.name().to_owned()),
        }
    }
}

impl Attachment {
    fn of(one: &attachment::Attachment) -> Self {
        let node = one.plug.as_ref().map(|plug| plug.node.clone());
        Self {
            instance: one.instance.clone(),
            device: one.device.clone(),
            state: one.state.name().to_owned(),
            since: one.since,
            node: node.filter(|node| !node.as_os_str().is_empty()),
        }
    }
}

impl Snapshot {
    fn of(one: &snapshot::Snapshot) -> Self {
        Self {
            id: one.id.clone(),
            region: one.region.clone(),
            volume: one.volume.clone(),
            state: one.state.name().to_owned(),
            size: one.size,
            tags: one.tags.clone(),
        }
    }
}
