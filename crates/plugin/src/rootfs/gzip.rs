//! Packing on several processors: blocks of one size are packed apart from each other, each a gzip
//! member of its own (RFC 1952, section 2.2), so that the same input gives the same bytes on any
//! machine, and any reader of gzip takes it.

use crate::digest::Digest;
use crate::store::{Ingest, Store};
use error::{Error, IoContext, Result};
use libdeflater::{CompressionLvl, Compressor};
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// Bytes of a block before packing.
const BLOCK: usize = 1 << 20;

/// Blocks that may wait.
const WAITING: usize = 8;

/// Fast, and still as small as zlib's 2.
const PACKING: i32 = 1;

/// For what can't be made smaller.
const COPYING: i32 = 0;

/// What is tried of a block before it is packed: so many bytes in so many places.
const SAMPLE: usize = 16 << 10;
const SAMPLES: usize = 3;

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

/// A whole gzip member.
struct Packed {
    bytes: Vec<u8>,
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
    let mut deflate = Deflate::new();
    loop {
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(Job { block, is_last, done }) = job else { return };
        let packed = match &mut deflate {
            Ok(deflate) => deflate.pack(&block).map(|bytes| Packed { bytes, is_last }),
            Err(error) => Err(io::Error::other(error.to_string())),
        };
        // Nobody waits for it when the collector failed.
        let _ = done.send(packed);
    }
}

struct Deflate {
    packing: Compressor,
    copying: Compressor,
    /// Scratch.
    sample: Vec<u8>,
}

impl Deflate {
    fn new() -> Result<Self> {
        let compressor = |level| match CompressionLvl::new(level) {
            Ok(level) => Ok(Compressor::new(level)),
            Err(error) => Err(Error::internal(format!("gzip level {level}: {error:?}"))),
        };
        Ok(Self {
            packing: compressor(PACKING)?,
            copying: compressor(COPYING)?,
            sample: Vec::new(),
        })
    }

    fn pack(&mut self, block: &[u8]) -> io::Result<Vec<u8>> {
        let is_noise = self.is_noise(block)?;
        let with = if is_noise { &mut self.copying } else { &mut self.packing };
        let mut bytes = vec![0; with.gzip_compress_bound(block.len())];
        let length = with.gzip_compress(block, &mut bytes).map_err(io::Error::other)?;
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Whether trying shows that nothing is to be gained: it takes as long with noise as with text.
    fn is_noise(&mut self, block: &[u8]) -> io::Result<bool> {
        if block.len() < SAMPLES * SAMPLE {
            return Ok(false);
        }
        self.sample.resize(self.packing.deflate_compress_bound(SAMPLE), 0);
        let step = (block.len() - SAMPLE) / (SAMPLES - 1);
        for sample in (0..SAMPLES).map(|number| &block[number * step..][..SAMPLE]) {
            let packed = self.packing.deflate_compress(sample, &mut self.sample);
            if packed.map_err(io::Error::other)? < SAMPLE - SAMPLE / 64 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn collect(
    mut blob: Ingest,
    results: &Receiver<Receiver<io::Result<Packed>>>,
) -> Result<(Digest, u64)> {
    while let Ok(packed) = results.recv() {
        let Ok(packed) = packed.recv() else { break };
        let packed = packed.doing(|| "pack the layer")?;
        blob.write_all(&packed.bytes).doing(|| "write the packed layer")?;
        if packed.is_last {
            return blob.commit();
        }
    }
    Err(Error::aborted("the layer was not packed to its end"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::MultiGzDecoder;
    use std::io::Read;

    /// What can't be compressed, the same in every run (xorshift64).
    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        (0..bytes.div_ceil(8)).flat_map(|_| next()).take(bytes).collect()
    }

    fn packed(plain: &[u8]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut packer = Packer::new(&store).unwrap();
        packer.write_all(plain).unwrap();
        let (digest, size) = packer.finish().unwrap();
        let packed = store.read(&digest, u64::MAX).unwrap();
        assert_eq!(packed.len() as u64, size);
        packed
    }

    fn unpacked(packed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        MultiGzDecoder::new(packed).read_to_end(&mut plain).unwrap();
        plain
    }

    #[test]
    fn what_comes_out_is_what_went_in() {
        let text = b"words and words ".repeat(BLOCK / 8);
        let mixed = [noise(BLOCK / 2), text.clone(), noise(BLOCK + 1)].concat();
        let exact = text[..BLOCK].to_vec();
        for plain in [Vec::new(), b"x".to_vec(), text, noise(3 * BLOCK), mixed, exact] {
            let packed = packed(&plain);
            assert!(unpacked(&packed) == plain, "{} bytes", plain.len());
        }
    }

    #[test]
    fn noise_hardly_grows() {
        let plain = noise(5 * BLOCK);
        let packed = packed(&plain);
        assert!(packed.len() < plain.len() + plain.len() / 1000, "{}", packed.len());
    }
}
