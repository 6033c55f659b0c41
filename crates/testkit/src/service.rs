//! A service as the agent opens it, in a directory of the test, and the words in which tests ask it
//! for something.

use crate::disks::Disks;
use crate::failing::Failing;
use host::Host;
use host::fake::Fake;
use host::process::Identity;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use volume::ledger::{Consumer, ConsumerKind, Ledger};
use volume::metrics::Metrics;
use volume::orchestrator::{Opening, Request};
use volume::{
    Driver, Orchestrator, Origin, Parameters, ServiceName, Size, SnapshotName, VolumeName,
};

/// The service's name.
const NAME: &str = "test";

/// What a service is opened on, again and again.
#[derive(Clone)]
pub struct Service {
    /// Holds its ledger and its mount points.
    pub root: PathBuf,
    /// Its driver.
    pub driver: Arc<dyn Driver>,
    /// The machine.
    pub host: Arc<dyn Host>,
    /// The boot of the machine.
    pub boot: String,
}

impl Service {
    /// A service in `root`.
    #[must_use]
    pub fn new(root: &Path, driver: Arc<dyn Driver>, host: Arc<dyn Host>) -> Self {
        Self { root: root.to_owned(), driver, host, boot: "first".to_owned() }
    }

    /// Opens it, as each start of the program does.
    #[must_use]
    pub fn open(&self) -> Arc<Orchestrator> {
        Orchestrator::open(self.opening()).expect("the service opens")
    }

    /// What it is opened with.
    #[must_use]
    pub fn opening(&self) -> Opening {
        Opening {
            service: name_of_service(),
            driver: Arc::clone(&self.driver),
            host: Arc::clone(&self.host),
            ledger: self.root.join("ledger"),
            mounts: self.mounts(),
            defaults: Parameters::default(),
            boot: self.boot.clone(),
            metrics: Metrics::default(),
        }
    }

    /// Where its volumes are mounted.
    #[must_use]
    pub fn mounts(&self) -> PathBuf {
        self.root.join("mounts").join(NAME)
    }

    /// Its ledger, for a test that looks at it or changes it while the service is not open.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let dir = self.root.join("ledger");
        Ledger::open(dir, &name_of_service(), self.boot.clone()).expect("the ledger opens")
    }
}

fn name_of_service() -> ServiceName {
    ServiceName::parse(NAME).expect("a good name")
}

/// A service over [`Disks`] on a machine in memory, with a driver that can fail.
pub struct Bench {
    /// Where it is.
    pub dir: tempfile::TempDir,
    /// The machine.
    pub fake: Fake,
    /// The back end.
    pub disks: Disks,
    /// What the back end does wrong.
    pub failing: Failing,
    /// The service.
    pub service: Service,
}

impl Default for Bench {
    fn default() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let fake = Fake::default();
        let disks = Disks::new(fake.clone());
        let failing = Failing::default();
        let driver = failing.around(Arc::new(disks.clone()));
        let service = Service::new(dir.path(), driver, Arc::new(fake.clone()));
        Self { dir, fake, disks, failing, service }
    }
}

impl Bench {
    /// Opens the service.
    #[must_use]
    pub fn open(&self) -> Arc<Orchestrator> {
        self.service.open()
    }

    /// Where the volume of this name is or would be mounted.
    #[must_use]
    pub fn target(&self, name: &str) -> PathBuf {
        self.service.mounts().join(name)
    }

    /// The volumes that the machine shows as mounted, once per mount.
    #[must_use]
    pub fn mounted(&self) -> Vec<String> {
        let table = host::Mounts::table(&self.fake).expect("the mount table is read");
        let dir = self.service.mounts();
        let own = table.iter().filter_map(|mount| mount.target.strip_prefix(&dir).ok());
        own.map(|name| name.display().to_string()).collect()
    }

    /// The machine starts anew: nothing is mounted, nothing attached, and the boot is another one.
    pub fn reboot(&mut self) {
        let mounts = host::Mounts::table(&self.fake).expect("the mount table is read");
        for mount in mounts.iter().rev() {
            host::Mounts::unmount(&self.fake, &mount.target).expect("nothing is mounted below it");
        }
        self.disks.reboot();
        self.service.boot.push('+');
    }

    /// How often the machine was told to do `call`.
    #[must_use]
    pub fn count(&self, call: &str) -> usize {
        self.fake.calls().iter().filter(|done| done.split(' ').next() == Some(call)).count()
    }
}

/// A volume's name.
#[must_use]
pub fn volume(name: &str) -> VolumeName {
    VolumeName::parse(name).expect("a good name")
}

/// A snapshot's name.
#[must_use]
pub fn snapshot(name: &str) -> SnapshotName {
    SnapshotName::parse(name).expect("a good name")
}

/// A request for a volume of which nothing is said.
#[must_use]
pub fn request(name: &str) -> Request {
    Request {
        name: volume(name),
        asked: Parameters::default(),
        labels: BTreeMap::new(),
        origin: None,
    }
}

/// A request for a volume of this size.
#[must_use]
pub fn sized(name: &str, size: Size) -> Request {
    let asked = Parameters { size: Some(size), ..Parameters::default() };
    Request { asked, ..request(name) }
}

/// A request for a copy.
#[must_use]
pub fn copy(name: &str, origin: Origin) -> Request {
    Request { origin: Some(origin), ..request(name) }
}

/// A consumer that counts until it gives the volume back.
#[must_use]
pub fn standing(id: &str) -> Consumer {
    let since = Timestamp::now();
    Consumer { id: id.to_owned(), since, kind: ConsumerKind::Standing, caller: None }
}

/// A container engine's consumer of an hour ago, whose engine is `caller`.
#[must_use]
pub fn engine(id: &str, caller: Identity) -> Consumer {
    let since = Timestamp::now() - SignedDuration::from_hours(1);
    Consumer { id: id.to_owned(), since, kind: ConsumerKind::Engine, caller: Some(caller) }
}

/// A process that runs: this one.
#[must_use]
pub fn alive() -> Identity {
    Identity::own().expect("this process runs")
}

/// A process that has ended: its number is in use by another one by now.
#[must_use]
pub fn dead() -> Identity {
    Identity { start_time: 0, ..alive() }
}
