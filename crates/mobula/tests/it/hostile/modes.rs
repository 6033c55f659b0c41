//! Who may read an engine's state: root alone, but for what others must reach.

use crate::engine_kills::lab::Lab;
use crate::fixture::{PATIENCE, eventually, is_root};
use serde_json::json;
use std::fs::FileType;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Directories whose content is not ours: a plugin's files, what it has changed and shares, its own
/// sockets, and what a runtime notes about a container.
const OF_OTHERS: [&str; 7] =
    ["rootfs", "fs", "upper", "work", "propagated-mount", "sockets", "containers"];

fn is_open_to_others(kind: FileType, mode: u32) -> bool {
    let most = match kind {
        kind if kind.is_dir() => 0o700,
        kind if kind.is_socket() => 0o660,
        _ => 0o600,
    };
    !kind.is_symlink() && mode & 0o7777 & !most != 0
}

/// What may be read, written or entered by more than it should, below `dir`.
fn open_to_others(dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let (path, about) = (entry.path(), std::fs::symlink_metadata(entry.path()).unwrap());
        let is_of_others = OF_OTHERS.iter().any(|name| path.ends_with(name));
        // Runtimes write the number of the first process themselves.
        let is_ours = !is_of_others && !path.ends_with("pid");
        if is_ours && is_open_to_others(about.file_type(), about.mode()) {
            found.push(format!("{:o} {}", about.mode() & 0o7777, path.display()));
        }
        if about.is_dir() && is_ours {
            open_to_others(&path, found);
        }
    }
}

#[test]
fn all_state_is_roots_alone() {
    if !is_root() {
        return;
    }
    let lab = Lab::started();
    lab.probe("probe");
    eventually("it is published", PATIENCE, || lab.published("probe").exists());
    assert_eq!(lab.call("probe", "Create", &json!({ "Name": "v", "Opts": {} })).status, 200);
    let mount = json!({ "Name": "v", "ID": "one" });
    assert_eq!(lab.call("probe", "Mount", &mount).status, 200);
    let mut found = Vec::new();
    for root in ["var/lib/mobula", "run/mobula"] {
        let root = lab.home.path(root);
        assert_eq!(std::fs::metadata(&root).unwrap().mode() & 0o7777, 0o700, "{root:?}");
        open_to_others(&root, &mut found);
    }
    assert_eq!(found, Vec::<String>::new());
    let id = lab.id("probe");
    for kept in ["var/lib/mobula/plugins", "run/mobula/plugins"] {
        let dir = lab.home.path(kept).join(&id);
        assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o7777, 0o700, "{dir:?}");
    }
    let socket = std::fs::metadata(lab.published("probe")).unwrap();
    assert_eq!(socket.mode() & 0o7777 & !0o660, 0);
    assert_eq!(lab.call("probe", "Unmount", &mount).status, 200);
}
