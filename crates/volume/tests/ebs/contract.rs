//! The driver keeps the contract of all drivers, with real disks and every file system.

use crate::lab::{HERE, config, open};
use ebs_sim::{InstanceConfig, Simulator};
use host::Fstype;
use host::linux::Linux;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use testkit::conformance::{Subject, run};
use testkit::root::is_root;
use volume::Size;
use volume::drivers::ebs;

/// Each case has an account of its own, known by the directory that it opens the driver with.
fn subject() -> Subject {
    let accounts: Mutex<HashMap<PathBuf, Simulator>> = Mutex::default();
    let subject = Subject::new(&ebs::SPEC, || Arc::new(Linux::default())).sized(Size::gib(1));
    subject.opened_by(move |opening| {
        let mut accounts = accounts.lock().unwrap();
        let account = accounts.entry(opening.volumes.clone()).or_insert_with(|| {
            let mut config = config(opening.volumes.parent().unwrap());
            config.instances = vec![InstanceConfig::new(HERE), InstanceConfig::new("elsewhere")];
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(Simulator::start(config)).unwrap()
            })
        });
        open(&opening.volumes, account, HERE, &[], opening.calls.clone())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_driver_keeps_the_contract() {
    if !is_root() {
        return;
    }
    let cases = run(subject()).await;
    assert!(cases.len() > 40, "{cases:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_driver_keeps_the_contract_with_xfs() {
    if !is_root() {
        return;
    }
    run(subject().with(Fstype::Xfs)).await;
}
