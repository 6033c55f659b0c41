//! What `mobula plugin init` writes, this very program: as it is, and as the main way of a plugin,
//! over a registry to both engines.

use super::bed::{Bed, Kind, said};
use super::image::skeleton;
use super::volumes::containers;
use super::{on_both, on_ours};
use crate::engine::fixture::{kill, ok};
use crate::fixture::{PATIENCE, eventually};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

on_both!(a_new_plugin_is_created_and_enabled_as_it_is);

mod alone {
    use super::*;

    on_ours!(
        a_plugin_goes_from_a_directory_over_a_registry_to_both_engines,
        the_first_steps_of_a_new_plugin_are_those_of_its_readme,
    );
}

/// What `findmnt` says of the propagation of each mount at this place.
fn propagation(target: &Path) -> Vec<String> {
    let mut findmnt = Command::new("findmnt");
    let said = ok(findmnt.args(["-rn", "-o", "TARGET,PROPAGATION", "-M"]).arg(target));
    let line = |line: &str| {
        let (shown, propagation) = line.rsplit_once(' ').unwrap();
        assert_eq!(shown, target.to_str().unwrap());
        propagation.to_owned()
    };
    said.lines().map(line).collect()
}

/// create → push → install by dockerd and by ours → volume → a container writes → the machine reads
/// it through the propagated mount, which is shared.
fn a_plugin_goes_from_a_directory_over_a_registry_to_both_engines(kind: Kind) {
    let mut bed = Bed::start(kind);
    let name = bed.registry.name("me/chain:v1");
    let dir = skeleton(&bed.home, &name);
    bed.ok(&format!("plugin create {name} {}", dir.display()));
    bed.push(&name);
    bed.ok(&format!("plugin rm {name}"));
    bed.install(&name, "--alias ours");
    containers(&mut bed);
    bed.box_ok(&format!("plugin install --grant-all-permissions --alias theirs {name}"));

    let id = bed.box_ok("plugin inspect -f {{.ID}} theirs");
    let theirs = bed.home.path("docker/plugins").join(id).join("propagated-mount");
    let ours = bed.propagated("ours");
    bed.ok("volume create -d ours of-ours");
    bed.box_ok("volume create -d theirs of-theirs");
    for (driver, root) in [("ours", &ours), ("theirs", &theirs)] {
        let volume = format!("of-{driver}");
        let run = format!("run -d --network none -v {volume}:/d --volume-driver {driver}");
        bed.box_ok(&format!("{run} --name {driver} box sleep 1000"));
        ok(bed.box_docker(&format!("exec {driver} sh -c")).arg("echo kept > /d/file"));
        let target = root.join("mnt").join(&volume);
        assert_eq!(std::fs::read_to_string(target.join("file")).unwrap(), "kept\n", "{driver}");
        let shared = propagation(&target);
        // dockerd's are there twice (fact 10).
        assert_eq!(shared, vec!["shared"; if driver == "ours" { 1 } else { 2 }], "{driver}");
        assert!(propagation(root).iter().all(|it| it == "shared"), "{driver}");
        bed.box_ok(&format!("rm -f {driver}"));
        assert!(host::mountinfo::at(&target).unwrap().is_none(), "{driver}");
        let data = root.join("data").join(&volume).join("file");
        assert_eq!(std::fs::read_to_string(data).unwrap(), "kept\n", "{driver}");
    }
    assert!(!theirs.join("data/of-ours").exists() && !ours.join("data/of-theirs").exists());
}

fn a_new_plugin_is_created_and_enabled_as_it_is(kind: Kind) {
    let bed = Bed::start(kind);
    let dir = skeleton(&bed.home, "me/new");
    bed.ok(&format!("plugin create me/new {}", dir.display()));
    bed.ok("plugin enable me/new");
    assert!(bed.is_enabled("me/new"));
    bed.ok("volume create -d me/new v");
    assert_eq!(bed.ok("volume ls -q"), "v");
    assert!(bed.propagated("me/new").join("data/v").is_dir());
    bed.ok("volume rm v");
    assert!(!bed.propagated("me/new").join("data/v").exists());
    bed.ok("plugin disable me/new");
    bed.ok("plugin rm me/new");
}

/// With our own command line, from within the new directory.
fn the_first_steps_of_a_new_plugin_are_those_of_its_readme(kind: Kind) {
    let bed = Bed::start(kind);
    let name = bed.registry.name("me/new");
    let dir = skeleton(&bed.home, &name);
    let readme = std::fs::read_to_string(dir.join("README.md")).unwrap();
    let steps = readme.lines().filter_map(|line| line.strip_prefix("    mobula "));
    let mut count = 0;
    for step in steps {
        let words: Vec<_> = step.split('#').next().unwrap().split_whitespace().collect();
        ok(bed.home.command(&words).current_dir(&dir));
        count += 1;
    }
    assert_eq!(count, 4, "{readme}");
    bed.call(&name, "Create", &json!({ "Name": "v" }));
    let mounted: Value = bed.call(&name, "Mount", &json!({ "Name": "v", "ID": "a" }));
    let target = PathBuf::from(mounted["Mountpoint"].as_str().unwrap());
    assert!(target.starts_with(bed.propagated(&name)), "{target:?}");
    assert_eq!(propagation(&target), ["shared"]);
    // A plugin that dies has its count of users on disk.
    let pid = || bed.state_of(&name)["pid"].as_u64();
    let old = pid().unwrap();
    kill("-KILL", old.try_into().unwrap());
    eventually("it is back", PATIENCE, || pid().is_some_and(|pid| pid != old));
    let (status, answer) = bed.try_call(&name, "Remove", &json!({ "Name": "v" }).to_string());
    assert!(status != 200 && answer.to_string().contains("in use"), "{status} {answer}");
    bed.call(&name, "Unmount", &json!({ "Name": "v", "ID": "a" }));
    assert!(host::mountinfo::at(&target).unwrap().is_none());
    let log = said(&bed.home.run(&["plugin", "logs", &name]));
    assert!(log.contains("VolumeDriver.Mount: done"), "LOG_LEVEL=debug was set: {log}");
}
