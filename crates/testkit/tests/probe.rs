//! The plugin that behaves badly, by itself: what tests of engines rely on.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The probe with a directory of its own; it ends with this.
struct Probe {
    child: Child,
    dir: tempfile::TempDir,
}

impl Probe {
    fn start(mode: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
        command.env("PROBE_SOCKET", dir.path().join("probe.sock")).env("PROBE_FS", "none");
        command.env("PROBE_ROOT", dir.path().join("root")).env("PROBE_MODE", mode);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        Self { child, dir }
    }

    fn listening(mode: &str) -> Self {
        let probe = Self::start(mode);
        eventually(|| UnixStream::connect(probe.socket()).is_ok());
        probe
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("probe.sock")
    }

    /// What comes back until the connection is closed.
    fn send(&self, line: &str, body: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let head = format!("{line} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + body).as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    fn call(&self, method: &str, body: &str) -> String {
        self.send(&format!("POST /VolumeDriver.{method}"), body)
    }

    fn ended(&mut self) -> ExitStatus {
        eventually(|| self.child.try_wait().unwrap().is_some());
        self.child.try_wait().unwrap().unwrap()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

fn eventually(mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < until, "not within a minute");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_volume_is_a_directory() {
    let probe = Probe::listening("");
    assert!(probe.call("Create", r#"{"Name":"v"}"#).contains(r#""Err":"""#));
    let mountpoint = probe.dir.path().join("root/volumes/v");
    let mounted = probe.call("Mount", r#"{"Name":"v","ID":"a"}"#);
    assert!(mountpoint.is_dir() && mounted.contains(mountpoint.to_str().unwrap()), "{mounted}");
    let refused = probe.call("Remove", r#"{"Name":"v"}"#);
    assert!(refused.contains("v is mounted"), "{refused}");
    probe.call("Unmount", r#"{"Name":"v","ID":"a"}"#);
    probe.call("Remove", r#"{"Name":"v"}"#);
    assert!(!mountpoint.exists());
    assert!(probe.call("Create", "").contains("is no name of a volume"));
    let calls = probe.send("GET /calls", "");
    assert!(calls.contains(r#""VolumeDriver.Create":2"#), "{calls}");
    assert!(probe.send("GET /about", "").contains(r#""NoNewPrivs""#));
}

#[test]
fn a_name_asks_for_trouble() {
    let mut probe = Probe::listening("");
    let create = |how: &str| probe.call("Create", &format!(r#"{{"Name":"bad-create-{how}"}}"#));
    assert!(create("err").starts_with("HTTP/1.1 200") && create("err").contains("bad on demand"));
    assert!(create("http500").starts_with("HTTP/1.1 500"));
    assert!(create("http500j").contains(r#"{"Err":"bad on demand"}"#));
    assert!(create("empty").ends_with("\r\n\r\n"));
    assert_eq!(create("drop1"), "");
    assert!(create("drop1").contains(r#""Err":"""#), "once only");
    assert_eq!(create("crash"), "");
    assert!(!probe.ended().success());
}

#[test]
fn a_mode_asks_for_trouble() {
    assert_eq!(Probe::start("exit:7").ended().code(), Some(7));
    assert_eq!(Probe::start("crash-at-start").ended().code(), None);
    let probe = Probe::start("nolisten");
    eventually(|| probe.dir.path().join("root/starts").exists());
    assert!(!probe.socket().exists());
    let mut obedient = Probe::listening("");
    let mut stubborn = Probe::listening("ignore-term");
    for probe in [&obedient, &stubborn] {
        let pid = probe.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }
    assert!(obedient.ended().success());
    assert!(stubborn.send("GET /calls", "").contains("counts"));
    assert_eq!(stubborn.child.try_wait().unwrap(), None);
}
