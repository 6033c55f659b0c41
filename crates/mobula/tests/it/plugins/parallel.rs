//! Layers that are fetched side by side: a registry that keeps each of them back until so many are
//! asked for.

use super::bed::{Bed, Kind};
use super::image::probe;
use super::on_ours;
use super::registry::{DOCKER, GZIP, Packing, pack};
use crate::fixture::PATIENCE;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

on_ours!(three_layers_are_fetched_at_once);

/// As dockerd does, unless it is told otherwise.
const AT_ONCE: usize = 3;
const LAYERS: usize = 5;

/// A proxy before a registry, and who waits at it.
#[derive(Default)]
struct Gate {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    now: usize,
    most: usize,
    is_open: bool,
}

impl Gate {
    /// Before the registry at `address`; where it listens. Requests that name one of `blobs` wait.
    fn before(self: &Arc<Self>, address: &str, blobs: Vec<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let (gate, address) = (self.clone(), address.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (gate, address, blobs) = (gate.clone(), address.clone(), blobs.clone());
                std::thread::spawn(move || gate.pass(stream, &address, &blobs));
            }
        });
        at
    }

    fn pass(&self, mut client: TcpStream, address: &str, blobs: &[String]) {
        let Some(head) = head(&mut client) else { return };
        if head.starts_with("GET ") && blobs.iter().any(|blob| head.contains(blob)) {
            self.wait();
        }
        // One request per connection, so that the answer ends with it.
        let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        let mut registry = TcpStream::connect(address).unwrap();
        registry.write_all(head.as_bytes()).unwrap();
        let _ = std::io::copy(&mut registry, &mut client);
    }

    /// Until enough others wait; who waits in vain goes on in the end.
    fn wait(&self) {
        let mut waiting = self.waiting.lock().unwrap();
        waiting.now += 1;
        waiting.most = waiting.most.max(waiting.now);
        waiting.is_open |= waiting.now == AT_ONCE;
        self.changed.notify_all();
        let (mut waiting, _) =
            self.changed.wait_timeout_while(waiting, PATIENCE / 12, |now| !now.is_open).unwrap();
        waiting.now -= 1;
    }
}

/// The head of a request that has no body.
fn head(stream: &mut TcpStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

fn three_layers_are_fetched_at_once(kind: Kind) {
    let bed = Bed::start(kind);
    let dir = probe().write(&bed.home);
    let mut dirs = vec![dir.join("rootfs")];
    for number in 1..LAYERS {
        let layer = dir.join(format!("layer-{number}"));
        std::fs::create_dir(&layer).unwrap();
        std::fs::write(layer.join(format!("part-{number}")), number.to_string()).unwrap();
        dirs.push(layer);
    }
    let blob =
        |dir: &std::path::PathBuf| bed.registry.blob("me/probe", GZIP, &pack(dir, Packing::Gzip));
    let layers: Vec<_> = dirs.iter().map(blob).collect();
    let manifest = bed.registry.describe("me/probe", &probe(), &layers, DOCKER);
    bed.registry.manifest("me/probe", "v1", &manifest);
    let digests = layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned());
    let gate = Arc::new(Gate::default());
    let address = gate.before(&bed.registry.address, digests.collect());
    let name = format!("{address}/me/probe:v1");
    bed.install(&name, "");
    assert_eq!(bed.ask(&name, &format!("/file/part-{}", LAYERS - 1)).text(), "4");
    let waiting = gate.waiting.lock().unwrap();
    assert!(waiting.is_open, "at most {} layers were asked for at once", waiting.most);
    assert_eq!(waiting.most, AT_ONCE);
}
