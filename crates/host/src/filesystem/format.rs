//! mkfs, the only one in the program: on a device that is positively blank, checked afterwards.

use super::probe::{probe, superblock_of};
use super::{Content, Format, Fstype};
use crate::{command, device, failpoint};
use error::{Error, IoContext, Result};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

/// How long mkfs may take; without discarding it writes megabytes even to large devices.
const DEADLINE: Duration = Duration::from_mins(10);

/// Makes the file system; see [`Disks::format`](crate::Disks::format).
pub(crate) fn format(device: &Path, format: &Format) -> Result<()> {
    refuse_dangerous(&format.options)?;
    require_blank(device)?;
    require_size(device, format.fstype)?;
    failpoint::hit("filesystem.format");
    make(device, format)?;
    failpoint::hit("filesystem.formatted");
    verify(device, format)
}

/// Options that would reach another device or file, or lift mkfs's own refusal to overwrite.
fn refuse_dangerous(options: &[String]) -> Result<()> {
    let dangerous = |option: &&String| {
        option.contains('/') || matches!(option.as_str(), "-f" | "-F" | "--force")
    };
    match options.iter().find(dangerous) {
        None => Ok(()),
        Some(option) => Err(Error::invalid_argument(format!(
            "mkfs option {option:?} is not allowed: no paths, and no force; leave it out"
        ))),
    }
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

fn make(device: &Path, format: &Format) -> Result<()> {
    let program = format!("mkfs.{}", format.fstype);
    let mut args = arguments(format);
    args.push(device.into());
    command::run_ok(&program, &args, DEADLINE).map_err(|error| {
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
    fn options_that_name_a_path_or_force_are_refused() {
        for option in ["/dev/sdb", "device=/dev/sdb", "-f", "-F", "--force", "../x"] {
            let error = refuse_dangerous(&wanted(&["-n", option]).options).expect_err("dangerous");
            assert_eq!(error.kind(), Kind::InvalidArgument);
        }
        refuse_dangerous(&wanted(&["-n", "16k", "--csum", "xxhash"]).options).expect("harmless");
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
