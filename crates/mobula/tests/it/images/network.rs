//! An image whose driver needs a network: `ebs`, far from AWS. It must find names and trust
//! certificates in a root file system that holds nothing else, and say what it lacks.

use super::endpoint::{Endpoint, name_server};
use super::lab::Lab;
use crate::engine::fixture::ok;
use crate::network::certificates;
use crate::plugins::bed::Kind;
use crate::plugins::{on_both, on_ours};
use serde_json::json;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

on_both!(
    names_are_resolved_by_servers_and_by_the_hosts_file,
    credentials_of_aws_come_from_settings_and_from_a_file,
    without_credentials_each_call_is_answered_with_what_is_missing,
);

mod alone {
    use super::*;

    on_ours!(certificates_are_those_of_the_image_or_of_a_file_that_is_named);
}

/// Who and where this machine is, which is asked of nobody then.
const MACHINE: &str = "EBS_INSTANCE=i-0a EBS_ZONE=eu-west-1a AWS_REGION=eu-west-1";
const KEYS: &str = "AWS_ACCESS_KEY_ID=AKSET AWS_SECRET_ACCESS_KEY=hunter2";
/// Nobody listens there.
const CLOSED: &str = "http://127.0.0.1:1";

/// Puts a file of this text in the place of one of the machine's, as this test sees it.
fn instead(lab: &Lab, of: &str, text: &str) {
    let file = lab.home.path(of.trim_start_matches('/').replace('/', "-").as_str());
    std::fs::write(&file, text).unwrap();
    ok(Command::new("mount").arg("--bind").arg(&file).arg(of));
}

fn names_are_resolved_by_servers_and_by_the_hosts_file(kind: Kind) {
    let lab = Lab::start(kind);
    let endpoint = Endpoint::start();
    let server = name_server("ec2.dns.test");
    instead(&lab, "/etc/resolv.conf", &format!("nameserver {server}\n"));
    instead(&lab, "/etc/hosts", "127.0.0.1 localhost ec2.hosts.test\n");
    let address = |name: &str| format!("EBS_ENDPOINT=http://{name}:{}", endpoint.port);
    lab.add("ebs", "mobula/ebs", &format!("{MACHINE} {KEYS} {}", address("ec2.dns.test")));
    for name in ["ec2.dns.test", "ec2.hosts.test"] {
        lab.set("mobula/ebs", &address(name));
        assert_eq!(lab.call("mobula/ebs", "List", &json!({}))["Volumes"], json!([]));
        let called = endpoint.called();
        let host = format!("host: {name}:{}", endpoint.port);
        assert!(called.iter().any(|head| head.contains(&host)), "{called:?}");
    }
    lab.set("mobula/ebs", &address("ec2.nowhere.test"));
    let said = lab.create_fails("mobula/ebs", "vol");
    assert!(said.contains("AWS cannot be reached") && said.contains("lookup"), "{said}");
    assert_eq!(endpoint.called(), Vec::<String>::new());
}

fn credentials_of_aws_come_from_settings_and_from_a_file(kind: Kind) {
    let lab = Lab::start(kind);
    let endpoint = Endpoint::start();
    let address = format!("EBS_ENDPOINT=http://127.0.0.1:{}", endpoint.port);
    lab.add("ebs", "rexray/ebs", &format!("{MACHINE} {KEYS} {address}"));
    let signed_by = |key: &str| {
        lab.call("rexray/ebs", "List", &json!({}));
        let called = endpoint.called();
        let credential = format!("credential={key}/");
        assert!(called.iter().any(|head| head.contains(&credential)), "{key}: {called:?}");
        assert!(called.iter().all(|head| head.contains("/eu-west-1/ec2/")), "{called:?}");
    };
    signed_by("akset");
    let file = lab.srv().join("credentials");
    std::fs::write(&file, "[team]\naws_access_key_id = AKFILE\naws_secret_access_key = hunter2\n")
        .unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    lab.set(
        "rexray/ebs",
        "AWS_ACCESS_KEY_ID= AWS_SECRET_ACCESS_KEY= AWS_PROFILE=team \
         AWS_SHARED_CREDENTIALS_FILE=/machine/secrets/credentials",
    );
    signed_by("akfile");
    // REX-Ray's names count before them, as there.
    lab.set("rexray/ebs", "EBS_ACCESSKEY=AKREX EBS_SECRETKEY=hunter2 EBS_MAXRETRIES=10");
    signed_by("akrex");
    assert!(!lab.log().contains("hunter2"));
}

fn without_credentials_each_call_is_answered_with_what_is_missing(kind: Kind) {
    let lab = Lab::start(kind);
    lab.add("ebs", "mobula/ebs", &format!("EBS_METADATA={CLOSED} EBS_ENDPOINT={CLOSED}"));
    let all_say = |part: &str| {
        for (method, body) in [
            ("Create", json!({ "Name": "vol", "Opts": {} })),
            ("Mount", json!({ "Name": "vol", "ID": "a" })),
            ("Remove", json!({ "Name": "vol" })),
            ("Get", json!({ "Name": "vol" })),
            ("List", json!({})),
        ] {
            let (_, answer) = lab.try_call("mobula/ebs", method, &body.to_string());
            let said = answer["Err"].as_str().unwrap_or_default();
            assert!(said.contains(part), "{method}: {answer}");
        }
        let said = lab.create_fails("mobula/ebs", "vol");
        assert!(said.contains(part), "{said}");
    };
    let pid = lab.pid("mobula/ebs").expect("it runs");
    all_say(&format!("it is not known which instance this is: the metadata service at {CLOSED}"));
    assert_eq!(lab.pid("mobula/ebs"), Some(pid), "it goes on");
    lab.set("mobula/ebs", MACHINE);
    all_say("no AWS credentials: give accessKey and secretKey");
    lab.set("mobula/ebs", "EBS_ACCESSKEY=AK");
    all_say("accessKey and secretKey belong together");
    assert!(lab.is_enabled("mobula/ebs"));
}

/// A server with a certificate of its own authority, which speaks no HTTP: how far one gets shows
/// whether it is trusted. Ends with the test.
struct Stranger(Child);

impl Stranger {
    fn start(dir: &Path, port: u16) -> Self {
        certificates(dir);
        let mut server = Command::new("openssl");
        server.args(["s_server", "-quiet", "-rev", "-accept", &format!("127.0.0.1:{port}")]);
        server.args(["-cert", "server.pem", "-key", "server.key"]).current_dir(dir);
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(server.spawn().unwrap())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn certificates_are_those_of_the_image_or_of_a_file_that_is_named(kind: Kind) {
    let lab = Lab::start(kind);
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let _stranger = Stranger::start(&lab.srv(), port);
    let settings = format!("{MACHINE} {KEYS} EBS_ENDPOINT=https://127.0.0.1:{port}");
    lab.add("ebs", "mobula/ebs", &settings);
    let said = || lab.create_fails("mobula/ebs", "vol");
    let untrusted = said();
    assert!(untrusted.contains("UnknownIssuer"), "{untrusted}");
    lab.set("mobula/ebs", "SSL_CERT_FILE=/machine/secrets/ca.pem");
    let trusted = said();
    assert!(!trusted.contains("UnknownIssuer") && trusted.contains("was lost"), "{trusted}");
    lab.set("mobula/ebs", "SSL_CERT_FILE=/machine/secrets/nosuch.pem");
    let wrong = said();
    assert!(
        wrong.contains("SSL_CERT_FILE: file /machine/secrets/nosuch.pem is not there"),
        "{wrong}"
    );
}
