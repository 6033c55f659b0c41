//! A simulated account in a directory of the test, and machines in it that this program runs on.

use ebs_sim::{Config, Disks, InstanceConfig, Simulator};
use error::{Error, Kind, Result};
use host::Host;
use host::linux::Linux;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use volume::driver::Opening;
use volume::drivers::ebs;
use volume::options::parse_volume_options;
use volume::{Create, Driver, Parameters, Size, VolumeName};

/// Instances of every account, all but the last in one zone.
pub(crate) const HERE: &str = "i-here";
pub(crate) const THERE: &str = "i-there";
pub(crate) const FAR: &str = "i-far";

/// An account.
pub(crate) struct Lab {
    pub(crate) sim: Simulator,
    pub(crate) dir: tempfile::TempDir,
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

/// The driver on `instance` of a simulator.
pub(crate) fn open(
    sim: &Simulator,
    instance: &str,
    options: &[(&str, &str)],
) -> Result<Arc<dyn Driver>> {
    let mut all = BTreeMap::from([("simulator".to_owned(), sim.endpoint(instance))]);
    all.extend(options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let host: Arc<dyn Host> = Arc::new(Linux::default());
    (ebs::SPEC.open)(&Opening { volumes: PathBuf::from("/nonexistent"), options: all, host })
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
        Self { sim: Simulator::start(config).await.unwrap(), dir }
    }

    /// An account without disks, for everybody.
    pub(crate) async fn without_disks() -> Self {
        Self::with(|config| config.disks = None).await
    }

    /// The driver on the machine `instance`.
    pub(crate) fn on(&self, instance: &str) -> Arc<dyn Driver> {
        self.on_with(instance, &[])
    }

    pub(crate) fn on_with(&self, instance: &str, options: &[(&str, &str)]) -> Arc<dyn Driver> {
        open(&self.sim, instance, options).unwrap()
    }
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
