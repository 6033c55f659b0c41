//! The tiny container, with busybox as its program.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use error::Kind;
use host::sandbox::{self, Sandbox};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What `main` does in a real program: this test program is its own helper, and the helper's
/// arguments select this test alone.
#[test]
fn __sandbox() {
    let args: Vec<_> = std::env::args().collect();
    if args.get(1).is_some_and(|first| first == sandbox::ARGUMENT) {
        let code = sandbox::enter(&args[2]).unwrap_or_else(|error| {
            writeln!(std::io::stderr(), "{error}").unwrap();
            99
        });
        std::process::exit(code);
    }
}

/// A container that runs `script` on `volume`; `None` where that is not possible.
fn shell(volume: &Path, script: &str) -> Option<Sandbox> {
    let is_possible =
        rustix::process::geteuid().is_root() && Path::new("/usr/bin/busybox").exists();
    if !is_possible {
        assert!(std::env::var_os("CI").is_none(), "CI must run as root and have busybox-static");
        println!("skipped: needs root and busybox-static");
        return None;
    }
    Some(Sandbox {
        binary: "/usr/bin/busybox".into(),
        args: ["sh", "-c", script].map(str::to_owned).to_vec(),
        volume: volume.to_owned(),
        at: "/data".into(),
        hostname: "demo".to_owned(),
    })
}

#[test]
fn the_program_sees_its_volume_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("hello"), "from outside\n").unwrap();
    let script = "set -e
        cat /data/hello; echo from inside > /data/made; echo root: $(echo /*)
        echo pid: $$; echo name: $(hostname); echo processes: $(echo /proc/[0-9]*)
        if echo x > /mobula; then echo written; fi; exit 7";
    let Some(request) = shell(dir.path(), script) else { return };
    let finished = sandbox::spawn(&request).unwrap().wait().unwrap();
    assert_eq!(finished.code, 7, "{finished:?}");
    for line in [
        "from outside",
        "root: /data /mobula /proc",
        "pid: 1\n",
        "name: demo",
        "processes: /proc/1",
    ] {
        assert!(finished.stdout.contains(line), "no {line:?} in {finished:?}");
    }
    assert!(!finished.stdout.contains("written"));
    assert!(finished.stderr.contains("Read-only file system"), "{finished:?}");
    assert_eq!(fs::read_to_string(dir.path().join("made")).unwrap(), "from inside\n");
}

#[test]
fn a_killed_container_ends_with_its_program() {
    let dir = tempfile::tempdir().unwrap();
    let script = "echo > /data/started; while true; do sleep 1; done";
    let Some(request) = shell(dir.path(), script) else { return };
    let mut child = sandbox::spawn(&request).unwrap();
    let began = Instant::now();
    while !dir.path().join("started").exists() {
        assert!(began.elapsed() < Duration::from_secs(30), "not started");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    // Returns only when no process has the pipes any more, so the program is gone too.
    assert_eq!(child.wait().unwrap().code, 128 + 9);
}

#[test]
fn a_place_outside_the_container_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for at in ["data", "/", "/../data"] {
        let Some(mut request) = shell(dir.path(), "true") else { return };
        request.at = PathBuf::from(at);
        let error = sandbox::spawn(&request).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert!(error.message().contains("is no place for a volume"), "{error}");
    }
}

#[test]
fn a_missing_volume_is_said_on_standard_error() {
    let Some(request) = shell(Path::new("/nonexistent/volume"), "true") else { return };
    let finished = sandbox::spawn(&request).unwrap().wait().unwrap();
    assert_eq!(finished.code, 99);
    assert!(finished.stderr.contains("open directory /nonexistent/volume"), "{finished:?}");
}
