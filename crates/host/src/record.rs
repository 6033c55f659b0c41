//! Records on disk: JSON with a format version, written atomically, set aside when unreadable.

use crate::file::{self, Durability};
use error::{Error, IoContext, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};

/// The version that this program writes.
pub const VERSION: u64 = 1;

/// What reading a record gave.
#[derive(Debug)]
pub enum Read<T> {
    /// There is none.
    Missing,
    /// It reads well.
    Fine(T),
    /// It is there, but cannot be used: torn, corrupted, or of a newer version.
    Unusable(Error),
}

/// Writes `record` with its version.
pub fn write<T: Serialize>(path: &Path, record: &T, durability: Durability) -> Result<()> {
    file::write_atomic(path, &encode(record)?, durability)
}

/// Writes `record` with its version to a file that is not there yet.
pub fn write_new<T: Serialize>(path: &Path, record: &T) -> Result<()> {
    file::write_new(path, &encode(record)?)
}

/// The text of a record, with its version.
pub fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>> {
    let failed = |source| Error::internal("encode a record").because(source);
    let mut value = serde_json::to_value(record).map_err(failed)?;
    if let Value::Object(fields) = &mut value {
        fields.insert("version".to_owned(), VERSION.into());
    }
    let mut text = serde_json::to_vec_pretty(&value).map_err(failed)?;
    text.push(b'\n');
    Ok(text)
}

/// Reads a record. Only a failure of the machine is an error; a bad record is `Unusable`.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Read<T>> {
    let Some(text) = file::read_optional(path)? else { return Ok(Read::Missing) };
    Ok(match decode(&text) {
        Ok(record) => Read::Fine(record),
        Err(error) => Read::Unusable(error.with("record", path.display())),
    })
}

/// Decodes a record's text.
pub fn decode<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    let mut value: Value = serde_json::from_slice(text).map_err(|source| {
        Error::internal("the record is torn or corrupted (no valid JSON)").because(source)
    })?;
    let version = value.as_object_mut().and_then(|fields| fields.remove("version"));
    match version.as_ref().and_then(Value::as_u64) {
        Some(VERSION) => {}
        Some(newer) if newer > VERSION => {
            return Err(Error::failed_precondition(format!(
                "the record has format version {newer}, this program knows {VERSION}; use the \
                 newer mobula that wrote it"
            )));
        }
        _ => return Err(Error::internal("the record has no valid format version")),
    }
    serde_json::from_value(value)
        .map_err(|source| Error::internal("the record lacks what it must have").because(source))
}

/// Moves an unusable record out of the way, keeping it: `<name>.unusable`, or with a number.
pub fn set_aside(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let numbered = (0..1000).map(|n| match n {
        0 => path.with_file_name(format!("{name}.unusable")),
        n => path.with_file_name(format!("{name}.unusable.{n}")),
    });
    let free = numbered.into_iter().find(|aside| !aside.exists()).ok_or_else(|| {
        Error::resource_exhausted(format!("too many unusable copies beside {}", path.display()))
    })?;
    std::fs::rename(path, &free).doing(|| format!("set aside {}", path.display()))?;
    Ok(free)
}

/// Whether a record of this path was ever set aside.
#[must_use]
pub fn was_set_aside(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    path.with_file_name(format!("{name}.unusable")).exists()
}

/// The records in `dir`, in no order.
pub fn list(dir: &Path) -> Result<Vec<PathBuf>> {
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
pub fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).doing(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        text: String,
    }

    fn written() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("note.json");
        write(&path, &Note { text: "kept".to_owned() }, Durability::Synced).unwrap();
        (dir, path)
    }

    #[test]
    fn a_record_reads_as_it_was_written() {
        let (_dir, path) = written();
        assert!(matches!(read::<Note>(&path).unwrap(), Read::Fine(note) if note.text == "kept"));
    }

    #[test]
    fn a_record_torn_at_any_byte_is_unusable_and_never_half_read() {
        let (_dir, path) = written();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() - 2 {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(read::<Note>(&path).unwrap(), Read::Unusable(_)), "{length}");
        }
    }

    #[test]
    fn a_record_of_a_newer_version_is_refused_and_not_guessed() {
        let error = decode::<Note>(br#"{"version": 2, "text": "x"}"#).expect_err("newer");
        assert!(error.message().contains("newer mobula"), "{error}");
    }

    #[test]
    fn an_unusable_record_is_kept_beside() {
        let (_dir, path) = written();
        assert!(set_aside(&path).unwrap().ends_with("note.json.unusable"));
        std::fs::write(&path, "again").unwrap();
        assert!(set_aside(&path).unwrap().ends_with("note.json.unusable.1"));
        assert!(matches!(read::<Note>(&path).unwrap(), Read::Missing));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Note>(&bytes);
        }
    }
}
