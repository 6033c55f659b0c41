//! A file system in memory, seen by this process only, where hostile archives are unpacked.
//!
//! ```text
//! /dev/shm/outside/{canary,dir/canary}  where the corpus' links and names point to
//! /dev/shm/in/canary
//! /dev/shm/in/work/{a,b}/{layers,store} what may change
//! ```

use crate::tree::{self, Found};
use plugin::registry::Descriptor;
use plugin::rootfs::{Layers, Limits};
use plugin::store::Store;
use rustix::mount::MountFlags;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const TOP: &str = "/dev/shm";
const WORK: &str = "/dev/shm/in/work";

/// Little, so that an input takes little time.
pub const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 200, ratio: 200 };

static BEFORE: OnceLock<BTreeMap<PathBuf, Found>> = OnceLock::new();

/// One place with a store and layers, emptied when it is made.
pub struct Place {
    dir: PathBuf,
    /// Blobs.
    pub store: Store,
    /// Unpacked layers.
    pub layers: Layers,
}

impl Place {
    /// The place of that name, empty.
    #[must_use]
    pub fn new(name: &str) -> Self {
        BEFORE.get_or_init(prepare);
        let dir = Path::new(WORK).join(name);
        host::file::remove_tree(&dir).expect("empty the scratch directory");
        fs::create_dir(&dir).expect("make a directory");
        let store = Store::open(&dir.join("store")).expect("open a store");
        let layers = Layers::open(&dir.join("layers")).expect("open the layers");
        Self { dir, store, layers }
    }

    /// Unpacks the last of `chain`; what is left afterwards must be a layer or nothing.
    pub fn unpack(&self, chain: &[Descriptor]) -> error::Result<()> {
        let before = self.layers();
        let done = self.layers.unpack(&self.store, chain, &LIMITS, &mut |_| {});
        assert_unharmed();
        let grown = self.layers().len() - before.len();
        assert_eq!(grown, usize::from(done.is_ok()), "{done:?}");
        done
    }

    /// The layers that are unpacked; fails when one is not complete.
    #[must_use]
    pub fn layers(&self) -> Vec<PathBuf> {
        let names = |dir: &Path| {
            let entries = fs::read_dir(dir).expect("list a directory");
            let mut paths: Vec<_> = entries.map(|entry| entry.expect("list").path()).collect();
            paths.sort();
            paths
        };
        let layers = names(&self.dir.join("layers"));
        for layer in &layers {
            assert_eq!(names(layer), [layer.join("fs"), layer.join("layer.json")]);
        }
        layers
    }

    /// How many blobs there are, complete or not.
    #[must_use]
    pub fn blobs(&self) -> usize {
        let files = tree::of(&self.dir.join("store"), None);
        files.keys().filter(|path| path.components().count() == 2).count()
    }
}

/// Fails when anything changed that is no place.
pub fn assert_unharmed() {
    assert_eq!(&tree::of(Path::new(TOP), Some(Path::new(WORK))), BEFORE.get_or_init(prepare));
}

fn prepare() -> BTreeMap<PathBuf, Found> {
    host::sandbox::private_mounts().expect("a mount namespace (this must be root)");
    rustix::mount::mount("fuzz", TOP, "tmpfs", MountFlags::empty(), c"size=1g,mode=0755")
        .expect("mount a tmpfs");
    for dir in ["outside/dir", "in/work"] {
        fs::create_dir_all(Path::new(TOP).join(dir)).expect("make a directory");
    }
    for file in ["outside/canary", "outside/dir/canary", "in/canary"] {
        fs::write(Path::new(TOP).join(file), "sings").expect("write a file");
    }
    tree::of(Path::new(TOP), Some(Path::new(WORK)))
}
