//! What fails: nothing is left behind, nothing foreign is touched, and what could not be cleaned up
//! is tried again.

use super::{assert_nothing_left, consumers, entry, mount, refused, state, unmount, with};
use error::Kind;
use host::{Content, Fstype, MountRequest, Mounts, Ownership, Superblock, What};
use std::path::Path;
use testkit::failing::Fault;
use testkit::service::{request, snapshot, volume};
use uuid::Uuid;
use volume::Size;
use volume::driver::Page;
use volume::ledger::State;
use volume::orchestrator::View;

fn filesystem(fstype: Fstype) -> Content {
    let uuid = Uuid::from_u128(1);
    Content::Filesystem(Superblock { fstype, uuid, bytes: 1 << 30, needs_check: false })
}

#[tokio::test]
async fn a_disk_with_anything_on_it_is_never_formatted() {
    for content in [
        Content::Foreign("LVM2_member".to_owned()),
        Content::Foreign("data at offset 4096 without a known signature".to_owned()),
        filesystem(Fstype::Ext4),
        filesystem(Fstype::Xfs),
    ] {
        let (bench, service) = with(&["a"]).await;
        bench.disks.write("a", content);
        let error = refused(mount(&service, "a", "1").await, Kind::FailedPrecondition);
        assert!(error.message().contains("left untouched"), "{error}");
        assert_eq!((bench.count("format"), bench.count("mount")), (0, 0));
        assert_nothing_left(&bench, &service);
    }
}

#[tokio::test]
async fn a_disk_that_lost_its_data_is_not_formatted_again() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    unmount(&service, "a", "1").await.unwrap();
    bench.disks.write("a", Content::Blank);
    let error = refused(mount(&service, "a", "1").await, Kind::FailedPrecondition);
    assert!(error.message().contains("its data is gone"), "{error}");
    assert_eq!(bench.count("format"), 1);
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn a_volume_whose_record_is_damaged_is_shown_and_nothing_is_done_to_it() {
    let (bench, service) = with(&["a", "fine"]).await;
    bench.disks.damage("a", "its record is torn; put it back");
    let listed = service.list(&Page::default()).await.unwrap().entries;
    let faults: Vec<_> = listed.iter().map(|view| view.fault.as_deref()).collect();
    assert_eq!(faults, [Some("its record is torn; put it back"), None]);
    let shown = service.get(&volume("a")).await.unwrap();
    assert_eq!(shown.fault, listed[0].fault);
    for refusal in [
        mount(&service, "a", "1").await.map(drop),
        service.attach(&volume("a")).await.map(drop),
        service.create(request("a")).await.map(drop),
        service.remove(&volume("a"), true).await.map(drop),
        service.expand(&volume("a"), Size::gib(2)).await.map(drop),
        service.snapshot(&volume("a"), &snapshot("s")).await.map(drop),
    ] {
        let error = refused(refusal, Kind::FailedPrecondition);
        assert!(error.message().contains("its record is torn; put it back"), "{error}");
    }
    assert_eq!(
        (bench.count("format"), bench.count("mount"), bench.disks.attached().len()),
        (0, 0, 0)
    );
    assert!(service.get(&volume("a")).await.is_ok(), "it is still there");
}

#[tokio::test]
async fn a_volume_whose_record_is_damaged_while_it_is_used_can_be_given_back() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    bench.disks.damage("a", "its record is torn");
    assert_eq!(
        service.get(&volume("a")).await.unwrap().fault.as_deref(),
        Some("its record is torn")
    );
    unmount(&service, "a", "1").await.unwrap();
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn a_volume_that_another_machine_has_says_where_it_is() {
    let (bench, service) = with(&["a", "b", "free"]).await;
    mount(&service, "a", "1").await.unwrap();
    bench.disks.attach_elsewhere("b", "there");
    let listed = service.list(&Page::default()).await.unwrap().entries;
    let at = |view: &View| view.elsewhere.iter().map(ToString::to_string).collect::<Vec<_>>();
    let at: Vec<_> = listed.iter().map(at).collect();
    assert_eq!(at, [vec![], vec!["there".to_owned()], vec![]], "this machine is not elsewhere");
    assert_eq!(service.get(&volume("b")).await.unwrap().elsewhere.len(), 1);
}

#[tokio::test]
async fn an_unreadable_disk_is_not_blank() {
    let (bench, service) = with(&["a"]).await;
    bench.fake.fail_next("probe", Kind::Internal, "Input/output error");
    refused(mount(&service, "a", "1").await, Kind::Internal);
    assert_eq!(bench.count("format"), 0);
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn a_mount_that_fails_on_the_machine_leaves_nothing() {
    for call in ["wait_for", "probe", "size", "format", "mount", "ensure_shared"] {
        let (bench, service) = with(&["a"]).await;
        bench.fake.fail_next(call, Kind::Unavailable, "told to fail");
        let error = refused(mount(&service, "a", "1").await, Kind::Unavailable);
        assert_eq!(error.message(), "told to fail", "{call}");
        assert_nothing_left(&bench, &service);
        mount(&service, "a", "1").await.expect("the next one succeeds");
        assert_eq!(bench.mounted(), ["a"]);
    }
}

#[tokio::test]
async fn a_mount_that_fails_in_the_driver_leaves_nothing() {
    for operation in ["attach", "record_filesystem", "node", "find"] {
        for fault in [Fault::Refuse(Kind::Unavailable), Fault::Lose(Kind::Unavailable)] {
            let (bench, service) = with(&["a"]).await;
            bench.failing.next(operation, fault);
            let error = refused(mount(&service, "a", "1").await, Kind::Unavailable);
            let context = error.context();
            assert!(context.contains(&("operation", operation.to_owned())), "{error:?}");
            assert!(context.contains(&("driver", "disks".to_owned())), "{error:?}");
            assert_nothing_left(&bench, &service);
            mount(&service, "a", "1").await.expect("the next one succeeds");
        }
    }
}

#[tokio::test]
async fn a_clean_up_that_fails_is_tried_again_and_the_first_failure_is_told() {
    let (bench, service) = with(&["a"]).await;
    bench.fake.fail_next("mount", Kind::Internal, "no such superblock");
    bench.failing.next("detach", Fault::Refuse(Kind::Unavailable));
    let error = refused(mount(&service, "a", "1").await, Kind::Internal);
    assert_eq!(error.message(), "no such superblock");
    assert_eq!(
        (state(&service, "a"), bench.disks.attached()),
        (Some(State::Releasing), vec!["a".into()])
    );
    assert_eq!(consumers(&service, "a"), Vec::<String>::new());
    service.sweep().await;
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn a_volume_that_can_not_be_unmounted_is_tried_again() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    bench.fake.fail_next("unmount", Kind::FailedPrecondition, "in use by sh (pid 7)");
    let error = refused(unmount(&service, "a", "1").await, Kind::FailedPrecondition);
    assert!(error.message().contains("sh (pid 7)"), "{error}");
    assert_eq!((state(&service, "a"), bench.mounted()), (Some(State::Releasing), vec!["a".into()]));
    service.sweep().await;
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn a_volume_that_is_being_released_can_be_mounted_again() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    bench.fake.fail_next("unmount", Kind::FailedPrecondition, "busy");
    refused(unmount(&service, "a", "1").await, Kind::FailedPrecondition);
    mount(&service, "a", "2").await.unwrap();
    service.sweep().await;
    assert_eq!((bench.mounted(), consumers(&service, "a")), (vec!["a".into()], vec!["2".into()]));
}

#[tokio::test]
async fn a_volume_that_a_container_still_holds_is_detached_when_it_lets_go() {
    let (bench, service) = with(&["a"]).await;
    mount(&service, "a", "1").await.unwrap();
    let device = bench.disks.device("a");
    bench.fake.hold(&device, true);
    unmount(&service, "a", "1").await.expect("the caller has given it back");
    service.sweep().await;
    assert_eq!((bench.mounted(), bench.disks.attached()), (vec![], vec!["a".to_owned()]));
    bench.fake.hold(&device, false);
    service.sweep().await;
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn an_attachment_whose_answer_was_lost_is_undone() {
    let (bench, service) = with(&["a"]).await;
    bench.failing.next("attach", Fault::Lose(Kind::Unavailable));
    refused(service.attach(&volume("a")).await, Kind::Unavailable);
    assert_nothing_left(&bench, &service);
    bench.fake.fail_next("wait_for", Kind::DeadlineExceeded, "no device");
    refused(service.attach(&volume("a")).await, Kind::DeadlineExceeded);
    assert_nothing_left(&bench, &service);
}

#[tokio::test]
async fn a_mount_that_was_dropped_half_way_is_cleaned_up() {
    let (bench, service) = with(&["a"]).await;
    bench.failing.next("record_filesystem", Fault::Hang);
    {
        let mounting = mount(&service, "a", "1");
        tokio::pin!(mounting);
        while bench.failing.calls("record_filesystem") == 0 {
            tokio::select! {
                biased;
                _ = &mut mounting => panic!("it stands still"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    assert_eq!((state(&service, "a"), bench.mounted()), (Some(State::Preparing), vec!["a".into()]));
    service.sweep().await;
    assert_nothing_left(&bench, &service);
}

/// A mount by hand, by somebody else.
fn mount_by_hand(fake: &impl Mounts, source: &str, target: &Path) {
    let request = MountRequest {
        what: What::Network { fstype: "tmpfs".to_owned(), source: source.to_owned() },
        target: target.to_owned(),
        options: Vec::new(),
        read_only: false,
        subpath: None,
        ownership: Ownership::default(),
        drop_empty: Vec::new(),
    };
    fake.mount(&request).unwrap();
}

#[tokio::test]
async fn what_somebody_else_mounted_at_the_target_is_left_alone() {
    let (bench, service) = with(&["a"]).await;
    mount_by_hand(&bench.fake, "foreign", &bench.target("a"));
    let error = refused(mount(&service, "a", "1").await, Kind::FailedPrecondition);
    assert!(error.message().contains("already the mount point of something else"), "{error}");
    service.sweep().await;
    let shown = bench.fake.at(&bench.target("a")).unwrap().unwrap();
    assert_eq!(shown.source, "foreign");
    assert_eq!((service.in_use(), bench.disks.attached()), (vec![], vec![]));
}

#[tokio::test]
async fn a_path_is_never_answered_for_another_mount_or_none() {
    let (bench, service) = with(&["a"]).await;
    let target = mount(&service, "a", "1").await.unwrap();
    bench.fake.unmount(&target).unwrap();
    service.sweep().await;
    let fault = service.get(&volume("a")).await.unwrap().fault.unwrap();
    assert!(fault.contains("unmounted by somebody else"), "{fault}");
    assert_eq!(mount(&service, "a", "2").await.unwrap(), target);
    assert_eq!(
        (bench.mounted(), consumers(&service, "a")),
        (vec!["a".into()], vec!["1".into(), "2".into()])
    );
    service.sweep().await;
    assert_eq!(service.get(&volume("a")).await.unwrap().fault, None);

    bench.fake.unmount(&target).unwrap();
    mount_by_hand(&bench.fake, "foreign", &target);
    let error = refused(mount(&service, "a", "3").await, Kind::FailedPrecondition);
    assert!(error.message().contains("foreign"), "{error}");
    assert_eq!(bench.fake.at(&target).unwrap().unwrap().source, "foreign");
}

#[tokio::test]
async fn a_ledger_that_can_not_be_written_fails_the_mount_and_leaves_nothing_attached() {
    let (bench, service) = with(&["a"]).await;
    std::fs::remove_dir_all(bench.service.root.join("ledger")).unwrap();
    refused(mount(&service, "a", "1").await, Kind::NotFound);
    assert!(entry(&service, "a").is_none());
    assert_eq!((bench.mounted(), bench.disks.attached()), (vec![], Vec::<String>::new()));
    assert_eq!(bench.failing.calls("attach"), 0, "nothing is done that is not written down");
}
