//! What becomes of volumes when plugins are switched off, exchanged and removed, and when engines
//! end: data stays, and nothing is mounted twice.

use super::lab::{Lab, devices, propagation};
use super::make::{next_program, plugin_image, publish};
use crate::engine::fixture::{SWEPT, ok};
use crate::fixture::eventually;
use crate::plugins::bed::{Kind, Setup};
use crate::plugins::{on_both, on_ours};

on_both!(
    data_outlives_disable_upgrade_and_removal_of_the_plugin,
    containers_go_on_or_start_again_after_the_engines_restart,
    containers_go_on_or_start_again_after_the_engines_death,
    containers_go_on_where_the_engine_keeps_them,
    a_plugin_that_dies_comes_back_and_its_volumes_stay,
);

mod alone {
    use super::*;

    on_ours!(mounted_volumes_outlive_disable_and_upgrade);
}

const DRIVERS: [&str; 2] = ["loop", "local"];

fn data_outlives_disable_upgrade_and_removal_of_the_plugin(kind: Kind) {
    let lab = Lab::start(kind);
    let elsewhere = lab.home.path("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    for driver in DRIVERS {
        let alias = alias(driver);
        let source = format!("volumes.source={}", elsewhere.display());
        let read = || assert_eq!(lab.run(driver, "cat /d/file"), "kept", "{driver}");
        lab.add(driver, &alias, &format!("VOLUME_MODE=0750 {source}"));
        lab.create(&alias, driver);
        lab.run(driver, "echo kept > /d/file");
        let volume = elsewhere.join("mobula").join(driver).join(driver);
        assert!(volume.join("volume.json").exists());

        lab.disable(&alias);
        lab.ok(&format!("plugin enable {alias}"));
        read();

        let next = lab.registry.name(&format!("mobula/{driver}:v2"));
        let mut push = plugin_image(driver, &next_program(&lab.home), &lab.home.path("out"));
        ok(push.args(["--push", &next]));
        let id = lab.id(&alias);
        lab.disable(&alias);
        let words = "plugin upgrade --grant-all-permissions --skip-remote-check";
        lab.ok(&format!("{words} {alias} {next}"));
        if !lab.is_ours() {
            // It resets sources of mounts (fact 12).
            lab.ok(&format!("plugin set {alias} {source}"));
        }
        lab.ok(&format!("plugin enable {alias}"));
        assert_eq!(lab.id(&alias), id);
        assert_eq!(lab.inspect(&alias)["PluginReference"], next);
        let root = lab.pid(&alias).map(|pid| format!("/proc/{pid}/root/mobula")).unwrap();
        let size = std::fs::metadata(root).unwrap().len();
        assert_eq!(size, next_program(&lab.home).metadata().unwrap().len(), "the new program");
        read();

        lab.disable(&alias);
        lab.ok(&format!("plugin rm {} {alias}", if lab.is_ours() { "" } else { "-f" }));
        assert!(volume.join("volume.json").exists(), "{driver}: data went with the plugin");
        lab.add(driver, &alias, &source);
        read();
        assert_eq!(lab.run(driver, "stat -c %a /d"), "750", "as it was created");
        lab.box_ok(&format!("volume rm {driver}"));
        assert!(!volume.exists());
    }
}

/// Not the driver's name alone: `local` is a driver of dockerd's own, whatever else is called so.
fn alias(driver: &str) -> String {
    format!("mobula/{driver}")
}

/// Volumes of both drivers, each in use by a container.
fn in_use(kind: Kind, setup: Setup<'_>) -> Lab {
    let lab = Lab::with(kind, setup);
    for driver in DRIVERS {
        lab.add(driver, &alias(driver), "VOLUME_MODE=0755");
        lab.create(&alias(driver), &format!("{} of-{driver}", size(driver)));
        lab.start_container(&format!("of-{driver}"));
        lab.exec(&format!("of-{driver}"), "echo kept > /d/file");
    }
    lab
}

fn size(driver: &str) -> &'static str {
    if driver == "loop" { "-o size=48MiB" } else { "" }
}

/// What a container writes is where the machine sees the volume, which is mounted once; and when
/// nobody has it any more, nothing is left.
fn works_and_ends(lab: &Lab) {
    let image = lab.srv().join("mobula/loop/of-loop/image");
    for driver in DRIVERS {
        let volume = format!("of-{driver}");
        lab.answers(&alias(driver));
        let running = lab.box_ok(&format!("inspect -f {{{{.State.Running}}}} {volume}"));
        if running != "true" {
            lab.box_ok(&format!("start {volume}"));
        }
        assert_eq!(lab.exec(&volume, "cat /d/file"), "kept");
        lab.exec(&volume, "echo more > /d/more");
        assert_eq!(lab.run(&volume, "cat /d/more"), "more", "another container has the same");
        let target = lab.target(&alias(driver), driver, &volume);
        assert_eq!(std::fs::read_to_string(target.join("more")).unwrap(), "more\n");
        assert_eq!(propagation(&target), vec!["shared"; if lab.is_ours() { 1 } else { 2 }]);
        assert!(devices(&image).len() <= 1, "{:?}", devices(&image));
        lab.box_ok(&format!("rm -f {volume}"));
        assert_eq!(propagation(&target), Vec::<String>::new(), "{driver}");
        assert_eq!(lab.run(&volume, "cat /d/file"), "kept");
    }
    assert_eq!(devices(&image), Vec::<String>::new());
    for driver in DRIVERS {
        lab.box_ok(&format!("volume rm of-{driver}"));
    }
    assert!(!image.exists());
}

fn containers_go_on_or_start_again_after_the_engines_restart(kind: Kind) {
    let mut lab = in_use(kind, Setup::default());
    lab.restart_engine();
    works_and_ends(&lab);
}

fn containers_go_on_or_start_again_after_the_engines_death(kind: Kind) {
    let mut lab = in_use(kind, Setup::default());
    lab.kill_engine();
    lab.start_engine();
    works_and_ends(&lab);
}

/// dockerd with `--live-restore`.
fn containers_go_on_where_the_engine_keeps_them(kind: Kind) {
    let mut lab = in_use(kind, Setup { live_restore: true, ..Setup::default() });
    let pids =
        DRIVERS.map(|driver| lab.box_ok(&format!("inspect -f {{{{.State.Pid}}}} of-{driver}")));
    lab.kill_engine();
    lab.start_engine();
    lab.restart_engine();
    let now =
        DRIVERS.map(|driver| lab.box_ok(&format!("inspect -f {{{{.State.Pid}}}} of-{driver}")));
    assert_eq!(now, pids);
    works_and_ends(&lab);
}

fn a_plugin_that_dies_comes_back_and_its_volumes_stay(kind: Kind) {
    let lab = in_use(kind, Setup::default());
    for driver in DRIVERS {
        lab.kill_plugin(&alias(driver));
    }
    works_and_ends(&lab);
}

/// dockerd takes mounts away with the plugin.
fn mounted_volumes_outlive_disable_and_upgrade(kind: Kind) {
    let lab = in_use(kind, Setup::default());
    for driver in DRIVERS {
        let alias = alias(driver);
        lab.disable(&alias);
        let target = lab.target(&alias, driver, &format!("of-{driver}"));
        assert_eq!(propagation(&target), ["shared"]);
        assert_eq!(lab.exec(&format!("of-{driver}"), "cat /d/file"), "kept");
        let same = publish(&lab.registry, driver);
        let words = "plugin upgrade --grant-all-permissions --skip-remote-check";
        lab.ok(&format!("{words} {alias} {same}"));
        assert_eq!(propagation(&target), ["shared"]);
        lab.ok(&format!("plugin enable {alias}"));
    }
    for driver in DRIVERS {
        let volume = format!("of-{driver}");
        lab.exec(&volume, "echo more > /d/more");
        assert_eq!(lab.run(&volume, "cat /d/more"), "more", "another container has the same");
        lab.box_ok(&format!("rm -f {volume}"));
        // Who had it is forgotten with the old version's files; a sweep sees that nobody has it.
        let target = lab.target(&alias(driver), driver, &volume);
        eventually("the volume is unmounted", SWEPT, || propagation(&target).is_empty());
        assert_eq!(lab.run(&volume, "cat /d/file /d/more"), "kept\nmore");
    }
    let image = lab.srv().join("mobula/loop/of-loop/image");
    assert_eq!(devices(&image), Vec::<String>::new());
}
