//! Plugins that never listen, hang, crash, multiply and flood, and engines that die at any time. One
//! bad plugin harms no other one, and nothing is left of it.

use super::bed::{Bed, Kind, runs};
use super::image::probe;
use super::{on_both, on_ours};
use crate::engine::fixture::{kill, ok};
use crate::fixture::{PATIENCE, eventually};
use serde_json::json;
use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

on_both!(a_plugin_that_does_not_start_is_not_enabled, a_plugin_that_ignores_sigterm_is_killed);

mod alone {
    use super::*;

    on_ours!(
        a_plugin_that_ends_at_once_is_reported_with_its_last_words,
        a_plugin_that_never_listens_can_be_enabled_later,
        a_plugin_that_hangs_holds_up_nobody_else,
        a_plugin_that_crashes_at_every_start_stays_wanted_and_is_tried_less_often,
        a_fork_bomb_gets_no_more_processes_than_it_may_have,
        a_memory_hog_is_ended_and_started_again_without_harm_to_others,
        a_flood_of_output_is_cut,
        a_plugin_comes_back_whoever_is_killed_and_in_whichever_order,
        an_engine_that_dies_while_it_starts_plugins_finds_them_again,
        fifty_times_on_and_off_leave_nothing,
        an_engine_out_of_descriptors_recovers,
    );
}

fn a_plugin_that_does_not_start_is_not_enabled(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("probe", &probe().in_mode("exit:3"));
    bed.fails("plugin enable --timeout 5 probe");
    assert!(bed.pid("probe").is_none());
    assert!(!bed.is_enabled("probe"));
    bed.ok("plugin rm probe");
    let image = probe().with("entrypoint", json!(["/no/such/program"]));
    bed.create("probe", &image);
    bed.fails("plugin enable --timeout 5 probe");
    assert!(!bed.is_enabled("probe"));
    bed.ok("plugin rm probe");
}

fn a_plugin_that_ignores_sigterm_is_killed(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("probe", &probe().in_mode("ignore-term"));
    bed.ok("plugin enable probe");
    let pid = bed.pid("probe").unwrap();
    bed.ok("plugin disable probe");
    assert!(!runs(pid));
    assert!(!bed.is_enabled("probe"));
}

/// Complaint 17: with dockerd it is `no such file or directory`.
fn a_plugin_that_ends_at_once_is_reported_with_its_last_words(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("probe", &probe().in_mode("stderr:the disk is missing,exit:37"));
    let said = bed.fails("plugin enable --timeout 20 probe");
    assert!(said.contains("37") && said.contains("the disk is missing"), "{said}");
    // As `docker logs` does: what a plugin said on stderr comes out there.
    let log = bed.home.run(&["plugin", "logs", "probe"]);
    assert!(String::from_utf8_lossy(&log.stderr).contains("the disk is missing"), "{log:?}");
}

fn a_plugin_that_never_listens_can_be_enabled_later(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("probe", &probe().in_mode("nolisten"));
    let said = bed.fails("plugin enable --timeout 3 probe");
    assert!(said.contains("probe.sock") && said.contains('3'), "{said}");
    assert!(!bed.is_enabled("probe"));
    assert_eq!(processes(&bed), Vec::<u32>::new(), "none is left running");
    bed.ok("plugin set probe PROBE_MODE=");
    bed.ok("plugin enable --timeout 30 probe");
    bed.ok("volume create -d probe v");
}

fn a_plugin_that_hangs_holds_up_nobody_else(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("fine");
    bed.create("hanging", &probe().in_mode("hang-accept"));
    bed.ok("plugin enable hanging");
    let mut hanging = bed.docker("volume create -d hanging never").spawn().unwrap();
    bed.ok("volume create -d fine quick");
    bed.call("fine", "Mount", &json!({ "Name": "quick", "ID": "a" }));
    bed.call("fine", "Unmount", &json!({ "Name": "quick", "ID": "a" }));
    assert_eq!(bed.list("").len(), 2);
    bed.ok("volume rm quick");
    assert_eq!(hanging.try_wait().unwrap(), None, "it waits, and only it");
    bed.ok("plugin disable -f hanging");
    assert!(!hanging.wait().unwrap().success());
    bed.ok("plugin rm hanging");
}

fn a_plugin_that_crashes_at_every_start_stays_wanted_and_is_tried_less_often(kind: Kind) {
    let mut bed = Bed::start(kind);
    bed.create("probe", &probe().in_mode("crash-later"));
    bed.probe("fine");
    bed.ok("plugin enable probe");
    let starts = bed.propagated("probe").join("starts");
    let at = starts.clone();
    let count = move || std::fs::read_to_string(&at).unwrap_or_default().parse().unwrap_or(0u64);
    kill("-KILL", u32::try_from(bed.pid("probe").unwrap()).unwrap());
    eventually("it is tried again", PATIENCE, || count() >= 4);
    assert!(bed.is_enabled("probe"), "it is wanted");
    let (then, from) = (std::time::Instant::now(), count());
    eventually("the others go on", PATIENCE, || {
        bed.ok("volume create -d fine v");
        bed.ok("volume rm v");
        count() > from || then.elapsed().as_secs() >= 5
    });
    // Without a pause between them there would be hundreds.
    assert!(count() - from < 50, "{}", count() - from);
    let described = bed.home.ok(&["plugin", "inspect", "probe"]);
    assert!(described.contains("probe"), "{described}");
    // Nor does a start of the engine disable what does not start with it (complaint 1).
    bed.restart_engine();
    assert!(bed.is_enabled("probe"), "it is wanted");
    bed.ok("plugin disable probe");
    assert!(!bed.is_enabled("probe"));
    std::fs::write(&starts, "0").unwrap();
    bed.ok("plugin enable probe");
}

fn a_fork_bomb_gets_no_more_processes_than_it_may_have(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("bomb", &probe().in_mode("fork-bomb:1000"));
    bed.home.ok(&["plugin", "configure", "bomb", "--pids", "200"]);
    bed.probe("fine");
    bed.ok("plugin enable bomb");
    eventually("it has got all it could get", PATIENCE * 2, || {
        let log = bed.home.ok(&["plugin", "logs", "bomb"]);
        log.contains("of 1000 processes")
    });
    let log = bed.home.ok(&["plugin", "logs", "bomb"]);
    assert!(!log.contains("1000 of 1000"), "{log}");
    bed.ok("volume create -d fine v");
    bed.ok("plugin disable -f bomb");
    eventually("they are gone", PATIENCE, || processes(&bed).len() <= 1);
}

fn a_memory_hog_is_ended_and_started_again_without_harm_to_others(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("hog", &probe().in_mode("memory-hog:4096"));
    bed.home.ok(&["plugin", "configure", "hog", "--memory", "128MiB"]);
    bed.probe("fine");
    let fine = bed.pid("fine");
    bed.ok("plugin enable hog");
    let starts = bed.propagated("hog").join("starts");
    eventually("it is started again", PATIENCE, || {
        let count = std::fs::read_to_string(&starts).unwrap_or_default();
        count.parse().is_ok_and(|count: u32| count >= 2)
    });
    bed.ok("volume create -d fine v");
    assert_eq!(bed.pid("fine"), fine);
    bed.ok("plugin disable -f hog");
    bed.ok("plugin set hog PROBE_MODE=");
    bed.ok("plugin enable hog");
    bed.ok("volume create -d hog w");
}

/// Bytes of all files whose paths begin like this.
fn size(log: &Path) -> u64 {
    let find = "find \"$0\"* -type f -printf '%s\\n' | awk '{ sum += $1 } END { print sum + 0 }'";
    let sum = ok(Command::new("sh").args(["-c", find]).arg(log));
    sum.parse().unwrap()
}

fn a_flood_of_output_is_cut(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("probe", &probe().in_mode("flood:200000000"));
    bed.ok("plugin enable probe");
    eventually("it has flooded", PATIENCE * 2, || {
        // The answer needs a line of the log, which comes after the flood.
        bed.ask("probe", "/calls").status == 200
    });
    let log = bed.state(&bed.id("probe")).join("log");
    assert!((1..100_000_000).contains(&size(&log)), "{}", size(&log));
    bed.ok("volume create -d probe v");
    assert!(!bed.home.ok(&["plugin", "logs", "probe"]).is_empty());
}

/// The processes of plugins: those that run the probe.
fn processes(bed: &Bed) -> Vec<u32> {
    let home = bed.home.dir().to_str().unwrap().to_owned();
    let is_probe = |pid: &u32| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        comm.trim() == "probe" && mounts.contains(&home)
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(is_probe).collect()
}

/// The parent of a process.
fn parent(pid: i32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = &stat[stat.rfind(')').unwrap()..];
    after_name.split(' ').nth(2).unwrap().parse().unwrap()
}

fn a_plugin_comes_back_whoever_is_killed_and_in_whichever_order(kind: Kind) {
    let mut bed = Bed::start(kind);
    bed.probe("probe");
    bed.ok("volume create -d probe kept");
    for order in ["p", "s", "ps", "sp", "ep", "es", "eps", "esp", "pe", "se", "pse", "spe"] {
        eventually("it answers", PATIENCE, || bed.pid("probe").is_some());
        let plugin = bed.pid("probe").unwrap();
        let shim = parent(plugin);
        assert!(shim > 1 && shim != bed.engine_pid(), "it outlives the engine");
        for who in order.chars() {
            match who {
                'p' => kill("-KILL", u32::try_from(plugin).unwrap()),
                's' => kill("-KILL", shim),
                _ => bed.kill_engine(),
            }
        }
        if order.contains('e') {
            bed.start_engine();
        }
        let is_dead = order.contains('p');
        eventually(&format!("it answers after {order}"), PATIENCE * 2, || {
            bed.pid("probe").is_some_and(|pid| pid != plugin || !is_dead)
                && bed.docker("volume inspect kept").output().unwrap().status.success()
        });
        assert!(bed.is_enabled("probe"), "{order}");
        eventually("there is one of it", PATIENCE, || processes(&bed).len() == 1);
    }
    bed.call("probe", "Mount", &json!({ "Name": "kept", "ID": "a" }));
    bed.call("probe", "Unmount", &json!({ "Name": "kept", "ID": "a" }));
    bed.ok("plugin disable probe");
    assert_eq!(processes(&bed), Vec::<u32>::new());
}

fn an_engine_that_dies_while_it_starts_plugins_finds_them_again(kind: Kind) {
    let mut bed = Bed::start(kind);
    bed.create("slow", &probe().in_mode("slow-listen:3000"));
    let mut client = bed.docker("plugin enable --timeout 30 slow").spawn().unwrap();
    eventually("it is being started", PATIENCE, || !processes(&bed).is_empty());
    bed.kill_engine();
    client.wait().unwrap();
    bed.start_engine();
    let _ = bed.docker("plugin disable -f slow").output();
    eventually("nothing is left running", PATIENCE, || processes(&bed).is_empty());
    bed.ok("plugin enable --timeout 30 slow");
    assert_eq!(processes(&bed).len(), 1);
    bed.ok("plugin rm -f slow");
    assert_eq!(processes(&bed), Vec::<u32>::new());
}

/// What an engine could leak: mounts, descriptors, control groups.
fn leavings(bed: &Bed) -> (BTreeSet<PathBuf>, usize, usize) {
    let mounts = host::mountinfo::table().unwrap().into_iter().map(|mount| mount.target);
    let fds = std::fs::read_dir(format!("/proc/{}/fd", bed.engine_pid())).unwrap().count();
    let groups = Command::new("find").args(["/sys/fs/cgroup", "-type", "d"]).output().unwrap();
    let ids = String::from_utf8_lossy(&groups.stdout).matches(&bed.id("probe")).count();
    (mounts.filter(|target| target.starts_with(bed.home.dir())).collect(), fds, ids)
}

fn fifty_times_on_and_off_leave_nothing(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("probe", &probe());
    bed.ok("plugin enable probe");
    bed.ok("volume create -d probe v");
    bed.ok("plugin disable probe");
    let before = leavings(&bed);
    for _ in 0..50 {
        bed.ok("plugin enable probe");
        bed.call("probe", "Mount", &json!({ "Name": "v", "ID": "a" }));
        bed.call("probe", "Unmount", &json!({ "Name": "v", "ID": "a" }));
        bed.ok("plugin disable probe");
    }
    let after = leavings(&bed);
    assert_eq!(after.0, before.0);
    assert_eq!(after.2, before.2, "control groups");
    eventually("descriptors are closed", PATIENCE, || leavings(&bed).1 <= before.1 + 2);
    assert_eq!(processes(&bed), Vec::<u32>::new());
}

fn an_engine_out_of_descriptors_recovers(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    let pid = bed.engine_pid().to_string();
    let limited = Command::new("prlimit").args(["--pid", &pid, "--nofile=64:64"]).output().unwrap();
    assert!(limited.status.success(), "{limited:?}");
    let socket = bed.home.path("run/mobula/engine.sock");
    let published = bed.published("probe");
    let idle: Vec<_> = (0..100)
        .flat_map(|_| [UnixStream::connect(&socket), UnixStream::connect(&published)])
        .collect();
    drop(idle);
    eventually("it answers again", PATIENCE, || {
        bed.docker("plugin ls").output().unwrap().status.success()
    });
    bed.ok("volume create -d probe v");
    bed.ok("plugin disable probe");
    bed.ok("plugin enable probe");
}
