//! Claims: who renews his keeps his volume; who is silent loses it, and knows before it is taken.

use crate::lab::{FAST, HERE, Lab, THERE, attach, create, detach, refused};
use ebs_sim::{Effect, Fault};
use error::Kind;
use std::sync::Arc;
use std::time::Duration;
use volume::driver::Lost;
use volume::{Driver, Volume, VolumeId};

const LEASE: [(&str, &str); 2] = [("lease", "2"), FAST[0]];

/// A machine that holds a volume, and renews its claim until it has lost that.
struct Holder {
    driver: Arc<dyn Driver>,
    volume: Volume,
}

impl Holder {
    async fn new(lab: &Lab) -> Self {
        let driver = lab.on_with(THERE, &LEASE);
        let volume = create(&driver, "pg").await;
        attach(&driver, &volume.id, THERE).await.unwrap();
        Self { driver, volume }
    }

    /// Renews again and again, as the agent does; answers what is lost.
    async fn renew(&self) -> Lost {
        for _ in 0..400 {
            let held = [self.volume.id.clone()];
            if let Some(lost) = self.driver.renew(&held).await.unwrap().pop() {
                return lost;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it is never told that it has lost its volume");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_renews_its_claim_is_not_preempted_whatever_the_clocks_say() {
    let lab = Lab::without_disks().await;
    let holder = Holder::new(&lab).await;
    let taker = lab.on_with(HERE, &LEASE);
    // Both machines' clocks are wrong, and the account's jumps.
    lab.sim.inject(Fault::new(Effect::ClockSkew { ms: 14 * 60_000 }).of(HERE));
    lab.sim.inject(Fault::new(Effect::ClockSkew { ms: -14 * 60_000 }).of(THERE));
    lab.sim.advance(60 * 60 * 1000);
    let tried = tokio::select! {
        lost = holder.renew() => panic!("lost: {lost:?}"),
        tried = attach(&taker, &holder.volume.id, HERE) => tried,
    };
    refused(tried, Kind::FailedPrecondition, THERE);
    assert_eq!(lab.holders(&holder.volume.id), [THERE]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_holder_loses_its_volume_and_hears_of_it_when_it_is_back() {
    let lab = Lab::without_disks().await;
    let holder = Holder::new(&lab).await;
    let taker = lab.on_with(HERE, &LEASE);
    attach(&taker, &holder.volume.id, HERE).await.unwrap();
    assert_eq!(lab.holders(&holder.volume.id), [HERE]);
    let lost = holder.renew().await;
    assert_eq!(lost.id, holder.volume.id);
    assert!(lost.why.contains("lease was lost") && lost.why.contains(HERE), "{lost:?}");
    // Told once: the agent has stopped its writes.
    assert_eq!(holder.driver.renew(std::slice::from_ref(&holder.volume.id)).await.unwrap(), []);
    assert_eq!(
        taker.renew(std::slice::from_ref(&holder.volume.id)).await.unwrap(),
        [],
        "the new holder has it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_is_cut_off_knows_that_it_has_lost_before_anybody_can_have_taken_it() {
    for reset in [false, true] {
        let lab = Lab::without_disks().await;
        let holder = Holder::new(&lab).await;
        let taker = lab.on_with(HERE, &LEASE);
        lab.sim.partition(THERE, reset);
        let taking = attach(&taker, &holder.volume.id, HERE);
        tokio::pin!(taking);
        let lost = tokio::select! {
            lost = holder.renew() => lost,
            taken = &mut taking => panic!("taken while the holder still wrote: {taken:?}"),
        };
        assert!(lost.why.contains("could not be renewed"), "{lost:?}");
        taking.await.unwrap();
        assert_eq!(lab.holders(&holder.volume.id), [HERE]);
        lab.sim.heal(THERE);
        // It has been told; that it is really gone changes nothing.
        assert_eq!(holder.driver.renew(std::slice::from_ref(&holder.volume.id)).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_starts_while_its_machine_is_cut_off_says_lost_too() {
    let lab = Lab::without_disks().await;
    let holder = Holder::new(&lab).await;
    // The agent was killed; its containers were not.
    let driver = lab.on_with(THERE, &LEASE);
    let again = Holder { driver, volume: holder.volume.clone() };
    lab.sim.partition(THERE, true);
    let lost = again.renew().await;
    assert_eq!(lost.id, holder.volume.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_starts_anew_keeps_the_claims_of_the_one_before() {
    let lab = Lab::without_disks().await;
    let holder = Holder::new(&lab).await;
    let before = lab.volume(&holder.volume.id).tags["mobula:lease"].clone();
    let again = lab.on_with(THERE, &LEASE);
    assert_eq!(again.renew(std::slice::from_ref(&holder.volume.id)).await.unwrap(), []);
    assert_ne!(lab.volume(&holder.volume.id).tags["mobula:lease"], before, "renewed at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_answer_that_shows_nothing_takes_no_volume_away() {
    let lab = Lab::without_disks().await;
    let driver = lab.on_with(THERE, &LEASE);
    let volume = create(&driver, "pg").await;
    // AWS shows the volume as it was before it was attached.
    attach(&driver, &volume.id, THERE).await.unwrap();
    detach(&driver, &volume.id, THERE).await.unwrap();
    lab.sim.inject(Fault::new(Effect::Lie).on("DescribeVolumes").of(THERE).times(1));
    let console = lab.console();
    console.attach_volume(volume.id.as_str(), THERE, "/dev/sdf").await.unwrap();
    assert_eq!(driver.renew(std::slice::from_ref(&volume.id)).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_claim_of_a_machine_that_has_the_volume_again_is_no_proof() {
    let lab = Lab::without_disks().await;
    let holder = Holder::new(&lab).await;
    let id: &VolumeId = &holder.volume.id;
    // Somebody has watched the claim long ago …
    let taker = lab.on_with(HERE, &LEASE);
    let tried = tokio::select! {
        lost = holder.renew() => panic!("lost: {lost:?}"),
        tried = attach(&taker, id, HERE) => tried,
    };
    refused(tried, Kind::FailedPrecondition, THERE);
    // … and the holder, which gives no claims any more, attaches it again.
    detach(&holder.driver, id, THERE).await.unwrap();
    let without = lab.fast(THERE);
    let left = format!("{THERE}/2/1.1");
    let stale = [("mobula:lease".to_owned(), left)].into();
    lab.console().create_tags(&[id.as_str()], &stale).await.unwrap();
    attach(&without, id, THERE).await.unwrap();
    refused(attach(&taker, id, HERE).await, Kind::FailedPrecondition, THERE);
    assert_eq!(lab.holders(id), [THERE]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_claims_are_renewed_by_few_calls() {
    let lab = Lab::without_disks().await;
    let driver = lab.on_with(THERE, &LEASE);
    let mut held = Vec::new();
    for n in 0..12 {
        let volume = create(&driver, &format!("v{n}")).await;
        attach(&driver, &volume.id, THERE).await.unwrap();
        held.push(volume.id);
    }
    let again = lab.on_with(THERE, &LEASE);
    lab.sim.reset_calls();
    assert_eq!(again.renew(&held).await.unwrap(), []);
    assert_eq!((lab.count("DescribeVolumes"), lab.count("CreateTags")), (1, 1));
    assert_eq!(again.renew(&held).await.unwrap(), []);
    assert_eq!(lab.sim.calls().values().sum::<u64>(), 2, "not due yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_just_being_attached_is_not_lost() {
    let lab = Lab::without_disks().await;
    let driver = lab.on_with(THERE, &LEASE);
    let volume = create(&driver, "pg").await;
    lab.sim.set_delays(ebs_sim::Delays { attach: 1500, ..ebs_sim::Delays::default() });
    let attaching = attach(&driver, &volume.id, THERE);
    tokio::pin!(attaching);
    let renewing = async {
        loop {
            assert_eq!(driver.renew(std::slice::from_ref(&volume.id)).await.unwrap(), []);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        attached = &mut attaching => drop(attached.unwrap()),
        () = renewing => {}
    }
}
