//! Calls that AWS throttles, fails, or of which the connection breaks before or after the work: what
//! was asked for is done exactly once, or the error comes after a bounded number of calls.

use crate::lab::{
    Chance, FAST, HERE, Lab, attach, create, detach, named, request, seed, snapshot_named,
};
use ebs_sim::{Effect, Fault};
use error::{Kind, Result};
use host::Fstype;
use std::sync::Arc;
use volume::{Driver, Filesystem, Size, Volume};

/// Something that a driver does to an account, and the call that does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Create,
    Clone,
    Attach,
    Detach,
    Expand,
    Record,
    Snapshot,
    DeleteSnapshot,
    Delete,
}

const ALL: [(Work, &str); 9] = [
    (Work::Create, "CreateVolume"),
    (Work::Clone, "CopyVolumes"),
    (Work::Attach, "AttachVolume"),
    (Work::Detach, "DetachVolume"),
    (Work::Expand, "ModifyVolume"),
    (Work::Record, "CreateTags"),
    (Work::Snapshot, "CreateSnapshot"),
    (Work::DeleteSnapshot, "DeleteSnapshot"),
    (Work::Delete, "DeleteVolume"),
];

/// What has to be there before.
async fn prepare(driver: &Arc<dyn Driver>, work: Work) -> Volume {
    let volume = create(driver, "pg").await;
    match work {
        Work::Create => drop(driver.delete(&volume.id).await.unwrap()),
        Work::Detach => drop(attach(driver, &volume.id, HERE).await.unwrap()),
        Work::DeleteSnapshot => {
            driver.snapshot(&volume.id, &snapshot_named("s")).await.unwrap();
        }
        _ => {}
    }
    volume
}

async fn run(driver: &Arc<dyn Driver>, work: Work, volume: &Volume) -> Result<()> {
    let id = &volume.id;
    match work {
        Work::Create => driver.create(&request("pg", &[])).await.map(drop),
        Work::Clone => driver.create(&request("copy", &[("clone", "pg")])).await.map(drop),
        Work::Attach => attach(driver, id, HERE).await.map(drop),
        Work::Detach => detach(driver, id, HERE).await.map(drop),
        Work::Expand => driver.expand(id, Size::gib(2)).await.map(drop),
        Work::Record => driver.record_filesystem(id, &filesystem(volume)).await,
        Work::Snapshot => driver.snapshot(id, &snapshot_named("s")).await.map(drop),
        Work::DeleteSnapshot => driver.delete_snapshot(&snapshot_named("s")).await.map(drop),
        Work::Delete => driver.delete(id).await.map(drop),
    }
}

fn filesystem(volume: &Volume) -> Filesystem {
    volume.filesystem.clone().unwrap().covering(Size::gib(1))
}

/// It was done, and once.
#[track_caller]
fn assert_done(lab: &Lab, work: Work, volume: &Volume, why: &str) {
    let (pg, copies) = (lab.volumes_named("pg"), lab.volumes_named("copy"));
    assert_eq!(pg.len(), usize::from(work != Work::Delete), "{work:?}: {why}");
    assert_eq!(copies.len(), usize::from(work == Work::Clone), "{work:?}: {why}");
    let snapshots = lab.sim.snapshots().len();
    assert_eq!(snapshots, usize::from(work == Work::Snapshot), "{work:?}: {why}");
    match work {
        Work::Attach => assert_eq!(lab.holders(&volume.id), [HERE], "{why}"),
        Work::Detach => assert!(lab.holders(&volume.id).is_empty(), "{why}"),
        Work::Expand => assert_eq!(pg[0].size, 2, "{why}"),
        Work::Record => assert!(pg[0].tags["mobula:filesystem"].contains("covers"), "{why}"),
        _ => {}
    }
}

/// Runs all of them, some at a time: there are two cores.
async fn all(cases: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>) {
    let places = Arc::new(tokio::sync::Semaphore::new(8));
    let cases = cases.map(|case| {
        let places = Arc::clone(&places);
        tokio::spawn(async move {
            let _place = places.acquire().await.unwrap();
            case.await;
        })
    });
    for case in cases.collect::<Vec<_>>() {
        case.await.unwrap();
    }
}

fn error(code: &str, status: u16) -> Effect {
    Effect::Error { code: code.to_owned(), status, message: String::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_call_meets_for_a_moment_the_work_is_done_once() {
    let troubles = [
        (Effect::Throttle, 3),
        (error("InternalError", 500), 3),
        (error("Unavailable", 503), 3),
        (Effect::Reset, 1),
        (Effect::Reset, 4),
        (Effect::DropAnswer, 1),
        (Effect::DropAnswer, 3),
    ];
    let cases =
        ALL.into_iter().flat_map(|work| troubles.iter().map(move |one| (work, one.clone())));
    let cases = cases.map(|((work, action), (effect, times))| {
        async move {
            let lab = Lab::without_disks().await;
            let driver = lab.fast(HERE);
            let volume = prepare(&driver, work).await;
            lab.sim.reset_calls();
            let why = format!("{effect:?} {times} times");
            lab.sim.inject(Fault::new(effect).on(action).times(times));
            let done = run(&driver, work, &volume).await;
            if let Err(error) = done {
                // There is no token for snapshots: what may have been done is not done again.
                assert_eq!((work, error.kind()), (Work::Snapshot, Kind::Unavailable), "{error}");
                lab.sim.clear_faults();
                run(&driver, work, &volume).await.unwrap();
            }
            assert_done(&lab, work, &volume, &why);
            assert!(lab.count(action) <= times + 2, "{work:?}: {why}: {:?}", lab.sim.calls());
        }
    });
    all(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_by_what_came_of_them() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    lab.sim.inject(Fault::new(Effect::Throttle).on("CreateVolume").times(3));
    let volume = create(&driver, "pg").await;
    lab.sim.inject(Fault::new(Effect::DropAnswer).on("AttachVolume").times(1));
    attach(&driver, &volume.id, HERE).await.unwrap();
    lab.sim.inject(Fault::new(error("UnauthorizedOperation", 403)).on("CreateSnapshot"));
    driver.snapshot(&volume.id, &snapshot_named("s")).await.unwrap_err();
    let page = lab.metrics.render();
    for (action, outcome, count) in [
        ("CreateVolume", "throttled", 3),
        ("CreateVolume", "ok", 1),
        ("AttachVolume", "lost", 1),
        ("CreateSnapshot", "permission_denied", 1),
    ] {
        let labels = format!(r#"{{service="ebs",action="{action}",outcome="{outcome}"}} {count}"#);
        assert!(page.contains(&format!("mobula_cloud_calls_total{labels}\n")), "{labels}: {page}");
    }
    // Since it complained, the calls were made one after another.
    let line = r#"mobula_cloud_held_back_seconds_total{service="ebs",action="CreateVolume"} "#;
    let seconds = page.lines().find_map(|found| found.strip_prefix(line));
    assert!(seconds.unwrap().parse::<f64>().unwrap() > 0.01, "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_that_does_not_end_is_told_after_a_bounded_number_of_calls() {
    let troubles =
        [Effect::Throttle, error("InternalError", 500), Effect::Reset, Effect::DropAnswer];
    let cases =
        ALL.into_iter().flat_map(|work| troubles.iter().map(move |one| (work, one.clone())));
    let cases = cases.map(|((work, action), effect)| {
        async move {
            let lab = Lab::without_disks().await;
            let driver = lab.on_with(HERE, &[("waitTimeout", "3")]);
            let volume = prepare(&driver, work).await;
            lab.sim.reset_calls();
            let why = format!("{effect:?} without end");
            lab.sim.inject(Fault::new(effect).on(action));
            let error = run(&driver, work, &volume).await;
            // Where AWS shows that it was done after all, no answer is needed.
            if let Err(error) = error {
                assert_eq!(error.kind(), Kind::Unavailable, "{work:?}: {why}: {error}");
                assert!(error.chain().contains("again"), "{work:?}: {why}: {error}");
            }
            assert!(lab.count(action) <= 24, "{work:?}: {why}: {:?}", lab.sim.calls());
            lab.sim.clear_faults();
            run(&driver, work, &volume).await.unwrap();
            assert_done(&lab, work, &volume, &why);
        }
    });
    all(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_while_of_throttling_and_failures_delays_volumes_and_loses_none() {
    let seed = seed();
    let lab = Lab::with(|config| (config.disks, config.seed) = (None, seed)).await;
    let driver = lab.on_with(HERE, &[("waitTimeout", "30")]);
    lab.sim.inject(Fault::new(Effect::Throttle).probability(0.9).times(15));
    lab.sim.inject(Fault::new(error("InternalError", 500)).probability(0.2).times(5));
    lab.sim.inject(Fault::new(Effect::DropAnswer).probability(0.2).times(3));
    let request = request("pg", &[]);
    let volume = repeated(async || driver.create(&request).await).await.into_inner();
    assert_eq!(lab.sim.volumes().len(), 1);
    repeated(async || attach(&driver, &volume.id, HERE).await).await;
    assert_eq!(lab.holders(&volume.id), [HERE]);
    repeated(async || detach(&driver, &volume.id, HERE).await).await;
    repeated(async || driver.delete(&volume.id).await).await;
    assert!(lab.volumes_named("pg").is_empty());
}

/// Asks again as long as the error says that this may help, as callers do.
async fn repeated<T>(work: impl AsyncFn() -> Result<T>) -> T {
    for _ in 0..10 {
        match work().await {
            Ok(done) => return done,
            Err(error) => assert_eq!(error.kind(), Kind::Unavailable, "{error}"),
        }
    }
    panic!("not even after ten times");
}

#[tokio::test(flavor = "multi_thread")]
async fn look_ups_fail_or_are_right_but_never_say_that_nothing_is_there() {
    let seed = seed();
    let lab = Lab::with(|config| (config.disks, config.seed) = (None, seed)).await;
    let driver = lab.on_with(HERE, &FAST);
    create(&driver, "pg").await;
    let mut chance = Chance::new(seed);
    for _ in 0..40 {
        let effects = [Effect::Reset, Effect::DropAnswer, error("ServiceUnavailable", 503)];
        let effect = effects[chance.below(3) as usize].clone();
        lab.sim.inject(Fault::new(effect).on("Describe*").times(chance.below(12)));
        if let Ok(found) = driver.find(&named("pg")).await {
            assert!(found.is_some());
        }
        lab.sim.clear_faults();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_type_that_is_not_the_default_keeps_it_through_a_lost_answer() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    lab.sim.inject(Fault::new(Effect::DropAnswer).on("CreateVolume").times(2));
    let options = [("volumeType", "io2"), ("iops", "2000"), ("size", "8GiB"), ("fsType", "xfs")];
    let made = driver.create(&request("pg", &options)).await.unwrap().into_inner();
    assert_eq!(made.parameters.fs_type, Some(Fstype::Xfs));
    let real = lab.volume(&made.id);
    assert_eq!((real.kind.as_str(), real.iops, real.size), ("io2", Some(2000), 8));
    assert_eq!(lab.sim.volumes().len(), 1);
}
