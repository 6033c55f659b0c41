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
