//! Engine, shim and plugin killed in every order while a volume is mounted.

use super::lab::{Lab, mounts_at};
use crate::engine::fixture::kill;
use crate::fixture::{PATIENCE, eventually, is_root};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Engine,
    Shim,
    Plugin,
}

use Who::{Engine, Plugin, Shim};

const ORDERS: [&[Who]; 11] = [
    &[Shim],
    &[Plugin],
    &[Engine, Shim],
    &[Engine, Plugin],
    &[Shim, Plugin],
    &[Engine, Shim, Plugin],
    &[Engine, Plugin, Shim],
    &[Shim, Engine, Plugin],
    &[Shim, Plugin, Engine],
    &[Plugin, Engine, Shim],
    &[Plugin, Shim, Engine],
];

fn is_gone(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.is_empty() || status.contains(") Z ")
}

/// Kills in this order; who is killed twice by the machine (a plugin whose shim the engine cleans
/// after) may be gone already.
fn kill_in_order(lab: &mut Lab, order: &[Who]) {
    let shim = lab.shim("probe").unwrap();
    let plugin = u32::try_from(lab.describe("probe")["pid"].as_i64().unwrap()).unwrap();
    for who in order {
        match who {
            Engine => lab.kill(),
            Shim => kill("-KILL", shim),
            Plugin => kill("-KILL", plugin),
        }
    }
    if order.contains(&Engine) {
        lab.start();
    }
    let killed = if order.contains(&Shim) { shim } else { plugin };
    eventually("it is gone", PATIENCE, || is_gone(killed));
    eventually("another one runs", PATIENCE, || {
        let now = lab.describe("probe");
        now["state"] == "running" && now["pid"].as_i64().is_some_and(|pid| pid != i64::from(plugin))
    });
    assert!(is_gone(plugin), "{order:?}: one instance, never two");
}

fn is_shared(path: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let mut lines = table.lines().filter(|line| line.split(' ').nth(4) == path.to_str());
    lines.all(|line| line.contains("shared:"))
}

#[test]
fn a_mounted_volume_outlives_engine_shim_and_plugin_in_every_order() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::started();
    lab.probe("probe");
    let ids = BTreeSet::from([lab.id("probe")]);
    let created = lab.call("probe", "Create", &json!({ "Name": "v", "Opts": {} }));
    assert_eq!(created.status, 200, "{created:?}");
    let mounted = lab.call("probe", "Mount", &json!({ "Name": "v", "ID": "m1" })).json();
    let at = PathBuf::from(mounted["Mountpoint"].as_str().unwrap());
    std::fs::write(at.join("file"), "data").unwrap();
    for order in ORDERS {
        kill_in_order(&mut lab, order);
        assert_eq!(mounts_at(&at), 1, "{order:?}");
        assert!(is_shared(&at), "{order:?}");
        assert_eq!(std::fs::read_to_string(at.join("file")).unwrap(), "data", "{order:?}");
        assert_eq!(mounts_at(&lab.state_dir("probe").join("propagated-mount")), 1, "{order:?}");
        let in_use = lab.describe("probe")["in_use"].to_string();
        assert!(in_use.contains("m1"), "{order:?}: {in_use}");
        let refused = lab.fails(&["disable", "probe"]);
        assert!(refused.contains("in use"), "{order:?}: {refused}");
        let answer = lab.call("probe", "Get", &json!({ "Name": "v" }));
        assert_eq!(answer.status, 200, "{order:?}: {answer:?}");
    }
    lab.call("probe", "Unmount", &json!({ "Name": "v", "ID": "m1" }));
    assert_eq!(mounts_at(&at), 0);
    lab.ok(&["disable", "probe"]);
    lab.ok(&["rm", "probe"]);
    lab.assert_nothing_left(&ids);
}

/// Whoever is killed by force while it is in use leaves what is mounted, and its shim nothing.
#[test]
fn a_plugin_killed_while_the_engine_is_away_runs_when_it_is_back() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::started();
    lab.probe("probe");
    let plugin = u32::try_from(lab.describe("probe")["pid"].as_i64().unwrap()).unwrap();
    let shim = lab.shim("probe").unwrap();
    lab.stop();
    kill("-KILL", plugin);
    eventually("the shim ends too", PATIENCE, || is_gone(shim));
    lab.start();
    lab.runs("probe");
    lab.ok(&["disable", "probe"]);
}
