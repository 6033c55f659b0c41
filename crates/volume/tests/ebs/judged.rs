//! The driver's control plane, the same on our simulator and on one that others have written: what
//! passes on both is not only what we have agreed upon with ourselves. No disk appears anywhere.

use crate::lab::{HERE, Lab, named, refused, request};
use error::{Kind, Result};
use host::linux::Linux;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use testkit::judges::{python, script};
use volume::driver::{Attach, Opening, Page, Source};
use volume::drivers::ebs;
use volume::metrics::Calls;
use volume::name::NodeId;
use volume::{Driver, Size, SnapshotName, Volume};

/// The life of two volumes and a snapshot, with everything asked for twice.
async fn lives(driver: Arc<dyn Driver>, node: &str) {
    let made = driver.create(&request("pg", &[("throughput", "150")])).await.unwrap();
    assert!(made.is_done());
    let made = made.into_inner();
    assert!(!driver.create(&request("pg", &[("throughput", "150")])).await.unwrap().is_done());
    let other = driver.create(&request("other", &[])).await.unwrap().into_inner();
    let found = driver.find(&named("pg")).await.unwrap().expect("it is there");
    assert_eq!((&found.id, found.size), (&made.id, Some(Size::gib(1))));
    assert_eq!(found.parameters.driver["throughput"], "150");
    assert_eq!(found.details["throughput"], "150");
    assert!(driver.find(&named("p")).await.unwrap().is_none(), "half a name is none");
    assert_eq!(names(&driver).await, ["other", "pg"]);

    attach(&driver, &made, node).await;
    let error = refused(driver.delete(&made.id).await, Kind::FailedPrecondition, "is attached to");
    assert!(error.chain().contains(node), "{error}");
    let attached = driver.attached().await.unwrap();
    assert_eq!(attached.iter().map(|volume| &volume.id).collect::<Vec<_>>(), [&made.id]);
    let grown = driver.expand(&made.id, Size::gib(2)).await.unwrap();
    assert!(grown.is_done() && grown.into_inner().size == Some(Size::gib(2)));
    assert!(!driver.expand(&made.id, Size::gib(2)).await.unwrap().is_done());
    detach(&driver, &made, node).await;

    snapshots(&driver, &made).await;
    for volume in [&made, &other] {
        assert!(driver.delete(&volume.id).await.unwrap().is_done());
        assert!(!driver.delete(&volume.id).await.unwrap().is_done());
        refused(driver.get(&volume.id).await, Kind::NotFound, volume.id.as_str());
    }
    assert!(driver.find(&named("pg")).await.unwrap().is_none());
    assert!(names(&driver).await.is_empty());
}

async fn attach(driver: &Arc<dyn Driver>, volume: &Volume, node: &str) {
    let attach = Attach { node: NodeId::new(node), read_only: false, keep: false };
    let first = driver.attach(&volume.id, &attach).await.unwrap();
    assert!(first.is_done());
    let again = driver.attach(&volume.id, &attach).await.unwrap();
    assert!(!again.is_done());
    let Source::Device { candidates, serial } = again.into_inner() else { panic!("no device") };
    assert_eq!(serial, Some(volume.id.as_str().replacen('-', "", 1)));
    assert!(candidates.len() > 1, "{candidates:?}");
    let now = driver.get(&volume.id).await.unwrap();
    assert_eq!(now.details["attached"], node);
}

async fn detach(driver: &Arc<dyn Driver>, volume: &Volume, node: &str) {
    let node = NodeId::new(node);
    assert!(driver.detach(&volume.id, &node).await.unwrap().is_done());
    assert!(!driver.detach(&volume.id, &node).await.unwrap().is_done());
    assert!(driver.attached().await.unwrap().is_empty());
}

async fn snapshots(driver: &Arc<dyn Driver>, volume: &Volume) {
    let name = SnapshotName::parse("monday").unwrap();
    assert!(driver.snapshot(&volume.id, &name).await.unwrap().is_done());
    assert!(!driver.snapshot(&volume.id, &name).await.unwrap().is_done());
    let all = driver.list_snapshots(&Page::default()).await.unwrap().entries;
    let [taken] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((taken.volume.as_str(), taken.size), ("pg", Size::gib(2)));
    let copy = driver.create(&request("copy", &[("snapshot", "monday")])).await.unwrap();
    let copy = copy.into_inner();
    assert_eq!(copy.size, Some(Size::gib(2)));
    assert!(driver.delete(&copy.id).await.unwrap().is_done());
    assert!(driver.delete_snapshot(&name).await.unwrap().is_done());
    assert!(!driver.delete_snapshot(&name).await.unwrap().is_done());
}

async fn names(driver: &Arc<dyn Driver>) -> Vec<String> {
    let all = driver.list(&Page::default()).await.unwrap().entries;
    all.into_iter().map(|volume| volume.name.to_string()).collect()
}

/// An account of moto; it ends when this is dropped.
struct Moto {
    child: Child,
    account: Value,
}

impl Moto {
    fn start(python: &Path) -> Self {
        let account = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/ebs/moto_account.py");
        // moto takes any keys.
        let keys = [("AWS_ACCESS_KEY_ID", "judged"), ("AWS_SECRET_ACCESS_KEY", "judged")];
        let mut command = script(python, &account, &keys);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let said = BufReader::new(child.stdout.take().unwrap()).read_line(&mut line);
        assert!(said.unwrap() > 0, "moto has ended: {:?}", child.wait());
        Self { child, account: serde_json::from_str(&line).unwrap() }
    }

    fn says(&self, what: &str) -> String {
        self.account[what].as_str().unwrap().to_owned()
    }

    /// The driver, told by its options all that a metadata service would tell.
    fn open(&self) -> Result<Arc<dyn Driver>> {
        let told = ["endpoint", "instance", "zone", "region"];
        let mut options: BTreeMap<_, _> =
            told.iter().map(|option| ((*option).to_owned(), self.says(option))).collect();
        let keys = ["accessKey", "secretKey"].map(|key| (key.to_owned(), "judged".to_owned()));
        options.extend(keys);
        // Where nobody can write: what it remembers is nobody's else.
        let volumes = PathBuf::from("/proc/none");
        let (host, calls) = (Arc::new(Linux::default()), Calls::default());
        (ebs::SPEC.open)(&Opening { volumes, options, host, calls })
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_live_on_our_simulator() {
    let lab = Lab::without_disks().await;
    lives(lab.fast(HERE), HERE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_live_on_a_simulator_of_others() {
    let Some(python) = python(Path::new(env!("CARGO_TARGET_TMPDIR"))) else { return };
    let moto = Moto::start(&python);
    lives(moto.open().unwrap(), &moto.says("instance")).await;
}
