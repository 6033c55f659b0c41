//! What hostile archives don't become: nothing outside is touched, and nothing half stays.

use super::archive::{TAR, ZSTD};
use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Unpacking is refused for a reason that names the entry, and leaves no trace.
fn refuses(place: &Place, entry: &str, why: &str, archive: Archive) {
    let before = place.count();
    let error = place.unpack(archive).unwrap_err();
    let text = error.chain();
    assert!(text.starts_with("layer sha256:"), "{text}");
    assert!(text.contains(&format!("entry {entry}")), "{text}");
    assert!(text.contains(why), "{text}");
    assert_eq!(place.count(), before, "{text}");
    assert!(place.is_untouched(), "{text}");
}

#[test]
fn names_that_lead_out_are_refused() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let new = Archive::default;
    let out = "\"..\" in a name leads out";
    refuses(&place, "\"../evil\"", out, new().file("../evil", "x"));
    refuses(&place, "\"a/../../evil\"", out, new().file("a/../../evil", "x"));
    refuses(&place, "\"..\"", out, new().dir(".."));
    let pax = new().pax(&[("path", b"../../evil")]).file("innocent", "x");
    refuses(&place, "\"../../evil\"", out, pax);
    refuses(&place, "\"l\"", out, new().link("l", "../../outside/canary"));
    let link = new().pax(&[("linkpath", b"../outside/canary")]).link("l", "ok");
    refuses(&place, "\"l\"", out, link);
    let zero = new().pax(&[("path", b"a\0b")]).file("x", "x");
    refuses(&place, "\"a\\0b\"", "a zero byte", zero);
    let long = "n".repeat(256);
    let name = new().pax(&[("path", long.as_bytes())]).file("x", "x");
    refuses(&place, &format!("{long:?}"), "longer than 255 bytes", name);
    let deep = "d/".repeat(2100);
    let name = new().pax(&[("path", deep.as_bytes())]).file("x", "x");
    refuses(&place, "\"d/d/", "longer than 4095 bytes", name);
}

#[test]
fn names_that_the_archive_itself_bars_are_its_own_fault() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let around = Archive::default().symlink("a", "b").symlink("b", "a").file("a/x", "x");
    let error = place.unpack(around).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{}", error.chain());
    let through = Archive::default().file("f", "x").file("f/x", "x");
    let error = place.unpack(through).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{}", error.chain());
    assert_eq!(place.count(), 0);
}

#[test]
fn writing_through_a_link_stays_inside() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let outside = place.outside().display().to_string();
    let root = place
        .unpack(
            Archive::default()
                .symlink("out", &outside)
                .file("out/evil", "x")
                .symlink("up", "../../../../../../../../../..")
                .file("up/evil", "x")
                .symlink("canary", &format!("{outside}/canary"))
                .file("canary", "replaced, not followed")
                .symlink("owned", &outside)
                .owned(b'5', "owned", (0o777, 1, 1)),
        )
        .unwrap();
    assert!(place.is_untouched());
    assert_eq!(text(&root.join(outside.trim_start_matches('/')).join("evil")), "x");
    assert_eq!(text(&root.join("evil")), "x");
    assert!(fs::symlink_metadata(root.join("canary")).unwrap().is_file());
    assert!(fs::symlink_metadata(root.join("owned")).unwrap().is_dir());
}

#[test]
fn a_directory_that_becomes_a_link_is_not_remembered_as_a_directory() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let outside = place.outside().display().to_string();
    let root = place
        .unpack(
            Archive::default()
                .file("d/e/first", "x")
                .symlink("d", &outside)
                .file("d/e/second", "x")
                .link("hard", "d/canary/../x"),
        )
        .unwrap_err();
    assert!(root.chain().contains("entry \"hard\""), "{root}");
    refuses(
        &place,
        "\"hard\"",
        "No such file",
        Archive::default().symlink("d", &outside).link("hard", "d/canary"),
    );
    assert!(place.is_untouched());
}

#[test]
fn whiteouts_stay_inside_and_can_not_name_a_directory_above() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let outside = place.outside().display().to_string();
    let chain = place.add(&[], Archive::default().symlink("out", &outside)).unwrap();
    let archive = Archive::default()
        .file("out/.wh.canary", "")
        .file("out/.wh..wh..opq", "")
        .file(".wh.out/canary", "");
    place.add(&chain, archive).unwrap();
    assert!(place.is_untouched());
    let nothing = "a whiteout of nothing";
    for name in [".wh...", ".wh..", ".wh.", "d/.wh..."] {
        refuses(&place, &format!("{name:?}"), nothing, Archive::default().file(name, ""));
    }
}

#[test]
fn what_overlayfs_would_take_for_a_command_is_refused() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let archive = Archive::default().device(b'3', "etc/shadow", (0, 0));
    refuses(&place, "\"etc/shadow\"", "character device 0:0", archive);
}

#[test]
fn broken_archives_say_where() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let new = Archive::default;
    let cut = |archive: Archive| stored(&place.store, TAR, &archive.0);
    let short = new().file("a", "x").raw(b'0', "etc/passwd", "", 1000, b"short");
    let text = place.add_layer(&[], cut(short)).unwrap_err().chain();
    assert!(
        text.contains("entry \"etc/passwd\": the archive ends after 512 of its 1000"),
        "{text}"
    );
    let mut garbage = new().file("a", "x");
    garbage.0.extend_from_slice(&[b'!'; 512]);
    let text = place.add_layer(&[], cut(garbage)).unwrap_err().chain();
    assert!(text.contains("after entry \"a\""), "{text}");
    refuses(&place, "\"a\"", "is not known", new().raw(b'Z', "a", "", 0, &[]));
    refuses(&place, "\"a\"", "has 512 bytes", new().raw(b'5', "a", "", 512, &[0; 512]));
    refuses(&place, "\"f/x\"", "Not a directory", new().file("f", "x").file("f/x", "x"));
    refuses(&place, "\"l\"", "it links to itself", new().file("l", "x").link("l", "./l"));
    let loops = new().symlink("a", "b").symlink("b", "a").file("a/x", "x");
    refuses(&place, "\"a/x\"", "symbolic links", loops);
    let posix = new().pax(&[("GNU.sparse.major", b"1")]).file("s", "x");
    refuses(&place, "\"s\"", "--sparse", posix);
    let huge = new().file("a", "x").raw(b'L', "long", "", 2 << 20, &vec![b'n'; 2 << 20]);
    refuses(&place, "\"a\"", "headers of one entry", huge.file("b", "x"));
    assert_eq!(place.count(), 0);
}

#[test]
fn a_truncated_or_mislabelled_or_wrong_blob_leaves_nothing() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let tar = Archive::default().file("a", "x").end();
    let packed = gzip(&tar);
    let cut = stored(&place.store, GZIP, &packed[..packed.len() - 9]);
    let zstd = zstd::encode_all(&tar[..], 3).unwrap();
    let cut_zstd = stored(&place.store, ZSTD, &zstd[..zstd.len() - 4]);
    let mislabelled = stored(&place.store, ZSTD, &packed);
    let foreign = stored(&place.store, "application/vnd.docker.image.rootfs.foreign", &packed);
    let mut wrong_size = stored(&place.store, GZIP, &packed);
    wrong_size.size += 1;
    let damaged = stored(&place.store, GZIP, &gzip(&Archive::default().file("b", "x").end()));
    let path = place.dir.path().join("blobs/sha256").join(damaged.digest.hex());
    fs::write(path, &packed).unwrap();
    for (layer, why) in [
        (cut, ""),
        (cut_zstd, ""),
        (mislabelled, "its media type"),
        (foreign, "is none of a layer"),
        (wrong_size, "is damaged"),
        (damaged, "is damaged"),
    ] {
        let text = place.add_layer(&[], layer.clone()).unwrap_err().chain();
        assert!(text.contains(layer.digest.as_str()) && text.contains(why), "{text}");
        assert_eq!(place.count(), 0, "{text}");
    }
}

#[test]
fn bombs_go_off_at_their_limits() {
    if !testkit::root::is_root() {
        return;
    }
    let mut place = Place::new();
    place.limits = Limits { bytes: 1 << 20, entries: 100, ratio: 200 };
    let many = (0..101).fold(Archive::default(), |all, n| all.file(&format!("f{n}"), ""));
    refuses(&place, "\"f100\"", "more than the 100 files", many);
    let zeros = Archive::default().raw(b'0', "zeros", "", 4 << 30, &[]);
    refuses(&place, "\"zeros\"", "more than the 1048576 bytes", zeros);
    let sparse = Archive::default().sparse("sparse", 4 << 30, &[1; 512]);
    refuses(&place, "\"sparse\"", "more than the 1048576 bytes", sparse);
    // Behind the archive, where no entry counts it.
    let mut tar = Archive::default().file("a", "x").end();
    tar.resize(20 << 20, 0);
    let packed = gzip(&tar);
    place.limits.ratio = u64::MAX;
    let error = place.add_layer(&[], stored(&place.store, GZIP, &packed)).unwrap_err();
    assert!(error.chain().contains("bytes that are allowed come out"), "{error}");
    place.limits = Limits { ratio: 50, ..Limits::default() };
    for (media_type, packed) in [(GZIP, packed), (ZSTD, zstd::encode_all(&tar[..], 3).unwrap())] {
        let error = place.add_layer(&[], stored(&place.store, media_type, &packed)).unwrap_err();
        assert!(error.chain().contains("decompression bomb"), "{error}");
    }
    assert_eq!(place.count(), 0);
}

#[test]
fn limits_count_all_layers_of_a_plugin() {
    if !testkit::root::is_root() {
        return;
    }
    let mut place = Place::new();
    place.limits.entries = 3;
    let two = |a: &str, b: &str| Archive::default().file(a, "").file(b, "");
    let chain = place.add(&[], two("a", "b")).unwrap();
    let error = place.add(&chain, two("c", "d")).unwrap_err();
    assert!(error.message().contains("entry \"d\""), "{error}");
    let many = vec![chain[0].clone(); 10_000];
    let error = place.add_layer(&many, chain[0].clone()).unwrap_err();
    assert!(error.message().contains("10001 layers"), "{error}");
}

#[test]
fn links_swapped_while_unpacking_lead_nowhere_else() {
    if !testkit::root::is_root() {
        return;
    }
    let place = Place::new();
    let staging = Staging::new(&place.layers.dir).unwrap();
    let fs_root = staging.fs();
    fs::create_dir(fs_root.join("d")).unwrap();
    std::os::unix::fs::symlink(place.outside(), fs_root.join("swap")).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let (a, b) = (fs_root.join("d"), fs_root.join("swap"));
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                // Between a removal and its replacement there is nothing to exchange.
                let _ = rustix::fs::renameat_with(rustix::fs::CWD, a, rustix::fs::CWD, b, flags);
            }
        });
        for round in 0..200 {
            let archive = Archive::default()
                .file("d/sub/x", "x")
                .owned(b'5', "d/sub", (0o777, 1, 1))
                .link("d/hard", "d/canary")
                .file("d/.wh.canary", "")
                .file(&format!("d/n{round}"), "x")
                .end();
            let root = Root::open(&fs_root).unwrap();
            let mut tree = Tree::new(root, "layer", &place.limits, Used::default(), true);
            // Some rounds fail, as whatever was found is not there any more; none gets out.
            let _ = entry::each(&archive[..], "layer", |entry, data| {
                let _ = tree.add(entry, data);
                Ok(())
            });
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(place.is_untouched());
}
