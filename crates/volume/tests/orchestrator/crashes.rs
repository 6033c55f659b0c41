//! The program dies before and after every call that changes something; the next start puts right
//! what it left, and the same call again succeeds.

use error::Result;
use std::pin::Pin;
use std::sync::Arc;
use testkit::crash::Crash;
use testkit::service::{Bench, copy, request, snapshot, standing, volume};
use volume::ledger::State;
use volume::{Orchestrator, Origin, Size};

type Doing = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// What is done before the crash, and what the crash interrupts.
#[derive(Clone, Copy)]
struct Story {
    before: fn(Arc<Orchestrator>) -> Doing,
    operation: fn(Arc<Orchestrator>) -> Doing,
    /// What is mounted and attached once the operation is done.
    mounted: &'static [&'static str],
    attached: &'static [&'static str],
}

/// Crashes the operation everywhere; answers how many places there were.
async fn crash_everywhere(story: Story) -> usize {
    for place in 1.. {
        let bench = Bench::default();
        (story.before)(bench.open()).await.expect("without a crash it succeeds");
        let crash = Crash::at(place);
        let mut dying = bench.service.clone();
        dying.host = crash.host(dying.host);
        dying.driver = crash.driver(dying.driver);
        let Some(ended) = crash.run((story.operation)(dying.open())).await else {
            put_right(&bench, story, &crash.place()).await;
            continue;
        };
        ended.expect("without a crash it succeeds");
        assert_eq!((bench.mounted(), bench.disks.attached()), expected(story));
        return place - 1;
    }
    unreachable!("no operation has that many places")
}

fn expected(story: Story) -> (Vec<String>, Vec<String>) {
    let spelled = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    (spelled(story.mounted), spelled(story.attached))
}

async fn put_right(bench: &Bench, story: Story, place: &str) {
    let service = bench.open();
    service.recover().await;
    assert_consistent(bench, &service, place);
    let again = (story.operation)(Arc::clone(&service)).await;
    again.unwrap_or_else(|error| panic!("again, after a crash {place}: {error:?}"));
    assert_eq!((bench.mounted(), bench.disks.attached()), expected(story), "{place}");
    assert_consistent(bench, &service, place);
}

/// The ledger says what is mounted and attached, and nothing is on its way any more.
#[track_caller]
fn assert_consistent(bench: &Bench, service: &Orchestrator, place: &str) {
    let entries = service.in_use();
    let named = |wanted: &dyn Fn(State) -> bool| -> Vec<String> {
        let entries = entries.iter().filter(|entry| wanted(entry.state));
        entries.map(|entry| entry.name.to_string()).collect()
    };
    let is_settled = |state| matches!(state, State::Mounted | State::Attached);
    assert_eq!(bench.mounted(), named(&|state| state == State::Mounted), "{place}");
    assert_eq!(bench.disks.attached(), named(&|_| true), "{place}");
    assert!(entries.iter().all(|entry| is_settled(entry.state)), "{place}: {entries:?}");
    let formats: Vec<_> =
        bench.fake.calls().into_iter().filter(|call| call.starts_with("format")).collect();
    let mut devices = formats.clone();
    devices.dedup();
    assert_eq!(formats, devices, "formatted twice, {place}");
}

fn created(service: Arc<Orchestrator>) -> Doing {
    Box::pin(async move { service.create(request("a")).await.map(drop) })
}

fn mounted(service: Arc<Orchestrator>) -> Doing {
    Box::pin(async move {
        created(Arc::clone(&service)).await?;
        service.mount(&volume("a"), standing("1")).await.map(drop)
    })
}

fn attached(service: Arc<Orchestrator>) -> Doing {
    Box::pin(async move {
        created(Arc::clone(&service)).await?;
        service.attach(&volume("a")).await.map(drop)
    })
}

#[tokio::test]
async fn a_first_mount() {
    let story = Story { before: created, operation: mounted, mounted: &["a"], attached: &["a"] };
    assert!(crash_everywhere(story).await >= 8);
}

#[tokio::test]
async fn a_mount_of_what_is_attached_by_hand() {
    let story = Story { before: attached, operation: mounted, mounted: &["a"], attached: &["a"] };
    assert!(crash_everywhere(story).await >= 8);
}

#[tokio::test]
async fn a_last_unmount() {
    let operation = |service: Arc<Orchestrator>| -> Doing {
        Box::pin(async move { service.unmount(&volume("a"), "1").await.map(drop) })
    };
    let story = Story { before: mounted, operation, mounted: &[], attached: &[] };
    assert!(crash_everywhere(story).await >= 4);
}

#[tokio::test]
async fn a_forced_removal() {
    let operation = |service: Arc<Orchestrator>| -> Doing {
        Box::pin(async move { service.remove(&volume("a"), true).await.map(drop) })
    };
    let story = Story { before: mounted, operation, mounted: &[], attached: &[] };
    assert!(crash_everywhere(story).await >= 6);
}

#[tokio::test]
async fn an_attachment_by_hand() {
    let story = Story { before: created, operation: attached, mounted: &[], attached: &["a"] };
    assert!(crash_everywhere(story).await >= 2);
}

#[tokio::test]
async fn a_detachment_by_hand() {
    let operation = |service: Arc<Orchestrator>| -> Doing {
        Box::pin(async move { service.detach(&volume("a")).await.map(drop) })
    };
    let story = Story { before: attached, operation, mounted: &[], attached: &[] };
    assert!(crash_everywhere(story).await >= 2);
}

#[tokio::test]
async fn an_expansion_of_a_mounted_volume() {
    let operation = |service: Arc<Orchestrator>| -> Doing {
        Box::pin(async move {
            let expanded = service.expand(&volume("a"), Size::gib(2)).await?.into_inner();
            assert!(expanded.in_effect);
            Ok(())
        })
    };
    let story = Story { before: mounted, operation, mounted: &["a"], attached: &["a"] };
    assert!(crash_everywhere(story).await >= 6);
}

#[tokio::test]
async fn a_snapshot_of_a_mounted_volume() {
    let operation = |service: Arc<Orchestrator>| -> Doing {
        Box::pin(async move {
            service.snapshot(&volume("a"), &snapshot("s")).await?;
            service.snapshot(&volume("a"), &snapshot("s2")).await.map(drop)
        })
    };
    let story = Story { before: mounted, operation, mounted: &["a"], attached: &["a"] };
    assert!(crash_everywhere(story).await >= 4);
}

#[tokio::test]
async fn a_clone_that_is_mounted_beside_its_source() {
    let operation = |service: Arc<Orchestrator>| -> Doing {
        Box::pin(async move {
            service.create(copy("b", Origin::Volume(volume("a")))).await?;
            service.mount(&volume("b"), standing("1")).await.map(drop)
        })
    };
    let story = Story { before: mounted, operation, mounted: &["a", "b"], attached: &["a", "b"] };
    assert!(crash_everywhere(story).await >= 10);
}
