//! Nothing is left behind, however often.

use super::{Machine, mounted, of, unmounted};
use host::{Fstype, Mounts};
use std::sync::Arc;
use testkit::root::is_root;
use testkit::service::{request, volume};
use tokio::task::JoinSet;
use volume::drivers;

#[tokio::test]
async fn two_hundred_cycles_of_a_device_leave_nothing() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    service.create(of("a", Fstype::Ext4)).await.unwrap();
    let table = machine.linux.table().unwrap().len();
    for cycle in 0..200 {
        mounted(&service, "a").await;
        assert_eq!((machine.mounts().len(), machine.loops().len()), (1, 1), "cycle {cycle}");
        unmounted(&service, "a").await;
        machine.assert_nothing_left();
    }
    // Other tests mount and unmount meanwhile, but not hundreds of times.
    assert!(machine.linux.table().unwrap().len() < table + 50);
    assert_eq!(service.in_use(), []);
}

#[tokio::test]
async fn ten_thousand_cycles_of_a_directory_leave_nothing() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service_of(machine.driver(&drivers::local::SPEC));
    service.create(request("a")).await.unwrap();
    for _ in 0..10_000 {
        mounted(&service, "a").await;
        unmounted(&service, "a").await;
    }
    machine.assert_nothing_left();
    assert_eq!(service.in_use(), []);
    let ledger = machine.path().join("ledger").read_dir().unwrap().count();
    assert_eq!(ledger, 0, "no file of the ledger is left");
}

/// The directory of mounts is made shared by whoever comes first, and only once: a second layer
/// would hide what is mounted below the first.
#[tokio::test(flavor = "multi_thread")]
async fn many_first_mounts_at_once_share_one_directory_of_mounts() {
    if !is_root() {
        return;
    }
    for _ in 0..20 {
        let machine = Machine::new();
        let service = machine.service_of(machine.driver(&drivers::local::SPEC));
        let mut calls = JoinSet::new();
        for n in 0..16 {
            let service = Arc::clone(&service);
            calls.spawn(async move {
                let name = format!("v{n}");
                service.create(request(&name)).await.unwrap();
                mounted(&service, &name).await
            });
        }
        let targets = calls.join_all().await;
        let table = machine.linux.table().unwrap();
        let root = machine.path().join("mounts");
        assert_eq!(table.iter().filter(|mount| mount.target == root).count(), 1);
        for target in targets {
            assert!(machine.linux.at(&target).unwrap().is_some(), "{} is bare", target.display());
        }
        for n in 0..16 {
            unmounted(&service, &format!("v{n}")).await;
        }
        machine.assert_nothing_left();
    }
}

#[tokio::test]
async fn a_removed_volume_leaves_no_file() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    service.create(of("a", Fstype::Ext4)).await.unwrap();
    mounted(&service, "a").await;
    assert!(service.remove(&volume("a"), true).await.unwrap().is_done());
    machine.assert_nothing_left();
    let left = machine.volumes().read_dir().unwrap().flatten().map(|entry| entry.file_name());
    assert_eq!(left.collect::<Vec<_>>(), [".snapshots"]);
}

#[tokio::test]
async fn what_was_attached_by_hand_outlives_the_program_until_it_is_detached() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    {
        let one = Machine { linux: Arc::default(), dir: tempfile::tempdir().unwrap() };
        let driver = one.driver_in(&drivers::r#loop::SPEC, &machine.volumes());
        let service = machine.service_of(driver);
        service.create(of("a", Fstype::Ext4)).await.unwrap();
        service.attach(&volume("a")).await.unwrap();
    }
    assert_eq!(machine.loops(), [machine.image("a")], "nobody of this program has it open");
    let service = machine.service();
    service.recover().await;
    assert_eq!(machine.loops().len(), 1);
    assert!(service.detach(&volume("a")).await.unwrap().is_done());
    machine.assert_nothing_left();
}
