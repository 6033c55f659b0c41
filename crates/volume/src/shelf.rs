//! A directory of directories, each with a record: how the drivers of this machine keep volumes
//! and snapshots. A directory copied by hand is a copied volume. A record that is lost or corrupted
//! is replaced by the second one beside it, which says the same; without that, its directory is
//! adopted again from its data, which tells nothing of the options that it was made with.
//!
//! ```text
//! .new-a/ ──publish (rename)──▶ a/ ──withdraw (rename)──▶ .gone-a/ ──▶ removed
//! ```
//!
//! Whatever starts with a dot was never acknowledged or is already deleted, and is swept away.

use error::{Error, IoContext, Kind, Result};
use host::failpoint;
use host::file::{self, Durability};
use host::record::{self, Read};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

const NEW: &str = ".new-";
const GONE: &str = ".gone-";
/// How old a directory's change must be before an unchanged time stamp means an unchanged
/// directory: the kernel's time stamps move in steps of up to 10 ms.
const SETTLED: Duration = Duration::from_millis(100);

/// What lies on a shelf.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The record's file name within its directory.
    const FILE: &'static str;

    /// The name under which it was recorded.
    fn name(&self) -> &str;

    /// The record of the directory `dir` called `name`, whose own record is missing, unusable or
    /// that of another name (then `copied`). `None`: that directory is no such thing.
    fn adopt(name: &str, dir: &Path, copied: Option<Self>) -> Result<Option<Self>>;
}

/// What a listing finds under a name.
pub enum Found<R> {
    /// Its record.
    Fine(Arc<R>),
    /// It is there, and its record cannot be used.
    Unusable {
        /// The name.
        name: String,
        /// Why, and the way out.
        why: Error,
    },
}

impl<R: Record> Found<R> {
    /// The name.
    pub fn name(&self) -> &str {
        match self {
            Self::Fine(record) => record.name(),
            Self::Unusable { name, .. } => name,
        }
    }
}

/// The record of `name` on somebody else's shelf at `dir`, if it is a good one; changes nothing.
pub fn peek<R: Record>(dir: &Path, name: &str) -> Option<R> {
    match record::read::<R>(&dir.join(name).join(R::FILE)) {
        Ok(Read::Fine(record)) if record.name() == name => Some(record),
        _ => None,
    }
}

/// One shelf.
pub struct Shelf<R> {
    dir: PathBuf,
    cache: Mutex<Cache<R>>,
    repair: Mutex<()>,
    syncs: GroupSync,
}

struct Cache<R> {
    entries: BTreeMap<Box<str>, Entry<R>>,
    /// The directory's stamp when `entries` was complete.
    complete: Option<Stamp>,
}

struct Entry<R> {
    record: Arc<R>,
    stamp: Stamp,
}

/// What changes when a file or directory does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl<R: Record> Shelf<R> {
    /// The shelf at `dir`, made when missing; sweeps away what was left half-done.
    pub fn open(dir: PathBuf) -> Result<Self> {
        file::make_dir(&dir, 0o700)?;
        let cache = Cache { entries: BTreeMap::new(), complete: None };
        let (cache, repair) = (Mutex::new(cache), Mutex::new(()));
        let shelf = Self { dir, cache, repair, syncs: GroupSync::default() };
        for name in shelf.names(|name| name.starts_with(NEW) || name.starts_with(GONE))? {
            if let Err(error) = file::remove_tree(&shelf.dir.join(&name)) {
                tracing::warn!(%error, name, "left-over of an interrupted operation stays");
            }
        }
        Ok(shelf)
    }

    /// The directory of `name`, whether it exists or not.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The record of `name`. One that is there and cannot be used is an error, never `None`: its
    /// name is not free.
    pub fn find(&self, name: &str) -> Result<Option<Arc<R>>> {
        self.try_find(name).map_err(|error| {
            let (record, why) = (self.record_path(name), error.chain());
            let record = record.display();
            Error::new(error.kind(), format!("{name} is there, and {record} cannot be used: {why}"))
        })
    }

    fn try_find(&self, name: &str) -> Result<Option<Arc<R>>> {
        let Some(stamp) = stamp(&self.record_path(name))? else { return self.repair(name) };
        if let Some(entry) = self.lock().entries.get(name)
            && entry.stamp == stamp
        {
            return Ok(Some(Arc::clone(&entry.record)));
        }
        match record::read::<R>(&self.record_path(name))? {
            Read::Fine(record) if record.name() == name => Ok(Some(self.keep(name, record, stamp))),
            Read::Fine(_) | Read::Missing => self.repair(name),
            Read::Unusable(error) if error.kind() == Kind::FailedPrecondition => Err(error),
            Read::Unusable(_) => self.repair(name),
        }
    }

    /// Everything that is there, by name.
    pub fn list(&self) -> Result<Vec<Found<R>>> {
        let before = stamp(&self.dir)?;
        {
            let cache = self.lock();
            if before.is_some() && cache.complete == before {
                let records = cache.entries.values().map(|entry| Arc::clone(&entry.record));
                return Ok(records.map(Found::Fine).collect());
            }
        }
        let names = self.names(|name| !name.starts_with('.'))?;
        let mut found = Vec::with_capacity(names.len());
        for name in &names {
            match self.find(name) {
                Ok(Some(record)) => found.push(Found::Fine(record)),
                Ok(None) => {}
                Err(why) => found.push(Found::Unusable { name: name.clone(), why }),
            }
        }
        let mut cache = self.lock();
        cache.entries.retain(|name, _| names.binary_search_by(|n| n.as_str().cmp(name)).is_ok());
        // Incomplete while something cannot be used: then each listing looks again.
        let whole = found.iter().all(|found| matches!(found, Found::Fine(_)));
        let whole = whole && cache.entries.len() == found.len();
        cache.complete = before.filter(|stamp| whole && stamp.is_settled());
        Ok(found)
    }

    /// An empty directory in which `name` is prepared.
    pub fn stage(&self, name: &str) -> Result<PathBuf> {
        let stage = self.dir.join(format!("{NEW}{name}"));
        file::remove_tree(&stage)?;
        file::make_dir(&stage, 0o700)?;
        failpoint::hit("shelf.staged");
        Ok(stage)
    }

    /// Makes what was prepared in [`stage`](Self::stage) visible, durably and at once.
    pub fn publish(&self, name: &str, record: R) -> Result<Arc<R>> {
        let stage = self.dir.join(format!("{NEW}{name}"));
        record::write_new(&stage.join(R::FILE), &record)?;
        write_second(&stage, &record);
        failpoint::hit("shelf.recorded");
        self.rename(&stage, &self.path(name))?;
        failpoint::hit("shelf.published");
        self.kept(name, record)
    }

    /// Gives up what was prepared.
    pub fn discard(&self, name: &str) {
        let stage = self.dir.join(format!("{NEW}{name}"));
        if let Err(error) = file::remove_tree(&stage) {
            tracing::warn!(%error, "left-over of a failed operation stays until the next start");
        }
    }

    /// Replaces the record of `name`, durably.
    pub fn update(&self, name: &str, record: R) -> Result<Arc<R>> {
        record::write(&self.record_path(name), &record, Durability::Synced)?;
        failpoint::hit("shelf.updated");
        write_second(&self.path(name), &record);
        self.kept(name, record)
    }

    /// Removes `name` with all it holds: gone at once, its space soon after.
    pub fn withdraw(&self, name: &str) -> Result<()> {
        let gone = self.dir.join(format!("{GONE}{name}"));
        file::remove_tree(&gone)?;
        self.rename(&self.path(name), &gone)?;
        self.lock().entries.remove(name);
        failpoint::hit("shelf.withdrawn");
        file::remove_tree(&gone).map(drop)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        std::fs::rename(from, to)
            .doing(|| format!("rename {} to {}", from.display(), to.display()))?;
        failpoint::hit("shelf.renamed");
        self.syncs.sync(&self.dir)
    }

    fn record_path(&self, name: &str) -> PathBuf {
        self.dir.join(name).join(R::FILE)
    }

    fn kept(&self, name: &str, record: R) -> Result<Arc<R>> {
        let stamp = stamp(&self.record_path(name))?
            .ok_or_else(|| Error::aborted(format!("{name} vanished while it was written")))?;
        Ok(self.keep(name, record, stamp))
    }

    fn keep(&self, name: &str, record: R, stamp: Stamp) -> Arc<R> {
        let record = Arc::new(record);
        let entry = Entry { record: Arc::clone(&record), stamp };
        self.lock().entries.insert(name.into(), entry);
        record
    }

    /// Finds out what a directory without its own good record is, and records that.
    fn repair(&self, name: &str) -> Result<Option<Arc<R>>> {
        let dir = self.path(name);
        if !dir.is_dir() {
            self.lock().entries.remove(name);
            return Ok(None);
        }
        let _one_at_a_time = self.repair.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.record_path(name);
        let copied = match record::read::<R>(&path)? {
            Read::Fine(record) if record.name() == name => {
                return self.kept(name, record).map(Some);
            }
            Read::Fine(record) => Some(record),
            Read::Missing => None,
            Read::Unusable(error) => {
                let aside = record::set_aside(&path)?;
                tracing::error!(%error, name, kept = %aside.display(), "unusable record set aside");
                None
            }
        };
        if copied.is_none()
            && let Read::Fine(record) = record::read::<R>(&second::<R>(&dir))?
            && record.name() == name
        {
            tracing::warn!(name, "its record is that of the second file now");
            return self.update(name, record).map(Some);
        }
        let was_one = copied.is_some() || record::was_set_aside(&path);
        let Some(record) = R::adopt(name, &dir, copied)? else {
            return if was_one { Err(lost(&path)) } else { Ok(None) };
        };
        tracing::warn!(name, "adopted a directory that had no record of its own");
        self.update(name, record).map(Some)
    }

    fn names(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
        let read = || -> std::io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in std::fs::read_dir(&self.dir)? {
                if let Ok(name) = entry?.file_name().into_string()
                    && wanted(&name)
                {
                    names.push(name);
                }
            }
            Ok(names)
        };
        let mut names = read().doing(|| format!("list {}", self.dir.display()))?;
        names.sort_unstable();
        Ok(names)
    }

    fn lock(&self) -> MutexGuard<'_, Cache<R>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same record again, in case that the first one is damaged.
fn second<R: Record>(dir: &Path) -> PathBuf {
    dir.join(format!("{}.second", R::FILE))
}

/// Not synced: it may be lost, but it is never another one than the last that was written.
fn write_second<R: Record>(dir: &Path, record: &R) {
    let path = second::<R>(dir);
    if let Err(error) = record::write(&path, record, Durability::Volatile) {
        tracing::warn!(%error, "there is no second record");
        let _ = std::fs::remove_file(&path);
    }
}

/// The error of what was recorded here once, of which neither record nor content can be used.
fn lost(record: &Path) -> Error {
    Error::failed_precondition(format!(
        "neither {} nor what it is about can be used; put both back from a backup, or remove the \
         directory",
        record.display()
    ))
}

/// Makes changes of a directory durable for all who wait at once: one fsync covers every change
/// that was made before it began.
#[derive(Default)]
struct GroupSync {
    rounds: Mutex<Rounds>,
    ended: Condvar,
}

#[derive(Default)]
struct Rounds {
    begun: u64,
    ended: u64,
    is_running: bool,
    /// The last round that failed, and how.
    failed: Option<(u64, Kind, String)>,
}

impl GroupSync {
    fn sync(&self, dir: &Path) -> Result<()> {
        let mut rounds = self.lock();
        // A round that is running may have begun before the change: the next one will do.
        let needed = rounds.begun + 1;
        loop {
            if rounds.ended >= needed {
                return rounds.outcome_since(needed);
            }
            if !rounds.is_running {
                break;
            }
            rounds = self.ended.wait(rounds).unwrap_or_else(PoisonError::into_inner);
        }
        rounds.begun += 1;
        rounds.is_running = true;
        drop(rounds);
        let result = file::sync_dir(dir);
        let mut rounds = self.lock();
        rounds.is_running = false;
        rounds.ended = rounds.begun;
        if let Err(error) = &result {
            rounds.failed = Some((rounds.ended, error.kind(), error.to_string()));
        }
        self.ended.notify_all();
        result
    }

    fn lock(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rounds {
    fn outcome_since(&self, round: u64) -> Result<()> {
        match &self.failed {
            Some((failed, kind, why)) if *failed >= round => Err(Error::new(*kind, why.clone())),
            _ => Ok(()),
        }
    }
}

impl Stamp {
    fn is_settled(&self) -> bool {
        let (seconds, nanoseconds) = self.modified.max(self.changed);
        let Ok(seconds) = u64::try_from(seconds) else { return false };
        let nanoseconds = u64::try_from(nanoseconds).unwrap_or(0);
        let modified = Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds);
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .is_ok_and(|now| now > modified + SETTLED)
    }
}

fn stamp(path: &Path) -> Result<Option<Stamp>> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(Stamp {
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(Error::io(format!("look at {}", path.display()), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Thing {
        name: String,
        note: String,
    }

    impl Record for Thing {
        const FILE: &'static str = "thing.json";

        fn name(&self) -> &str {
            &self.name
        }

        fn adopt(name: &str, dir: &Path, copied: Option<Self>) -> Result<Option<Self>> {
            let note = copied.map_or_else(|| "adopted".to_owned(), |thing| thing.note + " copied");
            Ok(dir.join("data").exists().then(|| Self { name: name.to_owned(), note }))
        }
    }

    fn shelf() -> (tempfile::TempDir, Shelf<Thing>) {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(dir.path().join("shelf")).unwrap();
        (dir, shelf)
    }

    fn add(shelf: &Shelf<Thing>, name: &str) {
        std::fs::create_dir(shelf.stage(name).unwrap().join("data")).unwrap();
        shelf.publish(name, Thing { name: name.to_owned(), note: "own".to_owned() }).unwrap();
    }

    fn notes(shelf: &Shelf<Thing>) -> Vec<String> {
        let shown = |found: &Found<Thing>| match found {
            Found::Fine(thing) => format!("{}: {}", thing.name, thing.note),
            Found::Unusable { name, why } => format!("{name}: unusable, {:?}", why.kind()),
        };
        shelf.list().unwrap().iter().map(shown).collect()
    }

    #[test]
    fn what_is_published_is_found_and_listed_by_name() {
        let (_dir, shelf) = shelf();
        add(&shelf, "b");
        add(&shelf, "a");
        assert_eq!(notes(&shelf), ["a: own", "b: own"]);
        assert_eq!(shelf.find("a").unwrap().unwrap().note, "own");
        assert!(shelf.find("c").unwrap().is_none());
    }

    #[test]
    fn what_was_only_staged_is_not_there_and_is_swept_away() {
        let (_dir, shelf) = shelf();
        let stage = shelf.stage("a").unwrap();
        assert!(shelf.find("a").unwrap().is_none());
        assert!(notes(&shelf).is_empty());
        Shelf::<Thing>::open(shelf.dir.clone()).unwrap();
        assert!(!stage.exists());
    }

    #[test]
    fn a_copied_directory_is_a_copied_entry() {
        let (_dir, shelf) = shelf();
        add(&shelf, "a");
        let copy = shelf.path("b");
        std::fs::create_dir_all(copy.join("data")).unwrap();
        std::fs::copy(shelf.path("a").join(Thing::FILE), copy.join(Thing::FILE)).unwrap();
        assert_eq!(notes(&shelf), ["a: own", "b: own copied"]);
        assert_eq!(notes(&shelf), ["a: own", "b: own copied"], "adopted once");
    }

    #[test]
    fn a_corrupted_record_is_set_aside_and_the_second_one_used() {
        let (_dir, shelf) = shelf();
        add(&shelf, "a");
        add(&shelf, "b");
        let record = shelf.path("a").join(Thing::FILE);
        std::fs::write(&record, b"\0\0\0").unwrap();
        assert_eq!(notes(&shelf), ["a: own", "b: own"]);
        assert!(shelf.path("a").join("thing.json.unusable").exists());
        let changed = Thing { name: "a".to_owned(), note: "changed".to_owned() };
        shelf.update("a", changed).unwrap();
        std::fs::remove_file(&record).unwrap();
        assert_eq!(notes(&shelf), ["a: changed", "b: own"]);
    }

    #[test]
    fn what_lost_both_records_is_adopted_from_its_data() {
        let (_dir, shelf) = shelf();
        add(&shelf, "a");
        add(&shelf, "b");
        // The second one of somebody else says nothing of this.
        std::fs::copy(second::<Thing>(&shelf.path("b")), second::<Thing>(&shelf.path("a")))
            .unwrap();
        std::fs::write(shelf.path("a").join(Thing::FILE), b"\0\0\0").unwrap();
        assert_eq!(notes(&shelf), ["a: adopted", "b: own"]);
    }

    #[test]
    fn a_newer_record_is_an_error_for_its_own_entry_only() {
        let (_dir, shelf) = shelf();
        add(&shelf, "a");
        add(&shelf, "b");
        std::fs::write(shelf.path("a").join(Thing::FILE), br#"{"version": 9}"#).unwrap();
        assert_eq!(notes(&shelf), ["a: unusable, FailedPrecondition", "b: own"]);
        assert!(shelf.find("a").is_err());
        assert!(shelf.path("a").join(Thing::FILE).exists(), "left as it is");
    }

    #[test]
    fn what_lost_both_record_and_content_is_shown_and_its_name_is_not_free() {
        let (_dir, shelf) = shelf();
        add(&shelf, "a");
        std::fs::remove_dir(shelf.path("a").join("data")).unwrap();
        std::fs::write(shelf.path("a").join(Thing::FILE), b"{").unwrap();
        std::fs::remove_file(second::<Thing>(&shelf.path("a"))).unwrap();
        std::fs::create_dir(shelf.path("none-of-ours")).unwrap();
        for _ in 0..2 {
            assert_eq!(notes(&shelf), ["a: unusable, FailedPrecondition"]);
            let error = shelf.find("a").expect_err("not free");
            assert!(error.message().contains("remove the directory"), "{error}");
        }
    }

    #[test]
    fn changes_made_by_others_are_seen() {
        let (_dir, shelf) = shelf();
        add(&shelf, "a");
        std::thread::sleep(SETTLED * 2);
        assert_eq!(notes(&shelf), ["a: own"]);
        assert_eq!(notes(&shelf), ["a: own"], "from the cache");
        std::fs::remove_dir_all(shelf.path("a")).unwrap();
        assert!(notes(&shelf).is_empty());
        assert!(shelf.find("a").unwrap().is_none());
    }

    #[test]
    fn many_changes_at_once_are_all_durable_or_all_told() {
        let dir = tempfile::tempdir().unwrap();
        let (syncs, gone) = (GroupSync::default(), dir.path().join("gone"));
        let run = |path: &Path| {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..16)
                    .map(|_| scope.spawn(|| (0..20).filter(|_| syncs.sync(path).is_ok()).count()))
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
            })
        };
        assert_eq!(run(dir.path()), 16 * 20);
        assert!(syncs.lock().ended <= 16 * 20);
        assert_eq!(run(&gone), 0, "a failure is told to everybody who waited for it");
        assert_eq!(run(dir.path()), 16 * 20, "and to nobody after");
    }

    #[test]
    fn a_withdrawn_entry_leaves_nothing() {
        let (_dir, shelf) = shelf();
        add(&shelf, "a");
        shelf.withdraw("a").unwrap();
        assert_eq!(std::fs::read_dir(&shelf.dir).unwrap().count(), 0);
        assert!(shelf.find("a").unwrap().is_none());
    }
}
