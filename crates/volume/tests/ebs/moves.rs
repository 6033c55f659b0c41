//! Volumes of another zone: told where they are, or moved; whatever happens on the way, the name
//! always leads to one volume with all its data.

use crate::lab::{
    Chance, FAR, FAST, HERE, Lab, act, attach, create, detach, named, refused, request, seed,
};
use ebs_sim::{Delays, Effect, Fault};
use error::Kind;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use volume::{Driver, Volume};

const MOVES: [(&str, &str); 1] = [("relocate", "snapshot")];

/// A volume here that moves by itself.
async fn movable(lab: &Lab) -> Volume {
    lab.fast(HERE).create(&request("pg", &MOVES)).await.unwrap().into_inner()
}

/// The driver in the other zone brings the volume there.
async fn relocate(far: &Arc<dyn Driver>) -> error::Result<Option<Volume>> {
    let found = far.find(&named("pg")).await?.expect("the name leads to a volume");
    far.relocate(&found).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_another_zone_is_told_where_it_is_and_is_no_reason_for_a_twin() {
    let lab = Lab::without_disks().await;
    let volume = create(&lab.fast(HERE), "pg").await;
    let far = lab.fast(FAR);
    let found = far.find(&named("pg")).await.unwrap().unwrap();
    assert_eq!(found.id, volume.id);
    let created = far.create(&request("pg", &[])).await.map(drop);
    let attached = attach(&far, &volume.id, FAR).await.map(drop);
    let relocated = far.relocate(&found).await.map(drop);
    for result in [created, attached, relocated] {
        let error = refused(result, Kind::FailedPrecondition, "us-east-1a");
        assert!(error.message().contains("ebs move pg"), "{error}");
    }
    assert_eq!(lab.sim.volumes().len(), 1);
    let elsewhere = request("there", &[("availabilityZone", "us-east-1b")]);
    let there = lab.fast(HERE).create(&elsewhere).await.unwrap().into_inner();
    assert_eq!(lab.volume(&there.id).zone, "us-east-1b");
    let wrong = lab.fast(HERE).create(&request("x", &[("availabilityZone", "mars-1a")])).await;
    assert!(wrong.unwrap_err().message().contains("mars-1a"));
}

/// After a completed move: one volume of the name, there; the original kept under another name.
#[track_caller]
fn assert_moved(lab: &Lab, original: &Volume, why: &str) {
    let named = lab.volumes_named("pg");
    assert_eq!(named.len(), 1, "{why}: {named:#?}");
    assert_eq!(named[0].zone, "us-east-1b", "{why}");
    assert_eq!(named[0].tags["mobula:moved-from"], original.id.as_str(), "{why}");
    assert!(named[0].snapshot.is_some(), "{why}: it is no empty one");
    let kept = lab.volume(&original.id);
    assert_eq!(kept.tags["Name"], format!("pg (moved to {})", named[0].id), "{why}");
    assert_eq!(lab.sim.volumes().len(), 2, "{why}: nothing else is left");
    assert!(lab.sim.snapshots().is_empty(), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_told_to_moves_to_where_it_is_needed() {
    let lab = Lab::without_disks().await;
    let original = movable(&lab).await;
    let moved = relocate(&lab.fast(FAR)).await.unwrap().unwrap();
    assert_moved(&lab, &original, "at once");
    assert_eq!(moved.filesystem, original.filesystem);
    assert_eq!(moved.parameters, original.parameters);
    attach(&lab.fast(FAR), &moved.id, FAR).await.unwrap();
    // Where it is now, there is nothing to move.
    assert!(relocate(&lab.fast(FAR)).await.unwrap().is_none());
    refused(relocate(&lab.fast(HERE)).await, Kind::FailedPrecondition, FAR);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_moved_by_hand_there_and_back() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let original = create(&driver, "pg").await;
    let to = |zone| [("zone", zone)];
    let report = act(&driver, "move", "pg", &to("us-east-1b")).await.unwrap();
    assert!(report.notes[0].contains(original.id.as_str()), "{report:?}");
    assert_moved(&lab, &original, "by hand");
    let again = act(&driver, "move", "pg", &to("us-east-1b")).await.unwrap();
    assert!(again.notes[0].contains("already"), "{again:?}");
    act(&driver, "move", "pg", &to("us-east-1a")).await.unwrap();
    let back = driver.find(&named("pg")).await.unwrap().unwrap();
    assert_ne!(back.id, original.id, "the original is what it was before the first move");
    assert_eq!(lab.volume(&back.id).zone, "us-east-1a");
    assert_eq!(lab.volumes_named("pg").len(), 1);
    let wrong = act(&driver, "move", "pg", &to("mars-1a")).await;
    assert!(wrong.unwrap_err().message().contains("mars-1a"));
    assert!(lab.sim.snapshots().is_empty(), "nobody would find it, and it is billed");
    assert_eq!(driver.find(&named("pg")).await.unwrap().unwrap().id, back.id);
}

/// Polls its future so many times, and drops it then: killed at one of its awaits.
struct Killed<F> {
    future: Pin<Box<F>>,
    polls: u64,
}

impl<F: Future> Future for Killed<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        self.future.as_mut().poll(context).map(Some)
    }
}

/// Runs `work`, killed after `polls`; `None` when it did not come to its end.
async fn killed<F: Future>(polls: u64, work: F) -> Option<F::Output> {
    let mut killed = pin!(Killed { future: Box::pin(work), polls });
    std::future::poll_fn(|context| killed.as_mut().poll(context)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_killed_anywhere_is_completed_by_the_repeat_and_the_name_is_never_lost() {
    let mut chance = Chance::new(seed());
    let (mut polls, mut ended) = (1, false);
    while !ended {
        let lab = Lab::without_disks().await;
        lab.sim.set_delays(Delays { create: 5, snapshot: 5, ..Delays::default() });
        let original = movable(&lab).await;
        let far = lab.fast(FAR);
        ended = killed(polls, relocate(&far)).await.is_some();
        let why = format!("after {polls} polls");
        // Killed: what another machine sees at any time is one volume of the name, never two.
        let seen = lab.fast(HERE).find(&named("pg")).await.unwrap();
        assert!(seen.is_some(), "{why}");
        let again = lab.fast(FAR);
        match again.find(&named("pg")).await.unwrap().unwrap() {
            there if there.id == original.id => {
                again.relocate(&there).await.unwrap();
            }
            // It has the name already: what is left to be done is done by order, or before it goes.
            _ => drop(act(&again, "move", "pg", &[]).await.unwrap()),
        }
        assert_moved(&lab, &original, &why);
        polls += 1 + chance.below(3);
    }
    assert!(polls > 8, "it was killed somewhere: {polls}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_was_used_after_an_interrupted_move_is_copied_anew() {
    let lab = Lab::without_disks().await;
    let original = movable(&lab).await;
    let (here, far) = (lab.fast(HERE), lab.fast(FAR));
    // It is stopped when the copy has been made, and before that has the name.
    lab.sim.inject(Fault::new(Effect::Deny).on("CreateVolume").times(1));
    refused(relocate(&far).await, Kind::PermissionDenied, "CreateVolume");
    let first = lab.sim.snapshots()[0].id.clone();
    // Meanwhile its own machine writes to it.
    attach(&here, &original.id, HERE).await.unwrap();
    detach(&here, &original.id, HERE).await.unwrap();
    let moved = relocate(&far).await.unwrap().unwrap();
    let real = lab.volume(&moved.id);
    assert_ne!(real.snapshot, Some(first), "what was written in between would be lost");
    assert_moved(&lab, &original, "anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_attached_while_it_is_moved_stays_what_it_is() {
    let lab = Lab::without_disks().await;
    let original = movable(&lab).await;
    let (here, far) = (lab.fast(HERE), lab.fast(FAR));
    lab.sim.set_delays(Delays { snapshot: 500, ..Delays::default() });
    let moving = tokio::spawn(async move { relocate(&far).await });
    while lab.sim.snapshots().is_empty() {
        tokio::task::yield_now().await;
    }
    attach(&here, &original.id, HERE).await.unwrap();
    let error = moving.await.unwrap().expect_err("it is in use");
    let kinds = [Kind::FailedPrecondition, Kind::Aborted];
    assert!(kinds.contains(&error.kind()), "{error}");
    let found = here.find(&named("pg")).await.unwrap().unwrap();
    assert_eq!(found.id, original.id);
    detach(&here, &original.id, HERE).await.unwrap();
    relocate(&lab.fast(FAR)).await.unwrap();
    assert_moved(&lab, &original, "afterwards");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_machines_that_move_a_volume_at_once_make_one_of_it() {
    for _ in 0..4 {
        let lab = Lab::without_disks().await;
        let original = movable(&lab).await;
        lab.sim.set_delays(Delays { create: 10, snapshot: 10, ..Delays::default() });
        let (one, other) = (lab.fast(FAR), lab.fast(FAR));
        let (first, second) = tokio::join!(relocate(&one), relocate(&other));
        if first.is_err() && second.is_err() {
            relocate(&one).await.unwrap();
        }
        assert_moved(&lab, &original, &format!("{first:?} {second:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_original_does_not_come_back_when_the_moved_volume_is_deleted() {
    let lab = Lab::without_disks().await;
    let original = movable(&lab).await;
    let far = lab.fast(FAR);
    relocate(&far).await.unwrap();
    // As if it was killed when the new one had the name and the original still had it, too.
    let name = [("Name".to_owned(), "pg".to_owned())].into();
    lab.console().create_tags(&[original.id.as_str()], &name).await.unwrap();
    assert_eq!(lab.volumes_named("pg").len(), 2);
    let found = far.find(&named("pg")).await.unwrap().unwrap();
    assert_ne!(found.id, original.id);
    far.delete(&found.id).await.unwrap();
    assert!(far.find(&named("pg")).await.unwrap().is_none(), "deleted is deleted");
    assert!(lab.volume(&original.id).tags["Name"].starts_with("pg (moved to vol-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_shown_late_answers_the_moved_volume() {
    let lab = Lab::without_disks().await;
    let original = movable(&lab).await;
    lab.sim.set_delays(Delays { visibility: 200, ..Delays::default() });
    let moved = relocate(&lab.fast(FAR)).await.unwrap().unwrap();
    assert_ne!(moved.id, original.id);
    attach(&lab.fast(FAR), &moved.id, FAR).await.unwrap();
    assert_eq!(lab.holders(&moved.id), [FAR]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_of_an_earlier_move_was_deleted_and_it_can_be_moved_again() {
    let lab = Lab::without_disks().await;
    let original = movable(&lab).await;
    let far = lab.on_with(FAR, &FAST);
    let moved = relocate(&far).await.unwrap().unwrap();
    far.delete(&moved.id).await.unwrap();
    // Somebody gives the original its name back.
    let name = [("Name".to_owned(), "pg".to_owned())].into();
    lab.console().create_tags(&[original.id.as_str()], &name).await.unwrap();
    for driver in [&far, &lab.fast(FAR)] {
        if let Err(error) = relocate(driver).await {
            assert_eq!(error.kind(), Kind::Aborted, "{error}");
        }
    }
    assert_moved(&lab, &original, "again");
}
