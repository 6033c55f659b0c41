//! The serial of a block device, from whoever knows it: sysfs, a loop device's label, an NVMe
//! controller. And the device of a serial, where the kernel can be asked for that.

use crate::loopdev;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Major number of loop devices (admin-guide/devices.txt).
const LOOP: u32 = 7;
/// Major number of Xen's virtual block devices.
const XEN: u32 = 202;

/// `_IOWR('N', 0x41, struct nvme_admin_cmd)` of <linux/nvme_ioctl.h>.
const NVME_ADMIN: libc::Ioctl = 0xC048_4E41_u32 as libc::Ioctl;
/// Opcode of Identify, and the value of CNS that asks for the controller (NVMe base
/// specification, Identify command).
const IDENTIFY: u8 = 6;
const CONTROLLER: u32 = 1;
/// Where the serial is in the controller's answer.
const SERIAL: std::ops::Range<usize> = 4..24;

/// `struct nvme_passthru_cmd`.
#[repr(C)]
#[derive(Default)]
struct Command {
    opcode: u8,
    flags: u8,
    reserved: u16,
    namespace: u32,
    cdw2: u32,
    cdw3: u32,
    metadata: u64,
    address: u64,
    metadata_length: u32,
    length: u32,
    cdw10: u32,
    cdw11: u32,
    cdw12: u32,
    cdw13: u32,
    cdw14: u32,
    cdw15: u32,
    timeout: u32,
    result: u32,
}

/// The serial of `device`, or of the disk that it is a partition of. `None` when it has none.
pub(super) fn read(device: &Path, found: &fs::Metadata) -> Option<String> {
    let (major, minor) = (libc::major(found.rdev()), libc::minor(found.rdev()));
    if major == LOOP {
        return loopdev::label_of(device);
    }
    let sys = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    if is_nvme(&sys)
        && let Some(serial) = identify(device)
    {
        return Some(serial);
    }
    from_sysfs(&sys)
}

/// virtio-blk has `serial` itself; NVMe and SCSI have it at the device below.
fn from_sysfs(sys: &Path) -> Option<String> {
    let names = ["serial", "device/serial", "../serial", "../device/serial"];
    names.iter().find_map(|name| trimmed(&fs::read(sys.join(name)).ok()?))
}

fn trimmed(text: &[u8]) -> Option<String> {
    let text = str::from_utf8(text).ok()?.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

fn is_nvme(sys: &Path) -> bool {
    fs::canonicalize(sys).is_ok_and(|disk| {
        disk.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nvme"))
    })
}

/// Asks the controller itself. `None` when that isn't allowed or it is no NVMe device.
fn identify(device: &Path) -> Option<String> {
    let device = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(device).ok()?;
    trimmed(&controller(&device)?[SERIAL])
}

fn controller(device: &File) -> Option<Box<[u8; 4096]>> {
    let mut answer = Box::new([0_u8; 4096]);
    let mut command = Command {
        opcode: IDENTIFY,
        cdw10: CONTROLLER,
        address: (&raw mut *answer).addr() as u64,
        length: 4096,
        ..Command::default()
    };
    // SAFETY: the request reads and writes the `repr(C)` command, which names a buffer of exactly
    // the length it says; both live and are used by nobody else during the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), NVME_ADMIN, &raw mut command) };
    (result == 0).then_some(answer)
}

/// Whether `candidate` is itself the name of a disk of Xen, which knows no serials: what is
/// attached under a name is found under that name.
pub(super) fn is_named_xen_disk(candidate: &Path, device: &Path, found: &fs::Metadata) -> bool {
    libc::major(found.rdev()) == XEN && is_xen_name(candidate, device)
}

fn is_xen_name(candidate: &Path, device: &Path) -> bool {
    let name = device.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with("xvd")) && candidate.file_name() == device.file_name()
}

/// The NVMe namespaces below `sys` (/sys/block) whose controller has this serial.
pub(super) fn nvme_of(sys: &Path, serial: &str) -> Vec<PathBuf> {
    let Ok(disks) = fs::read_dir(sys) else { return Vec::new() };
    let names = disks.filter_map(|disk| disk.ok()?.file_name().into_string().ok());
    let mut found: Vec<_> = names
        .filter(|name| name.starts_with("nvme"))
        .filter(|name| from_sysfs(&sys.join(name)).as_deref() == Some(serial))
        .map(|name| Path::new("/dev").join(name))
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_has_the_kernels_size() {
        assert_eq!(size_of::<Command>(), 0x48);
    }

    #[test]
    fn padding_is_no_part_of_a_serial() {
        assert_eq!(trimmed(b"vol0123             \0").as_deref(), Some("vol0123"));
        assert_eq!(trimmed(b"   \n"), None);
        assert_eq!(trimmed(&[0xFF, 0xFE]), None);
    }

    #[test]
    fn nvme_namespaces_are_found_by_their_controllers_serial() {
        let sys = tempfile::tempdir().expect("made");
        for (disk, serial) in [("nvme0n1", "vol1"), ("nvme1n1", "vol2 \n"), ("vda", "vol2")] {
            fs::create_dir_all(sys.path().join(disk).join("device")).expect("made");
            fs::write(sys.path().join(disk).join("device/serial"), serial).expect("written");
        }
        assert_eq!(nvme_of(sys.path(), "vol2"), [PathBuf::from("/dev/nvme1n1")]);
        assert!(nvme_of(sys.path(), "vol3").is_empty());
        assert!(nvme_of(Path::new("/nonexistent"), "vol1").is_empty());
    }

    #[test]
    fn a_disk_of_xen_is_believed_by_its_own_name_only() {
        let (named, other) = (Path::new("/dev/xvdba"), Path::new("/dev/sdf"));
        assert!(is_xen_name(named, named));
        assert!(!is_xen_name(other, named));
        assert!(!is_xen_name(other, other));
    }
}
