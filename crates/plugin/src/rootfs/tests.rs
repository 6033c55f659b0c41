mod archive;
mod contexts;
mod hostile;
mod mounted;
mod squashed;
mod unpacked;

use super::*;
use archive::{Archive, GZIP, gzip, stored};
use std::io::Read;

/// A store and layers in a directory of their own, which has a tree that nobody may touch.
struct Place {
    dir: tempfile::TempDir,
    store: Store,
    layers: Layers,
    limits: Limits,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("blobs")).unwrap();
        let layers = Layers::open(&dir.path().join("layers")).unwrap();
        fs::create_dir_all(dir.path().join("outside/sub")).unwrap();
        fs::write(dir.path().join("outside/canary"), "alive").unwrap();
        Self { dir, store, layers, limits: Limits::default() }
    }

    fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    fn is_untouched(&self) -> bool {
        let names = |dir: &Path| {
            let mut names: Vec<_> =
                fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        names(&self.outside()) == ["canary", "sub"]
            && names(&self.outside().join("sub")).is_empty()
            && fs::read(self.outside().join("canary")).unwrap() == b"alive"
    }

    /// Unpacks a layer on top of `below`; the chain.
    fn add(&self, below: &[Descriptor], archive: Archive) -> Result<Vec<Descriptor>> {
        let layer = stored(&self.store, GZIP, &gzip(&archive.end()));
        self.add_layer(below, layer)
    }

    fn add_layer(&self, below: &[Descriptor], layer: Descriptor) -> Result<Vec<Descriptor>> {
        let chain: Vec<_> = below.iter().cloned().chain([layer]).collect();
        self.layers.unpack(&self.store, &chain, &self.limits, &mut |_| {})?;
        Ok(chain)
    }

    /// Unpacks one layer; its root.
    fn unpack(&self, archive: Archive) -> Result<PathBuf> {
        let chain = self.add(&[], archive)?;
        Ok(self.layers.path(&digests(&chain)).join("fs"))
    }

    /// How many directories are in the directory of layers, half ones included.
    fn count(&self) -> usize {
        fs::read_dir(&self.layers.dir).unwrap().count()
    }
}

fn digests(chain: &[Descriptor]) -> Vec<Digest> {
    chain.iter().map(|layer| layer.digest.clone()).collect()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}
