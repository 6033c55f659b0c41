//! Podman with plugins that `mobula engine` runs, told of them by `mobula plugin publish podman`:
//! its own eight cases (`test/e2e/volume_plugin_test.go`), and what it makes of answers.

use super::bed::{Bed, Kind, said};
use super::on_ours;
use crate::engine::fixture::{archive, can_run, ok};
use serde_json::{Value, json};
use std::borrow::Borrow;
use std::path::Path;
use std::process::{Command, Stdio};

on_ours!(
    containers_of_podman_share_a_volume_of_a_plugin,
    podman_creates_inspects_and_removes_volumes,
    podman_fails_without_the_plugin_and_forgets_the_volume,
    podman_takes_over_what_others_created_and_removed,
    podman_waits_as_long_as_it_was_told_to,
    what_is_written_for_podman_follows_the_plugins,
);

/// Limits are those that also a test without CAP_SYS_RESOURCE may set.
const BASE: &str = "[containers]\nnetns = \"none\"\nlog_driver = \"k8s-file\"\n\
    default_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]\n\
    [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"runc\"\n";
/// Where drop-ins are.
const DROP_INS: &str = "etc/containers/containers.conf.d";

/// Podman beside `mobula engine`.
pub struct Podman<B = Bed> {
    pub bed: B,
}

impl Podman {
    /// With plugin `probe`; `None`: there is no Podman.
    fn start(kind: Kind) -> Option<Self> {
        let podman = can_run("podman").then(|| Self::beside(Bed::start(kind)))?;
        podman.bed.probe("probe");
        podman.publish();
        Some(podman)
    }
}

impl<B: Borrow<Bed>> Podman<B> {
    /// Beside this engine, told of nothing yet.
    pub fn beside(bed: B) -> Self {
        // Podman reads its configuration at its usual places; they are this test's own.
        let (theirs, ours) = (Path::new("/").join(DROP_INS), bed.borrow().home.path(DROP_INS));
        std::fs::write("/etc/containers/containers.conf", BASE).unwrap();
        for dir in [&theirs, &ours] {
            std::fs::create_dir_all(dir).unwrap();
        }
        ok(Command::new("mount").arg("--bind").arg(&ours).arg(&theirs));
        Self { bed }
    }

    /// Tells Podman of the plugins; what changed.
    pub fn publish(&self) -> String {
        self.bed.borrow().home.ok(&["plugin", "publish", "podman"])
    }

    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new("podman");
        for (option, below) in [("--root", "root"), ("--runroot", "runroot"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.bed.borrow().home.path(below));
        }
        command.env("HOME", self.bed.borrow().home.dir()).env_remove("XDG_CONFIG_HOME");
        command.env_remove("CONTAINERS_CONF").env_remove("CONTAINER_HOST").stdin(Stdio::null());
        command.args(words.split_whitespace());
        command
    }

    pub fn ok(&self, words: &str) -> String {
        ok(&mut self.command(words))
    }

    /// Podman with these words, which must fail; what it said.
    fn fails(&self, words: &str) -> String {
        let output = self.command(words).output().unwrap();
        assert!(!output.status.success(), "podman {words} succeeds: {output:?}");
        said(&output)
    }

    fn inspect(&self, volume: &str) -> Value {
        let shown: Value =
            serde_json::from_str(&self.ok(&format!("volume inspect {volume}"))).unwrap();
        shown[0].clone()
    }
}

fn containers_of_podman_share_a_volume_of_a_plugin(kind: Kind) {
    let Some(podman) = Podman::start(kind) else { return };
    let archive = archive(&podman.bed.home);
    podman.ok(&format!("import {} box", archive.display()));
    podman.ok("volume create --driver probe -o fs=tmpfs v");
    let group = podman.bed.machine.cgroup().to_owned();
    let run = format!("run --cgroup-parent /{group} -v v:/d");
    podman.ok(&format!("{run} -d --name first box sleep 1000"));
    ok(podman.command("exec first sh -c").arg("echo kept > /d/file"));
    podman.ok(&format!("{run} -d --name second box sleep 1000"));
    assert_eq!(podman.ok("exec second cat /d/file"), "kept");
    let host = podman.bed.propagated("probe").join("mounts/v");
    assert_eq!(std::fs::read_to_string(host.join("file")).unwrap(), "kept\n");
    podman.ok("rm -f -t 0 first");
    assert_eq!(podman.ok("exec second cat /d/file"), "kept");
    assert!(podman.bed.fails("plugin disable probe").contains("in use"));
    podman.ok("rm -f -t 0 second");
    assert!(host::mountinfo::at(&host).unwrap().is_none());
    podman.ok("volume rm v");
    assert!(!podman.bed.propagated("probe").join("volumes/v").exists());
}

fn podman_creates_inspects_and_removes_volumes(kind: Kind) {
    let Some(podman) = Podman::start(kind) else { return };
    podman.ok("volume create --driver probe -o fs=tmpfs v");
    assert_eq!(podman.ok("volume ls --format {{.Driver}}/{{.Name}}"), "probe/v");
    let shown = podman.inspect("v");
    assert_eq!((&shown["Driver"], &shown["Status"]["fs"]), (&json!("probe"), &json!("tmpfs")));
    // Podman takes an answer of status 200 for a success, whatever it says (fact 2).
    let said = podman.fails("volume create --driver probe bad-create-err");
    assert!(said.contains("bad on demand"), "{said}");
    podman.ok("volume rm v");
    assert_eq!(podman.ok("volume ls -q"), "");
    assert_eq!(podman.bed.ok("volume ls -q"), "");
}

fn podman_fails_without_the_plugin_and_forgets_the_volume(kind: Kind) {
    let Some(podman) = Podman::start(kind) else { return };
    podman.fails("volume create --driver never-heard-of v");
    podman.ok("volume create --driver probe v");
    podman.bed.ok("plugin disable probe");
    // The drop-in still names it.
    podman.fails("volume create --driver probe w");
    let said = podman.fails("volume rm v");
    assert!(said.contains("probe"), "{said}");
    assert_eq!(podman.ok("volume ls -q"), "", "it is forgotten all the same");
    // The plugin has it, and Podman finds it again.
    podman.bed.ok("plugin enable probe");
    podman.ok("volume reload");
    assert_eq!(podman.ok("volume ls -q"), "v");
}

fn podman_takes_over_what_others_created_and_removed(kind: Kind) {
    let Some(podman) = Podman::start(kind) else { return };
    podman.ok("volume create their-own");
    podman.ok("volume create --driver probe removed");
    podman.bed.ok("volume create -d probe found");
    podman.bed.ok("volume rm removed");
    assert_eq!(podman.ok("volume reload"), "Added:\nfound\nRemoved:\nremoved");
    assert_eq!(podman.ok("volume ls -q"), "found\ntheir-own");
}

fn podman_waits_as_long_as_it_was_told_to(kind: Kind) {
    let Some(podman) = Podman::start(kind) else { return };
    podman.ok("volume create --driver probe long");
    assert_eq!(podman.inspect("long")["Timeout"], 120);
    podman.ok("volume create --driver probe -o o=timeout=3 short");
    assert_eq!(podman.inspect("short")["Timeout"], 3);
    // By itself it gives up after 5 seconds.
    podman.ok("volume create --driver probe bad-create-sleep7");
    assert!(podman.ok("volume ls -q").contains("bad-create-sleep7"));
    podman.fails("volume create --driver probe -o o=timeout=1 bad-create-sleep4");
}

fn what_is_written_for_podman_follows_the_plugins(kind: Kind) {
    let Some(podman) = Podman::start(kind) else { return };
    let file = podman.bed.home.path(DROP_INS).join("mobula.conf");
    assert_eq!(podman.publish(), format!("{} is up to date", file.display()));
    podman.fails("volume create --driver me/other:v2 v");
    podman.bed.probe("me/other:v2");
    let socket = podman.bed.published("me/other:v2");
    let line = format!("\"me/other:v2\" = \"{}\"", socket.display());
    assert_eq!(podman.publish(), format!("+ {line}\n{} written", file.display()));
    podman.ok("volume create --driver me/other:v2 v");
    podman.ok("volume rm v");
    podman.bed.ok("plugin disable me/other:v2");
    assert_eq!(podman.publish(), format!("- {line}\n{} written", file.display()));
    podman.fails("volume create --driver me/other:v2 v");
    // What somebody else wrote there stays.
    std::fs::write(&file, "# mine\n").unwrap();
    let (_, said) = podman.bed.home.fails(&["plugin", "publish", "podman"]);
    assert!(said.contains("not written by mobula"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "# mine\n");
}
