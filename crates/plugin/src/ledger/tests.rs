//! The ledger on disk, in memory, and against this machine's mount tables.

use super::*;
use host::linux::Linux;
use host::{MountRequest, Mounts, Ownership, What};
use testkit::root::is_root;

fn holder(volume: &str, id: &str) -> Holder {
    let (volume, id) = (volume.to_owned(), id.to_owned());
    let mountpoint = PathBuf::from("/nowhere").join(&volume);
    Holder { volume, id, mountpoint, since: Timestamp::UNIX_EPOCH, caller: None }
}

fn dead() -> Option<Identity> {
    Some(Identity { pid: i32::MAX, start_time: 1 })
}

fn open(dir: &Path) -> Ledger {
    Ledger::open(dir).unwrap()
}

fn ids(ledger: &Ledger, plugin: &PluginId) -> Vec<String> {
    ledger.holders(plugin).unwrap().into_iter().map(|holder| holder.id).collect()
}

#[test]
fn holders_survive_the_program_and_are_kept_by_plugin() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (PluginId::random(), PluginId::random());
    let ledger = open(dir.path());
    for (plugin, id) in [(&one, "1"), (&one, "1"), (&one, "2"), (&other, "3")] {
        ledger.add(plugin, holder("v", id)).unwrap();
    }
    let ledger = open(dir.path());
    assert_eq!(ids(&ledger, &one), ["1", "2"], "the same volume and ID is one mount");
    assert_eq!(ids(&ledger, &other), ["3"]);
    assert!(ledger.remove(&one, "v", "1").unwrap());
    assert!(!ledger.remove(&one, "v", "1").unwrap());
    ledger.clear(&other).unwrap();
    let ledger = open(dir.path());
    assert_eq!(ids(&ledger, &one), ["2"]);
    assert!(ids(&ledger, &other).is_empty());
}

#[test]
fn a_volumes_users_are_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, plugin) = (open(dir.path()), PluginId::random());
    for (volume, id) in [("a", "1"), ("b", "2"), ("b", "3")] {
        ledger.add(&plugin, holder(volume, id)).unwrap();
    }
    let users = ledger.users(&plugin, "b").unwrap();
    assert_eq!(users, [holder("b", "2"), holder("b", "3")]);
    ledger.remove_volume(&plugin, "b").unwrap();
    assert_eq!(ids(&ledger, &plugin), ["1"]);
    assert!(ledger.users(&PluginId::random(), "b").unwrap().is_empty());
}

#[test]
fn entries_of_another_boot_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = PluginId::random();
    let old = Ledger::open_in(dir.path(), "an earlier boot".to_owned()).unwrap();
    old.add(&plugin, holder("v", "1")).unwrap();
    assert!(ids(&open(dir.path()), &plugin).is_empty());
    assert!(record::list(dir.path()).unwrap().is_empty());
}

#[test]
fn a_damaged_or_newer_file_is_set_aside_and_the_others_count() {
    for text in ["{\"boot\": \"bo", "", "{\"version\": 2}", "[]"] {
        let dir = tempfile::tempdir().unwrap();
        let (good, bad) = (PluginId::random(), PluginId::random());
        open(dir.path()).add(&good, holder("v", "1")).unwrap();
        std::fs::write(dir.path().join(format!("{bad}.json")), text).unwrap();
        let ledger = open(dir.path());
        assert_eq!(ids(&ledger, &good), ["1"]);
        assert!(ids(&ledger, &bad).is_empty());
        let kept = std::fs::read_to_string(dir.path().join(format!("{bad}.json.unusable")));
        assert_eq!(kept.unwrap(), text, "set aside, not lost");
        ledger.add(&bad, holder("w", "2")).unwrap();
        assert_eq!(ids(&open(dir.path()), &bad), ["2"]);
    }
}

#[test]
fn a_mount_that_cannot_be_written_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, plugin) = (open(&dir.path().join("gone")), PluginId::random());
    std::fs::remove_dir(dir.path().join("gone")).unwrap();
    assert!(ledger.add(&plugin, holder("v", "1")).is_err());
    assert!(ids(&ledger, &plugin).is_empty());
}

#[test]
fn the_claim_of_a_dead_caller_lapses_unless_it_is_young_or_podmans() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, plugin) = (open(dir.path()), PluginId::random());
    let own = Identity::own().unwrap();
    let young = Timestamp::now();
    for entry in [
        Holder { caller: dead(), ..holder("v", "dead") },
        Holder { caller: dead(), since: young, ..holder("v", "young") },
        Holder { caller: dead(), ..holder("v", PODMAN_ID) },
        Holder { caller: Some(own), ..holder("v", "alive") },
        holder("v", "unknown"),
    ] {
        ledger.add(&plugin, entry).unwrap();
    }
    let expected = ["young", PODMAN_ID, "alive", "unknown"];
    assert_eq!(ids(&ledger, &plugin), expected);
    assert!(!ledger.knows(&plugin, "v", "dead"), "and is forgotten");
}

#[test]
fn an_id_that_comes_back_from_another_process_is_that_processs() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, plugin) = (open(dir.path()), PluginId::random());
    let own = Some(Identity::own().unwrap());
    ledger.add(&plugin, Holder { caller: dead(), ..holder("v", "1") }).unwrap();
    ledger.add(&plugin, Holder { caller: own, ..holder("v", "1") }).unwrap();
    ledger.add(&plugin, holder("v", "1")).unwrap();
    assert_eq!(ledger.holders(&plugin).unwrap(), [Holder { caller: own, ..holder("v", "1") }]);
}

fn bind(from: &Path, to: &Path) {
    let request = MountRequest {
        what: What::Directory(from.to_owned()),
        target: to.to_owned(),
        options: Vec::new(),
        read_only: false,
        subpath: None,
        ownership: Ownership::default(),
        drop_empty: Vec::new(),
    };
    Linux::default().mount(&request).unwrap();
}

fn unmount(target: &Path) {
    Linux::default().unmount(target).unwrap();
}

/// A bind mount elsewhere stands for the container that uses the volume.
#[test]
fn the_claim_of_a_dead_caller_stands_while_somebody_uses_the_volume() {
    if !is_root() {
        return;
    }
    let work = std::thread::spawn(|| {
        host::sandbox::private_mounts().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let (volume, container) = (dir.join("prop/v"), dir.join("container"));
        std::fs::create_dir_all(&volume).unwrap();
        std::fs::create_dir(&container).unwrap();
        let (ledger, plugin) = (open(&dir.join("ledger")), PluginId::random());
        let entry = Holder { caller: dead(), mountpoint: volume.clone(), ..holder("v", "1") };
        bind(&volume, &container);
        ledger.add(&plugin, entry).unwrap();
        assert_eq!(ids(&ledger, &plugin), ["1"]);
        unmount(&container);
        assert!(ids(&ledger, &plugin).is_empty());
    });
    work.join().unwrap();
}

#[test]
fn mounts_in_use_are_found_again_without_a_ledger() {
    if !is_root() {
        return;
    }
    let work = std::thread::spawn(|| {
        host::sandbox::private_mounts().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        for directory in ["data/used", "data/idle", "prop/a/used", "prop/idle", "container"] {
            std::fs::create_dir_all(dir.join(directory)).unwrap();
        }
        bind(&dir.join("data/used"), &dir.join("prop/a/used"));
        bind(&dir.join("data/idle"), &dir.join("prop/idle"));
        bind(&dir.join("prop/a/used"), &dir.join("container"));
        let (ledger, plugin) = (open(&dir.join("ledger")), PluginId::random());
        ledger.rediscover(&plugin, &dir.join("prop")).unwrap();
        let found = ledger.holders(&plugin).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].volume.as_str(), found[0].id.as_str()), ("a/used", FOUND));
        for place in ["container", "prop/idle", "prop/a/used"] {
            unmount(&dir.join(place));
        }
    });
    work.join().unwrap();
}

fn run(program: &str, args: &[&str]) {
    let deadline = std::time::Duration::from_secs(60);
    host::command::run_ok(program, args, deadline).unwrap();
}

/// Calls `check` with a volume's mount point and a process that has the volume elsewhere too, in a
/// mount namespace of its own.
fn with_another_process(check: impl FnOnce(&Path, &Path, i32) + Send + 'static) {
    let work = std::thread::spawn(|| {
        host::sandbox::private_mounts().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        for directory in ["prop/v", "inside"] {
            std::fs::create_dir_all(dir.join(directory)).unwrap();
        }
        let text = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let (ready, end) = (text("ready"), text("end"));
        run("mkfifo", &[&ready, &end]);
        let script = format!(
            "mount --bind {} {} && echo $$ > {ready} && cat {end}",
            text("prop/v"),
            text("inside")
        );
        let other = std::thread::spawn(move || run("unshare", &["-m", "sh", "-c", &script]));
        let pid = std::fs::read_to_string(dir.join("ready")).unwrap().trim().parse().unwrap();
        check(&dir, &dir.join("prop/v"), pid);
        std::fs::write(dir.join("end"), "").unwrap();
        other.join().unwrap();
    });
    work.join().unwrap();
}

#[test]
fn another_mount_namespace_is_a_user_unless_it_is_the_plugins_own() {
    if !is_root() {
        return;
    }
    with_another_process(|dir, mountpoint, pid| {
        let (ledger, plugin) = (open(&dir.join("ledger")), PluginId::random());
        let mountpoint = mountpoint.to_owned();
        ledger.add(&plugin, Holder { caller: dead(), mountpoint, ..holder("v", "1") }).unwrap();
        assert_eq!(ids(&ledger, &plugin), ["1"], "somebody's container");
        ledger.runs_as(&plugin, pid).unwrap();
        let ledger = open(&dir.join("ledger"));
        assert!(ids(&ledger, &plugin).is_empty(), "the plugin itself is no user");
    });
}
