//! Snapshots, clones, directories copied by hand, and records that were lost.

use super::{Machine, mounted, of, read, unmounted, write};
use error::Kind;
use host::{Content, Disks, Fstype};
use std::fs;
use testkit::root::is_root;
use testkit::service::{copy, snapshot, volume};
use volume::driver::Page;
use volume::{Orchestrator, Origin};

fn uuid(machine: &Machine, name: &str) -> uuid::Uuid {
    match machine.linux.probe(&machine.image(name)).unwrap() {
        Content::Filesystem(found) => found.uuid,
        other => panic!("{name} holds {other}"),
    }
}

async fn names(service: &Orchestrator) -> Vec<String> {
    let listed = service.list(&Page::default()).await.unwrap();
    listed.entries.iter().map(|view| view.volume.name.to_string()).collect()
}

#[tokio::test]
async fn a_snapshot_of_a_mounted_volume_is_restored_and_mounted_beside_it() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    for fstype in Fstype::ALL {
        let (source, restored) = (fstype.name(), format!("{fstype}-restored"));
        service.create(of(source, fstype)).await.unwrap();
        let target = mounted(&service, source).await;
        write(&target, "then");
        // Not even written to the disk: freezing must do that.
        fs::write(target.join("unsynced"), "also then").unwrap();
        let name = snapshot(source);
        let taken = service.snapshot(&volume(source), &name).await.unwrap().into_inner();
        assert_eq!(taken.details["copied"], "sparse copy");
        write(&target, "now");
        service.create(copy(&restored, Origin::Snapshot(name))).await.unwrap();
        let beside = mounted(&service, &restored).await;
        assert_eq!((read(&beside), read(&target)), ("then".to_owned(), "now".to_owned()));
        assert_eq!(fs::read_to_string(beside.join("unsynced")).unwrap(), "also then");
        assert_ne!(uuid(&machine, source), uuid(&machine, &restored));
        for name in [source, &restored] {
            unmounted(&service, name).await;
        }
    }
    machine.assert_nothing_left();
}

#[tokio::test]
async fn a_mounted_volume_is_cloned_and_mounted_beside_it() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    for fstype in Fstype::ALL {
        let (source, cloned) = (fstype.name(), format!("{fstype}-cloned"));
        service.create(of(source, fstype)).await.unwrap();
        let target = mounted(&service, source).await;
        write(&target, "same");
        service.create(copy(&cloned, Origin::Volume(volume(source)))).await.unwrap();
        for _ in 0..2 {
            assert_eq!(read(&mounted(&service, &cloned).await), "same");
            unmounted(&service, &cloned).await;
        }
        unmounted(&service, source).await;
    }
    machine.assert_nothing_left();
}

/// Copies the directory of a volume as `cp -r --sparse` would.
fn copy_by_hand(machine: &Machine, from: &str, to: &str) {
    let dir = machine.volumes();
    fs::create_dir(dir.join(to)).unwrap();
    fs::copy(dir.join(from).join("volume.json"), dir.join(to).join("volume.json")).unwrap();
    host::file::copy_image(&machine.image(from), &machine.image(to)).unwrap();
}

#[tokio::test]
async fn a_directory_copied_by_hand_is_a_volume_that_mounts_beside_its_source() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    for fstype in Fstype::ALL {
        let (source, copied) = (fstype.name(), format!("{fstype}-copied"));
        service.create(of(source, fstype)).await.unwrap();
        write(&mounted(&service, source).await, "same");
        unmounted(&service, source).await;
        copy_by_hand(&machine, source, &copied);
        assert!(names(&service).await.contains(&copied));
        let (one, two) = (mounted(&service, source).await, mounted(&service, &copied).await);
        assert_eq!((read(&one), read(&two)), ("same".to_owned(), "same".to_owned()));
        assert_ne!(uuid(&machine, source), uuid(&machine, &copied));
        unmounted(&service, source).await;
        unmounted(&service, &copied).await;
    }
    machine.assert_nothing_left();
}

/// Copied while it was mounted and nothing was frozen: as after a power cut.
#[tokio::test]
async fn a_file_system_with_a_dirty_journal_is_mounted_with_what_was_synced() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    for fstype in Fstype::ALL {
        let (source, copied) = (fstype.name(), format!("{fstype}-cut"));
        service.create(of(source, fstype)).await.unwrap();
        let target = mounted(&service, source).await;
        for n in 0..50 {
            fs::write(target.join(format!("noise-{n}")), vec![7; 4096]).unwrap();
        }
        write(&target, "synced");
        copy_by_hand(&machine, source, &copied);
        let beside = mounted(&service, &copied).await;
        assert_eq!(read(&beside), "synced", "{fstype}");
        fs::write(beside.join("new"), "writable").unwrap();
        unmounted(&service, &copied).await;
        unmounted(&service, source).await;
    }
    machine.assert_nothing_left();
}

#[tokio::test]
async fn a_corrupted_record_is_repaired_from_the_image() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    for fstype in Fstype::ALL {
        let name = fstype.name();
        service.create(of(name, fstype)).await.unwrap();
        write(&mounted(&service, name).await, "kept");
        unmounted(&service, name).await;
        let before = uuid(&machine, name);
        let record = machine.volumes().join(name).join("volume.json");
        for garbage in [&b""[..], b"\0\0\0\0", b"{\"version\": 1}", b"{\"version\": 1, \"id"] {
            fs::write(&record, garbage).unwrap();
            fs::remove_file(record.with_file_name("volume.json.second")).unwrap();
            let service = machine.service();
            let view = service.get(&volume(name)).await.unwrap();
            assert_eq!(view.volume.size, Some(super::small(fstype)));
            assert_eq!(read(&mounted(&service, name).await), "kept");
            unmounted(&service, name).await;
            assert_eq!(uuid(&machine, name), before);
        }
        assert!(record.with_file_name("volume.json.unusable").exists());
    }
    machine.assert_nothing_left();
}

#[tokio::test]
async fn an_image_with_something_foreign_on_it_is_refused_and_left_as_it_is() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    for (name, offset, signature) in [
        ("luks", 0, &b"LUKS\xba\xbe\x00\x02"[..]),
        ("swap", 4086, b"SWAPSPACE2"),
        ("zfs-like", 300 << 10, b"data of somebody"),
    ] {
        service.create(of(name, Fstype::Ext4)).await.unwrap();
        let image = machine.image(name);
        let mut bytes = vec![0; 32 << 20];
        bytes[offset..offset + signature.len()].copy_from_slice(signature);
        fs::write(&image, &bytes).unwrap();
        let error = super::mounted_or(&service, name).await.unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition, "{name}: {error}");
        assert!(fs::read(&image).unwrap() == bytes, "{name} was written to");

        super::tear(&machine, name);
        let again = machine.service();
        let found = again.find(&volume(name)).await.unwrap().expect("its name is not free");
        assert!(found.fault.is_some(), "{name}: {found:?}");
        let twin = again.create(of(name, Fstype::Ext4)).await.unwrap_err();
        assert_eq!(twin.kind(), Kind::FailedPrecondition, "{name}: {twin}");
        let error = super::mounted_or(&again, name).await.unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition, "{name}: {error}");
        assert!(fs::read(&image).unwrap() == bytes, "{name} was written to");
    }
    machine.assert_nothing_left();
}

#[tokio::test]
async fn an_image_that_lost_its_file_system_is_not_formatted_again() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    service.create(of("a", Fstype::Ext4)).await.unwrap();
    let image = machine.image("a");
    fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
    let error = super::mounted_or(&service, "a").await.unwrap_err();
    assert!(error.message().contains("its data is gone"), "{error}");
    assert_eq!(machine.linux.probe(&image).unwrap(), Content::Blank);
    machine.assert_nothing_left();
}
