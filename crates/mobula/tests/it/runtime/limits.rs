//! A plugin gone mad costs the machine no more than it may.

use super::fixture::{Plugin, Wanted, with_each_runtime};
use crate::fixture::{PATIENCE, eventually};
use plugin::logs::LogLimits;
use std::time::Duration;

#[test]
fn a_plugin_that_wants_too_much_memory_is_noted() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let script = "x=$(busybox head -c 200000000 /dev/zero | busybox tr '\\0' x); echo ${#x}";
        let wanted = Wanted { memory: Some(32 << 20), ..Wanted::script(script) };
        let instance = plugin.launch(&wanted);
        let exit = plugin.ended(&instance);
        assert!(exit.out_of_memory, "{exit:?}");
        plugin.clean();
        plugin.assert_clean();
    });
}

#[test]
fn a_fork_bomb_stops_at_the_limit_and_is_killed() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let script = "trap '' TERM; f() { f | f & }; f; while :; do busybox sleep 1; done";
        let wanted = Wanted { pids: Some(20), ..Wanted::script(script) };
        let instance = plugin.launch(&wanted);
        eventually("it has met its limit", PATIENCE, || plugin.said().contains("fork"));
        assert!(instance.processes().unwrap().len() <= 20);
        plugin.stop(&instance, Duration::ZERO);
        plugin.clean();
        plugin.assert_clean();
    });
}

#[test]
fn a_flood_of_output_neither_blocks_nor_fills_the_disk() {
    with_each_runtime(|runtime| {
        let mut plugin = Plugin::new(runtime);
        plugin.limits = LogLimits { bytes: 1 << 20 };
        let script = "busybox yes 'a line of some length, as programs write it' \
                      | busybox head -c 20000000; echo the end";
        let began = std::time::Instant::now();
        let instance = plugin.start(script);
        assert_eq!(plugin.ended(&instance).code, Some(0));
        println!("20 MB of output took {:?}", began.elapsed());
        assert!(plugin.said().ends_with("the end\n"));
        for name in ["log", "log.1"] {
            assert!(std::fs::metadata(plugin.path(name)).unwrap().len() <= 1 << 20);
        }
    });
}

/// A gigabyte, in lines that are longer than most; a debug build takes too long for all of it.
const FLOOD: u64 = if cfg!(debug_assertions) { 256 << 20 } else { 1 << 30 };

#[test]
fn a_great_flood_of_output_is_bounded_on_disk_and_in_memory_at_any_time() {
    with_each_runtime(|runtime| {
        if runtime != plugin::runtime::Runtime::BuiltIn {
            // The shim is the same.
            return;
        }
        let mut plugin = Plugin::new(runtime);
        plugin.limits = LogLimits { bytes: 1 << 20 };
        let line = "x".repeat(8000);
        let script = format!("busybox yes {line} | busybox head -c {FLOOD}; echo; echo the end");
        let instance = plugin.start(&script);
        let (mut memory, mut disk) = (0, 0);
        eventually("it has said it all", PATIENCE * 4, || {
            memory = memory.max(peak_memory(instance.shim_pid()));
            let sizes = ["log", "log.1"].map(|name| std::fs::metadata(plugin.path(name)));
            disk = disk.max(sizes.into_iter().flatten().map(|about| about.len()).sum());
            memory > 0 && !instance.processes().is_ok_and(|all| !all.is_empty())
        });
        assert_eq!(plugin.ended(&instance).code, Some(0));
        assert!(plugin.said().ends_with("the end\n"));
        println!("at most {disk} bytes on disk, {memory} KiB in memory");
        assert!(disk > 1 << 20 && disk <= 2 << 20, "{disk} bytes");
        // What a debug program has of code is most of it.
        assert!(memory <= 64 << 10, "{memory} KiB");
    });
}

/// In KiB; 0 of a process that has ended.
fn peak_memory(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}
