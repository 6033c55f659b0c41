//! A plugin's output, bounded: JSON lines `{"time","stream","line"}` in `log` and `log.1`.
//!
//! ```text
//! write to log ── too long ──> log.1 goes, log becomes log.1, a new log begins
//! ```

mod follow;
mod writer;

pub use follow::Follow;
pub(crate) use writer::{Stream, Writer};

use error::{IoContext, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How much output is kept per plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogLimits {
    /// Bytes of one file; there are two.
    pub bytes: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { bytes: 8 << 20 }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When it came.
    pub time: Timestamp,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// Without its newline; not UTF-8 is replaced, longer than 16 KiB is split.
    pub line: String,
}

/// The last `count` lines not older than `since`, oldest first; of both files. A plugin that never
/// said anything has none.
pub fn tail(log: &Path, count: usize, since: Option<Timestamp>) -> Result<Vec<Line>> {
    // The younger file first: a rotation in between must not lose it.
    let young = open(log)?;
    let old = open(&older(log))?.filter(|old| Some(inode(old)) != young.as_ref().map(inode));
    let mut lines = read(young, count, since, log)?;
    if lines.len() < count {
        let mut all = read(old, count - lines.len(), since, log)?;
        all.append(&mut lines);
        lines = all;
    }
    Ok(lines.into())
}

/// Where the lines before those in `log` are.
fn older(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

fn open(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.doing(|| format!("open {}", path.display())).map(Some),
    }
}

/// Tells files apart over a rename; 0 is no file's.
fn inode(file: &File) -> u64 {
    file.metadata().map_or(0, |meta| meta.ino())
}

fn read(
    file: Option<File>,
    count: usize,
    since: Option<Timestamp>,
    log: &Path,
) -> Result<VecDeque<Line>> {
    let mut kept = VecDeque::new();
    let Some(file) = file else { return Ok(kept) };
    for text in BufReader::new(file).split(b'\n') {
        let text = text.doing(|| format!("read {}", log.display()))?;
        // The last line may be half-written.
        let Some(line) = parse(&text) else { continue };
        if since.is_none_or(|since| line.time >= since) {
            kept.push_back(line);
        }
        if kept.len() > count {
            kept.pop_front();
        }
    }
    Ok(kept)
}

fn parse(text: &[u8]) -> Option<Line> {
    serde_json::from_slice(text).ok()
}

#[cfg(test)]
mod tests;
