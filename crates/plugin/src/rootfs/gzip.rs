//! Packing on several processors: blocks of one size are deflated apart from each other and put
//! together in one gzip member (RFC 1952), so that the same input gives the same bytes on any
//! machine, and any reader of gzip takes it.

use crate::digest::Digest;
use crate::store::{Ingest, Store};
use error::{Error, IoContext, Result};
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// Bytes of a block before packing.
const BLOCK: usize = 1 << 20;

/// Blocks that may wait.
const WAITING: usize = 8;

/// Fast, but with Huffman codes of its own: at 1 a layer gets a fifth larger, and what the processor
/// saves goes into writing and hashing it.
const LEVEL: u32 = 1;

/// Deflate, no name, no time, "other" system: nothing that differs between machines.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Packs what is written to it into a store.
pub(super) struct Packer {
    block: Vec<u8>,
    queues: Option<Queues>,
    collector: Option<JoinHandle<Result<(Digest, u64)>>>,
}

struct Queues {
    /// To whichever worker is free.
    jobs: SyncSender<Job>,
    /// To the collector, in the order of the stream.
    order: SyncSender<Receiver<io::Result<Packed>>>,
}

struct Job {
    block: Vec<u8>,
    is_last: bool,
    done: SyncSender<io::Result<Packed>>,
}

struct Packed {
    bytes: Vec<u8>,
    crc: Crc,
    is_last: bool,
}

impl Packer {
    pub(super) fn new(store: &Store) -> Result<Self> {
        let ingest = store.ingest()?;
        let (jobs, queue) = sync_channel::<Job>(WAITING);
        let (order, results) = sync_channel(WAITING);
        let queue = Arc::new(Mutex::new(queue));
        let workers = thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 4));
        for _ in 0..workers {
            let queue = queue.clone();
            spawn("pack", move || work(&queue))?;
        }
        let collector = spawn("collect", move || collect(ingest, &results))?;
        let queues = Some(Queues { jobs, order });
        Ok(Self { block: Vec::with_capacity(BLOCK), queues, collector: Some(collector) })
    }

    /// Packs the rest; the digest and size of the blob.
    pub(super) fn finish(mut self) -> Result<(Digest, u64)> {
        // When nobody takes it any more, the collector says why.
        let _ = self.hand_over(true);
        self.end()
    }

    fn end(&mut self) -> Result<(Digest, u64)> {
        self.queues = None;
        let gone = || Error::internal("the packing of a layer ended unexpectedly");
        let collector = self.collector.take().ok_or_else(gone)?;
        collector.join().map_err(|_| gone())?
    }

    fn hand_over(&mut self, is_last: bool) -> io::Result<()> {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let queues = self.queues.as_ref().ok_or_else(broken)?;
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        let (done, result) = sync_channel(1);
        queues.order.send(result).map_err(|_| broken())?;
        queues.jobs.send(Job { block, is_last, done }).map_err(|_| broken())
    }
}

impl Write for Packer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        if self.block.len() == BLOCK && self.hand_over(false).is_err() {
            return Err(match self.end() {
                Err(error) => io::Error::other(error),
                Ok(_) => io::ErrorKind::BrokenPipe.into(),
            });
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Nothing of an abandoned blob is left when this is gone.
impl Drop for Packer {
    fn drop(&mut self) {
        if self.collector.is_some() {
            let _ = self.end();
        }
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(run).doing(|| "start a thread")
}

fn work(queue: &Mutex<Receiver<Job>>) {
    let mut deflate = Compress::new(Compression::new(LEVEL), false);
    loop {
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(Job { block, is_last, done }) = job else { return };
        // Nobody waits for it when the collector failed.
        let _ = done.send(pack(&mut deflate, &block, is_last));
    }
}

fn pack(deflate: &mut Compress, block: &[u8], is_last: bool) -> io::Result<Packed> {
    let mut crc = Crc::new();
    crc.update(block);
    deflate.reset();
    // A block that can't be made smaller grows by a few bytes per 16 KiB.
    let mut bytes = Vec::with_capacity(block.len() + block.len() / 256 + 1024);
    let flush = if is_last { FlushCompress::Finish } else { FlushCompress::Sync };
    loop {
        let at = usize::try_from(deflate.total_in()).map_err(io::Error::other)?;
        let status = deflate.compress_vec(&block[at..], &mut bytes, flush)?;
        let is_done = match status {
            Status::StreamEnd => true,
            // With room left, the flush is complete.
            Status::Ok | Status::BufError => !is_last && bytes.len() < bytes.capacity(),
        };
        if is_done {
            return Ok(Packed { bytes, crc, is_last });
        }
        bytes.reserve(BLOCK / 4);
    }
}

fn collect(
    mut blob: Ingest,
    results: &Receiver<Receiver<io::Result<Packed>>>,
) -> Result<(Digest, u64)> {
    let write = || "write the packed layer";
    let mut crc = Crc::new();
    blob.write_all(&HEADER).doing(write)?;
    while let Ok(packed) = results.recv() {
        let Ok(packed) = packed.recv() else { break };
        let packed = packed.doing(|| "pack the layer")?;
        blob.write_all(&packed.bytes).doing(write)?;
        crc.combine(&packed.crc);
        if packed.is_last {
            blob.write_all(&crc.sum().to_le_bytes()).doing(write)?;
            blob.write_all(&crc.amount().to_le_bytes()).doing(write)?;
            return blob.commit();
        }
    }
    Err(Error::aborted("the layer was not packed to its end"))
}
