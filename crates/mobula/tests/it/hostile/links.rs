//! Symbolic links in an image where a runtime mounts, masks or makes something (CVE-2026-41579,
//! CVE-2025-31133, CVE-2025-52565, CVE-2025-52881): a start is refused or stays inside, and nothing
//! outside is changed, mounted over, or shown.

use crate::engine_kills::lab::Lab;
use crate::fixture::{PATIENCE, eventually, is_root};
use crate::plugins::image::{Image, probe};
use crate::plugins::wire;
use serde_json::json;
use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

/// What a file is: name, inode, mode, owner, time, and content.
type Fact = (PathBuf, u64, u32, u32, i64, Vec<u8>);

/// A directory of the machine that no plugin has anything to do with.
struct Outside {
    dir: PathBuf,
    before: Vec<Fact>,
    mounts: BTreeSet<PathBuf>,
}

impl Outside {
    fn new(lab: &Lab) -> Self {
        let dir = lab.home.path("outside");
        for below in ["pts", "shm", "fs/cgroup", "sys", "mqueue", "self/fd"] {
            std::fs::create_dir_all(dir.join(below)).unwrap();
        }
        for name in ["canary", "null", "console", "interrupts", "firmware"] {
            std::fs::write(dir.join(name), "alive").unwrap();
        }
        let before = facts(&dir);
        Self { dir, before, mounts: mounts(lab) }
    }

    /// A way to it from a directory of an image: an absolute link, and one that climbs.
    fn ways(&self, below: &str) -> [PathBuf; 2] {
        let target = self.dir.join(below);
        let up = Path::new("../../../../../../../../../..");
        [target.clone(), up.join(target.strip_prefix("/").unwrap())]
    }

    fn assert_untouched(&self, lab: &Lab, what: &str) {
        assert_eq!(facts(&self.dir), self.before, "{what}");
        assert_eq!(mounts(lab), self.mounts, "{what}");
    }
}

fn facts(dir: &Path) -> Vec<Fact> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        let about = std::fs::symlink_metadata(&path).unwrap();
        if about.is_dir() {
            left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let content = if about.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        found.push((path, about.ino(), about.mode(), about.uid(), about.mtime_nsec(), content));
    }
    found.sort();
    found
}

/// What is mounted, but for what belongs to plugins.
fn mounts(lab: &Lab) -> BTreeSet<PathBuf> {
    let own = [lab.home.path("var/lib/mobula"), lab.home.path("run/mobula")];
    let targets = host::mountinfo::table().unwrap().into_iter().map(|mount| mount.target);
    targets.filter(|target| !own.iter().any(|own| target.starts_with(own))).collect()
}

/// Creates a plugin whose image has these links, made in this order.
fn create(lab: &Lab, image: &Image, links: &[(&str, PathBuf)]) {
    let dir = image.write(&lab.home);
    for (path, target) in links {
        let path = dir.join("rootfs").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }
    lab.ok(&["create", "probe", dir.to_str().unwrap()]);
}

/// What enabling says; empty when the plugin runs and answers.
fn enable(lab: &Lab) -> String {
    let output = lab.run(&["enable", "--timeout", "20", "probe"]);
    if output.status.success() {
        eventually("it is published", PATIENCE, || lab.published("probe").exists());
        assert_eq!(lab.call("probe", "List", &json!({})).status, 200);
        return String::new();
    }
    crate::engine_kills::lab::said(&output)
}

fn remove(lab: &Lab) {
    let ids = BTreeSet::from([lab.id("probe")]);
    lab.ok(&["rm", "--force", "probe"]);
    lab.assert_nothing_left(&ids);
}

/// What the plugin finds at a path.
fn read(lab: &Lab, path: &str) -> String {
    let run = lab.home.path("run/mobula/plugins").join(lab.id("probe"));
    let line = format!("GET /file{path}");
    wire::unix(&run.join("sockets/probe.sock"), &line, &[], &[]).unwrap().text()
}

#[test]
fn a_link_where_a_runtime_mounts_leads_no_mount_out() {
    if !is_root() {
        return;
    }
    lead_no_mount_out(&Lab::started());
}

#[test]
fn a_link_where_another_runtime_mounts_leads_no_mount_out() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    let engine = lab.engine(&["--set", "engine.runtime=/usr/sbin/runc"]);
    lab.start_as(engine);
    assert!(lab.comes_up(), "{}", lab.log());
    lead_no_mount_out(&lab);
}

fn lead_no_mount_out(lab: &Lab) {
    let outside = Outside::new(lab);
    for place in ["dev", "proc", "sys"] {
        for way in outside.ways("") {
            create(lab, &probe(), &[(place, way.clone())]);
            let said = enable(lab);
            let link = format!("/{place} of the plugin is a symbolic link");
            assert!(said.contains(&link), "{place} to {}: {said}", way.display());
            outside.assert_untouched(lab, place);
            remove(lab);
        }
    }
    let [absolute, climbing] = outside.ways("self");
    for (place, way) in [("run/docker/plugins", &absolute), ("run", &climbing), ("etc", &absolute)]
    {
        create(lab, &probe(), &[(place, way.clone())]);
        assert_eq!(enable(lab), "", "{place} to {}", way.display());
        outside.assert_untouched(lab, place);
        remove(lab);
    }
}

/// Below `/dev`, `/proc` and `/sys` all is covered by what is mounted there.
#[test]
fn links_in_place_of_devices_and_masked_files_show_nothing_of_the_machine() {
    if !is_root() {
        return;
    }
    let lab = Lab::started();
    let outside = Outside::new(&lab);
    let places = [
        ("dev/null", "null"),
        ("dev/console", "console"),
        ("dev/ptmx", "canary"),
        ("dev/pts", "pts"),
        ("dev/shm", "shm"),
        ("dev/mqueue", "mqueue"),
        ("proc/interrupts", "interrupts"),
        ("proc/sys", "sys"),
        ("proc/self", "self"),
        ("sys/firmware", "firmware"),
        ("sys/fs", "fs"),
        ("etc/hosts", "canary"),
        ("etc/resolv.conf", "resolv"),
        ("etc/hostname", "hostname"),
        ("etc/mtab", "canary"),
        (".dockerenv", "canary"),
    ];
    for index in [0, 1] {
        let links = places.map(|(place, below)| (place, outside.ways(below)[index].clone()));
        let image = probe().with("network", json!({ "type": "host" }));
        create(&lab, &image, &links);
        assert_eq!(enable(&lab), "");
        outside.assert_untouched(&lab, "while it runs");
        // The machine's file, at the place inside that the link leads to.
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap();
        assert_eq!(read(&lab, "/etc/hosts"), hosts.trim_end());
        let pid = i32::try_from(lab.describe("probe")["pid"].as_u64().unwrap()).unwrap();
        let table = host::mountinfo::table_of(pid).unwrap();
        let at = |target: &str| table.iter().rfind(|mount| mount.target == Path::new(target));
        assert!(at("/proc/interrupts").is_some_and(|mount| mount.root == Path::new("/null")));
        assert!(at("/proc/sys").is_some_and(|mount| mount.fstype == "proc"));
        for path in ["/dev/null", "/proc/interrupts", "/sys/firmware", "/.dockerenv"] {
            assert!(!read(&lab, path).contains("alive"), "{path}");
        }
        remove(&lab);
        outside.assert_untouched(&lab, "afterwards");
    }
}

/// A directory that the plugin's user gives it as `/dev`: its null is a link to what masks would
/// show in place of nothing.
#[test]
fn a_null_device_that_is_a_link_masks_nothing() {
    if !is_root() {
        return;
    }
    let lab = Lab::started();
    let devices = lab.home.path("devices");
    std::fs::create_dir(&devices).unwrap();
    let outside = Outside::new(&lab);
    let bind = |name: &str, source: &Path, destination: &str| {
        json!({ "name": name, "description": "", "settable": null, "type": "bind", "source": source,
                "destination": destination, "options": ["rbind", "rw"] })
    };
    for target in ["/outside/null", "/proc/version", "/outside"] {
        let _ = std::fs::remove_file(devices.join("null"));
        symlink(target, devices.join("null")).unwrap();
        let mounts =
            json!([bind("devices", &devices, "/dev"), bind("outside", &outside.dir, "/outside"),]);
        create(&lab, &probe().with("mounts", mounts), &[]);
        let said = enable(&lab);
        assert!(said.contains("device"), "{target}: {said}");
        outside.assert_untouched(&lab, target);
        remove(&lab);
    }
}
