//! Plugins that crash whenever they are started, or never listen: they are tried again without
//! burning the processor, stay enabled, and recover by themselves once the cause is mended.

use super::lab::Lab;
use crate::fixture::{PATIENCE, eventually, is_root};
use crate::plugins::image::{Image, probe};
use serde_json::json;
use std::time::{Duration, Instant};

/// A probe that leaves its volumes, and the count of its starts, in this directory of the machine.
fn with_directory(lab: &Lab, mode: &str) -> Image {
    let dir = lab.home.path("given");
    std::fs::create_dir_all(&dir).unwrap();
    let mut image = probe().in_mode(mode).with(
        "mounts",
        json!([{
            "name": "given", "description": "", "settable": null, "type": "bind",
            "source": dir, "destination": "/given", "options": ["rbind", "rw"],
        }]),
    );
    image.config["env"].as_array_mut().unwrap().push(
        json!({ "name": "PROBE_ROOT", "description": "", "value": "/given", "settable": null }),
    );
    image
}

fn starts(lab: &Lab) -> u64 {
    let text = std::fs::read_to_string(lab.home.path("given/starts")).unwrap_or_default();
    text.parse().unwrap_or(0)
}

#[test]
fn a_plugin_in_a_loop_of_crashes_is_tried_less_and_less_often_and_recovers() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    // It is mended before it is left alone for a minute.
    let engine = lab.engine(&["--set", "engine.restarts=50"]);
    lab.start_as(engine);
    assert!(lab.comes_up(), "{}", lab.log());
    let image = with_directory(&lab, "crash-at-start:1000");
    lab.create("probe", &image);
    // It starts once, and whenever its file is there.
    std::fs::write(lab.home.path("given/starts"), "2000").unwrap();
    lab.ok(&["enable", "probe"]);
    std::fs::write(lab.home.path("given/starts"), "0").unwrap();
    let pid = lab.describe("probe")["pid"].as_u64().unwrap();
    let began = Instant::now();
    crate::engine::fixture::kill("-KILL", u32::try_from(pid).unwrap());
    eventually("it has crashed a few times", PATIENCE, || starts(&lab) >= 5);
    // Pauses of 0, 100, 200, 400 ms: more starts than that took no pause.
    let most = 4 + u64::try_from(began.elapsed().as_millis() / 100).unwrap();
    assert!(starts(&lab) <= most, "{} starts", starts(&lab));
    let shown = lab.describe("probe");
    assert_eq!(shown["enabled"], true);
    std::fs::write(lab.home.path("given/starts"), "2000").unwrap();
    lab.runs("probe");
    lab.ok(&["disable", "probe"]);
}

#[test]
fn a_plugin_that_never_listens_is_not_enabled_and_its_last_words_are_told() {
    if !is_root() {
        return;
    }
    let lab = Lab::started();
    lab.create("probe", &probe().in_mode("nolisten,stderr:no disk to be found"));
    let began = Instant::now();
    let refused = lab.fails(&["enable", "--timeout", "2", "probe"]);
    assert!(refused.contains("no disk to be found"), "{refused}");
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert_eq!(lab.state("probe"), "disabled");
    eventually("nothing runs", PATIENCE, || lab.shim("probe").is_none());
    lab.ok(&["set", "probe", "PROBE_MODE="]);
    lab.ok(&["enable", "probe"]);
    lab.ok(&["disable", "probe"]);
}

/// A plugin that was fine when it was enabled and never listens again: the API answers all the
/// time, and it is tried again ever more slowly.
#[test]
fn an_engine_with_a_plugin_that_never_listens_answers_and_slows_down() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::started();
    lab.create("probe", &probe().in_mode("nolisten"));
    // As if it had listened once: nothing else enables it.
    let record = lab.state_dir("probe").join("plugin.json");
    lab.kill();
    let text = std::fs::read_to_string(&record).unwrap();
    let enabled = text.replace("\"enabled\": false", "\"enabled\": true");
    assert_ne!(text, enabled);
    std::fs::write(&record, enabled).unwrap();
    let command = lab.engine(&["--set", "engine.startTimeout=2"]);
    lab.start_as(command);
    assert!(lab.comes_up());
    assert_eq!(lab.names(), ["probe:latest"]);
    eventually("it fails", PATIENCE, || lab.state("probe") == "failing");
    let shown = lab.describe("probe");
    assert_eq!(shown["enabled"], true);
    assert!(shown["problem"].to_string().contains("does not listen"), "{shown}");
    lab.ok(&["disable", "probe"]);
}
