//! The machine: mounts, block devices, file systems, files and child processes.
//!
//! The only crate with system calls, `unsafe` and child processes. It decides nothing: what to
//! mount, format or grow is planned in crate `volume`. Everything here is synchronous; callers that
//! live in an async world hand it to a blocking thread.
//!
//! Two implementations of the same traits: [`linux::Linux`] and, for tests of plans and faults,
//! [`fake::Fake`].

pub mod cgroup;
pub mod command;
pub mod credential;
pub mod device;
pub mod exec;
pub mod facts;
pub mod failpoint;
pub mod fake;
pub mod file;
pub mod filesystem;
pub mod image;
pub mod linux;
pub mod lock;
pub mod loopdev;
pub mod memory;
pub mod mount;
pub mod mountinfo;
pub mod node;
pub mod process;
pub mod reaper;
pub mod record;
pub mod root;
pub mod sandbox;
pub mod secret;
pub mod shutdown;
pub mod watch;

use error::Result;
use std::path::{Path, PathBuf};
use std::time::Duration;
use uuid::Uuid;

pub use filesystem::{Content, Format, Fstype, Superblock};
pub use mount::{Mount, MountRequest, Ownership, User, What};

/// What an idempotent call did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T = ()> {
    /// The call changed the world.
    Done(T),
    /// The world was already as wanted.
    AlreadyDone(T),
}

impl<T> Outcome<T> {
    /// What was asked for, whoever made it so.
    pub fn into_inner(self) -> T {
        match self {
            Self::Done(value) | Self::AlreadyDone(value) => value,
        }
    }

    /// Whether this call is what changed the world.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// The same outcome about another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Done(value) => Outcome::Done(change(value)),
            Self::AlreadyDone(value) => Outcome::AlreadyDone(change(value)),
        }
    }
}

/// The machine, as the orchestrator and the drivers see it.
pub trait Host: Mounts + Disks {}

impl<T: Mounts + Disks + ?Sized> Host for T {}

/// The mount table of this process's mount namespace.
pub trait Mounts: Send + Sync {
    /// Every mount of this namespace, in the kernel's order. Never touches a mounted file system.
    fn table(&self) -> Result<Vec<Mount>>;

    /// The topmost mount whose mount point is exactly `target`; `None` when `target` is missing or
    /// is no mount point. Does not depend on the number of mounts, and never waits for the mounted
    /// file system (it may hang).
    fn at(&self, target: &Path) -> Result<Option<Mount>>;

    /// Mounts `request.what` on `request.target`, which is made (mode 0000, so that nothing can be
    /// written beside the volume) when missing, and afterwards verified to be the top mount.
    ///
    /// The mount appears complete: ownership, sub-directory and flags are set before it can be seen
    /// at the target wherever the kernel allows it. A failure leaves nothing mounted. The kernel's
    /// own words (fsopen's log) are part of the error.
    fn mount(&self, request: &MountRequest) -> Result<Mount>;

    /// Whether [`mount`](Self::mount) would take these options for a file system of this type, or for
    /// a directory (`None`), as far as each can be judged by itself; otherwise `InvalidArgument` with
    /// the kernel's own words. Mounts nothing, needs no device. Where the kernel cannot be asked (it
    /// lacks the file system; not root) nothing is refused.
    fn check_options(&self, fstype: Option<&str>, options: &[String]) -> Result<()>;

    /// Unmounts the top mount at `target` and removes the then empty mount point.
    ///
    /// Nothing mounted there → `AlreadyDone`. Busy → `FailedPrecondition` naming the processes that
    /// hold it. Never lazy.
    fn unmount(&self, target: &Path) -> Result<Outcome>;

    /// Makes `dir` (created when missing, mode 0700) a mount point of its own whose mounts are
    /// shared, without a second peer that would show each mount twice.
    fn ensure_shared(&self, dir: &Path) -> Result<Outcome>;

    /// Who else uses what is mounted by `mount`: mounts of the same file system (for a bind mount:
    /// of the same directory or one below it) at another place or in another mount namespace.
    /// Reads `/proc/*/mountinfo` once per mount namespace. Copies of `mount` itself, at the same
    /// target in a namespace that merely received or inherited it, are not users.
    fn other_users(&self, mount: &Mount) -> Result<Vec<User>>;

    /// Freezes the file system mounted at `target` (ioctl FIFREEZE): all of it is on disk and no
    /// write happens until the returned guard is dropped.
    fn freeze(&self, target: &Path) -> Result<Box<dyn Send>>;

    /// Thaws the file system mounted at `target` if a process that was killed left it frozen.
    fn thaw(&self, target: &Path) -> Result<Outcome>;

    /// Makes every read and write of the file system mounted at `target` fail from now on, for
    /// everybody; what was synced is there, also when it was just being synced. Takes some seconds at
    /// most, whatever hangs: see [`shutdown::shut_down`].
    fn shut_down(&self, target: &Path) -> Result<()>;

    /// The bytes the file system mounted at `target` has in all, and has free for users (statvfs).
    fn usage(&self, target: &Path) -> Result<Usage>;
}

/// Space of a mounted file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Capacity.
    pub total: u64,
    /// What an unprivileged user could still write.
    pub available: u64,
}

/// Block devices, the file systems on them, and disk images.
///
/// Where a method takes a `device`, a regular file that holds a disk image will do as well.
pub trait Disks: Send + Sync {
    /// Waits until one of `candidates` is a block device whose serial is `serial` (when given), and
    /// returns its resolved path. With a serial, an NVMe disk whose controller has it is found
    /// whatever its name; a disk of Xen, which has no serial, is believed if a candidate is its very
    /// name (`/dev/xvdba`). The serial of a loop device is its label. Not there in time → `DeadlineExceeded` naming what was looked
    /// for; there but another disk → keeps waiting, and says so in the end.
    fn wait_for(
        &self,
        candidates: &[PathBuf],
        serial: Option<&str>,
        timeout: Duration,
    ) -> Result<PathBuf>;

    /// Size of the device in bytes.
    fn size(&self, device: &Path) -> Result<u64>;

    /// What is on the device. Unreadable → an error, never `Blank`.
    fn probe(&self, device: &Path) -> Result<Content>;

    /// The superblock of this type that the device has; reads a few KiB. `None` also when something
    /// else at the start of the device claims it (LUKS, LVM, md, a partition table). Tells whether
    /// the device is the one expected, by UUID; [`probe`](Self::probe) tells all that is on it.
    fn superblock(&self, device: &Path, fstype: Fstype) -> Result<Option<Superblock>>;

    /// Whether somebody holds the block device exclusively: a mount in any mount namespace, or
    /// device mapper (open with O_EXCL fails).
    fn is_held(&self, device: &Path) -> Result<bool>;

    /// Makes a file system. Refuses (`FailedPrecondition`) anything but a positively blank device:
    /// this is the only way to mkfs in the whole program, so it probes by itself.
    fn format(&self, device: &Path, format: &Format) -> Result<()>;

    /// Whether mkfs would take the options of `format` on a device of `size` bytes; otherwise
    /// `InvalidArgument` with its own words. Makes nothing. Where that cannot be tried (btrfs; no such
    /// program here) only what is never allowed is refused.
    fn rehearse(&self, format: &Format, size: u64) -> Result<()>;

    /// Replays the journal and repairs what is safe to repair without questions. Not mounted.
    fn check(&self, device: &Path, fstype: Fstype) -> Result<()>;

    /// Gives an unmounted file system a new UUID. Already that UUID → `AlreadyDone`.
    fn set_uuid(&self, device: &Path, fstype: Fstype, uuid: Uuid) -> Result<Outcome>;

    /// Grows the file system to the size of its device; `mounted_at` when it is mounted.
    fn grow(&self, device: &Path, fstype: Fstype, mounted_at: Option<&Path>) -> Result<()>;

    /// Whether this machine and process can grow a mounted file system of this type (ext4 wants
    /// CAP_SYS_RESOURCE) or an unmounted one (xfs and btrfs grow only while mounted).
    fn can_grow(&self, fstype: Fstype, mounted: bool) -> bool;

    /// The loop device that `image` is attached to, whoever attached it.
    fn find_image(&self, image: &Path) -> Result<Option<PathBuf>>;

    /// Attaches `image` to a loop device: direct I/O where the file system can, and never a second
    /// device for the same image. The kernel detaches it when this process has ended and nothing
    /// has it mounted, unless `keep`. Attached read-only or in part already, and wanted otherwise →
    /// `FailedPrecondition`; a device attached read-write will do for reading.
    fn attach_image(&self, image: &Path, attach: Attach) -> Result<Outcome<PathBuf>>;

    /// Detaches `image` from its loop device and waits until it is gone. Held by a mount →
    /// `FailedPrecondition`.
    fn detach_image(&self, image: &Path) -> Result<Outcome>;

    /// Makes `image` `bytes` long, durably, and tells its loop device, if it has one. Never shorter
    /// than it is (`OutOfRange`).
    fn resize_image(&self, image: &Path, bytes: u64) -> Result<()>;
}

/// How to attach an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attach {
    /// The device refuses writes.
    pub read_only: bool,
    /// The device stays when this process ends.
    pub keep: bool,
}
