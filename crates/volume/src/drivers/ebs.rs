//! Driver `ebs`: Amazon Elastic Block Store. A volume is one EBS volume of the region; its name,
//! its parameters and what file system it has are kept in its tags.
//!
//! ```text
//! create:  look the name up in the region ─▶ CreateVolume (one call, one token) ─▶ available
//! attach:  look at the instance ─▶ AttachVolume ─▶ attached here and nowhere else
//!          held elsewhere ─▶ proof that the holder is gone? ─▶ DetachVolume ─▶ as above
//! detach:  nobody holds the device ─▶ DetachVolume ─▶ gone
//! ```
//!
//! AWS answers late, twice, or with what was: nothing here counts on a look-up being fresh, and
//! every call that makes something can be made again.

mod actions;
mod attach;
mod copies;
mod create;
mod devices;
mod gathering;
mod holder;
mod lease;
mod memory;
mod modify;
mod moves;
mod names;
mod orphans;
mod parameters;
mod permissions;
mod record;
mod relocate;
mod room;
mod settings;
mod snapshots;
#[cfg(feature = "fuzzing")]
pub mod tags;
mod wait;

pub use permissions::{POLICY, Permission, policy};

use crate::cloud::aws::{self, Client, Ec2};
use crate::driver::{
    ActionRequest, Attach, Capabilities, Container, Driver, Listed, Lost, Opening, Page, Report,
    Source, Spec, Told, paginate,
};
use crate::name::{NodeId, SnapshotName, VolumeId, VolumeName};
use crate::size::Size;
use crate::volume::{Create, Filesystem, Snapshot, Volume};
use async_trait::async_trait;
use devices::Devices;
use error::{Error, Result};
use gathering::Gathering;
use host::{Fstype, Host, Outcome};
use lease::Leases;
use memory::Memory;
use settings::Settings;
use snapshots::Taken;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OnceCell;

/// The driver, described.
pub const SPEC: Spec = Spec {
    name: "ebs",
    summary: "a disk of Amazon EBS per volume; follows its containers from machine to machine",
    description: include_str!("ebs/description.md"),
    service_options: &settings::OPTIONS,
    common_options: &[
        "size",
        "fsType",
        "mkfsOptions",
        "mountOptions",
        "uid",
        "gid",
        "mode",
        "subPath",
        "readOnly",
        "snapshot",
        "clone",
    ],
    own_options: &parameters::OPTIONS,
    defaults: &[("size", "16GiB"), ("fsType", "ext4"), ("volumeType", "gp3")],
    actions: &actions::ALL,
    container: Some(Container {
        devices: Some("a disk appears on the machine for each volume in use"),
        network: Some("the API of AWS, and the metadata service of this machine"),
        directories: &[],
        variables: &aws::VARIABLES,
    }),
    check: Settings::mistakes,
    open,
};

/// One GiB, the unit of sizes at AWS.
const GIB: u64 = 1 << 30;

struct Ebs {
    settings: Settings,
    ec2: Ec2,
    host: Arc<dyn Host>,
    devices: Devices,
    leases: Leases,
    memory: Memory,
    gathering: Gathering,
    taken: Taken,
    /// Where links to this machine's disks are.
    links: OnceCell<std::path::PathBuf>,
    /// What AWS allows instances of a type to have.
    limits: Mutex<HashMap<String, Option<aws::InstanceType>>>,
}

fn open(opening: &Opening) -> Result<Arc<dyn Driver>> {
    let settings = Settings::parse(&opening.options)?;
    let client = Arc::new(Client::new(settings.account.clone(), opening.calls.clone()));
    let ec2 = Ec2::new(client, settings.scope());
    Ok(Arc::new(Ebs {
        ec2,
        host: Arc::clone(&opening.host),
        devices: Devices::default(),
        leases: Leases::new(settings.lease),
        settings,
        memory: Memory::new(opening.volumes.join("ebs")),
        gathering: Gathering::default(),
        taken: Taken::default(),
        links: OnceCell::new(),
        limits: Mutex::default(),
    }))
}

impl Ebs {
    fn is_gone(&self, id: &str) -> bool {
        self.memory.is_gone(id)
    }

    /// The volume with this ID, as AWS shows it; `None` also when it is about to go.
    async fn find_raw(&self, id: &str) -> Result<Option<aws::Volume>> {
        if !id.starts_with("vol-") || self.is_gone(id) {
            return Ok(None);
        }
        Ok(self.ec2.find_volume(id).await?.filter(aws::Volume::exists))
    }

    async fn get_raw(&self, id: &VolumeId) -> Result<aws::Volume> {
        self.find_raw(id.as_str()).await?.ok_or_else(|| {
            Error::not_found(format!(
                "there is no EBS volume {id} in the region, or it was deleted"
            ))
        })
    }

    fn volume(&self, raw: &aws::Volume) -> Result<Volume> {
        record::volume(&self.settings, raw)
    }
}

/// The lock of plain data, which no panic leaves half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Driver for Ebs {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            snapshots: true,
            clones: true,
            expand: true,
            size: true,
            filesystems: Fstype::ALL.to_vec(),
            network: None,
            shared: true,
            ephemeral: false,
        }
    }

    fn joins(&self, operation: &str) -> bool {
        matches!(operation, "expand" | "modify")
    }

    async fn node(&self) -> Result<NodeId> {
        Ok(NodeId::new(self.ec2.client().identity().await?.instance.as_str()))
    }

    async fn create(&self, request: &Create) -> Result<Outcome<Volume>> {
        self.create_volume(request).await
    }

    async fn delete(&self, id: &VolumeId) -> Result<Outcome> {
        self.delete_volume(id.as_str()).await
    }

    async fn get(&self, id: &VolumeId) -> Result<Volume> {
        self.volume(&self.get_raw(id).await?)
    }

    async fn find(&self, name: &VolumeName) -> Result<Option<Volume>> {
        Ok(self.find_by_name(name).await?.and_then(|raw| self.sound_or_faulty(&raw)))
    }

    async fn list(&self, page: &Page) -> Result<Listed<Volume>> {
        paginate(self.list_all().await?, page, |volume| volume.name.as_str())
    }

    async fn attach(&self, id: &VolumeId, attach: &Attach) -> Result<Outcome<Source>> {
        self.attach_volume(id, attach).await
    }

    async fn detach(&self, id: &VolumeId, node: &NodeId) -> Result<Outcome> {
        self.detach_volume(id.as_str(), node.as_str()).await
    }

    async fn expand(&self, id: &VolumeId, size: Size) -> Result<Outcome<Volume>> {
        self.expand_volume(id, size).await
    }

    async fn record_filesystem(&self, id: &VolumeId, now: &Filesystem) -> Result<()> {
        self.record(id, now).await
    }

    async fn adopt(&self, volume: &Volume) -> Result<()> {
        self.adopt_volume(volume).await
    }

    async fn snapshot(&self, id: &VolumeId, name: &SnapshotName) -> Result<Outcome<Snapshot>> {
        self.take_snapshot(id, name).await
    }

    async fn delete_snapshot(&self, name: &SnapshotName) -> Result<Outcome> {
        self.remove_snapshot(name).await
    }

    async fn list_snapshots(&self, page: &Page) -> Result<Listed<Snapshot>> {
        paginate(self.all_snapshots().await?, page, |snapshot| snapshot.name.as_str())
    }

    async fn relocate(&self, volume: &Volume) -> Result<Option<Volume>> {
        self.relocate_here(volume).await
    }

    async fn attached(&self) -> Result<Vec<Volume>> {
        self.attached_here().await
    }

    async fn renew(&self, held: &[VolumeId]) -> Result<Vec<Lost>> {
        self.renew_leases(held).await
    }

    async fn act(&self, request: &ActionRequest, told: &Told) -> Result<Report> {
        self.run_action(request, told).await
    }
}
