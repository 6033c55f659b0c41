//! The next start: what the ledger says, what the mount table says, and how they are made one again.

use super::{assert_nothing_left, consumers, entry, mount, refused, state, unmount, with};
use error::Kind;
use host::{Mounts, Outcome};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use testkit::service::{Bench, Service, request, standing, volume};
use volume::driver::Opening;
use volume::ledger::{ConsumerKind, Entry, State};
use volume::metrics::Calls;
use volume::{Orchestrator, drivers};

async fn restarted(bench: &Bench) -> Arc<Orchestrator> {
    let service = bench.open();
    service.recover().await;
    service
}

/// Changes the ledger's entry of a volume while nobody has it open.
fn rewrite(bench: &Bench, name: &str, change: impl FnOnce(&mut Entry)) {
    let ledger = bench.service.ledger();
    let mut entry = Entry::clone(&ledger.find(&volume(name)).unwrap());
    change(&mut entry);
    ledger.put(entry).unwrap();
}

fn age(entry: &mut Entry) {
    for consumer in &mut entry.consumers {
        consumer.since = Timestamp::UNIX_EPOCH;
    }
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let (bench, service) = with(&["a", "b"]).await;
    mount(&service, "a", "1").await.unwrap();
    service.attach(&volume("b")).await.unwrap();
    let before = service.in_use();
    drop(service);
    let service = restarted(&bench).await;
    assert_eq!(service.in_use(), before);
    assert_eq!((bench.count("mount"), bench.count("unmount")), (1, 0));
    assert_eq!(bench.disks.attached(), ["a", "b"]);
    assert!(unmount(&service, "a", "1").await.unwrap().is_done());
    assert!(service.detach(&volume("b")).await.unwrap().is_done());
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn a_mount_without_a_ledger_is_found_and_released_when_nobody_holds_it() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    std::fs::remove_dir_all(bench.service.root.join("ledger")).unwrap();
    let service = restarted(&bench).await;
    let found = entry(&service, "a").unwrap();
    assert_eq!((found.state, found.consumers[0].kind), (State::Mounted, ConsumerKind::Found));
    assert_eq!(found.device, Some(bench.disks.device("a")));
    service.sweep().await;
    assert_eq!(bench.mounted(), ["a"], "somebody may be about to use it");
    drop(service);
    rewrite(&bench, "a", age);
    let service = restarted(&bench).await;
    service.sweep().await;
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn a_mount_without_a_ledger_is_kept_while_somebody_holds_it() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    std::fs::remove_dir_all(bench.service.root.join("ledger")).unwrap();
    let source = bench.disks.device("a").display().to_string();
    bench.fake.other_user(&source, 42, "/data");
    drop(restarted(&bench).await);
    rewrite(&bench, "a", age);
    let service = restarted(&bench).await;
    service.sweep().await;
    assert_eq!(bench.mounted(), ["a"]);
    refused(service.remove(&volume("a"), false).await, Kind::FailedPrecondition);
    bench.fake.no_other_user(&source);
    service.sweep().await;
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn a_mount_of_a_volume_that_nobody_knows_is_left_alone() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    std::fs::remove_dir_all(bench.service.root.join("ledger")).unwrap();
    let other = testkit::service::Bench::default();
    let strange = Service { driver: Arc::clone(&other.service.driver), ..bench.service.clone() };
    let service = strange.open();
    service.recover().await;
    service.sweep().await;
    assert_eq!((bench.mounted(), service.in_use()), (vec!["a".to_owned()], vec![]));
}

#[tokio::test]
async fn a_reboot_makes_the_ledger_void_and_the_next_mount_real() {
    let (mut bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    drop(service);
    bench.reboot();
    let service = restarted(&bench).await;
    assert_nothing_left(&bench, &service);
    assert_eq!(unmount(&service, "a", "1").await.unwrap(), Outcome::AlreadyDone(()));
    mount(&service, "a", "2").await.unwrap();
    assert_eq!((bench.mounted(), consumers(&service, "a")), (vec!["a".into()], vec!["2".into()]));
    assert_eq!(bench.count("format"), 1);
}

/// At every byte at which a write can have been torn.
#[tokio::test]
async fn a_torn_entry_is_set_aside_and_its_mount_found() {
    let (bench, service) = with(&["a", "b"]).await;
    mount(&service, "a", "1").await.unwrap();
    mount(&service, "b", "1").await.unwrap();
    let path = bench.service.root.join("ledger/a.json");
    let whole = std::fs::read(&path).unwrap();
    for length in (0..whole.len() - 1).step_by(7) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let service = restarted(&bench).await;
        assert_eq!(consumers(&service, "a"), ["found"], "torn at {length}");
        assert_eq!(consumers(&service, "b"), ["1"]);
        assert_eq!(bench.mounted(), ["a", "b"]);
    }
    assert!(bench.service.root.join("ledger/a.json.unusable").exists());
}

#[tokio::test]
async fn an_entry_of_a_newer_version_is_not_guessed_and_kept() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    let path = bench.service.root.join("ledger/a.json");
    let newer = std::fs::read_to_string(&path).unwrap().replace("\"version\": 1", "\"version\": 2");
    std::fs::write(&path, &newer).unwrap();
    let service = restarted(&bench).await;
    assert_eq!(consumers(&service, "a"), ["found"]);
    let aside = bench.service.root.join("ledger/a.json.unusable");
    assert_eq!(std::fs::read_to_string(aside).unwrap(), newer);
}

#[tokio::test]
async fn a_volume_of_a_newer_version_is_refused_and_gets_no_twin() {
    let bench = Bench::default();
    let opening = Opening {
        volumes: bench.dir.path().join("volumes"),
        options: BTreeMap::new(),
        host: Arc::new(bench.fake.clone()),
        calls: Calls::default(),
    };
    let driver = (drivers::local::SPEC.open)(&opening).unwrap();
    let service = Service { driver, ..bench.service.clone() }.open();
    service.create(request("a")).await.unwrap();
    let record = opening.volumes.join("a/volume.json");
    let newer =
        std::fs::read_to_string(&record).unwrap().replace("\"version\": 1", "\"version\": 2");
    std::fs::write(&record, &newer).unwrap();
    let shown = service.get(&volume("a")).await.unwrap().fault.unwrap();
    assert!(shown.contains("newer mobula"), "{shown}");
    for answer in [
        service.create(request("a")).await.map(drop),
        mount(&service, "a", "1").await.map(drop),
        service.remove(&volume("a"), true).await.map(drop),
    ] {
        let error = refused(answer, Kind::FailedPrecondition);
        assert!(error.message().contains("newer mobula"), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&record).unwrap(), newer);
}

#[tokio::test]
async fn a_mount_that_was_killed_before_anybody_heard_of_it_is_undone() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    drop(service);
    rewrite(&bench, "a", |entry| {
        (entry.state, entry.shown, entry.device) = (State::Preparing, None, None);
        entry.consumers.clear();
    });
    let service = restarted(&bench).await;
    assert_nothing_left(&bench, &service);
}

/// It was mounted again for callers that had it.
#[tokio::test]
async fn a_mount_that_was_killed_while_it_was_put_back_stays() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    drop(service);
    rewrite(&bench, "a", |entry| {
        (entry.state, entry.device) = (State::Preparing, Some("/dev/of-before".into()));
    });
    let service = restarted(&bench).await;
    assert_eq!((state(&service, "a"), bench.mounted()), (Some(State::Mounted), vec!["a".into()]));
    let device = entry(&service, "a").unwrap().device.clone();
    assert_eq!(device, Some(bench.disks.device("a")));
    assert_eq!(mount(&service, "a", "1").await.unwrap(), bench.target("a"));
    assert_eq!(bench.count("mount"), 1);
}

#[tokio::test]
async fn a_release_that_was_killed_is_finished() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    drop(service);
    rewrite(&bench, "a", |entry| {
        entry.state = State::Releasing;
        entry.consumers.clear();
    });
    assert_nothing_left(&bench, &*restarted(&bench).await);
}

#[tokio::test]
async fn a_volume_that_fails_to_recover_stops_no_other() {
    let (bench, service) = with(&["a", "b"]).await;
    for name in ["a", "b"] {
        mount(&service, name, "1").await.unwrap();
    }
    drop(service);
    for name in ["a", "b"] {
        rewrite(&bench, name, |entry| entry.state = State::Releasing);
    }
    bench.fake.fail_next("unmount", Kind::FailedPrecondition, "busy");
    let service = restarted(&bench).await;
    let left = bench.mounted();
    assert_eq!(left.len(), 1, "the one that failed: {left:?}");
    let other = if left == ["a"] { "b" } else { "a" };
    assert_eq!(state(&service, other), None);
    service.sweep().await;
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn what_a_killed_snapshot_left_frozen_is_thawed() {
    let (bench, service) = with(&["a"]).await;
    let target = mount(&service, "a", "1").await.unwrap();
    std::mem::forget(bench.fake.freeze(&target).unwrap());
    drop(service);
    let service = restarted(&bench).await;
    assert_eq!(consumers(&service, "a"), ["1"]);
    drop(bench.fake.freeze(&target).expect("it is not frozen any more"));
}

#[tokio::test]
async fn a_device_that_was_unmounted_behind_our_back_is_detached_by_the_next_start() {
    let (bench, service) = with(&["a"]).await;
    let target = mount(&service, "a", "1").await.unwrap();
    bench.fake.unmount(&target).unwrap();
    drop(service);
    assert_nothing_left(&bench, &*restarted(&bench).await);
}

#[tokio::test]
async fn recovery_and_callers_at_once_do_not_disturb_each_other() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    drop(service);
    rewrite(&bench, "a", |entry| entry.state = State::Releasing);
    let service = bench.open();
    let name = volume("a");
    let (path, ()) = tokio::join!(service.mount(&name, standing("2")), service.recover());
    assert_eq!(path.unwrap(), bench.target("a"));
    assert_eq!(bench.mounted(), ["a"]);
    assert!(consumers(&service, "a").contains(&"2".to_owned()));
}
