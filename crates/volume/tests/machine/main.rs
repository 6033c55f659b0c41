//! Volumes on the real kernel: loop devices, mkfs, mounts, quotas of space, and other processes.
//! Each test in a directory of its own, below which everything is mounted; root only.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

mod copies;
mod filesystems;
mod growth;
mod imports;
mod leaks;
mod namespaces;
mod state;

use host::linux::Linux;
use host::{Disks, Fstype, Host, Mounts};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testkit::service::{Service, request, standing, volume};
use volume::driver::Opening;
use volume::metrics::Calls;
use volume::orchestrator::Request;
use volume::{Driver, Orchestrator, Parameters, Size, Spec, drivers};

/// A directory of this machine that is left empty: nothing mounted, no loop device.
struct Machine {
    linux: Arc<Linux>,
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { linux: Arc::default(), dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn host(&self) -> Arc<dyn Host> {
        self.linux.clone()
    }

    /// A driver whose volumes are in `volumes` of this directory.
    fn driver(&self, spec: &Spec) -> Arc<dyn Driver> {
        self.driver_in(spec, &self.volumes())
    }

    fn driver_in(&self, spec: &Spec, volumes: &Path) -> Arc<dyn Driver> {
        let (volumes, options) = (volumes.to_owned(), BTreeMap::new());
        let calls = Calls::default();
        (spec.open)(&Opening { volumes, options, host: self.host(), calls }).unwrap()
    }

    fn volumes(&self) -> PathBuf {
        self.path().join("volumes")
    }

    fn image(&self, name: &str) -> PathBuf {
        self.volumes().join(name).join("image")
    }

    /// A service of the driver `loop`.
    fn service(&self) -> Arc<Orchestrator> {
        self.service_of(self.driver(&drivers::r#loop::SPEC))
    }

    fn service_of(&self, driver: Arc<dyn Driver>) -> Arc<Orchestrator> {
        Service::new(self.path(), driver, self.host()).open()
    }

    /// What is mounted in this directory, but for the directory of mounts itself.
    fn mounts(&self) -> Vec<PathBuf> {
        let table = self.linux.table().unwrap();
        let targets = table.into_iter().map(|mount| mount.target);
        let root = self.path().join("mounts");
        targets.filter(|target| target.starts_with(self.path()) && *target != root).collect()
    }

    /// The images of this directory that have a loop device.
    fn loops(&self) -> Vec<PathBuf> {
        let files = host::loopdev::backing_files().unwrap();
        files.into_iter().filter(|file| file.starts_with(self.path())).collect()
    }

    /// The files of this directory that this process has open, but for the directory of volumes
    /// itself, which is locked.
    fn open_files(&self) -> usize {
        let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let files = links.filter_map(|link| std::fs::read_link(link.path()).ok());
        files.filter(|file| file.starts_with(self.path()) && *file != self.volumes()).count()
    }

    #[track_caller]
    fn assert_nothing_left(&self) {
        let nothing = Vec::<PathBuf>::new();
        assert_eq!((self.mounts(), self.loops()), (nothing.clone(), nothing));
        assert_eq!(self.open_files(), 0);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for mount in self.linux.table().unwrap().iter().rev() {
            if mount.target.starts_with(self.path()) {
                // Also what a failed test left busy.
                let _ = std::process::Command::new("umount").arg("-l").arg(&mount.target).status();
            }
        }
        for image in self.loops() {
            let _ = self.linux.detach_image(&image);
        }
    }
}

/// A small volume of this type.
fn of(name: &str, fstype: Fstype) -> Request {
    let size = Some(small(fstype));
    let asked = Parameters { size, fs_type: Some(fstype), ..Parameters::default() };
    Request { asked, ..request(name) }
}

fn small(fstype: Fstype) -> Size {
    Size(fstype.minimum_size().max(32 << 20))
}

async fn mounted(service: &Orchestrator, name: &str) -> PathBuf {
    service.mount(&volume(name), standing("1")).await.unwrap()
}

async fn unmounted(service: &Orchestrator, name: &str) {
    assert!(service.unmount(&volume(name), "1").await.unwrap().is_done());
}

fn write(target: &Path, text: &str) {
    let file = target.join("file");
    std::fs::write(&file, text).unwrap();
    std::fs::File::open(&file).unwrap().sync_all().unwrap();
}

fn read(target: &Path) -> String {
    std::fs::read_to_string(target.join("file")).unwrap()
}

/// Damages both records of a volume.
fn tear(machine: &Machine, name: &str) {
    for file in ["volume.json", "volume.json.second"] {
        std::fs::write(machine.volumes().join(name).join(file), "torn").unwrap();
    }
}

async fn mounted_or(service: &Orchestrator, name: &str) -> error::Result<PathBuf> {
    service.mount(&volume(name), standing("1")).await
}
