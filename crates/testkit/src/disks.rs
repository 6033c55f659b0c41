//! A driver whose disks exist only on the machine in memory: blank when they are created, formatted
//! by whoever mounts them first, seen only while they are attached. So the whole way of a cloud disk
//! is walked without a cloud and without a machine.

mod claims;
mod making;

use async_trait::async_trait;
use error::{Error, Result};
use host::fake::Fake;
use host::{Content, Disks as _, Fstype};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use volume::driver::{
    ActionRequest, Attach, Listed, Lost, Opening, Page, Report, Told, no_mistakes, paginate,
};
use volume::{
    Capabilities, Create, Driver, Filesystem, NodeId, Outcome, Size, Snapshot, SnapshotName,
    Source, Spec, Volume, VolumeId, VolumeName,
};

/// The driver, described.
pub const SPEC: Spec = Spec {
    name: "disks",
    summary: "disks in memory, for tests",
    description: "Disks in memory, for tests.",
    service_options: &[],
    common_options: &[
        "size",
        "fsType",
        "mountOptions",
        "uid",
        "gid",
        "mode",
        "subPath",
        "readOnly",
        "snapshot",
        "clone",
    ],
    own_options: &[],
    defaults: &[("size", "1GiB"), ("fsType", "ext4")],
    actions: &claims::ACTIONS,
    container: None,
    check: no_mistakes,
    open,
};

/// The name of the machine in memory.
pub const NODE: &str = "here";

/// Disks in memory; clones are the same back end.
#[derive(Clone)]
pub struct Disks {
    fake: Fake,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    disks: BTreeMap<VolumeName, Disk>,
    snapshots: BTreeMap<SnapshotName, Kept>,
    made: u64,
    /// Claims that were lost.
    lost: Vec<Lost>,
}

struct Disk {
    volume: Volume,
    /// What is on it while it is not attached.
    content: Content,
    attached: Option<NodeId>,
    /// It was attached in order to stay so.
    kept: bool,
}

#[derive(Clone)]
struct Kept {
    snapshot: Snapshot,
    of: VolumeId,
    content: Content,
}

fn open(_opening: &Opening) -> Result<Arc<dyn Driver>> {
    Err(Error::unimplemented("driver disks is opened by tests only"))
}

impl Disks {
    /// A back end without disks, for the machine `fake`.
    #[must_use]
    pub fn new(fake: Fake) -> Self {
        Self { fake, state: Arc::default() }
    }

    /// The volumes attached to this machine, by name.
    #[must_use]
    pub fn attached(&self) -> Vec<String> {
        let state = self.state();
        let here = state.disks.iter().filter(|(_, disk)| disk.is_at(NODE));
        here.map(|(name, _)| name.to_string()).collect()
    }

    /// The device of a volume, where it is attached.
    #[must_use]
    pub fn device(&self, name: &str) -> PathBuf {
        let name = VolumeName::parse(name).expect("a test knows the rule of names");
        device(&self.state().disks.get(&name).expect("the volume exists").volume.id)
    }

    /// Attaches a volume to another machine.
    pub fn attach_elsewhere(&self, name: &str, node: &str) {
        let name = VolumeName::parse(name).expect("a test knows the rule of names");
        let mut state = self.state();
        let disk = state.disks.get_mut(&name).expect("the volume exists");
        disk.attached = Some(NodeId::new(node));
    }

    /// What is recorded of a volume cannot be used any more, for this reason.
    pub fn damage(&self, name: &str, why: &str) {
        let name = VolumeName::parse(name).expect("a test knows the rule of names");
        let mut state = self.state();
        let disk = state.disks.get_mut(&name).expect("the volume exists");
        let id = disk.volume.id.clone();
        disk.volume = Volume::unusable(id, name, &Error::failed_precondition(why));
    }

    /// Somebody writes to a volume's disk behind everybody's back, while it is not attached.
    pub fn write(&self, name: &str, content: Content) {
        let name = VolumeName::parse(name).expect("a test knows the rule of names");
        self.state().disks.get_mut(&name).expect("the volume exists").content = content;
    }

    /// The machine starts anew: nothing is attached to it any more.
    pub fn reboot(&self) {
        let mut state = self.state();
        for disk in state.disks.values_mut().filter(|disk| disk.is_at(NODE)) {
            disk.take_from(&self.fake).expect("a disk that is attached can be read");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    fn is_at(&self, node: &str) -> bool {
        self.attached.as_ref().is_some_and(|at| at.as_str() == node)
    }

    /// The volume as it is looked at.
    fn seen(&self) -> Volume {
        Volume { attached: self.attached.iter().cloned().collect(), ..self.volume.clone() }
    }

    fn content(&self, fake: &Fake) -> Result<Content> {
        if self.is_at(NODE) {
            fake.probe(&device(&self.volume.id))
        } else {
            Ok(self.content.clone())
        }
    }

    fn take_from(&mut self, fake: &Fake) -> Result<()> {
        self.content = self.content(fake)?;
        fake.remove_device(device(&self.volume.id));
        self.attached = None;
        Ok(())
    }

    fn give_to(&mut self, fake: &Fake) {
        let (id, bytes) = (&self.volume.id, self.volume.size.unwrap_or_default().0);
        let with_disk = fake.clone().with_device(device(id), bytes, self.content.clone());
        drop(with_disk.with_serial(device(id), id.as_str()));
        self.attached = Some(NodeId::new(NODE));
    }
}

fn device(id: &VolumeId) -> PathBuf {
    PathBuf::from(format!("/dev/{id}"))
}

impl State {
    fn disk(&mut self, id: &VolumeId) -> Result<&mut Disk> {
        let found = self.disks.values_mut().find(|disk| disk.volume.id == *id);
        found.ok_or_else(|| Error::not_found(format!("there is no volume {id}")))
    }
}

#[async_trait]
impl Driver for Disks {
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

    async fn node(&self) -> Result<NodeId> {
        Ok(NodeId::new(NODE))
    }

    async fn create(&self, request: &Create) -> Result<Outcome<Volume>> {
        let mut state = self.state();
        if let Some(disk) = state.disks.get(&request.name) {
            disk.volume.ensure_sound()?;
            disk.volume.ensure_answers(request)?;
            return Ok(Outcome::AlreadyDone(disk.volume.clone()));
        }
        let disk = state.build(request, &self.fake)?;
        let volume = disk.volume.clone();
        state.disks.insert(request.name.clone(), disk);
        Ok(Outcome::Done(volume))
    }

    async fn delete(&self, id: &VolumeId) -> Result<Outcome> {
        let mut state = self.state();
        let Ok(disk) = state.disk(id) else { return Ok(Outcome::AlreadyDone(())) };
        disk.volume.ensure_sound()?;
        if let Some(node) = &disk.attached {
            return Err(Error::failed_precondition(format!("volume {id} is attached to {node}")));
        }
        let name = disk.volume.name.clone();
        state.disks.remove(&name);
        Ok(Outcome::Done(()))
    }

    async fn get(&self, id: &VolumeId) -> Result<Volume> {
        let volume = self.state().disk(id)?.seen();
        volume.ensure_sound()?;
        Ok(volume)
    }

    async fn find(&self, name: &VolumeName) -> Result<Option<Volume>> {
        Ok(self.state().disks.get(name).map(Disk::seen))
    }

    async fn list(&self, page: &Page) -> Result<Listed<Volume>> {
        let all: Vec<_> = self.state().disks.values().map(Disk::seen).collect();
        paginate(all, page, |volume| volume.name.as_str())
    }

    async fn attach(&self, id: &VolumeId, attach: &Attach) -> Result<Outcome<Source>> {
        let mut state = self.state();
        let disk = state.disk(id)?;
        let source = Source::Device {
            candidates: vec![format!("/dev/absent-{id}").into(), device(id)],
            serial: Some(id.to_string()),
        };
        match &disk.attached {
            Some(node) if *node == attach.node => return Ok(Outcome::AlreadyDone(source)),
            Some(node) => {
                return Err(Error::failed_precondition(format!(
                    "volume {id} is attached to {node}; detach it there first"
                )));
            }
            None if attach.node.as_str() == NODE => disk.give_to(&self.fake),
            None => disk.attached = Some(attach.node.clone()),
        }
        disk.kept = attach.keep;
        Ok(Outcome::Done(source))
    }

    async fn detach(&self, id: &VolumeId, node: &NodeId) -> Result<Outcome> {
        let mut state = self.state();
        let Ok(disk) = state.disk(id) else { return Ok(Outcome::AlreadyDone(())) };
        if !disk.is_at(node.as_str()) {
            return Ok(Outcome::AlreadyDone(()));
        }
        if disk.is_at(NODE) {
            if self.fake.is_held(&device(id))? {
                return Err(Error::failed_precondition(format!("volume {id} is held by a mount")));
            }
            disk.take_from(&self.fake)?;
        }
        disk.attached = None;
        Ok(Outcome::Done(()))
    }

    async fn expand(&self, id: &VolumeId, size: Size) -> Result<Outcome<Volume>> {
        let mut state = self.state();
        let disk = state.disk(id)?;
        let have = disk.volume.size.unwrap_or_default();
        if size < have {
            return Err(Error::out_of_range(format!("volume {id} has {have} and cannot shrink")));
        }
        if disk.is_at(NODE) {
            self.fake.resize_image(&device(id), size.0)?;
        }
        disk.volume.size = Some(size);
        let volume = disk.volume.clone();
        Ok(if size == have { Outcome::AlreadyDone(volume) } else { Outcome::Done(volume) })
    }

    async fn record_filesystem(&self, id: &VolumeId, now: &Filesystem) -> Result<()> {
        self.state().disk(id)?.volume.filesystem = Some(now.clone());
        Ok(())
    }

    async fn snapshot(&self, id: &VolumeId, name: &SnapshotName) -> Result<Outcome<Snapshot>> {
        let mut state = self.state();
        let disk = state.disk(id)?;
        let (volume, content) = (disk.volume.clone(), disk.content(&self.fake)?);
        if let Some(kept) = state.snapshots.get(name) {
            if kept.of == *id {
                return Ok(Outcome::AlreadyDone(kept.snapshot.clone()));
            }
            let of = &kept.snapshot.volume;
            return Err(Error::already_exists(format!("snapshot {name} is one of volume {of}")));
        }
        let snapshot = Snapshot {
            name: name.clone(),
            volume: volume.name,
            size: volume.size.unwrap_or_default(),
            created: Timestamp::now(),
            filesystem: volume.filesystem,
            parameters: volume.parameters,
            details: BTreeMap::new(),
        };
        let kept = Kept { snapshot: snapshot.clone(), of: id.clone(), content };
        state.snapshots.insert(name.clone(), kept);
        Ok(Outcome::Done(snapshot))
    }

    async fn delete_snapshot(&self, name: &SnapshotName) -> Result<Outcome> {
        let gone = self.state().snapshots.remove(name);
        Ok(if gone.is_some() { Outcome::Done(()) } else { Outcome::AlreadyDone(()) })
    }

    async fn list_snapshots(&self, page: &Page) -> Result<Listed<Snapshot>> {
        let all: Vec<_> =
            self.state().snapshots.values().map(|kept| kept.snapshot.clone()).collect();
        paginate(all, page, |snapshot| snapshot.name.as_str())
    }

    async fn attached(&self) -> Result<Vec<Volume>> {
        Ok(self.left_here())
    }

    async fn renew(&self, held: &[VolumeId]) -> Result<Vec<Lost>> {
        Ok(self.lost_of(held))
    }

    async fn act(&self, request: &ActionRequest, told: &Told) -> Result<Report> {
        self.run_action(request, told)
    }
}
