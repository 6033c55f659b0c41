//! Volumes of managed plugins: through the API, in containers, and with plugins that answer badly.

use super::bed::{Bed, Kind};
use super::image::probe;
use super::{on_both, on_ours};
use crate::engine::fixture::archive;
use serde_json::{Value, json};

on_both!(
    what_one_container_writes_another_one_reads,
    an_error_of_the_plugin_is_an_error_of_the_command,
    a_plugin_that_hangs_up_once_is_asked_again_with_all_that_was_said,
    a_call_may_take_longer_than_the_start,
    volumes_of_a_plugin_are_created_shown_and_removed,
);

/// An engine of containers: dockerd itself, or one beside `mobula engine`.
pub fn containers(bed: &mut Bed) {
    if bed.is_ours() {
        bed.start_neighbour();
    }
    let archive = archive(&bed.home);
    bed.box_ok(&format!("import {} box", archive.display()));
}

fn what_one_container_writes_another_one_reads(kind: Kind) {
    let mut bed = Bed::start(kind);
    bed.probe("probe");
    containers(&mut bed);
    bed.box_ok("volume create -d probe shared");
    let listed = bed.box_ok("volume ls");
    assert!(listed.contains("probe") && listed.contains("shared"), "{listed}");
    let run = "run --rm --network none -v shared:/d box";
    bed.box_ok(&format!("{run} touch /d/written"));
    assert_eq!(bed.box_ok(&format!("{run} ls /d")), "written");
    assert!(bed.propagated("probe").join("volumes/shared/written").exists());
    assert_eq!(bed.count("probe", "VolumeDriver.Mount"), 2);
    assert_eq!(bed.count("probe", "VolumeDriver.Unmount"), 2);
    assert_eq!(bed.count("probe", "VolumeDriver.Path"), 0);
    assert_eq!(bed.count("probe", "Plugin.Activate"), 0, "managed plugins are not asked (fact 1)");
    bed.box_ok("volume rm shared");
    assert!(!bed.propagated("probe").join("volumes/shared").exists());
}

fn an_error_of_the_plugin_is_an_error_of_the_command(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    for name in ["bad-create-err", "bad-create-http500", "bad-create-http500j"] {
        let said = bed.fails(&format!("volume create -d probe {name}"));
        assert!(said.contains("bad on demand"), "{name}: {said}");
    }
    bed.fails("volume create -d probe bad-create-empty");
    bed.ok("volume create -d probe bad-remove-err");
    let said = bed.fails("volume rm bad-remove-err");
    assert!(said.contains("bad on demand"), "{said}");
    // One that does not list its volumes hides nobody else's.
    bed.probe("other");
    bed.ok("volume create -d other fine");
    bed.ok("volume create -d probe bad-list-err");
    let listed = bed.ok("volume ls -q");
    assert!(listed.lines().any(|name| name == "fine"), "{listed}");
}

/// The bodies that the probe got for a method.
fn bodies(bed: &Bed, method: &str) -> Vec<String> {
    let calls = bed.ask("probe", "/calls").json();
    let requests = calls["requests"].as_array().unwrap().iter();
    let body = |request: &Value| request["body"].as_str().unwrap().trim().to_owned();
    requests.filter(|request| request["method"] == method).map(body).collect()
}

/// dockerd sends an empty body the second time (fact 3).
fn a_plugin_that_hangs_up_once_is_asked_again_with_all_that_was_said(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    let output = bed.docker("volume create -d probe bad-create-drop1").output().unwrap();
    let bodies = bodies(&bed, "VolumeDriver.Create");
    assert!(bodies[0].contains("bad-create-drop1"), "{bodies:?}");
    let is_empty = bodies.iter().any(String::is_empty);
    assert_eq!(is_empty, !bed.is_ours(), "{bodies:?}, {output:?}");
}

/// With dockerd a plugin that is enabled with a timeout has it for all calls (fact 4).
fn a_call_may_take_longer_than_the_start(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("probe", &probe());
    bed.ok("plugin enable --timeout 3 probe");
    let output = bed.docker("volume create -d probe bad-create-sleep5").output().unwrap();
    assert_eq!(output.status.success(), bed.is_ours(), "{output:?}");
}

fn volumes_of_a_plugin_are_created_shown_and_removed(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    bed.ok("volume create -d probe -o fs=tmpfs --label a=b one");
    let shown: Value = serde_json::from_str(&bed.ok("volume inspect one")).unwrap();
    assert_eq!(shown[0]["Driver"], "probe:latest");
    assert_eq!(shown[0]["Options"], json!({ "fs": "tmpfs" }));
    assert_eq!(shown[0]["Labels"], json!({ "a": "b" }));
    assert_eq!(shown[0]["Status"]["fs"], "tmpfs");
    assert_eq!(shown[0]["Scope"], "local");
    assert_eq!(bed.count("probe", "VolumeDriver.Create"), 1);
    bed.ok("volume create -d probe one");
    assert_eq!(bed.count("probe", "VolumeDriver.Create"), 1, "there already");
    assert_eq!(bed.ok("volume ls -q -f driver=probe:latest"), "one");
    let said = bed.fails("volume inspect two");
    assert!(said.to_lowercase().contains("no such volume"), "{said}");
    assert_eq!(bed.ok("volume rm one"), "one");
    assert_eq!(bed.ok("volume ls -q"), "");
    assert!(bed.fails("volume create -d missing x").contains("not found"));
    bed.ok("plugin disable probe");
    let said = bed.fails("volume create -d probe x");
    assert!(said.contains("disabled"), "{said}");
}
