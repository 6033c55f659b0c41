//! What goes over the control API (HTTP and JSON under `/v1`): shared by the agent that serves it
//! and the command line that calls it.

use error::{Error, Kind};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use utoipa::ToSchema;
use volume::driver::Report;

/// A volume, with its place on this machine.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeInfo {
    /// The service it belongs to.
    pub service: String,
    /// Its name, unique within the service.
    pub name: String,
    /// The back end's identifier.
    pub id: String,
    /// The driver of its service.
    pub driver: String,
    /// `available`, `attached`, `mounted`, `releasing`, `preparing`, `faulty`, or `elsewhere`: not
    /// used here, and attached to another machine.
    pub status: String,
    /// The other machines that it is attached to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attached_to: Vec<String>,
    /// Size in bytes; absent where none is enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Type of its file system; absent for directories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs_type: Option<String>,
    /// When it was created (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// Where it is mounted; absent when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub mountpoint: Option<PathBuf>,
    /// The block device it is attached as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub device: Option<PathBuf>,
    /// Who has it mounted.
    #[serde(default)]
    pub consumers: Vec<ConsumerInfo>,
    /// What is wrong with it, and the way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// The options it was created with, defaults included, by option name.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What it was copied from: `snapshot NAME` or `volume NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Further words of the driver.
    #[serde(default)]
    pub details: BTreeMap<String, String>,
}

/// Somebody who has a volume mounted.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerInfo {
    /// The mount ID.
    pub id: String,
    /// Since when (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The process that asked for it, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
}

/// A part of the list of volumes.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VolumeList {
    /// The volumes, by service and name.
    pub volumes: Vec<VolumeInfo>,
    /// Give it as `token` to get the next part; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Services that could not be listed, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<String, String>,
}

/// A request for a volume.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateVolume {
    /// The service; may be left out when there is only one, or one called `mobula`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The name it shall have.
    pub name: String,
    /// Options by name (`size`, `fsType`, `snapshot`, `clone` …), in any case of letters.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// A disk image or block device to copy, file system and all; it stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub from: Option<PathBuf>,
}

/// What a call about a volume did.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// Whether this call changed something; `false`: it was so already.
    pub changed: bool,
    /// The volume afterwards; absent when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeInfo>,
    /// What the user should know: `the file system grows with the next mount`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Mount a volume, or give a mount back.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MountVolume {
    /// The mount ID; `cli` when left out. Unmount with the ID that it was mounted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Unmount only: give back every mount ID, unless a container still uses the volume.
    #[serde(default)]
    pub all: bool,
}

/// Grow a volume.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpandVolume {
    /// The size it shall have: `20GiB`.
    pub size: String,
}

/// A snapshot.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotInfo {
    /// The service it belongs to.
    pub service: String,
    /// Its name, unique within the service.
    pub name: String,
    /// The volume it was taken of.
    pub volume: String,
    /// Size in bytes.
    pub size: u64,
    /// When it was taken (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// Type of its file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs_type: Option<String>,
    /// Further words of the driver, such as how it was `copied`.
    #[serde(default)]
    pub details: BTreeMap<String, String>,
}

/// A part of the list of snapshots.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SnapshotList {
    /// The snapshots, by service and name.
    pub snapshots: Vec<SnapshotInfo>,
    /// Services that could not be listed, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<String, String>,
}

/// Take a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateSnapshot {
    /// The service, as in [`CreateVolume`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The volume to take it of.
    pub volume: String,
    /// The name it shall have.
    pub name: String,
}

/// What a call about a snapshot did.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotChanged {
    /// Whether this call changed something.
    pub changed: bool,
    /// The snapshot afterwards; absent when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotInfo>,
}

/// An option of a driver.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OptionInfo {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub help: String,
    /// What its value looks like.
    pub value: String,
    /// Its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Whether its value is never shown.
    pub secret: bool,
}

/// Something that only this driver can do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionInfo {
    /// Its name.
    pub name: String,
    /// What it does.
    pub help: String,
    /// What it is about: `service`, `volume` or `snapshot`.
    pub subject: String,
    /// What can be said besides.
    pub options: Vec<OptionInfo>,
}

/// A driver of this program.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriverInfo {
    /// Its name.
    pub name: String,
    /// One line about it.
    pub summary: String,
    /// A page about it.
    pub description: String,
    /// Options of a service that uses it.
    pub service_options: Vec<OptionInfo>,
    /// Options of its volumes.
    pub volume_options: Vec<OptionInfo>,
    /// What it can do besides.
    #[serde(default)]
    pub actions: Vec<ActionInfo>,
}

/// A configured service.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceInfo {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// How many of its volumes are mounted here.
    pub mounted: usize,
    /// `snapshots`, `clones`, `expand`, `size`, `shared`, `ephemeral`.
    pub capabilities: Vec<String>,
    /// Why it cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A volume that is in use on this machine: a line of the ledger.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MountInfo {
    /// The service.
    pub service: String,
    /// The volume.
    pub volume: String,
    /// Where it is or is to be mounted.
    #[schema(value_type = String)]
    pub target: PathBuf,
    /// `preparing`, `attached`, `mounted` or `releasing`.
    pub state: String,
    /// Who has it mounted.
    pub consumers: Vec<ConsumerInfo>,
}

/// The places that `mobula mounts` looks at.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MountList {
    /// The directory below which every volume is mounted; it must be a shared mount.
    #[schema(value_type = String)]
    pub root: PathBuf,
    /// The ledger.
    pub mounts: Vec<MountInfo>,
}

/// Whether the agent is well.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `ok`, or `degraded` when a service cannot be used.
    pub status: String,
    /// The program's version.
    pub version: String,
    /// The process ID of the agent.
    pub pid: u32,
    /// Its services.
    pub services: Vec<ServiceInfo>,
}

/// Ask a service for one of its driver's own actions.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AskAction {
    /// The name of the volume or snapshot that it is about; left out when it is about the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The action's options by name, in any case of letters.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// A line of the answer to an action: progress any number of times, and one of the others at the end.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ActionLine {
    /// What goes on, for people.
    Progress(String),
    /// It is done.
    Report(ActionReport),
    /// It failed.
    Error(FailureInfo),
}

/// What an action answers: a table, and what else there is to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionReport {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<String>>,
    /// Sentences below the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The body of every answer that is not a success.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// The error.
    pub error: FailureInfo,
}

/// An error.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FailureInfo {
    /// Its kind: gRPC's name in lower case, such as `not_found`.
    pub kind: String,
    /// What happened, with what, and the way out.
    pub message: String,
    /// Where it happened: driver, operation, volume.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context: BTreeMap<String, String>,
}

impl FailureInfo {
    /// The error, as if it had happened here.
    pub fn into_error(self) -> Error {
        Error::new(Kind::find(&self.kind).unwrap_or(Kind::Internal), self.message)
    }
}

impl From<Report> for ActionReport {
    fn from(Report { columns, rows, notes }: Report) -> Self {
        Self { columns, rows, notes }
    }
}
