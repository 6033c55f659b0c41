//! Files on file systems that are full, read-only or mounted below.

use super::*;
use error::Kind;
use host::file::{Durability, create_sparse, read_optional, remove_tree, write_atomic};

fn tmpfs(dir: &Path, options: &str) {
    run("mount", &["-t", "tmpfs", "-o", options, "none"], &[dir]);
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_full_file_system_keeps_the_old_file_and_no_other() {
    isolated(|dir| {
        tmpfs(dir, "size=64k");
        let path = dir.join("state");
        write_atomic(&path, b"old", Durability::Synced).unwrap();
        let error = write_atomic(&path, &[1; 100_000], Durability::Synced).unwrap_err();
        assert_eq!(error.kind(), Kind::ResourceExhausted);
        assert_eq!(read_optional(&path).unwrap().unwrap(), b"old");
        assert_eq!(names(dir), ["state"]);
        run("umount", &[], &[dir]);
    });
}

#[test]
fn a_file_system_without_inodes_keeps_the_old_file() {
    isolated(|dir| {
        tmpfs(dir, "nr_inodes=2");
        let path = dir.join("state");
        fs::write(&path, "old").unwrap();
        let error = write_atomic(&path, b"new", Durability::Volatile).unwrap_err();
        assert_eq!(error.kind(), Kind::ResourceExhausted);
        assert_eq!(create_sparse(&dir.join("i"), 1).unwrap_err().kind(), Kind::ResourceExhausted);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        run("umount", &[], &[dir]);
    });
}

#[test]
fn a_read_only_file_system_is_told_as_such() {
    isolated(|dir| {
        tmpfs(dir, "size=64k");
        fs::write(dir.join("state"), "old").unwrap();
        run("mount", &["-o", "remount,ro"], &[dir]);
        let error = write_atomic(&dir.join("state"), b"new", Durability::Synced).unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert_eq!(names(dir), ["state"]);
        run("umount", &[], &[dir]);
    });
}

#[test]
fn a_tree_with_a_mount_in_it_is_not_touched() {
    isolated(|dir| {
        let tree = dir.join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/before"), "x").unwrap();
        tmpfs(&tree.join("a/b"), "size=64k");
        fs::write(tree.join("a/b/precious"), "x").unwrap();
        for path in [&tree, &tree.join("a"), &tree.join("a/b")] {
            let error = remove_tree(path).unwrap_err();
            assert_eq!(error.kind(), Kind::FailedPrecondition, "{error}");
            assert!(error.message().contains("b in it is a mount point"), "{error}");
        }
        assert!(tree.join("a/before").exists() && tree.join("a/b/precious").exists());
        run("umount", &[], &[&tree.join("a/b")]);
        assert!(remove_tree(&tree).unwrap().is_done());
    });
}

#[test]
fn a_directory_bound_from_the_same_file_system_is_not_entered() {
    isolated(|dir| {
        fs::create_dir_all(dir.join("tree/bound")).unwrap();
        fs::create_dir_all(dir.join("data/precious")).unwrap();
        run("mount", &["--bind"], &[&dir.join("data"), &dir.join("tree/bound")]);
        let error = remove_tree(&dir.join("tree")).unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition, "{error}");
        run("umount", &[], &[&dir.join("tree/bound")]);
        assert!(dir.join("data/precious").exists());
    });
}
