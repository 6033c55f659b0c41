//! Creation that is killed, repeated, or asked for by several machines at once: one volume.

use crate::lab::{FAR, HERE, Lab, THERE, create, named, refused, request};
use ebs_sim::{Delays, Effect, Fault};
use error::Kind;
use volume::Size;
use volume::driver::Page;

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_killed_after_the_answer_finds_its_volume_again() {
    let lab = Lab::without_disks().await;
    // AWS has made it, and does not show it yet; the driver waits for it and is killed.
    lab.sim.set_delays(Delays { create: 60_000, visibility: 200, ..Delays::default() });
    let killed = lab.fast(HERE);
    let creating = tokio::spawn(async move { killed.create(&request("pg", &[])).await });
    while lab.sim.volumes().is_empty() {
        tokio::task::yield_now().await;
    }
    creating.abort();
    let _ = creating.await;
    lab.sim.set_delays(Delays { visibility: 200, ..Delays::default() });
    lab.sim.advance(60_000);
    let only = lab.sim.volumes()[0].id.clone();
    let again = lab.fast(HERE);
    let found = again.create(&request("pg", &[])).await.unwrap().into_inner();
    assert_eq!(found.id.as_str(), only);
    assert_eq!(lab.sim.volumes().len(), 1);
    let other = lab.fast(THERE).create(&request("pg", &[("size", "9GiB")])).await;
    refused(other, Kind::AlreadyExists, "other options");
    assert_eq!(lab.sim.volumes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_options_are_refused_while_the_first_volume_is_not_shown_yet() {
    let lab = Lab::without_disks().await;
    lab.sim.set_delays(Delays { visibility: 250, ..Delays::default() });
    let (here, there) = (lab.fast(HERE), lab.fast(THERE));
    let (one, other) = tokio::join!(async { here.create(&request("pg", &[])).await }, async {
        there.create(&request("pg", &[("size", "9GiB")])).await
    },);
    let (made, error) = match (one, other) {
        (Ok(made), Err(error)) | (Err(error), Ok(made)) => (made.into_inner(), error),
        both => panic!("one of them must be refused: {both:?}"),
    };
    assert_eq!(error.kind(), Kind::AlreadyExists, "{error}");
    assert_eq!(lab.sim.volumes().len(), 1);
    assert_eq!(lab.volumes_named("pg")[0].id, made.id.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn namesakes_of_two_accounts_have_file_systems_of_their_own() {
    let (one, other) = (Lab::without_disks().await, Lab::without_disks().await);
    let uuid = async |lab: &Lab| {
        let made = create(&lab.fast(HERE), "pg").await.filesystem.unwrap().uuid;
        let found = lab.fast(THERE).list(&Page::default()).await.unwrap().entries;
        assert_eq!(found[0].filesystem.as_ref().unwrap().uuid, made, "to everybody the same");
        made
    };
    // The kernel does not mount two XFS or btrfs file systems of one UUID on one machine.
    assert_ne!(uuid(&one).await, uuid(&other).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_of_two_zones_create_one_volume_and_the_other_zone_is_told_where_it_is() {
    for _ in 0..5 {
        let lab = Lab::without_disks().await;
        let (here, far) = (lab.fast(HERE), lab.fast(FAR));
        let (one, other) = tokio::join!(async { here.create(&request("pg", &[])).await }, async {
            far.create(&request("pg", &[])).await
        },);
        assert_eq!(lab.sim.volumes().len(), 1, "{one:?} {other:?}");
        let zone = lab.sim.volumes()[0].zone.clone();
        let (winner, loser) = if zone == "us-east-1a" { (one, other) } else { (other, one) };
        winner.unwrap();
        refused(loser, Kind::FailedPrecondition, &zone);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_used_again_and_again_by_processes_that_know_nothing_of_each_other() {
    let lab = Lab::without_disks().await;
    for round in 0..6 {
        let driver = lab.fast(if round % 2 == 0 { HERE } else { THERE });
        let made = create(&driver, "pg").await;
        assert_eq!(lab.sim.volumes().len(), 1, "round {round}");
        driver.delete(&made.id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_failed_is_not_taken_for_one_that_can_be_used() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    // It fails, and cannot be deleted: it keeps the name.
    lab.sim.inject(Fault::new(Effect::Fail).on("CreateVolume").times(1));
    lab.sim.inject(Fault::new(Effect::Deny).on("DeleteVolume").times(1));
    refused(driver.create(&request("pg", &[])).await, Kind::FailedPrecondition, "console");
    for driver in [driver, lab.fast(THERE)] {
        let error = driver.create(&request("pg", &[])).await;
        refused(error, Kind::FailedPrecondition, "volume rm pg");
    }
    let driver = lab.fast(HERE);
    let failed = driver.find(&named("pg")).await.unwrap().unwrap();
    driver.delete(&failed.id).await.unwrap();
    let made = create(&driver, "pg").await;
    assert_ne!(made.id, failed.id);
    assert_eq!(made.size, Some(Size::gib(1)));
}
