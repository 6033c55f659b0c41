//! What this machine has deleted. AWS may show it for a while, and answers its creation token with it
//! for a day. Kept in a file, so that a command knows what the one before did; only an aid: without
//! it AWS is watched for longer.

use super::locked;
use host::file::{self, Durability};
use host::record::{self, Read};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

/// So many are remembered; AWS forgets them, too.
const MOST: usize = 1_000;

/// IDs of volumes and snapshots that are gone.
pub(super) struct Gone {
    file: PathBuf,
    ids: OnceLock<Mutex<Ids>>,
}

#[derive(Default, Serialize, Deserialize)]
struct Ids {
    ids: VecDeque<String>,
}

impl Gone {
    /// Those noted in `file`; nothing is read yet.
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, ids: OnceLock::new() }
    }

    fn ids(&self) -> &Mutex<Ids> {
        self.ids.get_or_init(|| {
            Mutex::new(match record::read(&self.file) {
                Ok(Read::Fine(ids)) => ids,
                Ok(Read::Missing | Read::Unusable(_)) | Err(_) => Ids::default(),
            })
        })
    }

    /// Whether it was deleted here.
    pub(super) fn contains(&self, id: &str) -> bool {
        locked(self.ids()).ids.iter().any(|gone| gone == id)
    }

    /// Notes that it is gone.
    pub(super) fn insert(&self, id: &str) {
        let mut ids = locked(self.ids());
        if ids.ids.iter().any(|gone| gone == id) {
            return;
        }
        ids.ids.push_back(id.to_owned());
        if ids.ids.len() > MOST {
            ids.ids.pop_front();
        }
        let directory = self.file.parent().map(|directory| file::make_dir(directory, 0o700));
        let written = directory
            .transpose()
            .and_then(|_| record::write(&self.file, &*ids, Durability::Volatile));
        if let Err(error) = written {
            tracing::debug!(%error, "what was deleted is not noted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_command_knows_what_the_one_before_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Gone::new(dir.path().join("new/gone.json"));
        let gone = open();
        assert!(!gone.contains("vol-1"));
        for id in 0..=MOST {
            gone.insert(&format!("vol-{id}"));
        }
        gone.insert("vol-1");
        let again = open();
        assert!(again.contains("vol-1") && again.contains(&format!("vol-{MOST}")));
        assert!(!again.contains("vol-0"), "the oldest is forgotten");
        std::fs::write(dir.path().join("new/gone.json"), "{").unwrap();
        assert!(!open().contains("vol-1"), "damaged, it is as good as none");
    }

    #[test]
    fn where_nothing_can_be_written_it_is_known_all_the_same() {
        let gone = Gone::new("/proc/none/gone.json".into());
        gone.insert("vol-1");
        assert!(gone.contains("vol-1"));
    }
}
