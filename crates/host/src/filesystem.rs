//! File systems on devices and images: what is there, mkfs, check, grow, UUID. ext4, xfs, btrfs.
//!
//! The rule of this file (invariant 3): mkfs runs only on a device that is positively known to be
//! blank. Unreadable is not blank; an unknown content is not blank; a failed probe is not blank.

mod format;
mod grow;
mod probe;
mod repair;
mod superblock;

pub use format::check_options;
pub(crate) use format::{format, rehearse};
pub(crate) use grow::{can_grow, grow};
pub use probe::{probe, superblock};
pub(crate) use repair::{check, set_uuid};

use error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// A file system type that volumes can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fstype {
    /// ext4 (e2fsprogs).
    Ext4,
    /// XFS (xfsprogs).
    Xfs,
    /// Btrfs (btrfs-progs).
    Btrfs,
}

impl Fstype {
    /// Every type, in the order of preference.
    pub const ALL: [Self; 3] = [Self::Ext4, Self::Xfs, Self::Btrfs];

    /// The kernel's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// The type of this name, in any case of letters.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|fstype| fstype.name().eq_ignore_ascii_case(name)).ok_or_else(
            || {
                Error::invalid_argument(format!(
                    "file system type {name:?} is not supported; choose ext4, xfs or btrfs"
                ))
            },
        )
    }

    /// The smallest device, in bytes, that mkfs accepts with the options used here.
    #[must_use]
    pub const fn minimum_size(self) -> u64 {
        match self {
            Self::Ext4 => 8 << 20,
            Self::Xfs => 300 << 20,
            Self::Btrfs => 109 << 20,
        }
    }

    /// The smallest size, in bytes, to which it can be grown: the kernel resizes no btrfs to less
    /// (`btrfs_ioctl_resize`), though it may have been made smaller.
    #[must_use]
    pub const fn smallest_growth(self) -> u64 {
        match self {
            Self::Ext4 | Self::Xfs => 0,
            Self::Btrfs => 256 << 20,
        }
    }
}

impl fmt::Display for Fstype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// No signature known to libblkid, and every area where signatures live reads as zero.
    Blank,
    /// One of the file systems of this program.
    Filesystem(Superblock),
    /// Something else: a human-readable description (`LVM2_member`, `gpt partition table`,
    /// `data at offset 4096 without a known signature`).
    Foreign(String),
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("nothing"),
            Self::Filesystem(found) => write!(f, "{} {}", found.fstype, found.uuid),
            Self::Foreign(what) => f.write_str(what),
        }
    }
}

/// The facts of a file system's superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Type.
    pub fstype: Fstype,
    /// The user-visible UUID (xfs: sb_uuid; btrfs: fsid).
    pub uuid: Uuid,
    /// Bytes that the file system covers.
    pub bytes: u64,
    /// It was marked as having errors: check before mounting.
    pub needs_check: bool,
}

/// A file system to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// Type.
    pub fstype: Fstype,
    /// The UUID it shall have.
    pub uuid: Uuid,
    /// Further arguments for mkfs, one per element.
    pub options: Vec<String>,
}
