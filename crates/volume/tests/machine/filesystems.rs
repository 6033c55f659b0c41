//! What users see of a volume: their data, its size, its owner.

use super::{Machine, mounted, of, read, unmounted, write};
use error::Kind;
use host::{Fstype, Mounts};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use testkit::root::is_root;
use testkit::service::{request, standing, volume};
use volume::orchestrator::Request;
use volume::{Parameters, Size, drivers};

#[tokio::test]
async fn data_outlives_the_mount_on_every_file_system() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    for fstype in Fstype::ALL {
        let name = fstype.name();
        service.create(of(name, fstype)).await.unwrap();
        for round in 0..3 {
            let target = mounted(&service, name).await;
            let shown = machine.linux.at(&target).unwrap().unwrap();
            assert_eq!(shown.fstype, fstype.name());
            assert!(shown.shared.is_some(), "containers see it wherever they were started");
            if round > 0 {
                assert_eq!(read(&target), format!("round {}", round - 1));
            }
            write(&target, &format!("round {round}"));
            unmounted(&service, name).await;
        }
        machine.assert_nothing_left();
    }
}

#[tokio::test]
async fn the_size_is_a_real_limit() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    for fstype in [Fstype::Ext4, Fstype::Btrfs] {
        // Of less, btrfs keeps most for itself.
        let (name, size) = (fstype.name(), Size::mib(256));
        let request = of(name, fstype);
        let asked = Parameters { size: Some(size), ..request.asked.clone() };
        service.create(Request { asked, ..request }).await.unwrap();
        let target = mounted(&service, name).await;
        let mut file = std::fs::File::create(target.join("large")).unwrap();
        let chunk = vec![0x5a; 1 << 20];
        let mut written = 0;
        let error = loop {
            match file.write_all(&chunk).and_then(|()| file.sync_data()) {
                Ok(()) => written += chunk.len() as u64,
                Err(error) => break error,
            }
            assert!(written <= size.0, "more than the volume has");
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert!(written > size.0 / 2, "most of it can be used: {written}");
        drop(file);
        assert!(host::file::allocated(&machine.image(name)).unwrap() <= size.0);
        unmounted(&service, name).await;
    }
}

#[tokio::test]
async fn a_fresh_volume_takes_little_space() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    let asked = Parameters { size: Some(Size::gib(10)), ..Parameters::default() };
    let request = Request { asked, ..of("a", Fstype::Ext4) };
    service.create(request).await.unwrap();
    assert!(host::file::allocated(&machine.image("a")).unwrap() < 64 << 20);
}

/// As the PostgreSQL image wants it: an empty directory of uid 999 that nobody else can read.
#[tokio::test]
async fn owner_mode_and_directory_are_those_asked_for() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    let asked = Parameters {
        uid: Some(999),
        gid: Some(998),
        mode: Some(0o700),
        sub_path: Some("pg/data".to_owned()),
        ..Parameters::default()
    };
    for fstype in Fstype::ALL {
        let name = fstype.name();
        let request = of(name, fstype);
        let asked = asked.or(&request.asked);
        service.create(Request { asked, ..request }).await.unwrap();
        for round in 0..2 {
            let target = mounted(&service, name).await;
            let root = target.metadata().unwrap();
            assert_eq!((root.uid(), root.gid(), root.mode() & 0o7777), (999, 998, 0o700));
            let entries = target.read_dir().unwrap().count();
            assert_eq!(entries, round, "no lost+found, and what was written is there");
            write(&target, "mine");
            unmounted(&service, name).await;
        }
    }
    machine.assert_nothing_left();
}

#[tokio::test]
async fn a_read_only_volume_refuses_writes() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    for fstype in Fstype::ALL {
        let name = fstype.name();
        let request = of(name, fstype);
        let asked = Parameters { read_only: Some(true), ..request.asked.clone() };
        service.create(Request { asked, ..request }).await.unwrap();
        let target = mounted(&service, name).await;
        let error = std::fs::write(target.join("file"), "x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
        service.sweep().await;
        assert_eq!(service.get(&volume(name)).await.unwrap().fault, None);
        unmounted(&service, name).await;
    }
}

#[tokio::test]
async fn a_file_system_that_became_read_only_is_a_fault() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    service.create(of("a", Fstype::Ext4)).await.unwrap();
    let target = mounted(&service, "a").await;
    let mut remount = std::process::Command::new("mount");
    assert!(remount.args(["-o", "remount,ro"]).arg(&target).status().unwrap().success());
    service.sweep().await;
    let fault = service.get(&volume("a")).await.unwrap().fault.unwrap();
    assert!(fault.starts_with("read-only"), "{fault}");
    unmounted(&service, "a").await;
    mounted(&service, "a").await;
    service.sweep().await;
    assert_eq!(service.get(&volume("a")).await.unwrap().fault, None);
    unmounted(&service, "a").await;
    machine.assert_nothing_left();
}

#[tokio::test]
async fn a_mount_point_is_closed_while_nothing_is_mounted_and_gone_afterwards() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    service.create(of("a", Fstype::Ext4)).await.unwrap();
    let target = mounted(&service, "a").await;
    unmounted(&service, "a").await;
    assert!(!target.exists());
}

#[tokio::test]
async fn a_busy_volume_is_not_unmounted_and_the_process_is_named() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    service.create(of("a", Fstype::Ext4)).await.unwrap();
    let target = mounted(&service, "a").await;
    let file = std::fs::File::create(target.join("open")).unwrap();
    let error = service.unmount(&volume("a"), "1").await.unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition);
    assert!(error.message().contains(&format!("(pid {})", std::process::id())), "{error}");
    assert_eq!(machine.mounts(), [target]);
    drop(file);
    service.sweep().await;
    machine.assert_nothing_left();
    service.mount(&volume("a"), standing("2")).await.unwrap();
    service.unmount(&volume("a"), "2").await.unwrap();
}

#[tokio::test]
async fn a_volume_in_memory_has_its_size_and_is_empty_again_after_the_last_unmount() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service_of(machine.driver(&drivers::memory::SPEC));
    let asked =
        Parameters { size: Some(Size::mib(4)), mode: Some(0o1777), ..Parameters::default() };
    service.create(Request { asked, ..request("a") }).await.unwrap();
    let target = mounted(&service, "a").await;
    assert_eq!(target.metadata().unwrap().mode() & 0o7777, 0o1777);
    let error = std::fs::write(target.join("large"), vec![1; 8 << 20]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    service.mount(&volume("a"), standing("2")).await.unwrap();
    unmounted(&service, "a").await;
    assert!(target.join("large").exists(), "another one still uses it");
    service.unmount(&volume("a"), "2").await.unwrap();
    assert_eq!(mounted(&service, "a").await.read_dir().unwrap().count(), 0);
    unmounted(&service, "a").await;
    machine.assert_nothing_left();
}
