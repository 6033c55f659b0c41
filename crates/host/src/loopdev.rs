//! Loop devices by ioctl (loop(4)): one device per image, ever.
//!
//! Who attaches holds an exclusive flock(2) on the image while it looks and configures, so two
//! processes can't both find nothing. A device is recognised by the image's device and inode
//! numbers, never by its name alone: names come from other mount namespaces and outlive their files.
//!
//! Unless it shall stay, a device is attached with autoclear: the kernel detaches it when nobody
//! has it open. [`Images`] keeps it open from the attach until the detach, so that it does not
//! vanish before it is mounted. Needs Linux 5.8 (LOOP_CONFIGURE).

mod labelled;

pub use labelled::{Detached, Labelled, attach_labelled, label_of, labelled};

use crate::{Attach, Outcome, failpoint, file};
use error::{Error, IoContext, Kind, Result};
use rustix::fs::{CWD, FileType, FlockOperation, Mode, flock, makedev, mknodat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

// <linux/loop.h>
const LOOP_CLR_FD: u32 = 0x4C01;
const LOOP_SET_STATUS64: u32 = 0x4C04;
const LOOP_GET_STATUS64: u32 = 0x4C05;
const LOOP_SET_CAPACITY: u32 = 0x4C07;
const LOOP_CONFIGURE: u32 = 0x4C0A;
const LOOP_CTL_GET_FREE: u32 = 0x4C82;
const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;
const DIRECT_IO: u32 = 16;

/// The logical block size of a loop device, in bytes: what an image was made with must fit it.
const BLOCK: u32 = 512;
/// How often a free device may be snatched away by somebody else.
const RACES: usize = 64;
/// How long to wait for the flock on an image; an attach holds it for milliseconds.
const LOCKED: Duration = Duration::from_secs(10);
/// How long a detached device may be kept by somebody who has it open, such as udev.
const LINGER: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(2);

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Status {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Status,
    reserved: [u64; 8],
}

impl Status {
    const EMPTY: Self = Self {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };

    fn image(&self) -> Image {
        Image { device: self.device, inode: self.inode }
    }
}

/// The identity of an image: its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Image {
    device: u64,
    inode: u64,
}

impl Image {
    fn of(found: &fs::Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

/// A loop device, open (which keeps it attached), and what it was found attached to.
pub(crate) struct Loop {
    pub(crate) path: PathBuf,
    file: File,
    status: Status,
}

/// The loop devices that this process holds open, by image.
#[derive(Default)]
pub(crate) struct Images {
    held: Mutex<HashMap<Image, Loop>>,
}

impl Images {
    /// The loop device of `image`. An image that was deleted while attached is found by its name.
    pub(crate) fn find(&self, image: &Path) -> Result<Option<PathBuf>> {
        Ok(self.open(image)?.map(|device| device.path))
    }

    /// As [`find`](Self::find); the device stays attached to this image while what is returned
    /// lives.
    pub(crate) fn open(&self, image: &Path) -> Result<Option<Loop>> {
        match fs::metadata(image) {
            Ok(found) => self.find_open(image, Image::of(&found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => find_deleted(image),
            Err(error) => Err(Error::io(format!("look at {}", image.display()), error)),
        }
    }

    /// Attaches `image`, or takes the device that it is attached to. A device attached read-write
    /// will do for a request to read only.
    pub(crate) fn attach(&self, image: &Path, attach: Attach) -> Result<Outcome<PathBuf>> {
        let file = open_image(image, attach.read_only)?;
        let (_lock, id) = lock(image)?;
        let (device, is_new) = match self.find_open(image, id)? {
            Some(found) => (reuse(found, image, attach)?, false),
            None => (configure(&file, image, attach)?, true),
        };
        failpoint::hit("loopdev.attached");
        let path = device.path.clone();
        self.held().insert(id, device);
        Ok(if is_new { Outcome::Done(path) } else { Outcome::AlreadyDone(path) })
    }

    /// Detaches `image` and waits until its device is free.
    pub(crate) fn detach(&self, image: &Path) -> Result<Outcome> {
        let found = match lock(image) {
            Ok((_lock, id)) => self.start_detach(self.find_open(image, id)?, image)?,
            Err(error) if error.kind() == Kind::NotFound => {
                self.start_detach(find_deleted(image)?, image)?
            }
            Err(error) => return Err(error),
        };
        let Some((path, id)) = found else { return Ok(Outcome::AlreadyDone(())) };
        wait_until_free(&path, id, image)?;
        Ok(Outcome::Done(()))
    }

    /// Starts the detach of a device that was found, and lets go of it.
    fn start_detach(&self, found: Option<Loop>, image: &Path) -> Result<Option<(PathBuf, Image)>> {
        let Some(found) = found else { return Ok(None) };
        clear(&found, image)?;
        failpoint::hit("loopdev.cleared");
        let id = found.status.image();
        self.held().remove(&id);
        Ok(Some((found.path, id)))
    }

    /// Makes `image` `bytes` long and its device with it. Shorter than it is → `OutOfRange`.
    pub(crate) fn resize(&self, image: &Path, bytes: u64) -> Result<()> {
        let file = open_image(image, false)?;
        let found = file.metadata().doing(|| format!("look at {}", image.display()))?;
        if bytes < found.len() {
            return Err(Error::out_of_range(format!(
                "{} has {} bytes; making it {bytes} bytes long would cut off data",
                image.display(),
                found.len()
            )));
        }
        file::set_length(&file, image, bytes)?;
        failpoint::hit("loopdev.longer");
        file.sync_all().doing(|| format!("sync {}", image.display()))?;
        if let Some(device) = self.find_open(image, Image::of(&found))? {
            ioctl(&device.file, LOOP_SET_CAPACITY, 0)
                .doing(|| format!("tell {} its new size", device.path.display()))?;
        }
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Image, Loop>> {
        // The map stays consistent whatever panics while it is locked.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The device of `image`, opened and then verified: while it is open it can't change.
    fn find_open(&self, image: &Path, id: Image) -> Result<Option<Loop>> {
        let known = self.held().get(&id).map(|held| held.path.clone());
        if let Some(found) = known.and_then(|path| open_attached(&path, id)) {
            return Ok(Some(found));
        }
        let mut bound = bound_devices()?;
        // The name decides only whom to ask first.
        bound.sort_by_key(|(_, name)| Path::new(name) != image);
        Ok(bound.iter().find_map(|(device, _)| open_attached(device, id)))
    }
}

/// Opens `image` and makes sure that it is a regular file.
fn open_image(image: &Path, read_only: bool) -> Result<File> {
    let open = || format!("open {}", image.display());
    let mut options = OpenOptions::new();
    let options = options.read(true).write(!read_only).custom_flags(libc::O_NONBLOCK);
    let file = options.open(image).doing(open)?;
    if !file.metadata().doing(open)?.is_file() {
        return Err(Error::invalid_argument(format!(
            "{} is not a regular file and can't be attached as a disk image",
            image.display()
        )));
    }
    Ok(file)
}

/// Locks the image until what is returned is dropped. Its own open file: the lock belongs to that,
/// and the one given to the loop device stays open for as long as it is attached.
fn lock(image: &Path) -> Result<(File, Image)> {
    let file = open_image(image, true)?;
    let until = Instant::now() + LOCKED;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(POLL),
            Err(Errno::WOULDBLOCK) => {
                return Err(Error::unavailable(format!(
                    "{} is locked by another program (flock) for {} s already; end that program",
                    image.display(),
                    LOCKED.as_secs()
                )));
            }
            Err(Errno::INTR) => {}
            other => break other.doing(|| format!("lock {}", image.display()))?,
        }
    }
    let found = file.metadata().doing(|| format!("look at {}", image.display()))?;
    Ok((file, Image::of(&found)))
}

/// Takes a device that is already attached, with autoclear as asked for.
fn reuse(mut found: Loop, image: &Path, attach: Attach) -> Result<Loop> {
    let (status, device) = (found.status, found.path.display());
    let refuse = |why: &str| {
        Err(Error::failed_precondition(format!(
            "{} is attached to {device} {why}; detach it first (losetup -d {device})",
            image.display()
        )))
    };
    if status.offset != 0 || status.size_limit != 0 {
        return refuse("only in part, by another program");
    }
    if status.flags & READ_ONLY != 0 && !attach.read_only {
        return refuse("read-only");
    }
    set_autoclear(&mut found, !attach.keep)?;
    Ok(found)
}

fn set_autoclear(device: &mut Loop, wanted: bool) -> Result<()> {
    let mut status = device.status;
    if (status.flags & AUTOCLEAR != 0) == wanted {
        return Ok(());
    }
    status.flags ^= AUTOCLEAR;
    ioctl(&device.file, LOOP_SET_STATUS64, (&raw const status).addr())
        .doing(|| format!("set autoclear of {}", device.path.display()))?;
    device.status = status;
    Ok(())
}

/// Attaches `file` to a device that was free.
fn configure(file: &File, image: &Path, attach: Attach) -> Result<Loop> {
    let flags = AUTOCLEAR | if attach.read_only { READ_ONLY } else { 0 };
    // Open until it is opened again: the kernel would detach it in between.
    let (path, _open) = configure_free(file, image, Status { flags, ..Status::EMPTY })?;
    finish(&path, image, attach)
}

/// Attaches `file` to the first free device that nobody else snatches away, as `wanted`; the device
/// and its path.
fn configure_free(file: &File, image: &Path, wanted: Status) -> Result<(PathBuf, File)> {
    let control =
        OpenOptions::new().read(true).write(true).open("/dev/loop-control").doing(|| {
            "open /dev/loop-control (is the kernel module loop loaded? modprobe loop)".to_owned()
        })?;
    for _ in 0..RACES {
        let number = ioctl(&control, LOOP_CTL_GET_FREE, 0).map_err(no_device)?;
        let path = node(number)?;
        let device = open_device(&path, true).doing(|| format!("open {}", path.display()))?;
        match configure_device(&device, file, wanted) {
            Ok(()) => return Ok((path, device)),
            Err(Errno::BUSY) => std::thread::sleep(POLL),
            Err(errno) => return Err(not_attached(image, &path, errno)),
        }
    }
    Err(Error::unavailable(format!(
        "{} not attached: other programs took every loop device that was free; try again",
        image.display()
    )))
}

/// Direct I/O keeps each block once in memory; not every file system can (tmpfs), so it is a wish.
fn configure_device(device: &File, file: &File, wanted: Status) -> Result<(), Errno> {
    let configure = |flags| {
        let config = Config {
            fd: file.as_raw_fd().cast_unsigned(),
            block_size: BLOCK,
            info: Status { flags, ..wanted },
            reserved: [0; 8],
        };
        ioctl(device, LOOP_CONFIGURE, (&raw const config).addr()).map(drop)
    };
    match configure(wanted.flags | DIRECT_IO) {
        Err(Errno::INVAL | Errno::OPNOTSUPP) => configure(wanted.flags),
        other => other,
    }
}

/// Opens the new device for reading only: a kernel built without BLK_DEV_WRITE_MOUNTED refuses to
/// mount what somebody has open for writing, and udev looks anew at whatever a writer closes.
fn finish(path: &Path, image: &Path, attach: Attach) -> Result<Loop> {
    let attached = || format!("attach {} to {}", image.display(), path.display());
    failpoint::hit("loopdev.configured");
    let file = open_device(path, false).doing(attached)?;
    let status = status(&file).doing(attached)?;
    let mut device = Loop { path: path.to_owned(), file, status };
    set_autoclear(&mut device, !attach.keep)?;
    Ok(device)
}

fn no_device(errno: Errno) -> Error {
    Error::resource_exhausted(
        "no loop device is free; detach unused ones (losetup -l) or raise max_loop",
    )
    .because(io::Error::from(errno))
}

fn not_attached(image: &Path, device: &Path, errno: Errno) -> Error {
    let what = format!("attach {} to {}", image.display(), device.display());
    match errno {
        Errno::INVAL | Errno::NOTTY => Error::failed_precondition(format!(
            "{what}: the kernel refused LOOP_CONFIGURE, which came with Linux 5.8; update the \
             kernel"
        ))
        .because(io::Error::from(errno)),
        Errno::NOSPC | Errno::NOMEM => {
            Error::new(Kind::ResourceExhausted, what).because(io::Error::from(errno))
        }
        _ => Error::io(what, errno.into()),
    }
}

/// The device node of loop device `number`; made when /dev is not a devtmpfs and lacks it.
fn node(number: i32) -> Result<PathBuf> {
    let path = PathBuf::from(format!("/dev/loop{number}"));
    if path.exists() {
        return Ok(path);
    }
    let make = || format!("make device node {}", path.display());
    let numbers = fs::read_to_string(format!("/sys/block/loop{number}/dev")).doing(make)?;
    let parsed = numbers
        .trim()
        .split_once(':')
        .and_then(|(major, minor)| Some(makedev(major.parse().ok()?, minor.parse().ok()?)));
    let device = parsed.ok_or_else(|| Error::internal(format!("bad device number {numbers:?}")))?;
    match mknodat(CWD, &path, FileType::BlockDevice, Mode::RUSR | Mode::WUSR, device) {
        Ok(()) | Err(Errno::EXIST) => Ok(path),
        Err(errno) => Err(Error::io(make(), errno.into())),
    }
}

fn open_device(path: &Path, write: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(write).open(path)
}

/// Opens the device and looks whether it is attached to the image of this identity.
fn open_attached(path: &Path, id: Image) -> Option<Loop> {
    let file = open_device(path, false).ok()?;
    let status = status(&file).ok()?;
    (status.image() == id).then(|| Loop { path: path.to_owned(), file, status })
}

fn find_deleted(image: &Path) -> Result<Option<Loop>> {
    let mut name = image.as_os_str().to_owned();
    name.push(" (deleted)");
    for (path, backing) in bound_devices()? {
        if Path::new(&backing) != Path::new(&name) {
            continue;
        }
        if let Some((file, status)) = open_device(&path, false)
            .ok()
            .and_then(|file| status(&file).ok().map(|status| (file, status)))
        {
            return Ok(Some(Loop { path, file, status }));
        }
    }
    Ok(None)
}

/// Every loop device that is attached to something, and the name of that.
///
/// proc_partitions(5) lists the block devices that have a size, which of loop devices are those
/// that are attached: one read instead of a look at each device of the machine.
fn bound_devices() -> Result<Vec<(PathBuf, String)>> {
    let list = "/proc/partitions";
    let partitions = fs::read_to_string(list).doing(|| format!("read {list}"))?;
    let mut bound = Vec::new();
    for name in partitions.lines().filter_map(|line| line.split_ascii_whitespace().nth(3)) {
        let Some(number) = name.strip_prefix("loop").and_then(|number| number.parse().ok()) else {
            continue;
        };
        let backing = Path::new("/sys/block").join(name).join("loop/backing_file");
        if let Ok(backing) = fs::read_to_string(backing) {
            bound.push((node(number)?, backing.trim_end_matches('\n').to_owned()));
        }
    }
    Ok(bound)
}

/// Starts the detach, unless something holds the device.
fn clear(found: &Loop, image: &Path) -> Result<()> {
    // LOOP_CLR_FD on a mounted device would only turn autoclear on: hold it exclusively meanwhile.
    let exclusive =
        OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(&found.path).map_err(
            |error| match error.kind() {
                io::ErrorKind::ResourceBusy => Error::failed_precondition(format!(
                    "{} can't be detached from {}: it is mounted or held by device mapper; unmount \
                     it first",
                    image.display(),
                    found.path.display()
                )),
                _ => Error::io(format!("open {}", found.path.display()), error),
            },
        )?;
    match ioctl(&exclusive, LOOP_CLR_FD, 0) {
        Ok(_) | Err(Errno::NXIO) => Ok(()),
        Err(errno) => Err(Error::io(format!("detach {}", found.path.display()), errno.into())),
    }
}

/// Waits until the device is no longer attached to this image: whoever else has it open delays it.
fn wait_until_free(path: &Path, id: Image, image: &Path) -> Result<()> {
    let until = Instant::now() + LINGER;
    while open_attached(path, id).is_some() {
        if Instant::now() >= until {
            return Err(Error::deadline_exceeded(format!(
                "{} is still attached to {} after {} s: another program has the device open (see \
                 fuser {}); it is detached when that program closes it",
                image.display(),
                path.display(),
                LINGER.as_secs(),
                path.display()
            )));
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

fn status(device: &File) -> Result<Status, Errno> {
    let mut status = Status::EMPTY;
    ioctl(device, LOOP_GET_STATUS64, (&raw mut status).addr())?;
    Ok(status)
}

/// `argument` is 0 or the address of the structure that the request reads or fills.
fn ioctl(fd: impl AsFd, request: u32, argument: usize) -> Result<i32, Errno> {
    // SAFETY: each request of this module takes no argument, or a pointer to the `repr(C)` structure
    // that <linux/loop.h> says, which its caller keeps alive and unaliased during the call.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), request.into(), argument) };
    if result < 0 {
        let code = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        return Err(Errno::from_raw_os_error(code));
    }
    Ok(result)
}

/// The files that loop devices of this machine are attached to, as the kernel names them.
pub fn backing_files() -> Result<Vec<PathBuf>> {
    Ok(bound_devices()?.into_iter().map(|(_, backing)| backing.into()).collect())
}

/// A loop device that is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The device.
    pub device: PathBuf,
    /// The file it is attached to, as the kernel names it, without `(deleted)`.
    pub backing: PathBuf,
    /// Whether that file was deleted.
    pub deleted: bool,
}

/// Every loop device of this machine that is attached.
pub fn attached() -> Result<Vec<Attached>> {
    let bound = bound_devices()?.into_iter();
    Ok(bound
        .map(|(device, backing)| match backing.strip_suffix(" (deleted)") {
            Some(name) => Attached { device, backing: name.into(), deleted: true },
            None => Attached { device, backing: backing.into(), deleted: false },
        })
        .collect())
}

/// Whether anybody uses the device: a mount in any mount namespace, device mapper, or a process that
/// has it open.
pub fn is_in_use(device: &Path) -> Result<bool> {
    let exclusive = OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(device);
    match exclusive {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(true),
        Err(error) => Err(Error::io(format!("open {}", device.display()), error)),
        Ok(exclusive) => {
            drop(exclusive);
            Ok(crate::facts::is_open_elsewhere(device))
        }
    }
}

/// Detaches a device that nobody uses and that is still attached to what it was found attached to.
/// In use by now → `FailedPrecondition`; attached to something else → `AlreadyDone`.
pub fn detach_unused(found: &Attached) -> Result<Outcome> {
    // Who attaches an image holds its lock: nobody begins to use the device meanwhile.
    let _lock = if found.deleted { None } else { Some(lock(&found.backing)?) };
    let still = attached()?.contains(found);
    if !still {
        return Ok(Outcome::AlreadyDone(()));
    }
    if is_in_use(&found.device)? {
        return Err(Error::failed_precondition(format!(
            "{} is in use and stays attached",
            found.device.display()
        )));
    }
    let doing = || format!("open {}", found.device.display());
    let file = open_device(&found.device, false).doing(doing)?;
    let status = status(&file).doing(doing)?;
    let id = status.image();
    let device = Loop { path: found.device.clone(), file, status };
    clear(&device, &found.backing)?;
    drop(device);
    wait_until_free(&found.device, id, &found.backing)?;
    Ok(Outcome::Done(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_kernels_size() {
        assert_eq!(size_of::<Status>(), 232);
        assert_eq!(size_of::<Config>(), 304);
    }

    #[test]
    fn a_directory_is_no_image() {
        let error = open_image(Path::new("/"), true).expect_err("not a file");
        assert_eq!(error.kind(), Kind::InvalidArgument);
    }

    #[test]
    fn an_old_kernel_is_named_as_the_cause() {
        let error = not_attached(Path::new("/i"), Path::new("/dev/loop0"), Errno::NOTTY);
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(error.message().contains("5.8"));
    }

    #[test]
    fn the_lock_excludes_a_second_open_of_the_same_image() {
        let image = tempfile::NamedTempFile::new().expect("made");
        let one = lock(image.path()).expect("free");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lock(image.path()).is_ok());
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiting.is_finished());
            drop(one);
            assert!(waiting.join().expect("no panic"));
        });
    }
}
