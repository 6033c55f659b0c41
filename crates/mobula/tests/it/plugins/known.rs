//! Plugins that are published for dockerd, with their configurations as they are: what those take
//! for granted of the machine.

use super::bed::{Bed, Kind};
use super::image::{Image, probe};
use super::on_ours;
use crate::engine::fixture::ok;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

on_ours!(
    sshfs_runs_where_there_has_never_been_a_dockerd,
    the_directory_that_dockerd_has_is_left_as_it_is,
    a_directory_that_the_host_lacks_is_named_with_the_way_out,
);

/// The configuration of vieux/sshfs, key by key as it is in the registry.
const SSHFS: &str = r#"{
  "description": "sshFS plugin for Docker",
  "documentation": "https://docs.docker.com/engine/extend/plugins/",
  "entrypoint": ["/docker-volume-sshfs"],
  "env": [{"name": "DEBUG", "settable": ["value"], "value": "0"}],
  "interface": {"socket": "sshfs.sock", "types": ["docker.volumedriver/1.0"]},
  "linux": {"capabilities": ["CAP_SYS_ADMIN"], "devices": [{"path": "/dev/fuse"}]},
  "mounts": [
    {"destination": "/mnt/state", "options": ["rbind"], "name": "state",
     "source": "/var/lib/docker/plugins/", "settable": ["source"], "type": "bind"},
    {"destination": "/root/.ssh", "options": ["rbind"], "name": "sshkey",
     "source": "", "settable": ["source"], "type": "bind"}
  ],
  "network": {"type": "host"},
  "propagatedmount": "/mnt/volumes"
}"#;
/// Stands for its program: the probe, told where sshfs has its socket and its mounts.
const PROGRAM: &str = "#!/bin/sh\nPROBE_SOCKET=sshfs.sock PROBE_ROOT=/mnt/volumes exec /probe\n";
const STATE: &str = "/var/lib/docker/plugins";

/// Installs it as `sshfs`, disabled.
fn create_sshfs(bed: &Bed) {
    let image = Image { config: serde_json::from_str(SSHFS).unwrap(), files: Vec::new() };
    let dir = image.and_file("docker-volume-sshfs", PROGRAM).write(&bed.home);
    let (rootfs, program) = (dir.join("rootfs"), dir.join("rootfs/docker-volume-sshfs"));
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(rootfs.join("bin")).unwrap();
    std::fs::copy("/usr/bin/busybox", rootfs.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", rootfs.join("bin/sh")).unwrap();
    bed.ok(&format!("plugin create sshfs {}", dir.display()));
}

/// What `/mnt/state/NAME` says inside.
fn state(bed: &Bed, name: &str) -> String {
    let path = format!("/mnt/state/{name}");
    ok(&mut bed.home.command(&["plugin", "exec", "sshfs", "/bin/busybox", "cat", &path]))
}

fn mode(path: &str) -> u32 {
    Path::new(path).metadata().unwrap().permissions().mode() & 0o7777
}

fn sshfs_runs_where_there_has_never_been_a_dockerd(kind: Kind) {
    let bed = Bed::start(kind);
    assert!(!Path::new("/var/lib/docker").exists(), "there was one");
    create_sshfs(&bed);
    bed.ok("plugin enable sshfs");
    assert_eq!((mode("/var/lib/docker"), mode(STATE)), (0o710, 0o700), "as dockerd makes them");
    std::fs::write(format!("{STATE}/sshfs-state.json"), "{}").unwrap();
    assert_eq!(state(&bed, "sshfs-state.json"), "{}");
    bed.ok("volume create -d sshfs remote");
    let mounted = bed.call("sshfs", "Mount", &json!({ "Name": "remote", "ID": "a" }));
    let host = Path::new(mounted["Mountpoint"].as_str().unwrap());
    assert!(host.starts_with(bed.propagated("sshfs")), "{mounted}");
    let mount = host::mountinfo::at(host).unwrap().expect("seen on the host");
    assert_eq!(mount.propagation(), "shared");
    std::fs::write(host.join("file"), "seen").unwrap();
    let inside = bed.propagated("sshfs").join("volumes/remote/file");
    assert_eq!(std::fs::read_to_string(inside).unwrap(), "seen");
    bed.call("sshfs", "Unmount", &json!({ "Name": "remote", "ID": "a" }));
    // Its keys are there once its user says where they are.
    bed.ok("plugin disable sshfs");
    std::fs::create_dir_all("/var/lib/keys").unwrap();
    bed.ok("plugin set sshfs sshkey.source=/var/lib/keys");
    bed.ok("plugin enable sshfs");
    assert_eq!(state(&bed, "sshfs-state.json"), "{}", "what it wrote down stays");
}

fn the_directory_that_dockerd_has_is_left_as_it_is(kind: Kind) {
    let bed = Bed::start(kind);
    std::fs::create_dir_all(STATE).unwrap();
    std::fs::set_permissions(STATE, std::fs::Permissions::from_mode(0o711)).unwrap();
    std::fs::write(format!("{STATE}/known"), "before").unwrap();
    create_sshfs(&bed);
    bed.ok("plugin enable sshfs");
    assert_eq!((mode(STATE), state(&bed, "known").as_str()), (0o711, "before"));
}

/// As rclone, Pure Storage and Trident have them: directories that their users make.
fn a_directory_that_the_host_lacks_is_named_with_the_way_out(kind: Kind) {
    let bed = Bed::start(kind);
    let mount = |name: &str, source: &str, settable: &[&str]| {
        json!({ "name": name, "source": source, "destination": format!("/{name}"),
                "type": "bind", "options": ["rbind"], "settable": settable })
    };
    let with = |mounts: Value| probe().with("mounts", mounts);
    let settable = mount("config", "/var/lib/docker-plugins/rclone/config", &["source"]);
    bed.create("rclone", &with(json!([settable])));
    bed.create("pure", &with(json!([mount("", "/etc/pure-docker-plugin", &[])])));
    let said = bed.fails("plugin enable rclone");
    for part in [
        "mounts[0].source",
        "/var/lib/docker-plugins/rclone/config",
        "is not there",
        "make it",
        "plugin set rclone:latest config.source=PATH",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = bed.fails("plugin enable pure");
    assert!(said.contains("/etc/pure-docker-plugin is not there"), "{said}");
    assert!(!said.contains("plugin set"), "its author does not let it be set: {said}");
    assert!(!Path::new("/var/lib/docker-plugins").exists(), "nothing is made but dockerd's own");
    std::fs::create_dir_all("/var/lib/docker-plugins/rclone/config").unwrap();
    bed.ok("plugin enable rclone");
}
