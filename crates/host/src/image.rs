//! Disk images made of what is on a block device or in another image. The original is only read.

use crate::file::{self, Copy};
use crate::{device, failpoint};
use error::{Error, IoContext, Result};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// What is read at once; a part of it that is all zero becomes a hole.
const CHUNK: usize = 1 << 20;
const PART: usize = 64 << 10;

/// Copies the block device or image `from` to a new image `to`. A device is held exclusively
/// meanwhile: in use by a mount or by device mapper → `FailedPrecondition`. `to` exists →
/// `AlreadyExists`. Durable when it returns; a failure leaves no `to`.
pub fn take_over(from: &Path, to: &Path) -> Result<Copy> {
    let found = from.metadata().doing(|| format!("look at {}", from.display()))?;
    if found.is_file() {
        return file::copy_image(from, to);
    }
    let mut options = OpenOptions::new();
    let flags = libc::O_EXCL | libc::O_NONBLOCK;
    let source = options.read(true).custom_flags(flags).open(from).map_err(|error| {
        if error.kind() == io::ErrorKind::ResourceBusy {
            return Error::failed_precondition(format!(
                "{} is in use; unmount it first, in containers and on the host",
                from.display()
            ));
        }
        Error::io(format!("open {}", from.display()), error)
    })?;
    let size = device::size_of(&source, from)?;
    file::create_sparse(to, size)?;
    failpoint::hit("image.begun");
    let copied =
        copy(&source, to, size).doing(|| format!("copy {} to {}", from.display(), to.display()));
    if copied.is_err() {
        let _ = std::fs::remove_file(to);
    }
    copied.map(|()| Copy::Sparse)
}

fn copy(source: &File, to: &Path, size: u64) -> io::Result<()> {
    let target = OpenOptions::new().write(true).open(to)?;
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < size {
        let length = CHUNK.min(usize::try_from(size - at).unwrap_or(CHUNK));
        source.read_exact_at(&mut buffer[..length], at)?;
        for (index, part) in buffer[..length].chunks(PART).enumerate() {
            if part.iter().any(|byte| *byte != 0) {
                target.write_all_at(part, at + (index * PART) as u64)?;
            }
        }
        at += length as u64;
    }
    target.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use error::Kind;

    #[test]
    fn an_image_is_copied_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::write(&from, b"data").unwrap();
        take_over(&from, &to).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"data");
        assert_eq!(take_over(&from, &to).unwrap_err().kind(), Kind::AlreadyExists);
    }

    #[test]
    fn what_is_neither_a_device_nor_an_image_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to");
        assert_eq!(take_over(dir.path(), &to).unwrap_err().kind(), Kind::InvalidArgument);
        assert_eq!(take_over(&dir.path().join("none"), &to).unwrap_err().kind(), Kind::NotFound);
        assert!(!to.exists());
    }
}
