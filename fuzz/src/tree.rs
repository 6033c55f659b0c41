//! All that can be told about the files of a directory, so that two can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// What is known of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    mode: u32,
    owner: (u32, u32),
    device: u64,
    links: u64,
    modified: i64,
    /// A file's bytes, a link's target.
    contents: Vec<u8>,
}

/// Everything below `dir` and `dir` itself, but for what is below `except`.
#[must_use]
pub fn of(dir: &Path, except: Option<&Path>) -> BTreeMap<PathBuf, Found> {
    let mut files = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path).expect("a file that was listed");
        if metadata.is_dir() && except != Some(&path) {
            let entries = fs::read_dir(&path).expect("list a directory");
            left.extend(entries.map(|entry| entry.expect("list a directory").path()));
        }
        let name = path.strip_prefix(dir).expect("a path below").to_owned();
        files.insert(name, found(&path, &metadata, except == Some(&path)));
    }
    files
}

/// The files of an unpacked layer without the times that no archive said: what is newer than this
/// process, and what is older than 1970, which is packed as if it were not.
#[must_use]
pub fn of_layer(layer: &Path) -> BTreeMap<PathBuf, Found> {
    static STARTED: OnceLock<SystemTime> = OnceLock::new();
    let started = STARTED.get_or_init(SystemTime::now).duration_since(UNIX_EPOCH);
    // Filled in at the first layer, which is itself a little older.
    let latest = started.expect("a clock").as_secs().cast_signed() - 60;
    let mut files = of(&layer.join("fs"), None);
    for file in files.values_mut().filter(|file| !(0..latest).contains(&file.modified)) {
        file.modified = 0;
    }
    files
}

fn found(path: &Path, metadata: &fs::Metadata, is_excepted: bool) -> Found {
    let kind = metadata.file_type();
    let contents = if kind.is_file() {
        fs::read(path).expect("read a file")
    } else if kind.is_symlink() {
        fs::read_link(path).expect("read a link").into_os_string().into_encoded_bytes()
    } else {
        Vec::new()
    };
    let is_device = kind.is_char_device() || kind.is_block_device();
    Found {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        device: if is_device { metadata.rdev() } else { 0 },
        links: if kind.is_dir() { 0 } else { metadata.nlink() },
        modified: if is_excepted { 0 } else { metadata.mtime() },
        contents,
    }
}
