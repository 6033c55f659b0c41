//! What an operator chooses for an engine or for one plugin, as it is in force then.

use super::bed::{Bed, Kind, Setup, said};
use super::image::{probe, skeleton};
use super::on_ours;
use super::wire;
use crate::engine::fixture::kill;
use crate::fixture::{PATIENCE, eventually};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

on_ours!(
    what_confines_a_plugin_is_given_up_one_by_one,
    limits_are_those_that_were_chosen,
    one_plugin_is_kept_from_others,
    an_engine_publishes_only_what_it_is_told_to,
    plugins_of_an_external_runtime_live_like_others,
);

fn configure(bed: &Bed, words: &str) -> String {
    let words: Vec<_> =
        ["plugin", "configure", "probe"].into_iter().chain(words.split(' ')).collect();
    bed.home.ok(&words)
}

fn restart(bed: &Bed) {
    bed.ok("plugin disable probe");
    bed.ok("plugin enable probe");
}

/// What the machine says of the plugin's process: Seccomp, NoNewPrivs and the effective user.
fn status(bed: &Bed) -> [String; 3] {
    let pid = bed.pid("probe").unwrap();
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    ["Seccomp", "NoNewPrivs", "Uid"].map(|key| {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(&format!("{key}:")));
        lines.next().unwrap().split_whitespace().next().unwrap().to_owned()
    })
}

fn what_confines_a_plugin_is_given_up_one_by_one(kind: Kind) {
    let bed = Bed::start(kind);
    let image = probe().with("user", json!({ "UID": 1000, "GID": 1001 }));
    bed.create("probe", &image.with("linux", json!({})));
    bed.ok("plugin enable probe");
    assert_eq!(status(&bed), ["2", "1", "1000"]);
    configure(&bed, "--seccomp off");
    assert_eq!(status(&bed), ["2", "1", "1000"], "from its next start on");
    for (words, expected) in [
        ("--seccomp off", ["0", "1", "1000"]),
        ("--no-new-privileges off", ["0", "0", "1000"]),
        ("--user off", ["0", "0", "0"]),
        ("--seccomp on", ["2", "0", "0"]),
        ("--user on --no-new-privileges on", ["2", "1", "1000"]),
    ] {
        configure(&bed, words);
        restart(&bed);
        assert_eq!(status(&bed), expected, "{words}");
    }
}

/// A file of the plugin's control group, by its names of version 1 and 2.
fn limit(bed: &Bed, controller: &str, names: [&str; 2]) -> String {
    let pid = bed.pid("probe").unwrap();
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let of = |wanted: &str| {
        let mut groups = groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        groups.find(|(controllers, _)| controllers.split(',').any(|it| it == wanted))
    };
    let root = Path::new("/sys/fs/cgroup");
    let (dir, name) = match of(controller) {
        Some((_, group)) => (root.join(controller).join(group.trim_start_matches('/')), names[0]),
        None => (root.join(of("").unwrap().1.trim_start_matches('/')), names[1]),
    };
    std::fs::read_to_string(dir.join(name)).unwrap().trim().to_owned()
}

fn limits_are_those_that_were_chosen(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    let pids = || limit(&bed, "pids", ["pids.max", "pids.max"]);
    let memory = || limit(&bed, "memory", ["memory.limit_in_bytes", "memory.max"]);
    assert_eq!(pids(), "4096");
    let unlimited = memory();
    configure(&bed, "--pids 77 --memory 512MiB");
    restart(&bed);
    assert_eq!((pids(), memory()), ("77".to_owned(), (512 << 20).to_string()));
    configure(&bed, "--pids none --memory none");
    restart(&bed);
    assert_eq!((pids(), memory()), ("max".to_owned(), unlimited));
}

fn is_published(bed: &Bed) -> bool {
    wire::connect(&bed.published("probe")).is_ok()
}

fn one_plugin_is_kept_from_others(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    eventually("it is published", PATIENCE, || is_published(&bed));
    configure(&bed, "--publish off");
    eventually("its socket is gone", PATIENCE, || !bed.published("probe").exists());
    restart(&bed);
    assert!(!bed.published("probe").exists());
    assert_eq!(bed.state_of("probe")["socket"], Value::Null);
    // The engine itself uses it all the same.
    bed.ok("volume create -d probe v");
    assert_eq!(bed.ok("volume ls -q"), "v");
    let podman = bed.home.ok(&["plugin", "publish", "podman", "--print"]);
    assert!(!podman.contains("probe"), "{podman}");
    configure(&bed, "--publish on");
    eventually("it is published again", PATIENCE, || is_published(&bed));
}

fn an_engine_publishes_only_what_it_is_told_to(kind: Kind) {
    let bed = Bed::with(kind, Setup { engine: "publish: false", ..Setup::default() });
    bed.probe("probe");
    bed.create("other", &probe());
    bed.ok("plugin enable other");
    let sockets = || {
        let entries = std::fs::read_dir(bed.home.path("run/docker/plugins")).unwrap().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(sockets(), Vec::<String>::new());
    bed.ok("volume create -d probe v");
    configure(&bed, "--publish on");
    eventually("it is published", PATIENCE, || is_published(&bed));
    assert_eq!(sockets(), ["probe.sock"]);
    configure(&bed, "--publish default");
    eventually("its socket is gone", PATIENCE, || sockets().is_empty());
}

/// A runtime that notes how it is called, and leaves the work to runc.
fn noting_runtime(bed_log: &Path) -> PathBuf {
    let runc =
        ["/usr/sbin/runc", "/usr/bin/runc"].into_iter().find(|path| Path::new(path).exists());
    let script =
        format!("#!/bin/sh\necho \"$@\" >> {}\nexec {} \"$@\"\n", bed_log.display(), runc.unwrap());
    let program = bed_log.with_extension("sh");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    program
}

fn plugins_of_an_external_runtime_live_like_others(kind: Kind) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("runtime");
    let engine = format!("runtime: {}", noting_runtime(&log).display());
    let mut bed = Bed::with(kind, Setup { engine: &engine, ..Setup::default() });
    let directory = skeleton(&bed.home, "new");
    bed.ok(&format!("plugin create new {}", directory.display()));
    bed.ok("plugin enable new");
    let pid = |bed: &Bed| bed.state_of("new")["pid"].as_u64();
    let calls = |word: &str| {
        let text = std::fs::read_to_string(&log).unwrap();
        text.lines().filter(|line| line.split(' ').any(|it| it == word)).count()
    };
    assert_eq!(calls("create") + calls("run"), 1, "the runtime was asked");
    let version = bed.home.ok(&["plugin", "exec", "new", "/bin/mobula", "--version"]);
    assert!(version.starts_with("mobula "), "{version}");
    let output = bed.home.run(&["plugin", "exec", "new", "/bin/mobula", "no-such-verb"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let top = bed.home.ok(&["plugin", "top", "new"]);
    assert!(top.contains("/bin/mobula __sample"), "{top}");

    bed.call("new", "Create", &json!({ "Name": "v" }));
    let mounted = bed.call("new", "Mount", &json!({ "Name": "v", "ID": "a" }));
    let target = PathBuf::from(mounted["Mountpoint"].as_str().unwrap());
    std::fs::write(target.join("file"), "kept").unwrap();
    let old = pid(&bed);
    kill("-KILL", u32::try_from(old.unwrap()).unwrap());
    eventually("it is back", PATIENCE, || pid(&bed).is_some_and(|pid| Some(pid) != old));
    bed.call("new", "Get", &json!({ "Name": "v" }));
    assert_eq!(std::fs::read_to_string(target.join("file")).unwrap(), "kept");
    // The next engine takes it over.
    let old = pid(&bed);
    bed.kill_engine();
    bed.start_engine();
    eventually("it is found running", PATIENCE, || pid(&bed) == old);
    bed.call("new", "Unmount", &json!({ "Name": "v", "ID": "a" }));
    bed.ok("plugin disable new");
    assert!(!Path::new(&format!("/proc/{}", old.unwrap())).exists());
    assert!(calls("delete") >= 1, "{}", std::fs::read_to_string(&log).unwrap());
    bed.ok("plugin rm -f new");
}
