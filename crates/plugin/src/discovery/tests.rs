//! Docker's own cases (`pkg/plugins`, discovery), and those that it gets wrong.

use super::*;
use crate::rpc::TlsFiles;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use tempfile::TempDir;

struct Fixture {
    dir: TempDir,
    discovery: Discovery,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let discovery =
        Discovery { sockets: dir.path().join("run"), specs: vec![dir.path().join("etc")] };
    for directory in [&discovery.sockets, &discovery.specs[0]] {
        std::fs::create_dir(directory).unwrap();
    }
    Fixture { dir, discovery }
}

impl Fixture {
    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The listener is gone at once: a dead socket is a socket.
    fn socket(&self, path: &str) -> PathBuf {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        UnixListener::bind(&path).unwrap();
        path
    }

    fn names(&self) -> Vec<String> {
        self.discovery.scan().unwrap().into_iter().map(|plugin| plugin.name).collect()
    }

    fn address(&self, name: &str) -> Address {
        self.discovery.find(name).unwrap().unwrap().address
    }
}

#[test]
fn a_spec_holds_one_url_beside_or_in_a_directory_of_its_name() {
    let cases = [
        ("etc/echo.spec", "echo", "unix:///var/lib/docker/plugins/echo.sock\n"),
        ("etc/echo/echo.spec", "echo", " unix:///var/lib/docker/plugins/echo.sock"),
        ("etc/foo.spec", "foo", "tcp://localhost:8080"),
        ("etc/foo/foo.spec", "foo", "TCP://localhost:8080/"),
    ];
    for (path, name, text) in cases {
        let fixture = fixture();
        let file = fixture.write(path, text);
        let found = fixture.discovery.find(name).unwrap().unwrap();
        let expected = match name {
            "echo" => Address::Unix("/var/lib/docker/plugins/echo.sock".into()),
            _ => Address::Tcp("localhost:8080".to_owned()),
        };
        assert_eq!((found.name.as_str(), found.file, found.address), (name, file, expected));
        assert_eq!(fixture.names(), [name]);
    }
}

#[test]
fn a_spec_without_a_protocol_is_refused_by_find_and_passed_over_by_scan() {
    let fixture = fixture();
    fixture.write("etc/good.spec", "tcp://localhost:8080");
    for (name, text) in
        [("bar", "localhost:8080"), ("rel", "unix://a/b"), ("ftp", "ftp://x"), ("no", "tcp://")]
    {
        fixture.write(&format!("etc/{name}.spec"), text);
        let error = fixture.discovery.find(name).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
        assert!(error.to_string().contains(&format!("{name}.spec describes no plugin")), "{error}");
    }
    let error = fixture.discovery.find("bar").unwrap_err().to_string();
    assert!(error.contains("unknown protocol in \"localhost:8080\""), "{error}");
    assert_eq!(fixture.names(), ["good"]);
}

#[test]
fn a_json_says_whom_to_trust() {
    let fixture = fixture();
    fixture.write(
        "etc/example.json",
        r#"{"Name": "other", "Addr": "https://example.com/docker/plugin", "TLSConfig": {
            "CAFile": "/ca.pem", "CertFile": "/cert.pem", "KeyFile": "/key.pem"}}"#,
    );
    let tls = TlsFiles {
        insecure: false,
        ca: Some("/ca.pem".into()),
        certificate: Some("/cert.pem".into()),
        key: Some("/key.pem".into()),
    };
    assert_eq!(fixture.address("example"), Address::Tls { address: "example.com".into(), tls });
}

#[test]
fn a_json_with_tls_but_no_authority_trusts_anybody_and_one_without_tls_nobody() {
    let fixture = fixture();
    fixture.write("etc/a.json", r#"{"addr": "https://h:1", "tlsconfig": {"CAFile": ""}}"#);
    fixture.write("etc/b.json", r#"{"Addr": "https://h:1", "TLSConfig": null}"#);
    for (name, insecure) in [("a", true), ("b", false)] {
        let tls = TlsFiles { insecure, ..TlsFiles::default() };
        assert_eq!(fixture.address(name), Address::Tls { address: "h:1".into(), tls });
    }
}

#[test]
fn sockets_are_found_beside_and_in_a_directory_of_their_name() {
    for path in ["run/echo.sock", "run/echo/echo.sock"] {
        let fixture = fixture();
        let socket = fixture.socket(path);
        assert_eq!(fixture.address("echo"), Address::Unix(socket));
        assert_eq!(fixture.names(), ["echo"]);
    }
}

#[test]
fn sockets_come_first_and_win_over_specifications_of_their_name() {
    let fixture = fixture();
    let socket = fixture.socket("run/zeta.sock");
    fixture.write("etc/zeta.spec", "tcp://localhost:1");
    fixture.write("etc/beta.json", r#"{"Addr": "tcp://localhost:2"}"#);
    fixture.write("etc/alpha/alpha.spec", "tcp://localhost:3");
    assert_eq!(fixture.names(), ["zeta", "alpha", "beta"]);
    assert_eq!(fixture.address("zeta"), Address::Unix(socket));
}

#[test]
fn what_is_no_plugin_is_not_found_by_a_scan() {
    let fixture = fixture();
    fixture.write("run/file.sock", "");
    fixture.write("run/readme.txt", "");
    fixture.socket("run/foo/bar.sock");
    fixture.socket(&format!("run/{}/plugin.sock", "a".repeat(64)));
    fixture.write("etc/foo/bar.spec", "tcp://localhost:1");
    std::fs::create_dir(fixture.dir.path().join("run/dir.sock")).unwrap();
    symlink("/nowhere", fixture.dir.path().join("run/dangling.sock")).unwrap();
    assert!(fixture.names().is_empty());
    for name in ["file", "dir", "dangling"] {
        let error = fixture.discovery.find(name).unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition, "{error}");
    }
    assert_eq!(fixture.discovery.find("foo").unwrap(), None);
}

#[test]
fn a_link_to_a_socket_is_one() {
    let fixture = fixture();
    let real = fixture.socket("real");
    symlink(real, fixture.dir.path().join("run/linked.sock")).unwrap();
    assert_eq!(fixture.names(), ["linked"]);
}

#[test]
fn a_name_with_a_slash_is_looked_up_but_never_leaves_the_directory() {
    let fixture = fixture();
    fixture.socket("run/rexray/ebs:latest.sock");
    fixture.socket("outside.sock");
    assert!(fixture.discovery.find("rexray/ebs:latest").unwrap().is_some());
    assert!(fixture.names().is_empty());
    let absolute = fixture.dir.path().join("outside");
    for name in ["", "..", "../outside", "rexray/../../outside", "a//b", "/", "\0"] {
        assert_eq!(fixture.discovery.find(name).unwrap(), None, "{name:?}");
    }
    assert_eq!(fixture.discovery.find(absolute.to_str().unwrap()).unwrap(), None);
}

#[test]
fn missing_directories_hold_nothing() {
    let fixture = fixture();
    let missing = Discovery { sockets: "/nowhere".into(), specs: vec!["/nowhere/else".into()] };
    assert!(missing.scan().unwrap().is_empty());
    assert_eq!(missing.find("x").unwrap(), None);
    assert!(fixture.names().is_empty());
}
