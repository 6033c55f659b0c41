//! What goes wrong: each time the installer says so, and the machine is as it was.

use crate::machine::Machine;
use crate::release::{Key, Release, archive, run, shown};
use crate::server::{Fault, serve};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const FILES_ONLY: &str = "--no-service";

/// Makes the archive another one, as good as the first: only who compares can tell.
fn tamper(release: &Release) {
    let archive = release.dir.join(archive());
    let line = "gzip -dc \"$1\" | gzip -9n >\"$1.new\" && mv \"$1.new\" \"$1\"";
    run(Command::new("sh").args(["-c", line, "sh"]).arg(archive));
}

#[test]
fn a_wrong_checksum_stops_it() {
    let release = Release::small();
    tamper(&release);
    let machine = Machine::new();
    let mut installer = machine.installer(&["sh"], &release, release.dir.to_str().unwrap());
    machine
        .refuses(installer.arg(FILES_ONLY), &["is not what was released", "nothing was changed"]);
}

#[test]
fn a_wrong_signature_stops_it_whoever_verifies() {
    for missing in ["openssl", "minisign"] {
        let refuses = |release: &Release, what: &str| {
            let machine = Machine::new();
            machine.without(&[missing]);
            let mut installer = machine.installer(&["sh"], release, release.dir.to_str().unwrap());
            installer.arg(FILES_ONLY);
            let said = machine.refuses(&mut installer, &["is not signed with the key"]);
            assert!(said.contains("nothing was changed"), "{what}: {said}");
        };
        // The list fits what was tampered with; its signature does not.
        let release = Release::small();
        tamper(&release);
        release.sum();
        refuses(&release, "a changed list");

        // Signed well, by somebody else.
        let dir = tempfile::tempdir().unwrap();
        Key::new(dir.path()).sign(&release.dir);
        refuses(&release, "another key");

        // The key's number can be forged, the signature cannot.
        let release = Release::small();
        forge(&release.dir.join("SHA256SUMS.minisig"), 1, 20);
        refuses(&release, "a changed signature");

        // The comment is signed too.
        let release = Release::small();
        let path = release.dir.join("SHA256SUMS.minisig");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("comment: mobula", "comment: Mobula")).unwrap();
        refuses(&release, "a changed comment");

        let release = Release::small();
        std::fs::write(release.dir.join("SHA256SUMS.minisig"), "").unwrap();
        refuses(&release, "an empty signature");
    }
}

/// Changes one character of a line.
fn forge(path: &Path, line: usize, at: usize) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let other = if &lines[line][at..=at] == "A" { "B" } else { "A" };
    lines[line].replace_range(at..=at, other);
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

#[test]
fn nothing_is_installed_where_nothing_can_verify() {
    let release = Release::small();
    let machine = Machine::new();
    machine.without(&["minisign", "openssl"]);
    let mut installer = machine.installer(&["sh"], &release, release.dir.to_str().unwrap());
    machine.refuses(installer.arg(FILES_ONLY), &["install minisign, or openssl"]);
}

#[test]
fn a_release_without_a_signature_or_a_key_is_refused() {
    let release = Release::small();
    let machine = Machine::new();
    let url = release.dir.to_str().unwrap();
    let stamp = std::fs::read_to_string(release.script()).unwrap();
    std::fs::write(release.script(), stamp.replace(&release.key.text(), "")).unwrap();
    let mut installer = machine.installer(&["sh"], &release, url);
    machine.refuses(installer.arg(FILES_ONLY), &["MOBULA_PUBKEY"]);
    std::fs::remove_file(release.dir.join("SHA256SUMS.minisig")).unwrap();
    let mut installer = machine.installer(&["sh"], &release, url);
    machine.refuses(installer.arg(FILES_ONLY), &["SHA256SUMS.minisig could not be fetched"]);
}

#[test]
fn a_download_that_breaks_off_changes_nothing() {
    let release = Release::small();
    for part in ["tar.gz", "SHA256SUMS", "minisig"] {
        let url = serve(&release.dir, Some(Fault::Truncate(part)));
        let machine = Machine::new();
        let mut installer = machine.installer(&["sh"], &release, &url);
        machine.refuses(installer.arg(FILES_ONLY), &["could not be fetched whole"]);
    }
    let machine = Machine::new();
    let mut installer = machine.installer(&["sh"], &release, "http://127.0.0.1:1");
    machine.refuses(installer.arg(FILES_ONLY), &["could not be fetched whole"]);
}

#[test]
fn a_killed_installer_leaves_nothing() {
    let release = Release::small();
    let url = serve(&release.dir, Some(Fault::Stall("tar.gz")));
    let machine = Machine::new();
    let before = machine.snapshot();
    let mut installer = machine.installer(&["sh"], &release, &url);
    let mut child = installer.arg(FILES_ONLY).stdout(Stdio::piped()).spawn().unwrap();
    let downloading = || {
        let dirs = std::fs::read_dir(machine.tmp()).unwrap().flatten();
        dirs.into_iter().any(|dir| dir.path().join("release.tar.gz").exists())
    };
    eventually("it downloads", downloading);
    // The shell is waiting for its child, so both are told, as a terminal tells both.
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let children = std::fs::read_to_string(children).unwrap();
    let own = child.id().to_string();
    let told = [own.as_str()].into_iter().chain(children.split_whitespace());
    run(Command::new("kill").arg("-TERM").args(told));
    assert!(!child.wait().unwrap().success());
    assert!(machine.snapshot() == before);
    assert_eq!(std::fs::read_dir(machine.tmp()).unwrap().count(), 0);
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < until, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_script_that_arrives_in_part_does_nothing() {
    let release = Release::small();
    let script = std::fs::read(release.script()).unwrap();
    let url = release.dir.to_str().unwrap();
    // Up to the call in the last line; every cut before it is one of these.
    let end = script.len() - "main \"$@\"\n".len();
    for length in (0..12).map(|part| end * part / 12).chain([end]) {
        let machine = Machine::new();
        let before = machine.snapshot();
        let root = machine.root();
        let mut shell = Command::new("sh");
        shell.args(["-s", "--", FILES_ONLY, "--root"]).arg(root).env("MOBULA_URL", url);
        let mut child = shell.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // The shell may have given up before all of it is written.
        let _ = child.stdin.take().unwrap().write_all(&script[..length]);
        child.wait().unwrap();
        assert!(machine.snapshot() == before, "cut after {length} bytes");
    }
}

#[test]
fn machines_that_cannot_run_it_are_told_so() {
    let release = Release::small();
    for (uname, words) in [
        (
            "case $1 in -m) echo riscv64;; *) exec /bin/uname \"$@\";; esac",
            "no Mobula for the processor riscv64",
        ),
        (
            "case $1 in -s) echo FreeBSD;; *) exec /bin/uname \"$@\";; esac",
            "runs on Linux, and this is FreeBSD",
        ),
        (
            "case $1 in -r) echo 5.4.0-150-generic;; *) exec /bin/uname \"$@\";; esac",
            "Linux 5.12 or newer, and this is 5.4.0",
        ),
        (
            "case $1 in -r) echo 4.19;; *) exec /bin/uname \"$@\";; esac",
            "Linux 5.12 or newer, and this is 4.19",
        ),
    ] {
        let machine = Machine::new();
        machine.program("uname", uname);
        let mut installer = machine.installer(&["sh"], &release, release.dir.to_str().unwrap());
        machine.refuses(installer.arg(FILES_ONLY), &[words]);
    }
    let machine = Machine::new();
    let other = if cfg!(target_arch = "x86_64") { "aarch64" } else { "x86_64" };
    machine.program(
        "uname",
        &format!("case $1 in -m) echo {other};; *) exec /bin/uname \"$@\";; esac"),
    );
    let mut installer = machine.installer(&["sh"], &release, release.dir.to_str().unwrap());
    machine.refuses(installer.arg(FILES_ONLY), &[other, "it has:"]);
}

#[test]
fn only_root_may_install_a_service() {
    if !testkit::root::is_root() {
        return;
    }
    let release = Release::small();
    let dir = tempfile::tempdir().unwrap();
    run(Command::new("chmod").args(["755"]).arg(dir.path()).arg(release.dir.parent().unwrap()));
    let mut shell = Command::new("setpriv");
    shell.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh"]).arg(release.script());
    let output = shell.env("MOBULA_URL", &release.dir).output().unwrap();
    assert!(shown(&output).contains("only root may"), "{}", shown(&output));
}

#[test]
fn a_read_only_place_is_left_as_it_is() {
    if !testkit::root::is_root() {
        return;
    }
    host::sandbox::private_mounts().unwrap();
    let release = Release::small();
    let machine = Machine::new();
    machine.put("usr/local/bin/mobula", "old");
    mount(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"], &machine.at("usr"));
    mount(&["-o", "remount,ro"], &machine.at("usr"));
    let mut installer = machine.installer(&["sh"], &release, release.dir.to_str().unwrap());
    machine.refuses(installer.arg(FILES_ONLY), &["cannot be made", "--prefix elsewhere"]);
}

#[test]
fn a_full_disk_leaves_the_old_release() {
    if !testkit::root::is_root() {
        return;
    }
    host::sandbox::private_mounts().unwrap();
    let release = Release::small();
    let url = release.dir.to_str().unwrap();
    let machine = Machine::new();
    std::fs::create_dir_all(machine.at("usr")).unwrap();
    mount(&["-t", "tmpfs", "-o", "size=400k", "tmpfs"], &machine.at("usr"));
    machine.put("usr/local/bin/mobula", "the old program");
    machine.put("usr/local/share/doc/mobula/LICENSE", "the old license");
    machine.put("usr/fill", &"x".repeat(200 << 10));
    // After the sizes of earlier ones, so that the failure comes at another file each time.
    for room in [4, 20, 60, 120] {
        machine.put("usr/fill", &"x".repeat((400 - 16 - room) << 10));
        let mut installer = machine.installer(&["sh"], &release, url);
        machine.refuses(installer.arg(FILES_ONLY), &["cannot be", "nothing was changed"]);
    }
    std::fs::remove_file(machine.at("usr/fill")).unwrap();
    let said = shown(&machine.install(&release, url, &[FILES_ONLY]));
    assert!(said.contains("is installed:") || said.contains("cannot be"), "{said}");
}

#[test]
fn a_full_temporary_directory_changes_nothing() {
    if !testkit::root::is_root() {
        return;
    }
    host::sandbox::private_mounts().unwrap();
    let release = Release::small();
    let machine = Machine::new();
    mount(&["-t", "tmpfs", "-o", "size=64k", "tmpfs"], &machine.tmp());
    let mut installer = machine.installer(&["sh"], &release, release.dir.to_str().unwrap());
    machine.refuses(installer.arg(FILES_ONLY), &["nothing was changed"]);
}

fn mount(args: &[&str], target: &Path) {
    run(Command::new("mount").args(args).arg(target));
}
