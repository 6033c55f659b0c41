//! What AWS shows is late: no twin, no ghost, and a name that was given up can be used again.
//!
//! Here it is late by 300 ms where the driver counts on at most a second; on AWS these are 5 and 20.

use crate::lab::{
    HERE, Lab, THERE, attach, create, detach, named, refused, request, snapshot_named,
};
use ebs_sim::{Delays, Effect, Fault};
use error::Kind;
use volume::Size;

const LATE: Delays = Delays {
    create: 20,
    attach: 20,
    detach: 20,
    snapshot: 20,
    modify: 0,
    delete: 0,
    terminate: 0,
    visibility: 300,
    latency: 0,
};

async fn late() -> Lab {
    let lab = Lab::without_disks().await;
    lab.sim.set_delays(LATE);
    lab
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_shown_late_is_created_once_by_all_who_ask() {
    let lab = late().await;
    let drivers = [HERE, THERE, HERE, THERE].map(|instance| lab.fast(instance));
    let asked = drivers.map(|driver| {
        tokio::spawn(async move { driver.create(&request("pg", &[])).await.unwrap().into_inner() })
    });
    let mut ids = Vec::new();
    for asked in asked {
        ids.push(asked.await.unwrap().id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(lab.sim.volumes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_was_deleted_is_no_ghost_for_anybody() {
    let lab = late().await;
    let (here, there) = (lab.fast(HERE), lab.fast(THERE));
    let mut before = create(&here, "pg").await.id;
    // By the same process, by another one, by one that knows nothing; again and again.
    for driver in [lab.fast(HERE), there.clone(), here.clone(), lab.fast(THERE), here] {
        driver.delete(&before).await.unwrap();
        assert!(there.find(&named("pg")).await.unwrap().is_none(), "a ghost");
        let new = create(&driver, "pg").await.id;
        assert_ne!(new, before, "a new volume, not the ghost of the old one");
        assert_eq!(lab.volume(&new).state, "available");
        assert_eq!(lab.volumes_named("pg").len(), 1);
        before = new;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_that_deleted_a_volume_may_create_it_at_once_with_other_options() {
    let lab = late().await;
    let driver = lab.fast(HERE);
    for gib in [1, 2, 3] {
        let made = driver.create(&request("pg", &[("size", &format!("{gib}GiB"))])).await.unwrap();
        assert!(made.is_done());
        assert_eq!(made.into_inner().size, Some(Size::gib(gib)));
        let found = driver.find(&named("pg")).await.unwrap().unwrap();
        driver.delete(&found.id).await.unwrap();
    }
    assert!(lab.sim.volumes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_that_is_shown_late_is_waited_for_and_made_once() {
    let lab = late().await;
    let (here, there) = (lab.fast(HERE), lab.fast(THERE));
    let volume = create(&here, "pg").await;
    lab.sim.inject(Fault::new(Effect::DropAnswer).on("AttachVolume").times(1));
    attach(&here, &volume.id, HERE).await.unwrap();
    assert_eq!(lab.holders(&volume.id), [HERE]);
    refused(attach(&there, &volume.id, THERE).await, Kind::FailedPrecondition, HERE);
    detach(&here, &volume.id, HERE).await.unwrap();
    // At once on the other machine: what AWS still shows of the first holder is over.
    attach(&there, &volume.id, THERE).await.unwrap();
    assert_eq!(lab.holders(&volume.id), [THERE]);
    refused(attach(&here, &volume.id, HERE).await, Kind::FailedPrecondition, THERE);
    detach(&there, &volume.id, THERE).await.unwrap();
    assert!(!detach(&there, &volume.id, THERE).await.unwrap().is_done());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_shown_late_is_taken_once_and_is_no_ghost() {
    let lab = late().await;
    let (here, there) = (lab.fast(HERE), lab.fast(THERE));
    let volume = create(&here, "pg").await;
    lab.sim.inject(Fault::new(Effect::DropAnswer).on("CreateSnapshot").times(1));
    here.snapshot(&volume.id, &snapshot_named("s")).await.unwrap();
    assert_eq!(lab.sim.snapshots().len(), 1);
    here.delete_snapshot(&snapshot_named("s")).await.unwrap();
    assert!(there.snapshot(&volume.id, &snapshot_named("s")).await.unwrap().is_done());
    assert_eq!(lab.sim.snapshots().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expansion_that_is_shown_late_is_made_once() {
    let lab = late().await;
    let driver = lab.fast(HERE);
    let volume = create(&driver, "pg").await;
    lab.sim.inject(Fault::new(Effect::DropAnswer).on("ModifyVolume").times(1));
    let grown = driver.expand(&volume.id, Size::gib(3)).await;
    // The change is under way; AWS shows that later, and the repeat finds it.
    let grown = match grown {
        Ok(grown) => grown,
        Err(_) => driver.expand(&volume.id, Size::gib(3)).await.unwrap(),
    };
    assert_eq!(grown.into_inner().size, Some(Size::gib(3)));
    assert_eq!(lab.volume(&volume.id).size, 3);
}
