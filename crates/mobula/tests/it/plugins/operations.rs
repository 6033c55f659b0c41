//! What `docker plugin` does: installing, enabling, setting, looking, removing, upgrading.

use super::bed::{Bed, Kind};
use super::image::{Image, probe};
use super::{on_both, on_ours};
use serde_json::{Value, json};

on_both!(
    a_plugin_is_installed_listed_disabled_and_removed,
    an_enabled_plugin_is_removed_by_force_only,
    a_plugin_with_a_volume_is_in_use,
    a_plugin_is_installed_without_being_enabled,
    volumes_are_listed_beside_a_disabled_plugin,
    settings_show_and_those_without_a_default_have_none,
    settings_given_with_the_installation_are_applied,
    enabling_and_disabling_twice_fails,
    a_plugin_is_created_from_a_directory_once,
    a_plugin_is_found_by_each_of_its_names,
    every_command_takes_the_prefix_of_an_id,
    the_format_of_lists_is_that_of_the_client,
    an_upgrade_keeps_volumes_and_their_files,
    lists_are_filtered_by_state,
    lists_are_filtered_by_capability,
);

fn a_plugin_is_installed_listed_disabled_and_removed(kind: Kind) {
    let bed = Bed::start(kind);
    let name = bed.publish("me/probe:v1", &probe());
    let said = bed.install(&name, "");
    assert!(said.contains(&format!("Installed plugin {name}")), "{said}");
    let listed = bed.ok("plugin ls");
    let line = listed.lines().find(|line| line.contains(&name)).unwrap();
    assert!(line.contains("true"), "{listed}");
    let id = bed.id(&name);
    assert_eq!(id.len(), 64);
    assert!(bed.state(&id).is_dir());
    let said = bed.fails(&format!("plugin rm {name}"));
    assert!(said.contains("is enabled"), "{said}");
    assert_eq!(bed.ok(&format!("plugin disable {name}")), name);
    assert_eq!(bed.ok(&format!("plugin rm {name}")), name);
    assert!(!bed.state(&id).exists());
    assert_eq!(bed.list(""), Vec::<String>::new());
}

fn an_enabled_plugin_is_removed_by_force_only(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    let said = bed.fails("plugin rm probe");
    assert!(said.contains("is enabled"), "{said}");
    assert_eq!(bed.ok("plugin rm --force probe"), "probe");
    assert_eq!(bed.list(""), Vec::<String>::new());
}

/// dockerd counts volumes, `mobula engine` what is mounted (facts 6 and 8.3).
fn a_plugin_with_a_volume_is_in_use(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    bed.ok("volume create -d probe used");
    if !bed.is_ours() {
        let said = bed.fails("plugin disable probe");
        assert!(said.contains("in use"), "{said}");
    }
    assert_eq!(bed.ok("volume rm used"), "used");
    bed.ok("plugin disable probe");
    assert_eq!(bed.ok("plugin rm probe"), "probe");
}

fn a_plugin_is_installed_without_being_enabled(kind: Kind) {
    let bed = Bed::start(kind);
    let name = bed.publish("probe", &probe());
    let said = bed.install(&name, "--disable");
    assert!(said.contains("Installed plugin"), "{said}");
    let tagged = format!("{name}:latest");
    assert_eq!(bed.list("--filter enabled=false"), std::slice::from_ref(&tagged));
    assert!(!bed.is_enabled(&name));
    assert_eq!(bed.ok(&format!("plugin enable {tagged}")), tagged);
    assert!(bed.is_enabled(&name));
    assert_eq!(bed.ok(&format!("plugin disable {tagged}")), tagged);
    assert_eq!(bed.ok(&format!("plugin rm {tagged}")), tagged);
}

fn volumes_are_listed_beside_a_disabled_plugin(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("probe", &probe());
    assert_eq!(bed.ok("volume ls -q"), "");
}

/// Settings of all kinds, some without a value.
fn settable() -> Image {
    let mount = |name: &str, source: Value| {
        json!({
            "name": name, "description": "", "source": source, "destination": format!("/{name}"),
            "type": "none", "options": ["rbind"], "settable": ["source"],
        })
    };
    let device = |name: &str, path: Value| json!({ "name": name, "description": "", "path": path, "settable": ["path"] });
    probe()
        .with("mounts", json!([mount("pmount1", "foo".into()), mount("pmount2", Value::Null)]))
        .with(
            "linux",
            json!({
                "capabilities": [],
                "devices": [device("pdev1", "/dev/null".into()), device("pdev2", Value::Null)],
            }),
        )
}

fn settings_show_and_those_without_a_default_have_none(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("probe", &settable());
    let before = bed.inspect("probe")["Settings"].clone();
    assert_eq!(before["Env"], json!(["PROBE_MODE=", "PROBE_FS=bind"]));
    bed.ok("plugin set probe DEBUG=1");
    let env = bed.inspect("probe")["Settings"]["Env"].clone();
    assert!(env.as_array().unwrap().contains(&json!("DEBUG=1")), "{env}");
    bed.ok("plugin set probe pmount1.source=bar");
    assert_eq!(bed.inspect("probe")["Settings"]["Mounts"][0]["Source"], "bar");
    bed.ok("plugin set probe pdev1.path=/dev/zero args.value=a");
    let after = bed.inspect("probe")["Settings"].clone();
    assert_eq!(after["Devices"][0]["Path"], "/dev/zero");
    assert_eq!(after["Args"], json!(["a"]));
    for (setting, reason) in [
        ("pmount2.source=bar", "plugin config has no mount source"),
        ("pdev2.path=/dev/zero", "plugin config has no device path"),
        ("pmount1.destination=/x", "is not settable"),
        ("none=1", "not found in the plugin configuration"),
        ("=1", "invalid format"),
    ] {
        let said = bed.fails(&format!("plugin set probe {setting}")).to_lowercase();
        assert!(said.contains(reason), "{setting}: {said}");
    }
}

fn settings_given_with_the_installation_are_applied(kind: Kind) {
    let bed = Bed::start(kind);
    let mut image = probe();
    image.config["env"] =
        json!([{ "name": "DEBUG", "description": "", "value": null, "settable": ["value"] }]);
    let name = bed.publish("me/probe:args", &image);
    bed.install(&name, "--disable DEBUG=1");
    assert_eq!(bed.inspect(&name)["Settings"]["Env"], json!(["DEBUG=1"]));
    bed.ok(&format!("plugin enable {name}"));
    assert_eq!(bed.about(&name)["env"]["DEBUG"], "1");
}

fn enabling_and_disabling_twice_fails(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    let said = bed.fails("plugin enable probe");
    assert!(said.contains("already enabled"), "{said}");
    let said = bed.fails("plugin set probe DEBUG=1");
    assert!(said.contains("disable plugin before setting"), "{said}");
    bed.ok("plugin disable probe");
    let said = bed.fails("plugin disable probe");
    assert!(said.contains("already disabled"), "{said}");
    let said = bed.fails("plugin enable missing");
    assert!(said.contains("not found"), "{said}");
}

fn a_plugin_is_created_from_a_directory_once(kind: Kind) {
    let bed = Bed::start(kind);
    let dir = bed.home.path("context");
    std::fs::create_dir_all(dir.join("rootfs")).unwrap();
    let config = json!({ "interface": { "socket": "plugin.sock", "types": ["docker.dummy/1.0"] } });
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let words = format!("plugin create foo/bar-driver {}", dir.display());
    assert_eq!(bed.ok(&words), "foo/bar-driver");
    let said = bed.fails(&words);
    assert!(said.contains("already exist"), "{said}");
    let listed = bed.ok("plugin ls");
    assert!(listed.contains("foo/bar-driver") && listed.contains("false"), "{listed}");
    assert_eq!(listed.lines().count(), 2, "{listed}");
}

fn a_plugin_is_found_by_each_of_its_names(kind: Kind) {
    let bed = Bed::start(kind);
    let name = bed.publish("me/probe:v1", &probe());
    bed.install(&name, "--disable");
    bed.create("other", &probe());
    let id = bed.id(&name);
    for way in [&id, &id[..5], &id[..12], &name] {
        assert_eq!(bed.id(way), id, "{way}");
    }
    let other = bed.id("other");
    for way in ["other:latest", "other", "docker.io/library/other:latest"] {
        assert_eq!(bed.id(way), other, "{way}");
    }
    assert_eq!(bed.ok(&format!("plugin inspect -f {{{{.ID}}}} {name}")), id);
    bed.ok(&format!("plugin rm {name}"));
    let said = bed.fails(&format!("plugin inspect {}", &id[..5]));
    assert!(said.to_lowercase().contains("no such plugin") || said.contains("not found"), "{said}");
}

fn every_command_takes_the_prefix_of_an_id(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("probe", &probe());
    let id = bed.id("probe");
    let prefix = &id[..5];
    bed.ok(&format!("plugin set {prefix} DEBUG=1"));
    assert_eq!(bed.ok(&format!("plugin enable {prefix}")), prefix);
    assert!(bed.is_enabled(prefix));
    assert_eq!(bed.ok(&format!("plugin disable {prefix}")), prefix);
    assert!(!bed.is_enabled(prefix));
    assert_eq!(bed.ok(&format!("plugin rm {prefix}")), prefix);
    bed.fails(&format!("plugin inspect {prefix}"));
}

fn the_format_of_lists_is_that_of_the_client(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("probe", &probe());
    std::fs::create_dir_all(bed.home.path("client")).unwrap();
    std::fs::write(bed.home.path("client/config.json"), r#"{"pluginsFormat": "raw"}"#).unwrap();
    let expected = format!(
        "plugin_id: {}\nname: probe:latest\ndescription: A probe of engines\nenabled: false",
        bed.id("probe")
    );
    assert_eq!(bed.ok("plugin ls --no-trunc"), expected);
}

fn an_upgrade_keeps_volumes_and_their_files(kind: Kind) {
    let bed = Bed::start(kind);
    let name = bed.publish("me/probe:v1", &probe());
    let next = bed.publish("me/probe:v2", &probe().and_file("v2", "yes"));
    bed.install(&name, "");
    let id = bed.id(&name);
    bed.ok(&format!("volume create -d {name} kept"));
    let data = bed.propagated(&name).join("volumes/kept");
    std::fs::write(data.join("file"), "kept").unwrap();
    let said = bed.fails(&format!("plugin upgrade --grant-all-permissions {name} {next}"));
    assert!(said.contains("disabled before upgrading"), "{said}");
    assert_eq!(bed.ask(&name, "/file/v2").status, 404);
    bed.ok(&format!("plugin disable -f {name}"));
    let words = "plugin upgrade --grant-all-permissions --skip-remote-check";
    bed.ok(&format!("{words} {name} {next}"));
    assert_eq!(bed.id(&name), id);
    assert!(!bed.is_enabled(&name));
    bed.ok(&format!("plugin enable {name}"));
    assert_eq!(bed.ask(&name, "/file/v2").text(), "yes");
    let reference = bed.inspect(&name)["PluginReference"].clone();
    assert_eq!(reference, json!(next));
    bed.ok("volume inspect kept");
    assert_eq!(std::fs::read_to_string(data.join("file")).unwrap(), "kept");
    assert_eq!(bed.ask(&name, "/file/mnt/probe/volumes/kept/file").text(), "kept");
}

fn lists_are_filtered_by_state(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("on");
    bed.create("off", &probe());
    assert_eq!(bed.list("--filter enabled=true"), ["on:latest"]);
    assert_eq!(bed.list("--filter enabled=false"), ["off:latest"]);
    let said = bed.fails("plugin ls --filter enabled=maybe");
    assert!(said.to_lowercase().contains("invalid filter"), "{said}");
    let said = bed.fails("plugin ls --filter foo=1");
    assert!(said.to_lowercase().contains("invalid filter"), "{said}");
}

fn lists_are_filtered_by_capability(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    assert_eq!(bed.list("--filter capability=volumedriver"), ["probe:latest"]);
    assert_eq!(bed.list("--filter capability=authz"), Vec::<String>::new());
}
