//! Options with which a volume could not be mounted: told when it is created.

use super::*;
use host::{Fstype, Mounts};
use std::path::Path;
use volume::orchestrator::Request;
use volume::{Origin, Parameters};

fn with_options(name: &str, option: &str) -> Request {
    let mount_options = Some(vec![option.to_owned()]);
    Request { asked: Parameters { mount_options, ..Parameters::default() }, ..request(name) }
}

#[tokio::test]
async fn what_the_kernel_refuses_is_told_by_creation_and_nothing_is_made() {
    let (bench, service) = with(&[]).await;
    bench.fake.fail_next("check_options", Kind::InvalidArgument, "mount option x is refused");
    let error = refused(service.create(with_options("a", "x")).await, Kind::InvalidArgument);
    assert!(error.message().contains("mount option x is refused"), "{error}");
    assert!(service.find(&volume("a")).await.unwrap().is_none());
    service.create(with_options("a", "x")).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_is_told_by_creation_and_by_import() {
    let (_bench, service) = with(&[]).await;
    let wrong = || with_options("a", "logdev=/dev/sda");
    refused(service.create(wrong()).await, Kind::InvalidArgument);
    refused(service.import(wrong(), Path::new("/image")).await, Kind::InvalidArgument);
    let mkfs_options = Some(vec!["-F".to_owned()]);
    let asked = Parameters { mkfs_options, ..Parameters::default() };
    let error =
        refused(service.create(Request { asked, ..request("a") }).await, Kind::InvalidArgument);
    assert!(error.message().contains("\"-F\""), "{error}");
    assert!(service.find(&volume("a")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_volume_that_is_there_answers_whatever_its_options() {
    let (bench, service) = with(&[]).await;
    service.create(with_options("a", "x")).await.unwrap();
    bench.fake.fail_next("check_options", Kind::InvalidArgument, "mount option x is refused");
    assert!(!service.create(with_options("a", "x")).await.unwrap().is_done());
}

#[tokio::test]
async fn a_copy_of_any_file_system_may_have_what_one_of_them_takes() {
    let (bench, service) = with(&["a"]).await;
    let copy = || Request {
        origin: Some(Origin::Volume(volume("a"))),
        ..with_options("b", "compress=zstd")
    };
    let refuse = |times: usize| {
        for _ in 0..times {
            bench.fake.fail_next("check_options", Kind::InvalidArgument, "is refused");
        }
    };
    refuse(Fstype::ALL.len());
    refused(service.create(copy()).await, Kind::InvalidArgument);
    refuse(Fstype::ALL.len() - 1);
    service.create(copy()).await.unwrap();
    bench.fake.check_options(None, &[]).unwrap();
}
