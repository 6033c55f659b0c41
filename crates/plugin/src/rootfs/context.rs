//! What `docker plugin create` sends, `config.json` and `rootfs/` in a tar: taken in, in one pass,
//! and made from a directory.

use super::entry::{self, Entry, What};
use super::gzip::Packer;
use super::staging::Staging;
use super::tree::{Tree, Used};
use super::{Layers, Limits, decode, header};
use crate::registry::Descriptor;
use crate::store::Store;
use error::{Error, IoContext, Result};
use host::root::Root;
use std::io::{self, Read, Write};
use std::path::Path;

/// The largest `config.json`, in bytes.
const CONFIG: u64 = 1 << 20;

/// The archive in errors.
const ORIGIN: &str = "plugin context";

/// What the one layer of a plugin that was made here is called.
pub(super) const MEDIA_TYPE: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// What `docker plugin create` sends, taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// `config.json` as it came.
    pub config: Vec<u8>,
    /// The one gzip layer, in the store and unpacked.
    pub layer: Descriptor,
}

/// Takes in a create context: a tar (plain or gzip) with `config.json` and `rootfs/`, in one pass.
/// The layer is packed (gzip, in parallel) into `store` and unpacked into `layers`.
///
/// Everything else in it is ignored. The same entries in the same order give the same layer.
pub fn read_context(
    tar: &mut dyn Read,
    store: &Store,
    layers: &Layers,
    limits: &Limits,
) -> Result<Context> {
    let staging = Staging::new(&layers.dir)?;
    let root = Root::open(&staging.fs()).doing(|| "open a layer")?;
    let mut taker = Taker {
        tree: Tree::new(root, ORIGIN, limits, Used::default(), false),
        packer: Packer::new(store)?,
        config: None,
        has_rootfs: false,
    };
    let (_, plain) = decode::plain(tar, limits).map_err(|error| entry::failed(ORIGIN, error))?;
    entry::each(plain, ORIGIN, |entry, data| taker.take(entry, data))?;
    let Taker { tree, mut packer, config, has_rootfs } = taker;
    let config = config.ok_or_else(|| missing("config not found", "config.json"))?;
    if !has_rootfs {
        return Err(missing("no rootfs found", "rootfs/"));
    }
    header::end(&mut packer).doing(|| "pack the layer")?;
    let (used, root) = tree.finish()?;
    // While the last blocks are packed, the files go to the disk.
    let synced = std::thread::scope(|scope| {
        let sync = scope.spawn(|| layers.sync(&root));
        let packed = packer.finish();
        sync.join().map_err(|_| Error::internal("syncing a layer ended unexpectedly"))??;
        packed
    });
    let (digest, size) = synced?;
    layers.publish(staging, std::slice::from_ref(&digest), used, false)?;
    Ok(Context { config, layer: Descriptor { media_type: MEDIA_TYPE.to_owned(), digest, size } })
}

fn missing(what: &str, name: &str) -> Error {
    Error::invalid_argument(format!(
        "{ORIGIN}: {what}; the directory to create a plugin from must have {name} in it"
    ))
}

struct Taker<'a> {
    tree: Tree<'a>,
    packer: Packer,
    config: Option<Vec<u8>>,
    has_rootfs: bool,
}

impl Taker<'_> {
    fn take(&mut self, entry: &Entry, data: &mut dyn Read) -> Result<()> {
        let at = || format!("{ORIGIN} entry {:?}", entry.path.display().to_string());
        if entry.path == Path::new("config.json") && entry.what == What::File {
            self.config = Some(read_config(entry, data)?);
            return Ok(());
        }
        let Ok(path) = entry.path.strip_prefix("rootfs") else { return Ok(()) };
        if path.as_os_str().is_empty() && entry.what != What::Directory {
            return Err(entry::refused(&at(), "no rootfs found: it is not a directory"));
        }
        self.has_rootfs = true;
        let what = match &entry.what {
            What::HardLink(target) => match target.strip_prefix("rootfs") {
                Ok(target) => What::HardLink(target.to_owned()),
                Err(_) => {
                    return Err(entry::refused(&at(), "its link target is outside of rootfs/"));
                }
            },
            other => other.clone(),
        };
        let entry = Entry { path: path.to_owned(), what, ..entry.clone() };
        header::write(&mut self.packer, &entry).map_err(|error| entry::failed(&at(), error))?;
        self.tree.add(&entry, &mut Tee { data, packer: &mut self.packer })?;
        let padding = header::padding(entry.size);
        self.packer.write_all(padding).map_err(|error| entry::failed(&at(), error))
    }
}

fn read_config(entry: &Entry, data: &mut dyn Read) -> Result<Vec<u8>> {
    if entry.size > CONFIG {
        return Err(Error::out_of_range(format!(
            "{ORIGIN} entry \"config.json\" is larger than {CONFIG} bytes"
        )));
    }
    let mut config = Vec::new();
    data.read_to_end(&mut config)
        .map_err(|error| entry::failed(&format!("{ORIGIN} entry \"config.json\""), error))?;
    Ok(config)
}

/// Packs what is read.
struct Tee<'a> {
    data: &'a mut dyn Read,
    packer: &'a mut Packer,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.data.read(buffer)?;
        self.packer.write_all(&buffer[..count])?;
        Ok(count)
    }
}
