//! Block devices: waiting for one to appear, its size, and whether somebody holds it.
//!
//! Without udev: a device is there when its node is, and nodes are watched by inotify(7).

mod serial;

use error::{Error, IoContext, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often candidates are looked at when nothing was noticed: a directory may not exist yet.
const POLL: Duration = Duration::from_millis(100);

/// Waits for a block device; see [`Disks::wait_for`](crate::Disks::wait_for).
pub(crate) fn wait_for(
    candidates: &[PathBuf],
    serial: Option<&str>,
    timeout: Duration,
) -> Result<PathBuf> {
    let until = Instant::now() + timeout;
    let mut watch = None;
    loop {
        let mut refused = Vec::new();
        for candidate in candidates {
            match look(candidate, serial) {
                Ok(device) => return Ok(device),
                Err(why) => refused.push(format!("{}: {why}", candidate.display())),
            }
        }
        // The kernel's own name of an NVMe disk tells nothing: its controller is asked.
        for device in serial.map(nvme_of).unwrap_or_default() {
            match look(&device, serial) {
                Ok(device) => return Ok(device),
                Err(why) => refused.push(format!("{}: {why}", device.display())),
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(not_found(&refused, serial, timeout));
        }
        let first = watch.is_none();
        let watch = watch.get_or_insert_with(|| watch_parents(candidates));
        // What appeared between the look and the watch would go unnoticed: look again at once.
        if !first {
            pause(watch.as_ref(), left.min(POLL));
        }
    }
}

fn nvme_of(serial: &str) -> Vec<PathBuf> {
    serial::nvme_of(Path::new("/sys/block"), serial)
}

fn not_found(refused: &[String], serial: Option<&str>, timeout: Duration) -> Error {
    let with = serial.map_or_else(String::new, |serial| format!(" with serial {serial}"));
    Error::deadline_exceeded(format!(
        "no block device{with} appeared within {} s ({}); is the disk attached to this machine?",
        timeout.as_secs_f32(),
        refused.join("; ")
    ))
}

/// The block device behind `candidate`, or why it isn't the one.
fn look(candidate: &Path, serial: Option<&str>) -> Result<PathBuf, String> {
    let device = fs::canonicalize(candidate).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "not there".to_owned(),
        _ => error.to_string(),
    })?;
    let found = fs::metadata(&device).map_err(|error| error.to_string())?;
    if !found.file_type().is_block_device() {
        return Err(match device == candidate {
            true => "not a block device".to_owned(),
            false => format!("leads to {}, which is not a block device", device.display()),
        });
    }
    let Some(wanted) = serial else { return Ok(device) };
    match serial::read(&device, &found) {
        Some(found) if found == wanted => Ok(device),
        Some(found) => Err(format!("has serial {found}")),
        None if serial::is_named_xen_disk(candidate, &device, &found) => Ok(device),
        None => Err("has no serial".to_owned()),
    }
}

/// Watches the directories of `candidates` that exist; `None` when that can't be done.
fn watch_parents(candidates: &[PathBuf]) -> Option<OwnedFd> {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
    let parents: BTreeSet<_> = candidates.iter().filter_map(|path| path.parent()).collect();
    let changes = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ATTRIB;
    for parent in parents {
        let _ = inotify::add_watch(&watch, parent, changes);
    }
    Some(watch)
}

/// Sleeps until something changes in a watched directory, `most` at most.
fn pause(watch: Option<&OwnedFd>, most: Duration) {
    let Some(watch) = watch else { return std::thread::sleep(most) };
    let timeout = rustix::time::Timespec {
        tv_sec: most.as_secs().cast_signed(),
        tv_nsec: most.subsec_nanos().into(),
    };
    if let Ok(1..) = poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&timeout)) {
        let mut events = [0; 4096];
        let _ = rustix::io::read(watch, &mut events);
    }
}

/// Size of a block device or length of an image, in bytes.
pub(crate) fn size(device: &Path) -> Result<u64> {
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(libc::O_NONBLOCK);
    size_of(&options.open(device).doing(|| format!("open {}", device.display()))?, device)
}

/// As [`size`], of an open one. Neither a block device nor a file → `InvalidArgument`.
pub(crate) fn size_of(file: &File, device: &Path) -> Result<u64> {
    let doing = || format!("find out the size of {}", device.display());
    let found = file.metadata().doing(doing)?;
    if found.is_file() {
        return Ok(found.len());
    }
    if !found.file_type().is_block_device() {
        return Err(Error::invalid_argument(format!(
            "{} is neither a block device nor a disk image",
            device.display()
        )));
    }
    let mut bytes = 0_u64;
    // SAFETY: BLKGETSIZE64 fills a u64, and `bytes` is one.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), BLKGETSIZE64, &raw mut bytes) };
    if result < 0 { Err(Error::io(doing(), io::Error::last_os_error())) } else { Ok(bytes) }
}

/// `_IOR(0x12, 114, size_t)` of <linux/fs.h>.
const BLKGETSIZE64: libc::Ioctl = 0x8008_1272;

/// Whether somebody holds the block device exclusively; never true for a regular file.
pub(crate) fn is_held(device: &Path) -> Result<bool> {
    let look = || format!("look whether {} is in use", device.display());
    if !fs::metadata(device).doing(look)?.file_type().is_block_device() {
        return Ok(false);
    }
    let flags = libc::O_EXCL | libc::O_NONBLOCK;
    match OpenOptions::new().read(true).custom_flags(flags).open(device) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(true),
        Err(error) => Err(Error::io(look(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use error::Kind;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_to_a_regular_file_is_not_accepted() {
        let dir = tempfile::tempdir().expect("made");
        let (file, link) = (dir.path().join("file"), dir.path().join("by-id"));
        fs::write(&file, "no disk").expect("written");
        symlink(&file, &link).expect("linked");
        let error = wait_for(&[link, file], None, Duration::ZERO).expect_err("no device");
        assert_eq!(error.kind(), Kind::DeadlineExceeded);
        assert!(error.message().contains("file, which is not a block device"), "{error}");
        assert!(error.message().contains("file: not a block device"), "{error}");
    }

    #[test]
    fn a_device_that_never_appears_ends_in_time() {
        let began = Instant::now();
        let candidates = ["/dev/mobula-none".into(), "/nonexistent/by-id/x".into()];
        let error = wait_for(&candidates, Some("vol-1"), Duration::from_millis(150));
        let error = error.expect_err("never there");
        assert!(error.message().contains("with serial vol-1"), "{error}");
        assert!(error.message().contains("/dev/mobula-none: not there"), "{error}");
        assert!((100..2000).contains(&began.elapsed().as_millis()));
    }

    #[test]
    fn the_size_of_an_image_is_its_length() {
        let image = tempfile::NamedTempFile::new().expect("made");
        image.as_file().set_len(12345).expect("longer");
        assert_eq!(size(image.path()).expect("known"), 12345);
        assert!(!is_held(image.path()).expect("known"));
        assert_eq!(size(Path::new("/")).expect_err("no disk").kind(), Kind::InvalidArgument);
    }
}
