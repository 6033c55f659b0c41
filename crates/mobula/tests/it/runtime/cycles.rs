//! Many starts leave nothing; what one start costs.

use super::fixture::{Plugin, with_each_runtime};
use plugin::runtime::{Instance, Runtime};
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[test]
fn fifty_starts_and_stops_leave_nothing() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let mounts = host::mountinfo::table().unwrap().len();
        let cycles = if plugin.runtime == Runtime::BuiltIn { 50 } else { 10 };
        for _ in 0..cycles {
            let instance = plugin.start("while :; do busybox sleep 1; done");
            let exit = plugin.stop(&instance, Duration::ZERO);
            assert_eq!(exit.signal, Some(9));
            plugin.clean();
            plugin.assert_clean();
        }
        assert_eq!(descriptors(&plugin), Vec::<PathBuf>::new());
        assert_eq!(host::mountinfo::table().unwrap().len(), mounts);
        assert_eq!(zombies(), Vec::<String>::new());
    });
}

#[test]
fn what_a_start_costs() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let mut starts = Vec::new();
        for _ in 0..5 {
            let began = Instant::now();
            let instance = plugin.start("while :; do busybox sleep 1; done");
            starts.push(began.elapsed());
            plugin.stop(&instance, Duration::ZERO);
        }
        let took = starts.iter().min().unwrap();
        let instance = plugin.start("while :; do busybox sleep 1; done");
        // It has read and written something.
        instance.exec(vec!["/bin/busybox".into(), "true".into()], 0).unwrap();
        let memory = memory(&instance);
        println!("{:?}: start {took:?}, shim {memory:?}", plugin.runtime);
        let private = memory.iter().find(|(key, _)| key == "Private_Dirty:").unwrap().1;
        // What a debug program relocates at its start is most of it.
        assert!(private <= 16 << 10, "{memory:?}");
    });
}

/// Of the shim, in KiB.
fn memory(instance: &Instance) -> Vec<(String, u64)> {
    let path = format!("/proc/{}/smaps_rollup", instance.shim_pid());
    let text = std::fs::read_to_string(path).unwrap();
    let keys = ["Rss:", "Pss:", "Pss_Anon:", "Pss_File:", "Private_Dirty:", "Private_Clean:"];
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    });
    lines.filter(|(key, _)| keys.contains(&key.as_str())).collect()
}

/// Open descriptors of the plugin's files.
fn descriptors(plugin: &Plugin) -> Vec<PathBuf> {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = links.filter_map(|link| std::fs::read_link(link.path()).ok());
    targets.filter(|target| target.starts_with(plugin.path(""))).collect()
}

/// Dead children of this process that are shims.
fn zombies() -> Vec<String> {
    let own = std::process::id().to_string();
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = pids.filter_map(|pid| std::fs::read_to_string(pid.path().join("stat")).ok());
    let is_zombie = |stat: &String| {
        let (name, rest) = stat.rsplit_once(')').unwrap_or_default();
        let mut fields = rest.split_whitespace();
        name.contains("mobula-shim") && fields.next() == Some("Z") && fields.next() == Some(&own)
    };
    stats.filter(is_zombie).collect()
}
