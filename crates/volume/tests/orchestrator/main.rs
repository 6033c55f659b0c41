//! The orchestrator over disks in memory: who holds a volume, what goes on at once, what fails, what
//! a crash leaves, and what is copied.
#![allow(clippy::unwrap_used, missing_docs)]

mod abandoned;
mod acting;
mod concurrency;
mod consumers;
mod copying;
mod crashes;
mod faults;
mod options;
mod recovery;

use error::{Error, Kind, Result};
use host::Outcome;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use testkit::service::{Bench, request, standing, volume};
use volume::Orchestrator;
use volume::ledger::{Consumer, Entry, State};

/// A service with these volumes.
async fn with(names: &[&str]) -> (Bench, Arc<Orchestrator>) {
    let bench = Bench::default();
    let service = bench.open();
    for name in names {
        service.create(request(name)).await.unwrap();
    }
    (bench, service)
}

async fn mount(service: &Orchestrator, name: &str, id: &str) -> Result<PathBuf> {
    service.mount(&volume(name), standing(id)).await
}

async fn mount_for(service: &Orchestrator, name: &str, consumer: Consumer) {
    service.mount(&volume(name), consumer).await.unwrap();
}

async fn unmount(service: &Orchestrator, name: &str, id: &str) -> Result<Outcome> {
    service.unmount(&volume(name), id).await
}

/// The ledger's entry of a volume.
fn entry(service: &Orchestrator, name: &str) -> Option<Arc<Entry>> {
    service.in_use().into_iter().find(|entry| entry.name == volume(name))
}

fn state(service: &Orchestrator, name: &str) -> Option<State> {
    entry(service, name).map(|entry| entry.state)
}

fn consumers(service: &Orchestrator, name: &str) -> Vec<String> {
    let entry = entry(service, name);
    entry.iter().flat_map(|entry| &entry.consumers).map(|consumer| consumer.id.clone()).collect()
}

#[track_caller]
fn refused<T: Debug>(result: Result<T>, kind: Kind) -> Error {
    let error = result.expect_err("this must be refused");
    assert_eq!(error.kind(), kind, "{error:?}");
    error
}

/// Nothing of any volume is on this machine.
#[track_caller]
fn assert_nothing_left(bench: &Bench, service: &Orchestrator) {
    assert_eq!(bench.mounted(), Vec::<String>::new());
    assert_eq!(bench.disks.attached(), Vec::<String>::new());
    assert_eq!(service.in_use(), []);
}
