//! Every driver keeps the contract: on a machine in memory and, as root, on this one.
#![allow(clippy::unwrap_used, missing_docs)]

use host::fake::Fake;
use host::linux::Linux;
use host::{Fstype, Host};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use testkit::conformance::{Subject, run};
use testkit::disks::{self, Disks};
use testkit::images::Images;
use testkit::root::is_root;
use volume::{Spec, drivers};

/// The drivers that need nothing but a machine; the others have tests of their own.
fn local() -> impl Iterator<Item = &'static Spec> {
    drivers::ALL.into_iter().filter(|spec| spec.name != "ebs")
}

fn in_memory() -> Arc<dyn Host> {
    Arc::new(Images::default())
}

fn this_machine() -> Arc<dyn Host> {
    Arc::new(Linux::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_driver_keeps_the_contract_on_a_machine_in_memory() {
    for spec in local() {
        let cases = run(Subject::new(spec, in_memory)).await;
        assert!(cases.len() > 15, "{}: {cases:?}", spec.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_driver_keeps_the_contract_on_this_machine() {
    if !is_root() {
        return;
    }
    for spec in local() {
        run(Subject::new(spec, this_machine)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_keep_the_contract_with_every_file_system() {
    if !is_root() {
        return;
    }
    for fstype in [Fstype::Xfs, Fstype::Btrfs] {
        run(Subject::new(&drivers::r#loop::SPEC, this_machine).with(fstype)).await;
    }
}

/// The driver that the tests of the orchestrator stand on is no more lenient than the real ones.
#[tokio::test]
async fn disks_in_memory_keep_the_contract() {
    // Every case has a machine of its own, and opens its driver on that.
    let machine = Arc::new(Mutex::new(Fake::default()));
    let opened = Mutex::new(BTreeMap::new());
    let fresh = Arc::clone(&machine);
    let subject = Subject::new(&disks::SPEC, move || {
        *fresh.lock().unwrap() = Fake::default();
        Arc::new(fresh.lock().unwrap().clone())
    });
    let subject = subject.opened_by(move |opening| {
        let fake = machine.lock().unwrap().clone();
        let mut opened = opened.lock().unwrap();
        let disks = opened.entry(opening.volumes.clone()).or_insert_with(|| Disks::new(fake));
        Ok(Arc::new(disks.clone()))
    });
    run(subject).await;
}
