//! Manifests and indexes of registries and archives (crate `plugin`, `registry::manifest`): what is
//! taken keeps the limits, and is the same plugin when it is written and read again.
#![no_main]

use error::Error;
use libfuzzer_sys::fuzz_target;
use plugin::config;
use plugin::digest::Digest;
use plugin::registry::Manifest;
use plugin::registry::manifest::{Parsed, choose, for_archive, parse};

/// What a carrier may say that it carries.
const CARRIED: [&str; 3] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/json",
];

fuzz_target!(|bytes: &[u8]| {
    for media_type in CARRIED {
        match parse(bytes, media_type, "a/b:c") {
            Ok(Parsed::Plugin(manifest)) => assert_sound(bytes, &manifest),
            Ok(Parsed::Index(entries)) => match choose(&entries, "a/b:c") {
                Ok(chosen) => assert!(entries.contains(chosen)),
                Err(error) => assert_short(&error),
            },
            Err(error) => assert_short(&error),
        }
    }
});

/// Words of strangers get into it, but not many of them.
fn assert_short(error: &Error) {
    assert!(error.message().len() < 2000, "{error:?}");
}

fn assert_sound(bytes: &[u8], manifest: &Manifest) {
    assert_eq!(manifest.digest, Digest::of(bytes));
    assert_eq!(manifest.config.media_type, config::MEDIA_TYPE);
    assert!(manifest.config.size <= 4 << 20);
    assert!((1..=1000).contains(&manifest.layers.len()));
    let written = for_archive(&manifest.config, &manifest.layers).expect("write a manifest");
    let Ok(Parsed::Plugin(read)) = parse(&written, "", "a/b:c") else {
        panic!("what is written is no plugin: {}", String::from_utf8_lossy(&written))
    };
    assert_eq!(read.config, manifest.config);
    for (read, layer) in read.layers.iter().zip(&manifest.layers) {
        assert_eq!((&read.digest, read.size), (&layer.digest, layer.size));
    }
    let again = for_archive(&read.config, &read.layers).expect("write a manifest");
    assert_eq!(again, written);
}
