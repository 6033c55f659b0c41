//! Reading a blob while it comes in: as far as it has come, and waiting for the rest. Nothing that is
//! read is verified before the end.
//!
//! ```text
//! Coming(bytes) ──> Whole    all bytes are there, and the digest held
//!       └─────────> Broken   begun anew or given up; for readers that is the end
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Coming(u64),
    Whole,
    Broken,
}

#[derive(Debug)]
struct Arrival {
    state: Mutex<State>,
    changed: Condvar,
}

impl Arrival {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What broke stays broken.
    fn set(&self, next: State) {
        let mut state = self.state();
        if *state != State::Broken {
            *state = next;
        }
        self.changed.notify_all();
    }
}

/// The writer's end; readers are told when it goes.
#[derive(Debug)]
pub(super) struct Announcer(Arc<Arrival>);

impl Announcer {
    pub(super) fn new(length: u64) -> Self {
        let state = Mutex::new(State::Coming(length));
        Self(Arc::new(Arrival { state, changed: Condvar::new() }))
    }

    /// So many bytes are there now.
    pub(super) fn has(&self, length: u64) {
        self.0.set(State::Coming(length));
    }

    pub(super) fn is_whole(&self) {
        self.0.set(State::Whole);
    }

    pub(super) fn is_broken(&self) {
        self.0.set(State::Broken);
    }

    /// A reader of `file`, the blob's, opened anew.
    pub(super) fn follow(&self, file: File) -> Follower {
        Follower { arrival: self.0.clone(), file, at: 0 }
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        if *self.0.state() != State::Whole {
            self.is_broken();
        }
    }
}

/// A blob that is coming in, from its beginning. Reads wait for what has not come yet, and fail when
/// it won't come.
#[derive(Debug)]
pub struct Follower {
    arrival: Arc<Arrival>,
    file: File,
    at: u64,
}

impl Follower {
    /// How it is getting on, for those who no longer have it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        Outcome(self.arrival.clone())
    }

    /// Waits until there is something to read; the bytes that are.
    fn wait(&self) -> io::Result<u64> {
        let mut state = self.arrival.state();
        loop {
            match *state {
                State::Coming(length) if length > self.at => return Ok(length - self.at),
                State::Coming(_) => {}
                State::Whole => return Ok(u64::MAX),
                State::Broken => return Err(io::ErrorKind::BrokenPipe.into()),
            }
            state = self.arrival.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Read for Follower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let there = usize::try_from(self.wait()?).unwrap_or(usize::MAX);
        let most = buffer.len().min(there);
        let count = self.file.read(&mut buffer[..most])?;
        self.at += count as u64;
        Ok(count)
    }
}

/// What became of a blob that was followed.
#[derive(Debug, Clone)]
pub struct Outcome(Arc<Arrival>);

impl Outcome {
    /// All of it is in the store.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self.0.state() == State::Whole
    }

    /// Whoever followed it failed for want of bytes.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        *self.0.state() == State::Broken
    }
}
