//! Between dockerd and the agent: passes every call on and remembers it.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What was said on one connection.
type Heard = Arc<Mutex<Vec<u8>>>;

pub struct Recorder {
    connections: Arc<Mutex<Vec<Heard>>>,
    stop: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Listens at `at` and passes on to `to`.
    pub fn start(at: &Path, to: &Path) -> Self {
        let listener = UnixListener::bind(at).unwrap();
        listener.set_nonblocking(true).unwrap();
        let connections: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let stop: Arc<AtomicBool> = Arc::default();
        let (remembered, stopped, to) = (connections.clone(), stop.clone(), to.to_owned());
        let listener = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let Ok((client, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(2));
                    continue;
                };
                // Without an agent the caller is hung up on, as it would be.
                let Ok(agent) = UnixStream::connect(&to) else { continue };
                let heard = Heard::default();
                remembered.lock().unwrap().push(heard.clone());
                let back = (agent.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || pass(client, agent, Some(&heard)));
                std::thread::spawn(move || pass(back.0, back.1, None));
            }
        });
        Self { connections, stop, listener: Some(listener) }
    }

    fn text(&self) -> Vec<String> {
        let connections = self.connections.lock().unwrap();
        let text = |heard: &Heard| String::from_utf8_lossy(&heard.lock().unwrap()).into_owned();
        connections.iter().map(text).collect()
    }

    /// How often `method` has been called.
    pub fn count(&self, method: &str) -> usize {
        let line = format!("POST /{method} HTTP/1.1\r\n");
        self.text().iter().map(|text| text.matches(&line).count()).sum()
    }

    /// The calls of creation, mount, unmount and removal.
    pub fn counts(&self) -> [usize; 4] {
        ["Create", "Mount", "Unmount", "Remove"]
            .map(|method| self.count(&format!("VolumeDriver.{method}")))
    }

    /// The mount IDs that were named in calls of `method`, in some order.
    pub fn ids(&self, method: &str) -> Vec<String> {
        let line = format!("POST /VolumeDriver.{method} HTTP/1.1\r\n");
        let text = self.text();
        let bodies = text.iter().flat_map(|text| text.split(&line).skip(1));
        let id = |body: &str| body.split("\"ID\":\"").nth(1)?.split('"').next().map(str::to_owned);
        let mut ids: Vec<_> = bodies.filter_map(id).collect();
        ids.sort();
        ids
    }
}

fn pass(mut from: UnixStream, mut to: UnixStream, heard: Option<&Heard>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if let Some(heard) = heard {
            heard.lock().unwrap().extend_from_slice(&buffer[..length]);
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // The threads of connections end with their clients.
        let _ = self.listener.take().map(JoinHandle::join);
    }
}
