//! Archives that go round, archives of other tools, and archives of enemies.

use super::*;
use crate::config::MEDIA_TYPE;
use crate::digest::Digest;
use crate::registry::manifest::OCI_MANIFEST;
use std::io::Write;
use tar::{Builder, EntryType, Header};

const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

struct Desk {
    store: Store,
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { store: Store::open(&dir.path().join("blobs")).unwrap(), dir }
    }

    fn put(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        self.store.put(bytes).unwrap();
        blob(media_type, bytes)
    }

    fn blobs(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("blobs/sha256")).unwrap().count()
    }

    fn load(&self, archive: &[u8]) -> Result<Vec<Loaded>> {
        load(&self.store, &mut &*archive)
    }
}

fn blob(media_type: &str, bytes: &[u8]) -> Descriptor {
    let size = bytes.len() as u64;
    Descriptor { media_type: media_type.to_owned(), digest: Digest::of(bytes), size }
}

/// A plugin with two layers, as [`save`] writes it, and its descriptors.
fn saved(name: &str) -> (Vec<u8>, Descriptor, Vec<Descriptor>) {
    let desk = Desk::new();
    let config = desk.put(MEDIA_TYPE, b"{}\n");
    let layers = vec![desk.put(LAYER, b"one"), desk.put(LAYER, b"two")];
    let mut archive = Vec::new();
    save(&desk.store, name, &config, &layers, &mut archive).unwrap();
    (archive, config, layers)
}

/// The entries of an archive, to be put together otherwise.
fn entries(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let (name, mut bytes) = (entry.path().unwrap().to_str().unwrap().to_owned(), Vec::new());
        entry.read_to_end(&mut bytes).unwrap();
        (name, bytes)
    });
    entries.collect()
}

fn tar_of(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, bytes) in entries {
        append(&mut tar, name, EntryType::Regular, bytes);
    }
    tar.into_inner().unwrap()
}

fn append(tar: &mut Builder<Vec<u8>>, name: &str, kind: EntryType, bytes: &[u8]) {
    let mut header = Header::new_gnu();
    // Not set_path: it refuses the names that are tried here.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    tar.append(&header, bytes).unwrap();
}

fn changed(change: impl FnOnce(&mut Vec<(String, Vec<u8>)>)) -> Vec<u8> {
    let mut all = entries(&saved("me/probe:v1").0);
    change(&mut all);
    tar_of(&all)
}

#[test]
fn a_saved_plugin_is_loaded_again_in_any_order_and_compressed() {
    let (archive, config, layers) = saved("me/probe:v1");
    let mut reversed = entries(&archive);
    reversed.reverse();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&archive).unwrap();
    for archive in [archive, tar_of(&reversed), gzip.finish().unwrap()] {
        let desk = Desk::new();
        let loaded = desk.load(&archive).unwrap();
        assert_eq!(loaded.len(), 1);
        let plugin = &loaded[0];
        assert_eq!(plugin.name.as_deref(), Some("me/probe:v1"));
        assert_eq!((&plugin.manifest.config, &plugin.config[..]), (&config, &b"{}\n"[..]));
        let digests: Vec<_> = plugin.manifest.layers.iter().map(|layer| &layer.digest).collect();
        assert_eq!(digests, [&layers[0].digest, &layers[1].digest]);
        assert_eq!(desk.store.read(&layers[1].digest, 9).unwrap(), b"two");
        assert_eq!(desk.blobs(), 4);
    }
}

#[test]
fn the_same_plugin_always_gives_the_same_archive() {
    assert_eq!(saved("me/probe:v1").0, saved("me/probe:v1").0);
    assert_ne!(saved("me/probe:v1").0, saved("me/probe:v2").0);
}

#[test]
fn two_plugins_of_one_archive_are_both_loaded() {
    let archive = changed(|all| {
        let other = entries(&saved("me/other:v2").0);
        let index = |entries: &[(String, Vec<u8>)]| -> serde_json::Value {
            serde_json::from_slice(&entries[1].1).unwrap()
        };
        let mut joined = index(all);
        joined["manifests"].as_array_mut().unwrap().push(index(&other)["manifests"][0].clone());
        all[1].1 = serde_json::to_vec(&joined).unwrap();
    });
    let names: Vec<_> = Desk::new().load(&archive).unwrap().into_iter().map(|p| p.name).collect();
    assert_eq!(names, [Some("me/probe:v1".to_owned()), Some("me/other:v2".to_owned())]);
}

/// Puts the manifest of a saved plugin under another index.json.
fn with_index(index: impl FnOnce(&Descriptor) -> (String, Vec<(String, Vec<u8>)>)) -> Vec<u8> {
    changed(|all| {
        let (text, more) = index(&blob(OCI_MANIFEST, &all[2].1));
        all[1].1 = text.into_bytes();
        all.extend(more);
    })
}

#[test]
fn a_layout_of_another_tool_with_nested_indexes_platforms_and_a_bare_tag_is_taken() {
    let own = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let archive = with_index(|manifest| {
        let plain = serde_json::to_string(manifest).unwrap();
        let plain = plain.trim_end_matches('}');
        let other = blob(OCI_MANIFEST, b"not in the archive");
        let other = serde_json::to_string(&other).unwrap();
        let other = other.trim_end_matches('}');
        let inner = format!(
            r#"{{"schemaVersion":2,"manifests":[{other},"platform":{{"os":"linux","architecture":"s390x"}}}},
               {plain},"platform":{{"os":"linux","architecture":"{own}"}}}}]}}"#
        );
        let nested = blob(manifest::OCI_INDEX, inner.as_bytes());
        let outer = serde_json::to_string(&nested).unwrap();
        let outer = outer.trim_end_matches('}');
        let name = r#""annotations":{"org.opencontainers.image.ref.name":"latest"}"#;
        let path = format!("blobs/sha256/{}", nested.digest.hex());
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{outer},{name}}}]}}"#);
        (index, vec![(path, inner.into_bytes())])
    });
    // As `tar -C layout -c .` writes it.
    let mut dotted = Builder::new(Vec::new());
    append(&mut dotted, "./", EntryType::Directory, b"");
    append(&mut dotted, "./blobs/sha256/", EntryType::Directory, b"");
    append(&mut dotted, "pax", EntryType::XHeader, b"20 mtime=1700000000\n");
    for (name, bytes) in entries(&archive) {
        append(&mut dotted, &format!("./{name}"), EntryType::Regular, &bytes);
    }
    let loaded = Desk::new().load(&dotted.into_inner().unwrap()).unwrap();
    assert_eq!((loaded.len(), &loaded[0].name), (1, &None));
}

#[test]
fn an_archive_for_other_machines_says_for_which() {
    let archive = with_index(|manifest| {
        let plain = serde_json::to_string(manifest).unwrap();
        let plain = plain.trim_end_matches('}');
        let platform = r#""platform":{"os":"linux","architecture":"s390x"}"#;
        (format!(r#"{{"schemaVersion":2,"manifests":[{plain},{platform}}}]}}"#), vec![])
    });
    let error = Desk::new().load(&archive).unwrap_err();
    assert!(error.message().contains("linux/s390x"), "{error}");
}

#[test]
fn hostile_names_and_kinds_are_refused_and_nothing_is_written() {
    let digest = "a".repeat(64);
    let names = [
        "../evil",
        "/etc/passwd",
        "blobs/sha256/../../evil",
        "blobs/sha256/x",
        "blobs/md5/00",
        "manifest.json",
        "./../evil",
        "blobs/sha256/",
        "",
    ];
    for name in names {
        let error =
            Desk::new().load(&changed(|all| all.insert(0, (name.to_owned(), b"x".to_vec()))));
        assert_eq!(error.unwrap_err().kind(), error::Kind::InvalidArgument, "{name}");
    }
    let path = format!("blobs/sha256/{digest}");
    let kinds = [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Char,
        EntryType::Fifo,
        EntryType::GNULongName,
        EntryType::GNUSparse,
    ];
    for kind in kinds {
        let mut tar = Builder::new(Vec::new());
        append(&mut tar, &path, kind, b"");
        let desk = Desk::new();
        assert!(desk.load(&tar.into_inner().unwrap()).is_err(), "{kind:?}");
        assert_eq!(desk.blobs(), 0);
    }
    for name in ["../", "blobs/../../x/"] {
        let mut tar = Builder::new(Vec::new());
        append(&mut tar, name, EntryType::Directory, b"");
        let error = Desk::new().load(&tar.into_inner().unwrap()).unwrap_err();
        assert!(error.message().contains("neither a file nor a directory"), "{error}");
    }
}

#[test]
fn an_extended_header_cannot_rename_or_resize_an_entry() {
    for record in ["20 path=../../evil\n", "20 size=99999999999\n", "20 GNU.sparse.major=1\n"] {
        let mut tar = Builder::new(Vec::new());
        append(&mut tar, "pax", EntryType::XHeader, record.as_bytes());
        let error = Desk::new().load(&tar.into_inner().unwrap()).unwrap_err();
        assert!(error.message().contains("another name or size"), "{error}");
    }
}

#[test]
fn a_blob_that_is_not_what_its_name_says_is_refused() {
    let archive = changed(|all| all.last_mut().unwrap().1 = b"forged".to_vec());
    let desk = Desk::new();
    assert!(desk.load(&archive).is_err());
    assert!(desk.store.find(&Digest::of(b"forged")).unwrap().is_none());
}

#[test]
fn a_wrong_size_a_missing_blob_and_a_double_entry_are_refused() {
    let (archive, ..) = saved("me/probe:v1");
    let wrong_size = with_index(|manifest| {
        let wrong = Descriptor { size: manifest.size + 1, ..manifest.clone() };
        let wrong = serde_json::to_string(&wrong).unwrap();
        (format!(r#"{{"schemaVersion":2,"manifests":[{wrong}]}}"#), vec![])
    });
    assert!(
        Desk::new().load(&wrong_size).unwrap_err().message().contains("though the archive says")
    );
    let missing = changed(|all| drop(all.pop()));
    assert!(Desk::new().load(&missing).unwrap_err().message().contains("lacks blob"));
    let double = changed(|all| all.push(all[0].clone()));
    assert!(Desk::new().load(&double).unwrap_err().message().contains("twice"));
    let double = changed(|all| all.push((format!("./{}", all[1].0), all[1].1.clone())));
    assert!(Desk::new().load(&double).unwrap_err().message().contains("twice"));
    assert!(Desk::new().load(&archive).is_ok());
}

#[test]
fn what_is_no_layout_is_refused() {
    let without = |name: &'static str| changed(move |all| all.retain(|(known, _)| known != name));
    assert!(Desk::new().load(&without("oci-layout")).is_err());
    assert!(Desk::new().load(&without("index.json")).is_err());
    assert!(Desk::new().load(&changed(|all| all[0].1 = b"{}".to_vec())).is_err());
    let newer = br#"{"imageLayoutVersion":"2.0.0"}"#.to_vec();
    assert!(Desk::new().load(&changed(|all| all[0].1 = newer)).is_err());
    assert_eq!(MARKER, entries(&saved("x:y").0)[0].1);
    for bytes in [&b""[..], b"no tar", b"\x1f\x8b\x00", &[0; 2048]] {
        assert!(Desk::new().load(bytes).is_err());
    }
}

#[test]
fn an_archive_that_is_cut_short_anywhere_is_refused() {
    let (archive, ..) = saved("me/probe:v1");
    // All that matters ends before the two blocks of zeros.
    for length in (0..archive.len() - 1536).step_by(97) {
        assert!(Desk::new().load(&archive[..length]).is_err(), "{length}");
    }
}

#[test]
fn an_image_is_refused_in_dockerds_words() {
    let image = br#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"DIGEST","size":2},"layers":[]}"#;
    let image = String::from_utf8_lossy(image).replace("DIGEST", Digest::of(b"{}").as_str());
    let archive = with_index(|_| {
        let described = blob(OCI_MANIFEST, image.as_bytes());
        let path = format!("blobs/sha256/{}", described.digest.hex());
        let entry = serde_json::to_string(&described).unwrap();
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#);
        (index, vec![(path, image.clone().into_bytes())])
    });
    let error = Desk::new().load(&archive).unwrap_err();
    assert!(error.message().contains("did not find plugin config"), "{error}");
}

#[test]
fn an_index_that_leads_on_and_on_is_given_up() {
    let archive = with_index(|_| {
        let (mut inner, mut more) = (br#"{"schemaVersion":2,"manifests":[]}"#.to_vec(), Vec::new());
        for _ in 0..20 {
            let described = blob(manifest::OCI_INDEX, &inner);
            more.push((format!("blobs/sha256/{}", described.digest.hex()), inner));
            let entry = serde_json::to_string(&described).unwrap();
            inner = format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#).into_bytes();
        }
        (String::from_utf8(inner).unwrap(), more)
    });
    assert!(Desk::new().load(&archive).unwrap_err().message().contains("without end"));
}
