//! Several layers, made one.

use super::archive::{TAR, ZSTD};
use super::mounted::three_layers;
use super::*;
use std::os::unix::fs::MetadataExt;

fn squash(place: &Place, chain: &[Descriptor]) -> Descriptor {
    place.layers.squash(&place.store, &digests(chain)).unwrap()
}

/// What a single layer unpacks to.
fn unpack(place: &Place, layer: Descriptor) -> PathBuf {
    let chain = place.add_layer(&[], layer).unwrap();
    place.layers.path(&digests(&chain)).join("fs")
}

/// A layer of each packing; the upper ones hide and replace.
fn chain(place: &Place) -> Vec<Descriptor> {
    let lowest = Archive::default()
        .owned(b'5', "./", (0o700, 5, 5))
        .file("etc/kept", "kept")
        .file("etc/gone", "x")
        .file("etc/changed", "before")
        .link("etc/also-kept", "etc/kept")
        .symlink("link", "etc/kept")
        .owned(b'0', "setuid", (0o4755, 7, 8))
        .device(b'3', "null", (1, 3));
    let chain = place.add(&[], lowest).unwrap();
    let middle = Archive::default().file("etc/.wh.gone", "").file("etc/changed", "after").end();
    let middle = zstd::encode_all(&middle[..], 0).unwrap();
    let chain = place.add_layer(&chain, stored(&place.store, ZSTD, &middle)).unwrap();
    let pax: &[(&str, &[u8])] = &[("SCHILY.xattr.user.b", b"2"), ("SCHILY.xattr.user.a", b"1")];
    let top = Archive::default().dir("new").pax(pax).file("new/file", "new").end();
    place.add_layer(&chain, stored(&place.store, TAR, &top)).unwrap()
}

#[test]
fn one_layer_shows_what_several_showed() {
    if !testkit::root::is_root() {
        return;
    }
    host::sandbox::private_mounts().unwrap();
    let place = Place::new();
    let before = chain(&place);
    let layer = squash(&place, &before);
    assert_eq!(layer.media_type, GZIP);
    let root = unpack(&place, layer);
    let names = |dir: &str| {
        let entries = fs::read_dir(root.join(dir)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(""), ["etc", "link", "new", "null", "setuid"]);
    assert_eq!(names("etc"), ["also-kept", "changed", "kept"]);
    assert_eq!(text(&root.join("etc/changed")), "after");
    let found = |name: &str| fs::symlink_metadata(root.join(name)).unwrap();
    assert_eq!(found("etc/kept").ino(), found("etc/also-kept").ino());
    assert_eq!(fs::read_link(root.join("link")).unwrap(), Path::new("etc/kept"));
    let setuid = found("setuid");
    assert_eq!((setuid.mode() & 0o7777, setuid.uid(), setuid.gid()), (0o4755, 7, 8));
    assert_eq!(host::root::device_numbers(found("null").rdev()), (1, 3));
    assert_eq!(
        (found("new/file").mtime(), found("etc/kept").mtime()),
        (1_000_000_000, 1_000_000_000)
    );
    let kept = host::root::kept_xattrs(&root.join("new/file")).unwrap();
    // Where the file system of the test has none they are lost on the way in.
    assert!(kept.is_empty() || kept.len() == 2, "{kept:?}");
    assert_eq!(place.count(), before.len() + 1, "nothing is left beside the layers");
}

#[test]
fn the_same_layers_become_the_same_blob_wherever_they_are() {
    if !testkit::root::is_root() {
        return;
    }
    host::sandbox::private_mounts().unwrap();
    // The last one is on an overlay, where layers are copied.
    let (ground, at) = mounted::on_an_overlay();
    let mut places = [Place::new(), Place::new(), Place::new()];
    places[2].layers = Layers::open(&at.join("layers")).unwrap();
    let mut clock = std::time::UNIX_EPOCH;
    let squashed = places.each_ref().map(|place| {
        let chain = three_layers(place);
        // As if each were unpacked at another time.
        clock += std::time::Duration::from_secs(60);
        let times = fs::FileTimes::new().set_modified(clock);
        for length in 1..=chain.len() {
            let root = place.layers.path(&digests(&chain[..length])).join("fs");
            for dir in ["", "usr", "usr/lib", "opaque"] {
                let dir = fs::File::open(root.join(dir));
                dir.map_or(Ok(()), |dir| dir.set_times(times)).unwrap();
            }
        }
        let first = squash(place, &chain);
        assert_eq!(squash(place, &chain), first);
        first
    });
    assert_eq!(squashed[0], squashed[1]);
    assert_eq!(squashed[0], squashed[2]);
    ground.layers.unmount(&at).unwrap();
}
