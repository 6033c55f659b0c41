//! Engines that are stopped, killed and started again, and what becomes of their plugins.

use super::bed::{Bed, Kind, Setup, runs};
use super::image::probe;
use super::{on_both, on_ours};
use crate::engine::fixture::kill;
use crate::fixture::{PATIENCE, eventually};

on_both!(
    an_enabled_plugin_is_enabled_after_a_restart,
    a_disabled_plugin_is_disabled_after_a_restart,
    plugins_survive_the_death_of_an_engine_that_keeps_them,
    plugins_survive_the_end_of_an_engine_that_keeps_them,
    plugins_end_with_an_engine_that_does_not_keep_them,
    plugins_survive_the_death_of_any_engine,
    a_plugin_is_in_use_after_a_restart,
    a_plugin_that_is_killed_comes_back,
);

fn comes_back(bed: &Bed, name: &str) {
    eventually("the plugin answers", PATIENCE, || {
        bed.pid(name).is_some() && bed.ask(name, "/calls").status == 200
    });
}

fn an_enabled_plugin_is_enabled_after_a_restart(kind: Kind) {
    let mut bed = Bed::start(kind);
    bed.probe("probe");
    let id = bed.id("probe");
    bed.restart_engine();
    assert!(bed.is_enabled("probe"));
    assert_eq!(bed.id("probe"), id);
    comes_back(&bed, "probe");
    bed.ok("volume create -d probe after");
}

fn a_disabled_plugin_is_disabled_after_a_restart(kind: Kind) {
    let mut bed = Bed::start(kind);
    bed.probe("probe");
    bed.ok("plugin disable probe");
    bed.restart_engine();
    assert!(!bed.is_enabled("probe"));
    assert_eq!(bed.pid("probe"), None);
    bed.ok("plugin enable probe");
}

const KEEPING: Setup<'_> = Setup { live_restore: true, insecure: None, engine: "" };

fn plugins_survive_the_death_of_an_engine_that_keeps_them(kind: Kind) {
    let mut bed = Bed::with(kind, KEEPING);
    bed.probe("probe");
    let (pid, socket) = (bed.pid("probe").unwrap(), bed.own_socket("probe"));
    bed.kill_engine();
    assert!(runs(pid) && socket.exists());
    bed.start_engine();
    assert_eq!(bed.pid("probe"), Some(pid));
    bed.ok("volume create -d probe after");
    bed.ok("volume rm after");
    bed.ok("plugin disable probe");
    eventually("the plugin ends", PATIENCE, || !runs(pid));
}

fn plugins_survive_the_end_of_an_engine_that_keeps_them(kind: Kind) {
    let mut bed = Bed::with(kind, KEEPING);
    bed.probe("probe");
    let pid = bed.pid("probe").unwrap();
    bed.stop_engine();
    assert!(runs(pid));
    bed.start_engine();
    assert_eq!(bed.pid("probe"), Some(pid));
    bed.ok("volume create -d probe after");
    bed.ok("volume rm after");
    bed.ok("plugin rm -f probe");
    eventually("the plugin ends", PATIENCE, || !runs(pid));
}

fn plugins_end_with_an_engine_that_does_not_keep_them(kind: Kind) {
    let mut bed = Bed::start(kind);
    bed.probe("probe");
    let pid = bed.pid("probe").unwrap();
    bed.stop_engine();
    assert_eq!(runs(pid), bed.keeps_plugins());
    bed.start_engine();
    comes_back(&bed, "probe");
    assert_eq!(bed.pid("probe") == Some(pid), bed.keeps_plugins());
}

fn plugins_survive_the_death_of_any_engine(kind: Kind) {
    let mut bed = Bed::start(kind);
    bed.probe("probe");
    let pid = bed.pid("probe").unwrap();
    bed.kill_engine();
    assert!(runs(pid));
    bed.start_engine();
    comes_back(&bed, "probe");
    assert_eq!(bed.pid("probe") == Some(pid), bed.keeps_plugins());
}

/// dockerd counts volumes, `mobula engine` what is mounted (facts 6 and 8.3).
fn a_plugin_is_in_use_after_a_restart(kind: Kind) {
    let mut bed = Bed::start(kind);
    bed.probe("probe");
    bed.ok("volume create -d probe used");
    bed.restart_engine();
    if !bed.is_ours() {
        let said = bed.fails("plugin disable probe");
        assert!(said.contains("in use"), "{said}");
    }
    assert_eq!(bed.ok("volume ls -q"), "used");
    bed.ok("volume rm used");
    bed.ok("plugin disable probe");
    bed.ok("plugin rm probe");
}

fn a_plugin_that_is_killed_comes_back(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("probe", &probe());
    bed.ok("plugin enable probe");
    bed.ok("volume create -d probe kept");
    let pid = bed.pid("probe").unwrap();
    kill("-KILL", u32::try_from(pid).unwrap());
    eventually("another one answers", PATIENCE, || bed.pid("probe").is_some_and(|p| p != pid));
    assert!(bed.is_enabled("probe"));
    eventually("its volume is there", PATIENCE, || {
        bed.docker("volume inspect kept").output().unwrap().status.success()
    });
}
