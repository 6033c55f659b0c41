//! Expansion, snapshots and copies.

use super::{mount, refused, unmount, with};
use error::Kind;
use host::{Content, Disks as _, Mounts};
use testkit::failing::Fault;
use testkit::service::{Bench, copy, request, sized, snapshot, standing, volume};
use volume::{Origin, Parameters, Size};

/// Whether anything is frozen at the target: freezing it works only when nothing is.
fn is_still(bench: &Bench, name: &str) -> bool {
    bench.fake.freeze(&bench.target(name)).is_err()
}

#[tokio::test]
async fn a_mounted_volume_is_frozen_while_its_snapshot_is_taken_and_thawed_at_once() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    for name in ["s1", "s2", "s3"] {
        service.snapshot(&volume("a"), &snapshot(name)).await.unwrap();
        assert!(!is_still(&bench, "a"), "writers wait for nothing");
    }
    let freezes = bench.fake.calls().iter().filter(|call| call.starts_with("freeze")).count();
    assert_eq!(freezes, 3 + 3, "ours and the test's");
}

#[tokio::test]
async fn a_snapshot_that_fails_thaws_too() {
    for fault in [Fault::Refuse(Kind::ResourceExhausted), Fault::Lose(Kind::ResourceExhausted)] {
        let (bench, service) = with(&["a"]).await;
        mount(&service, "a", "1").await.unwrap();
        bench.failing.next("snapshot", fault);
        let taken = service.snapshot(&volume("a"), &snapshot("s")).await;
        refused(taken, Kind::ResourceExhausted);
        assert!(!is_still(&bench, "a"));
        service.snapshot(&volume("a"), &snapshot("s")).await.expect("the next one succeeds");
    }
}

#[tokio::test]
async fn what_is_not_mounted_for_writing_is_not_frozen() {
    let (bench, service) = with(&["a"]).await;
    service.snapshot(&volume("a"), &snapshot("s1")).await.unwrap();
    let read_only = Parameters { read_only: Some(true), ..Parameters::default() };
    let request = volume::orchestrator::Request { asked: read_only, ..request("b") };
    service.create(request).await.unwrap();
    mount(&service, "b", "1").await.unwrap();
    service.snapshot(&volume("b"), &snapshot("s2")).await.unwrap();
    service.create(copy("c", Origin::Volume(volume("b")))).await.unwrap();
    assert_eq!(bench.count("freeze"), 0);
}

#[tokio::test]
async fn a_volume_that_can_not_be_frozen_has_no_snapshot() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    bench.fake.fail_next("freeze", Kind::FailedPrecondition, "frozen already");
    refused(service.snapshot(&volume("a"), &snapshot("s")).await, Kind::FailedPrecondition);
    assert_eq!(bench.failing.calls("snapshot"), 0);
}

#[tokio::test]
async fn a_mounted_source_is_frozen_while_it_is_cloned() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    bench.failing.next("create", Fault::Lose(Kind::Unavailable));
    let clone = || copy("b", Origin::Volume(volume("a")));
    refused(service.create(clone()).await, Kind::Unavailable);
    assert!(!is_still(&bench, "a"));
    service.create(clone()).await.unwrap();
    assert!(!is_still(&bench, "a"));
    // The repeat finds it there.
    assert_eq!(bench.count("freeze"), 1 + 2, "ours and the test's");
}

#[tokio::test]
async fn a_restored_volume_is_mounted_beside_its_source_with_a_uuid_of_its_own() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    service.snapshot(&volume("a"), &snapshot("s")).await.unwrap();
    service.create(copy("b", Origin::Snapshot(snapshot("s")))).await.unwrap();
    for round in ["first", "second"] {
        mount(&service, "b", round).await.unwrap();
        let uuid = |name: &str| match bench.fake.probe(&bench.disks.device(name)).unwrap() {
            Content::Filesystem(found) => found.uuid,
            other => panic!("{other}"),
        };
        assert_ne!(uuid("a"), uuid("b"));
        unmount(&service, "b", round).await.unwrap();
    }
    assert_eq!((bench.count("set_uuid"), bench.count("format")), (1, 1));
}

#[tokio::test]
async fn a_volume_can_not_be_its_own_copy() {
    let (_bench, service) = with(&["a"]).await;
    let own = copy("a", Origin::Volume(volume("a")));
    refused(service.create(own).await, Kind::InvalidArgument);
}

#[tokio::test]
async fn a_copy_has_the_size_and_type_of_its_source_and_not_the_defaults() {
    let (_bench, service) = with(&[]).await;
    service.create(sized("a", Size::gib(3))).await.unwrap();
    let made = service.create(copy("b", Origin::Volume(volume("a")))).await.unwrap().into_inner();
    assert_eq!(made.size, Some(Size::gib(3)));
}

#[tokio::test]
async fn a_mounted_volume_grows_at_once() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    let grown = service.expand(&volume("a"), Size::gib(2)).await.unwrap();
    assert!(grown.is_done());
    let grown = grown.into_inner();
    assert!(grown.in_effect);
    assert_eq!(grown.volume.filesystem.unwrap().covers, Some(Size::gib(2)));
    assert_eq!(bench.count("grow"), 1);
    assert!(!service.expand(&volume("a"), Size::gib(2)).await.unwrap().is_done());
    assert_eq!(bench.count("grow"), 1);
    refused(service.expand(&volume("a"), Size::gib(1)).await, Kind::OutOfRange);
}

#[tokio::test]
async fn a_volume_that_is_not_mounted_grows_with_the_next_mount() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    unmount(&service, "a", "1").await.unwrap();
    let grown = service.expand(&volume("a"), Size::gib(2)).await.unwrap().into_inner();
    assert!(!grown.in_effect);
    assert_eq!(bench.count("grow"), 0);
    for id in ["2", "3"] {
        service.mount(&volume("a"), standing(id)).await.unwrap();
    }
    assert_eq!(bench.count("grow"), 1);
}

#[tokio::test]
async fn a_mounted_ext4_that_can_not_grow_is_left_as_it_is() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    bench.fake.without_online_growing();
    let refused =
        refused(service.expand(&volume("a"), Size::gib(2)).await, Kind::FailedPrecondition);
    assert!(refused.message().contains("unmount it, expand it, and mount it again"), "{refused}");
    assert_eq!(bench.failing.calls("expand"), 0);
    let view = service.get(&volume("a")).await.unwrap();
    assert_eq!(view.volume.size, Some(Size::gib(1)));
    unmount(&service, "a", "1").await.unwrap();
    service.expand(&volume("a"), Size::gib(2)).await.unwrap();
    mount(&service, "a", "1").await.unwrap();
    assert_eq!(bench.count("grow"), 1);
}

#[tokio::test]
async fn an_expansion_that_failed_between_disk_and_file_system_is_finished_by_the_next() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    bench.fake.fail_next("grow", Kind::Unavailable, "resize2fs was killed");
    refused(service.expand(&volume("a"), Size::gib(2)).await, Kind::Unavailable);
    let repeated = service.expand(&volume("a"), Size::gib(2)).await.unwrap().into_inner();
    assert!(repeated.in_effect);
    assert_eq!(bench.count("grow"), 2);
}

#[tokio::test]
async fn a_missing_volume_is_neither_expanded_nor_copied() {
    let (_bench, service) = with(&[]).await;
    refused(service.expand(&volume("a"), Size::gib(2)).await, Kind::NotFound);
    refused(service.snapshot(&volume("a"), &snapshot("s")).await, Kind::NotFound);
    refused(service.create(copy("b", Origin::Volume(volume("a")))).await, Kind::NotFound);
    refused(service.create(copy("b", Origin::Snapshot(snapshot("s")))).await, Kind::NotFound);
}
