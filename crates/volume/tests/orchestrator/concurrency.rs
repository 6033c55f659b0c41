//! What goes on at once: one operation per volume, and nobody waits for another volume.

use super::{assert_nothing_left, consumers, mount, refused, unmount, with};
use error::Kind;
use std::sync::Arc;
use std::time::Duration;
use testkit::failing::Fault;
use testkit::service::{copy, request, standing, volume};
use tokio::task::JoinSet;
use tokio::time::timeout;
use volume::Origin;
use volume::driver::Page;
use volume::orchestrator::detached;

/// Longer than anything here takes; only a test that fails waits for it.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_mounts_of_one_volume_attach_it_once() {
    let (bench, service) = with(&["a"]).await;
    let mut calls = JoinSet::new();
    for n in 0..1000 {
        let service = Arc::clone(&service);
        calls.spawn(async move { mount(&service, "a", &n.to_string()).await });
    }
    let paths: Vec<_> = calls.join_all().await.into_iter().map(Result::unwrap).collect();
    assert!(paths.iter().all(|path| *path == bench.target("a")));
    assert_eq!(consumers(&service, "a").len(), 1000);
    assert_eq!((bench.failing.calls("attach"), bench.count("mount")), (1, 1));
    assert_eq!(bench.count("format"), 1);

    let mut calls = JoinSet::new();
    for n in 0..1000 {
        let service = Arc::clone(&service);
        calls.spawn(async move { unmount(&service, "a", &n.to_string()).await });
    }
    assert!(calls.join_all().await.iter().all(Result::is_ok));
    assert_eq!(bench.failing.calls("detach"), 1);
    assert_nothing_left(&bench, &service);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_volumes_are_mounted_at_once() {
    let (bench, service) = with(&[]).await;
    let mut calls = JoinSet::new();
    for n in 0..1000 {
        let service = Arc::clone(&service);
        calls.spawn(async move {
            let name = format!("v{n}");
            service.create(request(&name)).await?;
            mount(&service, &name, "1").await
        });
    }
    assert!(calls.join_all().await.iter().all(Result::is_ok));
    assert_eq!((bench.mounted().len(), bench.failing.calls("attach")), (1000, 1000));
    let mut calls = JoinSet::new();
    for n in 0..1000 {
        let service = Arc::clone(&service);
        calls.spawn(async move { unmount(&service, &format!("v{n}"), "1").await });
    }
    assert!(calls.join_all().await.iter().all(Result::is_ok));
    assert_nothing_left(&bench, &service);
}

/// Waits until a call of `operation` stands still.
async fn reached(bench: &testkit::service::Bench, operation: &str, calls: usize) {
    let waiting = async {
        while bench.failing.calls(operation) < calls {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, waiting).await.unwrap();
}

#[tokio::test]
async fn work_outlives_the_client_and_the_next_call_joins_it() {
    let (bench, service) = with(&["a"]).await;
    bench.failing.next("attach", Fault::Hang);
    let work = {
        let service = Arc::clone(&service);
        async move { mount(&service, "a", "1").await }
    };
    let client = tokio::spawn(detached(LONG, work));
    reached(&bench, "attach", 1).await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    let again = {
        let service = Arc::clone(&service);
        tokio::spawn(async move { mount(&service, "a", "1").await })
    };
    bench.failing.release();
    assert_eq!(timeout(LONG, again).await.unwrap().unwrap().unwrap(), bench.target("a"));
    assert_eq!((bench.failing.calls("attach"), bench.count("mount")), (1, 1));
    assert_eq!(consumers(&service, "a"), ["1"]);
}

#[tokio::test]
async fn a_client_that_waits_too_long_is_told_that_the_work_goes_on() {
    let (bench, service) = with(&["a"]).await;
    bench.failing.next("attach", Fault::Hang);
    let work = {
        let service = Arc::clone(&service);
        async move { mount(&service, "a", "1").await }
    };
    let error = refused(detached(Duration::from_millis(20), work).await, Kind::DeadlineExceeded);
    assert!(error.message().contains("still going on, and repeating the call joins it"), "{error}");
    bench.failing.release();
    timeout(LONG, mount(&service, "a", "1")).await.unwrap().unwrap();
    assert_eq!(bench.failing.calls("attach"), 1);
}

#[tokio::test]
async fn a_stuck_volume_delays_only_itself() {
    let (bench, service) = with(&["stuck", "b"]).await;
    bench.failing.next("attach", Fault::Hang);
    let stuck = {
        let service = Arc::clone(&service);
        tokio::spawn(async move { mount(&service, "stuck", "1").await })
    };
    reached(&bench, "attach", 1).await;
    let others = async {
        mount(&service, "b", "1").await.unwrap();
        unmount(&service, "b", "1").await.unwrap();
        let listed = service.list(&Page::default()).await.unwrap();
        assert_eq!(listed.entries.len(), 2);
        let view = service.get(&volume("stuck")).await.unwrap();
        assert_eq!(view.mountpoint, None);
        service.sweep().await;
    };
    timeout(LONG, others).await.expect("the stuck volume holds nobody up");
    assert!(!stuck.is_finished());
    bench.failing.release();
    timeout(LONG, stuck).await.unwrap().unwrap().unwrap();
    assert_eq!(bench.mounted(), ["stuck"]);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_never_answers_is_given_up_with_its_name() {
    let (bench, service) = with(&["a"]).await;
    bench.failing.next("find", Fault::Hang);
    let error = refused(mount(&service, "a", "1").await, Kind::DeadlineExceeded);
    assert!(
        error.message().starts_with("driver disks did not finish find of a within 50 s"),
        "{error}"
    );
    assert!(error.context().contains(&("operation", "find".to_owned())), "{error:?}");
    assert_nothing_left(&bench, &service);
    mount(&service, "a", "1").await.expect("the next call succeeds");
}

#[tokio::test(start_paused = true)]
async fn a_slow_driver_is_waited_for() {
    let (bench, service) = with(&["a"]).await;
    bench.failing.next("attach", Fault::Delay(Duration::from_secs(600)));
    mount(&service, "a", "1").await.unwrap();
    assert_eq!(bench.mounted(), ["a"]);
}

/// While something else holds one of the two, so that each clone has the lock that the other wants
/// next, if they do not take them in the same order.
#[tokio::test]
async fn two_volumes_cloned_from_each_other_do_not_wait_for_ever() {
    let (one, two) = (("a", "b"), ("b", "a"));
    for (held, pairs) in
        [("a", [one, two]), ("a", [two, one]), ("b", [one, two]), ("b", [two, one])]
    {
        let (bench, service) = with(&["a", "b"]).await;
        bench.failing.next("attach", Fault::Hang);
        let mut calls = JoinSet::new();
        let holder = Arc::clone(&service);
        calls.spawn(async move { mount(&holder, held, "1").await.map(drop) });
        reached(&bench, "attach", 1).await;
        for (name, of) in pairs {
            let service = Arc::clone(&service);
            let request = copy(name, Origin::Volume(volume(of)));
            calls.spawn(async move { service.create(request).await.map(drop) });
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
        bench.failing.release();
        let ended = timeout(LONG, calls.join_all()).await.expect("they end");
        assert_eq!(ended.iter().filter(|answer| answer.is_ok()).count(), 1, "the mount alone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_and_unmounts_at_once_end_with_the_last_word() {
    let (bench, service) = with(&["a"]).await;
    let mut calls = JoinSet::new();
    for n in 0..50 {
        let service = Arc::clone(&service);
        calls.spawn(async move {
            for _ in 0..10 {
                let id = n.to_string();
                service.mount(&volume("a"), standing(&id)).await.unwrap();
                assert!(service.unmount(&volume("a"), &id).await.unwrap().is_done());
            }
        });
    }
    calls.join_all().await;
    assert_nothing_left(&bench, &service);
    assert_eq!(bench.count("format"), 1);
}

#[tokio::test]
async fn a_service_is_retired_when_its_last_operation_has_ended() {
    let (_bench, service) = with(&[]).await;
    let operation = service.begin().await.unwrap();
    refused(service.retire(Duration::from_millis(20)).await, Kind::DeadlineExceeded);
    drop(service.begin().await.expect("it was not retired"));
    drop(operation);
    service.retire(LONG).await.unwrap();
    refused(service.begin().await, Kind::Aborted);
}
