//! The file system that holds the volumes: one that shares blocks, a full one, a read-only one.

use super::{Machine, mounted, of, unmounted};
use host::{Attach, Disks, Format, Fstype, MountRequest, Mounts, Ownership, What};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testkit::root::is_root;
use testkit::service::{copy, request, snapshot, volume};
use uuid::Uuid;
use volume::driver::Page;
use volume::{Driver, Origin, Parameters, Size, Spec, Volume, drivers};

fn mount(machine: &Machine, what: What, name: &str, options: &[&str]) -> PathBuf {
    let target = machine.path().join(name);
    let request = MountRequest {
        what,
        target: target.clone(),
        options: options.iter().map(|&option| option.to_owned()).collect(),
        read_only: false,
        subpath: None,
        ownership: Ownership::default(),
        drop_empty: Vec::new(),
    };
    machine.linux.mount(&request).unwrap();
    target
}

/// A file system of its own, in an image of the test's directory.
fn disk(machine: &Machine, fstype: Fstype, bytes: u64) -> PathBuf {
    let image = machine.path().join("disk");
    host::file::create_sparse(&image, bytes).unwrap();
    let format = Format { fstype, uuid: Uuid::new_v4(), options: Vec::new() };
    machine.linux.format(&image, &format).unwrap();
    let device = machine.linux.attach_image(&image, Attach::default()).unwrap().into_inner();
    mount(machine, What::Device { device, fstype: fstype.to_string() }, "disk.d", &[])
}

#[tokio::test]
async fn where_files_share_blocks_snapshots_and_new_volumes_do() {
    if !is_root() {
        return;
    }
    for fstype in [Fstype::Xfs, Fstype::Btrfs] {
        let machine = Machine::new();
        let volumes = disk(&machine, fstype, 2 << 30).join("volumes");
        let service = machine.service_of(machine.driver_in(&drivers::r#loop::SPEC, &volumes));
        for kind in Fstype::ALL {
            let names: Vec<_> = (0..3).map(|n| format!("{kind}-{n}")).collect();
            for name in &names {
                service.create(of(name, kind)).await.unwrap();
                super::write(&mounted(&service, name).await, name);
            }
            let mut uuids = Vec::new();
            for name in &names {
                let found = machine.linux.probe(&volumes.join(name).join("image")).unwrap();
                let host::Content::Filesystem(found) = found else { panic!("{name}: {found}") };
                uuids.push(found.uuid);
                assert_eq!(super::read(&service.target(&volume(name))), *name);
            }
            uuids.sort();
            uuids.dedup();
            assert_eq!(uuids.len(), 3, "each has a UUID of its own");
            let taken = service.snapshot(&volume(&names[1]), &snapshot(&names[1])).await.unwrap();
            assert_eq!(taken.into_inner().details["copied"], "reflink");
            let restored = format!("{kind}-restored");
            let origin = Origin::Snapshot(snapshot(&names[1]));
            let made = service.create(copy(&restored, origin)).await.unwrap().into_inner();
            assert_eq!(made.details["copied"], "reflink");
            assert_eq!(super::read(&mounted(&service, &restored).await), names[1]);
            for name in names.iter().chain([&restored]) {
                unmounted(&service, name).await;
            }
        }
        let templates = volumes.join(".templates").read_dir().unwrap().count();
        assert_eq!(templates, 3, "one for each type and size");
    }
}

/// A state directory on a small file system, with one volume in it.
struct Small {
    machine: Machine,
    dir: PathBuf,
    spec: &'static Spec,
    first: Volume,
}

impl Small {
    async fn new(spec: &'static Spec, size: &str) -> Self {
        let machine = Machine::new();
        let what = What::Network { fstype: "tmpfs".to_owned(), source: "small".to_owned() };
        let dir = mount(&machine, what, "small", &[&format!("size={size}")]);
        let service = machine.service_of(machine.driver_in(spec, &dir.join("volumes")));
        let asked = if spec.common_options.contains(&"size") {
            of("first", Fstype::Ext4)
        } else {
            request("first")
        };
        let first = service.create(asked).await.unwrap().into_inner();
        Self { machine, dir, spec, first }
    }

    fn driver(&self) -> Arc<dyn Driver> {
        self.machine.driver_in(self.spec, &self.dir.join("volumes"))
    }

    /// Leaves so many pages free.
    fn fill(&self, pages: u64) {
        let filler = self.dir.join("filler");
        let free = self.machine.linux.usage(&self.dir).unwrap().available;
        let bytes = usize::try_from(free.saturating_sub(pages * 4096)).unwrap();
        fs::write(&filler, vec![1; bytes]).unwrap();
    }

    fn empty(&self) {
        fs::remove_file(self.dir.join("filler")).unwrap();
    }

    /// What was there before is there, as it was, for this program and the next start.
    async fn assert_intact(&self, context: &str) {
        let driver = self.driver();
        let found = driver.get(&self.first.id).await.unwrap();
        assert_eq!(found, self.first, "{context}");
        let listed = driver.list(&Page::default()).await.unwrap();
        assert!(listed.entries.contains(&self.first), "{context}");
        let dir = self.dir.join("volumes/first");
        let temporary = |path: &Path| path.to_string_lossy().contains(".tmp-");
        let left: Vec<_> = dir.read_dir().unwrap().flatten().map(|e| e.path()).collect();
        assert!(!left.iter().any(|path| temporary(path)), "{context}: {left:?}");
    }
}

fn local_request(name: &str) -> volume::Create {
    volume::Create {
        name: volume(name),
        asked: Parameters::default(),
        parameters: Parameters::default(),
        labels: std::collections::BTreeMap::new(),
        origin: None,
    }
}

#[tokio::test]
async fn a_full_disk_fails_a_creation_at_any_write_and_nothing_is_lost() {
    if !is_root() {
        return;
    }
    let small = Small::new(&drivers::local::SPEC, "128k").await;
    let mut failed = 0;
    for pages in 0..12 {
        small.fill(pages);
        let driver = small.driver();
        let created = driver.create(&local_request("second")).await;
        let context = format!("{pages} pages: {created:?}");
        small.assert_intact(&context).await;
        match created {
            Err(error) => {
                failed += 1;
                assert_eq!(error.kind(), error::Kind::ResourceExhausted, "{context}");
                assert_eq!(driver.find(&volume("second")).await.unwrap(), None, "{context}");
            }
            Ok(made) => {
                driver.delete(&made.into_inner().id).await.unwrap();
            }
        }
        small.empty();
        let made = driver.create(&local_request("second")).await.unwrap().into_inner();
        driver.delete(&made.id).await.unwrap();
    }
    assert!((1..12).contains(&failed), "some fail and some do not: {failed}");
}

#[tokio::test]
async fn a_full_disk_fails_what_changes_an_image_and_nothing_is_lost() {
    if !is_root() {
        return;
    }
    let small = Small::new(&drivers::r#loop::SPEC, "16m").await;
    let mut failed = 0;
    for pages in [0, 1, 2, 3, 4, 8, 16, 64, 128, 256] {
        small.fill(pages);
        let driver = small.driver();
        let asked = Parameters { size: Some(Size::mib(64)), ..Parameters::default() };
        let create = volume::Create { parameters: asked.clone(), asked, ..local_request("second") };
        let created = driver.create(&create).await;
        let taken = driver.snapshot(&small.first.id, &snapshot("s")).await;
        let context = format!("{pages} pages: {created:?} {taken:?}");
        small.assert_intact(&context).await;
        failed += usize::from(created.is_err()) + usize::from(taken.is_err());
        assert_eq!(driver.find(&volume("second")).await.unwrap().is_some(), created.is_ok());
        let left: Vec<_> = small.dir.join("volumes").read_dir().unwrap().flatten().collect();
        let left: Vec<_> = left.iter().map(fs::DirEntry::file_name).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".new-")), "{left:?}");
        small.empty();
        let again = driver.create(&create).await.unwrap().into_inner();
        driver.delete(&again.id).await.unwrap();
        driver.delete_snapshot(&snapshot("s")).await.unwrap();
    }
    assert!(failed > 2, "some of it fails: {failed}");
}

#[tokio::test]
async fn a_full_disk_fails_an_expansion_and_leaves_the_record() {
    if !is_root() {
        return;
    }
    let small = Small::new(&drivers::r#loop::SPEC, "16m").await;
    small.fill(0);
    let driver = small.driver();
    let error = driver.expand(&small.first.id, Size::mib(64)).await.unwrap_err();
    assert_eq!(error.kind(), error::Kind::ResourceExhausted, "{error}");
    small.assert_intact("expand").await;
    small.empty();
    driver.expand(&small.first.id, Size::mib(64)).await.unwrap();
    let service = small.machine.service_of(Arc::clone(&driver));
    let target = mounted(&service, "first").await;
    assert!(small.machine.linux.usage(&target).unwrap().total > 48 << 20);
    unmounted(&service, "first").await;
}

#[tokio::test]
async fn a_read_only_disk_fails_every_change_and_nothing_is_lost() {
    if !is_root() {
        return;
    }
    let small = Small::new(&drivers::r#loop::SPEC, "16m").await;
    let driver = small.driver();
    let remount = |mode: &str| {
        let mut command = std::process::Command::new("mount");
        let command = command.args(["-o", &format!("remount,{mode}")]).arg(&small.dir);
        assert!(command.status().unwrap().success());
    };
    remount("ro");
    let asked = Parameters { size: Some(Size::mib(32)), ..Parameters::default() };
    let create = volume::Create { parameters: asked.clone(), asked, ..local_request("second") };
    let refusals = [
        driver.create(&create).await.map(drop),
        driver.expand(&small.first.id, Size::mib(64)).await.map(drop),
        driver.snapshot(&small.first.id, &snapshot("s")).await.map(drop),
        driver.delete(&small.first.id).await.map(drop),
    ];
    for refusal in refusals {
        let error = refusal.unwrap_err();
        assert!(error.chain().contains("Read-only file system"), "{error:?}");
    }
    assert_eq!(driver.get(&small.first.id).await.unwrap(), small.first);
    assert_eq!(
        driver.list(&Page::default()).await.unwrap().entries,
        std::slice::from_ref(&small.first)
    );
    remount("rw");
    small.assert_intact("writable again").await;
    driver.create(&create).await.unwrap();
}
