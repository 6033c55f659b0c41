//! A dockerd that is killed, with containers that go on.

use super::fixture::{Engine, SWEPT, can_run, kill};
use crate::fixture::{PATIENCE, eventually};
use std::path::Path;
use std::process::Stdio;

/// Writes numbers for as long as it lives.
const COUNT: &str = "i=0; while true; do i=$((i+1)); echo $i > /d/new; mv /d/new /d/counter; \
                     sleep 0.1; done";

fn count(target: &Path) -> Option<u64> {
    std::fs::read_to_string(target.join("counter")).ok()?.trim().parse().ok()
}

fn goes_on(target: &Path) {
    let now = count(target);
    eventually("the container writes", PATIENCE, || count(target) > now);
}

/// A sweep releases what nobody uses: when it has done so for `idle`, whose container is killed
/// now, callers are taken for gone, and other volumes have been looked at, too.
fn wait_for_a_sweep(engine: &Engine, idle: &str, pid: u32) {
    kill("-KILL", pid);
    eventually("what nobody uses any more is released", SWEPT, || !engine.home.is_mounted(idle));
}

#[test]
fn what_a_container_of_a_dead_dockerd_uses_stays_and_the_rest_is_released() {
    if !can_run("dockerd") {
        return;
    }
    let mut engine = Engine::start();
    for name in ["used", "idle", "later"] {
        engine.create(name);
    }
    engine.start_container("worker", "-v used:/d", COUNT);
    engine.start_container("idler", "-v idle:/d", "sleep 1000");
    engine.start_container("laggard", "-v later:/d", "sleep 1000");
    let pids = ["worker", "idler", "laggard"].map(|name| engine.pid(name));
    let target = engine.home.target("used");
    engine.kill_daemon();
    goes_on(&target);
    // A second one, since the first may have released `idle` before it has come to `used`.
    wait_for_a_sweep(&engine, "idle", pids[1]);
    wait_for_a_sweep(&engine, "later", pids[2]);
    assert!(engine.home.is_mounted("used"), "{}", engine.home.log());
    goes_on(&target);
    let (_, reason) = engine.home.docker_err("Remove", &serde_json::json!({ "Name": "used" }));
    assert!(reason.contains("mounted by 1 user"), "{reason}");

    // The new dockerd ends the container, and never gives the mount ID of the old one back.
    engine.start_daemon();
    eventually("the container is ended", PATIENCE, || {
        !Path::new(&format!("/proc/{}", pids[0])).exists()
    });
    eventually("so its volume is released", SWEPT, || !engine.home.is_mounted("used"));
    engine.released("used");
    engine.released("idle");
    let last = engine.run("-v used:/d", "cat /d/counter");
    assert!(last.parse::<u64>().is_ok(), "{last:?}");
    engine.ok("rm -f worker idler laggard");
    engine.ok("volume rm used idle later");
}

#[test]
fn a_live_restored_container_keeps_its_volume_until_it_stops() {
    if !can_run("dockerd") {
        return;
    }
    let mut engine = Engine::with(super::fixture::LOOP, &["--live-restore"]);
    engine.create("used");
    engine.create("idle");
    engine.start_container("worker", "-v used:/d", COUNT);
    engine.start_container("idler", "-v idle:/d", "sleep 1000");
    let (worker, idler) = (engine.pid("worker"), engine.pid("idler"));
    let target = engine.home.target("used");
    engine.kill_daemon();
    goes_on(&target);
    engine.kill_agent();
    goes_on(&target);
    engine.start_agent();
    wait_for_a_sweep(&engine, "idle", idler);
    assert!(engine.home.is_mounted("used"));
    goes_on(&target);

    engine.start_daemon();
    assert_eq!(engine.pid("worker"), worker, "the same process");
    engine.kill_agent();
    engine.start_agent();
    assert!(engine.exec("worker", "cat /d/counter").parse::<u64>().is_ok());
    // Its mount ID is that of a dead process: it must count no less than that of a living one.
    engine.start_container("second", "-v used:/d", "sleep 1000");
    engine.ok("rm -f second");
    assert!(engine.home.is_mounted("used"));
    goes_on(&target);
    engine.ok("stop worker");
    engine.released("used");
    assert!(engine.run("-v used:/d", "cat /d/counter").parse::<u64>().is_ok());
    engine.ok("rm -f worker idler");
    engine.ok("volume rm used idle");
}

#[test]
fn what_begins_or_ends_while_the_agent_restarts_is_put_through() {
    if !can_run("dockerd") {
        return;
    }
    let mut engine = Engine::start();
    engine.create("data");
    engine.start_container("ends", "-v data:/d", "sleep 1000");
    let process = format!("/proc/{}", engine.pid("ends"));
    engine.kill_agent();
    let stop = engine.docker("stop ends").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    eventually("the container has ended", PATIENCE, || !Path::new(&process).exists());
    engine.start_agent();
    let output = stop.unwrap().wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    engine.released("data");

    engine.kill_agent();
    let mut run = engine.script("--rm -v data:/d", "echo through > /d/file; cat /d/file");
    let run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("dockerd tries again", PATIENCE, || {
        let log = std::fs::read_to_string(engine.home.path("dockerd.log")).unwrap();
        log.contains("Unable to connect to plugin")
    });
    engine.start_agent();
    let output = run.wait_with_output().unwrap();
    assert_eq!(super::fixture::printed(&output), "through", "{output:?}");
    engine.released("data");
}

#[test]
fn a_mount_that_dockerd_has_given_up_to_give_back_can_be_taken_back_by_hand() {
    if !can_run("dockerd") {
        return;
    }
    let mut engine = Engine::start();
    engine.create("data");
    engine.start_container("ends", "-v data:/d", "sleep 1000");
    engine.kill_agent();
    // It asks for the end of the mount for a quarter of a minute, and never again.
    engine.ok("rm -f ends");
    engine.start_agent();
    assert!(engine.home.is_mounted("data"));
    let said = engine.fails("volume rm data");
    assert!(said.contains("mobula volume unmount"), "tells the way out: {said}");
    engine.home.ok(&["volume", "unmount", "--all", "data"]);
    engine.released("data");
    engine.ok("volume rm data");
}
