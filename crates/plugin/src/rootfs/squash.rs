//! Layers made one: what they are together, packed as the single gzip layer that dockerd installs
//! right (it applies several in any order, and takes others for nothing).

use super::context::MEDIA_TYPE;
use super::gzip::Packer;
use super::staging::Staging;
use super::{Layers, pack};
use crate::digest::Digest;
use crate::registry::Descriptor;
use crate::store::Store;
use error::Result;

impl Layers {
    /// Packs what the layers of `chain` (lowest first, all unpacked) show together into `store`. The
    /// same layers give the same blob.
    pub fn squash(&self, store: &Store, chain: &[Digest]) -> Result<Descriptor> {
        let staging = Staging::new(&self.dir)?;
        // Vanishes with this, before the directory that it needs.
        let (root, _) = self.base(&staging, chain)?;
        let mut packer = Packer::new(store)?;
        pack::write_layer(&root.by_number(), &mut packer)?;
        let (digest, size) = packer.finish()?;
        Ok(Descriptor { media_type: MEDIA_TYPE.to_owned(), digest, size })
    }
}
