//! Which sockets this engine had published, on disk, so that the next one takes away those that it
//! left when it was killed. Serving them is the front end's business.

use error::Result;
use host::file::Durability;
use host::record::{self, Read};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The record: it only grows, since nobody tells when a socket is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Paths {
    paths: BTreeSet<PathBuf>,
}

/// The sockets published since the engine was opened.
#[derive(Debug)]
pub(super) struct Sockets {
    record: PathBuf,
    paths: Mutex<Paths>,
}

impl Sockets {
    /// Removes what an earlier engine left of its sockets below `dir`. For who holds the home's lock.
    pub(super) fn open(record: PathBuf, dir: &Path) -> Result<Self> {
        match record::read::<Paths>(&record)? {
            Read::Fine(left) => left.paths.iter().for_each(|path| remove_stale(path, dir)),
            Read::Missing => {}
            Read::Unusable(error) => tracing::warn!(%error, "stale sockets may stay"),
        }
        Ok(Self { record, paths: Mutex::default() })
    }

    /// Notes sockets that are about to be published.
    pub(super) fn note(&self, published: impl Iterator<Item = PathBuf>) {
        let mut known = super::locked(&self.paths);
        let before = known.paths.len();
        known.paths.extend(published);
        if known.paths.len() > before
            && let Err(error) = record::write(&self.record, &*known, Durability::Volatile)
        {
            tracing::warn!(%error, "sockets may stay if this engine is killed");
        }
    }
}

/// Removes a socket at which nobody listens, and the directories that only it needed.
fn remove_stale(path: &Path, dir: &Path) {
    let is_socket = path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket());
    let is_refused =
        || UnixStream::connect(path).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused);
    if !path.starts_with(dir) || !is_socket || !is_refused() {
        return;
    }
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "remove a stale socket");
    }
    for empty in path.ancestors().skip(1).take_while(|parent| *parent != dir) {
        if std::fs::remove_dir(empty).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn stale_sockets_of_an_engine_that_was_killed_go_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let (sockets, record) = (dir.path().join("sockets"), dir.path().join("published.json"));
        std::fs::create_dir_all(sockets.join("vendor")).unwrap();
        let named = |name: &str| sockets.join(name);
        let stale = ["stale.sock", "vendor/stale.sock"].map(named);
        let (alive, file, foreign) =
            (named("alive.sock"), named("file.sock"), named("foreign.sock"));
        for path in stale.iter().chain([&foreign]) {
            drop(UnixListener::bind(path).unwrap());
        }
        let _listener = UnixListener::bind(&alive).unwrap();
        std::fs::write(&file, "").unwrap();
        let killed = Sockets::open(record.clone(), &sockets).unwrap();
        killed.note(stale.iter().cloned());
        killed.note([alive.clone(), file.clone()].into_iter());
        Sockets::open(record, &sockets).unwrap();
        assert!(!stale[0].exists() && !sockets.join("vendor").exists());
        assert!(alive.exists() && file.exists() && foreign.exists());
    }
}
