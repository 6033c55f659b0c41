//! Create contexts, taken in and made.

use super::*;
use std::os::unix::fs::MetadataExt;

fn read(place: &Place, mut bytes: &[u8]) -> Result<Context> {
    read_context(&mut bytes, &place.store, &place.layers, &place.limits)
}

fn honest() -> Archive {
    Archive::default()
        .file("README", "ignored")
        .file("./config.json", "{}")
        .dir("./rootfs/")
        .owned(b'0', "rootfs/bin/su", (0o4755, 0, 5))
        .file("rootfs/bin/a", &"hello ".repeat(500_000))
        .link("rootfs/bin/b", "rootfs/bin/a")
        .symlink("rootfs/lib", "/usr/lib")
        .device(b'3', "rootfs/dev/null", (1, 3))
}

#[test]
fn a_context_becomes_one_layer_packed_and_unpacked_alike() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let context = read(&place, &honest().end()).unwrap();
    assert_eq!(context.config, b"{}");
    let root = place.layers.path(std::slice::from_ref(&context.layer.digest)).join("fs");
    assert_eq!(text(&root.join("bin/a")).len(), 3_000_000);
    let inode = |root: &Path, name| fs::metadata(root.join(name)).unwrap().ino();
    assert_eq!(inode(&root, "bin/a"), inode(&root, "bin/b"));
    assert!(!root.join("README").exists() && !root.join("config.json").exists());

    let other = Place::new();
    fs::copy(
        place.dir.path().join("blobs/sha256").join(context.layer.digest.hex()),
        other.dir.path().join("blobs/sha256").join(context.layer.digest.hex()),
    )
    .unwrap();
    let chain = other.add_layer(&[], context.layer.clone()).unwrap();
    let again = other.layers.path(&digests(&chain)).join("fs");
    assert_eq!(text(&again.join("bin/a")), text(&root.join("bin/a")));
    assert_eq!(inode(&again, "bin/a"), inode(&again, "bin/b"));
    for name in ["bin/su", "lib", "dev/null", "bin"] {
        let of = |root: &Path| {
            let found = fs::symlink_metadata(root.join(name)).unwrap();
            (found.mode(), found.uid(), found.gid(), found.rdev(), found.size())
        };
        assert_eq!(of(&again), of(&root), "{name}");
    }
}

#[test]
fn the_same_context_gives_the_same_layer_packed_or_not() {
    if !testkit::root::is_root() {
        return;
    }
    let (one, two) = (Place::new(), Place::new());
    let first = read(&one, &honest().end()).unwrap();
    assert_eq!(read(&two, &gzip(&honest().end())).unwrap(), first);
    assert_eq!(read(&one, &honest().end()).unwrap(), first);
    assert_eq!((one.count(), two.count()), (1, 1));
}

#[test]
fn what_misses_its_config_or_rootfs_says_so() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let new = Archive::default;
    let config = || new().file("config.json", "{}");
    for (archive, why) in [
        (new().dir("rootfs"), "config not found"),
        (new(), "config not found"),
        (config(), "no rootfs found"),
        (config().file("rootfs", "x"), "no rootfs found"),
        (config().symlink("rootfs", "/"), "no rootfs found"),
        (config().link("rootfs/x", "config.json"), "outside of rootfs/"),
        (config().file("rootfs/../../x", "x"), "leads out"),
        (new().raw(b'0', "config.json", "", (1 << 20) + 1, &[]), "is larger than"),
    ] {
        let error = read(&place, &archive.end()).unwrap_err();
        assert!(error.chain().contains(why), "{error}");
    }
    assert!(read(&place, b"no archive at all").is_err());
    assert!(read(&place, &honest().0[..9000]).is_err());
    assert_eq!(place.count(), 0);
    assert_eq!(fs::read_dir(place.dir.path().join("blobs/partial")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(place.dir.path().join("blobs/sha256")).unwrap().count(), 0);
}

#[test]
fn a_directory_becomes_a_context_that_gives_the_same_files() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let dir = place.dir.path().join("plugin");
    let rootfs = dir.join("rootfs");
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(130));
    fs::create_dir_all(rootfs.join(&long).parent().unwrap()).unwrap();
    fs::write(rootfs.join(&long), "long").unwrap();
    fs::write(rootfs.join("a"), "a").unwrap();
    fs::hard_link(rootfs.join("a"), rootfs.join("b")).unwrap();
    std::os::unix::fs::symlink(place.outside(), rootfs.join("out")).unwrap();
    std::os::unix::fs::chown(rootfs.join("a"), Some(3_000_000), Some(7)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(rootfs.join("socket")).unwrap();
    fs::write(dir.join("ignored"), "x").unwrap();
    let mut tar = Vec::new();
    let error = write_context(&dir, &mut tar).unwrap_err();
    assert!(error.message().contains("config.json is not there"), "{error}");
    fs::write(dir.join("config.json"), "{}").unwrap();
    tar.clear();
    write_context(&dir, &mut tar).unwrap();
    let mut again = Vec::new();
    write_context(&dir, &mut again).unwrap();
    assert!(tar == again);
    let context = read(&place, &tar).unwrap();
    let root = place.layers.path(&[context.layer.digest]).join("fs");
    assert_eq!(text(&root.join(long)), "long");
    let found = fs::metadata(root.join("a")).unwrap();
    assert_eq!((found.uid(), found.gid(), found.nlink()), (3_000_000, 7, 2));
    assert_eq!(fs::read_link(root.join("out")).unwrap(), place.outside());
    assert!(!root.join("socket").exists());
}
