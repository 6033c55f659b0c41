//! Growing a file system to the size of its device.

use super::Fstype;
use super::repair::{e2fsck, require_unheld};
use crate::command;
use error::{Error, Result};
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_hours(1);

/// Grows the file system; see [`Disks::grow`](crate::Disks::grow).
pub(crate) fn grow(device: &Path, fstype: Fstype, mounted_at: Option<&Path>) -> Result<()> {
    if !can_grow(fstype, mounted_at.is_some()) {
        return Err(impossible(device, fstype));
    }
    match (fstype, mounted_at) {
        (Fstype::Ext4, Some(_)) => run("resize2fs", &[device.as_os_str()]),
        (Fstype::Ext4, None) => {
            require_unheld(device, "grown offline")?;
            e2fsck(device, &["-f", "-p"])?;
            run("resize2fs", &[device.as_os_str()])
        }
        (Fstype::Xfs, Some(target)) => run("xfs_growfs", &["-d".as_ref(), target.as_os_str()]),
        (Fstype::Btrfs, Some(target)) => {
            let resize = ["filesystem", "resize", "max"].map(OsStr::new);
            run("btrfs", &[&resize[..], &[target.as_os_str()]].concat())
        }
        (Fstype::Xfs | Fstype::Btrfs, None) => Err(impossible(device, fstype)),
    }
}

/// Whether it can be grown here; see [`Disks::can_grow`](crate::Disks::can_grow).
pub(crate) fn can_grow(fstype: Fstype, mounted: bool) -> bool {
    match (fstype, mounted) {
        (Fstype::Ext4, false) | (Fstype::Xfs | Fstype::Btrfs, true) => true,
        (Fstype::Xfs | Fstype::Btrfs, false) => false,
        // The ioctl asks for CAP_SYS_RESOURCE, which containers and some virtual machines lack.
        (Fstype::Ext4, true) => std::fs::read_to_string("/proc/thread-self/status")
            .is_ok_and(|status| has_capability(&status, CAP_SYS_RESOURCE)),
    }
}

/// capabilities(7), <linux/capability.h>.
const CAP_SYS_RESOURCE: u32 = 24;

/// Whether the effective set in a `/proc/PID/status` has the capability of this number.
fn has_capability(status: &str, number: u32) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .is_some_and(|set| set >> number & 1 == 1)
}

fn impossible(device: &Path, fstype: Fstype) -> Error {
    let device = device.display();
    Error::failed_precondition(match fstype {
        Fstype::Ext4 => format!(
            "the mounted ext4 on {device} can't be grown: this process lacks CAP_SYS_RESOURCE; \
             unmount it first, or grant the capability"
        ),
        Fstype::Xfs | Fstype::Btrfs => {
            format!("the {fstype} on {device} grows only while it is mounted; mount it first")
        }
    })
}

fn run(program: &str, args: &[&OsStr]) -> Result<()> {
    command::run_ok(program, args, DEADLINE).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_read_from_the_effective_set() {
        let status = "CapPrm:\t0000000001000000\nCapEff:\t000001fffeffffff\n";
        assert!(!has_capability(status, CAP_SYS_RESOURCE));
        assert!(has_capability(status, 21));
        assert!(has_capability("CapEff:\t0000000001000000", CAP_SYS_RESOURCE));
        assert!(!has_capability("Name: x", CAP_SYS_RESOURCE));
    }

    #[test]
    fn xfs_and_btrfs_grow_only_while_mounted() {
        for fstype in [Fstype::Xfs, Fstype::Btrfs] {
            assert!(can_grow(fstype, true) && !can_grow(fstype, false));
            let error = grow(Path::new("/dev/null"), fstype, None).expect_err("not mounted");
            assert_eq!(error.kind(), error::Kind::FailedPrecondition);
        }
        assert!(can_grow(Fstype::Ext4, false));
    }
}
