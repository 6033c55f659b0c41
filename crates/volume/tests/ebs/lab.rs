//! A simulated account in a directory of the test, and machines in it that this program runs on.

use ebs_sim::{Config, Disks, InstanceConfig, Simulator};
use error::{Error, Kind, Result};
use host::Host;
use host::linux::Linux;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use volume::cloud::aws;
use volume::driver::{ActionRequest, Attach, Opening, Report};
use volume::drivers::ebs;
use volume::metrics::{Calls, Metrics};
use volume::options::parse_volume_options;
use volume::{
    Create, Driver, NodeId, Outcome, Parameters, Size, SnapshotName, Source, Volume, VolumeId,
    VolumeName,
};

/// Instances of every account, all but the last in one zone.
pub(crate) const HERE: &str = "i-here";
pub(crate) const THERE: &str = "i-there";
pub(crate) const FAR: &str = "i-far";

/// An account.
pub(crate) struct Lab {
    pub(crate) sim: Simulator,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) metrics: Metrics,
    opened: AtomicUsize,
}

/// The account's configuration, with its disks below `dir`.
pub(crate) fn config(dir: &Path) -> Config {
    let devices = dir.join("devices");
    let instances = vec![
        InstanceConfig::new(HERE),
        InstanceConfig::new(THERE),
        InstanceConfig::new(FAR).zone("us-east-1b"),
        InstanceConfig::new("elsewhere"),
    ];
    let disks = Some(Disks { images: dir.join("images"), devices });
    Config { instances, disks, ..Config::default() }
}

/// The driver on `instance` of a simulator, with what it remembers in `volumes`. It counts in `calls`.
pub(crate) fn open(
    volumes: &Path,
    sim: &Simulator,
    instance: &str,
    options: &[(&str, &str)],
    calls: Calls,
) -> Result<Arc<dyn Driver>> {
    let mut all = BTreeMap::from([("simulator".to_owned(), sim.endpoint(instance))]);
    all.extend(options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let host: Arc<dyn Host> = Arc::new(Linux::default());
    (ebs::SPEC.open)(&Opening { volumes: volumes.to_owned(), options: all, host, calls })
}

impl Lab {
    /// An account with real disks.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// An account that is somewhat different.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        change(&mut config);
        let sim = Simulator::start(config).await.unwrap();
        Self { sim, dir, metrics: Metrics::default(), opened: AtomicUsize::new(0) }
    }

    /// An account without disks, for everybody.
    pub(crate) async fn without_disks() -> Self {
        Self::with(|config| config.disks = None).await
    }

    /// The driver on the machine `instance`, with these options; it knows nothing of those before.
    pub(crate) fn on_with(&self, instance: &str, options: &[(&str, &str)]) -> Arc<dyn Driver> {
        self.open(instance, options).unwrap()
    }

    pub(crate) fn open(&self, instance: &str, options: &[(&str, &str)]) -> Result<Arc<dyn Driver>> {
        let count = self.opened.fetch_add(1, Ordering::Relaxed);
        let volumes = self.dir.path().join(format!("volumes-{count}"));
        open(&volumes, &self.sim, instance, options, self.metrics.calls("ebs"))
    }

    /// The driver on a machine where a twentieth of the usual time is all that AWS gets.
    pub(crate) fn fast(&self, instance: &str) -> Arc<dyn Driver> {
        self.on_with(instance, &FAST)
    }

    /// The account without the driver: what people and other programs do in it.
    pub(crate) fn console(&self) -> aws::Ec2 {
        let keys = ebs_sim::Credentials::default();
        let settings = aws::Settings {
            region: Some("us-east-1".to_owned()),
            endpoint: Some(self.sim.endpoint(HERE)),
            access_key: Some(keys.access_key),
            secret_key: Some(keys.secret_key),
            ..aws::Settings::default()
        };
        aws::Ec2::new(Arc::new(aws::Client::new(settings, Calls::default())), Vec::new())
    }

    /// A volume that another program made, with nothing but a name, or not even that.
    pub(crate) async fn foreign(&self, name: Option<&str>, gib: u64) -> VolumeId {
        let name = name.map(|name| ("Name".to_owned(), name.to_owned()));
        let new = aws::NewVolume {
            zone: "us-east-1a".to_owned(),
            size: Some(gib),
            kind: Some("gp3".to_owned()),
            tags: name.into_iter().collect(),
            token: uuid(),
            ..aws::NewVolume::default()
        };
        VolumeId::new(self.console().create_volume(&new).await.unwrap().id)
    }

    /// What the account really holds under this ID.
    #[track_caller]
    pub(crate) fn volume(&self, id: &VolumeId) -> ebs_sim::Volume {
        let all = self.sim.volumes();
        all.into_iter().find(|one| one.id == id.as_str()).expect("it is in the account")
    }

    /// What the account really holds under this name.
    pub(crate) fn volumes_named(&self, name: &str) -> Vec<ebs_sim::Volume> {
        let mut all = self.sim.volumes();
        all.retain(|one| one.tags.get("Name").is_some_and(|known| known == name));
        all
    }

    /// The instances that have the volume.
    pub(crate) fn holders(&self, id: &VolumeId) -> Vec<String> {
        self.volume(id).attachments.into_iter().map(|one| one.instance).collect()
    }

    /// How often an action was called.
    pub(crate) fn count(&self, action: &str) -> u64 {
        self.sim.calls().get(action).copied().unwrap_or_default()
    }
}

/// Options of a service that is in a hurry.
pub(crate) const FAST: [(&str, &str); 1] = [("waitTimeout", "6")];

pub(crate) fn uuid() -> String {
    format!("{:032x}", std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos())
}

/// Where chance begins: the variable `SEED`, or what is told here.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(std::process::id().into());
    println!("SEED={seed}");
    seed
}

/// Numbers that only look like chance (xorshift64*).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `most`.
    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % most
    }
}

pub(crate) async fn create(driver: &Arc<dyn Driver>, name: &str) -> Volume {
    driver.create(&request(name, &[])).await.unwrap().into_inner()
}

pub(crate) async fn attach(
    driver: &Arc<dyn Driver>,
    id: &VolumeId,
    node: &str,
) -> Result<Outcome<Source>> {
    let attach = Attach { node: NodeId::new(node), read_only: false, keep: false };
    driver.attach(id, &attach).await
}

pub(crate) async fn detach(driver: &Arc<dyn Driver>, id: &VolumeId, node: &str) -> Result<Outcome> {
    driver.detach(id, &NodeId::new(node)).await
}

/// Does an action of the driver, as the orchestrator asks for it.
pub(crate) async fn act(
    driver: &Arc<dyn Driver>,
    action: &str,
    subject: &str,
    options: &[(&str, &str)],
) -> Result<Report> {
    let options = options.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let subject = (!subject.is_empty()).then(|| subject.to_owned());
    driver.act(&ActionRequest { action: action.to_owned(), subject, options }, &|_| {}).await
}

pub(crate) fn snapshot_named(name: &str) -> SnapshotName {
    SnapshotName::parse(name).unwrap()
}

pub(crate) fn named(name: &str) -> VolumeName {
    VolumeName::parse(name).unwrap()
}

/// A request for a volume of 1 GiB of which this is said besides.
pub(crate) fn request(name: &str, options: &[(&str, &str)]) -> Create {
    let (said, origin) = parse_volume_options(&ebs::SPEC, options.iter().copied()).unwrap();
    let small = Parameters { size: Some(Size::gib(1)), ..Parameters::default() };
    let asked = match origin {
        None => said.or(&small),
        Some(_) => said,
    };
    let (builtin, _) =
        parse_volume_options(&ebs::SPEC, ebs::SPEC.defaults.iter().copied()).unwrap();
    let parameters = asked.or(&builtin);
    Create { name: named(name), asked, parameters, labels: BTreeMap::new(), origin }
}

/// The error of a call that must fail in this way, and say this.
#[track_caller]
pub(crate) fn refused<T: Debug>(result: Result<T>, kind: Kind, words: &str) -> Error {
    let error = result.expect_err("this must be refused");
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.chain().contains(words), "{error}");
    error
}
