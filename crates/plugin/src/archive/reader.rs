//! Reading an archive's entries: blobs go into the store, the index is kept, anything else that an
//! OCI layout does not have is refused.

use crate::digest::Digest;
use crate::store::Store;
use error::{Error, IoContext, Result};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read};
use tar::{Archive, EntryType};

/// The most entries of an archive.
const MOST_ENTRIES: usize = 20_000;
/// The largest `index.json` and `oci-layout`, in bytes.
const LARGEST_JSON: u64 = 4 << 20;
/// The largest extension header (pax), in bytes.
const LARGEST_EXTENSION: u64 = 64 << 10;
/// Bytes that all blobs of an archive may have together.
const LARGEST_ARCHIVE: u64 = 64 << 30;

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
enum What {
    Layout,
    Index,
    Blob(Digest),
    Directory,
    Extension,
}

/// What was found.
#[derive(Default)]
struct Layout {
    seen: HashSet<String>,
    marker: Option<Vec<u8>>,
    index: Option<Vec<u8>>,
    blobs: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// Takes all blobs of a plain or gzip tar into the store; the bytes of `index.json`.
pub(super) fn take_in(store: &Store, from: &mut dyn Read) -> Result<Vec<u8>> {
    let mut from = BufReader::new(from);
    let head = from.fill_buf().doing(|| "read the archive")?;
    let layout = if head.starts_with(&[0x1f, 0x8b]) {
        read(store, MultiGzDecoder::new(from))?
    } else {
        read(store, from)?
    };
    layout.into_index()
}

fn read(store: &Store, from: impl Read) -> Result<Layout> {
    let mut archive = Archive::new(from);
    let mut layout = Layout::default();
    // Raw: the names of a layout are short, and long ones would be read without a limit.
    let entries = archive.entries().doing(|| "read the archive")?.raw(true);
    for (count, entry) in entries.enumerate() {
        let mut entry = entry.doing(|| "read the archive; it is no tar or is cut short")?;
        if count >= MOST_ENTRIES {
            return Err(refused(&format!("it has more than {MOST_ENTRIES} entries")));
        }
        layout.take(store, &mut entry)?;
    }
    Ok(layout)
}

impl Layout {
    fn take(&mut self, store: &Store, entry: &mut tar::Entry<'_, impl Read>) -> Result<()> {
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| refused("it has an entry whose name is no text"))?;
        let what = what(&name, entry.header().entry_type())?;
        let size = entry.header().entry_size().doing(|| format!("read the size of {name:?}"))?;
        let name = name.trim_start_matches("./").to_owned();
        if !matches!(what, What::Directory | What::Extension) && !self.seen.insert(name.clone()) {
            return Err(refused(&format!("it has {name:?} twice")));
        }
        match what {
            What::Directory => {}
            What::Extension => check_extension(&small(entry, size, LARGEST_EXTENSION, &name)?)?,
            What::Layout => self.marker = Some(small(entry, size, LARGEST_JSON, &name)?),
            What::Index => self.index = Some(small(entry, size, LARGEST_JSON, &name)?),
            What::Blob(digest) => {
                self.blobs = self.blobs.saturating_add(size);
                if self.blobs > LARGEST_ARCHIVE {
                    return Err(refused(&format!("it has more than {LARGEST_ARCHIVE} bytes")));
                }
                blob(store, &digest, size, entry)?;
            }
        }
        Ok(())
    }

    fn into_index(self) -> Result<Vec<u8>> {
        let marker = self.marker.ok_or_else(|| refused("it has no oci-layout"))?;
        let marker: Marker = serde_json::from_slice(&marker)
            .map_err(|error| refused("its oci-layout cannot be read").because(error))?;
        if !marker.image_layout_version.starts_with("1.") {
            let version: String = marker.image_layout_version.chars().take(20).collect();
            return Err(refused(&format!("its layout has the unknown version {version:?}")));
        }
        self.index.ok_or_else(|| refused("it has no index.json"))
    }
}

fn what(name: &str, kind: EntryType) -> Result<What> {
    match kind {
        EntryType::XHeader | EntryType::XGlobalHeader => return Ok(What::Extension),
        EntryType::Directory if is_plain_directory(name) => return Ok(What::Directory),
        EntryType::Regular | EntryType::Continuous => {}
        _ => return Err(refused(&format!("{name:?} is neither a file nor a directory of it"))),
    }
    match name.strip_prefix("./").unwrap_or(name) {
        "oci-layout" => Ok(What::Layout),
        "index.json" => Ok(What::Index),
        name => {
            let digest = name.strip_prefix("blobs/sha256/").map(|hex| format!("sha256:{hex}"));
            let digest = digest.and_then(|text| Digest::parse(&text).ok());
            digest
                .map(What::Blob)
                .ok_or_else(|| refused(&format!("{name:?} does not belong into it")))
        }
    }
}

/// Directories hold nothing of themselves; some tools leave an empty one of their own.
fn is_plain_directory(name: &str) -> bool {
    let name = name.strip_prefix("./").unwrap_or(name);
    let name = name.strip_suffix('/').unwrap_or(name);
    name.is_empty() || name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Extended headers may tell times and owners, which are ignored, but not another name or size.
fn check_extension(records: &[u8]) -> Result<()> {
    let keys = ["path=", "size=", "linkpath=", "GNU.sparse"];
    let lines = records.split(|&byte| byte == b'\n').map(String::from_utf8_lossy);
    for line in lines {
        let record = line.split_once(' ').map_or("", |(_, record)| record);
        if keys.iter().any(|key| record.starts_with(key)) {
            return Err(refused("an extended header gives an entry another name or size"));
        }
    }
    Ok(())
}

fn small(entry: &mut impl Read, size: u64, limit: u64, name: &str) -> Result<Vec<u8>> {
    if size > limit {
        return Err(refused(&format!("its {name:?} is larger than {limit} bytes")));
    }
    let mut bytes = Vec::new();
    entry.take(limit).read_to_end(&mut bytes).doing(|| format!("read {name:?} of the archive"))?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(refused("it is cut short")) }
}

fn blob(store: &Store, digest: &Digest, size: u64, from: &mut impl Read) -> Result<()> {
    if let Some(there) = store.find(digest)? {
        let message = format!("its blob {digest} has {size} bytes instead of {there}");
        return if there == size { Ok(()) } else { Err(refused(&message)) };
    }
    let mut writer = store.writer(digest, size)?;
    if writer.offset() > 0 {
        writer.restart()?;
    }
    // Not empty after all: somebody else has completed it by now.
    if writer.offset() == size {
        return writer.commit();
    }
    let count =
        io::copy(from, &mut writer).doing(|| format!("take blob {digest} out of the archive"))?;
    if count == size { writer.commit() } else { Err(refused("it is cut short")) }
}

fn refused(why: &str) -> Error {
    Error::invalid_argument(format!("the archive is not taken: {why}"))
}
