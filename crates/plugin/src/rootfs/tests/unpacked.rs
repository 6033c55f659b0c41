//! What honest archives become.

use super::archive::{TAR, ZSTD};
use super::*;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

#[test]
fn files_keep_owner_mode_time_and_kind() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let root = place
        .unpack(
            Archive::default()
                .owned(b'5', "./", (0o711, 0, 0))
                .file("./etc/passwd", "root")
                .owned(b'0', "su", (0o6755, 1, 2))
                .owned(b'6', "pipe", (0o600, 0, 0))
                .device(b'3', "null", (1, 3))
                .device(b'4', "disk", (7, 0))
                .symlink("dangling", "/nowhere/at/all")
                .link("again", "etc/passwd"),
        )
        .unwrap();
    let found = |name: &str| fs::symlink_metadata(root.join(name)).unwrap();
    assert_eq!(found("").mode() & 0o7777, 0o711);
    assert_eq!(found("etc").mode() & 0o7777, 0o755);
    let su = found("su");
    assert_eq!((su.mode() & 0o7777, su.uid(), su.gid(), su.mtime()), (0o6755, 1, 2, 1_000_000_000));
    assert!(found("pipe").file_type().is_fifo());
    assert!(found("null").file_type().is_char_device() && found("null").rdev() == 0x103);
    assert!(found("disk").file_type().is_block_device());
    assert_eq!(fs::read_link(root.join("dangling")).unwrap(), Path::new("/nowhere/at/all"));
    assert_eq!(found("again").ino(), found("etc/passwd").ino());
}

#[test]
fn gzip_of_many_members_zstd_and_plain_layers_give_the_same() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let tar = Archive::default().file("a", "hello").end();
    let (first, second) = tar.split_at(700);
    let members = [gzip(first), gzip(second)].concat();
    let packed = zstd::encode_all(&tar[..], 3).unwrap();
    for (media_type, bytes) in [(GZIP, &members), (ZSTD, &packed), (TAR, &tar)] {
        let mut consumed = 0;
        let chain = [stored(&place.store, media_type, bytes)];
        let told = &mut |count| consumed = count;
        place.layers.unpack(&place.store, &chain, &place.limits, told).unwrap();
        assert_eq!(text(&place.layers.path(&digests(&chain)).join("fs/a")), "hello");
        assert_eq!(consumed, bytes.len() as u64);
    }
}

#[test]
fn of_two_entries_of_a_name_the_later_wins_and_case_matters() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let root = place
        .unpack(
            Archive::default()
                .file("a", "first")
                .file("A", "other")
                .file("a", "second")
                .file("d/x", "gone with its directory")
                .file("d", "file")
                .dir("merged")
                .file("merged/kept", "1")
                .owned(b'5', "merged", (0o700, 0, 0)),
        )
        .unwrap();
    assert_eq!((text(&root.join("a")), text(&root.join("A"))), ("second".into(), "other".into()));
    assert_eq!(
        (text(&root.join("d")), text(&root.join("merged/kept"))),
        ("file".into(), "1".into())
    );
    assert_eq!(fs::metadata(root.join("merged")).unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn long_names_of_either_kind_and_absolute_ones_stay_below_the_root() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(200));
    let gnu = format!("{}/{}", "g".repeat(150), "h".repeat(200));
    let root = place
        .unpack(
            Archive::default()
                .pax(&[("path", long.as_bytes())])
                .file("short", "pax")
                .raw(b'L', "././@LongLink", "", gnu.len() as u64 + 1, format!("{gnu}\0").as_bytes())
                .file("short", "gnu")
                .file("/etc/absolute", "in")
                .raw(b'g', "pax_global_header", "", 0, &[]),
        )
        .unwrap();
    assert_eq!((text(&root.join(long)), text(&root.join(gnu))), ("pax".into(), "gnu".into()));
    assert_eq!(text(&root.join("etc/absolute")), "in");
    assert!(!root.join("short").exists());
}

#[test]
fn links_to_directories_work_inside_the_root() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let root = place
        .unpack(
            Archive::default()
                .symlink("lib", "/usr/lib")
                .file("lib/a", "made through a link that dangled")
                .symlink("usr/lib/up", "../../../../..")
                .file("lib/up/b", "b"),
        )
        .unwrap();
    assert_eq!(text(&root.join("usr/lib/a")), "made through a link that dangled");
    assert_eq!(text(&root.join("b")), "b");
}

#[test]
fn file_capabilities_are_kept_and_commands_to_overlayfs_are_not() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let root = place
        .unpack(
            Archive::default()
                .pax(&[
                    ("SCHILY.xattr.security.capability", capability),
                    ("SCHILY.xattr.security.selinux", b"label"),
                    ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
                    ("SCHILY.xattr.system.posix_acl_access", b"x"),
                ])
                .file("ping", "x")
                .pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y")])
                .dir("d"),
        )
        .unwrap();
    let names = |name: &str| {
        let mut list = vec![0; 4096];
        let length = rustix::fs::llistxattr(root.join(name), &mut list).unwrap();
        String::from_utf8(list[..length].to_vec()).unwrap()
    };
    assert_eq!((names("ping").as_str(), names("d").as_str()), ("security.capability\0", ""));
    let kept = host::root::kept_xattrs(&root.join("ping")).unwrap();
    assert_eq!(kept, [("security.capability".into(), capability.to_vec())]);
}

#[test]
fn a_sparse_file_keeps_its_length_and_takes_no_space() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let archive = Archive::default().sparse("s", 64 << 20, &[7; 512]).file("after", "x");
    let root = place.unpack(archive).unwrap();
    let mut file = fs::File::open(root.join("s")).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!((bytes.len(), bytes[0], bytes[bytes.len() - 1]), (64 << 20, 0, 7));
    assert!(file::allocated(&root.join("s")).unwrap() < 4 << 20);
    assert_eq!(text(&root.join("after")), "x");
}

#[test]
fn what_follows_the_end_of_an_archive_is_read_and_ignored() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let mut tar = Archive::default().file("a", "x").end();
    tar.extend_from_slice(&[b'?'; 100_000]);
    let chain = [stored(&place.store, GZIP, &gzip(&tar))];
    place.layers.unpack(&place.store, &chain, &place.limits, &mut |_| {}).unwrap();
    let mut tail = gzip(&Archive::default().file("b", "x").end());
    tail.extend_from_slice(b"no gzip");
    let error = place.add_layer(&[], stored(&place.store, GZIP, &tail)).unwrap_err();
    assert!(error.message().contains("after entry \"b\""), "{error}");
}

#[test]
fn an_unpacked_layer_is_not_unpacked_again() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let chain = place.add(&[], Archive::default().file("a", "x")).unwrap();
    fs::remove_file(place.dir.path().join("blobs/sha256").join(chain[0].digest.hex())).unwrap();
    place.layers.unpack(&place.store, &chain, &place.limits, &mut |_| {}).unwrap();
    assert_eq!(place.count(), 1);
}

#[test]
fn what_a_crash_left_is_swept_and_what_is_being_made_is_not() {
    let place = Place::new();
    let alive = Staging::new(&place.layers.dir).unwrap();
    fs::create_dir_all(place.layers.dir.join("tmp-dead/fs/x")).unwrap();
    Layers::open(&place.layers.dir).unwrap();
    assert_eq!(place.count(), 1);
    assert!(alive.fs().is_dir());
}

#[test]
fn a_collection_removes_the_layers_that_no_chain_needs() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let kept = place.add(&[], Archive::default().file("a", "kept")).unwrap();
    let also = place.add(&kept, Archive::default().file("b", "also")).unwrap();
    let gone = place.add(&kept, Archive::default().file("c", "gone")).unwrap();
    let keep = HashSet::from([digests(&also)]);
    assert_eq!(place.layers.collect(&keep, true).unwrap().len(), 1);
    assert_eq!(place.count(), 3);
    let garbage = place.layers.collect(&keep, false).unwrap();
    assert_eq!(garbage[0].path, place.layers.path(&digests(&gone)));
    assert_eq!(place.count(), 2);
}
