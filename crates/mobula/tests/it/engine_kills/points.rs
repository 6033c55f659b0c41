//! SIGKILL of the engine at every numbered point of every operation, a new engine, and the same
//! operation again: it converges, nothing that was installed is lost, nothing half-made stays.

use super::lab::{Lab, said};
use crate::fixture::{PATIENCE, eventually, is_root};
use crate::plugins::image::probe;
use crate::plugins::registry::{DOCKER, GZIP, Packing, Registry, pack};
use crate::plugins::wire;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// More points than any operation passes; reaching it means the loop does not end.
const TOO_MANY: u32 = 60;

/// Kills the engine at the first point of `operation`, the second, and so on, each time in a state
/// that `prepare` made and with `settle` afterwards, until it is no longer killed. How often it was.
fn kill_everywhere(
    lab: &mut Lab,
    operation: &[&str],
    prepare: impl Fn(&Lab),
    settle: impl Fn(&Lab, &str),
) -> u32 {
    for point in 1..TOO_MANY {
        prepare(lab);
        lab.kill();
        let mut armed = lab.engine(&[]);
        armed.env("MOBULA_KILL_AT", point.to_string());
        armed.env("MOBULA_KILL_LOG", lab.home.path("points.log"));
        lab.start_as(armed);
        let is_up = lab.comes_up();
        let output = lab.run(operation);
        let survived = is_up && output.status.success() && outlives(lab);
        let about = format!("{operation:?} killed at {}", last_point(lab));
        if !survived {
            let text = said(&output);
            eventually(&format!("the engine was killed: {text}"), PATIENCE, || lab.has_ended());
        }
        lab.restart();
        if !survived {
            let again = lab.run(operation);
            let text = said(&again);
            // The one before got so far that only its answer was missing.
            let is_done = ["already", "not found"].iter().any(|word| text.contains(word));
            assert!(again.status.success() || is_done, "{about}: {text}\n{}", lab.log());
        }
        settle(lab, &about);
        assert_eq!(lab.temporaries(), Vec::<PathBuf>::new(), "{about}");
        if survived {
            return point - 1;
        }
    }
    panic!("{operation:?} passes more than {TOO_MANY} points");
}

/// Whether the engine is also done with what it does after its answer.
fn outlives(lab: &mut Lab) -> bool {
    eventually("the engine has tidied up, or has ended", PATIENCE, || {
        let garbage = wire::unix(&lab.socket(), "POST /mobula/gc?dry_run=1", &[], &[]);
        lab.has_ended() || garbage.is_ok_and(|answer| answer.text() == "[]")
    });
    !lab.has_ended()
}

fn last_point(lab: &Lab) -> String {
    let log = std::fs::read_to_string(lab.home.path("points.log")).unwrap_or_default();
    log.lines().last().unwrap_or("no point").to_owned()
}

/// Where every test begins: a plugin that must never be lost, and a directory to create from.
fn lab() -> (Lab, String, BTreeSet<String>) {
    let lab = Lab::started();
    lab.create("kept", &probe().and_file("kept", "kept"));
    let ids = BTreeSet::from([lab.id("kept")]);
    let dir = probe().write(&lab.home);
    (lab, dir.to_str().unwrap().to_owned(), ids)
}

/// A plugin without its program: small, and quick to install.
fn small(lab: &Lab, version: &str) -> PathBuf {
    let dir = probe().and_file("version", version).write(&lab.home);
    std::fs::remove_file(dir.join("rootfs/probe")).unwrap();
    dir
}

/// The plugins are these, and each can be used.
fn are(lab: &Lab, about: &str, names: &[&str]) {
    let names: Vec<_> = names.iter().map(|name| format!("{name}:latest")).collect();
    assert_eq!(lab.names(), names, "{about}");
    assert_eq!(lab.entries("var/lib/mobula/plugins").len(), names.len(), "{about}");
}

fn works(lab: &Lab, name: &str) {
    lab.runs(name);
    let answer = lab.call(name, "List", &serde_json::json!({}));
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Removes the last plugin too, and looks for what is left of any.
fn end(lab: &Lab, ids: &BTreeSet<String>) {
    lab.ok(&["rm", "-f", "kept"]);
    lab.assert_nothing_left(ids);
}

fn collect(lab: &Lab, about: &str) {
    lab.ok(&["gc"]);
    assert_eq!(lab.garbage(), "[]", "{about}");
}

#[test]
fn create_killed_anywhere_ends_with_one_plugin() {
    if !is_root() {
        return;
    }
    let (mut lab, _, ids) = lab();
    let dir = small(&lab, "v1").to_str().unwrap().to_owned();
    let kills = kill_everywhere(
        &mut lab,
        &["create", "gone", &dir],
        |_| {},
        |lab, about| {
            are(lab, about, &["gone", "kept"]);
            collect(lab, about);
            lab.ok(&["rm", "gone"]);
        },
    );
    assert!(kills >= 8, "{kills}");
    lab.ok(&["enable", "kept"]);
    works(&lab, "kept");
    end(&lab, &ids);
}

#[test]
fn load_killed_anywhere_ends_with_one_plugin() {
    if !is_root() {
        return;
    }
    let (mut lab, _, ids) = lab();
    let dir = small(&lab, "v1").to_str().unwrap().to_owned();
    let archive = lab.home.path("a.tar").to_str().unwrap().to_owned();
    lab.ok(&["create", "gone", &dir]);
    lab.ok(&["save", "gone", "-o", &archive]);
    lab.ok(&["rm", "gone"]);
    let load = ["load", "--grant-all-permissions", "-i", &archive];
    let kills = kill_everywhere(
        &mut lab,
        &load,
        |_| {},
        |lab, about| {
            are(lab, about, &["gone", "kept"]);
            collect(lab, about);
            lab.ok(&["rm", "gone"]);
        },
    );
    assert!(kills >= 8, "{kills}");
    end(&lab, &ids);
}

#[test]
fn enable_and_disable_killed_anywhere_end_as_they_were_meant() {
    if !is_root() {
        return;
    }
    let (mut lab, _, ids) = lab();
    let kills = kill_everywhere(
        &mut lab,
        &["enable", "kept"],
        |_| {},
        |lab, about| {
            works(lab, "kept");
            are(lab, about, &["kept"]);
            lab.ok(&["disable", "kept"]);
            assert!(!lab.published("kept").exists(), "{about}");
        },
    );
    assert!(kills >= 4, "{kills}");
    let enabled = |lab: &Lab| {
        lab.ok(&["enable", "kept"]);
        works(lab, "kept");
    };
    let kills = kill_everywhere(&mut lab, &["disable", "kept"], enabled, |lab, about| {
        assert_eq!(lab.state("kept"), "disabled", "{about}");
        are(lab, about, &["kept"]);
        eventually("nothing runs", PATIENCE, || lab.shim("kept").is_none());
        eventually(&format!("its socket is gone; {about}"), PATIENCE / 6, || {
            !lab.published("kept").exists()
        });
    });
    assert!(kills >= 4, "{kills}");
    end(&lab, &ids);
}

#[test]
fn set_killed_anywhere_keeps_the_old_or_the_new_settings() {
    if !is_root() {
        return;
    }
    let (mut lab, _, ids) = lab();
    let set = ["set", "kept", "DEBUG=1"];
    let kills = kill_everywhere(
        &mut lab,
        &set,
        |_| {},
        |lab, about| {
            are(lab, about, &["kept"]);
            let shown = lab.api("GET /plugins/kept/json", "").text();
            assert!(shown.contains("DEBUG=1"), "{about}: {shown}");
            lab.ok(&["set", "kept", "DEBUG=0"]);
        },
    );
    assert!(kills >= 4, "{kills}");
    end(&lab, &ids);
}

/// The settings stay, and the old version or the new one is there, whole.
#[test]
fn upgrade_killed_anywhere_ends_with_the_new_version_and_the_old_settings() {
    if !is_root() || Command::new("docker-registry").arg("--version").output().is_err() {
        return;
    }
    let (mut lab, _, ids) = lab();
    let registry = Registry::start(&lab.home);
    for version in ["v1", "v2"] {
        let layer = pack(&small(&lab, version).join("rootfs"), Packing::Gzip);
        let layers = [registry.blob("p", GZIP, &layer)];
        let manifest = registry.describe("p", &probe(), &layers, DOCKER);
        registry.manifest("p", version, &manifest);
    }
    let (old, new) = (registry.name("p:v1"), registry.name("p:v2"));
    let install = |lab: &Lab| {
        lab.run(&["rm", "-f", "gone"]);
        lab.ok(&["install", "--disable", "--grant-all-permissions", "--alias", "gone", &old]);
        lab.ok(&["set", "gone", "DEBUG=mine"]);
    };
    let upgrade = ["upgrade", "--skip-remote-check", "--grant-all-permissions", "gone", &new];
    let kills = kill_everywhere(&mut lab, &upgrade, install, |lab, about| {
        are(lab, about, &["gone", "kept"]);
        let shown = lab.api("GET /plugins/gone/json", "").text();
        assert!(shown.contains("DEBUG=mine") && shown.contains("p:v2"), "{about}: {shown}");
        collect(lab, about);
    });
    assert!(kills >= 8, "{kills}");
    lab.ok(&["rm", "gone"]);
    end(&lab, &ids);
}

#[test]
fn remove_killed_anywhere_ends_without_the_plugin() {
    if !is_root() {
        return;
    }
    let (mut lab, dir, ids) = lab();
    let enabled = |lab: &Lab| {
        lab.ok(&["create", "gone", &dir]);
        lab.ok(&["enable", "gone"]);
        works(lab, "gone");
    };
    let kills = kill_everywhere(&mut lab, &["rm", "-f", "gone"], enabled, |lab, about| {
        are(lab, about, &["kept"]);
        eventually(&format!("its socket is gone; {about}"), PATIENCE / 6, || {
            !lab.published("gone").exists()
        });
        collect(lab, about);
        let root = lab.home.path("run/mobula/plugins");
        assert!(nothing_in(&root, &ids), "{about}: {:?}", lab.entries("run/mobula/plugins"));
    });
    assert!(kills >= 6, "{kills}");
    end(&lab, &ids);
}

/// Whether a directory has only entries of these plugins.
fn nothing_in(dir: &Path, ids: &BTreeSet<String>) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.into_iter().all(|entry| ids.contains(entry.file_name().to_str().unwrap()))
}
