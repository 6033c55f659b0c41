//! The seam: what a storage back end is. One trait, one description of it as data, and the source
//! that it hands to whoever mounts. A driver never mounts, and never decides what a failure means.

use crate::metrics::Calls;
use crate::name::{NodeId, SnapshotName, VolumeId, VolumeName};
use crate::options::{COMMON, Mistake, OptionSpec};
use crate::size::Size;
use crate::volume::{Create, Filesystem, Snapshot, Volume};
use async_trait::async_trait;
use error::{Error, Result};
use host::{Fstype, Outcome};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A driver, described: from this the configuration, the help, the documentation and the
/// conformance suite know what it can be told.
#[derive(Debug)]
pub struct Spec {
    /// Its name in the configuration.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// A page of prose for its generated document.
    pub description: &'static str,
    /// Options of a service that uses it.
    pub service_options: &'static [OptionSpec],
    /// Which of the [`COMMON`] volume options it honours.
    pub common_options: &'static [&'static str],
    /// Volume options of its own.
    pub own_options: &'static [OptionSpec],
    /// Volume parameters when neither the user nor the configuration says anything.
    pub defaults: &'static [(&'static str, &'static str)],
    /// What it can do besides, for people.
    pub actions: &'static [Action],
    /// What it needs of the machine as a managed plugin; `None` when it makes no sense as one.
    pub container: Option<Container>,
    /// Everything that is wrong with a service's options together, each checked by itself already.
    /// - Pure: asks no network, no disk and no clock; the configuration is checked with it.
    /// - What it finds, [`open`](Self::open) refuses, and in the same words.
    /// - No message has the value of a secret option in it.
    pub check: fn(&BTreeMap<String, String>) -> Vec<Mistake>,
    /// Opens it.
    pub open: fn(&Opening) -> Result<Arc<dyn Driver>>,
}

/// Something that only this driver can do, for people: `mobula <driver> <action>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    /// Its name on the command line.
    pub name: &'static str,
    /// One sentence for people.
    pub help: &'static str,
    /// What it is about.
    pub subject: Subject,
    /// What can be said besides.
    pub options: &'static [OptionSpec],
    /// The option, a switch, by which somebody orders it whatever it costs. Without it nothing is
    /// done that costs anything: `FailedPrecondition` says what it would. Who orders it at a terminal
    /// is told that first, and asked.
    pub order: Option<&'static str>,
}

/// What an [`Action`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The service as a whole.
    Service,
    /// One volume, named first. Nothing else happens to it meanwhile but what the driver
    /// [joins](Driver::joins) with it.
    Volume,
    /// One snapshot, named first.
    Snapshot,
}

/// An action that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionRequest {
    /// The action's name.
    pub action: String,
    /// The volume or snapshot that it is about, as its subject says.
    pub subject: Option<String>,
    /// Its options, checked against its description.
    pub options: BTreeMap<String, String>,
}

/// The name of the action by which a driver tells what its credentials lack; `mobula doctor` asks for
/// it too. Its report has a row for each permission in [`PERMISSION_COLUMNS`].
pub const PERMISSIONS: &str = "permissions";

/// A permission; `allowed`, `missing` where only some of what the driver does needs it, or `MISSING`
/// where nothing works without it; what it is needed for, in words that follow "needed".
pub const PERMISSION_COLUMNS: [&str; 3] = ["PERMISSION", "STATE", "NEEDED"];

/// Who hears of an action's progress, in words.
pub type Told = dyn Fn(&str) + Send + Sync;

/// What an action answers: a table, and what else there is to say.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Report {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<String>>,
    /// Sentences below the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A volume that this machine must not write to any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Which.
    pub id: VolumeId,
    /// Why, for people.
    pub why: String,
}

/// What a driver needs of the machine when it runs in a container of its own, as a managed plugin.
/// Mounting, which every driver's volumes need, is not said again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Container {
    /// Why it must reach devices that appear while it runs; `None`: it uses no devices.
    pub devices: Option<&'static str>,
    /// Why it needs the machine's network; `None`: it has none.
    pub network: Option<&'static str>,
    /// Directories of the machine that it works on.
    pub directories: &'static [Directory],
    /// Variables by which its libraries are told things; none other reaches it.
    pub variables: &'static [Variable],
}

/// A variable of the environment that a driver's libraries know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name, such as `AWS_PROFILE`.
    pub name: &'static str,
    /// One sentence for people.
    pub help: &'static str,
    /// Never shown.
    pub secret: bool,
    /// The service option that it stands for; `None`: the libraries read it by themselves.
    pub option: Option<&'static str>,
}

/// A directory of the machine that is mounted into a plugin, and that its user may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directory {
    /// What users call it: `docker plugin set PLUGIN NAME.source=/dir`.
    pub name: &'static str,
    /// The directory when nothing is said: one that every machine has.
    pub source: &'static str,
    /// What it is for.
    pub help: &'static str,
    /// The service option that says where it is; the plugin sets it, its user cannot.
    pub option: &'static str,
    /// What follows the place in the container in that option's value: `/mobula/loop`.
    pub below: &'static str,
}

impl Spec {
    /// Every option that a volume of this driver can have, with its default.
    pub fn volume_options(&self) -> impl Iterator<Item = OptionSpec> {
        let common = COMMON.iter().filter(|option| self.common_options.contains(&option.name));
        common.chain(self.own_options).map(|option| OptionSpec {
            default: self
                .defaults
                .iter()
                .find(|(name, _)| *name == option.name)
                .map(|(_, value)| *value)
                .or(option.default),
            ..*option
        })
    }

    /// The option of this name, in any case, if a volume of this driver can have it; without the
    /// driver's default for it.
    #[must_use]
    pub fn find_volume_option(&self, name: &str) -> Option<OptionSpec> {
        let is_it = |option: &&OptionSpec| option.name.eq_ignore_ascii_case(name);
        let common = COMMON.iter().find(is_it);
        let common = common.filter(|option| self.common_options.contains(&option.name));
        common.or_else(|| self.own_options.iter().find(is_it)).copied()
    }
}

/// The [`Spec::check`] of a driver whose options cannot contradict each other.
#[must_use]
pub const fn no_mistakes(_options: &BTreeMap<String, String>) -> Vec<Mistake> {
    Vec::new()
}

/// What a driver is opened with.
pub struct Opening {
    /// Where its volumes live, if they are files: `…/volumes/<service>`.
    pub volumes: PathBuf,
    /// The service's options, checked against the [`Spec`].
    pub options: BTreeMap<String, String>,
    /// The machine.
    pub host: Arc<dyn host::Host>,
    /// Where it counts the calls that it makes of a back end's API.
    pub calls: Calls,
}

/// What a driver can do; never changes while it is open. Picks the cases of the conformance suite.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// `snapshot`, `delete_snapshot`, `list_snapshots` and creation from a snapshot.
    pub snapshots: bool,
    /// Creation as a copy of another volume.
    pub clones: bool,
    /// `expand`.
    pub expand: bool,
    /// Volumes have a size, and it is enforced.
    pub size: bool,
    /// File systems that its devices can have; empty when its volumes are not block devices.
    pub filesystems: Vec<Fstype>,
    /// What its volumes are mounted as where they are neither block devices nor directories: the
    /// kernel's name of the type.
    pub network: Option<&'static str>,
    /// The same volumes are seen by every machine (Docker: scope `global`).
    pub shared: bool,
    /// What is in a volume is gone after its last unmount.
    pub ephemeral: bool,
}

/// What to mount. The node code mounts it; the driver only says what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A block device.
    Device {
        /// Where it may appear; the first that is there with the right serial is it.
        candidates: Vec<PathBuf>,
        /// The serial number that it must have.
        serial: Option<String>,
    },
    /// A directory of this machine.
    Directory(PathBuf),
    /// A file system without a block device.
    Network {
        /// The kernel's name of its type: `nfs4`, `tmpfs`.
        fstype: String,
        /// The source in that file system's words.
        source: String,
        /// Options that the back end wants, before the volume's own.
        options: Vec<String>,
    },
}

/// How a volume is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    /// To which machine.
    pub node: NodeId,
    /// Only for reading.
    pub read_only: bool,
    /// It stays attached when this program ends, mounted or not.
    pub keep: bool,
}

/// A part of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// At most so many entries; 0: the driver chooses.
    pub limit: usize,
    /// Where the previous part ended: its [`Listed::next`].
    pub token: Option<String>,
}

/// What [`Driver::list`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The entries, in a stable order.
    pub entries: Vec<T>,
    /// The token of the next part; `None` at the end.
    pub next: Option<String>,
}

/// A storage back end.
///
/// Every mutating method may be repeated and may be killed at any line: the repeat completes it.
/// Each bullet below is a case of the conformance suite (crate `testkit`).
#[async_trait]
pub trait Driver: Send + Sync {
    /// Its description.
    fn spec(&self) -> &'static Spec;

    /// What it can do. Plain data, no I/O.
    fn capabilities(&self) -> Capabilities;

    /// Whether it takes `operation` (`expand`, or one of its actions) on a volume while others of
    /// those it joins go on with it: it makes one of them all. Plain data, no I/O.
    fn joins(&self, operation: &str) -> bool {
        let _ = operation;
        false
    }

    /// Who this machine is to the back end. Cheap; never another machine's name.
    async fn node(&self) -> Result<NodeId>;

    /// Creates a volume.
    /// - The same request again → the same volume, `AlreadyDone`.
    /// - The same name with other options → `AlreadyExists`, saying what differs.
    /// - Killed half-way, the repeat ends with one volume.
    /// - Name, parameters and labels are kept with the volume.
    /// - A copy has its source's parameters where `asked` says nothing.
    async fn create(&self, request: &Create) -> Result<Outcome<Volume>>;

    /// Makes a volume of what is in the disk image or on the block device `from`: a copy, never
    /// formatted; the original is only read.
    /// - The same request again → the same volume, `AlreadyDone`.
    /// - No file system that volumes can have, or in use → `FailedPrecondition`.
    ///
    /// Held by the machine tests `imports`: it takes real disks.
    async fn import(&self, request: &Create, from: &Path) -> Result<Outcome<Volume>> {
        let _ = (request, from);
        Err(self.lacks("import disk images"))
    }

    /// Deletes a volume and its data.
    /// - Missing → `AlreadyDone`.
    /// - Mounted, or attached to another machine → `FailedPrecondition`, naming the user.
    async fn delete(&self, id: &VolumeId) -> Result<Outcome>;

    /// The volume with this ID. Missing → `NotFound`.
    async fn get(&self, id: &VolumeId) -> Result<Volume>;

    /// The volume of this name, if there is one. A failure to look is an error, never `None`:
    /// the caller would create a twin.
    ///
    /// One whose record cannot be used is there, with its [`fault`](Volume::fault); `create`, `get`
    /// and `delete` refuse it. Held by each driver's own tests: how a record is damaged is theirs.
    async fn find(&self, name: &VolumeName) -> Result<Option<Volume>>;

    /// Volumes by name, faulty ones too: a volume that is not listed is taken for gone.
    /// - The order is stable, the part bounded by `page.limit`.
    /// - A token that this driver did not give → `Aborted`.
    async fn list(&self, page: &Page) -> Result<Listed<Volume>>;

    /// Makes the volume reachable from a machine, and says what to mount there.
    /// - Already attached there the same way → the same source, `AlreadyDone`.
    /// - Attached elsewhere → `FailedPrecondition` with the holder's name.
    /// - Missing → `NotFound`. No more devices → `ResourceExhausted`.
    async fn attach(&self, id: &VolumeId, attach: &Attach) -> Result<Outcome<Source>>;

    /// Undoes `attach`, and waits until the back end says so.
    /// - Not attached, or missing → `AlreadyDone`.
    /// - Still held by a mount → `FailedPrecondition`, and nothing changes.
    async fn detach(&self, id: &VolumeId, node: &NodeId) -> Result<Outcome>;

    /// Grows the volume's device.
    /// - Already as large → `AlreadyDone`. Smaller than now → `OutOfRange`.
    async fn expand(&self, id: &VolumeId, size: Size) -> Result<Outcome<Volume>> {
        let _ = (id, size);
        Err(self.lacks("expand volumes"))
    }

    /// Keeps with the volume what its file system is now. Only called for volumes that have one.
    async fn record_filesystem(&self, id: &VolumeId, now: &Filesystem) -> Result<()> {
        let _ = (id, now);
        Err(self.lacks("keep file systems on devices"))
    }

    /// Keeps with a volume that another program made what it is from now on: its file system and its
    /// parameters, as they are in `volume`. Only called for volumes whose file system was not on
    /// record.
    async fn adopt(&self, volume: &Volume) -> Result<()> {
        match &volume.filesystem {
            Some(filesystem) => self.record_filesystem(&volume.id, filesystem).await,
            None => Ok(()),
        }
    }

    /// Takes a snapshot of what is on the device now; the caller has made that consistent.
    /// - The same name and volume again → `AlreadyDone`. Another volume → `AlreadyExists`.
    async fn snapshot(&self, id: &VolumeId, name: &SnapshotName) -> Result<Outcome<Snapshot>> {
        let _ = (id, name);
        Err(self.lacks("take snapshots"))
    }

    /// Deletes a snapshot. Missing → `AlreadyDone`.
    async fn delete_snapshot(&self, name: &SnapshotName) -> Result<Outcome> {
        let _ = name;
        Err(self.lacks("take snapshots"))
    }

    /// Snapshots by name, as in [`list`](Self::list).
    async fn list_snapshots(&self, page: &Page) -> Result<Listed<Snapshot>> {
        let _ = page;
        Err(self.lacks("take snapshots"))
    }

    /// The volume to attach here instead of `volume`, where it is told to move volumes that this
    /// machine cannot reach; `None`: this one.
    async fn relocate(&self, volume: &Volume) -> Result<Option<Volume>> {
        let _ = volume;
        Ok(None)
    }

    /// The volumes that the back end has attached to this machine for this program, but for those
    /// that shall stay attached. Asked once some time after a start: what a reboot left is detached.
    async fn attached(&self) -> Result<Vec<Volume>> {
        Ok(Vec::new())
    }

    /// Keeps up this machine's claim on the volumes `held`; called every few seconds while there
    /// are any. Answers those that must not be written to any more, as somebody else may have them.
    async fn renew(&self, held: &[VolumeId]) -> Result<Vec<Lost>> {
        let _ = held;
        Ok(Vec::new())
    }

    /// Does one of the [`Spec`]'s actions; `told` hears of its progress.
    async fn act(&self, request: &ActionRequest, told: &Told) -> Result<Report> {
        let _ = told;
        Err(self.lacks(&request.action))
    }

    /// The error of a method that this driver does not have.
    fn lacks(&self, what: &str) -> Error {
        Error::unimplemented(format!(
            "driver {} cannot {what}; `mobula driver ls` shows which driver can",
            self.spec().name
        ))
    }
}

/// Cuts the part that `page` asks for out of `all`, which is sorted by `key`. The token is the key
/// of the last entry given, marked so that a foreign one is recognised.
pub fn paginate<T>(all: Vec<T>, page: &Page, key: impl Fn(&T) -> &str) -> Result<Listed<T>> {
    let start = match &page.token {
        None => 0,
        Some(token) => {
            let last = token.strip_prefix("after:").ok_or_else(|| {
                Error::aborted("the page token is not one of this listing; begin again without it")
            })?;
            all.partition_point(|entry| key(entry) <= last)
        }
    };
    let count = if page.limit == 0 { usize::MAX } else { page.limit };
    let end = start.saturating_add(count).min(all.len());
    let (is_last, mut entries) = (end == all.len(), all);
    entries.truncate(end);
    entries.drain(..start);
    let next = entries.last().filter(|_| !is_last).map(|last| format!("after:{}", key(last)));
    Ok(Listed { entries, next })
}

/// Runs work that waits for a disk or a program where it does not hold up anybody else.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|failure| {
        Err(Error::internal("an operation ended without an answer").because(failure))
    })
}
