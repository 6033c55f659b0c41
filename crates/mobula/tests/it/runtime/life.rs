//! Start, output, commands, stop.

use super::fixture::{Plugin, Wanted, with_each_runtime};
use crate::fixture::{PATIENCE, eventually};
use plugin::runtime::{Instance, Runtime};
use std::time::Duration;

#[test]
fn a_plugin_that_ends_leaves_its_code_and_its_output() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let instance = plugin.start("echo out; echo err >&2; printf end; exit 7");
        let exit = plugin.ended(&instance);
        assert_eq!((exit.code, exit.signal, exit.out_of_memory), (Some(7), None, false));
        assert_eq!(plugin.ended(&instance), exit);
        let mut lines: Vec<_> =
            plugin.log().into_iter().map(|line| (line.stream, line.line)).collect();
        lines.sort();
        let expected = [("stderr", "err"), ("stdout", "end"), ("stdout", "out")];
        assert_eq!(lines, expected.map(|(stream, line)| (stream.to_owned(), line.to_owned())));
        plugin.clean();
        plugin.assert_clean();
    });
}

#[test]
fn a_plugin_gets_nothing_but_its_streams_and_default_signals() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let instance = plugin.start(
            "for fd in /proc/self/fd/*; do b=${fd##*/}; [ $b -gt 2 ] && busybox readlink $fd; done
             busybox grep -E 'SigIgn|SigBlk' /proc/self/status; echo umask $(umask)
             echo pid $$; busybox hostname; echo again > /dev/stdout; echo done",
        );
        plugin.ended(&instance);
        let said = plugin.said();
        // The shell has the directory open that it lists.
        let open: Vec<_> =
            said.lines().filter(|line| line.contains(':') && line.contains('[')).collect();
        assert!(open.is_empty(), "{said}");
        let masks: Vec<_> = said.lines().filter(|line| line.starts_with("Sig")).collect();
        assert_eq!(masks, ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"], "{said}");
        for line in ["pid 1", "plugin", "again", "done", "umask 0022"] {
            assert!(said.lines().any(|said| said == line), "{line}: {said}");
        }
        assert!(!said.contains("mobula"), "{said}");
    });
}

#[test]
fn a_user_of_its_own_may_write_to_its_output() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let script = "echo $(busybox id -u) > /dev/stderr";
        let instance = plugin.launch(&Wanted { uid: 1234, ..Wanted::script(script) });
        assert_eq!(plugin.ended(&instance).code, Some(0));
        assert_eq!(plugin.said(), "1234\n");
    });
}

#[test]
fn a_plugin_that_ends_when_asked_is_not_killed() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let script =
            "trap 'echo bye; exit 3' TERM; echo ready; while :; do busybox sleep 0.05; done";
        let instance = plugin.start(script);
        eventually("it traps", PATIENCE, || plugin.said().contains("ready"));
        let exit = plugin.stop(&instance, PATIENCE);
        assert_eq!((exit.code, exit.signal), (Some(3), None));
        assert_eq!(plugin.said(), "ready\nbye\n");
        plugin.clean();
        plugin.assert_clean();
    });
}

#[test]
fn a_plugin_that_ignores_the_request_is_killed_with_its_children() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        // PID 1 has no default action: SIGTERM does nothing to it.
        let instance = plugin.start("busybox sleep 1000 & busybox sleep 1000; echo never");
        eventually("it has children", PATIENCE, || instance.processes().unwrap().len() == 3);
        let exit = plugin.stop(&instance, Duration::from_millis(100));
        assert_eq!((exit.code, exit.signal), (None, Some(9)));
        plugin.clean();
        plugin.assert_clean();
    });
}

#[test]
fn its_processes_are_told() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let instance = plugin.start("busybox sleep 1000 & wait");
        eventually("it has a child", PATIENCE, || {
            instance.processes().unwrap().iter().any(|one| one.command == "busybox sleep 1000")
        });
        let processes = instance.processes().unwrap();
        let init = processes.iter().find(|one| one.pid == instance.pid()).unwrap();
        assert_eq!((init.parent, init.uid), (instance.shim_pid(), 0));
        assert!(processes.iter().all(|one| one.memory > 0));
        plugin.stop(&instance, Duration::ZERO);
        assert!(instance.processes().unwrap().is_empty());
    });
}

#[test]
fn commands_run_in_the_plugin() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let instance = plugin.start("while :; do busybox sleep 1; done");
        let run = |script: &str| {
            let command = ["/bin/busybox", "sh", "-c", script].map(str::to_owned).to_vec();
            instance.exec(command, 100)
        };
        let (code, out, err) = run("busybox hostname; echo oops >&2; exit 5").unwrap();
        assert_eq!((code, out.as_slice(), err.as_slice()), (5, &b"plugin\n"[..], &b"oops\n"[..]));
        let (code, out, _) = run("busybox head -c 100000 /dev/zero").unwrap();
        assert_eq!((code, out.len()), (0, 100));
        let (code, ..) = run("kill -9 $$").unwrap();
        assert_eq!(code, 137);
        let error = instance.exec(vec!["/none".to_owned()], 100).unwrap_err();
        assert!(error.message().contains("/none"), "{error}");
        plugin.stop(&instance, Duration::ZERO);
        assert!(run("true").is_err());
        plugin.clean();
        plugin.assert_clean();
    });
}

#[test]
fn a_second_start_is_refused_and_the_first_goes_on() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let wanted = Wanted::script("while :; do busybox sleep 1; done");
        let first = plugin.launch(&wanted);
        let error = Instance::launch(&plugin.launch_of(&wanted)).unwrap_err();
        assert!(error.message().contains("is running already"), "{error}");
        assert!(first.processes().unwrap().iter().any(|one| one.pid == first.pid()));
    });
}

#[test]
fn a_system_call_filter_is_in_force() {
    with_each_runtime(|runtime| a_filter_is_in_force(runtime, None));
}

#[test]
fn a_system_call_filter_is_in_force_without_privileges_to_gain() {
    with_each_runtime(|runtime| a_filter_is_in_force(runtime, Some(true)));
}

fn a_filter_is_in_force(runtime: Runtime, no_new_privileges: Option<bool>) {
    use oci_spec::runtime::{LinuxSeccompAction, LinuxSeccompBuilder, LinuxSyscallBuilder};
    let plugin = Plugin::new(runtime);
    let mut launch = plugin.launch_of(&Wanted::script(
        "busybox mkdir /tmp/x || echo refused; while :; do busybox sleep 1; done",
    ));
    let rule = LinuxSyscallBuilder::default()
        .names(["mkdir".to_owned(), "mkdirat".to_owned()])
        .action(LinuxSeccompAction::ScmpActErrno)
        .build()
        .unwrap();
    let filter = LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActAllow)
        .syscalls([rule])
        .build()
        .unwrap();
    let mut linux = launch.spec.linux().clone().unwrap();
    linux.set_seccomp(Some(filter));
    launch.spec.set_linux(Some(linux));
    let process = launch.spec.process_mut().as_mut().unwrap();
    process.set_no_new_privileges(no_new_privileges);
    let instance = Instance::launch(&launch).unwrap();
    eventually("it has tried", PATIENCE, || plugin.said().contains("refused\n"));
    // Also for what is run in it later.
    let command = ["/bin/busybox", "mkdir", "/tmp/y"].map(str::to_owned).to_vec();
    let (code, _, error) = instance.exec(command, 1000).unwrap();
    assert_ne!(code, 0);
    let error = String::from_utf8(error).unwrap();
    assert!(error.contains("Operation not permitted"), "{error}");
    plugin.stop(&instance, Duration::ZERO);
}
