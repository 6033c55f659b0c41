//! A full disk below the state directory, and one that is read-only: a clear error, nothing lost, and
//! it works again afterwards.

use super::lab::{Lab, said};
use crate::engine::fixture::ok;
use crate::fixture::{PATIENCE, eventually, is_root};
use crate::plugins::image::{Image, probe};
use crate::plugins::registry::Registry;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

/// The state on a file system of this size.
fn small(size: &str) -> Lab {
    let lab = Lab::new();
    let state = lab.home.path("var/lib/mobula");
    std::fs::create_dir_all(&state).unwrap();
    ok(Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
        .arg(&state));
    lab
}

/// Fills it up to the last byte.
fn fill(lab: &Lab) -> PathBuf {
    let path = lab.home.path("var/lib/mobula/ballast");
    let mut file = std::fs::File::options().append(true).create(true).open(&path).unwrap();
    for chunk in [1 << 20, 4096, 512, 1] {
        while std::io::Write::write_all(&mut file, &vec![1; chunk]).is_ok() {}
    }
    path
}

fn is_clear(text: &str) -> bool {
    ["space", "full"].iter().any(|word| text.to_lowercase().contains(word))
}

/// Random bytes, so that packing does not make them small.
fn incompressible(bytes: usize) -> Image {
    let mut state = 1_u64;
    let mut text = String::new();
    while text.len() < bytes {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{state:016x}"));
    }
    probe().and_file("big", &text)
}

#[test]
fn creating_on_a_full_disk_fails_clearly_and_leaves_nothing() {
    if !is_root() {
        return;
    }
    let mut lab = small("64M");
    lab.start();
    lab.create("kept", &probe());
    let before = lab.entries("var/lib/mobula/plugins");
    let dir = incompressible(40 << 20).write(&lab.home);
    let failed = lab.fails(&["create", "big", dir.to_str().unwrap()]);
    assert!(is_clear(&failed), "{failed}");
    assert_eq!(lab.entries("var/lib/mobula/plugins"), before);
    lab.ok(&["gc"]);
    let ballast = fill(&lab);
    let dir = probe().and_file("other", "x").write(&lab.home);
    let failed = lab.fails(&["create", "other", dir.to_str().unwrap()]);
    assert!(is_clear(&failed), "{failed}");
    assert_eq!(lab.entries("var/lib/mobula/plugins"), before, "no empty directory");
    assert_eq!(lab.names(), ["kept:latest"]);
    std::fs::remove_file(ballast).unwrap();
    lab.ok(&["create", "other", dir.to_str().unwrap()]);
    lab.ok(&["enable", "other"]);
    lab.ok(&["rm", "-f", "other"]);
}

#[test]
fn settings_and_wishes_on_a_full_disk_stay_as_they_were() {
    if !is_root() {
        return;
    }
    let mut lab = small("64M");
    lab.start();
    lab.create("probe", &probe());
    let ballast = fill(&lab);
    let before = lab.api("GET /plugins/probe/json", "").text();
    for words in [&["set", "probe", "DEBUG=1"][..], &["enable", "probe"]] {
        let failed = lab.fails(words);
        assert!(is_clear(&failed), "{words:?}: {failed}");
        assert_eq!(lab.api("GET /plugins/probe/json", "").text(), before, "{words:?}");
    }
    eventually("nothing runs", PATIENCE, || lab.shim("probe").is_none());
    lab.restart();
    assert_eq!(lab.api("GET /plugins/probe/json", "").text(), before);
    std::fs::remove_file(&ballast).unwrap();
    lab.ok(&["enable", "probe"]);
    let ballast = fill(&lab);
    let failed = lab.fails(&["disable", "probe"]);
    assert!(is_clear(&failed), "{failed}");
    lab.runs("probe");
    lab.restart();
    lab.runs("probe");
    std::fs::remove_file(ballast).unwrap();
    lab.ok(&["disable", "probe"]);
    let ids = BTreeSet::from([lab.id("probe")]);
    lab.ok(&["rm", "probe"]);
    eventually("nothing is left", PATIENCE, || {
        lab.leaks(&ids).iter().all(|left| left.ends_with("var/lib/mobula"))
    });
}

/// The space is gone at the moment of the exchange: the version before goes on.
#[test]
fn an_upgrade_on_a_full_disk_keeps_the_version_before() {
    if !is_root() || Command::new("docker-registry").arg("--version").output().is_err() {
        return;
    }
    let mut lab = small("64M");
    let registry = Registry::start(&lab.home);
    registry.publish(&lab.home, "probe:v1", &probe());
    registry.publish(&lab.home, "probe:v2", &probe().and_file("version", "v2"));
    registry.publish(&lab.home, "probe:big", &incompressible(40 << 20));
    lab.start();
    let name = registry.name("probe:v1");
    lab.ok(&["install", "--grant-all-permissions", "--alias", "probe", &name]);
    let before = lab.api("GET /plugins/probe/json", "").text();
    let upgrade = |tag: &str| {
        let remote = registry.name(tag);
        let line = format!("POST /plugins/probe/upgrade?drain=1&remote={remote}");
        let privileges = lab.api(&format!("GET /plugins/privileges?remote={remote}"), "").text();
        lab.api(&line, &privileges).text()
    };
    let answer = upgrade("probe:big");
    assert!(is_clear(&answer), "{answer}");
    lab.runs("probe");
    assert_eq!(lab.api("GET /plugins/probe/json", "").text(), before);
    lab.ok(&["gc"]);
    // All is here already but for the record.
    lab.ok(&[
        "install",
        "--disable",
        "--grant-all-permissions",
        "--alias",
        "other",
        &registry.name("probe:v2"),
    ]);
    let ballast = fill(&lab);
    let answer = upgrade("probe:v2");
    assert!(is_clear(&answer), "{answer}");
    lab.runs("probe");
    assert_eq!(lab.api("GET /plugins/probe/json", "").text(), before);
    std::fs::remove_file(ballast).unwrap();
    let answer = upgrade("probe:v2");
    assert!(!answer.contains("error"), "{answer}");
    lab.runs("probe");
    assert_ne!(lab.api("GET /plugins/probe/json", "").text(), before);
}

#[test]
fn a_read_only_state_directory_is_told() {
    if !is_root() {
        return;
    }
    let mut lab = small("64M");
    lab.start();
    lab.create("probe", &probe());
    lab.kill();
    let state = lab.home.path("var/lib/mobula");
    ok(Command::new("mount").args(["-o", "remount,ro"]).arg(&state));
    let mut command = lab.engine(&[]);
    lab.start_as(std::mem::replace(&mut command, Command::new("true")));
    if lab.comes_up() {
        assert_eq!(lab.names(), ["probe:latest"]);
        let failed = said(&lab.run(&["set", "probe", "DEBUG=1"]));
        assert!(failed.to_lowercase().contains("read-only"), "{failed}");
    } else {
        assert!(lab.log().to_lowercase().contains("read-only"), "{}", lab.log());
    }
    lab.kill();
    ok(Command::new("mount").args(["-o", "remount,rw"]).arg(&state));
    lab.start();
    lab.ok(&["enable", "probe"]);
    lab.ok(&["disable", "probe"]);
}
