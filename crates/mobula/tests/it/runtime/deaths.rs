//! Engine, shim and plugin die, in all orders.

use super::fixture::{Plugin, Wanted, with_each_runtime};
use crate::fixture::{PATIENCE, eventually};
use plugin::runtime::Instance;
use std::os::fd::AsRawFd;
use std::process::Command;

const FOREVER: &str = "busybox sleep 10000 & while :; do busybox sleep 1; done";

fn kill(pid: i32) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn an_engine_that_comes_back_finds_what_it_started() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        assert!(Instance::find(&plugin.run()).unwrap().is_none());
        let pid = {
            let instance = plugin.start(FOREVER);
            let pid = instance.pid();
            std::mem::forget(instance);
            pid
        };
        let found = Instance::find(&plugin.run()).unwrap().expect("still there");
        assert_eq!(found.pid(), pid);
        let exit = plugin.stop(&found, std::time::Duration::ZERO);
        assert_eq!(exit.signal, Some(9));
        assert!(Instance::find(&plugin.run()).unwrap().is_none());
        plugin.clean();
        plugin.assert_clean();
    });
}

#[test]
fn a_killed_plugin_is_reported_by_its_shim() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let instance = plugin.start(FOREVER);
        kill(instance.pid());
        let exit = plugin.ended(&instance);
        assert_eq!((exit.code, exit.signal), (None, Some(9)));
        plugin.clean();
        plugin.assert_clean();
    });
}

#[test]
fn a_killed_shim_is_noticed_and_its_plugin_removed() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let instance = plugin.start(FOREVER);
        kill(instance.shim_pid());
        let exit = plugin.ended(&instance);
        assert_eq!((exit.code, exit.signal), (None, Some(9)));
        assert!(Instance::find(&plugin.run()).unwrap().is_none());
        assert!(!instance.processes().unwrap().is_empty());
        plugin.clean();
        plugin.clean();
        plugin.assert_clean();
    });
}

#[test]
fn a_plugin_killed_after_its_shim_leaves_nothing() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let instance = plugin.start(FOREVER);
        kill(instance.shim_pid());
        plugin.ended(&instance);
        kill(instance.pid());
        plugin.clean();
        plugin.assert_clean();
    });
}

#[test]
fn both_killed_at_once_leave_nothing() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let instance = plugin.start(FOREVER);
        let pids = [instance.pid(), instance.shim_pid()].map(|pid| pid.to_string());
        assert!(Command::new("kill").arg("-9").args(&pids).status().unwrap().success());
        plugin.ended(&instance);
        plugin.clean();
        plugin.assert_clean();
        let again = plugin.start("exit 0");
        assert_eq!(plugin.ended(&again).code, Some(0));
    });
}

#[test]
fn a_shim_that_is_asked_to_end_asks_the_plugin() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let script = "trap 'exit 4' TERM; echo ready; while :; do busybox sleep 0.05; done";
        let instance = plugin.start(script);
        eventually("it traps", PATIENCE, || plugin.said().contains("ready"));
        let shim = instance.shim_pid().to_string();
        assert!(Command::new("kill").args(["-TERM", &shim]).status().unwrap().success());
        assert_eq!(plugin.ended(&instance).code, Some(4));
    });
}

#[test]
fn cleaning_kills_what_runs() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let instance = plugin.start(FOREVER);
        plugin.clean();
        plugin.ended(&instance);
        plugin.assert_clean();
    });
}

#[test]
fn children_that_outlive_a_plugin_without_a_pid_namespace_are_killed() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let script = "busybox setsid busybox sleep 10000 & busybox sleep 0.2; exit 6";
        let wanted = Wanted { sees_all: true, ..Wanted::script(script) };
        let instance = plugin.launch(&wanted);
        eventually("it has children", PATIENCE, || instance.processes().unwrap().len() == 3);
        assert_eq!(plugin.ended(&instance).code, Some(6));
        assert!(instance.processes().unwrap().is_empty());
        plugin.clean();
        plugin.assert_clean();
    });
}

#[test]
fn a_start_whose_engine_has_died_is_undone() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let instance = plugin.start(FOREVER);
        plugin.stop(&instance, std::time::Duration::ZERO);
        // Its order is still there: as if an engine had written it and died.
        let (reader, answer) = std::io::pipe().unwrap();
        drop(reader);
        let mut shim = Command::new(env!("CARGO_BIN_EXE_mobula"));
        let status = shim.arg("__shim").arg(plugin.run()).stdout(answer).status().unwrap();
        assert_eq!(status.code(), Some(1));
        assert!(Instance::find(&plugin.run()).unwrap().is_none());
        assert!(instance.processes().unwrap().is_empty());
        plugin.clean();
        plugin.assert_clean();
    });
}

#[test]
fn the_program_of_a_shim_can_not_be_overwritten_through_it() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        // A file of its own, which no other test executes.
        let program = plugin.path("mobula");
        std::fs::copy(env!("CARGO_BIN_EXE_mobula"), &program).unwrap();
        let mut launch = plugin.launch_of(&Wanted::script(FOREVER));
        launch.shim = Some(program.clone());
        let instance = Instance::launch(&launch).unwrap();
        // What a hostile plugin would hold until the program is no longer busy (CVE-2019-5736).
        let held = std::fs::File::open(format!("/proc/{}/exe", instance.shim_pid())).unwrap();
        plugin.stop(&instance, std::time::Duration::ZERO);
        let path = format!("/proc/self/fd/{}", held.as_raw_fd());
        let error = std::fs::File::options().write(true).open(path).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        std::fs::File::options().write(true).open(program).expect("not busy any more");
    });
}
