//! Where dockerd surprises, and what is done instead. A test says how dockerd behaves if it does so
//! reliably, and is for `mobula engine` alone if it does not.

use super::bed::{Bed, Kind, said};
use super::image::{Image, probe};
use super::registry::{DOCKER, GZIP, INDEX, OCI, Packing, ZSTD, pack};
use super::{on_both, on_ours};
use crate::engine::fixture::ok;
use crate::fixture::{PATIENCE, eventually};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

on_both!(
    a_plugin_may_take_as_long_to_start_as_it_is_given,
    an_upgrade_brings_new_settings_and_keeps_those_of_the_user,
    a_device_can_be_set_after_a_restart,
    a_context_may_be_compressed,
    a_registry_that_knows_nothing_of_a_plugin_says_so,
    layers_packed_by_zstd_are_unpacked,
    an_upgrade_that_asks_for_more_needs_consent,
);

mod alone {
    use super::*;

    on_ours!(
        a_published_socket_answers_the_handshake_by_itself,
        an_error_in_an_answer_becomes_a_status,
        a_call_without_a_body_does_not_reach_the_plugin,
        what_is_in_use_is_what_is_mounted,
        a_directory_of_the_plugins_own_files_is_no_volume,
        a_plugin_is_pushed_though_another_one_was_removed,
        a_creation_that_failed_leaves_nothing_in_the_next_one,
        layers_are_applied_in_their_order,
        an_index_gives_the_manifest_of_this_machine,
        every_privilege_must_be_granted,
        an_exchange_keeps_mounts_and_a_failed_one_the_version_before,
        a_plugin_with_volumes_is_removed_by_force_only,
    );
}

/// Complaint 5: with dockerd it is disable, upgrade, enable, and nobody goes back.
fn an_exchange_keeps_mounts_and_a_failed_one_the_version_before(kind: Kind) {
    let bed = Bed::start(kind);
    let name = bed.publish("me/probe:v1", &probe());
    let next = bed.publish("me/probe:v2", &probe().and_file("v2", "yes"));
    let broken = probe().and_file("v3", "yes").with("entrypoint", json!(["/no/such/program"]));
    let broken = bed.publish("me/probe:v3", &broken);
    bed.install(&name, "");
    bed.call(&name, "Create", &json!({ "Name": "kept", "Opts": { "fs": "tmpfs" } }));
    let mount = bed.call(&name, "Mount", &json!({ "Name": "kept", "ID": "a" }));
    let target = Path::new(mount["Mountpoint"].as_str().unwrap()).to_owned();
    let upgrade = |to: &str| {
        let words = ["--drain", "--grant-all-permissions", "--skip-remote-check", &name, to];
        bed.home.run(&[&["plugin", "upgrade"][..], &words].concat())
    };
    let output = upgrade(&next);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(bed.ask(&name, "/file/v2").text(), "yes");
    assert!(host::mountinfo::at(&target).unwrap().is_some());
    let output = upgrade(&broken);
    assert!(!output.status.success() && said(&output).contains("is back"), "{output:?}");
    eventually("the version before runs", PATIENCE, || bed.pid(&name).is_some());
    eventually("it answers", PATIENCE, || {
        bed.try_call(&name, "Get", &json!({ "Name": "kept" }).to_string()).0 == 200
    });
    assert_eq!(bed.ask(&name, "/file/v2").text(), "yes");
    assert_eq!(bed.ask(&name, "/file/v3").status, 404);
    assert!(host::mountinfo::at(&target).unwrap().is_some());
    bed.call(&name, "Unmount", &json!({ "Name": "kept", "ID": "a" }));
}

/// Their data would go with it.
fn a_plugin_with_volumes_is_removed_by_force_only(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    bed.ok("volume create -d probe precious");
    bed.ok("plugin disable probe");
    let said = bed.fails("plugin rm probe");
    assert!(said.contains("precious") && said.contains("data"), "{said}");
    bed.ok("plugin enable probe");
    bed.ok("volume rm precious");
    bed.ok("plugin disable probe");
    bed.ok("plugin rm probe");
}

/// With dockerd it is about 9.5 seconds, whatever is said (fact 5).
fn a_plugin_may_take_as_long_to_start_as_it_is_given(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("probe", &probe().in_mode("slow-listen:14000"));
    let output = bed.docker("plugin enable --timeout 60 probe").output().unwrap();
    assert_eq!(output.status.success(), bed.is_ours(), "{output:?}");
    assert_eq!(bed.is_enabled("probe"), bed.is_ours());
}

fn variable(name: &str, value: &str) -> Value {
    json!({ "name": name, "description": "", "value": value, "settable": ["value"] })
}

fn bound(source: &Path) -> Value {
    json!([{
        "name": "data", "description": "", "source": source, "destination": "/given",
        "type": "bind", "options": ["rbind"], "settable": ["source"],
    }])
}

/// dockerd keeps all settings as they are but sources of mounts, which it resets (fact 12).
fn an_upgrade_brings_new_settings_and_keeps_those_of_the_user(kind: Kind) {
    let bed = Bed::start(kind);
    let dirs = ["default", "chosen"].map(|name| bed.home.path(name));
    dirs.iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
    let mut old = probe().with("mounts", bound(&dirs[0]));
    let mut new = old.clone();
    old.config["env"] = json!([variable("KEPT", "1"), variable("CHANGED", "1")]);
    new.config["env"] =
        json!([variable("KEPT", "2"), variable("CHANGED", "2"), variable("NEW", "2")]);
    let name = bed.publish("me/probe:v1", &old);
    let next = bed.publish("me/probe:v2", &new);
    bed.install(&name, "--disable KEPT=mine");
    bed.ok(&format!("plugin set {name} data.source={}", dirs[1].display()));
    let words = "plugin upgrade --grant-all-permissions --skip-remote-check";
    bed.ok(&format!("{words} {name} {next}"));
    bed.ok(&format!("plugin enable {name}"));
    let about = bed.about(&name);
    let env = ["KEPT", "CHANGED", "NEW"].map(|key| about["env"][key].as_str().unwrap_or_default());
    let root = about["mounts"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    let given: Vec<_> = root.filter(|line| line.contains(" /given ")).collect();
    if bed.is_ours() {
        assert_eq!(env, ["mine", "2", "2"]);
        assert!(given[0].contains("/chosen "), "{given:?}");
    } else {
        assert_eq!(env, ["mine", "1", ""]);
    }
}

/// dockerd writes it where it does not read it any more (fact 13).
fn a_device_can_be_set_after_a_restart(kind: Kind) {
    let mut bed = Bed::start(kind);
    let device = json!({ "name": "dev", "path": "/dev/fuse", "settable": ["path"] });
    bed.create("probe", &probe().with("linux", json!({ "devices": [device] })));
    bed.restart_engine();
    bed.ok("plugin set probe dev.path=/dev/kmsg");
    bed.ok("plugin enable probe");
    let about = bed.about("probe");
    let has = |name: &str| about["devices"].as_array().unwrap().contains(&json!(name));
    let expected = if bed.is_ours() { (false, true) } else { (true, false) };
    assert_eq!((has("fuse"), has("kmsg")), expected, "{about}");
}

/// dockerd does not unpack it (fact 16).
fn a_context_may_be_compressed(kind: Kind) {
    let bed = Bed::start(kind);
    let dir = probe().write(&bed.home);
    let words = format!("plugin create --compress probe {}", dir.display());
    let output = bed.docker(&words).output().unwrap();
    assert_eq!(output.status.success(), bed.is_ours(), "{output:?}");
    if bed.is_ours() {
        bed.ok("plugin enable probe");
    } else {
        assert!(said(&output).contains("invalid tar header"), "{output:?}");
    }
}

/// dockerd answers that it needs no privileges (fact 18).
fn a_registry_that_knows_nothing_of_a_plugin_says_so(kind: Kind) {
    let bed = Bed::start(kind);
    let name = bed.registry.name("no/such:v1");
    let answer = bed.api(&format!("GET /plugins/privileges?remote={name}"), &[], "");
    assert_eq!(answer.status, if bed.is_ours() { 404 } else { 200 }, "{answer:?}");
    bed.fails(&format!("plugin install --grant-all-permissions {name}"));
}

/// dockerd leaves them out, and installs nothing at all (fact 17).
fn layers_packed_by_zstd_are_unpacked(kind: Kind) {
    let mut bed = Bed::start(kind);
    let layer = pack(&probe().write(&bed.home).join("rootfs"), Packing::Zstd);
    let layers = [bed.registry.blob("me/zstd", ZSTD, &layer)];
    let manifest = bed.registry.describe("me/zstd", &probe(), &layers, OCI);
    bed.registry.manifest("me/zstd", "v1", &manifest);
    let name = bed.registry.name("me/zstd:v1");
    bed.install(&name, "--disable");
    let enabled = bed.docker(&format!("plugin enable {name}")).output().unwrap();
    assert_eq!(enabled.status.success(), bed.is_ours(), "{enabled:?}");
    if bed.is_ours() {
        // And packed by gzip when they leave, so that dockerd can install them.
        bed.push(&name);
        let pushed = bed.registry.get("me/zstd", "v1").json();
        assert_eq!(pushed["layers"][0]["mediaType"], GZIP);
        let path = format!("/v2/me/zstd/blobs/{}", pushed["layers"][0]["digest"].as_str().unwrap());
        let blob = bed.registry.request(&format!("GET {path}"), &[], &[]).body;
        assert_eq!(blob[..2], [0x1f, 0x8b]);
    }
}

fn a_published_socket_answers_the_handshake_by_itself(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    let socket = bed.published("probe");
    eventually("it is published", PATIENCE, || socket.exists());
    let answer = super::wire::unix(&socket, "POST /Plugin.Activate", &[], &[]).unwrap();
    assert_eq!((answer.status, answer.json()), (200, json!({ "Implements": ["VolumeDriver"] })));
    assert_eq!(bed.count("probe", "Plugin.Activate"), 0);
    // What it answers is where the host has it.
    bed.call("probe", "Create", &json!({ "Name": "v" }));
    let mounted = bed.call("probe", "Mount", &json!({ "Name": "v", "ID": "a" }));
    let expected = bed.propagated("probe").join("mounts/v");
    for answer in [
        &mounted["Mountpoint"],
        &bed.call("probe", "Path", &json!({ "Name": "v" }))["Mountpoint"],
        &bed.call("probe", "Get", &json!({ "Name": "v" }))["Volume"]["Mountpoint"],
        &bed.call("probe", "List", &json!({}))["Volumes"][0]["Mountpoint"],
    ] {
        assert_eq!(answer, &json!(expected));
    }
    // Podman lists with an empty body.
    let (status, answer) = bed.try_call("probe", "List", "");
    assert_eq!((status, answer["Volumes"].as_array().unwrap().len()), (200, 1));
    bed.call("probe", "Unmount", &json!({ "Name": "v", "ID": "a" }));
    bed.ok("plugin disable probe");
    eventually("it is published no more", PATIENCE, || !socket.exists());
}

/// Podman takes any answer with status 200 for a success (fact 2).
fn an_error_in_an_answer_becomes_a_status(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    for name in ["bad-create-err", "bad-create-http500", "bad-create-http500j"] {
        let body = json!({ "Name": name }).to_string();
        let (status, answer) = bed.try_call("probe", "Create", &body);
        assert_eq!(status, 500, "{name}: {answer}");
        assert!(answer["Err"].as_str().unwrap().contains("bad on demand"), "{name}: {answer}");
    }
    let (status, answer) = bed.try_call("probe", "Create", r#"{"Name":"bad-create-empty"}"#);
    assert!(status != 200 && answer["Err"].is_string(), "{answer}");
}

fn a_call_without_a_body_does_not_reach_the_plugin(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    for method in ["Create", "Mount", "Unmount", "Remove", "Get", "Path"] {
        for body in ["", "{}", r#"{"Name":""}"#] {
            let (status, answer) = bed.try_call("probe", method, body);
            assert!(status != 200 && answer["Err"].is_string(), "{method} {body}: {answer}");
        }
        assert_eq!(bed.count("probe", &format!("VolumeDriver.{method}")), 0, "{method}");
    }
}

/// Facts 6 and 8.3: dockerd counts volumes, whoever uses them.
fn what_is_in_use_is_what_is_mounted(kind: Kind) {
    let mut bed = Bed::start(kind);
    bed.probe("probe");
    bed.call("probe", "Create", &json!({ "Name": "used" }));
    bed.call("probe", "Mount", &json!({ "Name": "used", "ID": "a" }));
    for restarted in [false, true] {
        for words in ["disable", "rm"] {
            let said = bed.fails(&format!("plugin {words} probe"));
            let reason = if words == "disable" { "in use" } else { "is" };
            assert!(said.contains(reason), "{restarted}: {said}");
        }
        let said = bed.fails("plugin disable probe");
        assert!(said.contains("used"), "which volume? {said}");
        if !restarted {
            bed.restart_engine();
        }
    }
    bed.call("probe", "Unmount", &json!({ "Name": "used", "ID": "a" }));
    bed.ok("plugin disable probe");
    bed.ok("plugin enable probe");
    bed.call("probe", "Mount", &json!({ "Name": "used", "ID": "b" }));
    bed.ok("plugin disable -f probe");
    bed.ok("plugin rm -f probe");
}

/// Fact 9: dockerd gives containers an empty directory, and what they write is lost.
fn a_directory_of_the_plugins_own_files_is_no_volume(kind: Kind) {
    let bed = Bed::start(kind);
    let mut image = probe();
    image.config.as_object_mut().unwrap().remove("propagatedMount");
    bed.create("probe", &image);
    bed.ok("plugin enable probe");
    bed.call("probe", "Create", &json!({ "Name": "lost" }));
    let (status, answer) = bed.try_call("probe", "Mount", r#"{"Name":"lost","ID":"a"}"#);
    assert_ne!(status, 200, "{answer}");
    assert!(!answer["Err"].as_str().unwrap().is_empty(), "{answer}");
}

/// Fact 14: dockerd removes the blobs of all plugins with one.
fn a_plugin_is_pushed_though_another_one_was_removed(kind: Kind) {
    let mut bed = Bed::start(kind);
    let kept = bed.publish("me/kept:v1", &probe());
    let removed = bed.publish("me/removed:v1", &probe().and_file("other", "other"));
    bed.install(&kept, "--disable");
    bed.install(&removed, "--disable");
    let before = bed.registry.get("me/kept", "v1").json();
    bed.ok(&format!("plugin rm {removed}"));
    bed.home.ok(&["plugin", "gc"]);
    bed.push(&kept);
    let after = bed.registry.get("me/kept", "v1").json();
    assert_eq!(after["layers"], before["layers"]);
    assert_eq!(after["config"]["digest"], before["config"]["digest"]);
}

/// Fact 15: dockerd appends to what the failed one has left.
fn a_creation_that_failed_leaves_nothing_in_the_next_one(kind: Kind) {
    let mut bed = Bed::start(kind);
    let name = bed.registry.name("me/retried:v1");
    let dir = probe().write(&bed.home);
    let archive = bed.home.path("context.tar");
    ok(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&dir).arg("."));
    let mut torn = std::fs::read(archive).unwrap();
    torn.truncate(torn.len() / 2);
    let line = format!("POST /plugins/create?name={name}");
    let socket = bed.home.path("run/mobula/engine.sock");
    let tar = [("Content-Type", "application/x-tar")];
    let answer = super::wire::unix(&socket, &line, &tar, &torn).unwrap();
    assert!(answer.status >= 400, "{answer:?}");
    bed.create(&name, &probe());
    bed.push(&name);
    bed.ok(&format!("plugin rm {name}"));
    bed.home.ok(&["plugin", "gc"]);
    bed.install(&name, "");
    assert_eq!(bed.ask(&name, "/file/version").text(), "v1");
}

/// Three layers: the second one replaces a file and takes another away, the third one brings it
/// back.
fn layered(bed: &Bed, repository: &str) -> Vec<Value> {
    let dir = probe().and_file("gone", "1").and_file("dir/old", "1").write(&bed.home);
    let first = dir.join("rootfs");
    let [second, third] = ["second", "third"].map(|name| dir.join(name));
    std::fs::create_dir_all(second.join("dir")).unwrap();
    std::fs::create_dir_all(&third).unwrap();
    std::fs::write(second.join("version"), "second").unwrap();
    std::fs::write(second.join(".wh.gone"), "").unwrap();
    std::fs::write(second.join("dir/.wh..wh..opq"), "").unwrap();
    std::fs::write(second.join("dir/new"), "2").unwrap();
    std::fs::write(third.join("version"), "third").unwrap();
    let blob = |dir: &Path| bed.registry.blob(repository, GZIP, &pack(dir, Packing::Gzip));
    vec![blob(&first), blob(&second), blob(&third)]
}

/// Fact 17: dockerd applies them in any order.
fn layers_are_applied_in_their_order(kind: Kind) {
    let bed = Bed::start(kind);
    let layers = layered(&bed, "me/layers");
    let manifest = bed.registry.describe("me/layers", &probe(), &layers, DOCKER);
    bed.registry.manifest("me/layers", "v1", &manifest);
    let name = bed.registry.name("me/layers:v1");
    bed.install(&name, "");
    let file = |path: &str| bed.ask(&name, &format!("/file/{path}")).status;
    assert_eq!(bed.ask(&name, "/file/version").text(), "third");
    assert_eq!(["gone", "dir/old", "dir/new"].map(file), [404, 404, 200]);
}

/// Fact 17: dockerd unpacks the files of all platforms over one another.
fn an_index_gives_the_manifest_of_this_machine(kind: Kind) {
    let bed = Bed::start(kind);
    let publish = |architecture: &str, image: &Image| {
        let layer = pack(&image.write(&bed.home).join("rootfs"), Packing::Gzip);
        let layers = [bed.registry.blob("me/index", GZIP, &layer)];
        let manifest = bed.registry.describe("me/index", image, &layers, OCI);
        let mut entry = bed.registry.manifest("me/index", architecture, &manifest);
        entry["platform"] = json!({ "architecture": architecture, "os": "linux" });
        entry
    };
    let (own, other) = match std::env::consts::ARCH {
        "aarch64" => ("arm64", "amd64"),
        _ => ("amd64", "arm64"),
    };
    let entries = [
        publish(other, &probe().and_file("version", "of another machine")),
        publish(own, &probe().and_file("version", "of this machine")),
    ];
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    bed.registry.manifest("me/index", "v1", &index);
    let name = bed.registry.name("me/index:v1");
    bed.install(&name, "");
    assert_eq!(bed.ask(&name, "/file/version").text(), "of this machine");
    // One without this machine is refused, by its name.
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entries[0]] });
    bed.registry.manifest("me/index", "v2", &index);
    let name = bed.registry.name("me/index:v2");
    let said = bed.fails(&format!("plugin install --grant-all-permissions {name}"));
    assert!(said.contains(own), "{said}");
}

/// Fact 19: dockerd before 29.3.1 does not look at the first one.
fn every_privilege_must_be_granted(kind: Kind) {
    let bed = Bed::start(kind);
    let image = probe().with("ipcHost", json!(true)).with("network", json!({ "type": "host" }));
    let name = bed.publish("me/probe:v1", &image);
    let asked = bed.api(&format!("GET /plugins/privileges?remote={name}"), &[], "").json();
    let asked = asked.as_array().unwrap();
    assert_eq!(asked.len(), 3);
    let pull = |granted: &[Value]| {
        let line = format!("POST /plugins/pull?remote={name}&name=");
        let body = json!(granted).to_string();
        bed.api(&line, &[("Content-Type", "application/json")], &body).text()
    };
    for left_out in 0..asked.len() {
        let mut granted = asked.clone();
        granted.remove(left_out);
        assert!(pull(&granted).contains("incorrect privileges"), "{left_out}");
        assert_eq!(bed.list(""), Vec::<String>::new());
    }
    for changed in 0..asked.len() {
        let mut granted = asked.clone();
        granted[changed]["Value"] = json!(["other"]);
        assert!(pull(&granted).contains("incorrect privileges"), "{changed}");
        assert_eq!(bed.list(""), Vec::<String>::new());
    }
    let mut reversed = asked.clone();
    reversed.reverse();
    assert!(!pull(&reversed).contains("error"));
    assert_eq!(bed.list(""), [name]);
}

fn an_upgrade_that_asks_for_more_needs_consent(kind: Kind) {
    let bed = Bed::start(kind);
    let name = bed.publish("me/probe:v1", &probe());
    let next = bed.publish("me/probe:v2", &probe().with("pidHost", json!(true)));
    bed.install(&name, "--disable");
    let granted = bed.api(&format!("GET /plugins/privileges?remote={name}"), &[], "").text();
    let line = format!("POST /plugins/{name}/upgrade?remote={next}");
    let answer = bed.api(&line, &[("Content-Type", "application/json")], &granted);
    assert!(answer.text().contains("incorrect privileges"), "{answer:?}");
    assert_eq!(bed.inspect(&name)["PluginReference"], json!(name));
    assert_eq!(bed.inspect(&name)["Config"]["PidHost"], false);
    bed.ok(&format!("plugin enable {name}"));
}
