//! A machine: a thread with a mount namespace of its own, and in it whatever a test boots there.

use crate::engine::fixture::Engine;
use std::sync::mpsc;
use std::thread::JoinHandle;

type Work<E> = Box<dyn FnOnce(&mut E) + Send>;

/// A machine; it is gone when it is dropped.
pub struct Machine<E> {
    work: Option<mpsc::Sender<Work<E>>>,
    thread: Option<JoinHandle<()>>,
}

impl Machine<Engine> {
    /// One with a dockerd, and an agent of this configuration.
    pub fn boot(config: String) -> Self {
        Self::with(move || Engine::with(&config, &[]))
    }
}

impl<E: 'static> Machine<E> {
    /// One with what `boot` makes there.
    pub fn with(boot: impl FnOnce() -> E + Send + 'static) -> Self {
        let (work, jobs) = mpsc::channel::<Work<E>>();
        let thread = std::thread::spawn(move || {
            let mut booted = boot();
            for job in jobs {
                job(&mut booted);
            }
        });
        Self { work: Some(work), thread: Some(thread) }
    }

    /// Does something there, and waits until it is done.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce(&mut E) -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let job = move |booted: &mut E| drop(done.send(job(booted)));
        self.work.as_ref().unwrap().send(Box::new(job)).expect("the machine is up");
        result.recv().expect("the machine is still up")
    }
}

impl<E> Drop for Machine<E> {
    fn drop(&mut self) {
        drop(self.work.take());
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}
