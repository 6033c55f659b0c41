//! Mounting and unmounting with the new mount API (fsopen(2), fsmount(2), move_mount(2),
//! open_tree(2), mount_setattr(2)), so that a volume appears at its target complete or not at all.

mod below;
mod context;
mod inside;
mod options;
pub mod overlay;
mod place;
mod subdirectory;

pub use below::{below, unmount_below};
pub(crate) use context::check as check_options;
pub use inside::{Inside, clean_destination, mount_inside};
pub(crate) use place::{attach, clone_tree, open_source};
pub(crate) use place::{is_closed_point, make, make_directory, own_shared, remove_point};

use error::{Error, Kind, Result};
use rustix::io::Errno;
use serde::Serialize;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

/// One mount of a mount namespace (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// The kernel's mount ID (the reusable one of mountinfo).
    pub id: u64,
    /// The ID of the mount that this one is mounted on.
    pub parent: u64,
    /// `major:minor` of the file system.
    pub device: String,
    /// The directory of that file system which forms the root of this mount.
    pub root: PathBuf,
    /// The mount point.
    pub target: PathBuf,
    /// `ext4`, `tmpfs`, `fuse.s3` …
    pub fstype: String,
    /// What the kernel calls the source: a device, a server, a word.
    pub source: String,
    /// Per-mount options (`rw,nosuid`).
    pub options: String,
    /// Options of the file system as a whole.
    pub super_options: String,
    /// The peer group, when the mount is shared.
    pub shared: Option<u64>,
    /// The group it receives mounts from, when it is a slave.
    pub master: Option<u64>,
    /// Neither copied nor bound.
    pub unbindable: bool,
}

impl Mount {
    /// Whether the mount or its file system refuses writes.
    ///
    /// After an error ext4 says `ro`, from Linux 6.15 on `emergency_ro`; one that was shut down
    /// says `shutdown`.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        let refuses = |option| matches!(option, "ro" | "emergency_ro" | "shutdown");
        [&self.options, &self.super_options].iter().any(|options| options.split(',').any(refuses))
    }

    /// What `findmnt -o PROPAGATION` shows: `shared`, `private,slave` …
    #[must_use]
    pub fn propagation(&self) -> String {
        let mut words = vec![if self.shared.is_some() { "shared" } else { "private" }];
        if self.master.is_some() {
            words.push("slave");
        }
        if self.unbindable {
            words.push("unbindable");
        }
        words.join(",")
    }
}

/// What to mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The file system on a block device.
    Device {
        /// The block device.
        device: PathBuf,
        /// `ext4`, `xfs`, `btrfs`.
        fstype: String,
    },
    /// A directory of this machine, bind-mounted (without what is mounted below it).
    Directory(PathBuf),
    /// A file system that has no block device: NFS, CIFS, tmpfs.
    Network {
        /// The kernel's name of the file system type.
        fstype: String,
        /// The source as that file system writes it: `server:/export`.
        source: String,
    },
}

/// Owner and mode of the root directory of a volume. `None` leaves it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ownership {
    /// User ID.
    pub uid: Option<u32>,
    /// Group ID.
    pub gid: Option<u32>,
    /// Permission bits, at most 0o7777.
    pub mode: Option<u32>,
}

/// A mount to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountRequest {
    /// What to mount.
    pub what: What,
    /// Where: an absolute path.
    pub target: PathBuf,
    /// mount(8)-style options, one each: `ro`, `rw`, `nosuid`, `nodev`, `noexec`, `nosymfollow`,
    /// `noatime`, `nodiratime`, `relatime`, `strictatime` (and `suid`, `dev`, `exec`, `diratime`,
    /// `defaults`) are about the mount; the rest is passed to the file system, which a directory
    /// hasn't got.
    pub options: Vec<String>,
    /// Mount read-only.
    pub read_only: bool,
    /// Mount this directory of the file system instead of its root; made when missing (not when
    /// read-only). Relative; resolved inside the file system only (openat2 RESOLVE_IN_ROOT).
    pub subpath: Option<PathBuf>,
    /// Applied to the directory that becomes visible, unless read-only.
    pub ownership: Ownership,
    /// Directories of the one that becomes visible which are removed before, if they are empty;
    /// plain names. Not when read-only.
    pub drop_empty: Vec<String>,
}

/// A use of a mounted file system by somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// A process that lives in the mount namespace.
    pub pid: i32,
    /// Its name (proc_pid_comm(5)).
    pub command: String,
    /// Where it sees the file system.
    pub target: PathBuf,
}

/// Changes attributes of the mount that `fd` is the root of; `recursive`: of all mounts below too
/// (mount_setattr(2)).
pub(crate) fn set_attributes(
    fd: impl AsFd,
    attributes: &libc::mount_attr,
    recursive: bool,
) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the descriptor is open and the path a C string; the kernel only reads the structure,
    // whose size it is told; all of them outlive the call.
    let code = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<libc::mount_attr>(),
        )
    };
    if code == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
    Err(failure("set the attributes of a mount", errno, "5.12"))
}

/// The error for a call of the mount API that came with Linux `since`.
fn failure(what: &str, errno: Errno, since: &str) -> Error {
    match errno {
        Errno::NOSYS => {
            Error::failed_precondition(format!("cannot {what}: this needs Linux {since} or newer"))
        }
        Errno::PERM => Error::permission_denied(format!(
            "cannot {what}: not permitted; run as root, with CAP_SYS_ADMIN"
        )),
        Errno::INVAL => Error::new(Kind::FailedPrecondition, what).because(errno),
        errno => Error::io(what, errno.into()),
    }
}
