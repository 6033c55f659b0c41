use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

/// A directory with a root, and a place outside of it that has one file.
fn place() -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("root")).expect("made");
    fs::create_dir(dir.path().join("outside")).expect("made");
    fs::write(dir.path().join("outside/canary"), "alive").expect("written");
    let root = Root::open(&dir.path().join("root")).expect("open");
    (dir, root)
}

fn outside(dir: &tempfile::TempDir) -> Vec<OsString> {
    let entries = fs::read_dir(dir.path().join("outside")).expect("readable");
    entries.map(|entry| entry.expect("entry").file_name()).collect()
}

fn path(text: &str) -> &Path {
    Path::new(text)
}

#[test]
fn a_path_with_dots_is_refused_and_an_absolute_one_is_inside() {
    let (dir, mut root) = place();
    for out in ["../outside/x", "a/../../outside/x", "..", "/..", ""] {
        let error = root.create(path(out)).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{out}");
    }
    assert!(root.make_dirs(path("../x")).is_err() && root.list(path("..")).is_err());
    assert!(root.hard_link(path("../outside/canary"), path("x")).is_err());
    root.create(path("/inside")).expect("made");
    assert!(dir.path().join("root/inside").exists());
    assert_eq!(outside(&dir), ["canary"]);
}

#[test]
fn links_are_followed_on_the_way_and_never_at_the_end() {
    let (dir, mut root) = place();
    let target = dir.path().join("outside");
    symlink(&target, dir.path().join("root/out")).expect("linked");
    symlink(target.join("canary"), dir.path().join("root/file")).expect("linked");
    root.make_dirs(path("out/sub")).expect("made inside");
    root.create(path("out/x")).expect("made inside");
    assert_eq!(root.create(path("file")).expect_err("there").kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(root.find(path("file")).expect("found"), Some(Found::Link));
    assert_eq!(root.find(path("out/canary")).expect("looked"), None);
    root.remove(path("out")).expect("removed");
    assert_eq!(outside(&dir), ["canary"]);
    let inside = dir.path().join("root").join(target.strip_prefix("/").expect("absolute"));
    assert!(inside.join("x").exists() && inside.join("sub").is_dir());
}

#[test]
fn the_last_directory_is_forgotten_when_a_link_takes_its_place() {
    let (dir, mut root) = place();
    root.make_dirs(path("a/b")).expect("made");
    root.create(path("a/b/one")).expect("made");
    root.remove(path("a")).expect("removed");
    root.make_dirs(path("c/b")).expect("made");
    root.symlink(OsStr::new("c"), path("a")).expect("linked");
    root.create(path("a/b/two")).expect("made");
    root.rename(path("c"), path("d")).expect("renamed");
    assert!(root.create(path("a/b/three")).is_err());
    let names = fs::read_dir(dir.path().join("root/d/b")).expect("readable").count();
    assert_eq!(names, 1);
}

#[test]
fn links_that_dangle_are_filled_in_and_those_that_go_round_are_refused() {
    let (dir, mut root) = place();
    root.symlink(OsStr::new("/usr/lib"), path("lib")).expect("linked");
    root.symlink(OsStr::new("../../lib/x"), path("again")).expect("linked");
    root.make_dirs(path("again/deep")).expect("made");
    assert!(dir.path().join("root/usr/lib/x/deep").is_dir());
    root.symlink(OsStr::new("round"), path("round")).expect("linked");
    let error = root.make_dirs(path("round/x")).expect_err("endless");
    assert_eq!(Errno::from_io_error(&error), Some(Errno::LOOP));
}

#[test]
fn owners_modes_and_times_are_those_given() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (dir, mut root) = place();
    let all = Attributes { uid: 1, gid: 2, mode: 0o6751, modified: Some(1000), xattrs: vec![] };
    all.apply_to_file(&root.create(path("f")).expect("made")).expect("set");
    root.make_dir(path("d")).expect("made");
    root.node(path("n"), Node::Character { major: 1, minor: 3 }).expect("made");
    root.symlink(OsStr::new("../outside/canary"), path("l")).expect("linked");
    for name in ["d", "n"] {
        root.dress(path(name), &all).expect("set");
    }
    root.dress_link(path("l"), &all).expect("set");
    for name in ["f", "d", "n", "l"] {
        let found = fs::symlink_metadata(dir.path().join("root").join(name)).expect("there");
        assert_eq!((found.uid(), found.gid(), found.mtime()), (1, 2, 1000), "{name}");
        assert!(name == "l" || found.mode() & 0o7777 == 0o6751, "{name}");
    }
    assert!(root.dress(path("l"), &all).is_err());
    let canary = fs::metadata(dir.path().join("outside/canary")).expect("there");
    assert_eq!((canary.uid(), canary.mode() & 0o7000), (0, 0));
}

#[test]
fn a_tree_of_any_depth_is_removed_and_what_it_links_to_is_not() {
    let (dir, mut root) = place();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    root.make_dir(path("t")).expect("made");
    let mut at = rustix::fs::open(dir.path().join("root/t"), flags, Mode::empty()).expect("open");
    for _ in 0..3000 {
        rustix::fs::mkdirat(&at, "d", Mode::RWXU).expect("made");
        at = rustix::fs::openat(&at, "d", flags, Mode::empty()).expect("open");
    }
    symlink(dir.path().join("outside"), dir.path().join("root/t/link")).expect("linked");
    root.remove(path("t")).expect("removed");
    root.remove(path("t")).expect("gone already");
    root.remove(path("no/such")).expect("gone already");
    assert_eq!(fs::read_dir(dir.path().join("root")).expect("readable").count(), 0);
    assert_eq!(outside(&dir), ["canary"]);
}

#[test]
fn a_hard_link_to_a_link_is_another_name_of_the_link() {
    let (dir, mut root) = place();
    root.symlink(OsStr::new("../outside/canary"), path("l")).expect("linked");
    root.hard_link(path("l"), path("m")).expect("linked");
    assert_eq!(root.find(path("m")).expect("found"), Some(Found::Link));
    let mut names = root.list(path("")).expect("listed");
    names.sort();
    assert_eq!(names, ["l", "m"]);
    assert_eq!(fs::metadata(dir.path().join("outside/canary")).expect("there").nlink(), 1);
}
