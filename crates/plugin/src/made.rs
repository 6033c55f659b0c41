//! A plugin made here: from what `docker plugin create` sends to blobs that can be installed, saved
//! and pushed.

use crate::config::{self, Config, Rootfs};
use crate::registry::Descriptor;
use crate::rootfs::{self, Layers, Limits};
use crate::store::Store;
use error::Result;
use std::io::Read;

/// What a plugin is made of; its blobs are in the store, its layer is unpacked.
#[derive(Debug, Clone)]
pub struct Made {
    /// The configuration's blob.
    pub config: Descriptor,
    /// What it says.
    pub decoded: Config,
    /// The one layer.
    pub layer: Descriptor,
}

/// Takes in `tar`, a directory `rootfs/` and a `config.json` (plain or gzip). The same entries in the
/// same order give the same digests. Blocking.
pub fn make(tar: &mut dyn Read, store: &Store, layers: &Layers, limits: &Limits) -> Result<Made> {
    let context = rootfs::read_context(tar, store, layers, limits)?;
    let mut decoded = Config::decode(&context.config)?;
    decoded.check()?;
    let config = put_config(&mut decoded, &context.layer, store)?;
    Ok(Made { config, decoded, layer: context.layer })
}

/// Stores a configuration of a plugin of this one layer.
pub(crate) fn put_config(
    config: &mut Config,
    layer: &Descriptor,
    store: &Store,
) -> Result<Descriptor> {
    let diff_ids = [layer.digest.to_string()].into_iter().collect();
    config.rootfs = Some(Rootfs { kind: "layers".to_owned(), diff_ids });
    let bytes = config.encode();
    Ok(Descriptor {
        media_type: config::MEDIA_TYPE.to_owned(),
        digest: store.put(&bytes)?,
        size: bytes.len() as u64,
    })
}
