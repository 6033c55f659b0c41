//! Snapshots, copies of volumes, and volumes that several machines have.

use crate::devices::Machine;
use crate::lab::{
    FAR, HERE, Lab, THERE, act, attach, create, detach, refused, request, snapshot_named,
};
use ebs_sim::{Delays, Effect, Fault};
use error::Kind;
use testkit::root::is_root;
use volume::driver::Page;
use volume::{Size, Source};

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_taken_once_listed_restored_and_deleted() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let volume = driver.create(&request("pg", &[("size", "2GiB"), ("mode", "0700")])).await;
    let volume = volume.unwrap().into_inner();
    let name = snapshot_named("s");
    assert!(driver.snapshot(&volume.id, &name).await.unwrap().is_done());
    assert!(!driver.snapshot(&volume.id, &name).await.unwrap().is_done());
    let other = create(&driver, "other").await;
    refused(driver.snapshot(&other.id, &name).await, Kind::AlreadyExists, "pg");
    let listed = driver.list_snapshots(&Page::default()).await.unwrap().entries;
    assert_eq!((listed.len(), listed[0].size), (1, Size::gib(2)));
    let small = driver.create(&request("small", &[("snapshot", "s"), ("size", "1GiB")])).await;
    refused(small, Kind::OutOfRange, "2GiB");
    let back =
        driver.create(&request("back", &[("snapshot", "s"), ("size", "5GiB")])).await.unwrap();
    let back = back.into_inner();
    assert_eq!((back.size, back.parameters.mode), (Some(Size::gib(5)), Some(0o700)));
    assert_eq!(back.filesystem.unwrap().inherited, Some(volume.filesystem.unwrap().uuid));
    // The volume may go before its snapshot, and the snapshot before what was made of it.
    driver.delete(&volume.id).await.unwrap();
    assert!(driver.delete_snapshot(&name).await.unwrap().is_done());
    assert!(!driver.delete_snapshot(&name).await.unwrap().is_done());
    let gone = driver.create(&request("late", &[("snapshot", "s")])).await;
    refused(gone, Kind::NotFound, "snapshot ls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_aws_does_not_show_yet_is_there_for_who_took_it() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let volume = create(&driver, "pg").await;
    lab.sim.set_delays(Delays { visibility: 600, ..Delays::default() });
    let take = async || driver.snapshot(&volume.id, &snapshot_named("s")).await.unwrap();
    assert!(take().await.is_done());
    assert!(!take().await.is_done(), "not a second one");
    assert_eq!(driver.list_snapshots(&Page::default()).await.unwrap().entries.len(), 1);
    let back = driver.create(&request("back", &[("snapshot", "s")])).await.unwrap();
    assert!(back.is_done());
    assert_eq!(lab.sim.snapshots().len(), 1);
    driver.delete_snapshot(&snapshot_named("s")).await.unwrap();
    assert!(driver.list_snapshots(&Page::default()).await.unwrap().entries.is_empty());
    assert!(take().await.is_done(), "that one is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_of_a_snapshot_are_one_to_users_and_deleted_together() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let volume = create(&driver, "pg").await;
    driver.snapshot(&volume.id, &snapshot_named("s")).await.unwrap();
    let tags = lab.sim.snapshots()[0].tags.clone();
    let twin = volume::cloud::aws::NewSnapshot {
        volume: volume.id.to_string(),
        description: String::new(),
        tags,
    };
    lab.console().create_snapshot(&twin).await.unwrap();
    assert_eq!(driver.list_snapshots(&Page::default()).await.unwrap().entries.len(), 1);
    driver.delete_snapshot(&snapshot_named("s")).await.unwrap();
    assert!(lab.sim.snapshots().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_copied_to_another_region_once() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let volume = create(&driver, "pg").await;
    driver.snapshot(&volume.id, &snapshot_named("s")).await.unwrap();
    let copy = async || act(&driver, "copy-snapshot", "s", &[("region", "eu-west-1")]).await;
    lab.sim.inject(Fault::new(Effect::DropAnswer).on("CopySnapshot").times(1));
    let first = copy().await.unwrap();
    assert_eq!(copy().await.unwrap().rows, first.rows);
    let there: Vec<_> =
        lab.sim.snapshots().into_iter().filter(|one| one.region == "eu-west-1").collect();
    assert_eq!(there.len(), 1);
    assert_eq!(there[0].tags["mobula:snapshot"], "s");
    // There, nobody knows the volume whose ID the UUID follows from.
    let uuid = volume.filesystem.unwrap().uuid.to_string();
    assert!(there[0].tags["mobula:filesystem"].contains(&uuid), "{:?}", there[0].tags);
    let same = act(&driver, "copy-snapshot", "s", &[("region", "us-east-1")]).await;
    refused(same, Kind::InvalidArgument, "already");
    refused(
        act(&driver, "copy-snapshot", "no-such", &[("region", "eu-west-1")]).await,
        Kind::NotFound,
        "no-such",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_failed_is_made_again() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let volume = create(&driver, "pg").await;
    driver.snapshot(&volume.id, &snapshot_named("s")).await.unwrap();
    lab.sim.inject(Fault::new(Effect::Fail).on("CopySnapshot").times(1));
    let copy = async || act(&driver, "copy-snapshot", "s", &[("region", "eu-west-1")]).await;
    refused(copy().await, Kind::FailedPrecondition, "failed");
    copy().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn fast_restores_are_switched_on_and_off() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let volume = create(&driver, "pg").await;
    driver.snapshot(&volume.id, &snapshot_named("s")).await.unwrap();
    let on = act(&driver, "fast-restore", "s", &[]).await.unwrap();
    assert_eq!(on.rows[0][1..], ["us-east-1a", "enabled"]);
    assert!(on.notes[0].contains("bills"), "{on:?}");
    let zones = [("zones", "us-east-1a, us-east-1b")];
    assert_eq!(act(&driver, "fast-restore", "s", &zones).await.unwrap().rows.len(), 2);
    act(&driver, "fast-restore", "s", &[zones[0], ("off", "true")]).await.unwrap();
    let off = act(&driver, "fast-restore", "s", &[("off", "true")]).await;
    refused(off, Kind::FailedPrecondition, "not enabled");
    let wrong = act(&driver, "fast-restore", "s", &[("zones", "mars")]).await;
    assert!(wrong.unwrap_err().message().contains("mars"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_cloned_within_its_zone() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let source = driver.create(&request("pg", &[("size", "2GiB"), ("fsType", "xfs")])).await;
    let source = source.unwrap().into_inner();
    let copy = request("copy", &[("clone", "pg")]);
    let made = driver.create(&copy).await.unwrap();
    assert!(made.is_done() && !driver.create(&copy).await.unwrap().is_done());
    let real = lab.volume(&made.into_inner().id);
    assert_eq!((real.source.as_deref(), real.size), (Some(source.id.as_str()), 2));
    assert_eq!(real.kind, "gp3");
    let other = driver.create(&request("other", &[("clone", "pg"), ("fsType", "ext4")])).await;
    refused(other, Kind::InvalidArgument, "xfs");
    let far = lab.fast(FAR).create(&request("far", &[("clone", "pg")])).await;
    refused(far, Kind::FailedPrecondition, "take a snapshot");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_several_machines_is_a_bare_device_and_not_mounted() {
    if !is_root() {
        return;
    }
    let lab = Lab::new().await;
    let (here, there) = (lab.fast(HERE), lab.fast(THERE));
    let options =
        [("volumeType", "io2"), ("iops", "200"), ("size", "4GiB"), ("multiAttach", "true")];
    let volume = here.create(&request("shared", &options)).await.unwrap().into_inner();
    for (driver, node) in [(&here, HERE), (&there, THERE)] {
        let source = attach(driver, &volume.id, node).await.unwrap().into_inner();
        let Source::Device { candidates, .. } = source else { panic!("{source:?}") };
        assert!(candidates[0].exists(), "{candidates:?}");
        assert!(!attach(driver, &volume.id, node).await.unwrap().is_done());
    }
    assert_eq!(lab.holders(&volume.id).len(), 2);
    detach(&there, &volume.id, THERE).await.unwrap();
    assert_eq!(lab.holders(&volume.id), [HERE]);
    let machine = Machine::new(&lab, HERE);
    let mounted = machine.mount("shared").await;
    refused(
        mounted,
        Kind::FailedPrecondition,
        "bare device that several machines may have at once",
    );
}
