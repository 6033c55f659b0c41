//! What dockerd calls, when and how often; and what happens when a call fails.

use super::fixture::{Engine, can_run};
use super::recorder::Recorder;
use crate::fixture::{PATIENCE, eventually, request};
use serde_json::json;
use std::os::unix::net::UnixListener;
use std::process::{Child, Stdio};
use std::time::Duration;

/// An engine whose plugin socket is that of a recorder.
fn recorded() -> (Recorder, Engine) {
    let engine = Engine::without_agent("", &[]);
    let socket = engine.home.path("agent.sock");
    engine.home.configure(&format!(
        "services: {{mobula: {{driver: loop, volume: {{size: 64MiB}}}}}}\n\
         docker: {{mobula: {{listen: \"unix://{}\"}}}}\n",
        socket.display()
    ));
    let mut engine = engine;
    engine.start_agent();
    (Recorder::start(&engine.home.plugin(), &socket), engine)
}

#[test]
fn each_volume_is_created_mounted_unmounted_and_removed_once() {
    if !can_run("dockerd") {
        return;
    }
    let (recorder, engine) = recorded();
    let [mut creates, mut mounts, mut unmounts, mut removes] = [0; 4];
    let mut more = |what: &str, more: [usize; 4]| {
        creates += more[0];
        mounts += more[1];
        unmounts += more[2];
        removes += more[3];
        assert_eq!(recorder.counts(), [creates, mounts, unmounts, removes], "{what}");
    };
    engine.create("named");
    more("creation", [1, 0, 0, 0]);
    engine.run("-v named:/d", "true");
    more("a run", [0, 1, 1, 0]);
    engine.ok("volume rm named");
    more("removal", [0, 0, 0, 1]);

    engine.run("--volume-driver mobula -v named:/d", "true");
    more("a run of a volume that is not there yet", [1, 1, 1, 0]);
    engine.ok("volume rm named");
    more("its removal", [0, 0, 0, 1]);

    engine.run("--volume-driver mobula -v /d", "touch /d/x");
    more("an unnamed volume", [1, 1, 1, 1]);

    super::fixture::ok(&mut engine.script("--name one --volume-driver mobula -v /d", "touch /d/x"));
    assert_eq!(engine.run("--volumes-from one", "ls /d | grep x"), "x");
    more("the volumes of another container", [1, 2, 2, 0]);
    engine.ok("rm -fv one");
    more("removal of a container with its volumes", [0, 0, 0, 1]);

    engine.start_container("running", "--volume-driver mobula -v /d", "echo 1 > /d/x; sleep 1000");
    more("a running container", [1, 1, 0, 0]);
    let file = engine.home.path("copied");
    eventually("it has written", PATIENCE, || {
        engine.exec("running", "cat /d/x 2>/dev/null || true") == "1"
    });
    engine.ok(&format!("cp running:/d/x {}", file.display()));
    assert_eq!(std::fs::read_to_string(file).unwrap(), "1\n");
    more("a copy out of it", [0, 1, 1, 0]);
    engine.ok("rm -fv running");
    more("its removal with its volumes", [0, 0, 1, 1]);

    let lists = recorder.count("VolumeDriver.List");
    engine.ok("volume ls");
    assert_eq!(recorder.count("VolumeDriver.List"), lists + 1);
    let gets = recorder.count("VolumeDriver.Get");
    let said = engine.fails("volume inspect nosuch");
    assert!(said.to_lowercase().contains("no such volume"), "{said}");
    assert_eq!(recorder.count("VolumeDriver.Get"), gets + 1);
    assert_eq!(recorder.count("VolumeDriver.Path"), 0);
    assert_eq!(
        recorder.count("VolumeDriver.Capabilities"),
        1,
        "a plugin with a socket is asked once"
    );
    assert_eq!(recorder.count("Plugin.Activate"), 1);
    let ids = recorder.ids("Mount");
    assert!(ids.iter().all(|id| id.len() == 64), "{ids:?}");
    assert_eq!(ids, recorder.ids("Unmount"));
    assert_eq!(engine.home.loops().len(), 0);
}

#[test]
fn a_failed_mount_tells_why_and_leaves_nothing() {
    if !can_run("dockerd") {
        return;
    }
    let (recorder, engine) = recorded();
    engine.create("bad");
    engine.run("-v bad:/d", "echo kept > /d/file");
    engine.released("bad");
    let image = engine.home.volume_dir("bad").join("image");
    let aside = engine.home.path("aside");
    std::fs::rename(&image, &aside).unwrap();
    let file = std::fs::File::create(&image).unwrap();
    file.set_len(64 << 20).unwrap();
    super::fixture::ok(std::process::Command::new("mkswap").arg(&image));
    let [_, mounts, unmounts, _] = recorder.counts();
    for workdir in ["", "-w /d"] {
        let said = engine.run_fails(&format!("-v bad:/d {workdir}"), "true");
        assert!(said.contains("swap") && said.contains("bad"), "{said}");
        let (_, ledger) = request(&engine.home.control(), "GET", "/v1/mounts", "");
        assert_eq!(ledger["mounts"], json!([]), "cleaned up before it is answered");
        engine.released("bad");
    }
    let [_, mounts_after, unmounts_after, _] = recorder.counts();
    assert_eq!((mounts_after - mounts, unmounts_after - unmounts), (2, 0));
    assert!(!engine.home.target("bad").exists());
    let signature = std::fs::read(&image).unwrap()[4086..4096].to_vec();
    assert_eq!(signature, b"SWAPSPACE2", "what was there still is");
    std::fs::rename(&aside, &image).unwrap();
    assert_eq!(engine.run("-v bad:/d", "cat /d/file"), "kept");
}

#[test]
fn a_volume_that_was_removed_behind_dockerds_back_can_be_created_again() {
    if !can_run("dockerd") {
        return;
    }
    let engine = Engine::start();
    engine.create("-o size=64MiB gone");
    engine.home.ok(&["volume", "rm", "gone"]);
    assert!(engine.fails("volume inspect gone").to_lowercase().contains("no such volume"));
    engine.create("-o size=32MiB gone");
    let volume = engine.inspect("volume inspect gone");
    assert_eq!(volume["Status"]["size"], "32MiB");
    assert_eq!(volume["Options"], json!({ "size": "32MiB" }));
    engine.home.ok(&["volume", "rm", "gone"]);
    engine.ok("volume create -d local gone");
    assert_eq!(engine.inspect("volume inspect gone")["Driver"], "local");
    // And one that was made behind its back is found.
    engine.home.ok(&["volume", "create", "found", "--size", "32MiB"]);
    engine.run("-v found:/d", "echo kept > /d/file");
    assert_eq!(engine.inspect("volume inspect found")["Driver"], "mobula");
}

fn begin(engine: &Engine, words: &str) -> Child {
    engine.docker(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn neither_a_dead_plugin_nor_a_late_start_is_in_the_way() {
    if !can_run("dockerd") {
        return;
    }
    let mut engine =
        Engine::without_agent("services: {mobula: {driver: loop, volume: {size: 64MiB}}}\n", &[]);
    // The agent starts while dockerd looks for it.
    let mut late = begin(&engine, "volume create -d mobula late");
    std::thread::sleep(Duration::from_secs(2));
    assert!(late.try_wait().unwrap().is_none(), "dockerd waits for the plugin");
    engine.start_agent();
    let output = late.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(engine.run("-v late:/d", "echo fine > /d/x; cat /d/x"), "fine");

    drop(UnixListener::bind("/run/docker/plugins/dead.sock").unwrap());
    let mut dead = begin(&engine, "volume create -d dead nothing");
    // It may be overtaken only if it is under way.
    eventually("dockerd asks the dead one", PATIENCE, || {
        let log = std::fs::read_to_string(engine.home.path("dockerd.log")).unwrap();
        log.contains("dead.sock")
    });
    engine.create("quick");
    engine.run("-v quick:/d", "touch /d/x");
    assert!(dead.try_wait().unwrap().is_none(), "the other one still waits for the dead plugin");
    dead.kill().unwrap();
    dead.wait().unwrap();
}
