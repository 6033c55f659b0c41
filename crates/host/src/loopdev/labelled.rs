//! Loop devices that carry a label of their own (`lo_file_name`), as a disk of a cloud carries its
//! serial: each attachment is a new device, even of an image that an old one still has, and it
//! survives the process that made it.

use super::{
    AUTOCLEAR, BLOCK, Image, LOOP_CLR_FD, LOOP_SET_CAPACITY, LOOP_SET_STATUS64, Status,
    bound_devices, configure_free, ioctl, open_device, open_image, status,
};
use error::{Error, IoContext, Result};
use rustix::io::Errno;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The longest label, in bytes (`LO_NAME_SIZE` of <linux/loop.h>, less the final zero).
const LONGEST: usize = 63;

/// A loop device with a label, attached. It is known by label and image, never by its number alone:
/// the kernel gives numbers away again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// The device in /dev.
    pub device: PathBuf,
    /// Its label.
    pub label: String,
    /// Major and minor number.
    pub numbers: (u32, u32),
    image: Image,
}

/// What became of a device that was to be detached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detached {
    /// It is detached, or will be as soon as the last process that merely looks at it closes it.
    Gone,
    /// A mount or device mapper holds it; nothing was done.
    Held,
}

/// Attaches `image` to a new device labelled `label`, which stays when this process ends.
///
/// A label that is empty, longer than 63 bytes or begins with `/` (a path, to everybody else) →
/// `InvalidArgument`.
pub fn attach_labelled(image: &Path, label: &str) -> Result<Labelled> {
    if label.is_empty() || label.len() > LONGEST || label.starts_with('/') || label.contains('\0') {
        return Err(Error::invalid_argument(format!(
            "\"{}\" can't be the label of a loop device; give 1 to {LONGEST} bytes that don't \
             begin with a slash",
            label.escape_debug()
        )));
    }
    let file = open_image(image, false)?;
    let mut wanted = Status::EMPTY;
    wanted.file_name[..label.len()].copy_from_slice(label.as_bytes());
    let (path, _) = configure_free(&file, image, wanted)?;
    look(&path).and_then(|found| {
        found.ok_or_else(|| {
            Error::aborted(format!("{} was detached while it was attached", path.display()))
        })
    })
}

/// Every device of this machine that has a label, without those that were
/// [taken away](Labelled::take_away) and are still held.
pub fn labelled() -> Result<Vec<Labelled>> {
    let bound = bound_devices()?;
    // One that is gone by now is none of them.
    Ok(bound.iter().filter_map(|(path, _)| look(path).ok().flatten()).collect())
}

/// The label of the loop device `device`; `None` when it has none or is no loop device.
#[must_use]
pub fn label_of(device: &Path) -> Option<String> {
    let options = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(device).ok()?;
    label(&status(&options).ok()?)
}

fn label(status: &Status) -> Option<String> {
    let name = status.file_name.split(|byte| *byte == 0).next()?;
    let name = str::from_utf8(name).ok()?;
    (!name.is_empty() && !name.starts_with('/')).then(|| name.to_owned())
}

fn look(path: &Path) -> Result<Option<Labelled>> {
    let doing = || format!("look at {}", path.display());
    let device = open_device(path, false).doing(doing)?;
    let status = match status(&device) {
        Err(Errno::NXIO) => return Ok(None),
        other => other.doing(doing)?,
    };
    // Taken away; its holder has not let go of it yet.
    if status.size_limit != 0 {
        return Ok(None);
    }
    let number = device.metadata().doing(doing)?.rdev();
    Ok(label(&status).map(|label| Labelled {
        device: path.to_owned(),
        label,
        numbers: (libc::major(number), libc::minor(number)),
        image: status.image(),
    }))
}

impl Labelled {
    /// Whether the device is still attached, to the same image and with the same label.
    pub fn is_attached(&self) -> Result<bool> {
        Ok(look(&self.device)?.as_ref() == Some(self))
    }

    /// Whether the device is attached to the file `image`.
    pub fn is_of(&self, image: &Path) -> Result<bool> {
        let found = image.metadata().doing(|| format!("look at {}", image.display()))?;
        Ok(Image::of(&found) == self.image)
    }

    /// Makes the device as large as its image has become.
    pub fn take_new_size(&self) -> Result<()> {
        let doing = || format!("tell {} its new size", self.device.display());
        let device = open_device(&self.device, false).doing(doing)?;
        ioctl(&device, LOOP_SET_CAPACITY, 0).map(drop).doing(doing)
    }

    /// Detaches the device, unless it is held. One that is detached already is `Gone`.
    pub fn detach(&self) -> Result<Detached> {
        if !self.is_attached()? {
            return Ok(Detached::Gone);
        }
        let flags = libc::O_EXCL | libc::O_NONBLOCK;
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(&self.device);
        let exclusive = match opened {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Ok(Detached::Held),
            other => other.doing(|| format!("open {}", self.device.display()))?,
        };
        self.clear(&exclusive)?;
        Ok(Detached::Gone)
    }

    /// Takes the disk away from whoever holds it: nothing is written through this device any more,
    /// and it is detached when the last holder lets go of it.
    ///
    /// The device shrinks to its first sector, so that the kernel fails every request behind that
    /// with EIO; what the page cache of the device itself still held is written before. Shut the
    /// file system on it down first ([`shutdown`](crate::shutdown)), if it can: xfs, which can, is
    /// the one that has something in the first sector.
    pub fn take_away(&self) -> Result<()> {
        if !self.is_attached()? {
            return Ok(());
        }
        let doing = || format!("take {} away from its holder", self.device.display());
        let device = open_device(&self.device, false).doing(doing)?;
        let mut status = status(&device).doing(doing)?;
        status.size_limit = BLOCK.into();
        ioctl(&device, LOOP_SET_STATUS64, (&raw const status).addr()).doing(doing)?;
        self.clear(&device)
    }

    /// Lets go of the device: it is detached when its last holder does, with all that was written.
    pub fn let_go(&self) -> Result<()> {
        if !self.is_attached()? {
            return Ok(());
        }
        let device = open_device(&self.device, false);
        self.clear(&device.doing(|| format!("open {}", self.device.display()))?)
    }

    /// Takes [`let_go`](Self::let_go) back, while there still is a holder.
    pub fn keep(&self) -> Result<()> {
        let doing = || format!("keep {} attached", self.device.display());
        let device = open_device(&self.device, false).doing(doing)?;
        let mut status = status(&device).doing(doing)?;
        status.flags &= !AUTOCLEAR;
        ioctl(&device, LOOP_SET_STATUS64, (&raw const status).addr()).map(drop).doing(doing)
    }

    fn clear(&self, device: &std::fs::File) -> Result<()> {
        match ioctl(device, LOOP_CLR_FD, 0) {
            Ok(_) | Err(Errno::NXIO) => Ok(()),
            Err(errno) => Err(Error::io(format!("detach {}", self.device.display()), errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_no_label() {
        let mut status = Status::EMPTY;
        assert_eq!(label(&status), None);
        status.file_name[..4].copy_from_slice(b"/img");
        assert_eq!(label(&status), None);
        status.file_name[..4].copy_from_slice(b"vol1");
        assert_eq!(label(&status).as_deref(), Some("vol1"));
        for wrong in ["", "/x", &"x".repeat(64)] {
            attach_labelled(Path::new("/nonexistent"), wrong).expect_err("refused");
        }
    }
}
