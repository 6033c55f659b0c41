//! Specs, run by runc: what a plugin finds when it is started.

use super::{Confinement, Input, build, devices};
use crate::config::Config;
use crate::id::PluginId;
use crate::settings::{Overrides, Settings};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

/// A machine with one plugin, whose program is busybox's shell.
struct Machine {
    dir: TempDir,
}

impl Machine {
    /// In a mount namespace of this thread, so that what a test leaves mounted ends with it.
    fn new() -> Self {
        host::sandbox::private_mounts().unwrap();
        let dir = tempfile::Builder::new().prefix("mobula-spec-").tempdir().unwrap();
        let machine = Self { dir };
        machine.bind_to_itself("", "--make-private");
        for directory in ["rootfs/bin", "sockets", "propagated", "source/sub"] {
            fs::create_dir_all(machine.path(directory)).unwrap();
        }
        fs::copy("/bin/busybox", machine.path("rootfs/bin/busybox")).unwrap();
        machine.bind_to_itself("propagated", "--make-shared");
        machine.bind_to_itself("source", "--make-shared");
        machine
    }

    fn bind_to_itself(&self, below: &str, propagation: &str) {
        let path = self.path(below).display().to_string();
        self.host("mount", &["--bind", &path, &path]);
        self.host("mount", &[propagation, &path]);
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn host(&self, program: &str, args: &[&str]) -> String {
        host::command::run_ok(program, args, DEADLINE).unwrap().stdout
    }

    /// What `script` says as the plugin's program.
    fn run(&self, entries: &str, confinement: &Confinement, script: &str) -> String {
        let json = format!(
            r#"{{"interface":{{"socket":"s"}},"entrypoint":["/bin/busybox","sh","-c"],{entries},
                "args":{{"name":"args","settable":["value"],"value":[{}]}}}}"#,
            serde_json::Value::from(script)
        );
        let config = Config::decode(json.as_bytes()).unwrap();
        config.check().unwrap();
        let settings = Settings::effective(&config, &Overrides::default(), None).unwrap();
        let id = PluginId::random();
        let spec = build(&Input {
            id: &id,
            config: &config,
            settings: &settings,
            devices: &devices(&settings).unwrap(),
            rootfs: &self.path("rootfs"),
            passwd: "",
            sockets: &self.path("sockets"),
            propagated: &self.path("propagated"),
            hosts: &[PathBuf::from("/etc/hosts")],
            confinement,
        })
        .unwrap();
        let bundle = self.path("bundle");
        fs::create_dir_all(&bundle).unwrap();
        fs::write(bundle.join("config.json"), serde_json::to_vec(&spec).unwrap()).unwrap();
        let (root, bundle) = (self.path("runc"), bundle.display().to_string());
        let root = root.display().to_string();
        self.host("runc", &["--root", &root, "run", "--bundle", &bundle, id.as_str()])
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let root = self.dir.path().display().to_string();
        let _ = host::command::run_ok("umount", &["--recursive", "--lazy", &root], DEADLINE);
    }
}

/// The value of `key` in a file like /proc/self/status.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line[key.len()..].trim_start_matches(':').trim()
}

#[test]
fn a_plugin_finds_its_mounts_devices_and_limits_and_its_mounts_are_seen_outside() {
    if !testkit::root::is_root() {
        return;
    }
    let machine = Machine::new();
    let confinement = Confinement { memory: Some(64 << 20), ..Confinement::default() };
    let entries = format!(
        r#""linux":{{"capabilities":["CAP_SYS_ADMIN"],"devices":[{{"path":"/dev/fuse"}}]}},
           "propagatedMount":"/mnt/vols","workdir":"/tmp","network":{{"type":"none"}},
           "mounts":[{{"source":{},"destination":"/given","type":"bind","options":["rbind"]}},
                     {{"destination":"/tmp","type":"tmpfs","options":["size=1m"]}}]"#,
        serde_json::Value::from(machine.path("source").display().to_string())
    );
    let said = machine.run(
        &entries,
        &confinement,
        "export PATH=/bin; b=/bin/busybox; $b mkdir /mnt/vols/v && \
         $b mount -t tmpfs from-plugin /mnt/vols/v && $b mount -t tmpfs inner /given/sub; \
         echo cwd: $($b pwd); echo home: $HOME; $b touch /run/docker/plugins/s; \
         echo devices: $($b cat /sys/fs/cgroup/devices/devices.list); \
         echo memory: $($b cat /sys/fs/cgroup/memory/memory.limit_in_bytes); \
         echo pids: $($b cat /sys/fs/cgroup/pids/pids.max); \
         echo fuse: $($b stat -c %t:%T /dev/fuse); \
         echo cgroup: $($b cat /proc/self/cgroup); \
         echo links: $($b ls /sys/class/net); \
         $b head -c 1 /dev/zero > /dev/null && echo zero: fine; \
         $b cat /proc/self/status",
    );
    assert_eq!((value(&said, "cwd"), value(&said, "home")), ("/tmp", "/"));
    assert_eq!((value(&said, "memory"), value(&said, "pids")), ("67108864", "4096"));
    assert_eq!((value(&said, "fuse"), value(&said, "links")), ("a:e5", "lo"));
    assert_eq!(value(&said, "zero"), "fine");
    let devices = value(&said, "devices");
    assert!(devices.contains("c 10:229 rwm") && !devices.contains("a *:*"), "{devices}");
    // The usual fourteen and SYS_ADMIN.
    assert_eq!(value(&said, "CapEff"), "00000000a82425fb");
    assert_eq!(value(&said, "CapInh"), "00000000a82425fb");
    assert_eq!(value(&said, "CapAmb"), "0000000000000000");
    assert_eq!((value(&said, "NoNewPrivs"), value(&said, "Seccomp")), ("1", "2"));
    assert!(machine.path("sockets/s").exists());
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert!(table.contains("from-plugin") && !table.contains("inner"), "{table}");
    assert_eq!(fs::read_dir(machine.path("source/sub")).unwrap().count(), 0);
}

#[test]
fn another_user_has_just_the_capabilities_that_are_asked_for() {
    if !testkit::root::is_root() {
        return;
    }
    let machine = Machine::new();
    let entries = r#""user":{"uid":1234,"gid":2345},"linux":{"capabilities":["net_admin"]}"#;
    let script = "/bin/busybox cat /proc/self/status; echo home: $HOME";
    let said = machine.run(entries, &Confinement::default(), script);
    assert_eq!(value(&said, "Uid").split('\t').next(), Some("1234"));
    assert_eq!(value(&said, "Gid").split('\t').next(), Some("2345"));
    assert_eq!((value(&said, "CapEff"), value(&said, "Groups")), ("0000000000001000", ""));
    let bare = Confinement { user: false, ..Confinement::default() };
    let said = machine.run(entries, &bare, script);
    assert_eq!(value(&said, "Uid").split('\t').next(), Some("0"));
}

#[test]
fn the_filter_keeps_a_plugin_from_what_its_capabilities_do_not_allow() {
    if !testkit::root::is_root() {
        return;
    }
    let machine = Machine::new();
    let script = "/bin/busybox unshare -U /bin/busybox true && echo users: made; \
                  (/bin/busybox true) && echo fork: fine; echo done: yes";
    let with = machine.run(r#""workdir":"/""#, &Confinement::default(), script);
    assert!(!with.contains("users: made") && with.contains("fork: fine"), "{with}");
    let bare = Confinement { seccomp: false, ..Confinement::default() };
    let without = machine.run(r#""workdir":"/""#, &bare, script);
    assert!(without.contains("users: made"), "{without}");
}

#[test]
fn the_machines_devices_may_be_bound_over_the_plugins_own() {
    if !testkit::root::is_root() {
        return;
    }
    let machine = Machine::new();
    let entries = r#""linux":{"devices":[{"path":"/dev/fuse"}]},"mounts":[
        {"source":"/","destination":"/host","type":"bind","options":["rbind","ro"]},
        {"source":"/dev","destination":"/dev","type":"bind","options":["rbind"]}]"#;
    let script = "/bin/busybox test -d /host/usr && echo host: seen; \
                  /bin/busybox stat -c '%t:%T' /dev/fuse";
    let said = machine.run(entries, &Confinement::default(), script);
    assert_eq!(said, "host: seen\na:e5\n");
    assert!(Path::new("/dev/ptmx").exists());
}
