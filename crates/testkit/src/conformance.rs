//! The conformance suite: each bullet of the [`Driver`] trait's documentation is a case, and the
//! driver's capabilities choose the cases. What differs between drivers is data, so that a new
//! driver is tested by two lines.

mod attachments;
mod copies;
mod lacking;
mod reopening;
mod sizes;
mod volumes;

use error::{Error, Kind, Result};
use host::{Fstype, Host, Outcome};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use volume::driver::{Attach, Opening};
use volume::metrics::Calls;
use volume::options::parse_volume_options;
use volume::{
    Capabilities, Create, Driver, Origin, Parameters, Size, SnapshotName, Source, Spec, Volume,
    VolumeName,
};

type Machine = Arc<dyn Host>;
type Open = dyn Fn(&Opening) -> Result<Arc<dyn Driver>> + Send + Sync;
type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A driver to be tested, and the machine to test it on.
#[derive(Clone)]
pub struct Subject {
    spec: &'static Spec,
    open: Arc<Open>,
    host: Arc<dyn Fn() -> Machine + Send + Sync>,
    fstype: Fstype,
    smallest: Option<Size>,
}

impl Subject {
    /// The driver that `spec` describes, each case on a machine of its own from `host`.
    pub fn new(spec: &'static Spec, host: impl Fn() -> Machine + Send + Sync + 'static) -> Self {
        let (open, host) = (Arc::new(spec.open), Arc::new(host));
        Self { spec, open, host, fstype: Fstype::Ext4, smallest: None }
    }

    /// Opened in another way than the description says.
    #[must_use]
    pub fn opened_by(
        self,
        open: impl Fn(&Opening) -> Result<Arc<dyn Driver>> + Send + Sync + 'static,
    ) -> Self {
        Self { open: Arc::new(open), ..self }
    }

    /// Its volumes get this file system, if they get one.
    #[must_use]
    pub fn with(self, fstype: Fstype) -> Self {
        Self { fstype, ..self }
    }

    /// Its volumes are never smaller than this, and a multiple of it.
    #[must_use]
    pub fn sized(self, smallest: Size) -> Self {
        Self { smallest: Some(smallest), ..self }
    }
}

/// A case: the rule that it tests is its name.
struct Case {
    name: &'static str,
    applies: fn(&Capabilities) -> bool,
    run: fn(Site) -> Running,
}

/// The cases named, for the drivers that the first argument picks.
macro_rules! cases {
    ($applies:expr; $($case:ident),* $(,)?) => {
        [$($crate::conformance::Case {
            name: stringify!($case),
            applies: $applies,
            run: |site| Box::pin($case(site)),
        }),*]
    };
}
use cases;

/// Runs every case that applies to `subject`, each in a place of its own, and answers their names.
///
/// # Panics
/// When a case fails; all others are run before, and each failure is in the message.
pub async fn run(subject: Subject) -> Vec<&'static str> {
    let capabilities = Site::new(&subject).open().capabilities();
    let all = volumes::cases()
        .into_iter()
        .chain(attachments::cases())
        .chain(sizes::cases())
        .chain(copies::cases())
        .chain(reopening::cases())
        .chain(lacking::cases());
    let mut names = Vec::new();
    let mut failures = Vec::new();
    for case in all.filter(|case| (case.applies)(&capabilities)) {
        if let Err(failure) = tokio::spawn((case.run)(Site::new(&subject))).await {
            failures.push(format!("{}: {}", case.name, reason(failure)));
        }
        names.push(case.name);
    }
    let driver = subject.spec.name;
    assert!(failures.is_empty(), "driver {driver} breaks its contract:\n{}", failures.join("\n"));
    names
}

fn reason(failure: tokio::task::JoinError) -> String {
    let Ok(panic) = failure.try_into_panic() else { return "it did not end".to_owned() };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
}

/// Where a case runs: a directory and a machine of its own.
struct Site {
    subject: Subject,
    host: Machine,
    dir: tempfile::TempDir,
}

impl Site {
    fn new(subject: &Subject) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self { subject: subject.clone(), host: (subject.host)(), dir }
    }

    /// Opens the driver, as each start of the program does.
    fn open(&self) -> Arc<dyn Driver> {
        let opening = Opening {
            volumes: self.volumes(),
            options: BTreeMap::new(),
            host: Arc::clone(&self.host),
            calls: Calls::default(),
        };
        (self.subject.open)(&opening).expect("the driver opens")
    }

    fn volumes(&self) -> PathBuf {
        self.dir.path().join("volumes")
    }

    fn honours(&self, option: &str) -> bool {
        self.subject.spec.common_options.contains(&option)
    }

    /// A request for a small volume.
    fn request(&self, name: &str) -> Create {
        self.asking(name, &Parameters::default())
    }

    /// A request for a small volume of which this is said besides.
    fn asking(&self, name: &str, said: &Parameters) -> Create {
        let small = Parameters {
            size: self.honours("size").then(|| self.small()),
            fs_type: self.honours("fsType").then_some(self.subject.fstype),
            ..Parameters::default()
        };
        let spec = self.subject.spec;
        let (builtin, _) = parse_volume_options(spec, spec.defaults.iter().copied())
            .expect("a driver's own defaults are good");
        let asked = said.or(&small);
        let labels = BTreeMap::from([("purpose".to_owned(), "test".to_owned())]);
        Create { name: named(name), parameters: asked.or(&builtin), asked, labels, origin: None }
    }

    /// A request for a copy of which nothing is said.
    fn copying(&self, name: &str, origin: Origin) -> Create {
        let asked = Parameters::default();
        let request = self.request(name);
        let parameters = Parameters { size: None, fs_type: None, ..request.parameters };
        Create { asked, parameters, origin: Some(origin), ..request }
    }

    /// A size that is enough for the file system.
    fn small(&self) -> Size {
        let enough = Size((2 * self.subject.fstype.minimum_size()).max(16 << 20));
        self.subject.smallest.unwrap_or(enough)
    }

    async fn create(&self, driver: &Arc<dyn Driver>, name: &str) -> Volume {
        driver.create(&self.request(name)).await.expect("the volume is created").into_inner()
    }

    /// Attaches the volume to this machine.
    async fn attach(&self, driver: &Arc<dyn Driver>, volume: &Volume) -> Outcome<Source> {
        let node = driver.node().await.expect("the machine has a name");
        let attach = Attach { node, read_only: false, keep: false };
        driver.attach(&volume.id, &attach).await.expect("the volume is attached")
    }

    async fn detach(&self, driver: &Arc<dyn Driver>, volume: &Volume) -> Result<Outcome> {
        let node = driver.node().await.expect("the machine has a name");
        driver.detach(&volume.id, &node).await
    }
}

fn named(name: &str) -> VolumeName {
    VolumeName::parse(name).expect("a good name")
}

fn snapshot_named(name: &str) -> SnapshotName {
    SnapshotName::parse(name).expect("a good name")
}

fn always(_: &Capabilities) -> bool {
    true
}

/// The error of a call that must fail in this way.
#[track_caller]
fn refused<T: Debug>(result: Result<T>, kind: Kind) -> Error {
    let error = result.expect_err("this must be refused");
    assert_eq!(error.kind(), kind, "{error:?}");
    error
}

/// The value of a call that must have found everything done.
#[track_caller]
fn already<T: Debug>(result: Result<Outcome<T>>) -> T {
    match result.expect("the repeated call succeeds") {
        Outcome::AlreadyDone(value) => value,
        Outcome::Done(value) => panic!("it says that it did something: {value:?}"),
    }
}

/// The value of a call that must have changed something.
#[track_caller]
fn done<T: Debug>(result: Result<Outcome<T>>) -> T {
    match result.expect("the call succeeds") {
        Outcome::Done(value) => value,
        Outcome::AlreadyDone(value) => panic!("it says that it did nothing: {value:?}"),
    }
}
