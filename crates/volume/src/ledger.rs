//! Who has which volume mounted: one record per volume that is in use on this machine, under the
//! run directory, with the boot ID. It survives a crash of the program; a reboot makes it void.
//!
//! ```text
//!            ┌──────────── mount ────────────┐
//!  (absent) ─┴▶ Preparing ─▶ Mounted ─▶ Releasing ─▶ (absent)
//!                   └── failed or killed ──▶┘   └── held: tried again
//! ```
//!
//! A volume is unmounted when its last caller's ID is gone, not when a counter says so.

use crate::name::{ServiceName, VolumeId, VolumeName};
use error::{IoContext, Result};
use host::Mount;
use host::file::{self, Durability};
use host::process::Identity;
use host::record::{self, Read};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// One volume in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The boot in which this was written (proc_sys_kernel(5), `random/boot_id`).
    pub boot: String,
    /// The volume's name.
    pub name: VolumeName,
    /// The back end's identifier.
    pub id: VolumeId,
    /// Where it stands.
    pub state: State,
    /// What the kernel shows at the target, once mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<Shown>,
    /// Who asked for it and has not given it back.
    #[serde(default)]
    pub consumers: Vec<Consumer>,
    /// Attached by hand: it stays attached when nobody has it mounted.
    #[serde(default)]
    pub kept: bool,
    /// The device it was attached as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<PathBuf>,
    /// This machine's claim on it was lost while it was mounted: nothing can be written to it until
    /// it is unmounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
}

/// That a claim was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// When that was found.
    pub since: Timestamp,
    /// Why, in the driver's words.
    pub why: String,
}

/// How far a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// On its way to be attached or mounted.
    Preparing,
    /// Attached by hand, not mounted.
    Attached,
    /// Mounted.
    Mounted,
    /// No longer wanted; to be unmounted and detached as soon as nobody holds it.
    Releasing,
}

/// What identifies a mount without touching it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// `major:minor`.
    pub device: String,
    /// Root of the mount within its file system.
    pub root: PathBuf,
    /// File system type.
    pub fstype: String,
    /// Source.
    pub source: String,
}

impl From<&Mount> for Shown {
    fn from(mount: &Mount) -> Self {
        Self {
            device: mount.device.clone(),
            root: mount.root.clone(),
            fstype: mount.fstype.clone(),
            source: mount.source.clone(),
        }
    }
}

/// Somebody who has a volume mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// The caller's mount ID: Docker's 64 hexadecimal digits, or a word of the CLI's user.
    pub id: String,
    /// Since when.
    pub since: Timestamp,
    /// What happens to it when the caller is gone.
    pub kind: ConsumerKind,
    /// The process that asked, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Identity>,
}

/// How long a consumer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConsumerKind {
    /// Until it is given back: people, and engines that reuse one ID.
    Standing,
    /// A container engine's: void once the engine's process is gone and no container holds the
    /// volume.
    Engine,
    /// Found mounted without a record, or mounted for a caller that had given up by then: void once
    /// nobody holds the volume.
    Found,
}

impl Entry {
    /// Whether `id` is among the consumers.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.consumers.iter().any(|consumer| consumer.id == id)
    }
}

impl Entry {
    /// Adds `consumer`, or puts it in the place of the one with its ID: dockerd keeps its IDs when
    /// it is started again, and then it is the new process that counts. What stands stays.
    pub fn add(&mut self, consumer: Consumer) {
        match self.consumers.iter_mut().find(|known| known.id == consumer.id) {
            None => self.consumers.push(consumer),
            // Nor does a caller that gave up weaken the claim of one that did not.
            Some(known)
                if known.kind == ConsumerKind::Standing
                    || consumer.kind == ConsumerKind::Found
                    || (known.caller == consumer.caller && known.kind == consumer.kind) => {}
            Some(known) => *known = consumer,
        }
    }
}

impl Consumer {
    /// Turns the claim of a caller that has given up into one that lapses.
    pub fn lapse_unless(&mut self, is_wanted: bool) {
        if !is_wanted && self.kind == ConsumerKind::Engine {
            self.kind = ConsumerKind::Found;
        }
    }
}

/// The ledger of one service. Entries are read from memory; each change is on disk before it counts.
pub struct Ledger {
    dir: PathBuf,
    boot: String,
    entries: RwLock<BTreeMap<VolumeName, Arc<Entry>>>,
}

impl Ledger {
    /// Opens the ledger in `dir` and reads what is there.
    ///
    /// Entries of an earlier boot are void and removed; unusable ones are set aside, and what they
    /// were about is found again in the mount table.
    pub fn open(dir: PathBuf, service: &ServiceName, boot: String) -> Result<Self> {
        file::make_dir(&dir, 0o700)?;
        let ledger = Self { dir, boot, entries: RwLock::default() };
        for path in ledger.files()? {
            match record::read::<Entry>(&path)? {
                Read::Fine(entry) if entry.boot == ledger.boot => {
                    ledger.write_memory(|entries| {
                        entries.insert(entry.name.clone(), Arc::new(entry));
                    });
                }
                Read::Fine(_) => remove(&path)?,
                Read::Missing => {}
                Read::Unusable(error) => {
                    let kept = record::set_aside(&path)?;
                    let kept = kept.display();
                    tracing::error!(%error, %service, %kept, "unusable ledger entry set aside");
                }
            }
        }
        Ok(ledger)
    }

    /// The boot that entries of this ledger belong to.
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// The entry of `name`.
    pub fn find(&self, name: &VolumeName) -> Option<Arc<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Every entry, by name.
    pub fn list(&self) -> Vec<Arc<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Writes `entry` in place of the one of its name.
    pub fn put(&self, entry: Entry) -> Result<()> {
        // Not fsync'ed: after a power cut the boot ID has changed and the entry is void anyway.
        record::write(&self.path(&entry.name), &entry, Durability::Volatile)?;
        self.write_memory(|entries| {
            entries.insert(entry.name.clone(), Arc::new(entry));
        });
        Ok(())
    }

    /// Strikes the entry of `name`.
    pub fn strike(&self, name: &VolumeName) -> Result<()> {
        remove(&self.path(name))?;
        self.write_memory(|entries| {
            entries.remove(name);
        });
        Ok(())
    }

    fn path(&self, name: &VolumeName) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let read = || -> std::io::Result<Vec<PathBuf>> {
            std::fs::read_dir(&self.dir)?.map(|entry| Ok(entry?.path())).collect()
        };
        let mut files = read().doing(|| format!("list {}", self.dir.display()))?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        files
            .retain(|path| !path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')));
        Ok(files)
    }

    fn write_memory(&self, change: impl FnOnce(&mut BTreeMap<VolumeName, Arc<Entry>>)) {
        change(&mut self.entries.write().unwrap_or_else(PoisonError::into_inner));
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).doing(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, boot: &str) -> Entry {
        Entry {
            boot: boot.to_owned(),
            name: VolumeName::parse(name).unwrap(),
            id: VolumeId::new(name),
            state: State::Mounted,
            shown: None,
            consumers: Vec::new(),
            kept: false,
            device: None,
            loss: None,
        }
    }

    fn open(dir: &Path, boot: &str) -> Ledger {
        let service = ServiceName::parse("s").unwrap();
        Ledger::open(dir.to_owned(), &service, boot.to_owned()).unwrap()
    }

    fn names(ledger: &Ledger) -> Vec<String> {
        ledger.list().iter().map(|entry| entry.name.to_string()).collect()
    }

    fn consumer(kind: ConsumerKind, pid: i32) -> Consumer {
        let caller = Some(Identity { pid, start_time: 1 });
        Consumer { id: "id".to_owned(), since: Timestamp::UNIX_EPOCH, kind, caller }
    }

    #[test]
    fn an_id_that_comes_back_from_another_process_is_that_processs() {
        let mut entry = entry("a", "boot");
        entry.add(consumer(ConsumerKind::Engine, 1));
        entry.add(consumer(ConsumerKind::Engine, 2));
        assert_eq!(entry.consumers, [consumer(ConsumerKind::Engine, 2)]);
    }

    #[test]
    fn a_claim_that_lapses_never_takes_the_place_of_one_that_stands() {
        for kind in [ConsumerKind::Standing, ConsumerKind::Engine] {
            let mut entry = entry("a", "boot");
            entry.add(consumer(kind, 1));
            entry.add(consumer(ConsumerKind::Found, 2));
            assert_eq!(entry.consumers, [consumer(kind, 1)]);
        }
    }

    #[test]
    fn a_caller_that_gave_up_has_a_claim_that_lapses() {
        let mut gone = consumer(ConsumerKind::Engine, 1);
        gone.lapse_unless(true);
        assert_eq!(gone.kind, ConsumerKind::Engine);
        gone.lapse_unless(false);
        assert_eq!(gone.kind, ConsumerKind::Found);
        let mut standing = consumer(ConsumerKind::Standing, 1);
        standing.lapse_unless(false);
        assert_eq!(standing.kind, ConsumerKind::Standing, "Podman's one ID never lapses");
    }

    #[test]
    fn entries_survive_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = open(dir.path(), "boot");
        ledger.put(entry("a", "boot")).unwrap();
        ledger.put(entry("b", "boot")).unwrap();
        ledger.strike(&VolumeName::parse("b").unwrap()).unwrap();
        assert_eq!(names(&open(dir.path(), "boot")), ["a"]);
    }

    #[test]
    fn entries_of_an_earlier_boot_are_void() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), "old").put(entry("a", "old")).unwrap();
        assert!(names(&open(dir.path(), "new")).is_empty());
    }

    #[test]
    fn a_torn_entry_is_set_aside_and_the_others_count() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), "boot").put(entry("a", "boot")).unwrap();
        std::fs::write(dir.path().join("b.json"), b"{\"boot\": \"bo").unwrap();
        assert_eq!(names(&open(dir.path(), "boot")), ["a"]);
        assert!(dir.path().join("b.json.unusable").exists());
    }

    #[test]
    fn an_entry_that_cannot_be_written_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = open(&dir.path().join("gone"), "boot");
        std::fs::remove_dir(dir.path().join("gone")).unwrap();
        assert!(ledger.put(entry("a", "boot")).is_err());
        assert!(names(&ledger).is_empty());
    }
}
