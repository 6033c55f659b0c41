//! Plugins that are no volume drivers: the engine runs and publishes them, and has no use for them
//! itself. Their calls pass through as they are.

use super::bed::{Bed, Kind};
use super::image::{Image, probe};
use super::wire::{self, Answer};
use super::{on_both, on_ours};
use crate::engine::fixture::kill;
use crate::fixture::{PATIENCE, eventually};
use serde_json::{Value, json};

on_both!(a_network_and_its_addresses_come_from_plugins);

mod alone {
    use super::*;

    on_ours!(
        plugins_of_every_interface_live_and_are_published,
        a_plugin_of_another_interface_is_no_volume_driver,
        a_plugin_may_have_several_interfaces,
        dockerd_asks_a_plugin_of_the_engine_beside_it_for_leave,
    );
}

/// Type, the name in the handshake, a call, what the probe says to it.
fn interfaces() -> [(&'static str, &'static str, &'static str, Value); 5] {
    [
        (
            "networkdriver",
            "NetworkDriver",
            "NetworkDriver.GetCapabilities",
            json!({ "Scope": "local", "ConnectivityScope": "local" }),
        ),
        (
            "ipamdriver",
            "IpamDriver",
            "IpamDriver.RequestPool",
            json!({ "PoolID": "probe-pool", "Pool": "172.31.99.0/24", "Data": {} }),
        ),
        (
            "authz",
            "authz",
            "AuthZPlugin.AuthZReq",
            json!({ "Allow": true, "Msg": "denied on demand", "Err": "" }),
        ),
        (
            "logdriver",
            "LogDriver",
            "LogDriver.Capabilities",
            json!({ "Cap": { "ReadLogs": false } }),
        ),
        (
            "metricscollector",
            "MetricsCollector",
            "MetricsCollector.StartMetrics",
            json!({ "Err": "" }),
        ),
    ]
}

/// The probe with these interfaces, without anything that only volumes need.
fn with_types(types: &[&str]) -> Image {
    let types: Vec<_> = types.iter().map(|kind| format!("docker.{kind}/1.0")).collect();
    let interface = json!({ "types": types, "socket": "probe.sock" });
    probe().with("interface", interface).with("propagatedMount", "".into()).with("linux", json!({}))
}

/// A call at the published socket.
fn post(bed: &Bed, name: &str, method: &str, body: &Value) -> Answer {
    let line = format!("POST /{method}");
    wire::unix(&bed.published(name), &line, &[], body.to_string().as_bytes()).unwrap()
}

fn plugins_of_every_interface_live_and_are_published(kind: Kind) {
    let bed = Bed::start(kind);
    for (capability, implements, method, expected) in interfaces() {
        let name = format!("a-{capability}");
        bed.create(&name, &with_types(&[capability]));
        assert!(!bed.published(&name).exists());
        bed.ok(&format!("plugin enable {name}"));
        let tagged = format!("{name}:latest");
        assert_eq!(bed.list(&format!("--filter capability={capability}")), [tagged]);
        eventually("it is published", PATIENCE, || wire::connect(&bed.published(&name)).is_ok());
        let activated = post(&bed, &name, "Plugin.Activate", &Value::Null).json();
        assert_eq!(activated, json!({ "Implements": [implements] }));
        let request = json!({ "Name": "x", "more": [1, 2] });
        let answer = post(&bed, &name, method, &request);
        assert_eq!((answer.status, answer.json()), (200, expected), "{method}");
        let noted = bed.ask(&name, "/calls").json()["requests"].clone();
        assert_eq!(noted, json!([{ "method": method, "body": request.to_string() }]));
        let refused = post(&bed, &name, "Nobody.Knows", &request);
        assert_eq!((refused.status, refused.text().as_str()), (404, "there is no Nobody.Knows"));
        // It comes back like any other, and the socket stays.
        let old = bed.pid(&name).unwrap();
        kill("-KILL", old.try_into().unwrap());
        eventually("it is back", PATIENCE, || bed.pid(&name).is_some_and(|pid| pid != old));
        assert_eq!(post(&bed, &name, method, &request).status, 200, "{method}");
        bed.ok(&format!("plugin disable {name}"));
        eventually("its socket is gone", PATIENCE, || !bed.published(&name).exists());
        bed.ok(&format!("plugin rm {name}"));
    }
}

fn a_plugin_of_another_interface_is_no_volume_driver(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("net", &with_types(&["networkdriver"]));
    bed.ok("plugin enable net");
    let said = bed.fails("volume create -d net v");
    assert!(said.contains("no volume driver") && said.contains("networkdriver"), "{said}");
    assert_eq!(bed.ok("volume ls -q"), "");
    assert_eq!(bed.ask("net", "/calls").json()["counts"], json!({}));
    let podman = bed.home.ok(&["plugin", "publish", "podman", "--print"]);
    assert!(!podman.contains("net"), "{podman}");
}

fn a_plugin_may_have_several_interfaces(kind: Kind) {
    let bed = Bed::start(kind);
    let types = json!([
        "docker.networkdriver/1.0",
        "docker.ipamdriver/1.0",
        "docker.volumedriver/1.0",
        "docker.dummy/1.0"
    ]);
    bed.create(
        "all",
        &probe().with("interface", json!({ "types": types, "socket": "probe.sock" })),
    );
    bed.ok("plugin enable all");
    eventually("it is published", PATIENCE, || wire::connect(&bed.published("all")).is_ok());
    let activated = post(&bed, "all", "Plugin.Activate", &Value::Null).json();
    assert_eq!(activated, json!({ "Implements": ["NetworkDriver", "IpamDriver", "VolumeDriver"] }));
    bed.ok("volume create -d all v");
    let answer = post(&bed, "all", "NetworkDriver.GetCapabilities", &json!({}));
    assert_eq!(answer.json()["Scope"], "local");
}

/// dockerd makes a network: with plugins of its own, or with those of the engine beside it.
fn a_network_and_its_addresses_come_from_plugins(kind: Kind) {
    let mut bed = Bed::start(kind);
    for (name, capability) in [("net", "networkdriver"), ("addresses", "ipamdriver")] {
        bed.create(name, &with_types(&[capability]));
        bed.ok(&format!("plugin enable {name}"));
    }
    if bed.is_ours() {
        bed.start_neighbour();
    }
    // Names of managed plugins have a tag, those of files have none.
    let tag = if bed.is_ours() { "" } else { ":latest" };
    let drivers = format!("-d net{tag} --ipam-driver addresses{tag}");
    bed.box_ok(&format!("network create {drivers} made"));
    let subnet = bed.box_ok("network inspect -f {{range.IPAM.Config}}{{.Subnet}}{{end}} made");
    assert_eq!(subnet, "172.31.99.0/24");
    assert_eq!(bed.count("net", "NetworkDriver.CreateNetwork"), 1);
    assert_eq!(bed.count("addresses", "IpamDriver.RequestPool"), 1);
    bed.box_ok("network rm made");
    assert_eq!(bed.count("net", "NetworkDriver.DeleteNetwork"), 1);
    assert_eq!(bed.count("addresses", "IpamDriver.ReleasePool"), 1);
    if bed.is_ours() {
        assert_eq!(bed.count("net", "Plugin.Activate"), 0, "the engine answers the handshake");
    }
}

fn dockerd_asks_a_plugin_of_the_engine_beside_it_for_leave(kind: Kind) {
    let mut bed = Bed::start(kind);
    bed.create("leave", &with_types(&["authz"]));
    bed.ok("plugin enable leave");
    bed.start_neighbour_with(&["--authorization-plugin=leave"]);
    bed.box_ok("volume create fine");
    assert!(bed.count("leave", "AuthZPlugin.AuthZReq") > 0);
    assert!(bed.count("leave", "AuthZPlugin.AuthZRes") > 0);
    let output = bed.box_docker("volume inspect denied").output().unwrap();
    let said = super::bed::said(&output);
    assert!(!output.status.success() && said.contains("denied on demand"), "{said}");
    // A plugin that does not run lets nothing through; our engine is not asked, and goes on.
    bed.ok("plugin disable leave");
    assert!(!bed.box_docker("volume ls").output().unwrap().status.success());
    bed.ok("plugin enable leave");
    eventually("it is asked again", PATIENCE, || {
        bed.box_docker("volume ls").output().unwrap().status.success()
    });
}
