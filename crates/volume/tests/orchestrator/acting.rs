//! What only some drivers do: their actions, claims that are lost, and attachments that are left.

use super::{mount, refused, with};
use error::Kind;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use testkit::failing::Fault;
use testkit::service::{request, standing, volume};
use volume::Orchestrator;
use volume::driver::{Attach, Driver, Report};
use volume::ledger::State;

async fn act(
    service: &Orchestrator,
    action: &str,
    subject: Option<&str>,
    options: &[(&str, &str)],
) -> error::Result<(Report, Vec<String>)> {
    let options: BTreeMap<_, _> =
        options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let told = move |text: &str| hears.lock().unwrap().push(text.to_owned());
    let report = service.act(action, subject, &options, &told).await?;
    let heard = heard.lock().unwrap().clone();
    Ok((report, heard))
}

#[tokio::test]
async fn an_action_reports_and_its_options_have_defaults_and_any_case() {
    let (_bench, service) = with(&["a", "b"]).await;
    let (report, heard) = act(&service, "count", None, &[]).await.unwrap();
    assert_eq!(report.rows, [["2", "disks"]]);
    assert_eq!(heard, ["looking"]);
    let (report, _) = act(&service, "count", None, &[("UNIT", "plates")]).await.unwrap();
    assert_eq!(report.rows, [["2", "plates"]]);
    assert_eq!(act(&service, "poke", Some("a"), &[]).await.unwrap().0.rows[0][0], "a");
}

#[tokio::test]
async fn what_an_action_does_not_take_is_refused_before_the_driver_is_asked() {
    let (bench, service) = with(&["a"]).await;
    let error = refused(act(&service, "pike", None, &[]).await, Kind::Unimplemented);
    assert!(error.message().contains("it has count, poke"), "{error}");
    let error = refused(act(&service, "poke", None, &[]).await, Kind::InvalidArgument);
    assert!(error.message().contains("the name of a volume"), "{error}");
    refused(act(&service, "count", Some("a"), &[]).await, Kind::InvalidArgument);
    refused(act(&service, "poke", Some("a/b"), &[]).await, Kind::InvalidArgument);
    let error =
        refused(act(&service, "count", None, &[("unti", "x")]).await, Kind::InvalidArgument);
    assert!(error.message().contains("did you mean unit?"), "{error}");
    assert_eq!(bench.failing.calls("act"), 0);
}

#[tokio::test]
async fn nothing_else_happens_to_a_volume_during_an_action_about_it() {
    let (bench, service) = with(&["a", "b"]).await;
    bench.failing.next("act", Fault::Hang);
    let acting = {
        let service = Arc::clone(&service);
        tokio::spawn(async move { act(&service, "poke", Some("a"), &[]).await.map(drop) })
    };
    while bench.failing.calls("act") == 0 {
        tokio::task::yield_now().await;
    }
    let mounting = {
        let service = Arc::clone(&service);
        tokio::spawn(async move { mount(&service, "a", "1").await.map(drop) })
    };
    mount(&service, "b", "1").await.unwrap();
    assert_eq!(bench.mounted(), ["b"], "the volume that is acted on waits");
    bench.failing.release();
    acting.await.unwrap().unwrap();
    mounting.await.unwrap().unwrap();
    assert_eq!(bench.mounted().len(), 2);
}

#[tokio::test]
async fn a_claim_that_is_lost_shuts_its_file_system_down_and_no_other() {
    let (bench, service) = with(&["a", "b"]).await;
    mount(&service, "a", "1").await.unwrap();
    mount(&service, "b", "1").await.unwrap();
    service.keep_up().await;
    assert_eq!(bench.count("shut_down"), 0);
    bench.disks.lose("a", "another machine took it");
    service.keep_up().await;
    let shut_down = format!("shut_down {}", bench.target("a").display());
    let calls = bench.fake.calls();
    let done: Vec<_> = calls.iter().filter(|call| call.starts_with("shut_down")).collect();
    assert_eq!(done, [&shut_down]);
}

#[tokio::test]
async fn a_disk_that_hangs_does_not_keep_another_from_being_shut_down() {
    let (bench, service) = with(&["a", "b"]).await;
    for name in ["a", "b"] {
        mount(&service, name, "1").await.unwrap();
        bench.disks.lose(name, "another machine took it");
    }
    let hangs = bench.fake.hang_next("shut_down");
    let keeping = tokio::spawn(async move { service.keep_up().await });
    for _ in 0..3000 {
        if bench.count("shut_down") == 2 {
            drop(hangs);
            return keeping.await.unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the second one waits for the first");
}

#[tokio::test]
async fn a_claim_that_is_lost_is_told_by_whoever_looks_until_the_volume_is_unmounted() {
    let (bench, service) = with(&["a", "b"]).await;
    for name in ["a", "b"] {
        mount(&service, name, "1").await.unwrap();
    }
    bench.disks.lose("a", "its lease was lost: another machine took it");
    service.keep_up().await;
    // A new start knows it too, and what the kernel shows does not hide it.
    let again = bench.open();
    again.sweep().await;
    for service in [&service, &again] {
        let fault = service.get(&volume("a")).await.unwrap().fault.unwrap();
        for word in ["since 20", "another machine took it", "unmount --all a"] {
            assert!(fault.contains(word), "{word}: {fault}");
        }
        assert_eq!(service.get(&volume("b")).await.unwrap().fault, None);
    }
    let error = refused(mount(&again, "a", "2").await, Kind::FailedPrecondition);
    assert!(error.message().contains("another machine took it"), "{error}");
    again.unmount_all(&volume("a")).await.unwrap();
    assert_eq!(again.get(&volume("a")).await.unwrap().fault, None);
    mount(&again, "a", "2").await.unwrap();
}

#[tokio::test]
async fn a_claim_that_is_lost_while_somebody_works_on_the_volume_is_on_record_later() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    bench.failing.next("act", Fault::Hang);
    let acting = {
        let service = Arc::clone(&service);
        tokio::spawn(async move { act(&service, "poke", Some("a"), &[]).await.map(drop) })
    };
    while bench.failing.calls("act") == 0 {
        tokio::task::yield_now().await;
    }
    bench.disks.lose("a", "another machine took it");
    service.keep_up().await;
    assert!(service.get(&volume("a")).await.unwrap().fault.is_some(), "told at once");
    bench.failing.release();
    acting.await.unwrap().unwrap();
    service.sweep().await;
    assert!(bench.open().get(&volume("a")).await.unwrap().fault.is_some(), "and after a restart");
}

#[tokio::test]
async fn a_claim_on_what_is_not_mounted_stands_in_nobodys_way() {
    let (bench, service) = with(&["a"]).await;
    service.attach(&volume("a")).await.unwrap();
    bench.disks.lose("a", "another machine took it");
    service.keep_up().await;
    assert_eq!(bench.count("shut_down"), 0);
    mount(&service, "a", "1").await.unwrap();
}

#[tokio::test]
async fn a_claim_that_cannot_be_kept_up_now_stops_no_writes() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    bench.failing.next("renew", Fault::Refuse(Kind::Unavailable));
    service.keep_up().await;
    assert_eq!((bench.failing.calls("renew"), bench.count("shut_down")), (1, 0));
}

#[tokio::test]
async fn no_claim_is_kept_up_where_nothing_is_in_use() {
    let (bench, service) = with(&["a"]).await;
    service.keep_up().await;
    mount(&service, "a", "1").await.unwrap();
    service.unmount(&volume("a"), "1").await.unwrap();
    service.keep_up().await;
    assert_eq!(bench.failing.calls("renew"), 0);
}

#[tokio::test]
async fn a_left_over_attachment_is_detached_and_one_in_the_ledger_is_not() {
    let (bench, service) = with(&["left", "used", "kept", "attached"]).await;
    let attach = |name: &'static str, keep| {
        let (disks, service) = (bench.disks.clone(), Arc::clone(&service));
        async move {
            let id = service.get(&volume(name)).await.unwrap().volume.id;
            let node = disks.node().await.unwrap();
            disks.attach(&id, &Attach { node, read_only: false, keep }).await.unwrap();
        }
    };
    attach("left", false).await;
    attach("kept", true).await;
    service.mount(&volume("used"), standing("1")).await.unwrap();
    service.attach(&volume("attached")).await.unwrap();
    service.detach_left_over().await;
    assert_eq!(bench.disks.attached(), ["attached", "kept", "used"]);
    assert_eq!(super::state(&service, "used"), Some(State::Mounted));
}

#[tokio::test]
async fn what_somebody_works_on_is_no_left_over() {
    let (bench, service) = with(&[]).await;
    service.create(request("a")).await.unwrap();
    bench.failing.next("attach", Fault::Hang);
    let mounting = {
        let service = Arc::clone(&service);
        tokio::spawn(async move { mount(&service, "a", "1").await.map(drop) })
    };
    while bench.failing.calls("attach") == 0 {
        tokio::task::yield_now().await;
    }
    let id = service.get(&volume("a")).await.unwrap().volume.id;
    let node = bench.disks.node().await.unwrap();
    bench.disks.attach(&id, &Attach { node, read_only: false, keep: false }).await.unwrap();
    service.detach_left_over().await;
    assert_eq!(bench.disks.attached(), ["a"]);
    bench.failing.release();
    mounting.await.unwrap().unwrap();
    assert_eq!(bench.mounted(), ["a"]);
}

#[tokio::test]
async fn a_back_end_that_does_not_say_what_is_attached_loses_nothing() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    bench.failing.next("attached", Fault::Refuse(Kind::Unavailable));
    service.detach_left_over().await;
    assert_eq!(bench.disks.attached(), ["a"]);
}
