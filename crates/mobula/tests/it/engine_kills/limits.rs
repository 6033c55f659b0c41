//! Too few file descriptors, two engines, engines that are stopped in the middle of something, and
//! clients that hold up others.

use super::lab::{Lab, limited, said};
use crate::engine::fixture::kill;
use crate::fixture::{PATIENCE, eventually, is_root};
use crate::plugins::image::probe;
use crate::plugins::wire;
use std::collections::BTreeSet;
use std::io::{Read, Write};

#[test]
fn an_engine_out_of_file_descriptors_recovers() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    let mut command = lab.engine(&[]);
    lab.start_as(limited(&mut command, 64));
    assert!(lab.comes_up(), "{}", lab.log());
    lab.probe("probe");
    let shim = lab.shim("probe").unwrap();
    let idle: Vec<_> = (0..100).filter_map(|_| wire::connect(&lab.socket()).ok()).collect();
    assert!(idle.len() > 64, "{}", idle.len());
    kill("-KILL", shim);
    drop(idle);
    eventually("the engine answers again", PATIENCE, || lab.answers());
    lab.runs("probe");
    lab.ok(&["disable", "probe"]);
    lab.ok(&["enable", "probe"]);
}

#[test]
fn a_second_engine_of_the_same_home_is_refused() {
    if !is_root() {
        return;
    }
    let lab = Lab::started();
    lab.probe("probe");
    let pid = lab.describe("probe")["pid"].clone();
    let other = lab.home.path("other.sock");
    for words in [&["engine"][..], &["engine", "--socket", other.to_str().unwrap()]] {
        let output = lab.home.command(words).output().unwrap();
        assert!(!output.status.success(), "{words:?}");
        let text = said(&output);
        let is_clear = ["locked by", "already listens", "in use", "another"];
        assert!(is_clear.iter().any(|word| text.contains(word)), "{words:?}: {text}");
    }
    assert!(lab.answers());
    assert_eq!(lab.describe("probe")["pid"], pid);
}

#[test]
fn an_engine_stopped_while_it_enables_leaves_the_plugin_disabled_or_enabled() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::started();
    lab.create("probe", &probe().in_mode("nolisten"));
    let mut enabling = lab.command(&["enable", "--timeout", "60", "probe"]).spawn().unwrap();
    eventually("it is being started", PATIENCE, || lab.shim("probe").is_some());
    lab.stop();
    assert!(!enabling.wait().unwrap().success());
    lab.start();
    eventually("nothing runs", PATIENCE, || lab.shim("probe").is_none());
    assert_eq!(lab.state("probe"), "disabled");
    lab.ok(&["set", "probe", "PROBE_MODE="]);
    lab.ok(&["enable", "probe"]);
    let ids = BTreeSet::from([lab.id("probe")]);
    lab.ok(&["rm", "-f", "probe"]);
    lab.assert_nothing_left(&ids);
}

/// Somebody sends half a plugin and then nothing, a plugin is removed (which collects garbage), and
/// the others go on.
#[test]
fn a_client_that_stalls_does_not_hold_up_the_others() {
    if !is_root() {
        return;
    }
    let lab = Lab::started();
    lab.create("a", &probe());
    let stall = || {
        let mut stalled = wire::connect(&lab.socket()).unwrap();
        let head = "POST /plugins/create?name=half HTTP/1.1\r\nHost: x\r\nContent-Type: \
                    application/x-tar\r\nContent-Length: 100000\r\n\r\n";
        stalled.write_all(head.as_bytes()).unwrap();
        stalled.write_all(&[0; 100]).unwrap();
        stalled
    };
    let mut stalled = stall();
    eventually("it is being read", PATIENCE, || {
        let headers = [("Content-Type", "application/x-tar")];
        let other = wire::unix(&lab.socket(), "POST /plugins/create?name=half", &headers, &[]);
        let is_read = other.unwrap().text().contains("already exists");
        if !is_read {
            // The other one may have come first, and taken the name.
            stalled = stall();
        }
        is_read
    });
    lab.ok(&["rm", "a"]);
    let dir = probe().write(&lab.home);
    let mut creating = lab.command(&["create", "b", dir.to_str().unwrap()]).spawn().unwrap();
    let mut has_ended = None;
    let until = std::time::Instant::now() + PATIENCE / 3;
    while has_ended.is_none() && std::time::Instant::now() < until {
        has_ended = creating.try_wait().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // Otherwise it waits for as long as the client that stalls may.
    drop(stalled);
    creating.wait().unwrap();
    assert!(
        has_ended.is_some_and(|status| status.success()),
        "another create waits for the stalled one"
    );
}

/// A reader of an archive that goes away is no failure of anything.
#[test]
fn a_reader_of_an_archive_that_goes_away_leaves_nothing() {
    if !is_root() {
        return;
    }
    let lab = Lab::started();
    lab.create("a", &probe());
    let mut reader = wire::connect(&lab.socket()).unwrap();
    reader.write_all(b"GET /mobula/plugins/a/save HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut first = [0; 64];
    let count = reader.read(&mut first).unwrap();
    assert!(first[..count].starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&first));
    drop(reader);
    let id = lab.id("a");
    lab.ok(&["rm", "a"]);
    lab.assert_nothing_left(&BTreeSet::from([id]));
}
