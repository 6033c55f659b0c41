//! Legacy plugins beside managed ones: found by their files, used like the others, and no burden
//! when they are dead.

mod server;

use super::bed::{Bed, Kind};
use super::{on_both, on_ours};
use crate::fixture::{PATIENCE, eventually};
use serde_json::{Value, json};
use server::{Legacy, Relay};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

on_both!(
    plugins_of_all_kinds_of_files_are_activated_on_first_use,
    volumes_of_a_legacy_plugin_are_made_listed_mounted_and_removed,
    a_plugin_whose_file_comes_two_seconds_later_is_used,
    a_plugin_that_listens_two_seconds_later_is_used,
    a_managed_plugin_goes_before_a_legacy_one_of_its_name,
);

mod alone {
    use super::*;

    on_ours!(
        a_dead_socket_delays_no_list_and_is_told_of,
        a_plugin_that_never_answers_delays_few_lists,
        a_plugin_that_died_is_told_of_and_its_volumes_are_shown,
        legacy_plugins_are_listed_with_their_kind,
    );
}

/// What our command line says of each plugin.
fn listed(bed: &Bed) -> Vec<String> {
    let shown = bed.home.ok(&["plugin", "ls", "--format", "{{.Name}} {{.Kind}} {{.State}}"]);
    shown.lines().map(str::to_owned).collect()
}

/// `GET /volumes`: the names, and the warnings.
fn volumes(bed: &Bed) -> (Vec<String>, Vec<String>) {
    let answer = bed.api("GET /volumes", &[], "").json();
    let names = answer["Volumes"].as_array().into_iter().flatten();
    let warnings = answer["Warnings"].as_array().into_iter().flatten();
    (
        names.map(|volume| volume["Name"].as_str().unwrap().to_owned()).collect(),
        warnings.map(|warning| warning.as_str().unwrap().to_owned()).collect(),
    )
}

fn plugins_of_all_kinds_of_files_are_activated_on_first_use(kind: Kind) {
    let bed = Bed::start(kind);
    let socket =
        Legacy::start(&bed.home, "socket", &bed.home.path("run/docker/plugins/socket.sock"));
    let spec = Legacy::start(&bed.home, "spec", &bed.home.path("spec.sock"));
    let nested = Legacy::start(&bed.home, "nested", &bed.home.path("nested.sock"));
    let tls = Legacy::start(&bed.home, "tls", &bed.home.path("tls.sock"));
    let plain = Relay::plain(&nested.socket);
    let secured = Relay::tls(&bed.home, &tls.socket);
    let specs = bed.home.path("etc/docker/plugins");
    std::fs::create_dir(specs.join("nested")).unwrap();
    std::fs::write(specs.join("spec.spec"), format!("unix://{}\n", spec.socket.display())).unwrap();
    std::fs::write(specs.join("nested/nested.spec"), format!("tcp://{}", plain.address)).unwrap();
    std::fs::write(specs.join("tls.json"), secured.json().to_string()).unwrap();
    let all = [("socket", &socket), ("spec", &spec), ("nested", &nested), ("tls", &tls)];
    bed.ok("plugin ls");
    if bed.is_ours() {
        listed(&bed);
    }
    for (index, (name, plugin)) in all.iter().enumerate() {
        assert_eq!(plugin.count("Plugin.Activate"), 0, "{name} is used by nobody");
        bed.ok(&format!("volume create -d {name} of-{name}"));
        assert_eq!(plugin.count("Plugin.Activate"), 1, "{name}");
        assert!(all[index + 1..].iter().all(|(_, other)| other.calls().is_empty()), "{name}");
    }
    let (names, warnings) = volumes(&bed);
    assert_eq!(warnings, Vec::<String>::new());
    for (name, plugin) in all {
        assert!(names.contains(&format!("of-{name}")), "{names:?}");
        bed.ok(&format!("volume rm of-{name}"));
        assert_eq!(plugin.count("VolumeDriver.Remove"), 1, "{name}");
        assert_eq!(plugin.count("Plugin.Activate"), 1, "{name} is activated once");
    }
}

fn volumes_of_a_legacy_plugin_are_made_listed_mounted_and_removed(kind: Kind) {
    let bed = Bed::start(kind);
    let plugin = Legacy::in_docker(&bed.home, "old");
    bed.ok("volume create -d old -o fs=tmpfs --label a=b v");
    let inspect = || -> Value {
        let shown: Value = serde_json::from_str(&bed.ok("volume inspect v")).unwrap();
        shown[0].clone()
    };
    assert_eq!(inspect()["Driver"], "old");
    assert_eq!(inspect()["Labels"], json!({ "a": "b" }));
    assert_eq!(inspect()["Options"], json!({ "fs": "tmpfs" }));
    assert_eq!(bed.ok("volume ls -q -f driver=old"), "v");
    let mounted = plugin.call("Mount", &json!({ "Name": "v", "ID": "a" }));
    let target = PathBuf::from(mounted["Mountpoint"].as_str().unwrap());
    std::fs::write(target.join("file"), "kept").unwrap();
    // Its paths are the machine's.
    assert_eq!(inspect()["Mountpoint"], json!(target));
    if bed.is_ours() {
        assert_eq!(bed.ok("volume ls -q -f dangling=false"), "v", "its mount point is known");
    }
    plugin.call("Unmount", &json!({ "Name": "v", "ID": "a" }));
    assert_eq!(bed.ok("volume rm v"), "v");
    assert_eq!(bed.ok("volume ls -q"), "");
    let said = bed.fails("volume inspect v");
    assert!(said.to_lowercase().contains("no such volume"), "{said}");
}

/// `docker volume create` that goes on meanwhile.
fn creating(bed: &Bed, driver: &str) -> Child {
    let mut command = bed.docker(&format!("volume create -d {driver} v"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The moment that Docker's own test gives a plugin.
const LATE: Duration = Duration::from_secs(2);

fn a_plugin_whose_file_comes_two_seconds_later_is_used(kind: Kind) {
    let bed = Bed::start(kind);
    let creating = creating(&bed, "late");
    std::thread::sleep(LATE);
    let _plugin = Legacy::in_docker(&bed.home, "late");
    let output = creating.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(bed.ok("volume ls -q -f driver=late"), "v");
}

/// A socket at which nobody listens.
fn dead_socket(bed: &Bed, name: &str) -> PathBuf {
    let socket = bed.home.path(&format!("run/docker/plugins/{name}.sock"));
    drop(UnixListener::bind(&socket).unwrap());
    socket
}

fn a_plugin_that_listens_two_seconds_later_is_used(kind: Kind) {
    let bed = Bed::start(kind);
    dead_socket(&bed, "late");
    let creating = creating(&bed, "late");
    std::thread::sleep(LATE);
    let _plugin = Legacy::in_docker(&bed.home, "late");
    let output = creating.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(bed.ok("volume ls -q -f driver=late"), "v");
}

fn a_managed_plugin_goes_before_a_legacy_one_of_its_name(kind: Kind) {
    let bed = Bed::start(kind);
    let legacy = Legacy::start(&bed.home, "both", &bed.home.path("both.sock"));
    let spec = bed.home.path("etc/docker/plugins/both.spec");
    std::fs::write(spec, format!("unix://{}", legacy.socket.display())).unwrap();
    bed.probe("both");
    bed.ok("volume create -d both v");
    assert_eq!(bed.count("both", "VolumeDriver.Create"), 1);
    assert_eq!(legacy.count("VolumeDriver.Create"), 0);
    // Not even one that is disabled is replaced by it.
    bed.ok("volume rm v");
    bed.ok("plugin disable both");
    let said = bed.fails("volume create -d both v");
    assert!(said.contains("disabled"), "{said}");
    assert_eq!(legacy.count("VolumeDriver.Create"), 0);
}

/// Nothing that waited for a dead plugin each time could be done so often in this time.
const SHORT: Duration = Duration::from_secs(12);
const OFTEN: u32 = 6;

/// moby#22653: one dead socket stalls every list by 15 seconds.
fn a_dead_socket_delays_no_list_and_is_told_of(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    bed.ok("volume create -d probe fine");
    let socket = dead_socket(&bed, "dead");
    let path = socket.to_str().unwrap();
    let begin = Instant::now();
    for _ in 0..OFTEN {
        let (names, warnings) = volumes(&bed);
        assert_eq!(names, ["fine"]);
        assert!(warnings.len() == 1 && warnings[0].contains(path), "{warnings:?}");
        let said = bed.fails("volume inspect nobodys");
        assert!(said.to_lowercase().contains("no such volume"), "{said}");
    }
    assert!(begin.elapsed() < SHORT, "{:?}", begin.elapsed());
    let log = std::fs::read_to_string(bed.home.path("engine.log")).unwrap();
    let told = log.lines().filter(|line| line.contains("WARN") && line.contains(path));
    assert_eq!(told.count(), 1, "{log}");
    // One that is named is waited for, but not each time.
    let begin = Instant::now();
    for _ in 0..OFTEN {
        let said = bed.fails("volume create -d dead v");
        assert!(said.contains(path), "{said}");
    }
    assert!(begin.elapsed() < SHORT, "{:?}", begin.elapsed());
    // Somebody listens again, or the file is gone: all is well.
    let plugin = Legacy::in_docker(&bed.home, "dead");
    eventually("it is there again", PATIENCE, || volumes(&bed).1.is_empty());
    bed.ok("volume create -d dead v");
    bed.ok("volume rm v");
    drop(plugin);
    assert_eq!(volumes(&bed).1.len(), 1);
    std::fs::remove_file(&socket).unwrap();
    assert_eq!(volumes(&bed), (vec!["fine".to_owned()], Vec::new()));
}

fn a_plugin_that_never_answers_delays_few_lists(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    bed.ok("volume create -d probe fine");
    let socket = bed.home.path("run/docker/plugins/hangs.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let begin = Instant::now();
    for _ in 0..OFTEN {
        let (names, warnings) = volumes(&bed);
        assert_eq!(names, ["fine"]);
        assert!(warnings.len() == 1 && warnings[0].contains("hangs.sock"), "{warnings:?}");
    }
    assert!(begin.elapsed() < SHORT, "{:?}", begin.elapsed());
    let said = bed.fails("volume create -d hangs v");
    assert!(said.contains("hangs.sock"), "{said}");
}

fn a_plugin_that_died_is_told_of_and_its_volumes_are_shown(kind: Kind) {
    let bed = Bed::start(kind);
    let plugin = Legacy::in_docker(&bed.home, "old");
    bed.ok("volume create -d old v");
    drop(plugin);
    let (names, warnings) = volumes(&bed);
    assert_eq!(names, ["v"]);
    assert!(warnings.iter().any(|warning| warning.contains("old.sock")), "{warnings:?}");
    // The same for an engine that never heard of it.
    let mut bed = bed;
    bed.restart_engine();
    let (names, warnings) = volumes(&bed);
    assert_eq!(names, ["v"]);
    assert!(warnings.iter().any(|warning| warning.contains("old.sock")), "{warnings:?}");
    let _plugin = Legacy::in_docker(&bed.home, "old");
    assert_eq!(bed.ok("volume rm v"), "v");
}

fn legacy_plugins_are_listed_with_their_kind(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    let old = Legacy::in_docker(&bed.home, "old");
    dead_socket(&bed, "dead");
    let shown = ["dead legacy failing", "old legacy running", "probe:latest managed running"];
    assert_eq!(listed(&bed), shown);
    let only = ["plugin", "ls", "--filter", "kind=legacy", "--format", "{{.Name}}"];
    assert_eq!(bed.home.ok(&only), "dead\nold");
    assert_eq!(bed.list(""), ["probe:latest"], "Docker's list knows no legacy ones");
    assert_eq!(old.count("Plugin.Activate"), 0, "to look at it is not to use it");
    let state: Value =
        serde_json::from_str(&bed.home.ok(&["plugin", "inspect", "--state", "old"])).unwrap();
    let state = state.get(0).unwrap_or(&state);
    assert_eq!((&state["kind"], &state["state"]), (&json!("legacy"), &json!("running")));
    bed.ok("volume create -d old v");
    let answer = bed.api("GET /mobula/plugins/old", &[], "").json();
    assert_eq!(answer["types"], json!(["VolumeDriver"]), "known since its first use");
}
