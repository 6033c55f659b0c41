//! Driver `loop`: an image file per volume, attached to a loop device. The size is enforced;
//! snapshots and clones share their blocks where the host's file system can (xfs, btrfs).

mod import;

use crate::claim::Claimed;
use crate::driver::{
    Attach, Capabilities, Container, Directory, Driver, Listed, Opening, Page, Source, Spec,
    blocking, no_mistakes, paginate,
};
use crate::drivers::local::{
    PATH, VOLUMES, bare, missing, shown, this_node, unusable, volumes_dir,
};
use crate::name::{NodeId, SnapshotName, VolumeId, VolumeName};
use crate::shelf::{self, Found, Record, Shelf};
use crate::size::Size;
use crate::volume::{Create, Filesystem, Origin, Parameters, Snapshot, Volume};
use async_trait::async_trait;
use error::{Error, Result};
use host::file::{self, Copy};
use host::{Content, Format, Fstype, Host, Outcome, failpoint};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// The driver, described.
pub const SPEC: Spec = Spec {
    name: "loop",
    summary: "a disk image on this machine per volume; size enforced, snapshots, clones",
    description: "\
Each volume is a sparse disk image with a file system of its own, attached to a loop device while \
it is used. The size is a real limit: a full volume does not fill the host. The image takes only \
the space that was written, so that all volumes together may be larger than the host's disk. Should \
that run full, it is a failing disk to the volumes on it: what was written and not synced is lost, \
and they become read-only. `mobula doctor` warns before.

Snapshots, clones and restores share blocks with their source where the state directory lies on \
xfs or btrfs, and take no time. Elsewhere they are copied, holes kept; the answer says which \
(`copied`).

Expansion is online for xfs and btrfs, and for ext4 where the agent has CAP_SYS_RESOURCE; \
otherwise unmount the volume first, and the file system grows with the next mount.

A volume is the directory `<name>/` with `volume.json` (its record) and `image` (its disk). A \
copied directory is a copied volume: it gets a file system UUID of its own before its first mount.",
    service_options: &[PATH],
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
    own_options: &[],
    defaults: &[("size", "10GiB"), ("fsType", "ext4")],
    actions: &[],
    container: Some(Container {
        devices: Some("a loop device is made for each volume in use"),
        network: None,
        directories: &[Directory { below: "/mobula/loop", ..VOLUMES }],
        variables: &[],
    }),
    check: no_mistakes,
    open,
};

const IMAGE: &str = "image";
const SNAPSHOTS: &str = ".snapshots";
const TEMPLATES: &str = ".templates";
/// How many formatted templates are kept; each size and type has its own.
const MAX_TEMPLATES: usize = 8;
/// Images are multiples of this, so that no file system has a ragged end.
const BLOCK: u64 = 4096;

struct Loop(Claimed<Inner>);

struct Inner {
    volumes: Shelf<StoredVolume>,
    snapshots: Shelf<StoredSnapshot>,
    /// Formatted images to clone instead of running mkfs; `None` where files cannot share blocks.
    templates: Option<PathBuf>,
    host: Arc<dyn Host>,
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
struct StoredVolume(Volume);

#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
struct StoredSnapshot(Snapshot);

impl Record for StoredVolume {
    const FILE: &'static str = "volume.json";

    fn name(&self) -> &str {
        self.0.name.as_str()
    }

    fn adopt(name: &str, dir: &Path, copied: Option<Self>) -> Result<Option<Self>> {
        let image = dir.join(IMAGE);
        let Ok(name) = VolumeName::parse(name) else { return Ok(None) };
        let Ok(meta) = image.symlink_metadata() else { return Ok(None) };
        let filesystem = adopted_filesystem(&image, Size(meta.len()), copied.is_some())?;
        let id = VolumeId::new(name.as_str());
        let volume = copied.map_or_else(|| bare(name.clone()), |copied| copied.0);
        let (size, filesystem) = (Some(Size(meta.len())), Some(filesystem));
        Ok(Some(Self(Volume { id, name, size, filesystem, ..volume })))
    }
}

/// What an image without a record of its own holds: its own superblock tells.
fn adopted_filesystem(image: &Path, size: Size, copied: bool) -> Result<Filesystem> {
    match host::filesystem::probe(image)? {
        Content::Filesystem(found) => Ok(Filesystem {
            fstype: found.fstype,
            uuid: if copied { Uuid::new_v4() } else { found.uuid },
            inherited: copied.then_some(found.uuid),
            fresh: false,
            // It may not have been grown to its image yet.
            covers: Some(size.min(Size(found.bytes))),
            unrecorded: false,
        }),
        Content::Blank => Err(Error::failed_precondition(format!(
            "{} has no record and no file system; remove its directory",
            image.display()
        ))),
        Content::Foreign(what) => Err(Error::failed_precondition(format!(
            "{} has no record and holds {what}; it is left untouched: put back what it was, or move \
             its directory elsewhere",
            image.display()
        ))),
    }
}

impl Record for StoredSnapshot {
    const FILE: &'static str = "snapshot.json";

    fn name(&self) -> &str {
        self.0.name.as_str()
    }

    fn adopt(name: &str, dir: &Path, copied: Option<Self>) -> Result<Option<Self>> {
        let image = dir.join(IMAGE);
        let (Ok(name), Ok(meta)) = (SnapshotName::parse(name), image.symlink_metadata()) else {
            return Ok(None);
        };
        if let Some(copied) = copied {
            return Ok(Some(Self(Snapshot { name, ..copied.0 })));
        }
        let size = Size(meta.len());
        let unknown = VolumeName::parse("unknown")?;
        Ok(Some(Self(Snapshot {
            name,
            volume: unknown,
            size,
            created: Timestamp::now(),
            filesystem: Some(adopted_filesystem(&image, size, false)?),
            parameters: Parameters::default(),
            details: BTreeMap::new(),
        })))
    }
}

fn open(opening: &Opening) -> Result<Arc<dyn Driver>> {
    let host = Arc::clone(&opening.host);
    let inner = move |dir: &Path| {
        let volumes = Shelf::open(dir.to_owned())?;
        let snapshots = Shelf::open(dir.join(SNAPSHOTS))?;
        let templates = file::can_reflink(dir).then(|| dir.join(TEMPLATES));
        Ok(Inner { volumes, snapshots, templates, host: Arc::clone(&host) })
    };
    Ok(Arc::new(Loop(Claimed::open(volumes_dir(opening), &opening.volumes, inner)?)))
}

impl Loop {
    fn volume(&self, name: &str) -> Result<Option<Volume>> {
        match self.0.get() {
            Ok(inner) => Ok(inner.volumes.find(name)?.map(|stored| stored.0.clone())),
            Err(taken) => {
                let found = shelf::peek::<StoredVolume>(self.0.dir(), name);
                found.map(|stored| Some(stored.0)).ok_or(taken)
            }
        }
    }
}

/// What a new volume's image is made of.
struct Blueprint {
    size: Size,
    parameters: Parameters,
    filesystem: Filesystem,
    details: BTreeMap<String, String>,
}

impl Inner {
    fn volume(&self, id: &VolumeId) -> Result<Volume> {
        let found = self.volumes.find(id.as_str())?;
        found.map(|stored| stored.0.clone()).ok_or_else(|| missing(id))
    }

    fn image(&self, id: &VolumeId) -> PathBuf {
        self.volumes.path(id.as_str()).join(IMAGE)
    }

    fn create(&self, request: &Create) -> Result<Volume> {
        let image = self.volumes.stage(request.name.as_str())?.join(IMAGE);
        let blueprint = match &request.origin {
            None => self.fresh(request, &image)?,
            Some(origin) => self.copied(request, origin, &image)?,
        };
        failpoint::hit("loop.image");
        let mut parameters = blueprint.parameters;
        parameters.size = Some(request.asked.size.unwrap_or(blueprint.size));
        parameters.fs_type = Some(blueprint.filesystem.fstype);
        let volume = Volume {
            size: Some(blueprint.size),
            filesystem: Some(blueprint.filesystem),
            parameters,
            labels: request.labels.clone(),
            origin: request.origin.clone(),
            details: blueprint.details,
            ..bare(request.name.clone())
        };
        self.volumes.publish(request.name.as_str(), StoredVolume(volume.clone()))?;
        Ok(volume)
    }

    /// A new file system: cloned from a template where that is cheap, else made by mkfs.
    fn fresh(&self, request: &Create, image: &Path) -> Result<Blueprint> {
        let asked = request.parameters.size.unwrap_or(Size::gib(10));
        let size = Size(asked.0.next_multiple_of(BLOCK));
        let fstype = request.parameters.fs_type.unwrap_or(Fstype::Ext4);
        let options = request.parameters.mkfs_options.clone().unwrap_or_default();
        let minimum = Size(fstype.minimum_size());
        if size < minimum {
            return Err(Error::out_of_range(format!(
                "{size} is too small for {fstype}; give at least size={minimum}"
            )));
        }
        let template = options.is_empty().then(|| self.template(fstype, size)).flatten();
        let inherited = template.filter(|template| template.exists()).and_then(|template| {
            self.clone_template(&template, image)
                .inspect_err(|error| tracing::warn!(%error, "template not used"))
                .ok()
        });
        let uuid = Uuid::new_v4();
        if inherited.is_none() {
            file::create_sparse(image, size.0)?;
            failpoint::hit("loop.allocated");
            self.host.format(image, &Format { fstype, uuid, options: options.clone() })?;
            if options.is_empty() {
                self.keep_template(fstype, size, image);
            }
        }
        let fresh = fstype == Fstype::Ext4;
        let filesystem =
            Filesystem { fstype, uuid, inherited, fresh, covers: Some(size), unrecorded: false };
        let parameters = request.parameters.clone();
        Ok(Blueprint { size, parameters, filesystem, details: BTreeMap::new() })
    }

    fn template(&self, fstype: Fstype, size: Size) -> Option<PathBuf> {
        self.templates.as_ref().map(|dir| dir.join(format!("{fstype}-{}", size.0)))
    }

    /// Clones the template to `image` and answers the UUID that came with it.
    fn clone_template(&self, template: &Path, image: &Path) -> Result<Uuid> {
        let copied = file::copy_image(template, image).and_then(|_| self.host.probe(image));
        match copied {
            Ok(Content::Filesystem(found)) => Ok(found.uuid),
            other => {
                let _ = std::fs::remove_file(image);
                other.and(Err(Error::internal(format!(
                    "template {} holds no file system",
                    template.display()
                ))))
            }
        }
    }

    /// Keeps a fresh image as a template. Only a help: a failure costs nothing but time later.
    fn keep_template(&self, fstype: Fstype, size: Size, image: &Path) {
        let Some((dir, template)) = self.templates.as_ref().zip(self.template(fstype, size)) else {
            return;
        };
        let keep = || -> Result<()> {
            file::make_dir(dir, 0o700)?;
            make_room(dir)?;
            let new = template.with_extension(Uuid::new_v4().to_string());
            match file::copy_image(image, &new)? {
                Copy::Reflink => file::rename_synced(&new, &template),
                Copy::Sparse => file::remove_tree(&new).map(drop),
            }
        };
        if let Err(error) = keep() {
            tracing::warn!(%error, "no template is kept");
        }
    }

    /// The image of a snapshot or of another volume, grown if a larger size is asked for.
    fn copied(&self, request: &Create, origin: &Origin, image: &Path) -> Result<Blueprint> {
        let (from, source, inherited) = self.origin(origin)?;
        let have = Size(file::length(&from)?);
        let size = request.asked.size.map_or(have, |size| Size(size.0.next_multiple_of(BLOCK)));
        if size < have {
            return Err(Error::out_of_range(format!(
                "{size} is smaller than the {have} of what is copied; give size={have} or more"
            )));
        }
        if size > have {
            source.ensure_grows_to(size)?;
        }
        if let Some(asked) = request.asked.fs_type.filter(|asked| *asked != source.fstype) {
            return Err(Error::invalid_argument(format!(
                "what is copied holds {}, so the copy cannot be {asked}; leave fsType out",
                source.fstype
            )));
        }
        let copy = file::copy_image(&from, image)?;
        let Content::Filesystem(found) = self.host.probe(image)? else {
            return Err(Error::failed_precondition(format!(
                "{} holds no file system that could be copied",
                from.display()
            )));
        };
        if size > have {
            self.host.resize_image(image, size.0)?;
        }
        let filesystem = Filesystem { uuid: Uuid::new_v4(), inherited: Some(found.uuid), ..source };
        // Above all the sub-directory: without it the copy would show another tree than its source.
        let parameters = request.asked.or(&inherited);
        Ok(Blueprint { size, parameters, filesystem, details: told(copy) })
    }

    fn origin(&self, origin: &Origin) -> Result<(PathBuf, Filesystem, Parameters)> {
        let (path, filesystem, parameters) = match origin {
            Origin::Volume(name) => {
                let id = VolumeId::new(name.as_str());
                let volume = self.volume(&id)?;
                (self.image(&id), volume.filesystem, volume.parameters)
            }
            Origin::Snapshot(name) => {
                let found = self.snapshots.find(name.as_str())?.ok_or_else(|| {
                    Error::not_found(format!(
                        "there is no snapshot {name}; `mobula snapshot ls` shows those there are"
                    ))
                })?;
                let path = self.snapshots.path(name.as_str()).join(IMAGE);
                (path, found.0.filesystem.clone(), found.0.parameters.clone())
            }
        };
        let lost = || Error::internal(format!("{} has no file system", path.display()));
        let filesystem = filesystem.ok_or_else(lost)?;
        Ok((path, filesystem, parameters))
    }

    fn delete(&self, id: &VolumeId) -> Result<Outcome> {
        if self.volumes.find(id.as_str())?.is_none() {
            return Ok(Outcome::AlreadyDone(()));
        }
        self.host.detach_image(&self.image(id))?;
        failpoint::hit("loop.detached");
        self.volumes.withdraw(id.as_str()).map(Outcome::Done)
    }

    fn expand(&self, id: &VolumeId, size: Size) -> Result<Outcome<Volume>> {
        let mut volume = self.volume(id)?;
        let size = Size(size.0.next_multiple_of(BLOCK));
        let have = volume.size.unwrap_or_default();
        if size < have {
            return Err(Error::out_of_range(format!(
                "volume {id} has {have} and cannot shrink to {size}; volumes only grow"
            )));
        }
        // Also when nothing changes: a crash may have left the device behind its image.
        self.host.resize_image(&self.image(id), size.0)?;
        failpoint::hit("loop.resized");
        if size == have {
            return Ok(Outcome::AlreadyDone(volume));
        }
        volume.size = Some(size);
        self.volumes.update(id.as_str(), StoredVolume(volume.clone()))?;
        Ok(Outcome::Done(volume))
    }

    fn record_filesystem(&self, id: &VolumeId, now: Filesystem) -> Result<()> {
        let mut volume = self.volume(id)?;
        volume.filesystem = Some(now);
        self.volumes.update(id.as_str(), StoredVolume(volume)).map(drop)
    }

    fn snapshot(&self, id: &VolumeId, name: &SnapshotName) -> Result<Outcome<Snapshot>> {
        let volume = self.volume(id)?;
        if let Some(existing) = self.snapshots.find(name.as_str())? {
            // An earlier volume may have had this volume's name.
            if existing.0.volume == volume.name && existing.0.created >= volume.created {
                return Ok(Outcome::AlreadyDone(existing.0.clone()));
            }
            return Err(Error::already_exists(format!(
                "snapshot {name} exists already, of volume {} as it was at {}; use another name",
                existing.0.volume, existing.0.created
            )));
        }
        let image = self.snapshots.stage(name.as_str())?.join(IMAGE);
        let copy = file::copy_image(&self.image(id), &image)?;
        failpoint::hit("loop.copied");
        let snapshot = Snapshot {
            name: name.clone(),
            volume: volume.name,
            size: Size(file::length(&image)?),
            created: Timestamp::now(),
            filesystem: volume.filesystem,
            parameters: volume.parameters,
            details: told(copy),
        };
        self.snapshots.publish(name.as_str(), StoredSnapshot(snapshot.clone()))?;
        Ok(Outcome::Done(snapshot))
    }

    fn delete_snapshot(&self, name: &SnapshotName) -> Result<Outcome> {
        if self.snapshots.find(name.as_str())?.is_none() {
            return Ok(Outcome::AlreadyDone(()));
        }
        self.snapshots.withdraw(name.as_str()).map(Outcome::Done)
    }
}

/// Removes the oldest templates until one more may be kept.
fn make_room(dir: &Path) -> Result<()> {
    use error::IoContext;
    let read = || -> std::io::Result<Vec<_>> {
        let age = |entry: std::fs::DirEntry| Ok((entry.metadata()?.modified()?, entry.path()));
        std::fs::read_dir(dir)?.map(|entry| entry.and_then(age)).collect()
    };
    let mut templates = read().doing(|| format!("list {}", dir.display()))?;
    templates.sort();
    let spare = (templates.len() + 1).saturating_sub(MAX_TEMPLATES);
    templates.iter().take(spare).try_for_each(|(_, path)| file::remove_tree(path).map(drop))
}

fn told(copy: Copy) -> BTreeMap<String, String> {
    let how = match copy {
        Copy::Reflink => "reflink",
        Copy::Sparse => "sparse copy",
    };
    BTreeMap::from([("copied".to_owned(), how.to_owned())])
}

#[async_trait]
impl Driver for Loop {
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
            ..Capabilities::default()
        }
    }

    async fn node(&self) -> Result<NodeId> {
        Ok(this_node())
    }

    async fn create(&self, request: &Create) -> Result<Outcome<Volume>> {
        let (inner, request) = (self.0.get()?, request.clone());
        blocking(move || {
            if let Some(existing) = inner.volumes.find(request.name.as_str())? {
                existing.0.ensure_answers(&request)?;
                return Ok(Outcome::AlreadyDone(existing.0.clone()));
            }
            let created = inner.create(&request);
            created.map(Outcome::Done).inspect_err(|_| inner.volumes.discard(request.name.as_str()))
        })
        .await
    }

    async fn import(&self, request: &Create, from: &Path) -> Result<Outcome<Volume>> {
        let (inner, request, from) = (self.0.get()?, request.clone(), from.to_owned());
        blocking(move || inner.import(&request, &from)).await
    }

    async fn delete(&self, id: &VolumeId) -> Result<Outcome> {
        let (inner, id) = (self.0.get()?, id.clone());
        blocking(move || inner.delete(&id)).await
    }

    async fn get(&self, id: &VolumeId) -> Result<Volume> {
        self.volume(id.as_str())?.ok_or_else(|| missing(id))
    }

    async fn find(&self, name: &VolumeName) -> Result<Option<Volume>> {
        if self.0.get().is_err() {
            return self.volume(name.as_str());
        }
        Ok(self.volume(name.as_str()).unwrap_or_else(|why| Some(unusable(name.clone(), &why))))
    }

    async fn list(&self, page: &Page) -> Result<Listed<Volume>> {
        let inner = self.0.get()?;
        let all = blocking(move || inner.volumes.list()).await?;
        let listed = paginate(all, page, Found::name)?;
        let entries = listed.entries.iter();
        let entries = entries.filter_map(|found| shown(found, |stored| stored.0.clone()));
        Ok(Listed { entries: entries.collect(), next: listed.next })
    }

    async fn attach(&self, id: &VolumeId, attach: &Attach) -> Result<Outcome<Source>> {
        let (inner, id) = (self.0.get()?, id.clone());
        let how = host::Attach { read_only: attach.read_only, keep: attach.keep };
        blocking(move || {
            inner.volume(&id)?;
            let device = inner.host.attach_image(&inner.image(&id), how)?;
            Ok(device.map(|path| Source::Device { candidates: vec![path], serial: None }))
        })
        .await
    }

    async fn detach(&self, id: &VolumeId, _node: &NodeId) -> Result<Outcome> {
        let (inner, id) = (self.0.get()?, id.clone());
        // Also when the volume's directory was removed by hand: its image may still be attached.
        blocking(move || inner.host.detach_image(&inner.image(&id))).await
    }

    async fn expand(&self, id: &VolumeId, size: Size) -> Result<Outcome<Volume>> {
        let (inner, id) = (self.0.get()?, id.clone());
        blocking(move || inner.expand(&id, size)).await
    }

    async fn record_filesystem(&self, id: &VolumeId, now: &Filesystem) -> Result<()> {
        let (inner, id, now) = (self.0.get()?, id.clone(), now.clone());
        blocking(move || inner.record_filesystem(&id, now)).await
    }

    async fn snapshot(&self, id: &VolumeId, name: &SnapshotName) -> Result<Outcome<Snapshot>> {
        let (inner, id, name) = (self.0.get()?, id.clone(), name.clone());
        blocking(move || {
            inner.snapshot(&id, &name).inspect_err(|_| inner.snapshots.discard(name.as_str()))
        })
        .await
    }

    async fn delete_snapshot(&self, name: &SnapshotName) -> Result<Outcome> {
        let (inner, name) = (self.0.get()?, name.clone());
        blocking(move || inner.delete_snapshot(&name)).await
    }

    async fn list_snapshots(&self, page: &Page) -> Result<Listed<Snapshot>> {
        let inner = self.0.get()?;
        let all = blocking(move || inner.snapshots.list()).await?;
        let listed = paginate(all, page, Found::name)?;
        let entries = listed.entries.iter().filter_map(|found| match found {
            Found::Fine(stored) => Some(stored.0.clone()),
            Found::Unusable { why, .. } => {
                tracing::error!(error = %why, "a snapshot is not listed");
                None
            }
        });
        Ok(Listed { entries: entries.collect(), next: listed.next })
    }
}
