//! Published sockets of plugins that are no volume drivers, or not only: what dockerd and others ask
//! of those goes through whole, and what is not HTTP at all goes through as it is.

use super::bed::{Bed, Kind};
use super::image::{Image, probe};
use super::on_ours;
use super::wire;
use crate::engine::fixture::kill;
use crate::fixture::{PATIENCE, eventually};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

on_ours!(
    a_csi_plugin_is_spoken_with_as_it_speaks,
    a_plugin_of_a_protocol_of_its_own_is_left_to_its_clients,
    a_plugin_that_is_both_csi_and_a_volume_driver_serves_both,
    an_upgrade_to_another_protocol_changes_the_socket,
    a_large_request_reaches_an_authorisation_plugin_whole,
    dockerd_asks_a_published_authorisation_plugin_about_large_requests,
);

/// How clients of gRPC begin; the probe echoes whoever begins so.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty frame of settings, which comes next.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const CSI: &str = "docker.csinode/1.0";
const VOLUMES: &str = "docker.volumedriver/1.0";

fn typed(types: &[&str]) -> Image {
    probe().with("interface", json!({ "types": types, "socket": "probe.sock" }))
}

fn connect(bed: &Bed, name: &str) -> UnixStream {
    let socket = bed.published(name);
    eventually("there is a socket", PATIENCE, || socket.exists());
    let stream = wire::connect(&socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn echoes(stream: &mut UnixStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    let mut heard = vec![0; bytes.len()];
    stream.read_exact(&mut heard).unwrap();
    assert!(heard == bytes, "{} bytes come back as they were", bytes.len());
}

/// A connection of gRPC.
fn begin(bed: &Bed, name: &str) -> UnixStream {
    let mut stream = connect(bed, name);
    echoes(&mut stream, PREFACE);
    echoes(&mut stream, SETTINGS);
    stream
}

fn a_csi_plugin_is_spoken_with_as_it_speaks(kind: Kind) {
    let bed = Bed::start(kind);
    let image = typed(&[CSI, "docker.csicontroller/1.0"]).in_mode("slow-listen:1500");
    bed.create("csi", &image);
    bed.ok("plugin enable csi");
    let mut idle = begin(&bed, "csi");
    // Much in both directions at once, and the end of one of them.
    let mut stream = begin(&bed, "csi");
    let sent: Vec<u8> = (0..32u32 << 20).map(|at| (at ^ (at >> 9)) as u8).collect();
    let mut writer = stream.try_clone().unwrap();
    let mut heard = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            writer.write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        stream.read_to_end(&mut heard).unwrap();
    });
    assert!(heard == sent, "{} of {} bytes come back", heard.len(), sent.len());
    // A plugin that is being started is waited for, as with calls.
    let pid = bed.pid("csi").unwrap();
    kill("-KILL", u32::try_from(pid).unwrap());
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "the end of the plugin ends its connections");
    // Its socket may outlive its connections by a moment.
    eventually("it listens no more", PATIENCE, || bed.pid("csi") != Some(pid));
    let mut open = begin(&bed, "csi");
    bed.ok("plugin disable csi");
    assert_eq!(open.read(&mut [0]).unwrap(), 0);
    assert!(!bed.published("csi").exists());
}

fn a_plugin_of_a_protocol_of_its_own_is_left_to_its_clients(kind: Kind) {
    let bed = Bed::start(kind);
    let scheme = json!({ "types": [VOLUMES], "socket": "probe.sock",
                         "protocolScheme": "acme.volumes/v7" });
    bed.create("acme", &probe().with("interface", scheme));
    bed.ok("plugin enable acme");
    echoes(&mut connect(&bed, "acme"), PREFACE);
    // Not even the handshake is answered for it.
    let answer = wire::unix(&bed.published("acme"), "POST /Plugin.Activate", &[], b"").unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(bed.count("acme", "Plugin.Activate"), 1);
    let said = bed.fails("volume create -d acme v");
    assert!(said.contains("speaks acme.volumes/v7"), "{said}");
    assert_eq!(bed.ok("volume ls -q"), "");
}

fn a_plugin_that_is_both_csi_and_a_volume_driver_serves_both(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("both", &typed(&[VOLUMES, CSI]));
    bed.ok("plugin enable both");
    let mut grpc = begin(&bed, "both");
    bed.call("both", "Create", &json!({ "Name": "v" }));
    let mounted = bed.call("both", "Mount", &json!({ "Name": "v", "ID": "a" }));
    let path = mounted["Mountpoint"].as_str().unwrap();
    assert!(path.starts_with(bed.propagated("both").to_str().unwrap()), "{mounted}");
    bed.call("both", "Unmount", &json!({ "Name": "v", "ID": "a" }));
    echoes(&mut grpc, b"all the while");
}

fn an_upgrade_to_another_protocol_changes_the_socket(kind: Kind) {
    let bed = Bed::start(kind);
    let name = bed.publish("me/plugin:v1", &typed(&[VOLUMES]));
    let next = bed.publish("me/plugin:v2", &typed(&[CSI]));
    bed.install(&name, "--alias changing");
    bed.call("changing", "Create", &json!({ "Name": "v" }));
    let upgrade = ["plugin", "upgrade", "--drain", "--skip-remote-check"];
    bed.home.ok(&[&upgrade[..], &["--grant-all-permissions", "changing", &next]].concat());
    eventually("the socket speaks it", PATIENCE, || {
        let Ok(mut stream) = wire::connect(&bed.published("changing")) else { return false };
        let mut heard = vec![0; PREFACE.len()];
        stream.write_all(PREFACE).is_ok()
            && stream.read_exact(&mut heard).is_ok()
            && heard == PREFACE
    });
}

/// The bodies of the requests of this method that the probe had.
fn bodies(bed: &Bed, name: &str, method: &str) -> Vec<String> {
    let calls = bed.ask(name, "/calls").json();
    let requests = calls["requests"].as_array().unwrap().iter();
    let asked = requests.filter(|request| request["method"] == method);
    asked.map(|request| request["body"].as_str().unwrap().to_owned()).collect()
}

/// The answer to a call whose body is not read to its end.
fn refused(mut stream: UnixStream, method: &str, body: &str) -> String {
    let head = format!("POST /{method} HTTP/1.1\r\nHost: x\r\nConnection: close");
    let _ = stream
        .write_all(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    let mut answer = Vec::new();
    // It ends with a reset.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// CVE-2024-41110 and CVE-2026-34040 were bodies that a plugin did not see.
fn a_large_request_reaches_an_authorisation_plugin_whole(kind: Kind) {
    const ASK: &str = "AuthZPlugin.AuthZReq";
    let bed = Bed::start(kind);
    bed.create("guard", &typed(&["docker.authz/1.0"]));
    bed.ok("plugin enable guard");
    drop(connect(&bed, "guard"));
    let body = |length: usize| json!({ "RequestBody": "x".repeat(length) }).to_string();
    let (large, chunked) = (body(1 << 20), body(5 << 20));
    let socket = bed.published("guard");
    for body in ["", &large] {
        let answer = wire::unix(&socket, &format!("POST /{ASK}"), &[], body.as_bytes()).unwrap();
        assert_eq!((answer.status, &answer.json()["Allow"]), (200, &json!(true)), "{answer:?}");
    }
    let mut stream = connect(&bed, "guard");
    let head = "Host: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    write!(stream, "POST /{ASK} HTTP/1.1\r\n{head}").unwrap();
    for part in chunked.as_bytes().chunks(300_000) {
        write!(stream, "{:x}\r\n", part.len()).unwrap();
        stream.write_all(part).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let came = bodies(&bed, "guard", ASK);
    let lengths: Vec<_> = came.iter().map(String::len).collect();
    assert_eq!(lengths, [0, large.len(), chunked.len()]);
    assert!(came[2] == chunked);
    // Beyond all reason, and calls about volumes, which are small.
    for (method, length) in [(ASK, 17 << 20), ("VolumeDriver.Create", 1 << 20)] {
        let answer = refused(connect(&bed, "guard"), method, &body(length));
        assert!(answer.starts_with("HTTP/1.1 400"), "{method}: {answer}");
        assert!(answer.contains("is larger than"), "{method}: {answer}");
    }
    let more = (bodies(&bed, "guard", ASK).len(), bed.count("guard", "VolumeDriver.Create"));
    assert_eq!(more, (3, 0));
}

fn dockerd_asks_a_published_authorisation_plugin_about_large_requests(kind: Kind) {
    let mut bed = Bed::start(kind);
    bed.create("guard", &typed(&["docker.authz/1.0"]));
    bed.ok("plugin enable guard");
    bed.start_neighbour_with(&["--authorization-plugin", "guard"]);
    let label = "x".repeat(900 << 10);
    let volume = json!({ "Name": "large", "Labels": { "large": label } }).to_string();
    let headers = [("Content-Type", "application/json")];
    let socket = bed.home.path("d.sock");
    let answer = wire::unix(&socket, "POST /v1.41/volumes/create", &headers, volume.as_bytes());
    let answer = answer.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text().chars().take(500).collect::<String>());
    let asked: Vec<Value> = bodies(&bed, "guard", "AuthZPlugin.AuthZReq")
        .iter()
        .map(|body| serde_json::from_str(body).unwrap())
        .collect();
    let about = asked.iter().find(|ask| ask["RequestUri"] == "/v1.41/volumes/create").unwrap();
    let seen = about["RequestBody"].as_str().unwrap().len();
    assert!(seen > (1 << 20), "{seen} bytes of base64");
}
