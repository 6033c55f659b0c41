//! Waiting for descriptors and for changes of a directory (inotify(7)), with a deadline or from an
//! async runtime. Decides nothing about what changed.

use error::{Error, IoContext, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

/// Room for many events: they are only counted.
const BUFFER: usize = 4 << 10;

/// Waits until something can be read from one of `fds` (or its other end is closed), and says from
/// which; all `false` after `deadline`. A process descriptor is readable when its process has ended.
pub fn readable(fds: &[impl AsFd], deadline: Option<Instant>) -> Result<Vec<bool>> {
    loop {
        let mut watched: Vec<_> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let timeout = deadline.map(left);
        match poll(&mut watched, timeout.as_ref()) {
            Ok(_) => return Ok(watched.iter().map(|fd| !fd.revents().is_empty()).collect()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::io("wait for a descriptor", errno.into())),
        }
    }
}

fn left(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now());
    Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
}

/// Tells that something changed in a directory: a file of it was written, appeared, was renamed or
/// removed. The descriptor is readable then, for async runtimes.
#[derive(Debug)]
pub struct Watch(OwnedFd);

impl Watch {
    /// Watches the directory, or the single file, `path`.
    pub fn new(path: &Path) -> Result<Self> {
        let watching = || format!("watch {}", path.display());
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).doing(watching)?;
        let flags = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::MOVE
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::CLOSE_WRITE;
        inotify::add_watch(&fd, path, flags).doing(watching)?;
        Ok(Self(fd))
    }

    /// Forgets the changes so far; whether there were any.
    pub fn take(&self) -> Result<bool> {
        let mut buffer = [0; BUFFER];
        let mut changed = false;
        loop {
            match rustix::io::read(&self.0, &mut buffer) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(changed),
                Ok(_) => changed = true,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::io("read changes", errno.into())),
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_new_file_is_a_change_and_silence_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let watch = Watch::new(dir.path()).expect("watched");
        assert!(!watch.take().expect("readable"));
        assert_eq!(readable(&[&watch], Some(Instant::now())).expect("waited"), [false]);
        std::fs::write(dir.path().join("new"), "x").expect("written");
        let deadline = Instant::now() + Duration::from_secs(60);
        assert_eq!(readable(&[&watch], Some(deadline)).expect("waited"), [true]);
        assert!(watch.take().expect("readable"));
        assert!(!watch.take().expect("readable"));
    }

    #[test]
    fn only_the_pipe_that_was_written_to_is_readable() {
        let (one, mut write) = std::io::pipe().expect("a pipe");
        let (other, _open) = std::io::pipe().expect("a pipe");
        std::io::Write::write_all(&mut write, b"x").expect("written");
        assert_eq!(readable(&[&one, &other], None).expect("waited"), [true, false]);
    }
}
