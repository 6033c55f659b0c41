//! Taking a volume from another machine: with proof or by order, never otherwise.

use crate::lab::{FAST, HERE, Lab, THERE, act, attach, create, refused};
use ebs_sim::{Delays, Effect, Fault};
use error::Kind;
use std::sync::{Arc, Mutex};
use volume::driver::ActionRequest;

/// A volume that the other machine has attached.
async fn held(lab: &Lab) -> volume::Volume {
    let there = lab.fast(THERE);
    let volume = create(&there, "pg").await;
    attach(&there, &volume.id, THERE).await.unwrap();
    volume
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_holder_keeps_its_volume_and_is_named() {
    let lab = Lab::with(|config| {
        config.disks = None;
        config.instances[1].name = Some("db-7".to_owned());
    })
    .await;
    let volume = held(&lab).await;
    let error = refused(
        attach(&lab.fast(HERE), &volume.id, HERE).await,
        Kind::FailedPrecondition,
        "ebs take pg --force",
    );
    for word in [THERE, "db-7", "running", volume.id.as_str()] {
        assert!(error.message().contains(word), "{word}: {error}");
    }
    assert_eq!(lab.holders(&volume.id), [THERE]);
    assert_eq!(lab.count("DetachVolume"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_or_terminated_holder_gives_its_volume_up() {
    for ends in [false, true] {
        let lab = Lab::without_disks().await;
        let volume = held(&lab).await;
        match ends {
            true => lab.sim.terminate(THERE).unwrap(),
            false => lab.sim.stop(THERE).unwrap(),
        }
        attach(&lab.fast(HERE), &volume.id, HERE).await.unwrap();
        assert_eq!(lab.holders(&volume.id), [HERE]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_is_about_to_stop_is_no_dead_one_yet() {
    let lab = Lab::without_disks().await;
    let volume = held(&lab).await;
    lab.sim.set_delays(Delays { terminate: 60_000, ..Delays::default() });
    lab.sim.stop(THERE).unwrap();
    let driver = lab.fast(HERE);
    refused(attach(&driver, &volume.id, HERE).await, Kind::FailedPrecondition, "stopping");
    lab.sim.advance(60_000);
    attach(&driver, &volume.id, HERE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_preempt_never_not_even_a_stopped_holder_loses_its_volume() {
    let lab = Lab::without_disks().await;
    let volume = held(&lab).await;
    lab.sim.stop(THERE).unwrap();
    let driver = lab.on_with(HERE, &[("preempt", "never"), FAST[0]]);
    refused(attach(&driver, &volume.id, HERE).await, Kind::FailedPrecondition, "stopped");
    assert_eq!(lab.holders(&volume.id), [THERE]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_aws_does_not_show_at_once_is_not_taken_for_gone() {
    let lab = Lab::without_disks().await;
    // AWS shows no instance but those that there were before this one was launched.
    lab.sim.inject(Fault::new(Effect::Lie).on("DescribeInstances").of(HERE).times(3));
    lab.sim.add_instance(ebs_sim::InstanceConfig::new("i-new")).await.unwrap();
    let new = lab.fast("i-new");
    let volume = create(&new, "pg").await;
    attach(&new, &volume.id, "i-new").await.unwrap();
    let taken = attach(&lab.fast(HERE), &volume.id, HERE).await;
    refused(taken, Kind::FailedPrecondition, "i-new");
    assert_eq!(lab.holders(&volume.id), ["i-new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_taken_by_order_only_with_force() {
    let lab = Lab::without_disks().await;
    let volume = held(&lab).await;
    let driver = lab.fast(HERE);
    for options in [&[][..], &[("force", "false")]] {
        let taken = act(&driver, "take", "pg", options).await;
        let error = refused(taken, Kind::FailedPrecondition, THERE);
        for word in ["nothing proves", "not synced is lost", "running", "take pg --force"] {
            assert!(error.message().contains(word), "{word}: {error}");
        }
        assert_eq!(lab.count("DetachVolume"), 0);
    }
    let report =
        act(&driver, "take", "pg", &[("force", "true"), ("by", "somebody")]).await.unwrap();
    assert!(report.notes[0].contains(THERE), "{report:?}");
    assert!(lab.holders(&volume.id).is_empty());
    let again = act(&driver, "take", "pg", &[("force", "true")]).await.unwrap();
    assert!(again.notes[0].contains("nobody"), "{again:?}");
    attach(&driver, &volume.id, HERE).await.unwrap();
    refused(act(&driver, "take", "no-such", &[]).await, Kind::NotFound, "no-such");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_taking_may_cost_is_told_before_it_is_done_and_only_where_it_may() {
    for stopped in [false, true] {
        let lab = Lab::without_disks().await;
        let volume = held(&lab).await;
        if stopped {
            lab.sim.stop(THERE).unwrap();
        }
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        let told = move |text: &str| hears.lock().unwrap().push(text.to_owned());
        let take = ActionRequest {
            action: "take".to_owned(),
            subject: Some("pg".to_owned()),
            options: [("force".to_owned(), (!stopped).to_string())].into(),
        };
        let driver = lab.fast(HERE);
        lab.sim.inject(Fault::new(Effect::Deny).on("DetachVolume").times(1));
        driver.act(&take, &told).await.unwrap_err();
        assert_eq!(lab.holders(&volume.id), [THERE]);
        let heard = std::mem::take(&mut *heard.lock().unwrap());
        match stopped {
            true => assert_eq!(heard, Vec::<String>::new(), "it is known to be gone"),
            false => assert!(heard[0].contains("not synced is lost"), "{heard:?}"),
        }
        let report = driver.act(&take, &told).await.unwrap();
        assert_eq!(report.columns[..2], ["ID", "NAME"]);
        assert_eq!(report.rows[0][..2], [volume.id.as_str(), "pg"]);
        assert!(lab.holders(&volume.id).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_does_not_let_go_loses_its_volume_by_force() {
    let lab = Lab::without_disks().await;
    let volume = held(&lab).await;
    lab.sim.inject(Fault::new(Effect::Stick).on("DetachVolume").of(THERE));
    let driver = lab.fast(HERE);
    act(&driver, "take", "pg", &[("force", "true")]).await.unwrap();
    assert!(lab.holders(&volume.id).is_empty());
}
