//! Attachments that do not go as they should: stuck, busy, failed, full, and by somebody else.

use crate::lab::{HERE, Lab, THERE, attach, create, detach, named, refused, request};
use ebs_sim::{Delays, Effect, Fault};
use error::Kind;

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_that_is_stuck_is_begun_anew() {
    let lab = Lab::without_disks().await;
    let driver = lab.on_with(HERE, &[("waitTimeout", "2")]);
    let volume = create(&driver, "pg").await;
    lab.sim.inject(Fault::new(Effect::Stick).on("AttachVolume").times(1));
    attach(&driver, &volume.id, HERE).await.unwrap();
    assert_eq!(lab.volume(&volume.id).attachments[0].state, "attached");
    assert_eq!((lab.count("AttachVolume"), lab.count("DetachVolume")), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_that_stays_stuck_is_given_up_and_leaves_nothing() {
    let lab = Lab::without_disks().await;
    let driver = lab.on_with(HERE, &[("waitTimeout", "1")]);
    let volume = create(&driver, "pg").await;
    lab.sim.inject(Fault::new(Effect::Stick).on("AttachVolume"));
    refused(attach(&driver, &volume.id, HERE).await, Kind::DeadlineExceeded, "console");
    assert!(lab.count("AttachVolume") <= 3, "{:?}", lab.sim.calls());
    assert!(lab.holders(&volume.id).is_empty(), "the repeat begins anew");
    lab.sim.clear_faults();
    attach(&driver, &volume.id, HERE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_stays_busy_is_never_told_to_be_detached() {
    let lab = Lab::without_disks().await;
    let driver = lab.on_with(HERE, &[("waitTimeout", "1")]);
    let volume = create(&driver, "pg").await;
    attach(&driver, &volume.id, HERE).await.unwrap();
    lab.sim.inject(Fault::new(Effect::Stick).on("DetachVolume"));
    for _ in 0..2 {
        refused(detach(&driver, &volume.id, HERE).await, Kind::DeadlineExceeded, "in use there");
        assert_eq!(lab.volume(&volume.id).attachments[0].state, "busy");
    }
    // Nor is it told to be attached.
    refused(attach(&driver, &volume.id, HERE).await, Kind::DeadlineExceeded, "busy");
    lab.sim.clear_faults();
    detach(&driver, &volume.id, HERE).await.unwrap();
    assert!(lab.holders(&volume.id).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_volume_of_a_terminated_instance_is_free_or_freed() {
    let lab = Lab::without_disks().await;
    let (here, there) = (lab.fast(HERE), lab.fast(THERE));
    let volume = create(&here, "pg").await;
    attach(&there, &volume.id, THERE).await.unwrap();
    lab.sim.terminate(THERE).unwrap();
    attach(&here, &volume.id, HERE).await.unwrap();
    assert_eq!(lab.holders(&volume.id), [HERE]);
    assert!(!detach(&here, &volume.id, THERE).await.unwrap().is_done(), "gone with its instance");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_to_an_instance_that_is_not_there_is_refused_by_name() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let volume = create(&driver, "pg").await;
    refused(attach(&driver, &volume.id, "i-0123abcd").await, Kind::NotFound, "i-0123abcd");
    lab.sim.terminate(THERE).unwrap();
    let gone = attach(&driver, &volume.id, THERE).await;
    assert!(gone.unwrap_err().message().contains(THERE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_in_error_is_not_attached() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    lab.sim.inject(Fault::new(Effect::Fail).on("CreateVolume").times(1));
    lab.sim.inject(Fault::new(Effect::Deny).on("DeleteVolume").times(1));
    driver.create(&request("pg", &[])).await.unwrap_err();
    let failed = driver.find(&named("pg")).await.unwrap().unwrap();
    refused(attach(&driver, &failed.id, HERE).await, Kind::FailedPrecondition, "state error");
    assert!(failed.fault.unwrap().contains("mobula volume rm"));
    assert!(driver.delete(&failed.id).await.unwrap().is_done(), "as its fault advises");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_instance_is_told_with_the_way_out() {
    let lab = Lab::with(|config| {
        (config.disks, config.instances[0].max_volumes) = (None, Some(3));
    })
    .await;
    let driver = lab.fast(HERE);
    for name in ["a", "b"] {
        let volume = create(&driver, name).await;
        attach(&driver, &volume.id, HERE).await.unwrap();
    }
    let volume = create(&driver, "c").await;
    let full = attach(&driver, &volume.id, HERE).await;
    refused(full, Kind::ResourceExhausted, "take a larger instance");
    assert!(lab.holders(&volume.id).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_kept_before_anything_is_attached() {
    let lab = Lab::without_disks().await;
    let plain = lab.fast(HERE);
    let mut volumes = Vec::new();
    for name in ["a", "b", "c"] {
        volumes.push(create(&plain, name).await);
    }
    // The root volume counts.
    let two = lab.on_with(HERE, &[("maxVolumes", "4"), ("reservedVolumes", "1")]);
    for volume in &volumes[..2] {
        attach(&two, &volume.id, HERE).await.unwrap();
    }
    let before = lab.count("AttachVolume");
    refused(attach(&two, &volumes[2].id, HERE).await, Kind::ResourceExhausted, HERE);
    assert_eq!(lab.count("AttachVolume"), before, "AWS was not asked");
    // What is there already is not one more.
    attach(&two, &volumes[1].id, HERE).await.unwrap();
    lab.sim.inject(Fault::new(Effect::Lie).on("DescribeInstances"));
    attach(&two, &volumes[0].id, HERE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_the_instance_type_is_kept_before_anything_is_attached() {
    let lab = Lab::without_disks().await;
    let driver = lab.on_with(HERE, &[("reservedVolumes", "17"), ("waitTimeout", "6")]);
    let mut attached = 0;
    loop {
        let volume = create(&driver, &format!("v{attached}")).await;
        let before = lab.count("AttachVolume");
        match attach(&driver, &volume.id, HERE).await {
            Ok(_) => attached += 1,
            Err(error) => {
                assert_eq!(error.kind(), Kind::ResourceExhausted, "{error}");
                assert_eq!(lab.count("AttachVolume"), before);
                break;
            }
        }
    }
    // An m5.large takes 27, of which the root volume and the network interface take two.
    assert_eq!(attached, 27 - 2 - 17);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_devices_that_aws_refuses_are_avoided_and_told_when_none_is_left() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let (a, b) = (create(&driver, "a").await, create(&driver, "b").await);
    let taken = Effect::Error {
        code: "InvalidParameterValue".to_owned(),
        status: 400,
        message: "/dev/xvdba is already in use".to_owned(),
    };
    lab.sim.inject(Fault::new(taken.clone()).on("AttachVolume").times(2));
    attach(&driver, &a.id, HERE).await.unwrap();
    assert_eq!(lab.volume(&a.id).attachments[0].device, "/dev/xvdbc");
    detach(&driver, &a.id, HERE).await.unwrap();
    attach(&driver, &b.id, HERE).await.unwrap();
    assert_eq!(
        lab.volume(&b.id).attachments[0].device,
        "/dev/xvdbd",
        "neither refused nor just used"
    );
    lab.sim.reset_calls();
    lab.sim.inject(Fault::new(taken).on("AttachVolume"));
    // What AWS itself says is told in the end.
    refused(attach(&driver, &a.id, HERE).await, Kind::InvalidArgument, "already in use");
    assert!(lab.count("AttachVolume") <= 4, "{:?}", lab.sim.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_a_free_device_name_is_told() {
    let lab = Lab::with(|config| {
        (config.disks, config.instances[0].max_volumes) = (None, Some(500));
    })
    .await;
    let driver = lab.on_with(HERE, &[("maxVolumes", "500"), ("waitTimeout", "6")]);
    let last = create(&driver, "pg").await;
    let console = lab.console();
    let two = |first: char| ('a'..='z').map(move |second| format!("/dev/xvd{first}{second}"));
    let names = ['a', 'b', 'c', 'd'].into_iter().flat_map(two);
    let names = names.chain(('f'..='p').map(|letter| format!("/dev/sd{letter}")));
    for name in names {
        let id = lab.foreign(None, 1).await;
        console.attach_volume(id.as_str(), HERE, &name).await.unwrap();
    }
    let before = lab.count("AttachVolume");
    let full = attach(&driver, &last.id, HERE).await;
    refused(full, Kind::ResourceExhausted, "no name for another disk left");
    assert_eq!(lab.count("AttachVolume"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_attaches_or_detaches_by_hand_is_seen() {
    let lab = Lab::without_disks().await;
    let (driver, console) = (lab.fast(HERE), lab.console());
    let volume = create(&driver, "pg").await;
    let id = volume.id.as_str();
    console.attach_volume(id, HERE, "/dev/sdf").await.unwrap();
    assert!(!attach(&driver, &volume.id, HERE).await.unwrap().is_done(), "it is there already");
    console.detach_volume(id, HERE, false).await.unwrap();
    assert!(!detach(&driver, &volume.id, HERE).await.unwrap().is_done());
    console.attach_volume(id, THERE, "/dev/sdf").await.unwrap();
    refused(attach(&driver, &volume.id, HERE).await, Kind::FailedPrecondition, THERE);
    refused(driver.delete(&volume.id).await, Kind::FailedPrecondition, THERE);
    // Being detached elsewhere is waited for.
    lab.sim.set_delays(Delays { detach: 200, ..Delays::default() });
    console.detach_volume(id, THERE, false).await.unwrap();
    attach(&driver, &volume.id, HERE).await.unwrap();
    // Deleted behind our back.
    console.detach_volume(id, HERE, true).await.unwrap();
    lab.sim.advance(1000);
    console.delete_volume(id).await.unwrap();
    assert!(!detach(&driver, &volume.id, HERE).await.unwrap().is_done());
    refused(attach(&driver, &volume.id, HERE).await, Kind::NotFound, id);
    assert!(!driver.delete(&volume.id).await.unwrap().is_done());
    assert!(driver.find(&named("pg")).await.unwrap().is_none());
}
