//! Plugins' containers, as the plugin itself sees them.

use super::bed::{Bed, Kind};
use super::image::probe;
use super::{on_both, on_ours};
use serde_json::{Value, json};

on_both!(
    a_plugin_has_dockers_capabilities_and_those_it_asks_for,
    a_plugin_runs_as_the_user_it_names_and_is_confined,
    binds_of_the_whole_machine_are_made_in_their_order,
    a_mount_without_a_source_shows_nothing_of_the_engine,
    what_a_plugin_mounts_is_seen_once_and_shared,
    arguments_and_environment_are_those_of_the_settings,
    a_plugin_has_a_network_only_if_it_asks_for_the_machines,
);

/// CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT
/// MKNOD AUDIT_WRITE SETFCAP.
const DOCKERS: u64 = 0xa804_25fb;
const SYS_ADMIN: u64 = 1 << 21;

fn capabilities(about: &Value, set: &str) -> u64 {
    u64::from_str_radix(about["status"][set].as_str().unwrap(), 16).unwrap()
}

fn a_plugin_has_dockers_capabilities_and_those_it_asks_for(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("with");
    bed.create("without", &probe().with("linux", json!({})));
    bed.ok("plugin enable without");
    for set in ["CapBnd", "CapPrm", "CapEff"] {
        assert_eq!(capabilities(&bed.about("with"), set), DOCKERS | SYS_ADMIN, "{set}");
        assert_eq!(capabilities(&bed.about("without"), set), DOCKERS, "{set}");
    }
}

/// dockerd ignores the user and confines nothing (fact 8).
fn a_plugin_runs_as_the_user_it_names_and_is_confined(kind: Kind) {
    let bed = Bed::start(kind);
    let image = probe().with("user", json!({ "UID": 1000, "GID": 1001 }));
    bed.create("probe", &image.with("linux", json!({})));
    bed.ok("plugin enable probe");
    let status = bed.about("probe")["status"].clone();
    let expected = if bed.is_ours() {
        ["1000 1000 1000 1000", "1001 1001 1001 1001", "1", "2"]
    } else {
        ["0 0 0 0", "0 0 0 0", "0", "0"]
    };
    let seen = ["Uid", "Gid", "NoNewPrivs", "Seccomp"].map(|key| status[key].as_str().unwrap());
    assert_eq!(seen, expected);
}

fn bind(source: &str, destination: &str) -> Value {
    json!({
        "name": destination, "description": "", "source": source, "destination": destination,
        "type": "bind", "options": ["rbind"], "settable": [],
    })
}

/// `/` before `/dev` before a directory below it, as the configuration has them.
fn binds_of_the_whole_machine_are_made_in_their_order(kind: Kind) {
    let bed = Bed::start(kind);
    let dir = bed.home.path("shown");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("file"), "shown").unwrap();
    let mounts =
        [bind("/", "/host"), bind("/dev", "/dev"), bind(dir.to_str().unwrap(), "/host/mnt")];
    let image = probe()
        .with("mounts", json!(mounts))
        .with("network", json!({ "type": "host" }))
        .with("ipcHost", json!(true));
    bed.create("probe", &image);
    bed.ok("plugin enable probe");
    assert_eq!(bed.ask("probe", "/file/host/mnt/file").text(), "shown");
    let devices = bed.about("probe")["devices"].clone();
    let own = std::fs::read_dir("/dev").unwrap().count();
    assert_eq!(devices.as_array().unwrap().len(), own, "{devices}");
    bed.ok("volume create -d probe v");
    bed.ok("plugin disable -f probe");
}

/// runc takes it for the directory of the bundle (fact 11).
fn a_mount_without_a_source_shows_nothing_of_the_engine(kind: Kind) {
    let bed = Bed::start(kind);
    let mut mount = bind("", "/x");
    mount["settable"] = json!(["source"]);
    bed.create("probe", &probe().with("mounts", json!([mount])));
    bed.ok("plugin enable probe");
    let expected = if bed.is_ours() { 404 } else { 200 };
    assert_eq!(bed.ask("probe", "/file/x/config.json").status, expected);
    bed.ok("plugin disable probe");
    let dir = bed.home.path("given");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("file"), "given").unwrap();
    bed.ok(&format!("plugin set probe /x.source={}", dir.display()));
    bed.ok("plugin enable probe");
    assert_eq!(bed.ask("probe", "/file/x/file").text(), "given");
}

/// dockerd's own propagated mounts are peers of its data root's, so all is seen twice (fact 10).
fn what_a_plugin_mounts_is_seen_once_and_shared(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    let propagated = bed.propagated("probe");
    bed.ok("volume create -d probe v");
    bed.call("probe", "Mount", &json!({ "Name": "v", "ID": "a" }));
    let table = host::mountinfo::table().unwrap();
    let at = |target: &std::path::Path| {
        table.iter().filter(|mount| mount.target == target).collect::<Vec<_>>()
    };
    let expected = if bed.is_ours() { 1 } else { 2 };
    assert_eq!(at(&propagated.join("mounts/v")).len(), expected);
    assert!(at(&propagated).iter().all(|mount| mount.propagation() == "shared"));
    std::fs::write(propagated.join("mounts/v/file"), "by the host").unwrap();
    assert_eq!(bed.ask("probe", "/file/mnt/probe/volumes/v/file").text(), "by the host");
    bed.call("probe", "Unmount", &json!({ "Name": "v", "ID": "a" }));
    assert!(host::mountinfo::at(&propagated.join("mounts/v")).unwrap().is_none());
    bed.ok("plugin rm -f probe");
    let left = host::mountinfo::table().unwrap();
    assert!(!left.iter().any(|mount| mount.target.starts_with(&propagated)));
}

fn arguments_and_environment_are_those_of_the_settings(kind: Kind) {
    let bed = Bed::start(kind);
    let mut image = probe();
    image.config["args"]["value"] = json!(["one", "two three"]);
    bed.create("probe", &image);
    bed.ok("plugin enable probe");
    let about = bed.about("probe");
    assert_eq!(about["args"], json!(["/probe", "one", "two three"]));
    let path = about["env"]["PATH"].as_str().unwrap();
    assert!(path.starts_with("/usr/local/sbin:"), "{path}");
    assert_eq!(about["env"]["HOME"], "/");
    assert!(about["env"]["DEBUG"].is_null(), "has no value yet");
    let fds = about["fds"].as_object().unwrap();
    let strange = |link: &&Value| {
        let link = link.as_str().unwrap();
        link.starts_with('/') && !link.starts_with("/dev/") && !link.starts_with("/proc/")
    };
    assert_eq!(fds.values().filter(strange).count(), 0, "{fds:?}");
    bed.ok("plugin disable probe");
    let done = bed.docker("plugin set probe DEBUG=a=b").arg("args=x  y").output().unwrap();
    assert!(done.status.success(), "{done:?}");
    bed.ok("plugin enable probe");
    let about = bed.about("probe");
    assert_eq!(about["args"], json!(["/probe", "x", "", "y"]), "split at each blank");
    assert_eq!(about["env"]["DEBUG"], "a=b");
}

fn a_plugin_has_a_network_only_if_it_asks_for_the_machines(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("alone");
    bed.create("wide", &probe().with("network", json!({ "type": "host" })));
    bed.ok("plugin enable wide");
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    let namespace = |name: &str| bed.about(name)["namespaces"]["net"].as_str().unwrap().to_owned();
    assert_eq!(namespace("wide"), own.to_str().unwrap());
    assert_ne!(namespace("alone"), own.to_str().unwrap());
    assert_eq!(bed.ask("wide", "/file/etc/hosts").status, 200);
}
