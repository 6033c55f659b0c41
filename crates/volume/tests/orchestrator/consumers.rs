//! Who holds a volume: mount IDs, attachments by hand, and what the kernel knows of others.

use super::{assert_nothing_left, consumers, mount, refused, state, unmount, with};
use error::Kind;
use host::fake::Fake;
use host::{Mounts, Outcome};
use std::collections::BTreeMap;
use std::sync::Arc;
use testkit::service::{Service, copy, request, volume};
use volume::driver::Opening;
use volume::ledger::State;
use volume::metrics::Calls;
use volume::{Orchestrator, Origin, SnapshotName, Spec, drivers};

/// moby#35120: a container that failed to start gives back a volume that another one uses.
#[tokio::test]
async fn a_volume_given_back_by_one_of_two_stays_mounted() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    mount(&service, "a", "2").await.unwrap();
    unmount(&service, "a", "2").await.unwrap();
    assert_eq!(bench.mounted(), ["a"]);
    assert_eq!(consumers(&service, "a"), ["1"]);
    unmount(&service, "a", "1").await.unwrap();
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn the_same_id_twice_is_one_consumer() {
    let (bench, service) = with(&["a"]).await;
    let path = mount(&service, "a", "1").await.unwrap();
    assert_eq!(path, bench.target("a"));
    assert_eq!(mount(&service, "a", "1").await.unwrap(), path);
    assert_eq!(consumers(&service, "a"), ["1"]);
    unmount(&service, "a", "1").await.unwrap();
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn an_unknown_id_changes_nothing() {
    let (bench, service) = with(&["a", "b"]).await;
    mount(&service, "a", "1").await.unwrap();
    for (name, id) in [("a", "2"), ("b", "1"), ("missing", "1")] {
        assert_eq!(unmount(&service, name, id).await.unwrap(), Outcome::AlreadyDone(()));
    }
    assert_eq!(bench.mounted(), ["a"]);
    assert_eq!(consumers(&service, "a"), ["1"]);
}

#[tokio::test]
async fn giving_back_twice_is_done_already() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    assert!(unmount(&service, "a", "1").await.unwrap().is_done());
    assert!(!unmount(&service, "a", "1").await.unwrap().is_done());
    assert_eq!(bench.count("unmount"), 1);
}

#[tokio::test]
async fn a_mounted_volume_is_not_removed_and_the_user_is_named() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", &"0123456789abcdef".repeat(4)).await.unwrap();
    let error = refused(service.remove(&volume("a"), false).await, Kind::FailedPrecondition);
    assert!(error.message().contains("volume a is mounted by 1 user (0123456789ab)"), "{error}");
    assert_eq!(bench.mounted(), ["a"]);
    assert!(service.find(&volume("a")).await.unwrap().is_some());
}

#[tokio::test]
async fn force_removes_what_callers_have_not_given_back() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    assert!(service.remove(&volume("a"), true).await.unwrap().is_done());
    assert!(service.find(&volume("a")).await.unwrap().is_none());
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn force_does_not_remove_what_a_container_holds() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    let device = bench.disks.device("a");
    bench.fake.hold(&device, true);
    bench.fake.other_user(&device.display().to_string(), 42, "/data");
    let error = refused(service.remove(&volume("a"), true).await, Kind::FailedPrecondition);
    assert!(error.message().contains("other (pid 42) at /data"), "{error}");
    assert!(service.find(&volume("a")).await.unwrap().is_some());
    assert_eq!(bench.disks.attached(), ["a"]);
    bench.fake.hold(&device, false);
    assert!(service.remove(&volume("a"), false).await.unwrap().is_done());
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn a_missing_volume_is_neither_mounted_nor_remembered() {
    let (bench, service) = with(&[]).await;
    let error = refused(mount(&service, "a", "1").await, Kind::NotFound);
    assert!(error.message().contains("there is no volume a in service test"), "{error}");
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn a_missing_volume_is_removed_already() {
    let (_bench, service) = with(&[]).await;
    assert_eq!(service.remove(&volume("a"), false).await.unwrap(), Outcome::AlreadyDone(()));
}

#[tokio::test]
async fn people_do_not_unmount_what_a_container_uses() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    let source = bench.disks.device("a").display().to_string();
    bench.fake.other_user(&source, 42, "/data");
    let error = refused(service.unmount_all(&volume("a")).await, Kind::FailedPrecondition);
    assert!(error.message().contains("pid 42"), "{error}");
    assert_eq!((bench.mounted(), consumers(&service, "a")), (vec!["a".into()], vec!["1".into()]));
    bench.fake.no_other_user(&source);
    assert!(service.unmount_all(&volume("a")).await.unwrap().is_done());
    assert!(!service.unmount_all(&volume("a")).await.unwrap().is_done());
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn what_was_attached_by_hand_stays_attached_after_the_last_unmount() {
    let (bench, service) = with(&["a"]).await;
    let device = Some(bench.disks.device("a"));
    assert_eq!(service.attach(&volume("a")).await.unwrap(), Outcome::Done(device.clone()));
    assert_eq!(service.attach(&volume("a")).await.unwrap(), Outcome::AlreadyDone(device));
    mount(&service, "a", "1").await.unwrap();
    refused(service.detach(&volume("a")).await, Kind::FailedPrecondition);
    unmount(&service, "a", "1").await.unwrap();
    assert_eq!((bench.mounted(), bench.disks.attached()), (vec![], vec!["a".to_owned()]));
    assert_eq!(state(&service, "a"), Some(State::Attached));
    service.sweep().await;
    refused(service.remove(&volume("a"), false).await, Kind::FailedPrecondition);
    assert_eq!(bench.disks.attached(), ["a"]);
    assert!(service.detach(&volume("a")).await.unwrap().is_done());
    assert!(!service.detach(&volume("a")).await.unwrap().is_done());
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn a_volume_attached_while_it_is_mounted_stays_attached_too() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    assert!(service.attach(&volume("a")).await.unwrap().is_done());
    assert_eq!(state(&service, "a"), Some(State::Mounted));
    unmount(&service, "a", "1").await.unwrap();
    assert_eq!(bench.disks.attached(), ["a"]);
}

#[tokio::test]
async fn a_volume_attached_to_another_machine_is_refused_with_its_name() {
    let (bench, service) = with(&["a"]).await;
    bench.disks.attach_elsewhere("a", "i-0a1");
    let error = refused(mount(&service, "a", "1").await, Kind::FailedPrecondition);
    assert!(error.message().contains("i-0a1"), "{error}");
    assert_eq!(service.in_use(), []);
    // What is not written there yet would be missing in a copy.
    let snapshot = service.snapshot(&volume("a"), &SnapshotName::parse("s").unwrap()).await;
    let clone = copy("clone", Origin::Volume(volume("a")));
    for copied in [snapshot.map(drop), service.create(clone).await.map(drop)] {
        let error = refused(copied, Kind::FailedPrecondition);
        assert!(error.message().contains("on that machine"), "{error}");
    }
}

/// A service of a driver whose volumes are no devices.
async fn of(spec: &'static Spec) -> (tempfile::TempDir, Fake, Arc<Orchestrator>) {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let opening = Opening {
        volumes: dir.path().join("volumes"),
        options: BTreeMap::new(),
        host: Arc::new(fake.clone()),
        calls: Calls::default(),
    };
    let driver = (spec.open)(&opening).unwrap();
    let service = Service::new(dir.path(), driver, Arc::new(fake.clone())).open();
    service.create(request("a")).await.unwrap();
    (dir, fake, service)
}

#[tokio::test]
async fn a_volume_without_a_device_is_held_by_whoever_has_it_mounted() {
    for spec in [&drivers::local::SPEC, &drivers::memory::SPEC] {
        let (_dir, fake, service) = of(spec).await;
        let target = mount(&service, "a", "1").await.unwrap();
        let shown = fake.at(&target).unwrap().unwrap();
        let used = match spec.name {
            "local" => shown.root.display().to_string(),
            _ => shown.source,
        };
        fake.other_user(&used, 42, "/data");
        unmount(&service, "a", "1").await.unwrap();
        assert_eq!(state(&service, "a"), Some(State::Releasing), "{}", spec.name);
        let error = refused(service.remove(&volume("a"), true).await, Kind::FailedPrecondition);
        assert!(error.message().contains("other (pid 42) at /data"), "{error}");
        service.sweep().await;
        assert_eq!(state(&service, "a"), Some(State::Releasing), "{}", spec.name);
        fake.no_other_user(&used);
        service.sweep().await;
        assert_eq!(state(&service, "a"), None, "{}", spec.name);
        assert!(service.remove(&volume("a"), false).await.unwrap().is_done());
    }
}

#[tokio::test]
async fn a_volume_without_a_device_can_not_be_attached_by_hand() {
    let (_dir, _fake, service) = of(&drivers::local::SPEC).await;
    assert_eq!(service.attach(&volume("a")).await.unwrap(), Outcome::AlreadyDone(None));
    assert_eq!(service.in_use(), []);
    mount(&service, "a", "1").await.unwrap();
    assert_eq!(service.attach(&volume("a")).await.unwrap(), Outcome::AlreadyDone(None));
    unmount(&service, "a", "1").await.unwrap();
    assert_eq!(service.in_use(), [], "nothing keeps it");
}
