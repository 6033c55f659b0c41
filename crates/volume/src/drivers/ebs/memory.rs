//! What this machine remembers of what it did. AWS may show for a while what was deleted, and answers
//! its creation token with it for a day. Kept in a file, so that a command knows what the one before
//! did; only an aid: without it AWS is asked more often, and watched for longer.

use super::locked;
use host::file::{self, Durability};
use host::record::{self, Read};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

/// So many are remembered; AWS forgets them, too.
const MOST: usize = 1_000;
const FILE: &str = "memory.json";

/// What is remembered.
pub(super) struct Memory {
    dir: PathBuf,
    notes: OnceLock<Mutex<Notes>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Notes {
    /// IDs of volumes and snapshots that are gone.
    gone: VecDeque<String>,
    /// Which creation token of a name works; earlier ones belong to volumes that are gone.
    generations: BTreeMap<String, u32>,
}

impl Memory {
    /// What is noted in `dir`; nothing is read yet.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, notes: OnceLock::new() }
    }

    fn notes(&self) -> &Mutex<Notes> {
        self.notes.get_or_init(|| {
            remove_temporaries(&self.dir);
            Mutex::new(match record::read(&self.dir.join(FILE)) {
                Ok(Read::Fine(notes)) => notes,
                Ok(Read::Missing | Read::Unusable(_)) | Err(_) => Notes::default(),
            })
        })
    }

    /// Whether it was deleted here.
    pub(super) fn is_gone(&self, id: &str) -> bool {
        locked(self.notes()).gone.iter().any(|gone| gone == id)
    }

    /// Notes that it is gone.
    pub(super) fn note_gone(&self, id: &str) {
        let mut notes = locked(self.notes());
        if notes.gone.iter().any(|gone| gone == id) {
            return;
        }
        notes.gone.push_back(id.to_owned());
        if notes.gone.len() > MOST {
            notes.gone.pop_front();
        }
        self.write(&notes);
    }

    /// The first token of the name that may work.
    pub(super) fn generation(&self, name: &str) -> u32 {
        locked(self.notes()).generations.get(name).copied().unwrap_or(0)
    }

    /// Notes that this token of the name is the first that may work.
    pub(super) fn note_generation(&self, name: &str, generation: u32) {
        let mut notes = locked(self.notes());
        if notes.generations.get(name).copied().unwrap_or(0) == generation {
            return;
        }
        notes.generations.insert(name.to_owned(), generation);
        if notes.generations.len() > MOST {
            // Any will do: what is forgotten is found out again.
            notes.generations.pop_first();
        }
        self.write(&notes);
    }

    fn write(&self, notes: &Notes) {
        let written = file::make_dir(&self.dir, 0o700)
            .and_then(|_| record::write(&self.dir.join(FILE), notes, Durability::Volatile));
        if let Err(error) = written {
            tracing::debug!(%error, "what was done is not noted");
        }
    }
}

/// Removes what writes that were killed have left.
fn remove_temporaries(dir: &Path) {
    let half = format!(".{FILE}.");
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&half) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_command_knows_what_the_one_before_did() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Memory::new(dir.path().join("new"));
        let memory = open();
        assert!(!memory.is_gone("vol-1"));
        for id in 0..=MOST {
            memory.note_gone(&format!("vol-{id}"));
        }
        memory.note_gone("vol-1");
        memory.note_generation("pg", 3);
        let half = dir.path().join("new/.memory.json.tmp-1-0");
        std::fs::write(&half, "{").unwrap();
        let again = open();
        assert!(again.is_gone("vol-1") && again.is_gone(&format!("vol-{MOST}")));
        assert!(!again.is_gone("vol-0"), "the oldest is forgotten");
        assert_eq!((again.generation("pg"), again.generation("other")), (3, 0));
        assert!(!half.exists(), "what a kill left half written is removed");
        std::fs::write(dir.path().join("new/memory.json"), "{").unwrap();
        assert!(!open().is_gone("vol-1"), "damaged, it is as good as none");
    }

    #[test]
    fn where_nothing_can_be_written_it_is_known_all_the_same() {
        let memory = Memory::new("/proc/none".into());
        memory.note_gone("vol-1");
        assert!(memory.is_gone("vol-1"));
    }
}
