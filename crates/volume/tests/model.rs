//! Random sequences of operations, restarts, reboots and failures against the reference model.
#![allow(clippy::unwrap_used, missing_docs)]

use error::{Kind, Result};
use host::{Content, Disks as _, Outcome};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use testkit::failing::Fault;
use testkit::model::{Disk, Ending, Model, Operation};
use testkit::service::{Bench, copy, sized, snapshot, standing, volume};
use uuid::Uuid;
use volume::driver::Page;
use volume::{Orchestrator, Origin, Size};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// What goes wrong during an operation.
#[derive(Debug, Clone)]
enum Trouble {
    None,
    /// The machine fails the next call of this method.
    Host(&'static str),
    /// The driver refuses the next call of this method.
    Refuse(&'static str),
    /// The driver does it and loses the answer.
    Lose(&'static str),
}

fn operation() -> impl Strategy<Value = Operation> {
    let name = || prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
    let id = || prop::sample::select(&["1", "2", "3"][..]).prop_map(str::to_owned);
    let size = || (1..4u64).prop_map(Size::gib);
    prop_oneof![
        4 => (name(), size()).prop_map(|(name, size)| Operation::Create(name, size)),
        1 => (name(), name()).prop_map(|(name, of)| Operation::Clone(name, of)),
        1 => (name(), id()).prop_map(|(name, of)| Operation::Restore(name, of)),
        2 => name().prop_map(Operation::Remove),
        6 => (name(), id()).prop_map(|(name, id)| Operation::Mount(name, id)),
        6 => (name(), id()).prop_map(|(name, id)| Operation::Unmount(name, id)),
        1 => name().prop_map(Operation::UnmountAll),
        1 => name().prop_map(Operation::Attach),
        1 => name().prop_map(Operation::Detach),
        2 => (name(), size()).prop_map(|(name, size)| Operation::Expand(name, size)),
        2 => (name(), id()).prop_map(|(name, id)| Operation::Snapshot(name, id)),
        1 => id().prop_map(Operation::RemoveSnapshot),
        1 => Just(Operation::Sweep),
        2 => Just(Operation::Restart),
        1 => Just(Operation::Reboot),
    ]
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let host = [
        "at",
        "table",
        "mount",
        "unmount",
        "wait_for",
        "size",
        "probe",
        "is_held",
        "format",
        "set_uuid",
        "grow",
        "freeze",
        "thaw",
        "resize_image",
        "other_users",
    ];
    let driver = [
        "node",
        "create",
        "delete",
        "get",
        "find",
        "attach",
        "detach",
        "expand",
        "record_filesystem",
        "snapshot",
        "delete_snapshot",
    ];
    prop_oneof![
        4 => Just(Trouble::None),
        2 => prop::sample::select(host.to_vec()).prop_map(Trouble::Host),
        1 => prop::sample::select(driver.to_vec()).prop_map(Trouble::Refuse),
        1 => prop::sample::select(driver.to_vec()).prop_map(Trouble::Lose),
    ]
}

/// The service under test beside its model.
struct Pair {
    bench: Bench,
    service: Arc<Orchestrator>,
    model: Model,
    /// The file system that each device was seen with, by device.
    seen: BTreeMap<PathBuf, Uuid>,
    /// How often mkfs was told to fail.
    failed_formats: usize,
}

impl Pair {
    fn new() -> Self {
        let bench = Bench::default();
        let service = bench.open();
        let (model, seen) = (Model::default(), BTreeMap::new());
        Self { bench, service, model, seen, failed_formats: 0 }
    }

    async fn step(&mut self, operation: &Operation, trouble: &Trouble) {
        // The machine goes down by itself, not by calls that could fail.
        let trouble = if *operation == Operation::Reboot { &Trouble::None } else { trouble };
        self.arm(trouble);
        let before = self.model.clone();
        let expected = self.model.apply(operation);
        let ending = self.perform(operation).await;
        // What the operation did not meet must not fail what comes later.
        self.bench.fake.fail_no_more();
        self.bench.failing.release();
        match ending {
            Err(Kind::Unavailable) if !matches!(trouble, Trouble::None) => {
                self.settle().await;
                self.adopt(&before).await;
            }
            ending => {
                assert_eq!(ending, to_result(expected), "{operation:?} with {trouble:?}");
                if !matches!(trouble, Trouble::None) {
                    self.settle().await;
                }
            }
        }
        self.compare(operation, trouble).await;
    }

    fn arm(&mut self, trouble: &Trouble) {
        match trouble {
            Trouble::None => {}
            Trouble::Host(call) => {
                self.failed_formats += usize::from(*call == "format");
                self.bench.fake.fail_next(call, Kind::Unavailable, "as it was told to");
            }
            Trouble::Refuse(call) => {
                self.bench.failing.next(call, Fault::Refuse(Kind::Unavailable));
            }
            Trouble::Lose(call) => self.bench.failing.next(call, Fault::Lose(Kind::Unavailable)),
        }
    }

    async fn perform(&mut self, operation: &Operation) -> std::result::Result<Ending, Kind> {
        let service = Arc::clone(&self.service);
        match operation {
            Operation::Create(name, size) => ending(service.create(sized(name, *size)).await),
            Operation::Clone(name, of) => {
                ending(service.create(copy(name, Origin::Volume(volume(of)))).await)
            }
            Operation::Restore(name, of) => {
                ending(service.create(copy(name, Origin::Snapshot(snapshot(of)))).await)
            }
            Operation::Remove(name) => ending(service.remove(&volume(name), false).await),
            Operation::Mount(name, id) => self.mount(name, id).await,
            Operation::Unmount(name, id) => ending(service.unmount(&volume(name), id).await),
            Operation::UnmountAll(name) => ending(service.unmount_all(&volume(name)).await),
            Operation::Attach(name) => ending(service.attach(&volume(name)).await),
            Operation::Detach(name) => ending(service.detach(&volume(name)).await),
            Operation::Expand(name, size) => ending(service.expand(&volume(name), *size).await),
            Operation::Snapshot(name, taken) => {
                ending(service.snapshot(&volume(name), &snapshot(taken)).await)
            }
            Operation::RemoveSnapshot(name) => {
                ending(service.remove_snapshot(&snapshot(name)).await)
            }
            Operation::Sweep => {
                service.sweep().await;
                Ok(Ending::Done)
            }
            Operation::Restart => self.restart().await,
            Operation::Reboot => {
                self.bench.reboot();
                self.restart().await
            }
        }
    }

    /// A mount says where, not whether it was new.
    async fn mount(&self, name: &str, id: &str) -> std::result::Result<Ending, Kind> {
        let holds = || self.service.in_use().iter().any(|e| e.name == volume(name) && e.has(id));
        let had = holds();
        let path = self.service.mount(&volume(name), standing(id)).await;
        let path = path.map_err(|error| error.kind())?;
        assert_eq!(path, self.bench.target(name));
        assert!(holds());
        Ok(if had { Ending::AlreadyDone } else { Ending::Done })
    }

    async fn restart(&mut self) -> std::result::Result<Ending, Kind> {
        self.service = self.bench.open();
        self.service.recover().await;
        Ok(Ending::Done)
    }

    /// What is left to be cleaned up after a failure is, in the next two rounds.
    async fn settle(&self) {
        self.service.sweep().await;
        self.service.sweep().await;
    }

    /// Takes over what a failed operation did, which must be all, nothing, or a part of it.
    async fn adopt(&mut self, before: &Model) {
        let real = self.real().await;
        for name in NAMES {
            let (old, new) = (before.volumes.get(name), self.model.volumes.get(name));
            let Some(is) = real.get(name) else {
                assert!(old.is_none() || new.is_none(), "{name} vanished");
                self.model.volumes.remove(name);
                continue;
            };
            let possible: Vec<_> = old.iter().chain(new.iter()).copied().collect();
            let is_possible = |same: &dyn Fn(&Disk) -> bool| possible.iter().any(|disk| same(disk));
            assert!(is_possible(&|disk| disk.size == is.size), "{name}: {is:?}, not {possible:?}");
            let kept = is_possible(&|disk| disk.kept == is.kept);
            assert!(kept, "{name}: {is:?}, not {possible:?}");
            let known = is_possible(&|disk| disk.consumers == is.consumers);
            assert!(known, "{name}: {is:?}, not {possible:?}");
            let base = old.or(new).cloned().unwrap();
            let Real { size, consumers, kept } = is.clone();
            self.model.volumes.insert(name.to_owned(), Disk { size, consumers, kept, ..base });
        }
        let taken = self.snapshots().await;
        self.model.snapshots.extend(before.snapshots.clone());
        self.model.snapshots.retain(|name, _| taken.contains(name));
    }

    async fn real(&self) -> BTreeMap<String, Real> {
        let listed = self.service.list(&Page::default()).await.unwrap();
        let real = |view: &volume::orchestrator::View| {
            let entry = view.entry.as_ref();
            let ids = entry.into_iter().flat_map(|entry| &entry.consumers);
            Real {
                size: view.volume.size.unwrap(),
                consumers: ids.map(|consumer| consumer.id.clone()).collect(),
                kept: entry.is_some_and(|entry| entry.kept),
            }
        };
        listed.entries.iter().map(|view| (view.volume.name.to_string(), real(view))).collect()
    }

    async fn snapshots(&self) -> BTreeSet<String> {
        let listed = self.service.snapshots(&Page::default()).await.unwrap();
        listed.entries.iter().map(|snapshot| snapshot.name.to_string()).collect()
    }

    async fn compare(&mut self, operation: &Operation, trouble: &Trouble) {
        let context = format!("after {operation:?} with {trouble:?}");
        let real = self.real().await;
        let expected: BTreeMap<_, _> = self
            .model
            .volumes
            .iter()
            .map(|(name, disk)| {
                let Disk { size, consumers, kept, .. } = disk.clone();
                (name.clone(), Real { size, consumers, kept })
            })
            .collect();
        assert_eq!(real, expected, "{context}");
        assert_eq!(
            self.snapshots().await,
            self.model.snapshots.keys().cloned().collect(),
            "{context}"
        );
        let picked = |is: fn(&Disk) -> bool| -> Vec<String> {
            let volumes = self.model.volumes.iter();
            volumes.filter(|(_, disk)| is(disk)).map(|(name, _)| name.clone()).collect()
        };
        let mut mounted = self.bench.mounted();
        mounted.sort();
        assert_eq!(mounted, picked(Disk::is_mounted), "each mounted once, {context}");
        assert_eq!(self.bench.disks.attached(), picked(Disk::is_attached), "{context}");
        self.compare_devices(&context);
    }

    /// What is on a device stays on it: mkfs never runs twice, and no other UUID appears.
    fn compare_devices(&mut self, context: &str) {
        for name in self.bench.disks.attached() {
            let device = self.bench.disks.device(&name);
            let Content::Filesystem(found) = self.bench.fake.probe(&device).unwrap() else {
                continue;
            };
            // A copy shows the UUID of its source until it is mounted.
            if self.model.volumes[&name].is_mounted() {
                let first = *self.seen.entry(device).or_insert(found.uuid);
                assert_eq!(first, found.uuid, "{context}");
            }
        }
        let formats: Vec<_> =
            self.bench.fake.calls().into_iter().filter(|c| c.starts_with("format ")).collect();
        let devices: BTreeSet<_> = formats.iter().collect();
        assert!(formats.len() <= devices.len() + self.failed_formats, "{context}: {formats:?}");
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Real {
    size: Size,
    consumers: BTreeSet<String>,
    kept: bool,
}

fn ending<T: Debug>(result: Result<Outcome<T>>) -> std::result::Result<Ending, Kind> {
    match result {
        Ok(Outcome::Done(_)) => Ok(Ending::Done),
        Ok(Outcome::AlreadyDone(_)) => Ok(Ending::AlreadyDone),
        Err(error) => Err(error.kind()),
    }
}

fn to_result(ending: Ending) -> std::result::Result<Ending, Kind> {
    match ending {
        Ending::Refused(kind) => Err(kind),
        ending => Ok(ending),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_service_does_what_the_model_says(
        steps in prop::collection::vec(operation(), 1..60),
    ) {
        let steps: Vec<_> = steps.into_iter().map(|step| (step, Trouble::None)).collect();
        run(&steps);
    }

    #[test]
    fn failures_change_nothing_that_the_model_does_not_know(
        steps in prop::collection::vec((operation(), trouble()), 1..60),
    ) {
        run(&steps);
    }
}

fn run(steps: &[(Operation, Trouble)]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut pair = Pair::new();
        for (operation, trouble) in steps {
            pair.step(operation, trouble).await;
        }
    });
}
