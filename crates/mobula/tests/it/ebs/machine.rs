//! A machine: a thread with a mount namespace of its own, and in it a dockerd and an agent.

use crate::engine::fixture::Engine;
use std::sync::mpsc;
use std::thread::JoinHandle;

type Work = Box<dyn FnOnce(&mut Engine) + Send>;

/// A machine; it is gone when it is dropped.
pub struct Machine {
    work: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Machine {
    /// Boots one whose agent has this configuration.
    pub fn boot(config: String) -> Self {
        let (work, jobs) = mpsc::channel::<Work>();
        let thread = std::thread::spawn(move || {
            let mut engine = Engine::with(&config, &[]);
            for job in jobs {
                job(&mut engine);
            }
        });
        Self { work: Some(work), thread: Some(thread) }
    }

    /// Does something there, and waits until it is done.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce(&mut Engine) -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let job = move |engine: &mut Engine| drop(done.send(job(engine)));
        self.work.as_ref().unwrap().send(Box::new(job)).expect("the machine is up");
        result.recv().expect("the machine is still up")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.work.take());
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}
