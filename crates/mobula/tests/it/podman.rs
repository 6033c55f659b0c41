//! With a real Podman: one process per command, no daemon, and the same mount ID for all containers.

use crate::engine::fixture::{Machine, SWEPT, archive, can_run, ok, printed};
use crate::fixture::{Agent, Home, PATIENCE, eventually};
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Podman with an agent. Image `box` is there.
struct Podman {
    agent: Option<Agent>,
    machine: Machine,
    home: Home,
}

impl Podman {
    fn start() -> Self {
        let home = Home::with("services: {mobula: {driver: loop, volume: {size: 64MiB}}}\n");
        let machine = Machine::new(&home);
        let agent = home.start();
        // Limits are those that also a test without CAP_SYS_RESOURCE may set.
        let config = format!(
            "[containers]\nnetns = \"none\"\nlog_driver = \"k8s-file\"\n\
             default_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
             runtime = \"runc\"\n[engine.volume_plugins]\nmobula = \"{}\"\n",
            home.plugin().display()
        );
        std::fs::write(home.path("containers.conf"), config).unwrap();
        let podman = Self { agent: Some(agent), machine, home };
        podman.ok(&format!("import {} box", archive(&podman.home).display()));
        podman
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new("podman");
        for (option, below) in [("--root", "root"), ("--runroot", "runroot"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.home.path(below));
        }
        command.env("CONTAINERS_CONF", self.home.path("containers.conf"));
        command.env_remove("CONTAINER_HOST").stdin(Stdio::null());
        command.args(words.split_whitespace());
        command
    }

    fn ok(&self, words: &str) -> String {
        ok(&mut self.command(words))
    }

    /// Podman with these words, which must fail; what it said.
    fn fails(&self, words: &str) -> String {
        let output = self.command(words).output().unwrap();
        assert!(!output.status.success(), "podman {words} succeeds: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Runs a shell script in a container; what it printed.
    fn run(&self, options: &str, script: &str) -> String {
        let group = self.machine.cgroup();
        ok(self.command(&format!("run --cgroup-parent /{group} {options} box sh -c")).arg(script))
    }

    fn released(&self) {
        eventually("the volume is released", Duration::from_secs(20), || {
            self.home.loops().is_empty()
        });
    }
}

#[test]
fn podman_creates_shows_and_removes_volumes() {
    if !can_run("podman") {
        return;
    }
    let podman = Podman::start();
    podman.ok("volume create --driver mobula -o size=48MiB first");
    podman.ok("volume create --driver mobula second");
    assert_eq!(
        podman.ok("volume ls --format {{.Driver}}/{{.Name}}"),
        "mobula/first\nmobula/second"
    );
    let shown: Value = serde_json::from_str(&podman.ok("volume inspect first")).unwrap();
    assert_eq!((&shown[0]["Driver"], &shown[0]["Name"]), (&json!("mobula"), &json!("first")));
    assert_eq!(shown[0]["Options"], json!({ "size": "48MiB" }));
    assert_eq!(shown[0]["Status"]["size"], "48MiB");
    assert_eq!(shown[0]["Status"]["fsType"], "ext4");
    podman.ok("volume rm first");
    assert!(!podman.home.volume_dir("first").exists());

    let said = podman.fails("volume create --driver mobula -o sise=1GiB wrong");
    assert!(said.contains("did you mean size?") && said.contains("mountOptions"), "{said}");
    let said = podman.fails("volume create --driver mobula -o size=lots wrong");
    assert!(said.contains("lots"), "{said}");
    assert!(!podman.home.volume_dir("wrong").exists());
    // Somebody else has it mounted: the removal fails, and Podman says why.
    podman.home.ok(&["volume", "mount", "second", "--id", "backup"]);
    let said = podman.fails("volume rm second");
    assert!(said.contains("backup"), "{said}");
    podman.home.ok(&["volume", "unmount", "second", "--id", "backup"]);
    // Made and removed behind its back.
    podman.home.ok(&["volume", "create", "found"]);
    podman.ok("volume reload");
    assert!(podman.ok("volume ls -q").contains("found"));
    podman.home.ok(&["volume", "rm", "found"]);
    podman.ok("volume reload");
    podman.ok("volume rm second");
    assert_eq!(podman.ok("volume ls -q"), "");
    assert_eq!(podman.home.ok(&["volume", "ls", "-q"]), "");
}

#[test]
fn podmans_containers_share_a_volume_and_the_last_one_unmounts_it() {
    if !can_run("podman") {
        return;
    }
    let mut podman = Podman::start();
    podman.ok("volume create --driver mobula both");
    podman.run("--rm -v both:/d", "echo kept > /d/file");
    podman.released();
    assert_eq!(podman.run("--rm -v both:/d", "cat /d/file"), "kept");

    podman.run("-d --name first -v both:/d", "sleep 1000");
    podman.agent.take().unwrap().kill();
    podman.agent = Some(podman.home.start());
    podman.run("-d --name second -v both:/d", "echo 2 > /d/second; sleep 1000");
    assert_eq!(podman.home.loops().len(), 1);
    podman.ok("rm -f -t 0 first");
    assert!(podman.home.is_mounted("both"), "the other one has it");
    let said = podman.ok("exec second sh -c cat</d/second");
    assert_eq!(said, "2");
    podman.ok("stop -t 0 second");
    podman.released();
    podman.ok("rm second");
    podman.ok("volume rm both");
    assert!(!podman.home.volume_dir("both").exists());
    eventually("nothing is left", PATIENCE, || podman.home.loops().is_empty());
}

#[test]
fn a_mount_of_podman_stays_though_the_command_that_made_it_has_ended() {
    if !can_run("podman") {
        return;
    }
    let podman = Podman::start();
    podman.ok("volume create --driver mobula kept");
    podman.ok("volume mount kept");
    assert!(podman.home.is_mounted("kept"));
    std::fs::write(podman.home.target("kept").join("file"), "kept").unwrap();
    // What another caller mounted that has ended is released in time.
    podman.home.create("idle", json!({}));
    let caller = Command::new("curl")
        .args(["-sS", "-d", r#"{"Name":"idle","ID":"of-the-dead"}"#, "--unix-socket"])
        .args([podman.home.plugin().to_str().unwrap(), "http://plugin/VolumeDriver.Mount"])
        .output();
    assert!(printed(&caller.unwrap()).contains("Mountpoint"));
    eventually("a sweep has passed", SWEPT, || !podman.home.is_mounted("idle"));
    assert!(podman.home.is_mounted("kept"));
    assert_eq!(podman.run("--rm -v kept:/d", "cat /d/file"), "kept");
    assert!(podman.home.is_mounted("kept"), "Podman counts its own users");
    podman.ok("volume unmount kept");
    podman.released();
    podman.ok("volume rm kept");
}
