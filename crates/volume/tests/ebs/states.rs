//! What AWS refuses for a reason of its own: failed snapshots, cooldowns, keys that are disabled.

use crate::lab::{HERE, Lab, act, attach, create, named, refused, request, snapshot_named};
use ebs_sim::{Delays, Effect, Fault};
use error::Kind;
use volume::Size;

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_failed_is_no_snapshot() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let volume = create(&driver, "pg").await;
    let name = snapshot_named("s");
    lab.sim.inject(Fault::new(Effect::Fail).on("CreateSnapshot").times(1));
    driver.snapshot(&volume.id, &name).await.unwrap();
    let restored = driver.create(&request("back", &[("snapshot", "s")])).await;
    refused(restored, Kind::FailedPrecondition, "failed");
    // Nobody shall believe that there is one.
    let again = driver.snapshot(&volume.id, &name).await;
    refused(again, Kind::FailedPrecondition, "snapshot rm s");
    driver.delete_snapshot(&name).await.unwrap();
    assert!(driver.snapshot(&volume.id, &name).await.unwrap().is_done());
    driver.create(&request("back", &[("snapshot", "s")])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_stays_pending_is_waited_for_and_then_told() {
    let lab = Lab::without_disks().await;
    let driver = lab.on_with(HERE, &[("waitTimeout", "1")]);
    let volume = create(&driver, "pg").await;
    lab.sim.inject(Fault::new(Effect::Stick).on("CreateSnapshot").times(1));
    driver.snapshot(&volume.id, &snapshot_named("s")).await.unwrap();
    // The half hour that AWS gets for it is a quarter of a minute here: enough to see that it waits.
    let back = request("back", &[("snapshot", "s")]);
    let restoring = driver.create(&back);
    let waited = tokio::time::timeout(std::time::Duration::from_secs(1), restoring).await;
    assert!(waited.is_err(), "{waited:?}");
    assert!(lab.volumes_named("back").is_empty());
    lab.sim.clear_faults();
    driver.create(&back).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_the_cooldown_says_why_and_until_when() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let volume = create(&driver, "pg").await;
    driver.expand(&volume.id, Size::gib(2)).await.unwrap();
    assert!(!driver.expand(&volume.id, Size::gib(2)).await.unwrap().is_done());
    let error = refused(
        driver.expand(&volume.id, Size::gib(3)).await,
        Kind::FailedPrecondition,
        "6 hours have passed since it began, which is at 20",
    );
    assert!(error.message().contains(volume.id.as_str()), "{error}");
    // Neither is another change taken for the one that is under way, nor waited for.
    let changed = act(&driver, "modify", "pg", &[("throughput", "250")]).await;
    refused(changed, Kind::FailedPrecondition, "6 hours");
    lab.sim.advance(6 * 60 * 60 * 1000);
    let report = act(&driver, "modify", "pg", &[("size", "8GiB"), ("iops", "4000")]).await.unwrap();
    assert!(report.rows[0].contains(&"4000".to_owned()), "{report:?}");
    assert_eq!(report.rows[0][..2], [volume.id.as_str(), "pg"]);
    assert_eq!(lab.volume(&volume.id).size, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_optimized_for_hours_is_done() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let volume = create(&driver, "pg").await;
    lab.sim.set_delays(Delays { modify: 100, ..Delays::default() });
    let grown = driver.expand(&volume.id, Size::gib(2)).await.unwrap().into_inner();
    assert_eq!(grown.size, Some(Size::gib(2)));
    lab.sim.set_delays(Delays { modify: 3_600_000, ..Delays::default() });
    // While it is optimizing, the same change is done and another one has to wait.
    let again = act(&driver, "modify", "pg", &[("size", "2GiB")]).await.unwrap();
    assert!(again.notes[0].contains("already"), "{again:?}");
    refused(driver.expand(&volume.id, Size::gib(3)).await, Kind::FailedPrecondition, "again then");
    refused(driver.expand(&volume.id, Size::gib(1)).await, Kind::OutOfRange, "smaller");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_takes_too_long_is_told_and_completed_by_the_repeat() {
    let lab = Lab::without_disks().await;
    let driver = lab.on_with(HERE, &[("waitTimeout", "1")]);
    let volume = create(&driver, "pg").await;
    lab.sim.set_delays(Delays { modify: 3_600_000, ..Delays::default() });
    let waited = driver.expand(&volume.id, Size::gib(2)).await;
    refused(waited, Kind::DeadlineExceeded, "repeat the call");
    lab.sim.advance(3_600_000);
    driver.expand(&volume.id, Size::gib(2)).await.unwrap();
    assert_eq!(lab.count("ModifyVolume"), 1, "begun once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_key_is_named_and_leaves_no_volume_behind() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let key = "arn:aws:kms:us-east-1:111122223333:key/1234";
    let encrypted = request("pg", &[("encryptionKey", key)]);
    lab.sim.inject(Fault::new(Effect::KmsKeyDisabled));
    for _ in 0..2 {
        let error = refused(driver.create(&encrypted).await, Kind::FailedPrecondition, key);
        assert!(error.message().contains("enabled"), "{error}");
        assert!(lab.sim.volumes().is_empty());
        assert!(driver.find(&named("pg")).await.unwrap().is_none());
    }
    lab.sim.clear_faults();
    let volume = driver.create(&encrypted).await.unwrap().into_inner();
    lab.sim.inject(Fault::new(Effect::KmsKeyDisabled).on("AttachVolume"));
    refused(attach(&driver, &volume.id, HERE).await, Kind::FailedPrecondition, "KMS key");
    assert!(lab.holders(&volume.id).is_empty());
}
