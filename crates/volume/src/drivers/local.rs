//! Driver `local`: a directory per volume, bind-mounted. As fast as the host's file system, and as
//! large: no size is enforced.

use crate::claim::Claimed;
use crate::driver::{
    Attach, Capabilities, Container, Directory, Driver, Listed, Opening, Page, Source, Spec,
    blocking, no_mistakes, paginate,
};
use crate::name::{NodeId, VolumeId, VolumeName};
use crate::options::{OptionSpec, Unit};
use crate::shelf::{self, Found, Record, Shelf};
use crate::volume::{Create, Volume};
use async_trait::async_trait;
use error::{Error, Result};
use host::record;
use host::{Outcome, file};
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The driver, described.
pub const SPEC: Spec = Spec {
    name: "local",
    summary: "a directory of this machine per volume",
    description: "\
Each volume is a directory that is bind-mounted where it is used. It is as fast as the file system \
it lies on and shares its space: there is no size limit, and no snapshot. Use driver `loop` where a \
limit or a snapshot is wanted.

A volume is the directory `<name>/` with `volume.json` (its record) and `data/` (its content). A \
copied directory is a copied volume.",
    service_options: &[PATH],
    common_options: &["mountOptions", "uid", "gid", "mode", "subPath", "readOnly"],
    own_options: &[],
    defaults: &[],
    actions: &[],
    container: Some(Container {
        devices: None,
        network: None,
        directories: &[Directory { below: "/mobula/local", ..VOLUMES }],
        variables: &[],
    }),
    check: no_mistakes,
    open,
};

/// The service option that both local drivers have.
pub(super) const PATH: OptionSpec = OptionSpec::new(
    "path",
    Unit::Path,
    "Directory that holds the volumes; by default volumes/<service> in the state directory.",
);

/// Where both keep their volumes when they run as managed plugins. Not below the propagated mount,
/// which is deleted with the plugin.
pub(super) const VOLUMES: Directory = Directory {
    name: "volumes",
    source: "/srv",
    help: "Directory of the machine that holds the volumes; it outlives the plugin.",
    option: "path",
    below: "",
};

const DATA: &str = "data";

struct Local {
    shelf: Claimed<Shelf<Stored>>,
}

impl Local {
    fn volume(&self, name: &str) -> Result<Option<Volume>> {
        match self.shelf.get() {
            Ok(shelf) => Ok(shelf.find(name)?.map(|stored| stored.0.clone())),
            Err(taken) => {
                let found = shelf::peek::<Stored>(self.shelf.dir(), name);
                found.map(|stored| Some(stored.0)).ok_or(taken)
            }
        }
    }
}

/// A volume whose content is the directory `data` beside its record.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
struct Stored(Volume);

impl Record for Stored {
    const FILE: &'static str = "volume.json";

    fn name(&self) -> &str {
        self.0.name.as_str()
    }

    fn adopt(name: &str, dir: &Path, copied: Option<Self>) -> Result<Option<Self>> {
        // Only what once was a volume: any directory may have one called `data` in it.
        let was_one = copied.is_some() || record::was_set_aside(&dir.join(Self::FILE));
        if !was_one || !dir.join(DATA).is_dir() {
            return Ok(None);
        }
        let Ok(name) = VolumeName::parse(name) else { return Ok(None) };
        let id = VolumeId::new(name.as_str());
        let volume = copied.map_or_else(|| bare(name.clone()), |copied| copied.0);
        Ok(Some(Self(Volume { id, name, ..volume })))
    }
}

/// A volume of which nothing but its directory is known.
pub(super) fn bare(name: VolumeName) -> Volume {
    let created = Timestamp::now();
    Volume { created, ..Volume::bare(VolumeId::new(name.as_str()), name) }
}

/// A volume of which nothing but its directory can be used.
pub(super) fn unusable(name: VolumeName, why: &Error) -> Volume {
    Volume::unusable(VolumeId::new(name.as_str()), name, why)
}

/// What is on a shelf, as it is listed; `None` for what no volume can be called.
pub(super) fn shown<R>(found: &Found<R>, volume: impl Fn(&R) -> Volume) -> Option<Volume> {
    match found {
        Found::Fine(record) => Some(volume(record)),
        Found::Unusable { name, why } => Some(unusable(VolumeName::parse(name).ok()?, why)),
    }
}

/// The directory that a local driver's service keeps its volumes in.
pub(super) fn volumes_dir(opening: &Opening) -> PathBuf {
    opening.options.get(PATH.name).map_or_else(|| opening.volumes.clone(), PathBuf::from)
}

/// The name of this machine, by which drivers of local storage know it.
pub(super) fn this_node() -> NodeId {
    NodeId::new(host::process::hostname())
}

fn open(opening: &Opening) -> Result<Arc<dyn Driver>> {
    let shelf = |dir: &Path| Shelf::open(dir.to_owned());
    Ok(Arc::new(Local { shelf: Claimed::open(volumes_dir(opening), &opening.volumes, shelf)? }))
}

fn build(shelf: &Shelf<Stored>, request: &Create) -> Result<Volume> {
    let stage = shelf.stage(request.name.as_str())?;
    file::make_dir(&stage.join(DATA), 0o755)?;
    let volume = Volume {
        parameters: request.parameters.clone(),
        labels: request.labels.clone(),
        ..bare(request.name.clone())
    };
    shelf.publish(request.name.as_str(), Stored(volume.clone()))?;
    Ok(volume)
}

#[async_trait]
impl Driver for Local {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn node(&self) -> Result<NodeId> {
        Ok(this_node())
    }

    async fn create(&self, request: &Create) -> Result<Outcome<Volume>> {
        if let Some(volume) = self.volume(request.name.as_str())? {
            volume.ensure_answers(request)?;
            return Ok(Outcome::AlreadyDone(volume));
        }
        if request.origin.is_some() {
            return Err(self.lacks("copy volumes"));
        }
        let (shelf, request) = (self.shelf.get()?, request.clone());
        blocking(move || {
            build(&shelf, &request)
                .map(Outcome::Done)
                .inspect_err(|_| shelf.discard(request.name.as_str()))
        })
        .await
    }

    async fn delete(&self, id: &VolumeId) -> Result<Outcome> {
        if self.shelf.get()?.find(id.as_str())?.is_none() {
            return Ok(Outcome::AlreadyDone(()));
        }
        let (shelf, id) = (self.shelf.get()?, id.clone());
        blocking(move || shelf.withdraw(id.as_str()).map(Outcome::Done)).await
    }

    async fn get(&self, id: &VolumeId) -> Result<Volume> {
        self.volume(id.as_str())?.ok_or_else(|| missing(id))
    }

    async fn find(&self, name: &VolumeName) -> Result<Option<Volume>> {
        if self.shelf.get().is_err() {
            return self.volume(name.as_str());
        }
        Ok(self.volume(name.as_str()).unwrap_or_else(|why| Some(unusable(name.clone(), &why))))
    }

    async fn list(&self, page: &Page) -> Result<Listed<Volume>> {
        let shelf = self.shelf.get()?;
        let all = blocking(move || shelf.list()).await?;
        let listed = paginate(all, page, Found::name)?;
        let entries = listed.entries.iter();
        let entries = entries.filter_map(|found| shown(found, |stored| stored.0.clone()));
        Ok(Listed { entries: entries.collect(), next: listed.next })
    }

    async fn attach(&self, id: &VolumeId, _attach: &Attach) -> Result<Outcome<Source>> {
        self.get(id).await?;
        let data = self.shelf.get()?.path(id.as_str()).join(DATA);
        Ok(Outcome::AlreadyDone(Source::Directory(data)))
    }

    async fn detach(&self, _id: &VolumeId, _node: &NodeId) -> Result<Outcome> {
        Ok(Outcome::AlreadyDone(()))
    }
}

/// The error for a volume that is not there.
pub(super) fn missing(id: &VolumeId) -> Error {
    Error::not_found(format!("there is no volume {id}"))
}
