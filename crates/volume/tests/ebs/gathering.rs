//! Changes of one volume that are asked for at the same time: AWS takes one call, and the next only
//! hours later.

use crate::devices::Machine;
use crate::lab::{HERE, Lab, named, refused, snapshot_named};
use ebs_sim::{Effect, Fault};
use error::{Kind, Result};
use host::Fstype;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use testkit::root::is_root;
use testkit::service::sized;
use tokio::join;
use volume::driver::Report;
use volume::orchestrator::Expanded;
use volume::{Orchestrator, Outcome, Size};

/// A service as it is set up usually, and a volume of 8 GiB in it.
async fn service(lab: &Lab) -> (Machine, Arc<Orchestrator>) {
    let machine = Machine::with(lab, HERE, &[]);
    machine.service.create(sized("pg", Size::gib(8))).await.unwrap();
    let service = Arc::clone(&machine.service);
    (machine, service)
}

async fn modify(service: &Orchestrator, option: &str, value: &str) -> Result<Report> {
    let options = BTreeMap::from([(option.to_owned(), value.to_owned())]);
    service.act("modify", Some("pg"), &options, &|_| {}).await
}

async fn expand(service: &Orchestrator, gib: u64) -> Result<Outcome<Expanded>> {
    service.expand(&named("pg"), Size::gib(gib)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_at_the_same_time_is_one_call() {
    let lab = Lab::without_disks().await;
    let (_machine, service) = service(&lab).await;
    let (larger, largest, faster, wider) = join!(
        expand(&service, 10),
        expand(&service, 12),
        modify(&service, "iops", "4000"),
        modify(&service, "throughput", "250"),
    );
    for expanded in [larger, largest] {
        assert_eq!(expanded.unwrap().into_inner().volume.size, Some(Size::gib(12)));
    }
    assert!(faster.unwrap().rows[0].contains(&"4000".to_owned()));
    assert!(wider.unwrap().rows[0].contains(&"250".to_owned()));
    assert_eq!(lab.count("ModifyVolume"), 1);
    let now = &lab.volumes_named("pg")[0];
    assert_eq!((now.size, now.iops, now.throughput), (12, Some(4000), Some(250)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_behind_something_else_is_one_call() {
    let lab = Lab::without_disks().await;
    let (_machine, service) = service(&lab).await;
    lab.sim.inject(Fault::new(Effect::Delay { ms: 3000 }).on("CreateSnapshot"));
    let snapshot = async { service.snapshot(&named("pg"), &snapshot_named("s")).await };
    let faster = async {
        while lab.count("CreateSnapshot") == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        modify(&service, "iops", "4000").await
    };
    let larger = async {
        // Later than a change waits for others by itself.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        expand(&service, 10).await
    };
    let (snapshot, faster, larger) = join!(snapshot, faster, larger);
    assert!(snapshot.unwrap().is_done() && larger.unwrap().is_done());
    assert!(faster.unwrap().rows[0].contains(&"4000".to_owned()));
    assert_eq!(lab.count("ModifyVolume"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_types_one_is_refused_naming_both() {
    let lab = Lab::without_disks().await;
    let (_machine, service) = service(&lab).await;
    let asked = join!(modify(&service, "volumeType", "io2"), modify(&service, "volumeType", "gp2"));
    let (done, other) = match asked {
        (Ok(done), other) | (other, Ok(done)) => (done, other),
        both => panic!("{both:?}"),
    };
    let error = refused(other, Kind::FailedPrecondition, "volumeType io2");
    assert!(error.message().contains("volumeType gp2"), "{error}");
    assert!(done.rows[0].contains(&lab.volumes_named("pg")[0].kind), "{done:?}");
    assert_eq!(lab.count("ModifyVolume"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_aws_refuses_of_one_does_not_stop_the_others() {
    let lab = Lab::without_disks().await;
    let (_machine, service) = service(&lab).await;
    let (larger, wrong) = join!(expand(&service, 10), modify(&service, "iops", "1"));
    assert!(larger.unwrap().is_done());
    refused(wrong, Kind::InvalidArgument, "iops");
    assert_eq!(lab.volumes_named("pg")[0].size, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounted_volume_that_several_expand_at_once_grows_to_what_all_of_them_want() {
    if !is_root() {
        return;
    }
    let lab = Lab::new().await;
    let machine = Machine::with(&lab, HERE, &[]);
    let mut request = sized("pg", Size::gib(1));
    // Any kernel lets it grow while it is mounted.
    request.asked.fs_type = Some(Fstype::Xfs);
    machine.service.create(request).await.unwrap();
    machine.mount("pg").await.unwrap();
    let service = &machine.service;
    let asked = join!(expand(service, 2), expand(service, 3), modify(service, "throughput", "250"));
    for expanded in [asked.0, asked.1] {
        let expanded = expanded.unwrap().into_inner();
        assert!(expanded.in_effect);
        assert_eq!(expanded.volume.filesystem.unwrap().covers, Some(Size::gib(3)));
    }
    asked.2.unwrap();
    assert_eq!(lab.count("ModifyVolume"), 1);
    machine.unmount("pg").await;
}
