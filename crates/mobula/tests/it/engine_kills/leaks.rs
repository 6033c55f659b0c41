//! Enabling and disabling many times leaves nothing behind.

use super::lab::{Lab, groups};
use crate::fixture::{PATIENCE, eventually, is_root};
use crate::plugins::image::probe;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// As often as the time allows, within these bounds.
const TIMES: std::ops::Range<usize> = 50..1000;
const TIME: Duration = Duration::from_secs(15);

/// What there is of anything that an enabled plugin takes.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    /// Of the engine.
    descriptors: usize,
    mounts: usize,
    loops: usize,
    /// Processes of this home, and the network namespaces that those are in.
    processes: usize,
    networks: BTreeSet<PathBuf>,
    /// Control groups of plugins.
    groups: usize,
}

impl Taken {
    fn now(lab: &Lab) -> Self {
        let count = |path: String| std::fs::read_dir(path).unwrap().count();
        let processes = processes(lab.home.dir());
        let network = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        // Whatever else keeps a namespace is a descriptor or a mount.
        Self {
            descriptors: count(format!("/proc/{}/fd", lab.pid())),
            mounts: host::mountinfo::table().unwrap().len(),
            loops: lab.home.loops().len(),
            networks: processes.iter().filter_map(network).collect(),
            processes: processes.len(),
            groups: groups(Path::new("/sys/fs/cgroup"), &lab.id("probe"), 4).len(),
        }
    }
}

/// Those that were started with a path of this home, or see one of its mounts from elsewhere.
fn processes(home: &Path) -> Vec<u32> {
    let home = home.to_str().unwrap().as_bytes();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_other = |pid: &u32| *pid != std::process::id();
    let tells = |pid: u32, file: &str| {
        let content = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        content.windows(home.len()).any(|window| window == home)
    };
    pids.filter(is_other).filter(|pid| tells(*pid, "cmdline") || tells(*pid, "mountinfo")).collect()
}

#[test]
fn enabling_and_disabling_many_times_leaves_nothing() {
    if !is_root() {
        return;
    }
    let lab = Lab::started();
    // With a network of its own.
    lab.create("probe", &probe().with("network", json!({ "type": "none" })));
    lab.ok(&["enable", "probe"]);
    let while_enabled = Taken::now(&lab);
    lab.ok(&["disable", "probe"]);
    let before = Taken::now(&lab);
    assert!(while_enabled.networks.len() > before.networks.len(), "{while_enabled:?} {before:?}");
    assert!(while_enabled.groups > before.groups, "{while_enabled:?} {before:?}");
    assert!(while_enabled.mounts > before.mounts, "{while_enabled:?} {before:?}");
    let id = lab.id("probe");
    let (began, mut rounds) = (Instant::now(), 0);
    while rounds < TIMES.start || (rounds < TIMES.end && began.elapsed() < TIME) {
        let enabled = lab.api("POST /plugins/probe/enable?timeout=0", "");
        assert!(enabled.status < 300, "{rounds}: {enabled:?}");
        let disabled = lab.api("POST /plugins/probe/disable", "");
        assert!(disabled.status < 300, "{rounds}: {disabled:?}");
        rounds += 1;
    }
    println!("{rounds} times");
    let mut after = Taken::now(&lab);
    eventually("all is as before", PATIENCE, || {
        after = Taken::now(&lab);
        after.descriptors <= before.descriptors && after.processes <= before.processes
    });
    assert_eq!(Taken { descriptors: before.descriptors, ..after }, before);
    let left = lab.leaks(&BTreeSet::from([id.clone()]));
    assert!(
        left.iter().all(|left| left.contains("propagated-mount") || left.contains("run/")),
        "{left:?}"
    );
    let zombies =
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", lab.pid())).unwrap();
    assert_eq!(zombies, "");
    lab.ok(&["rm", "probe"]);
    lab.assert_nothing_left(&BTreeSet::from([id]));
}
