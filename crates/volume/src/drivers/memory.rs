//! Driver `memory`: volumes in the machine's memory (tmpfs). Content is gone with the last unmount,
//! volumes with the program: for tests, scratch space, and as the template for a new driver.

use crate::driver::{
    Attach, Capabilities, Driver, Listed, Opening, Page, Source, Spec, no_mistakes, paginate,
};
use crate::drivers::local::{bare, missing, this_node};
use crate::name::{NodeId, VolumeId, VolumeName};
use crate::volume::{Create, Volume};
use async_trait::async_trait;
use error::Result;
use host::Outcome;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The driver, described.
pub const SPEC: Spec = Spec {
    name: "memory",
    summary: "scratch space in memory, gone with the last unmount",
    description: "\
Each volume is a tmpfs of the volume's size, made when it is first mounted. Its content is gone \
when its last user unmounts it, and the volume itself when the agent ends: it is for scratch data \
and for tests.

It is also the smallest complete driver, and so the template of `cargo xtask new-driver`.",
    service_options: &[],
    common_options: &["size", "mountOptions", "uid", "gid", "mode", "subPath", "readOnly"],
    own_options: &[],
    defaults: &[("size", "64MiB")],
    actions: &[],
    container: None,
    check: no_mistakes,
    open,
};

/// The kernel's name of what its volumes are.
const TMPFS: &str = "tmpfs";

#[derive(Default)]
struct Memory {
    volumes: Mutex<BTreeMap<VolumeName, Volume>>,
}

fn open(_opening: &Opening) -> Result<Arc<dyn Driver>> {
    Ok(Arc::new(Memory::default()))
}

impl Memory {
    fn volumes(&self) -> MutexGuard<'_, BTreeMap<VolumeName, Volume>> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Driver for Memory {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            size: true,
            network: Some(TMPFS),
            ephemeral: true,
            ..Capabilities::default()
        }
    }

    async fn node(&self) -> Result<NodeId> {
        Ok(this_node())
    }

    async fn create(&self, request: &Create) -> Result<Outcome<Volume>> {
        if request.origin.is_some() {
            return Err(self.lacks("copy volumes"));
        }
        let mut volumes = self.volumes();
        if let Some(volume) = volumes.get(&request.name) {
            volume.ensure_answers(request)?;
            return Ok(Outcome::AlreadyDone(volume.clone()));
        }
        let volume = Volume {
            size: request.parameters.size,
            parameters: request.parameters.clone(),
            labels: request.labels.clone(),
            ..bare(request.name.clone())
        };
        volumes.insert(request.name.clone(), volume.clone());
        Ok(Outcome::Done(volume))
    }

    async fn delete(&self, id: &VolumeId) -> Result<Outcome> {
        let before = self.volumes().len();
        self.volumes().retain(|_, volume| volume.id != *id);
        let done = self.volumes().len() < before;
        Ok(if done { Outcome::Done(()) } else { Outcome::AlreadyDone(()) })
    }

    async fn get(&self, id: &VolumeId) -> Result<Volume> {
        let found = self.volumes().values().find(|volume| volume.id == *id).cloned();
        found.ok_or_else(|| missing(id))
    }

    async fn find(&self, name: &VolumeName) -> Result<Option<Volume>> {
        Ok(self.volumes().get(name).cloned())
    }

    async fn list(&self, page: &Page) -> Result<Listed<Volume>> {
        let all: Vec<_> = self.volumes().values().cloned().collect();
        paginate(all, page, |volume| volume.name.as_str())
    }

    async fn attach(&self, id: &VolumeId, _attach: &Attach) -> Result<Outcome<Source>> {
        let volume = self.get(id).await?;
        let size = volume.size.map(|size| format!("size={}", size.0));
        Ok(Outcome::AlreadyDone(Source::Network {
            fstype: TMPFS.to_owned(),
            source: format!("mobula-{}", volume.name),
            options: size.into_iter().collect(),
        }))
    }

    async fn detach(&self, _id: &VolumeId, _node: &NodeId) -> Result<Outcome> {
        Ok(Outcome::AlreadyDone(()))
    }
}
