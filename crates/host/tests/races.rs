//! Somebody exchanges directories for symbolic links while mounts are made in a tree that he may
//! write to, as a plugin can in a directory that it shares (CVE-2021-30465, CVE-2024-45310,
//! CVE-2021-25741): nothing is ever mounted, made or changed outside of the tree.
#![allow(clippy::unwrap_used, missing_docs)]

use host::linux::Linux;
use host::mount::{Inside, mount_inside};
use host::root::Root;
use host::{MountRequest, Mounts, Ownership, What, mountinfo};
use rustix::fs::{Mode, OFlags, RenameFlags, renameat_with};
use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How often each race is run.
const ROUNDS: usize = 300;

/// A tree for the attacker, and a place outside of it that he would like to reach.
struct Place {
    dir: tempfile::TempDir,
    before: Vec<(PathBuf, u32, u32, i64)>,
}

impl Place {
    /// In a mount namespace of this thread's own; `None` without the rights for one.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "CI must run as root");
            println!("skipped: needs root");
            return None;
        }
        host::sandbox::private_mounts().unwrap();
        let dir = tempfile::tempdir().unwrap();
        for made in ["root/a/b/c", "outside/b/c", "source"] {
            fs::create_dir_all(dir.path().join(made)).unwrap();
        }
        fs::write(dir.path().join("source/marker"), "x").unwrap();
        let secret = dir.path().join("outside/b/secret");
        fs::write(&secret, "x").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let mut place = Self { dir, before: Vec::new() };
        place.before = place.outside();
        Some(place)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Whatever there is outside: names, inodes' modes, owners and times.
    fn outside(&self) -> Vec<(PathBuf, u32, u32, i64)> {
        let mut found = Vec::new();
        let mut left = vec![self.path("outside")];
        while let Some(path) = left.pop() {
            let about = fs::symlink_metadata(&path).unwrap();
            if about.is_dir() {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            found.push((path, about.mode(), about.uid(), about.mtime_nsec()));
        }
        found.sort();
        found
    }

    fn assert_untouched(&self) {
        assert_eq!(self.outside(), self.before);
    }

    /// Everything that is mounted in this place, and by no means outside of `tree`.
    fn assert_mounted_only_in(&self, tree: &str) {
        for mount in mountinfo::table().unwrap() {
            let target = &mount.target;
            let is_ours = target.starts_with(self.dir.path());
            assert!(!is_ours || target.starts_with(self.path(tree)), "{}", target.display());
        }
    }

    /// Runs `round` over and over while each of these pairs is exchanged; how many went well, of
    /// how many exchanges.
    fn race(&self, pairs: &[(&str, &str)], mut round: impl FnMut(usize) -> bool) -> (usize, usize) {
        let (done, exchanges) = (AtomicBool::new(false), AtomicUsize::new(0));
        let mut good = 0;
        std::thread::scope(|scope| {
            for (one, other) in pairs {
                let (one, other) = (Entry::new(&self.path(one)), Entry::new(&self.path(other)));
                let (done, exchanges) = (&done, &exchanges);
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        let flags = RenameFlags::EXCHANGE;
                        let exchanged =
                            renameat_with(&one.dir, &one.name, &other.dir, &other.name, flags);
                        exchanges.fetch_add(usize::from(exchanged.is_ok()), Ordering::Relaxed);
                    }
                });
            }
            let rounds = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                (0..ROUNDS).filter(|number| round(*number)).count()
            }));
            done.store(true, Ordering::Relaxed);
            good = rounds.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
        (good, exchanges.into_inner())
    }
}

/// A name in a directory that stays the same one, whatever its own name is meanwhile.
struct Entry {
    dir: OwnedFd,
    name: OsString,
}

impl Entry {
    fn new(path: &Path) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path.parent().unwrap(), flags, Mode::empty()).unwrap();
        Self { dir, name: path.file_name().unwrap().to_owned() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = host::mount::unmount_below(self.dir.path(), true);
    }
}

fn bind(place: &Place, destination: &str) -> bool {
    let options = ["rbind".to_owned(), "rslave".to_owned()];
    let source = place.path("source");
    let destination = Path::new(destination);
    let inside = Inside { fstype: None, source: &source, destination, options: &options };
    mount_inside(&place.path("root"), &inside).is_ok()
}

#[test]
fn a_mount_follows_no_link_that_takes_the_place_of_a_directory_on_the_way() {
    let Some(place) = Place::new() else { return };
    symlink(place.path("outside"), place.path("root/absolute")).unwrap();
    symlink("../../../../../../../../..", place.path("root/a/climbing")).unwrap();
    let pairs = [("root/a", "root/absolute"), ("root/a/b", "root/a/climbing")];
    let (good, exchanges) = place.race(&pairs, |number| {
        // One that is there, and one that must be made.
        let name = if number % 2 == 0 { "c".to_owned() } else { format!("new{number}/c") };
        let is_mounted = bind(&place, &format!("/a/b/{name}"));
        place.assert_mounted_only_in("root");
        host::mount::unmount_below(&place.path("root"), true).unwrap();
        is_mounted
    });
    assert!(good > 0 && exchanges > ROUNDS, "{good} mounts, {exchanges} exchanges");
    place.assert_untouched();
}

#[test]
fn a_mount_follows_no_link_that_takes_the_place_of_its_mount_point() {
    let Some(place) = Place::new() else { return };
    symlink(place.path("outside/b"), place.path("root/lure")).unwrap();
    let (good, exchanges) = place.race(&[("root/a/b/c", "root/lure")], |_| {
        let is_mounted = bind(&place, "/a/b/c");
        place.assert_mounted_only_in("root");
        host::mount::unmount_below(&place.path("root"), true).unwrap();
        is_mounted
    });
    assert!(good > 0 && exchanges > 0, "{good} mounts, {exchanges} exchanges");
    place.assert_untouched();
}

#[test]
fn a_mount_point_that_becomes_a_link_once_made_changes_no_mode_elsewhere() {
    let Some(place) = Place::new() else { return };
    let lure = place.path("root/lure");
    let mut root = Root::open(&place.path("root")).unwrap();
    symlink(place.path("outside/b/secret"), &lure).unwrap();
    let (_, exchanges) = place.race(&[("root/point", "root/lure")], |_| {
        let made = (0..20).filter(|_| {
            let is_made = root.make_dirs(Path::new("point")).is_ok();
            let _ = (root.remove(Path::new("point")), root.remove(Path::new("lure")));
            let _ = symlink(place.path("outside/b/secret"), &lure);
            is_made
        });
        made.count() > 0
    });
    assert!(exchanges > 0);
    place.assert_untouched();
}

#[test]
fn a_sub_directory_of_a_volume_that_becomes_a_link_leads_nowhere_else() {
    let Some(place) = Place::new() else { return };
    symlink(place.path("outside"), place.path("root/absolute")).unwrap();
    symlink("../../outside/b", place.path("root/a/climbing")).unwrap();
    let request = MountRequest {
        what: What::Directory(place.path("root")),
        target: place.path("target"),
        options: Vec::new(),
        read_only: false,
        subpath: Some("a/b/c".into()),
        ownership: Ownership { mode: Some(0o777), ..Ownership::default() },
        drop_empty: vec!["secret".to_owned()],
    };
    let pairs = [("root/a", "root/absolute"), ("root/a/b", "root/a/climbing")];
    let (good, exchanges) = place.race(&pairs, |_| {
        let mounted = Linux::default().mount(&request);
        if let Ok(mount) = &mounted {
            assert!(!mount.root.to_string_lossy().contains("/outside/"), "{mount:?}");
            Linux::default().unmount(&request.target).unwrap();
        }
        mounted.is_ok()
    });
    assert!(good > 0 && exchanges > ROUNDS, "{good} mounts, {exchanges} exchanges");
    place.assert_untouched();
}
