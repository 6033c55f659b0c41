//! SIGKILL at every numbered point of every operation, then the same operation again: it converges,
//! with one mount at most, no leaked loop device and no lost volume.

use crate::fixture::{Home, is_root};
use std::os::unix::process::ExitStatusExt;

/// More points than any operation passes; reaching it means the loop does not end.
const TOO_MANY: u32 = 200;

/// Kills `operation` at its first point, its second, and so on, each time in a state that `prepare`
/// made and with `settle` afterwards, until it is no longer killed. Answers how often it was.
pub fn kill_everywhere(
    home: &Home,
    operation: &[&str],
    prepare: impl Fn(&Home),
    settle: impl Fn(&Home),
) -> u32 {
    for point in 1..TOO_MANY {
        prepare(home);
        let killed = home
            .command(operation)
            .env("MOBULA_KILL_AT", point.to_string())
            .env("MOBULA_KILL_LOG", home.path("points.log"))
            .output()
            .unwrap();
        if killed.status.signal() != Some(9) {
            assert!(killed.status.success(), "{operation:?} at {point}: {killed:?}");
            settle(home);
            return point - 1;
        }
        // The user tries again, and it simply works.
        let mut again = operation.to_vec();
        let is_repeatable =
            matches!(operation[1], "mount" | "unmount" | "attach" | "detach" | "rm");
        let is_said = operation.contains(&"--idempotent");
        if (is_repeatable || operation[0] == "snapshot") && !is_said {
            again.push("--idempotent");
        }
        let output = home.run(&again);
        assert!(
            output.status.success(),
            "{again:?} after a kill at {point}: {output:?}\n{}",
            points(home)
        );
        assert!(home.mounts().len() <= 2, "{:?}", home.mounts());
        settle(home);
        home.assert_clean();
        let left = leftovers(home);
        assert!(left.is_empty(), "after a kill at {point}: {left:?}\n{}", points(home));
    }
    panic!("{operation:?} passes more than {TOO_MANY} points");
}

fn points(home: &Home) -> String {
    std::fs::read_to_string(home.path("points.log")).unwrap_or_default()
}

/// Half-made and half-removed things in the state directory.
fn leftovers(home: &Home) -> Vec<String> {
    let mut left = Vec::new();
    for dir in ["var/lib/mobula/volumes/mobula", "var/lib/mobula/volumes/mobula/.snapshots"] {
        let Ok(entries) = std::fs::read_dir(home.path(dir)) else { continue };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        left.extend(names.filter(|name| name.starts_with(".new") || name.starts_with(".gone")));
    }
    left
}

fn home() -> Home {
    Home::with("services: {mobula: {driver: loop, volume: {size: 16MiB}}}\n")
}

fn volume(home: &Home) {
    home.ok(&["volume", "create", "a"]);
}

fn remove(home: &Home) {
    home.ok(&["volume", "rm", "a", "--idempotent"]);
}

#[test]
fn create_killed_anywhere_ends_with_one_volume() {
    if !is_root() {
        return;
    }
    let home = home();
    let kills = kill_everywhere(
        &home,
        &["volume", "create", "a"],
        |_| {},
        |home| {
            assert_eq!(home.ok(&["volume", "ls", "-q"]), "a");
            remove(home);
        },
    );
    assert!(kills >= 8, "{kills}\n{}", points(&home));
}

#[test]
fn import_killed_anywhere_ends_with_the_volume_and_its_data() {
    if !is_root() {
        return;
    }
    let home = home();
    let (image, tree) = (home.path("old.img"), home.path("tree"));
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("kept"), "data").unwrap();
    let mut mkfs = std::process::Command::new("mkfs.ext4");
    mkfs.args(["-q", "-F", "-d"]).args([&tree, &image]).arg("16M");
    assert!(mkfs.output().unwrap().status.success());
    let before = std::fs::read(&image).unwrap();
    let kills = kill_everywhere(
        &home,
        &["volume", "import", "a", "--from", image.to_str().unwrap()],
        |_| {},
        |home| {
            home.ok(&["volume", "mount", "a"]);
            assert_eq!(std::fs::read_to_string(home.target("a").join("kept")).unwrap(), "data");
            home.ok(&["volume", "unmount", "a"]);
            remove(home);
            assert!(std::fs::read(&image).unwrap() == before, "the original is only read");
        },
    );
    assert!(kills >= 4, "{kills}\n{}", points(&home));
}

#[test]
fn mount_killed_anywhere_ends_with_one_mount() {
    if !is_root() {
        return;
    }
    let home = home();
    let kills = kill_everywhere(&home, &["volume", "mount", "a"], volume, |home| {
        assert!(home.is_mounted("a"));
        std::fs::write(home.target("a").join("file"), "x").unwrap();
        home.ok(&["volume", "unmount", "a"]);
        remove(home);
    });
    assert!(kills >= 4, "{kills}\n{}", points(&home));
}

#[test]
fn unmount_killed_anywhere_ends_unmounted_and_detached() {
    if !is_root() {
        return;
    }
    let home = home();
    let mounted = |home: &Home| {
        volume(home);
        home.ok(&["volume", "mount", "a"]);
    };
    let kills = kill_everywhere(&home, &["volume", "unmount", "a"], mounted, |home| {
        home.assert_clean();
        remove(home);
    });
    assert!(kills >= 3, "{kills}\n{}", points(&home));
}

#[test]
fn attach_and_detach_killed_anywhere_can_be_undone() {
    if !is_root() {
        return;
    }
    let home = home();
    let undo = |home: &Home| {
        assert_eq!(home.loops().len(), 1, "one loop device, never two");
        home.ok(&["volume", "detach", "a", "--idempotent"]);
        remove(home);
    };
    assert!(kill_everywhere(&home, &["volume", "attach", "a"], volume, undo) >= 2);
    let attached = |home: &Home| {
        volume(home);
        home.ok(&["volume", "attach", "a"]);
    };
    assert!(kill_everywhere(&home, &["volume", "detach", "a"], attached, remove) >= 2);
}

#[test]
fn remove_killed_anywhere_ends_without_the_volume() {
    if !is_root() {
        return;
    }
    let home = home();
    let kills = kill_everywhere(&home, &["volume", "rm", "a"], volume, |home| {
        assert_eq!(home.ok(&["volume", "ls", "-q"]), "");
    });
    assert!(kills >= 2, "{kills}\n{}", points(&home));
}

#[test]
fn expand_killed_anywhere_ends_with_the_new_size_and_the_data() {
    if !is_root() {
        return;
    }
    let home = home();
    let with_data = |home: &Home| {
        volume(home);
        home.ok(&["volume", "mount", "a"]);
        std::fs::write(home.target("a").join("kept"), "data").unwrap();
        home.ok(&["volume", "unmount", "a"]);
    };
    let kills = kill_everywhere(&home, &["volume", "expand", "a", "48MiB"], with_data, |home| {
        home.ok(&["volume", "mount", "a"]);
        assert_eq!(std::fs::read_to_string(home.target("a").join("kept")).unwrap(), "data");
        let big = std::fs::write(home.target("a").join("big"), vec![1; 30 << 20]);
        assert!(big.is_ok(), "the file system has the new size: {big:?}");
        home.ok(&["volume", "unmount", "a"]);
        remove(home);
    });
    assert!(kills >= 2, "{kills}\n{}", points(&home));
}

#[test]
fn the_mount_that_completes_an_expansion_can_be_killed_anywhere() {
    if !is_root() {
        return;
    }
    let home = home();
    let expanded = |home: &Home| {
        volume(home);
        home.ok(&["volume", "expand", "a", "48MiB"]);
    };
    let kills = kill_everywhere(&home, &["volume", "mount", "a"], expanded, |home| {
        let big = std::fs::write(home.target("a").join("big"), vec![1; 30 << 20]);
        assert!(big.is_ok(), "{big:?}");
        home.ok(&["volume", "unmount", "a"]);
        remove(home);
    });
    assert!(kills >= 6, "{kills}\n{}", points(&home));
}

#[test]
fn a_snapshot_killed_anywhere_leaves_the_volume_writable() {
    if !is_root() {
        return;
    }
    let home = home();
    let mounted = |home: &Home| {
        volume(home);
        home.ok(&["volume", "mount", "a"]);
        std::fs::write(home.target("a").join("kept"), "data").unwrap();
    };
    let kills = kill_everywhere(
        &home,
        &["snapshot", "create", "--idempotent", "a", "s"],
        mounted,
        |home| {
            std::fs::write(home.target("a").join("later"), "not frozen").unwrap();
            home.ok(&["volume", "unmount", "a"]);
            remove(home);
            home.ok(&["snapshot", "restore", "s", "a"]);
            home.ok(&["volume", "mount", "a"]);
            assert_eq!(std::fs::read_to_string(home.target("a").join("kept")).unwrap(), "data");
            home.ok(&["volume", "unmount", "a"]);
            home.ok(&["snapshot", "rm", "s"]);
            remove(home);
        },
    );
    assert!(kills >= 5, "{kills}\n{}", points(&home));
}

#[test]
fn a_clone_and_its_first_mount_can_be_killed_anywhere() {
    if !is_root() {
        return;
    }
    let home = home();
    home.ok(&["volume", "create", "source"]);
    let kills = kill_everywhere(
        &home,
        &["volume", "clone", "source", "a"],
        |_| {},
        |home| {
            assert_eq!(home.ok(&["volume", "ls", "-q"]), "a\nsource");
            remove(home);
        },
    );
    assert!(kills >= 5, "{kills}\n{}", points(&home));
    let cloned = |home: &Home| drop(home.ok(&["volume", "clone", "source", "a"]));
    kill_everywhere(&home, &["volume", "mount", "a"], cloned, |home| {
        home.ok(&["volume", "unmount", "a"]);
        remove(home);
    });
}
