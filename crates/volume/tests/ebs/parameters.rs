//! What cannot be is refused before AWS is asked for anything.

use crate::lab::{HERE, Lab, act, refused, request};
use error::Kind;

type Options<'a> = &'a [(&'a str, &'a str)];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_is_told_without_a_call() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let long = "x".repeat(7000);
    let many = format!("a={}", "x".repeat(300));
    let wrong: [(Options<'_>, Kind, &str); 15] = [
        (&[("volumeType", "io2"), ("size", "8GiB")], Kind::InvalidArgument, "needs iops"),
        (&[("volumeType", "st1")], Kind::OutOfRange, "125 to"),
        (&[("volumeType", "gp2"), ("iops", "100")], Kind::InvalidArgument, "gp3"),
        (&[("size", "100TiB")], Kind::OutOfRange, "65536"),
        (&[("iops", "1")], Kind::OutOfRange, "3000"),
        (&[("iops", "3000"), ("iopsPerGB", "3")], Kind::InvalidArgument, "one of them"),
        (&[("throughput", "9999")], Kind::OutOfRange, "2000"),
        (&[("multiAttach", "true")], Kind::InvalidArgument, "io2"),
        (&[("encryptionKey", "k"), ("encrypted", "false")], Kind::InvalidArgument, "leave one"),
        (&[("tags", "novalue")], Kind::InvalidArgument, "key=value"),
        (&[("tags", "Name=x")], Kind::InvalidArgument, "taken"),
        (&[("tags", &many)], Kind::InvalidArgument, "255"),
        (&[("mkfsOptions", &long)], Kind::OutOfRange, "fewer"),
        (&[("snapshot", "s"), ("tags", "aws:x=1")], Kind::InvalidArgument, "taken"),
        (&[("clone", "c"), ("volumeType", "st1"), ("size", "1GiB")], Kind::OutOfRange, "125 to"),
    ];
    for (options, kind, words) in wrong {
        refused(driver.create(&request("pg", options)).await, kind, words);
    }
    assert!(lab.sim.calls().is_empty(), "{:?}", lab.sim.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_mkfs_would_refuse_is_told_before_a_volume_is_made() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let wrong: [(Options<'_>, &str); 3] = [
        (&[("mkfsOptions", "-m many")], "percent"),
        (&[("fsType", "xfs"), ("mkfsOptions", "-m reflink=2")], "too large"),
        (&[("mkfsOptions", "-O ^has_journal -F")], "-F"),
    ];
    for (options, words) in wrong {
        refused(driver.create(&request("pg", options)).await, Kind::InvalidArgument, words);
    }
    let calls = lab.sim.calls();
    assert!(!calls.contains_key("CreateVolume"), "{calls:?}");
    let options = [("size", "64TiB"), ("mkfsOptions", "-T largefile4 -m 1")];
    assert!(driver.create(&request("pg", &options)).await.unwrap().is_done());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_action_is_told_without_a_call() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let wrong: [(&str, &str, Options<'_>, Kind, &str); 8] = [
        ("modify", "pg", &[], Kind::InvalidArgument, "say what"),
        ("modify", "pg", &[("volumeType", "gp9")], Kind::InvalidArgument, "gp3"),
        ("modify", "pg", &[("volumeType", "st1"), ("size", "1GiB")], Kind::OutOfRange, "125"),
        ("modify", "../x", &[("iops", "3000")], Kind::InvalidArgument, "name"),
        ("take", "a b", &[("force", "true")], Kind::InvalidArgument, "name"),
        ("copy-snapshot", "s", &[], Kind::InvalidArgument, "region"),
        ("orphans", "", &[("pricePerGiB", "-1")], Kind::InvalidArgument, "price"),
        ("no-such", "", &[], Kind::Unimplemented, "no-such"),
    ];
    for (action, subject, options, kind, words) in wrong {
        refused(act(&driver, action, subject, options).await, kind, words);
    }
    assert!(lab.sim.calls().is_empty(), "{:?}", lab.sim.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_none_of_ebs_is_not_asked_for() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let id = volume::VolumeId::new("../../etc/passwd");
    refused(driver.get(&id).await, Kind::NotFound, "no EBS volume");
    assert!(!driver.delete(&id).await.unwrap().is_done());
    let node = volume::NodeId::new(HERE);
    assert!(!driver.detach(&id, &node).await.unwrap().is_done());
    assert!(lab.sim.calls().is_empty(), "{:?}", lab.sim.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_wrong_options_does_not_open() {
    let lab = Lab::without_disks().await;
    for (options, words) in [
        ([("endpoint", "localhost")], "URL"),
        ([("accessKey", "a")], "belong together"),
        ([("tags", "x")], "key=value"),
        ([("waitTimeout", "9999")], "give 1 to 3600"),
    ] {
        refused(lab.open(HERE, &options).map(drop), Kind::InvalidArgument, words);
    }
}
