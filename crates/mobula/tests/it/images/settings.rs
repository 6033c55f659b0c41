//! Settings of the images: REX-Ray's names, secrets in files, and mistakes.

use super::lab::Lab;
use crate::plugins::bed::{Kind, said};
use crate::plugins::{on_both, on_ours};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

on_both!(
    what_people_set_for_rexrays_plugins_has_its_effect,
    mistakes_in_settings_are_told_by_each_call_and_mended_by_set,
    a_secret_in_a_file_is_never_shown,
    a_secret_that_others_may_read_is_refused_with_the_way_out,
);

fn what_people_set_for_rexrays_plugins_has_its_effect(kind: Kind) {
    let lab = Lab::start(kind);
    lab.add(
        "loop",
        "rexray/loop",
        "REXRAY_FSTYPE=xfs LINUX_VOLUME_ROOTPATH=/data LINUX_VOLUME_FILEMODE=0700 \
         REXRAY_PREEMPT=true REXRAY_LOGLEVEL=debug DOCKER_LEGACY=true VOLUME_SIZE=320MiB",
    );
    lab.create("rexray/loop", "vol");
    lab.start_container("vol");
    lab.exec("vol", "echo kept > /d/file");
    assert_eq!(lab.exec("vol", "stat -c %a /d"), "700");
    let mount = host::mountinfo::at(&lab.target("rexray/loop", "loop", "vol")).unwrap().unwrap();
    assert_eq!((mount.fstype.as_str(), mount.root.as_path()), ("xfs", Path::new("/data")));
    if lab.is_ours() {
        let log = said(&lab.home.run(&["plugin", "logs", "rexray/loop"]));
        assert!(log.contains("DEBUG"), "REXRAY_LOGLEVEL=debug: {log}");
    }
    lab.box_ok("rm -f vol");
    // What COMPAT=rexray means is the same.
    lab.set("rexray/loop", "LINUX_VOLUME_ROOTPATH= LINUX_VOLUME_FILEMODE= COMPAT=rexray");
    lab.create("rexray/loop", "wol");
    assert_eq!(lab.run("wol", "stat -c %a /d"), "700");
    assert_eq!(lab.run("vol", "cat /d/file"), "kept");
}

fn mistakes_in_settings_are_told_by_each_call_and_mended_by_set(kind: Kind) {
    let lab = Lab::start(kind);
    lab.add("loop", "loop", "VOLUME_SIZE=48MiB");
    lab.create("loop", "made");
    lab.set("loop", "VOLUME_SIZE=huge LOG_LEVEL=loud");
    assert!(lab.is_enabled("loop"));
    let calls = ["volume create -d loop vol", "run --rm --network none -v made:/d box ls"];
    for call in calls.iter().chain(&calls) {
        let output = lab.box_docker(call).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        for part in ["VOLUME_SIZE: ", "\"huge\"", "LOG_LEVEL: ", "\"loud\""] {
            assert!(!output.status.success() && told.contains(part), "{call}: {told}");
        }
    }
    lab.set("loop", "VOLUME_SIZE=48MiB");
    let said = lab.create_fails("loop", "vol");
    assert!(said.contains("LOG_LEVEL: ") && !said.contains("VOLUME_SIZE"), "{said}");
    lab.set("loop", "LOG_LEVEL=warn");
    lab.create("loop", "vol");
    lab.run("made", "echo kept > /d/file");
}

const SECRET: &str = "http://ann:hunter2@127.0.0.1:9";

/// A file with the secret, and how a plugin's setting names it: `mobula engine` reads it itself,
/// under dockerd the plugin does, where it sees the machine's directory.
fn secret(lab: &Lab, mode: u32) -> (PathBuf, String) {
    let file = lab.srv().join("proxy");
    std::fs::write(&file, SECRET).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    let seen = if lab.is_ours() { "/srv/proxy" } else { "/machine/volumes/proxy" };
    (file, format!("HTTP_PROXY=@{seen}"))
}

fn a_secret_in_a_file_is_never_shown(kind: Kind) {
    let lab = Lab::start(kind);
    let (_, setting) = secret(&lab, 0o600);
    lab.add("local", "mobula/local", &setting);
    lab.create("mobula/local", "vol");
    let shown = lab.ok("plugin inspect mobula/local");
    assert!(shown.contains("HTTP_PROXY=") && !shown.contains("hunter2"), "{shown}");
    let root = format!("/proc/{}/environ", lab.pid("mobula/local").unwrap());
    let environment = std::fs::read(root).unwrap();
    let is_there = environment.windows(7).any(|window| window == b"hunter2");
    // The one has it from its engine; the other, which reads the file later, never shows it here.
    assert_eq!(is_there, lab.is_ours());
    assert!(!lab.log().contains("hunter2"));
}

fn a_secret_that_others_may_read_is_refused_with_the_way_out(kind: Kind) {
    let lab = Lab::start(kind);
    let (file, setting) = secret(&lab, 0o644);
    let said = if lab.is_ours() {
        // Before the plugin ever starts.
        lab.add("local", "mobula/local", "");
        lab.disable("mobula/local");
        lab.fails(&format!("plugin set mobula/local {setting}"))
    } else {
        lab.add("local", "mobula/local", &setting);
        lab.create_fails("mobula/local", "vol");
        lab.create_fails("mobula/local", "vol")
    };
    assert!(said.contains("chmod 600") && !said.contains("hunter2"), "{said}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    if lab.is_ours() {
        lab.ok(&format!("plugin set mobula/local {setting}"));
    } else {
        lab.disable("mobula/local");
    }
    lab.ok("plugin enable mobula/local");
    lab.create("mobula/local", "vol");
}
