//! Two machines want one volume at the same time: exactly one gets it.

use crate::lab::{Chance, HERE, Lab, THERE, attach, create, detach, seed};
use ebs_sim::{Delays, Effect, Fault};
use error::Kind;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_machines_that_attach_a_volume_at_once_exactly_one_wins() {
    let seed = seed();
    let lab = Lab::with(|config| {
        (config.disks, config.seed) = (None, seed);
        config.instances[0].name = Some("web-1".to_owned());
        config.instances[1].name = Some("web-2".to_owned());
    })
    .await;
    let (here, there) = (lab.fast(HERE), lab.fast(THERE));
    let volume = create(&here, "pg").await;
    let mut chance = Chance::new(seed);
    for round in 0..50 {
        let visibility = if round % 5 == 4 { 100 } else { 0 };
        let attach_ms = chance.below(30);
        lab.sim.set_delays(Delays { attach: attach_ms, visibility, ..Delays::default() });
        let delay = Effect::Delay { ms: chance.below(15) };
        lab.sim.inject(Fault::new(delay).on("*").probability(0.3));
        lab.sim.inject(Fault::new(Effect::DropAnswer).on("AttachVolume").probability(0.2));
        let (one, other) =
            tokio::join!(attach(&here, &volume.id, HERE), attach(&there, &volume.id, THERE));
        lab.sim.clear_faults();
        let (winner, name, error) = match (one, other) {
            (Ok(_), Err(error)) => (HERE, "web-1", error),
            (Err(error), Ok(_)) => (THERE, "web-2", error),
            both => panic!("round {round}: {both:?}"),
        };
        assert_eq!(lab.holders(&volume.id), [winner], "round {round}");
        assert_eq!(error.kind(), Kind::FailedPrecondition, "round {round}: {error}");
        let told = error.message().contains(winner) && error.message().contains(name);
        assert!(told, "round {round}: {error}");
        let driver = if winner == HERE { &here } else { &there };
        detach(driver, &volume.id, winner).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_of_one_machine_attach_once() {
    let lab = Lab::without_disks().await;
    lab.sim.set_delays(Delays { attach: 50, ..Delays::default() });
    let driver = lab.fast(HERE);
    let volume = create(&driver, "pg").await;
    let calls = (0..8).map(|_| {
        let (driver, id) = (driver.clone(), volume.id.clone());
        tokio::spawn(async move { attach(&driver, &id, HERE).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    assert_eq!(lab.holders(&volume.id), [HERE]);
}
