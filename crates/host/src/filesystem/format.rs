//! mkfs, the only one in the program: on a device that is positively blank, checked afterwards.

use super::probe::{probe, superblock_of};
use super::{Content, Format, Fstype};
use crate::command::{self, Finished};
use crate::{device, failpoint};
use error::{Error, IoContext, Result};
use rustix::fs::{MemfdFlags, memfd_create};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

/// How long mkfs may take; without discarding it writes megabytes even to large devices.
const DEADLINE: Duration = Duration::from_mins(10);
/// The same where it writes nothing: half a second for 64 TiB.
const REHEARSAL: Duration = Duration::from_secs(20);

/// Makes the file system; see [`Disks::format`](crate::Disks::format).
pub(crate) fn format(device: &Path, format: &Format) -> Result<()> {
    check_options(format.fstype, &format.options)?;
    require_blank(device)?;
    require_size(device, format.fstype)?;
    failpoint::hit("filesystem.format");
    make(device, format)?;
    failpoint::hit("filesystem.formatted");
    verify(device, format)
}

/// The mkfs flags that are allowed, each with a value after it: they shape this file system and
/// reach no other file. Whatever is not here is refused, above all words without a flag, which mkfs
/// takes for devices, and flags that read other files or overwrite.
fn allowed(fstype: Fstype) -> &'static [&'static str] {
    match fstype {
        Fstype::Ext4 => {
            &["-b", "-C", "-E", "-g", "-G", "-i", "-I", "-J", "-L", "-m", "-N", "-O", "-T"]
        }
        Fstype::Xfs => &["-b", "-d", "-i", "-l", "-L", "-m", "-n", "-s"],
        Fstype::Btrfs => &["-d", "-m", "-n", "-s", "-L", "-O", "-R", "--csum", "--checksum"],
    }
}

/// Parts of values that name another file or device, or a place on it.
const ELSEWHERE: [&str; 7] = ["device", "name", "file", "logdev", "rtdev", "dev", "offset"];

/// Parts of values that say what is said already: the UUID, and that a file system is made.
const SAID: [&str; 2] = ["uuid", "journal_dev"];

/// Whether mkfs may be given these options, one word each; otherwise `InvalidArgument`. Pure: whether
/// mkfs takes them is its own affair.
pub fn check_options(fstype: Fstype, options: &[String]) -> Result<()> {
    let refuse = |option: &str| {
        Err(Error::invalid_argument(format!(
            "mkfs option {option:?} is not allowed; for {fstype} give {} with a value each, none \
             of which names a file, a device or a UUID",
            allowed(fstype).join(" ")
        )))
    };
    for pair in options.chunks(2) {
        match pair {
            [flag, value] if allowed(fstype).contains(&flag.as_str()) => {
                // A label may be any word.
                let is_parted = flag != "-L";
                let mut parts = value.split(',').map(|part| part.split('=').next().unwrap_or(part));
                let is_taken = |part: &str| ELSEWHERE.contains(&part) || SAID.contains(&part);
                if value.starts_with('-')
                    || value.contains('/')
                    || value.chars().any(char::is_control)
                    || (is_parted && parts.any(is_taken))
                {
                    return refuse(value);
                }
            }
            [flag, ..] => return refuse(flag),
            [] => {}
        }
    }
    Ok(())
}

fn require_blank(device: &Path) -> Result<()> {
    if device::is_held(device)? {
        return Err(Error::failed_precondition(format!(
            "device {} is mounted or held by device mapper; refusing to format",
            device.display()
        )));
    }
    match probe(device)? {
        Content::Blank => Ok(()),
        content => Err(Error::failed_precondition(format!(
            "device {} holds {content}; refusing to format; if nobody needs that, erase it by hand \
             first (wipefs -a)",
            device.display()
        ))),
    }
}

fn require_size(device: &Path, fstype: Fstype) -> Result<()> {
    let (size, minimum) = (device::size(device)?, fstype.minimum_size());
    if size >= minimum {
        return Ok(());
    }
    Err(Error::out_of_range(format!(
        "{} has {} MiB; {fstype} needs at least {} MiB",
        device.display(),
        size >> 20,
        minimum >> 20
    )))
}

/// Lets mkfs calculate the file system; see [`Disks::rehearse`](crate::Disks::rehearse).
pub(crate) fn rehearse(format: &Format, size: u64) -> Result<()> {
    check_options(format.fstype, &format.options)?;
    let refused = match try_dry(format, size) {
        Ok(Some(finished)) if (1..128).contains(&finished.code) => finished,
        _ => return Ok(()),
    };
    // Where it is not taken without the options either, they are not what is wrong.
    let bare = Format { options: Vec::new(), ..format.clone() };
    if !matches!(try_dry(&bare, size), Ok(Some(finished)) if finished.code == 0) {
        return Ok(());
    }
    let program = program(format.fstype);
    let lines = refused.stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    // Then it shows how it is to be called.
    let said: Vec<_> = lines.take_while(|line| !line.starts_with("Usage:")).take(4).collect();
    Err(Error::invalid_argument(format!(
        "mkfs options \"{}\" are refused by {program} ({}); put right what it names, or leave it \
         out (man 8 {program})",
        format.options.join(" "),
        said.join(" / ")
    )))
}

/// Runs mkfs without writing, on memory that is as large as any device and takes no space; `None`
/// where it cannot.
fn try_dry(format: &Format, size: u64) -> Result<Option<Finished>> {
    let dry = match format.fstype {
        Fstype::Ext4 => "-n",
        Fstype::Xfs => "-N",
        Fstype::Btrfs => return Ok(None),
    };
    let doing = || "make a device in memory";
    let device = memfd_create(c"device", MemfdFlags::CLOEXEC).doing(doing)?;
    rustix::fs::ftruncate(&device, size).doing(doing)?;
    let mut args = arguments(format);
    args.push(dry.into());
    args.push(format!("/proc/{}/fd/{}", std::process::id(), device.as_raw_fd()).into());
    command::run(&program(format.fstype), &args, REHEARSAL).map(Some)
}

fn program(fstype: Fstype) -> String {
    format!("mkfs.{fstype}")
}

fn make(device: &Path, format: &Format) -> Result<()> {
    let mut args = arguments(format);
    args.push(device.into());
    command::run_ok(&program(format.fstype), &args, DEADLINE).map_err(|error| {
        Error::new(error.kind(), format!("making {} on {} failed", format.fstype, device.display()))
            .because(error)
    })?;
    let file = OpenOptions::new().write(true).open(device);
    file.and_then(|file| file.sync_all()).doing(|| format!("sync {}", device.display()))
}

/// Nothing is discarded: cloud disks and sparse images are new and empty, and discarding a large
/// disk takes minutes. ext4 keeps no reserve for root, writes its inode tables and journal when they
/// are used, and stores its checksum seed (e2fsprogs 1.43, Linux 4.4), so that a clone gets its own
/// UUID without every checksum being written anew.
fn arguments(format: &Format) -> Vec<OsString> {
    let uuid = format.uuid.to_string();
    let fixed = match format.fstype {
        Fstype::Ext4 => vec![
            "-q".to_owned(),
            "-m".to_owned(),
            "0".to_owned(),
            "-U".to_owned(),
            uuid,
            "-E".to_owned(),
            "lazy_itable_init=1,lazy_journal_init=1,nodiscard".to_owned(),
            "-O".to_owned(),
            "metadata_csum_seed".to_owned(),
        ],
        Fstype::Xfs => ["-q", "-K", "-m", &format!("uuid={uuid}")].map(str::to_owned).to_vec(),
        Fstype::Btrfs => ["-q", "-K", "-U", &uuid].map(str::to_owned).to_vec(),
    };
    fixed.into_iter().chain(format.options.iter().cloned()).map(OsString::from).collect()
}

fn verify(device: &Path, format: &Format) -> Result<()> {
    let found = superblock_of(device)?;
    if found
        .as_ref()
        .is_some_and(|found| (found.fstype, found.uuid) == (format.fstype, format.uuid))
    {
        return Ok(());
    }
    Err(Error::internal(format!(
        "mkfs said that it made {} {} on {}, but read back is {found:?}; is the disk faulty?",
        format.fstype,
        format.uuid,
        device.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use error::Kind;
    use uuid::Uuid;

    fn wanted(options: &[&str]) -> Format {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Format { fstype: Fstype::Btrfs, uuid: Uuid::nil(), options }
    }

    #[test]
    fn mkfs_options_reach_no_other_file_and_lift_no_refusal() {
        let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        for (fstype, dangerous) in [
            (Fstype::Btrfs, "-f"),
            (Fstype::Btrfs, "-qf disk.img"),
            (Fstype::Btrfs, "--forc disk.img"),
            (Fstype::Btrfs, "disk.img"),
            (Fstype::Btrfs, "--rootdir etc"),
            (Fstype::Btrfs, "-n 16k -r etc"),
            (Fstype::Ext4, "-d etc"),
            (Fstype::Ext4, "-F"),
            (Fstype::Ext4, "-m 0 disk.img"),
            (Fstype::Ext4, "-m"),
            (Fstype::Ext4, "-J device=disk.img"),
            (Fstype::Ext4, "-E offset=4096"),
            (Fstype::Ext4, "-L -F"),
            (Fstype::Ext4, "-L a/b"),
            (Fstype::Xfs, "-d file,name=disk.img"),
            (Fstype::Xfs, "-l logdev=disk.img"),
            (Fstype::Xfs, "-p proto"),
            (Fstype::Xfs, "-m reflink=0,uuid=0f0e0d0c-0000-4000-8000-000000000000"),
            (Fstype::Ext4, "-O journal_dev"),
            (Fstype::Ext4, "-L a\u{7}b"),
            (Fstype::Xfs, "-f"),
        ] {
            let error = check_options(fstype, &words(dangerous)).expect_err(dangerous);
            assert!(error.message().contains("not allowed"), "{error}");
        }
        for (fstype, harmless) in [
            (Fstype::Btrfs, "-n 16k --csum xxhash"),
            (Fstype::Ext4, "-m 1 -O ^has_journal -L data"),
            (Fstype::Ext4, "-T largefile -O large_file,huge_file -L file"),
            (Fstype::Xfs, "-m reflink=0 -L data"),
        ] {
            check_options(fstype, &words(harmless)).expect(harmless);
        }
    }

    #[test]
    fn the_users_options_come_last() {
        let args = arguments(&wanted(&["--csum", "xxhash"]));
        assert_eq!(args[..2], ["-q", "-K"]);
        assert_eq!(args[args.len() - 2..], ["--csum", "xxhash"]);
    }

    #[test]
    fn too_small_an_image_is_told_the_minimum() {
        let image = tempfile::NamedTempFile::new().expect("made");
        image.as_file().set_len(100 << 20).expect("longer");
        let error = format(image.path(), &wanted(&[])).expect_err("too small");
        assert_eq!(error.kind(), Kind::OutOfRange);
        assert!(error.message().contains("at least 109 MiB"), "{error}");
    }
}
