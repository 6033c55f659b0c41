//! The writing side, in the shim: bytes become lines, lines become JSON, files stay bounded. A disk
//! that is full costs lines, never the plugin.

use super::{LogLimits, older};
use error::{IoContext, Result};
use jiff::Timestamp;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The longest line, in bytes; a longer one is split.
const LINE: usize = 16 << 10;
/// What is collected before it is written.
const BATCH: usize = 64 << 10;

/// One of a plugin's two streams; what came after its last newline.
#[derive(Debug)]
pub(crate) struct Stream {
    name: &'static str,
    partial: Vec<u8>,
}

impl Stream {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, partial: Vec::new() }
    }
}

/// The open log.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    limit: u64,
    file: File,
    size: u64,
    batch: Vec<u8>,
    encoded: Vec<u8>,
    /// What all lines read at once begin with.
    head: Vec<u8>,
}

impl Writer {
    /// Opens the log at its end; it is made with mode 0600.
    pub(crate) fn open(path: &Path, limits: LogLimits) -> Result<Self> {
        let opening = || format!("open log {}", path.display());
        let file = append(path).doing(opening)?;
        let size = file.metadata().doing(opening)?.len();
        let [batch, encoded, head] = [const { Vec::new() }; 3];
        Ok(Self { path: path.to_owned(), limit: limits.bytes, file, size, batch, encoded, head })
    }

    /// Takes what was read from a stream.
    pub(crate) fn feed(&mut self, stream: &mut Stream, bytes: &[u8]) {
        self.begin(stream);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            stream.partial.extend_from_slice(text);
            while stream.partial.len() > LINE {
                let end = boundary(&stream.partial);
                self.line(&stream.partial[..end]);
                stream.partial.drain(..end);
            }
            if is_whole {
                self.line(&stream.partial);
                stream.partial.clear();
            }
        }
        self.flush();
    }

    /// The stream has ended: what came after its last newline is a line too.
    pub(crate) fn finish(&mut self, stream: &mut Stream) {
        if !stream.partial.is_empty() {
            self.begin(stream);
            self.line(&stream.partial);
            stream.partial = Vec::new();
            self.flush();
        }
    }

    /// The time is told once per read, not per line: a flood has to be kept up with.
    fn begin(&mut self, stream: &Stream) {
        self.head.clear();
        let (time, name) = (Timestamp::now(), stream.name);
        let _ = write!(self.head, r#"{{"time":"{time}","stream":"{name}","line":"#);
    }

    fn line(&mut self, text: &[u8]) {
        let line = String::from_utf8_lossy(text);
        self.encoded.clear();
        self.encoded.extend_from_slice(&self.head);
        if serde_json::to_writer(&mut self.encoded, &*line).is_err() {
            return;
        }
        self.encoded.push(b'}');
        self.encoded.push(b'\n');
        let sum = self.size + (self.batch.len() + self.encoded.len()) as u64;
        if sum > self.limit {
            self.flush();
            self.rotate();
        } else if self.batch.len() + self.encoded.len() > BATCH {
            self.flush();
        }
        self.batch.extend_from_slice(&self.encoded);
    }

    fn flush(&mut self) {
        if self.file.write_all(&self.batch).is_ok() {
            self.size += self.batch.len() as u64;
        } else {
            // Part of it may have been written.
            self.size = self.file.metadata().map_or(self.size, |meta| meta.len());
        }
        self.batch.clear();
        self.batch.shrink_to(BATCH);
    }

    fn rotate(&mut self) {
        if self.size == 0 {
            return;
        }
        let renamed = std::fs::rename(&self.path, older(&self.path));
        match append(&self.path) {
            Ok(file) if renamed.is_ok() => (self.file, self.size) = (file, 0),
            // Bounded comes before complete.
            _ if self.file.set_len(0).is_ok() => self.size = 0,
            _ => {}
        }
    }
}

fn append(path: &Path) -> std::io::Result<File> {
    File::options().append(true).create(true).mode(0o600).open(path)
}

/// Where to split a line that is too long: not within a character.
fn boundary(bytes: &[u8]) -> usize {
    let is_continuation = |byte: u8| byte & 0xc0 == 0x80;
    (LINE - 3..=LINE).rev().find(|end| !is_continuation(bytes[*end])).unwrap_or(LINE)
}
