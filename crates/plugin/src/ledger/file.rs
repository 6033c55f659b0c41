//! Records of this crate's volumes on disk: JSON with a format version, one file each.

use error::{Error, IoContext, Result};
use host::file::{self, Durability};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};

/// The version that this program writes.
const FORMAT: u64 = 1;

/// What reading a record gave.
#[derive(Debug)]
pub(crate) enum Read<T> {
    /// There is none.
    Missing,
    /// It reads well.
    Fine(T),
    /// It is there, but cannot be used: torn, corrupted, or of a newer version.
    Unusable(Error),
}

/// Writes `record` with its version.
pub(crate) fn write<T: Serialize>(path: &Path, record: &T, durability: Durability) -> Result<()> {
    let failed = |source| Error::internal("encode a record").because(source);
    let mut value = serde_json::to_value(record).map_err(failed)?;
    if let Value::Object(fields) = &mut value {
        fields.insert("format".to_owned(), FORMAT.into());
    }
    let mut text = serde_json::to_vec_pretty(&value).map_err(failed)?;
    text.push(b'\n');
    file::write_atomic(path, &text, durability)
}

/// Reads a record. Only a failure of the machine is an error; a bad record is `Unusable`.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Read<T>> {
    let Some(text) = file::read_optional(path)? else { return Ok(Read::Missing) };
    Ok(match decode(&text) {
        Ok(record) => Read::Fine(record),
        Err(error) => Read::Unusable(error.with("record", path.display())),
    })
}

fn decode<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    let value: Value = serde_json::from_slice(text).map_err(|source| {
        Error::internal("the record is torn or corrupted (no valid JSON)").because(source)
    })?;
    match value.get("format").and_then(Value::as_u64) {
        Some(FORMAT) => {}
        Some(newer) if newer > FORMAT => {
            return Err(Error::failed_precondition(format!(
                "the record has format {newer}, this program knows {FORMAT}; use the newer mobula \
                 that wrote it"
            )));
        }
        _ => return Err(Error::internal("the record has no valid format version")),
    }
    serde_json::from_value(value)
        .map_err(|source| Error::internal("the record lacks what it must have").because(source))
}

/// Moves an unusable record out of the way, keeping it: `<name>.damaged`, or with a number.
pub(crate) fn set_aside(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let numbered = |number: u32| match number {
        0 => path.with_file_name(format!("{name}.damaged")),
        _ => path.with_file_name(format!("{name}.damaged.{number}")),
    };
    let is_free = |kept: &PathBuf| kept.symlink_metadata().is_err();
    let kept = (0..1000).map(numbered).find(is_free).unwrap_or_else(|| numbered(0));
    file::rename_synced(path, &kept)?;
    Ok(kept)
}

/// The records in `dir`, in no order.
pub(crate) fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
    };
    let mut files = read().doing(|| format!("list {}", dir.display()))?;
    let is_hidden =
        |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    files
        .retain(|path| path.extension().is_some_and(|ending| ending == "json") && !is_hidden(path));
    Ok(files)
}

/// Removes a record; a missing one is removed already.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).doing(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
