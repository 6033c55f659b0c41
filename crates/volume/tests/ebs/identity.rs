//! Credentials that run out, a metadata service that fails in every way it can, and wrong clocks.

use crate::lab::{FAST, HERE, Lab, attach, create, named, refused};
use ebs_sim::{Effect, Fault};
use error::Kind;

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_expire_in_the_middle_are_fetched_anew() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let volume = create(&driver, "pg").await;
    for action in ["AttachVolume", "DescribeVolumes", "CreateTags"] {
        lab.sim.inject(Fault::new(Effect::ExpireCredentials).on(action).times(1));
    }
    attach(&driver, &volume.id, HERE).await.unwrap();
    driver.record_filesystem(&volume.id, &volume.filesystem.clone().unwrap()).await.unwrap();
    assert_eq!(lab.holders(&volume.id), [HERE]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_aws_does_not_take_are_told_after_few_calls() {
    let lab = Lab::without_disks().await;
    let driver = lab.on_with(HERE, &[("accessKey", "AKIAX"), ("secretKey", "wrong"), FAST[0]]);
    refused(driver.find(&named("pg")).await, Kind::Unauthenticated, "check the credentials");
    assert!(lab.count("DescribeVolumes") <= 2, "{:?}", lab.sim.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_lacks_is_named() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    lab.sim.inject(Fault::new(Effect::Deny).on("CreateVolume"));
    let denied = driver.create(&crate::lab::request("pg", &[])).await;
    refused(denied, Kind::PermissionDenied, "ec2:CreateVolume");
}

/// Fails with this fault, says these words, and works when that is over.
async fn fails_and_recovers(effect: Effect, words: &[&str]) {
    let lab = Lab::without_disks().await;
    lab.sim.inject(Fault::new(effect.clone()));
    let driver = lab.fast(HERE);
    let error = driver.node().await.expect_err("nobody tells who this is");
    assert_eq!(error.kind(), Kind::Unavailable, "{effect:?}: {error}");
    for word in words.iter().chain(&["instance and zone"]) {
        assert!(error.message().contains(word), "{effect:?}: {word}: {error}");
    }
    let error = driver.find(&named("pg")).await.expect_err("nor with which keys");
    let is_told = matches!(error.kind(), Kind::Unavailable | Kind::Unauthenticated);
    assert!(is_told, "{effect:?}: {error}");
    lab.sim.clear_faults();
    assert_eq!(driver.node().await.unwrap().as_str(), HERE);
    let volume = create(&driver, "pg").await;
    attach(&driver, &volume.id, HERE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metadata_service_that_is_down_is_told_and_recovered_from() {
    fails_and_recovers(Effect::ImdsDown, &["metadata service"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metadata_service_that_is_disabled_is_told_and_recovered_from() {
    fails_and_recovers(Effect::ImdsDisabled, &["enabled"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metadata_service_without_tokens_is_told_and_recovered_from() {
    fails_and_recovers(Effect::ImdsV1Only, &["token"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_limit_of_one_is_told_with_the_command_and_recovered_from() {
    fails_and_recovers(Effect::HopLimit, &["--http-put-response-hop-limit 2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_told_who_it_is_needs_no_metadata() {
    let lab = Lab::without_disks().await;
    lab.sim.inject(Fault::new(Effect::ImdsDown));
    let keys = ebs_sim::Credentials::default();
    let options = [
        ("instance", HERE),
        ("zone", "us-east-1a"),
        ("accessKey", keys.access_key.as_str()),
        ("secretKey", keys.secret_key.as_str()),
        FAST[0],
    ];
    let driver = lab.on_with(HERE, &options);
    let volume = create(&driver, "pg").await;
    // Only where the simulator's disks are is asked; that fails, and nothing wrong is remembered.
    refused(attach(&driver, &volume.id, HERE).await, Kind::Unavailable, "metadata");
    lab.sim.clear_faults();
    attach(&driver, &volume.id, HERE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_by_a_quarter_of_an_hour_is_corrected_for() {
    for minutes in [-15, 15] {
        let lab = Lab::without_disks().await;
        let driver = lab.fast(HERE);
        lab.sim.inject(Fault::new(Effect::ClockSkew { ms: minutes * 60_000 }));
        let volume = create(&driver, "pg").await;
        lab.sim.reset_calls();
        attach(&driver, &volume.id, HERE).await.unwrap();
        assert_eq!(lab.count("AttachVolume"), 1, "what was learned is kept");
        // And it is right again.
        lab.sim.clear_faults();
        assert!(driver.find(&named("pg")).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_while_the_metadata_service_is_silent_wait_together() {
    let lab = Lab::without_disks().await;
    lab.sim.inject(Fault::new(Effect::HopLimit));
    let driver = lab.fast(HERE);
    let asked = (0..30).map(|_| {
        let driver = driver.clone();
        tokio::spawn(async move { driver.node().await })
    });
    let all = async {
        for asked in asked.collect::<Vec<_>>() {
            asked.await.unwrap().expect_err("silent");
        }
    };
    // One after the other they would take minutes.
    tokio::time::timeout(std::time::Duration::from_secs(20), all).await.expect("together");
}
