//! A directory of volumes belongs to one service of one program at a time: what another one, perhaps
//! in another container, swept away, formatted or removed there would be somebody's data.
//!
//! Who finds it taken answers each call with that, and has it as soon as the other one has ended.
//! Only whether there is a volume is told: to dockerd one that is not found is gone, and a container
//! gets an empty one of dockerd's own.

use error::{Error, IoContext, Result};
use host::lock::DirLock;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The claims of this program, by device and inode: a lock does not tell its services apart.
static CLAIMS: Mutex<Option<Claims>> = Mutex::new(None);

type Claims = HashMap<(u64, u64), Weak<Claim>>;
type Open<T> = dyn Fn(&Path) -> Result<T> + Send + Sync;

struct Claim {
    owner: PathBuf,
    _lock: DirLock,
}

/// Something on a directory, opened once the directory is its own.
pub struct Claimed<T> {
    dir: PathBuf,
    /// Whose it is: the same service, opened again, has it too.
    owner: PathBuf,
    open: Box<Open<T>>,
    opened: Mutex<Option<(Arc<Claim>, Arc<T>)>>,
}

impl<T> Claimed<T> {
    /// Opens what is on `dir` (made when missing) for `owner`. Somebody else's → it is tried again
    /// by each [`get`](Self::get).
    pub fn open(
        dir: PathBuf,
        owner: &Path,
        open: impl Fn(&Path) -> Result<T> + Send + Sync + 'static,
    ) -> Result<Self> {
        host::file::make_dir(&dir, 0o700)?;
        let owner = owner.to_owned();
        let claimed = Self { dir, owner, open: Box::new(open), opened: Mutex::default() };
        claimed.try_open(&mut lock(&claimed.opened))?;
        Ok(claimed)
    }

    /// What is on the directory. Somebody else's → `FailedPrecondition`.
    pub fn get(&self) -> Result<Arc<T>> {
        let opened = self.try_open(&mut lock(&self.opened))?;
        opened.ok_or_else(|| {
            Error::failed_precondition(format!(
                "{} is in use by another service, agent or plugin; stop that one, or give this one \
                 a directory of its own (option path; of a plugin volumes.source)",
                self.dir.display()
            ))
        })
    }

    /// The directory, which may be somebody else's.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn try_open(&self, opened: &mut Option<(Arc<Claim>, Arc<T>)>) -> Result<Option<Arc<T>>> {
        if opened.is_none() {
            let Some(claim) = claim(&self.dir, &self.owner)? else { return Ok(None) };
            *opened = Some((claim, Arc::new((self.open)(&self.dir)?)));
        }
        Ok(opened.as_ref().map(|(_, opened)| Arc::clone(opened)))
    }
}

fn claim(dir: &Path, owner: &Path) -> Result<Option<Arc<Claim>>> {
    let found = std::fs::metadata(dir).doing(|| format!("look at {}", dir.display()))?;
    let id = (found.dev(), found.ino());
    let mut claims = lock(&CLAIMS);
    let claims = claims.get_or_insert_default();
    if let Some(claim) = claims.get(&id).and_then(Weak::upgrade) {
        return Ok((claim.owner == owner).then_some(claim));
    }
    let Some(lock) = DirLock::try_acquire(dir)? else { return Ok(None) };
    let claim = Arc::new(Claim { owner: owner.to_owned(), _lock: lock });
    claims.retain(|_, claim| claim.strong_count() > 0);
    claims.insert(id, Arc::downgrade(&claim));
    Ok(Some(claim))
}

/// What is guarded stays whole whatever panics meanwhile.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use error::Kind;

    fn claimed(dir: &Path, owner: &str) -> Claimed<u8> {
        Claimed::open(dir.join("volumes"), Path::new(owner), |_| Ok(1)).unwrap()
    }

    #[test]
    fn another_service_has_it_only_after_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = claimed(dir.path(), "a");
        let other = claimed(dir.path(), "b");
        let error = other.get().unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(error.to_string().contains("in use by another"), "{error}");
        first.get().unwrap();
        drop(first);
        other.get().unwrap();
        assert!(claimed(dir.path(), "a").get().is_err());
    }

    #[test]
    fn another_program_has_it_only_after_the_first() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("volumes")).unwrap();
        let theirs = DirLock::try_acquire(&dir.path().join("volumes")).unwrap().unwrap();
        let ours = claimed(dir.path(), "a");
        assert_eq!(ours.get().unwrap_err().kind(), Kind::FailedPrecondition);
        drop(theirs);
        ours.get().unwrap();
    }

    #[test]
    fn the_same_service_opened_anew_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let before = claimed(dir.path(), "a");
        let after = claimed(dir.path(), "a");
        drop(before);
        after.get().unwrap();
        assert!(claimed(dir.path(), "b").get().is_err());
    }

    #[test]
    fn what_fails_to_open_is_opened_later() {
        let dir = tempfile::tempdir().unwrap();
        let (path, ready) = (dir.path().join("volumes"), dir.path().join("ready"));
        std::fs::create_dir(&path).unwrap();
        let theirs = DirLock::try_acquire(&path).unwrap();
        let claimed = Claimed::open(path, Path::new("a"), move |_| {
            ready.exists().then_some(1).ok_or_else(|| Error::unavailable("not ready"))
        });
        let claimed = claimed.unwrap();
        drop(theirs);
        assert_eq!(claimed.get().unwrap_err().kind(), Kind::Unavailable);
        std::fs::write(dir.path().join("ready"), "").unwrap();
        assert_eq!(*claimed.get().unwrap(), 1);
    }
}
