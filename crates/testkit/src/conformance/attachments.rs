//! Cases about attach and detach.

use super::{Case, Site, already, always, cases, done, refused};
use error::Kind;
use host::{Content, Format, Host, MountRequest, Outcome, Ownership, What};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use volume::driver::Attach;
use volume::{Capabilities, NodeId, Source, Volume, VolumeId};

pub(super) fn cases() -> Vec<Case> {
    let all = cases![always;
        attaching_twice_answers_the_same_source,
        a_missing_volume_can_not_be_attached,
        a_volume_that_is_not_attached_is_detached_already,
        a_volume_that_was_detached_can_be_attached_again,
        this_machine_has_one_name,
    ];
    let devices = cases![has_devices;
        a_volume_that_is_mounted_is_neither_detached_nor_deleted,
    ];
    let shared = cases![|capabilities| capabilities.shared;
        a_volume_attached_elsewhere_is_refused_with_the_holder,
        a_volume_that_is_attached_is_not_deleted,
    ];
    all.into_iter().chain(devices).chain(shared).collect()
}

fn has_devices(capabilities: &Capabilities) -> bool {
    !capabilities.filesystems.is_empty()
}

async fn attaching_twice_answers_the_same_source(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    let first = site.attach(&driver, &volume).await.into_inner();
    assert_eq!(site.attach(&driver, &volume).await, Outcome::AlreadyDone(first.clone()));
    assert_eq!(matches!(first, Source::Device { .. }), has_devices(&driver.capabilities()));
    site.detach(&driver, &volume).await.expect("it is detached");
}

async fn a_missing_volume_can_not_be_attached(site: Site) {
    let driver = site.open();
    let node = driver.node().await.expect("the machine has a name");
    let attach = Attach { node, read_only: false, keep: false };
    refused(driver.attach(&VolumeId::new("a"), &attach).await, Kind::NotFound);
}

async fn a_volume_that_is_not_attached_is_detached_already(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    already(site.detach(&driver, &volume).await);
    driver.delete(&volume.id).await.expect("it is deleted");
    already(site.detach(&driver, &volume).await);
}

async fn a_volume_that_was_detached_can_be_attached_again(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    let first = site.attach(&driver, &volume).await;
    site.detach(&driver, &volume).await.expect("it is detached");
    already(site.detach(&driver, &volume).await);
    let again = site.attach(&driver, &volume).await;
    assert_eq!(again.is_done(), first.is_done());
    site.detach(&driver, &volume).await.expect("it is detached");
}

async fn this_machine_has_one_name(site: Site) {
    let name = site.open().node().await.expect("the machine has a name");
    assert!(!name.as_str().is_empty());
    assert_eq!(site.open().node().await.expect("the machine has a name"), name);
}

async fn a_volume_that_is_mounted_is_neither_detached_nor_deleted(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    let source = site.attach(&driver, &volume).await.into_inner();
    let target = mount(&site, &volume, &source);
    refused(site.detach(&driver, &volume).await, Kind::FailedPrecondition);
    refused(driver.delete(&volume.id).await, Kind::FailedPrecondition);
    assert_eq!(site.attach(&driver, &volume).await, Outcome::AlreadyDone(source));
    driver.get(&volume.id).await.expect("the volume is still there");
    site.host.unmount(&target).expect("it is unmounted");
    done(site.detach(&driver, &volume).await);
    done(driver.delete(&volume.id).await);
}

async fn a_volume_attached_elsewhere_is_refused_with_the_holder(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    let elsewhere = Attach { node: NodeId::new("elsewhere"), read_only: false, keep: false };
    driver.attach(&volume.id, &elsewhere).await.expect("it is attached");
    let here = Attach { node: driver.node().await.expect("a name"), ..elsewhere.clone() };
    let error = refused(driver.attach(&volume.id, &here).await, Kind::FailedPrecondition);
    assert!(error.message().contains("elsewhere"), "{error}");
    already(driver.detach(&volume.id, &here.node).await);
    done(driver.detach(&volume.id, &elsewhere.node).await);
    done(driver.attach(&volume.id, &here).await);
}

async fn a_volume_that_is_attached_is_not_deleted(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    site.attach(&driver, &volume).await;
    let error = refused(driver.delete(&volume.id).await, Kind::FailedPrecondition);
    let node = driver.node().await.expect("the machine has a name");
    assert!(error.message().contains(node.as_str()), "{error}");
    driver.get(&volume.id).await.expect("the volume is still there");
}

/// Mounts the volume's device, as the orchestrator would.
fn mount(site: &Site, volume: &Volume, source: &Source) -> PathBuf {
    let Source::Device { candidates, serial } = source else { panic!("{source:?} is no device") };
    let filesystem = volume.filesystem.clone().expect("a device has a file system");
    let host: &Arc<dyn Host> = &site.host;
    let device = host
        .wait_for(candidates, serial.as_deref(), Duration::from_secs(10))
        .expect("the device is there");
    if host.probe(&device).expect("the device can be read") == Content::Blank {
        let (fstype, uuid) = (filesystem.fstype, filesystem.uuid);
        let format = Format { fstype, uuid, options: Vec::new() };
        host.format(&device, &format).expect("a file system is made");
    }
    let target = site.dir.path().join("mounted");
    let fstype = filesystem.fstype.to_string();
    let request = MountRequest {
        what: What::Device { device, fstype },
        target: target.clone(),
        options: Vec::new(),
        read_only: false,
        subpath: None,
        ownership: Ownership::default(),
        drop_empty: Vec::new(),
    };
    host.mount(&request).expect("it is mounted");
    target
}
