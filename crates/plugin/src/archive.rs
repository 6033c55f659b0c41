//! Plugins as OCI image layout archives (image-layout.md), for machines without a network.
//!
//! An archive is a stranger's: names, kinds and sizes of its entries are checked before they are
//! read, nothing is ever written under a name that it chose, and every blob is verified.

mod reader;
mod writer;

use crate::registry::manifest::{
    self, DEEPEST_INDEX, Entry, LARGEST_CONFIG, LARGEST_MANIFEST, Parsed,
};
use crate::registry::{Descriptor, Manifest};
use crate::store::Store;
use error::{Error, Result};
use std::io::Read;

pub use writer::save;

/// Where an entry's name is (annotations.md); containerd's has the name in full.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
/// The most plugins of one archive.
const MOST_PLUGINS: usize = 1000;

/// A plugin found in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The name it was saved under, if any.
    pub name: Option<String>,
    /// What it is made of; all blobs are in the store.
    pub manifest: Manifest,
    /// Its configuration.
    pub config: Vec<u8>,
}

/// Takes the plugins of an archive (plain or gzip tar of an OCI layout) into the store; every blob
/// is verified. Entries may come in any order.
///
/// What is for other machines is passed over; an archive with nothing for this one, or with
/// something that is no plugin, is refused.
pub fn load(store: &Store, from: &mut dyn Read) -> Result<Vec<Loaded>> {
    let index = reader::take_in(store, from)?;
    let Parsed::Index(entries) = manifest::parse(&index, manifest::OCI_INDEX, "the archive")?
    else {
        return Err(Error::invalid_argument("the archive's index.json is no index"));
    };
    if entries.len() > MOST_PLUGINS {
        let message = format!("the archive has more than {MOST_PLUGINS} manifests");
        return Err(Error::invalid_argument(message));
    }
    let fitting: Vec<_> = entries.iter().filter(|entry| is_for_us(entry)).collect();
    if fitting.is_empty() {
        // Says what there is.
        manifest::choose(&entries, "the archive")?;
    }
    fitting.into_iter().map(|entry| plugin(store, entry)).collect()
}

fn is_for_us(entry: &Entry) -> bool {
    entry.platform.as_ref().is_none_or(manifest::is_fitting)
}

fn plugin(store: &Store, entry: &Entry) -> Result<Loaded> {
    let name = name(entry);
    let shown = name.clone().unwrap_or_else(|| entry.descriptor.digest.to_string());
    let manifest = find_manifest(store, &entry.descriptor, &shown)?;
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        check(store, blob, &shown)?;
    }
    let config = store.read(&manifest.config.digest, LARGEST_CONFIG)?;
    Ok(Loaded { name, manifest, config })
}

/// The entry's name. A bare tag, as some tools write it, is no name.
fn name(entry: &Entry) -> Option<String> {
    let annotations = entry.annotations.as_ref()?;
    let name = NAMES.iter().find_map(|key| annotations.get(*key))?;
    Some(name.clone()).filter(|name| name.contains(['/', ':']))
}

fn find_manifest(store: &Store, from: &Descriptor, shown: &str) -> Result<Manifest> {
    let mut at = from.clone();
    for _ in 0..=DEEPEST_INDEX {
        check(store, &at, shown)?;
        let bytes = store.read(&at.digest, LARGEST_MANIFEST)?;
        match manifest::parse(&bytes, &at.media_type, shown)? {
            Parsed::Plugin(manifest) => return Ok(manifest),
            Parsed::Index(entries) => at = manifest::choose(&entries, shown)?.descriptor.clone(),
        }
    }
    Err(manifest::no_plugin(shown, "its indexes lead from one to the next without end"))
}

/// Whether a blob is there and as long as it is said to be.
fn check(store: &Store, blob: &Descriptor, shown: &str) -> Result<()> {
    let digest = &blob.digest;
    match store.find(digest)? {
        Some(size) if size == blob.size => Ok(()),
        Some(size) => Err(Error::invalid_argument(format!(
            "blob {digest} of {shown} has {size} bytes, though the archive says {}",
            blob.size
        ))),
        None => Err(Error::invalid_argument(format!("the archive lacks blob {digest} of {shown}"))),
    }
}

#[cfg(test)]
mod tests;
