//! Reading on, over rotations, woken by the kernel.

use super::{Line, inode, older, open, parse};
use crate::runtime::readable::readable;
use error::{IoContext, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// What one call reads at most from one file, in bytes.
const CHUNK: u64 = 1 << 20;

/// Reads on from where it stopped, over rotations.
#[derive(Debug)]
pub struct Follow {
    log: PathBuf,
    watch: host::watch::Watch,
    file: Option<File>,
    partial: Vec<u8>,
}

impl Follow {
    /// Begins at the present end.
    pub fn new(log: &Path) -> Result<Self> {
        let directory = log.parent().unwrap_or(Path::new("/"));
        let watch = host::watch::Watch::new(directory)?;
        let mut file = open(log)?;
        if let Some(file) = &mut file {
            file.seek(SeekFrom::End(0)).doing(|| format!("read {}", log.display()))?;
        }
        Ok(Self { log: log.to_owned(), watch, file, partial: Vec::new() })
    }

    /// Waits for more lines (inotify) and returns them.
    pub async fn next(&mut self) -> Result<Vec<Line>> {
        loop {
            let lines = self.read()?;
            if !lines.is_empty() {
                return Ok(lines);
            }
            readable(self.watch.as_fd()).await?;
            self.watch.take()?;
        }
    }

    /// What came since, of the file begun and of those that came after it.
    fn read(&mut self) -> Result<Vec<Line>> {
        let mut lines = self.read_on()?;
        if !lines.is_empty() {
            return Ok(lines);
        }
        let now = open(&self.log)?;
        if now.as_ref().map(inode) != self.file.as_ref().map(inode) {
            // It was renamed after it had been read to its end, and written to in between.
            lines = self.read_on()?;
            let old = open(&older(&self.log))?.filter(|old| Some(inode(old)) != self.inode());
            if self.file.is_some() && old.is_some() && self.partial.is_empty() {
                // Two rotations at once: all of the file in between is new.
                self.file = old;
                lines.append(&mut self.read_on()?);
            }
            self.partial.clear();
            self.file = now;
            lines.append(&mut self.read_on()?);
        }
        Ok(lines)
    }

    fn inode(&self) -> Option<u64> {
        self.file.as_ref().map(inode)
    }

    fn read_on(&mut self) -> Result<Vec<Line>> {
        let Some(file) = &mut self.file else { return Ok(Vec::new()) };
        let doing = || format!("read {}", self.log.display());
        file.take(CHUNK).read_to_end(&mut self.partial).doing(doing)?;
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Vec::new());
        };
        let rest = self.partial.split_off(end + 1);
        let whole = std::mem::replace(&mut self.partial, rest);
        Ok(whole.split(|byte| *byte == b'\n').filter_map(parse).collect())
    }
}
