//! Directories laid over each other (overlayfs), and taking away whatever is mounted in a place.

use super::context::Context;
use super::place;
use crate::mountinfo;
use crate::root::Root;
use error::{Error, IoContext, Kind, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The longest value that fsconfig(2) takes, in bytes.
const VALUE: usize = 255;

/// What to lay over each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// What is below, topmost first; at least one.
    pub lower: Vec<PathBuf>,
    /// Where changes go.
    pub upper: PathBuf,
    /// An empty directory on the file system of `upper`.
    pub work: PathBuf,
}

/// A mount that is mounted nowhere yet; it vanishes with its descriptor.
#[derive(Debug)]
pub struct Detached(OwnedFd);

impl Overlay {
    /// Makes the mount. `FailedPrecondition` when the kernel refuses (no overlayfs here, or changes
    /// can't be on this file system).
    ///
    /// No index, no xino and no metacopy: the directories may be used by other mounts too, and are
    /// read by hand.
    pub fn mount(&self) -> Result<Detached> {
        let context = Context::open("overlay", OsStr::new("overlay"))?;
        context.set("source", Some(OsStr::new("overlay")))?;
        let mut held = Vec::new();
        self.set_lower(&context, &mut held)?;
        for (key, path) in [("upperdir", &self.upper), ("workdir", &self.work)] {
            context.set(key, Some(&value(path, &mut held)?))?;
        }
        for (key, value) in [("index", "off"), ("xino", "off"), ("metacopy", "off")] {
            context.set(key, Some(OsStr::new(value)))?;
        }
        context.mount(0).map(Detached)
    }

    /// One by one, which leaves colons and commas alone; before Linux 6.8 (6.5 for new contexts) all
    /// at once, by the numbers of descriptors.
    fn set_lower(&self, context: &Context, held: &mut Vec<OwnedFd>) -> Result<()> {
        for (count, lower) in self.lower.iter().enumerate() {
            match context.set("lowerdir+", Some(&value(lower, held)?)) {
                Err(error) if count == 0 && error.kind() == Kind::InvalidArgument => {
                    return self.set_lower_at_once(context, held);
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn set_lower_at_once(&self, context: &Context, held: &mut Vec<OwnedFd>) -> Result<()> {
        let mut all = OsString::new();
        for lower in &self.lower {
            if !all.is_empty() {
                all.push(":");
            }
            all.push(by_number(lower, held)?);
        }
        if all.len() > VALUE {
            return Err(Error::failed_precondition(format!(
                "{} layers are too many for this kernel; Linux 6.8 takes more",
                self.lower.len()
            )));
        }
        context.set("lowerdir", Some(&all))
    }
}

impl Detached {
    /// The mount's root directory, to change it before anybody sees it.
    pub fn root(&self) -> Result<Root> {
        let fd = self.0.try_clone().doing(|| "copy a descriptor")?;
        Ok(Root::new(fd))
    }

    /// The mount's root directory.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Places it on the directory `target`.
    pub fn attach(&self, target: &Path) -> Result<()> {
        place::attach(&self.0, &place::open_source(target)?, target)
    }
}

/// Makes the directory `source` visible at the directory `target` too, what is mounted below it not.
pub fn bind(source: &Path, target: &Path) -> Result<()> {
    let tree = place::clone_tree(place::open_source(source)?)?;
    place::attach(&tree, &place::open_source(target)?, target)
}

/// Takes away all that is mounted at `target` and below it, the last mounted first, also when it is
/// in use; nothing there is as good.
pub fn unmount_all(target: &Path) -> Result<()> {
    let (Some(dir), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(Error::invalid_argument(format!("{} is no mount point", target.display())));
    };
    // The kernel's table has no symbolic links in it.
    let target = match dir.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.doing(|| format!("resolve {}", dir.display()))?.join(name),
    };
    let table = mountinfo::table()?;
    for mount in table.iter().rev().filter(|mount| mount.target.starts_with(&target)) {
        match unmount(&mount.target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // It went away together with one above it.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(errno) => {
                return Err(errno).doing(|| format!("unmount {}", mount.target.display()));
            }
        }
    }
    Ok(())
}

fn value(path: &Path, held: &mut Vec<OwnedFd>) -> Result<OsString> {
    // Overlayfs takes a backslash in some of the paths for the beginning of an escape.
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.len() <= VALUE && !bytes.contains(&b'\\') {
        return Ok(path.as_os_str().to_owned());
    }
    by_number(path, held)
}

/// The directory by the number of a descriptor, which is held until it was used.
fn by_number(path: &Path, held: &mut Vec<OwnedFd>) -> Result<OsString> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty())
        .doing(|| format!("open {}", path.display()))?;
    let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
    held.push(fd);
    Ok(name.into())
}
