//! Layers over each other.

use super::*;
use std::os::unix::fs::MetadataExt;

/// Layers with all that a layer can do to the ones below; the chain.
pub(super) fn three_layers(place: &Place) -> Vec<Descriptor> {
    let chain = place
        .add(
            &[],
            Archive::default()
                .file("a", "lowest")
                .file("usr/lib/old", "x")
                .file("opaque/hidden", "x")
                .file("opaque/sub/hidden", "x")
                .symlink("lib", "usr/lib")
                .file("tree/x", "x")
                .file("first", "linked")
                .link("second", "first"),
        )
        .unwrap();
    let chain = place
        .add(
            &chain,
            Archive::default()
                .file("lib/.wh.old", "")
                .file("lib/new", "through a link of the layer below")
                .file("opaque/sub/own", "x")
                .file("opaque/.wh..wh..opq", "")
                .file("opaque/own", "x")
                .file(".wh.tree", "")
                .file("b", "middle"),
        )
        .unwrap();
    place.add(&chain, Archive::default().file("b", "top").link("c", "a")).unwrap()
}

/// A directory that is an overlay, and the place that it is made of: another overlay can't have its
/// changes there.
pub(super) fn on_an_overlay() -> (Place, PathBuf) {
    let ground = Place::new();
    let base = ground.add(&[], Archive::default().file("x", "x")).unwrap();
    let at = ground.dir.path().join("overlay");
    ground.layers.mount(&digests(&base), &ground.dir.path().join("changes"), &at).unwrap();
    (ground, at)
}

fn check(root: &Path) {
    let is_there = |name: &str| fs::symlink_metadata(root.join(name)).is_ok();
    assert_eq!((text(&root.join("a")), text(&root.join("b"))), ("lowest".into(), "top".into()));
    assert_eq!(text(&root.join("c")), "lowest");
    assert_eq!(text(&root.join("usr/lib/new")), "through a link of the layer below");
    assert!(is_there("opaque/own") && is_there("opaque/sub/own"));
    for gone in ["usr/lib/old", "opaque/hidden", "opaque/sub/hidden", "tree", "lib/.wh.old"] {
        assert!(!is_there(gone), "{gone}");
    }
    let inode = |name: &str| fs::metadata(root.join(name)).unwrap().ino();
    assert_eq!(inode("first"), inode("second"));
    for made in [".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "dev/console"] {
        assert!(fs::metadata(root.join(made)).unwrap().is_file(), "{made}");
    }
    for made in ["dev/pts", "dev/shm", "proc", "sys", "run/docker/plugins"] {
        assert!(fs::metadata(root.join(made)).unwrap().is_dir(), "{made}");
    }
    assert_eq!(fs::read_link(root.join("etc/mtab")).unwrap(), Path::new("/proc/mounts"));
}

#[test]
fn three_layers_are_seen_as_one_and_changes_survive() {
    if !testkit::root::is_root() {
        return;
    }
    host::sandbox::private_mounts().unwrap();
    // What overlayfs splits its options at must not matter, and neither must length.
    let mut place = Place::new();
    let dir = place.dir.path().join(format!("odd:name,with=all\\{}", "x".repeat(200)));
    fs::create_dir(&dir).unwrap();
    place.layers = Layers::open(&dir.join("layers")).unwrap();
    let chain = digests(&three_layers(&place));
    let (changes, target) = (dir.join("changes"), dir.join("rootfs"));
    place.layers.mount(&chain, &changes, &target).unwrap();
    place.layers.mount(&chain, &changes, &target).unwrap();
    check(&target);
    fs::write(target.join("b"), "changed").unwrap();
    place.layers.unmount(&target).unwrap();
    place.layers.unmount(&target).unwrap();
    assert!(!target.join("b").exists());
    place.layers.mount(&chain, &changes, &target).unwrap();
    assert_eq!(text(&target.join("b")), "changed");
    overlay::bind(&target.join("usr"), &target.join("sys")).unwrap();
    place.layers.unmount(&target).unwrap();
    assert!(mountinfo::at(&target).unwrap().is_none());
    assert_eq!(text(&place.layers.path(&chain).join("fs/b")), "top");
}

#[test]
fn where_overlayfs_is_refused_the_layers_are_copied() {
    if !testkit::root::is_root() {
        return;
    }
    host::sandbox::private_mounts().unwrap();
    let (ground, at) = on_an_overlay();
    let mut place = Place::new();
    place.layers = Layers::open(&at.join("layers")).unwrap();
    let chain = digests(&three_layers(&place));
    let record = read_record(&place.layers.path(&chain)).unwrap().unwrap();
    assert!(record.flat);
    let (changes, target) = (at.join("plugin"), at.join("rootfs"));
    place.layers.mount(&chain, &changes, &target).unwrap();
    check(&target);
    fs::write(target.join("b"), "changed").unwrap();
    place.layers.unmount(&target).unwrap();
    place.layers.mount(&chain, &changes, &target).unwrap();
    assert_eq!(text(&target.join("b")), "changed");
    place.layers.unmount(&target).unwrap();
    // Layers that were laid over each other, and changes on an overlay.
    let chain = digests(&three_layers(&ground));
    let (changes, target) = (at.join("plugin2"), at.join("rootfs2"));
    ground.layers.mount(&chain, &changes, &target).unwrap();
    assert!(changes.join("copy").is_dir());
    check(&target);
    ground.layers.unmount(&target).unwrap();
    ground.layers.unmount(&at).unwrap();
}

#[test]
fn links_of_an_image_do_not_lead_the_preparation_out() {
    if !testkit::root::is_root() {
        return;
    }
    host::sandbox::private_mounts().unwrap();
    let place = Place::new();
    let outside = place.outside();
    let archive = Archive::default()
        .symlink("dev", &outside.display().to_string())
        .symlink("etc", "../../../../../../../..")
        .symlink("run", "/missing/too")
        .symlink("proc", &outside.join("sub").display().to_string());
    let chain = digests(&place.add(&[], archive).unwrap());
    let target = place.dir.path().join("rootfs");
    place.layers.mount(&chain, &place.dir.path().join("changes"), &target).unwrap();
    assert!(place.is_untouched());
    assert!(target.join("hosts").is_file() && target.join("missing/too/docker/plugins").is_dir());
    assert!(target.join(outside.strip_prefix("/").unwrap()).join("console").is_file());
    place.layers.unmount(&target).unwrap();
    let chain = digests(&place.add(&[], Archive::default().symlink("etc", "/etc")).unwrap());
    let error =
        place.layers.mount(&chain, &place.dir.path().join("changes2"), &target).unwrap_err();
    assert!(error.message().contains("/etc"), "{error}");
    assert!(mountinfo::at(&target).unwrap().is_none());
}

#[test]
fn a_plugin_without_layers_has_an_empty_root() {
    if !testkit::root::is_root() {
        return;
    }
    host::sandbox::private_mounts().unwrap();
    let place = Place::new();
    let target = place.dir.path().join("rootfs");
    place.layers.mount(&[], &place.dir.path().join("changes"), &target).unwrap();
    assert!(target.join("proc").is_dir());
    place.layers.unmount(&target).unwrap();
    let missing = [Digest::of(b"x")];
    let error =
        place.layers.mount(&missing, &place.dir.path().join("changes2"), &target).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
}

#[test]
fn a_root_reached_through_a_link_is_unmounted_with_what_is_below() {
    if !testkit::root::is_root() {
        return;
    }
    host::sandbox::private_mounts().unwrap();
    let place = Place::new();
    let chain = digests(&place.add(&[], Archive::default().dir("d")).unwrap());
    let link = place.dir.path().join("link");
    fs::create_dir(place.dir.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", &link).unwrap();
    let target = link.join("rootfs");
    place.layers.mount(&chain, &place.dir.path().join("changes"), &target).unwrap();
    overlay::bind(&target.join("etc"), &target.join("d")).unwrap();
    place.layers.unmount(&target).unwrap();
    let real = place.dir.path().join("real/rootfs");
    assert!(mountinfo::table().unwrap().iter().all(|mount| !mount.target.starts_with(&real)));
}

#[test]
fn two_that_unpack_the_same_layer_at_once_both_succeed() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let layer = stored(&place.store, GZIP, &gzip(&Archive::default().file("a", "x").end()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| place.add_layer(&[], layer.clone()).unwrap());
        }
    });
    assert_eq!(place.count(), 1);
}
