//! Plugins that are reached over TCP and TLS, and the files by which dockerd finds them.

use crate::fixture::{Home, PATIENCE, eventually, is_root};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

fn post_list(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"POST /VolumeDriver.List HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_tcp_plugin_is_announced_in_a_spec_file_while_it_listens() {
    if !is_root() {
        return;
    }
    let home = Home::with(
        "services: {mobula: {driver: local}}\n\
         docker:\n  remote: {service: mobula, listen: \"tcp://127.0.0.1:0\"}\n",
    );
    let agent = home.start();
    let spec = home.path("etc/docker/plugins/remote.spec");
    eventually("the file is there", PATIENCE, || spec.exists());
    let text = std::fs::read_to_string(&spec).unwrap();
    let address = text.strip_prefix("tcp://").unwrap();
    let answer = post_list(address);
    assert!(answer.contains("200 OK") && answer.contains("\"Volumes\":[]"), "{answer}");
    agent.stop();
    assert!(!spec.exists());
}

fn openssl(dir: &Path, args: &str) {
    let words: Vec<_> = args.split(' ').collect();
    let output = Command::new("openssl").args(&words).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "openssl {args}: {output:?}");
}

/// An authority, a server certificate for 127.0.0.1, and a client certificate.
pub fn certificates(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    openssl(
        dir,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca",
    );
    std::fs::write(dir.join("server.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    std::fs::write(dir.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    for who in ["server", "client"] {
        openssl(
            dir,
            &format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {who}.key -out {who}.csr -subj /CN={who}"
            ),
        );
        openssl(
            dir,
            &format!(
                "x509 -req -in {who}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile {who}.ext -out {who}.pem"
            ),
        );
    }
}

#[test]
fn a_tls_plugin_lets_in_only_clients_with_a_certificate() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let dir = home.path("tls");
    certificates(&dir);
    let file = |name: &str| dir.join(name).display().to_string();
    home.configure(&format!(
        "services: {{mobula: {{driver: local}}}}\ndocker:\n  remote:\n    service: mobula\n    \
         listen: tcp://127.0.0.1:0\n    tls:\n      cert: {}\n      key: {}\n      clientCa: {}\n      \
         ca: {}\n      clientCert: {}\n      clientKey: {}\n",
        file("server.pem"), file("server.key"), file("ca.pem"), file("ca.pem"),
        file("client.pem"), file("client.key"),
    ));
    let _agent = home.start();
    let spec = home.path("etc/docker/plugins/remote.json");
    eventually("the file is there", PATIENCE, || spec.exists());
    let spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&spec).unwrap()).unwrap();
    assert_eq!(spec["TLSConfig"]["InsecureSkipVerify"], false);
    assert_eq!(spec["TLSConfig"]["CAFile"], file("ca.pem"));
    let url = format!("{}/VolumeDriver.List", spec["Addr"].as_str().unwrap());
    let curl = |args: &[&str]| {
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "20", "-X", "POST", "-d", "{}"])
            .args(args)
            .arg(&url)
            .output();
        output.unwrap()
    };
    let ca = file("ca.pem");
    let refused = curl(&["--cacert", &ca]);
    assert!(!refused.status.success(), "without a certificate: {refused:?}");
    let (cert, key) = (file("client.pem"), file("client.key"));
    let served = curl(&["--cacert", &ca, "--cert", &cert, "--key", &key]);
    assert!(served.status.success(), "{served:?}\n{}", home.log());
    assert!(String::from_utf8_lossy(&served.stdout).contains("\"Volumes\":[]"));
}
