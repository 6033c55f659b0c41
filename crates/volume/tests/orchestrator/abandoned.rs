//! Mount IDs of a caller that died: void once nobody holds the volume, and not before.

use super::{assert_nothing_left, consumers, mount_for, state, with};
use jiff::Timestamp;
use testkit::service::{alive, dead, engine, standing};
use volume::ledger::{Consumer, State};

#[tokio::test]
async fn a_volume_of_a_dead_engine_is_released() {
    let (bench, service) = with(&["a"]).await;
    mount_for(&service, "a", engine("1", dead())).await;
    mount_for(&service, "a", engine("2", dead())).await;
    service.sweep().await;
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn a_volume_of_a_dead_engine_that_a_container_uses_is_kept() {
    let (bench, service) = with(&["a"]).await;
    mount_for(&service, "a", engine("1", dead())).await;
    let source = bench.disks.device("a").display().to_string();
    bench.fake.other_user(&source, 42, "/data");
    service.sweep().await;
    assert_eq!((bench.mounted(), bench.count("unmount")), (vec!["a".to_owned()], 0));
    assert_eq!(consumers(&service, "a"), ["1"]);
    bench.fake.no_other_user(&source);
    service.sweep().await;
    assert_nothing_left(&bench, &service);
}

/// No process shows the mount; the kernel still refuses to give the device to anybody.
#[tokio::test]
async fn a_volume_of_a_dead_engine_that_the_kernel_holds_is_mounted_again() {
    let (bench, service) = with(&["a"]).await;
    mount_for(&service, "a", engine("1", dead())).await;
    let device = bench.disks.device("a");
    bench.fake.hold(&device, true);
    service.sweep().await;
    assert_eq!((bench.mounted(), bench.disks.attached()), (vec!["a".into()], vec!["a".into()]));
    assert_eq!((bench.count("unmount"), bench.count("mount")), (1, 2));
    assert_eq!(
        (state(&service, "a"), consumers(&service, "a")),
        (Some(State::Mounted), vec!["1".into()])
    );
    bench.fake.hold(&device, false);
    service.sweep().await;
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn a_caller_that_lives_is_never_swept() {
    let (bench, service) = with(&["a"]).await;
    mount_for(&service, "a", engine("1", dead())).await;
    mount_for(&service, "a", engine("2", alive())).await;
    service.sweep().await;
    assert_eq!(bench.mounted(), ["a"]);
    assert_eq!(consumers(&service, "a"), ["1", "2"]);
}

#[tokio::test]
async fn people_are_never_swept() {
    let (bench, service) = with(&["a"]).await;
    let ages_ago = Consumer { since: Timestamp::UNIX_EPOCH, caller: Some(dead()), ..standing("1") };
    mount_for(&service, "a", ages_ago).await;
    service.sweep().await;
    assert_eq!(bench.mounted(), ["a"]);
}

#[tokio::test]
async fn an_engine_that_is_not_known_is_never_swept() {
    let (bench, service) = with(&["a"]).await;
    mount_for(&service, "a", Consumer { caller: None, ..engine("1", dead()) }).await;
    service.sweep().await;
    assert_eq!(bench.mounted(), ["a"]);
}

/// Its container may be about to mount.
#[tokio::test]
async fn a_mount_of_a_moment_ago_is_not_swept() {
    let (bench, service) = with(&["a"]).await;
    mount_for(&service, "a", Consumer { since: Timestamp::now(), ..engine("1", dead()) }).await;
    service.sweep().await;
    assert_eq!(bench.mounted(), ["a"]);
}

#[tokio::test]
async fn a_volume_attached_by_hand_stays_attached_when_its_engine_dies() {
    let (bench, service) = with(&["a"]).await;
    service.attach(&testkit::service::volume("a")).await.unwrap();
    mount_for(&service, "a", engine("1", dead())).await;
    service.sweep().await;
    assert_eq!((bench.mounted(), bench.disks.attached()), (vec![], vec!["a".to_owned()]));
}

#[tokio::test]
async fn a_sweep_that_fails_half_way_is_finished_by_the_next() {
    for call in ["unmount", "is_held", "other_users", "probe"] {
        let (bench, service) = with(&["a"]).await;
        mount_for(&service, "a", engine("1", dead())).await;
        bench.fake.fail_next(call, error::Kind::Unavailable, "later");
        service.sweep().await;
        service.sweep().await;
        assert_nothing_left(&bench, &service);
    }
}
