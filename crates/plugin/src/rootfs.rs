//! Root file systems: layers unpacked once into shared directories, laid over each other for each
//! plugin (overlay; copied where the kernel refuses).
//!
//! ```text
//! <dir>/<hex>/fs          a layer on top of those before it, <hex> being the digest of them all
//! <dir>/<hex>/layer.json  what it takes
//! <dir>/tmp-<uuid>        a layer being made
//! <changes>/{upper,work}  what a plugin wrote over its layers
//! <changes>/copy          instead of both: all of the plugin's files, where overlayfs is refused
//! ```
//!
//! A layer is durable before it gets its name: one syncfs(2) for all of its files, which on a disk
//! that others write to takes their data along, but is far faster than one fsync(2) per file.

mod context;
mod decode;
mod entry;
mod gzip;
mod header;
mod pack;
mod prepare;
mod squash;
mod staging;
mod tree;

pub use context::{Context, read_context};
pub use pack::write_context;

use crate::digest::Digest;
use crate::registry::Descriptor;
use crate::store::{Garbage, Store};
use error::{Error, IoContext, Kind, Result};
use host::mount::overlay::{self, Overlay};
use host::record::{self, Read as Recorded};
use host::root::{self, Root};
use host::{file, mountinfo};
use serde::{Deserialize, Serialize};
use staging::Staging;
use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use tree::{Tree, Used};

/// How many layers a plugin may have: as many as Docker's.
const LAYERS: usize = 128;

/// How much may come out of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of all files of a plugin.
    pub bytes: u64,
    /// Files, directories and so on of a plugin.
    pub entries: u64,
    /// Unpacked bytes per packed byte (counted once more than 16 MiB came out).
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 16 << 30, entries: 1_000_000, ratio: 200 }
    }
}

/// What is known about an unpacked layer.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Record {
    /// Bytes and entries of this layer and all before it.
    bytes: u64,
    entries: u64,
    /// It holds the files of the layers before it too.
    flat: bool,
}

/// The unpacked layers.
#[derive(Debug, Clone)]
pub struct Layers {
    dir: PathBuf,
}

impl Layers {
    /// Opens the directory of unpacked layers, removing what an interrupted unpacking left.
    pub fn open(dir: &Path) -> Result<Self> {
        file::make_dir(dir, 0o700)?;
        staging::sweep(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Unpacks `chain`'s last layer on top of the ones before (all are in `store`, those before are
    /// unpacked); nothing to do when it is there. `unpacked` is told the packed bytes consumed.
    pub fn unpack(
        &self,
        store: &Store,
        chain: &[Descriptor],
        limits: &Limits,
        unpacked: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let Some(layer) = chain.last() else { return Ok(()) };
        self.unpack_from(|| store.blob(&layer.digest), chain, limits, unpacked)
    }

    /// The same with `open` for the last layer's blob, which need not be in the store yet: what
    /// comes out of it is verified before it counts.
    pub fn unpack_from<R: Read + Send>(
        &self,
        open: impl FnOnce() -> Result<R>,
        chain: &[Descriptor],
        limits: &Limits,
        unpacked: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let Some(layer) = chain.last() else { return Ok(()) };
        let digests: Vec<Digest> = chain.iter().map(|layer| layer.digest.clone()).collect();
        check_length(&digests)?;
        if self.path(&digests).exists() {
            unpacked(layer.size);
            return Ok(());
        }
        let below = &digests[..digests.len() - 1];
        let staging = Staging::new(&self.dir)?;
        let (root, flat) = self.base(&staging, below)?;
        let used = self.used(below)?;
        let origin = format!("layer {}", layer.digest);
        let mut tree = Tree::new(root, &origin, limits, used, !below.is_empty());
        decode::with_layer(open()?, layer, limits, unpacked, |plain| {
            entry::each(plain, &origin, |entry, data| tree.add(entry, data))
        })?;
        let (used, root) = tree.finish()?;
        self.sync(&root)?;
        // With it goes the overlay, if there is one.
        drop(root);
        self.publish(staging, &digests, used, flat)
    }

    /// The root that a layer on top of `below` is unpacked into, and whether it is a copy of those.
    /// An overlay is mounted nowhere but here, and is gone with the root's descriptor.
    fn base(&self, staging: &Staging, below: &[Digest]) -> Result<(Root, bool)> {
        let open = || Root::open(&staging.fs()).doing(|| "open a layer");
        if below.is_empty() {
            return Ok((open()?, false));
        }
        let lower = self.directories(below)?;
        let mount = Overlay { lower, upper: staging.fs(), work: staging.work()? }.mount();
        match mount {
            Ok(mount) => Ok((Root::new(mount.into_fd()), false)),
            Err(error) if is_refusal(&error) => {
                tracing::info!(%error, "layers are copied, since they can't be laid over each other");
                let mut root = open()?;
                self.merge(below, &mut root)?;
                Ok((root, true))
            }
            Err(error) => Err(error),
        }
    }

    /// Mounts the layers of `chain` (lowest first) with `changes` on top at `target`, and prepares
    /// what Docker prepares in every plugin root.
    /// Mounted already → leaves it as it is.
    pub fn mount(&self, chain: &[Digest], changes: &Path, target: &Path) -> Result<()> {
        check_length(chain)?;
        file::make_dir(target, 0o700)?;
        if mountinfo::at(target)?.is_some() {
            return Ok(());
        }
        let copy = changes.join("copy");
        if chain.is_empty() || copy.exists() {
            return self.mount_copy(chain, changes, target);
        }
        let lower = self.directories(chain)?;
        let (upper, work) = (changes.join("upper"), changes.join("work"));
        file::make_dir(&upper, 0o755)?;
        file::make_dir(&work, 0o700)?;
        match (Overlay { lower, upper, work }).mount() {
            Ok(mount) => {
                prepare::prepare(&mut mount.root()?)?;
                mount.attach(target)
            }
            Err(error) if is_refusal(&error) => {
                tracing::info!(%error, "layers are copied, since they can't be laid over each other");
                self.mount_copy(chain, changes, target)
            }
            Err(error) => Err(error),
        }
    }

    fn mount_copy(&self, chain: &[Digest], changes: &Path, target: &Path) -> Result<()> {
        let (copy, half) = (changes.join("copy"), changes.join("copy.tmp"));
        if !copy.exists() {
            file::remove_tree(&half)?;
            file::make_dir(&half, 0o755)?;
            let mut root = Root::open(&half).doing(|| format!("open {}", half.display()))?;
            self.merge(chain, &mut root)?;
            self.sync(&root)?;
            file::rename_synced(&half, &copy)?;
        }
        let open = || format!("open {}", copy.display());
        prepare::prepare(&mut Root::open(&copy).doing(open)?)?;
        overlay::bind(&copy, target)
    }

    /// Unmounts what [`mount`](Self::mount) mounted, and whatever is mounted below it.
    pub fn unmount(&self, target: &Path) -> Result<()> {
        overlay::unmount_all(target)
    }

    /// Removes every unpacked layer that no chain in `keep` needs.
    pub fn collect(&self, keep: &HashSet<Vec<Digest>>, dry_run: bool) -> Result<Vec<Garbage>> {
        let kept: HashSet<PathBuf> = keep
            .iter()
            .flat_map(|chain| (1..=chain.len()).map(|length| self.path(&chain[..length])))
            .collect();
        let list = || format!("list {}", self.dir.display());
        let mut garbage = Vec::new();
        for entry in fs::read_dir(&self.dir).doing(list)? {
            let path = entry.doing(list)?.path();
            if kept.contains(&path) || staging::is_staging(&path) {
                continue;
            }
            let Some(record) = read_record(&path)? else { continue };
            if !dry_run {
                staging::discard(&path)?;
            }
            garbage.push(Garbage { path, bytes: record.bytes });
        }
        garbage.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(garbage)
    }

    fn sync(&self, root: &Root) -> Result<()> {
        root.sync().doing(|| format!("sync the file system of {}", self.dir.display()))
    }

    fn publish(&self, staging: Staging, chain: &[Digest], used: Used, flat: bool) -> Result<()> {
        let record = Record { bytes: used.bytes, entries: used.entries, flat };
        staging.write(RECORD, &record::encode(&record)?)?;
        staging.publish(&self.path(chain))
    }

    fn merge(&self, chain: &[Digest], into: &mut Root) -> Result<()> {
        for dir in self.directories(chain)?.iter().rev() {
            root::merge_layer(dir, into).doing(|| format!("copy {}", dir.display()))?;
        }
        Ok(())
    }

    /// The directories that make up `chain`, topmost first; from a flat one on, nothing is missing.
    fn directories(&self, chain: &[Digest]) -> Result<Vec<PathBuf>> {
        let mut directories = Vec::new();
        for length in (1..=chain.len()).rev() {
            let path = self.path(&chain[..length]);
            let record = read_record(&path)?.ok_or_else(|| {
                Error::not_found(format!(
                    "layer {} is not unpacked; install or create its plugin again",
                    chain[length - 1]
                ))
            })?;
            directories.push(path.join("fs"));
            if record.flat {
                break;
            }
        }
        Ok(directories)
    }

    /// What the layers of `chain` took of the limits.
    fn used(&self, chain: &[Digest]) -> Result<Used> {
        let record = read_record(&self.path(chain))?;
        Ok(record
            .map_or_else(Used::default, |Record { bytes, entries, .. }| Used { bytes, entries }))
    }

    fn path(&self, chain: &[Digest]) -> PathBuf {
        let names: Vec<&str> = chain.iter().map(Digest::as_str).collect();
        self.dir.join(Digest::of(names.join("\n").as_bytes()).hex())
    }
}

const RECORD: &str = "layer.json";

fn read_record(layer: &Path) -> Result<Option<Record>> {
    match record::read(&layer.join(RECORD))? {
        Recorded::Fine(record) => Ok(Some(record)),
        Recorded::Missing => Ok(None),
        Recorded::Unusable(error) => Err(error),
    }
}

fn check_length(chain: &[Digest]) -> Result<()> {
    if chain.len() > LAYERS {
        return Err(Error::out_of_range(format!(
            "the plugin has {} layers; at most {LAYERS} can be laid over each other",
            chain.len()
        )));
    }
    Ok(())
}

/// Whether overlayfs can't be had here, as opposed to having failed.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), Kind::FailedPrecondition | Kind::InvalidArgument | Kind::Unimplemented)
}

#[cfg(test)]
mod tests;
