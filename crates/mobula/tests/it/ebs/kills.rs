//! SIGKILL at every numbered point of what is done with a volume of EBS, then the same again: it
//! converges, with one volume in the account, attached where it is mounted and nowhere else.

use super::account::Account;
use crate::fixture::{Home, is_root};
use crate::kills::kill_everywhere;
use serde_json::Value;

struct Lab {
    home: Home,
    account: Account,
}

impl Lab {
    fn new() -> Self {
        let account = Account::start();
        Self { home: Home::with(&account.config("i-0a", "")), account }
    }

    fn volumes(&self) -> Vec<Value> {
        self.account.state()["volumes"].as_array().unwrap().clone()
    }

    /// One volume and no more, in this state.
    fn assert_one(&self, state: &str) {
        let volumes = self.volumes();
        assert_eq!(volumes.len(), 1, "{volumes:?}");
        assert_eq!(volumes[0]["state"], state, "{volumes:?}");
    }

    fn remove(&self) {
        self.home.ok(&["volume", "rm", "a", "--idempotent"]);
        assert_eq!(self.volumes(), Vec::<Value>::new());
    }

    /// Kills the operation everywhere; answers how often it was killed.
    fn kill(&self, operation: &[&str], prepare: impl Fn(&Home), settle: impl Fn(&Home)) -> u32 {
        kill_everywhere(&self.home, operation, prepare, settle)
    }
}

fn create(home: &Home) {
    home.ok(&["volume", "create", "a"]);
}

fn mounted(home: &Home) {
    create(home);
    home.ok(&["volume", "mount", "a"]);
    std::fs::write(home.target("a").join("file"), "kept").unwrap();
}

#[test]
fn create_killed_anywhere_ends_with_one_volume_and_no_other_is_billed() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let settle = |_: &Home| {
        lab.assert_one("available");
        lab.remove();
    };
    let kills = lab.kill(&["volume", "create", "a"], |_| {}, settle);
    assert!(kills >= 3, "{kills}");
}

#[test]
fn mount_killed_anywhere_ends_with_one_attachment_and_one_mount() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let kills = lab.kill(&["volume", "mount", "a"], create, |home| {
        lab.assert_one("in-use");
        assert!(home.is_mounted("a"));
        std::fs::write(home.target("a").join("file"), "x").unwrap();
        home.ok(&["volume", "unmount", "a"]);
        lab.assert_one("available");
        lab.remove();
    });
    assert!(kills >= 8, "{kills}");
}

#[test]
fn unmount_killed_anywhere_ends_detached_with_the_data() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let kills = lab.kill(&["volume", "unmount", "a"], mounted, |home| {
        lab.assert_one("available");
        home.ok(&["volume", "mount", "a"]);
        assert_eq!(std::fs::read_to_string(home.target("a").join("file")).unwrap(), "kept");
        home.ok(&["volume", "unmount", "a"]);
        lab.remove();
    });
    assert!(kills >= 5, "{kills}");
}

#[test]
fn attach_and_detach_killed_anywhere_can_be_undone() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let kills = lab.kill(&["volume", "attach", "a"], create, |home| {
        lab.assert_one("in-use");
        home.ok(&["volume", "detach", "a"]);
        lab.assert_one("available");
        lab.remove();
    });
    assert!(kills >= 6, "{kills}");
    let attached = |home: &Home| {
        create(home);
        home.ok(&["volume", "attach", "a"]);
    };
    let kills = lab.kill(&["volume", "detach", "a"], attached, |_| {
        lab.assert_one("available");
        lab.remove();
    });
    assert!(kills >= 3, "{kills}");
}

#[test]
fn remove_killed_anywhere_ends_without_the_volume() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let kills = lab.kill(&["volume", "rm", "a"], create, |_| lab.remove());
    assert!(kills >= 1, "{kills}");
}

#[test]
fn expand_killed_anywhere_ends_with_the_new_size_and_the_data() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let unmounted = |home: &Home| {
        mounted(home);
        home.ok(&["volume", "unmount", "a"]);
    };
    let kills = lab.kill(&["volume", "expand", "a", "2GiB"], unmounted, |home| {
        home.ok(&["volume", "mount", "a"]);
        assert_eq!(std::fs::read_to_string(home.target("a").join("file")).unwrap(), "kept");
        let space = rustix::fs::statvfs(home.target("a")).unwrap();
        assert!(space.f_blocks * space.f_frsize > 3 << 29, "the file system has grown");
        home.ok(&["volume", "unmount", "a"]);
        lab.remove();
    });
    assert!(kills >= 3, "{kills}");
}

#[test]
fn a_snapshot_killed_anywhere_is_one_snapshot_and_leaves_the_volume_writable() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let kills = lab.kill(&["snapshot", "create", "a", "s"], mounted, |home| {
        std::fs::write(home.target("a").join("more"), "written").unwrap();
        let snapshots = lab.account.state()["snapshots"].as_array().unwrap().len();
        assert_eq!(snapshots, 1);
        home.ok(&["snapshot", "rm", "s"]);
        home.ok(&["volume", "unmount", "a"]);
        lab.remove();
    });
    assert!(kills >= 3, "{kills}");
}
