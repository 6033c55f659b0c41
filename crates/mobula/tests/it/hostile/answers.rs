//! Plugins that are not what they say, and places for sockets that cannot be written to.

use crate::engine_kills::lab::Lab;
use crate::fixture::{PATIENCE, eventually, is_root};
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

/// A legacy plugin that answers everything with this body.
fn legacy(path: &Path, body: &'static str) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n");
            let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes());
        }
    });
}

fn create(lab: &Lab, driver: &str) -> String {
    let wish = json!({ "Name": "v", "Driver": driver }).to_string();
    let answer = lab.api("POST /volumes/create", &wish);
    assert!(answer.status >= 400, "{answer:?}");
    answer.text()
}

#[test]
fn a_plugin_that_says_it_is_of_another_type_is_no_volume_driver() {
    if !is_root() {
        return;
    }
    let lab = Lab::started();
    let dir = lab.home.path("run/docker/plugins");
    std::fs::create_dir_all(&dir).unwrap();
    for (name, body, said) in [
        ("network", r#"{"Implements":["NetworkDriver"]}"#, "it implements NetworkDriver"),
        ("nothing", r#"{"Implements":[]}"#, "is no volume driver"),
        ("null", r#"{"Implements":null}"#, "is no volume driver"),
        ("number", r#"{"Implements":5}"#, "is no volume driver"),
        ("text", "VolumeDriver", "Plugin.Activate"),
        ("empty", "", "Plugin.Activate"),
    ] {
        legacy(&dir.join(format!("{name}.sock")), body);
        let answer = create(&lab, name);
        assert!(answer.contains(said), "{name}: {answer}");
    }
    lab.probe("probe");
    assert_eq!(lab.state("probe"), "running");
    assert_eq!(lab.api("GET /volumes", "").status, 200);
    lab.ok(&["disable", "probe"]);
}

fn run(program: &str, args: &[&str]) {
    assert!(Command::new(program).args(args).status().unwrap().success(), "{program} {args:?}");
}

/// Item 20 of the faults: plugins run unpublished, and are published once that is possible.
#[test]
fn a_directory_of_sockets_that_is_read_only_keeps_no_plugin_from_running() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    let dir = lab.home.path("run/docker/plugins");
    std::fs::create_dir_all(&dir).unwrap();
    let at = dir.to_str().unwrap();
    run("mount", &["--bind", at, at]);
    run("mount", &["-o", "remount,bind,ro", at]);
    lab.start();
    lab.probe("probe");
    assert_eq!(lab.state("probe"), "running");
    let wish = json!({ "Name": "v", "Driver": "probe" }).to_string();
    assert_eq!(lab.api("POST /volumes/create", &wish).status, 201);
    eventually("it is told", PATIENCE, || lab.log().contains("plugin not published"));
    assert!(lab.log().contains("Read-only file system"), "{}", lab.log());
    assert!(!lab.published("probe").exists());
    // The engine's own mount table is this one.
    run("mount", &["-o", "remount,bind,rw", at]);
    eventually("it is published", PATIENCE, || lab.published("probe").exists());
    assert_eq!(lab.call("probe", "List", &json!({})).status, 200);
    assert_eq!(lab.log().matches("plugin not published").count(), 1);
    assert_eq!(lab.api("DELETE /volumes/v", "").status, 204);
    lab.ok(&["disable", "probe"]);
    eventually("it is gone", PATIENCE, || !lab.published("probe").exists());
    run("umount", &[at]);
}
