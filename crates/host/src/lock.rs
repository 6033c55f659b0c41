//! One process per home directory, and one per directory of volumes: flocks (flock(2)) that the
//! kernel releases however the process ends.

use crate::process;
use error::{Error, IoContext, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// The lock, held until this is dropped.
///
/// The file stays: a lock on a file that somebody removes is a lock on nothing.
#[derive(Debug)]
pub struct HomeLock {
    /// Closing the descriptor releases the lock.
    _file: File,
}

impl HomeLock {
    /// Locks the file `path` (made with mode 0600 when missing), and writes this process's ID to it.
    ///
    /// Held by another process for all of `wait` → `FailedPrecondition` naming that process.
    pub fn acquire(path: &Path, wait: Duration) -> Result<Self> {
        let mut file = open(path)?;
        let until = Instant::now() + wait;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(PAUSE),
                Err(Errno::WOULDBLOCK) => return Err(held(path)),
                Err(errno) => return Err(Error::io(lock(path), errno.into())),
            }
        }
        sign(&mut file).doing(|| lock(path))?;
        Ok(Self { _file: file })
    }
}

/// The lock on a directory itself, held until this is dropped: nothing is written, so that also a
/// full or read-only file system has it.
#[derive(Debug)]
pub struct DirLock {
    /// Closing the descriptor releases the lock.
    _dir: File,
}

impl DirLock {
    /// Locks the directory `path`, if nobody else has it locked, in whatever container.
    ///
    /// A file system that cannot lock (flock(2): ENOLCK, EOPNOTSUPP; NFS: EBADF) counts as free.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>> {
        let dir = File::open(path).doing(|| lock(path))?;
        loop {
            match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Self { _dir: dir })),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::BADF) => {
                    tracing::warn!(path = %path.display(), "cannot be locked: the file system has no locks; keep others away from it");
                    return Ok(Some(Self { _dir: dir }));
                }
                Err(errno) => return Err(Error::io(lock(path), errno.into())),
            }
        }
    }
}

fn open(path: &Path) -> Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .doing(|| format!("open lock file {}", path.display()))
}

fn lock(path: &Path) -> String {
    format!("lock {}", path.display())
}

fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

fn held(path: &Path) -> Error {
    let pid = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let holder = pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("{} (pid {pid})", process::name(pid)),
    );
    Error::failed_precondition(format!(
        "{} is locked by {holder}; stop it first, or use another home directory",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use error::Kind;
    use std::os::unix::fs::PermissionsExt;

    fn path(dir: &tempfile::TempDir) -> std::path::PathBuf {
        dir.path().join("lock")
    }

    #[test]
    fn a_second_holder_is_refused_with_the_name_of_the_first() {
        let dir = tempfile::tempdir().expect("a directory");
        let _first = HomeLock::acquire(&path(&dir), Duration::ZERO).expect("free");
        let error = HomeLock::acquire(&path(&dir), Duration::ZERO).expect_err("held");
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        let holder = format!("(pid {})", std::process::id());
        assert!(error.message().contains(&holder), "{error}");
    }

    #[test]
    fn a_lock_that_becomes_free_in_time_is_got() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = HomeLock::acquire(&path(&dir), Duration::ZERO).expect("free");
        let holder = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(150));
            drop(first);
        });
        HomeLock::acquire(&path(&dir), Duration::from_secs(30)).expect("freed");
        holder.join().expect("no panic");
    }

    #[test]
    fn the_file_is_private_and_holds_the_process_id() {
        let dir = tempfile::tempdir().expect("a directory");
        let _lock = HomeLock::acquire(&path(&dir), Duration::ZERO).expect("free");
        let mode = std::fs::metadata(path(&dir)).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let text = std::fs::read_to_string(path(&dir)).expect("readable");
        assert_eq!(text, format!("{}\n", std::process::id()));
    }

    #[test]
    fn what_an_earlier_holder_wrote_is_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(path(&dir), "a longer text than a process ID").expect("written");
        let _lock = HomeLock::acquire(&path(&dir), Duration::ZERO).expect("free");
        let text = std::fs::read_to_string(path(&dir)).expect("readable");
        assert_eq!(text, format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_directory_is_locked_once_and_free_when_its_holder_is_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = DirLock::try_acquire(dir.path()).expect("possible");
        assert!(first.is_some());
        assert!(DirLock::try_acquire(dir.path()).expect("possible").is_none());
        drop(first);
        assert!(DirLock::try_acquire(dir.path()).expect("possible").is_some());
    }
}
