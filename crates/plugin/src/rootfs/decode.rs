//! Packed archives become plain streams: unpacked in a thread of their own, hashed as they are read,
//! and bounded. What is in the streams is no business of this module.

use super::Limits;
use crate::digest::{Digest, Hasher};
use crate::registry::Descriptor;
use error::{Error, Result};
use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// What goes from one thread to the other at once, in bytes, and how much of that may wait.
const CHUNK: usize = 256 << 10;
const WAITING: usize = 8;

/// So much may come out whatever went in: a few kilobytes of zeros are no bomb.
const UNSUSPICIOUS: u64 = 16 << 20;

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    /// By the first bytes.
    fn of_bytes(bytes: &[u8]) -> Self {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else {
            Self::Plain
        }
    }

    /// By the media type of a layer; `None` when that is no layer's.
    fn of_media_type(media_type: &str) -> Option<Self> {
        let (_, packing) = media_type.rsplit_once(".tar")?;
        match packing {
            "" => Some(Self::Plain),
            ".gzip" | "+gzip" => Some(Self::Gzip),
            ".zstd" | "+zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// The plain stream of what `packed` is a packed form of, told by its first bytes. Reading fails
/// when more comes out than `limits` allow.
pub(super) fn plain<'a, R: Read + 'a>(
    packed: R,
    limits: &Limits,
) -> io::Result<(Packing, impl Read + use<'a, R>)> {
    let consumed = Arc::new(AtomicU64::new(0));
    let counted = Counted { inner: packed, count: consumed.clone() };
    let mut reader = BufReader::with_capacity(CHUNK, counted);
    let packing = Packing::of_bytes(reader.fill_buf()?);
    let inner: Box<dyn Read + 'a> = match packing {
        Packing::Plain => Box::new(reader),
        Packing::Gzip => Box::new(MultiGzDecoder::new(reader)),
        Packing::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
    };
    Ok((packing, Bounded { inner, consumed, length: 0, limits: *limits }))
}

struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Ends with an error where a bomb begins.
struct Bounded<R> {
    inner: R,
    consumed: Arc<AtomicU64>,
    length: u64,
    limits: Limits,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.length += count as u64;
        let Limits { bytes, entries, ratio } = self.limits;
        let packed = self.consumed.load(Ordering::Relaxed);
        if self.length > UNSUSPICIOUS && self.length / ratio.max(1) > packed {
            return Err(io::Error::other(Error::out_of_range(format!(
                "more than {ratio} bytes come out of each packed byte: a decompression bomb; raise the limit if you trust it"
            ))));
        }
        // Each entry has a header of 512 bytes, and up to as much padding.
        let most = bytes.saturating_add(entries.saturating_mul(1024)).saturating_add(UNSUSPICIOUS);
        if self.length > most {
            return Err(io::Error::other(Error::out_of_range(format!(
                "more than the {bytes} bytes that are allowed come out of it; raise the limit if you trust it"
            ))));
        }
        Ok(count)
    }
}

/// Runs `take` on the plain stream of `layer`, and then makes sure that all that was read of `blob`
/// is what the descriptor says. `consumed` is told the packed bytes read so far.
pub(super) fn with_layer<T>(
    blob: impl Read + Send,
    layer: &Descriptor,
    limits: &Limits,
    consumed: &mut dyn FnMut(u64),
    take: impl FnOnce(&mut dyn Read) -> Result<T>,
) -> Result<T> {
    let (plain, chunks) = sync_channel(WAITING);
    let (used, spare) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || produce(blob, layer, limits, &plain, &spare));
        let mut stream = Stream { chunks, used, chunk: Vec::new(), at: 0, end: None, consumed };
        let taken = take(&mut stream)?;
        match stream.end {
            Some((digest, size)) if digest == layer.digest && size == layer.size => Ok(taken),
            Some((digest, size)) => Err(Error::internal(format!(
                "layer {} is damaged: {size} bytes with the digest {digest} instead of {}; remove the plugin and pull it again",
                layer.digest, layer.size
            ))),
            None => Err(Error::internal(format!("layer {} was not read to its end", layer.digest))),
        }
    })
}

enum Message {
    /// Plain bytes, and how many packed ones were consumed by then.
    Chunk(Vec<u8>, u64),
    Failed(io::Error),
    /// What was read in all.
    End(Digest, u64),
}

fn produce(
    blob: impl Read,
    layer: &Descriptor,
    limits: &Limits,
    plain: &SyncSender<Message>,
    spare: &Receiver<Vec<u8>>,
) {
    let mut packed = Hashed { inner: blob, hasher: Hasher::default(), length: Arc::default() };
    let last = match unpack(&mut packed, layer, limits, plain, spare) {
        Ok(true) => {
            let size = packed.length.load(Ordering::Relaxed);
            Message::End(packed.hasher.finish(), size)
        }
        // The other side has ended already.
        Ok(false) => return,
        Err(error) => Message::Failed(error),
    };
    let _ = plain.send(last);
}

fn unpack(
    packed: &mut Hashed<impl Read>,
    layer: &Descriptor,
    limits: &Limits,
    plain: &SyncSender<Message>,
    spare: &Receiver<Vec<u8>>,
) -> io::Result<bool> {
    let progress = packed.length.clone();
    let (packing, mut reader) = self::plain(&mut *packed, limits)?;
    expect(layer, packing)?;
    loop {
        let mut chunk = spare.try_recv().unwrap_or_else(|_| vec![0; CHUNK]);
        chunk.resize(CHUNK, 0);
        let count = match reader.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        chunk.truncate(count);
        if count == 0 {
            break;
        }
        if plain.send(Message::Chunk(chunk, progress.load(Ordering::Relaxed))).is_err() {
            return Ok(false);
        }
    }
    drop(reader);
    io::copy(packed, &mut io::sink())?;
    Ok(true)
}

fn expect(layer: &Descriptor, found: Packing) -> io::Result<()> {
    match Packing::of_media_type(&layer.media_type) {
        Some(expected) if expected == found => Ok(()),
        Some(expected) => Err(io::Error::other(Error::invalid_argument(format!(
            "its media type {} says {expected:?}, but its first bytes say {found:?}",
            layer.media_type
        )))),
        None => Err(io::Error::other(Error::invalid_argument(format!(
            "its media type {} is none of a layer (tar, tar+gzip, tar+zstd)",
            layer.media_type
        )))),
    }
}

struct Hashed<R> {
    inner: R,
    hasher: Hasher,
    length: Arc<AtomicU64>,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.length.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// The reading end.
struct Stream<'a> {
    chunks: Receiver<Message>,
    /// Emptied buffers go back here.
    used: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    end: Option<(Digest, u64)>,
    consumed: &'a mut dyn FnMut(u64),
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            if self.end.is_some() {
                return Ok(0);
            }
            match self.chunks.recv() {
                Ok(Message::Chunk(chunk, consumed)) => {
                    let _ = self.used.send(std::mem::replace(&mut self.chunk, chunk));
                    self.at = 0;
                    (self.consumed)(consumed);
                }
                Ok(Message::End(digest, size)) => {
                    (self.consumed)(size);
                    self.end = Some((digest, size));
                    return Ok(0);
                }
                Ok(Message::Failed(error)) => return Err(error),
                Err(_) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
        let count = buffer.len().min(self.chunk.len() - self.at);
        buffer[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
