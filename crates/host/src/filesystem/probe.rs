//! What is on a device: its superblock read here, or libblkid's word, or the proof that it is blank.
//!
//! ```text
//! one superblock of ours, nothing beside it ──────────────► Filesystem   (no child process)
//! several superblocks of ours ────────────────────────────► Foreign
//! a regular file that is one hole ────────────────────────► Blank
//! else blkid: something ──► Foreign (or Filesystem, when it says the same as the superblock)
//!             nothing ────► all places of signatures are zero? Blank : Foreign
//! ```

use super::superblock::{self, END, START};
use super::{Content, Fstype, Superblock};
use crate::command::{self, Finished};
use crate::{device, file};
use error::{Error, Kind, Result};
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// How long blkid may take.
const DEADLINE: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;
const CHUNK: u64 = MIB;

/// The superblock of type `fstype` that `device` has: one read of a few KiB.
pub fn superblock(device: &Path, fstype: Fstype) -> Result<Option<Superblock>> {
    let file = open(device)?;
    let length = match fstype {
        Fstype::Ext4 | Fstype::Xfs => 8 << 10,
        Fstype::Btrfs => 68 << 10,
    };
    let size = device::size_of(&file, device)?;
    let start = read(&file, device, 0..size.min(length))?;
    if superblock::start_contradicts(&start) {
        return Ok(None);
    }
    Ok(superblock::find(&start).into_iter().find(|found| found.fstype == fstype))
}

fn open(device: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(device)
        .map_err(|error| unreadable(device, "opened", error))
}

/// What is on `device`, a block device or an image. Anything unreadable is an error.
pub fn probe(device: &Path) -> Result<Content> {
    let file = open(device)?;
    let size = device::size_of(&file, device)?;
    if is_one_hole(&file, device)? {
        return Ok(Content::Blank);
    }
    if size == 0 {
        return Err(Error::failed_precondition(format!(
            "{} has no size: not considered blank; is there a medium in it?",
            device.display()
        )));
    }
    let start = read(&file, device, 0..size.min(START as u64))?;
    let end = read(&file, device, size.saturating_sub(END)..size)?;
    let found = superblock::find(&start);
    let contradicted =
        superblock::start_contradicts(&start) || superblock::end_contradicts(&end, size);
    match found.as_slice() {
        [only] if !contradicted => Ok(Content::Filesystem(only.clone())),
        [] | [_] => ask_blkid(&file, device, size, found.into_iter().next()),
        several => Ok(Content::Foreign(ambiguous(several))),
    }
}

/// The superblock that `device` has, when it is a file system of this program.
pub(super) fn superblock_of(device: &Path) -> Result<Option<Superblock>> {
    Ok(match probe(device)? {
        Content::Filesystem(superblock) => Some(superblock),
        Content::Blank | Content::Foreign(_) => None,
    })
}

fn ambiguous(several: &[Superblock]) -> String {
    let names: Vec<_> = several.iter().map(|found| found.fstype.name()).collect();
    format!("the superblocks of {} at once", names.join(" and "))
}

fn is_one_hole(file: &File, device: &Path) -> Result<bool> {
    let error = |error| unreadable(device, "looked at", error);
    Ok(file.metadata().map_err(error)?.is_file() && file::is_all_hole(file).map_err(error)?)
}

fn ask_blkid(file: &File, device: &Path, size: u64, found: Option<Superblock>) -> Result<Content> {
    let args = ["-p".as_ref(), "-o".as_ref(), "export".as_ref(), device.as_os_str()];
    let finished = command::run("blkid", &args, DEADLINE).map_err(|error| {
        Error::new(
            error.kind(),
            format!("{} could not be probed: not considered blank", device.display()),
        )
        .because(error)
    })?;
    match classify(&finished, found)? {
        Some(content) => Ok(content),
        None => Ok(match first_data(file, device, size)? {
            None => Content::Blank,
            Some(at) => Content::Foreign(format!("data at offset {at} without a known signature")),
        }),
    }
}

/// What blkid's answer means; `None`: it knows nothing on the device. `found` is what was read here.
fn classify(finished: &Finished, found: Option<Superblock>) -> Result<Option<Content>> {
    let value = |key: &str| {
        let lines = finished.stdout.lines().filter_map(|line| line.split_once('='));
        lines.into_iter().find(|(name, _)| *name == key).map(|(_, value)| value.to_owned())
    };
    match finished.code {
        0 => {}
        // A superblock that libblkid does not see is not nothing.
        2 => return Ok(found.map(|found| Content::Foreign(doubtful(found.fstype)))),
        8 => {
            return Ok(Some(Content::Foreign("several signatures that contradict".to_owned())));
        }
        _ => return Err(command::failure("blkid", finished)),
    }
    let fstype = value("TYPE");
    if let Some(found) = found
        && fstype.as_deref() == Some(found.fstype.name())
    {
        return Ok(Some(Content::Filesystem(found)));
    }
    Ok(Some(Content::Foreign(describe(fstype, value("PTTYPE"), value("USAGE")))))
}

fn describe(fstype: Option<String>, table: Option<String>, usage: Option<String>) -> String {
    let ours = fstype.as_deref().is_some_and(|name| Fstype::parse(name).is_ok());
    let table = table.map(|table| format!("{table} partition table"));
    match (fstype, table) {
        (Some(fstype), _) if ours => format!("{fstype} that is damaged or of several devices"),
        (Some(fstype), Some(table)) => format!("{fstype} and a {table}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => usage.unwrap_or_else(|| "something without a name".to_owned()),
    }
}

fn doubtful(fstype: Fstype) -> String {
    format!("{fstype} that libblkid does not recognise")
}

/// Where the first byte is that is not zero, in all places where a signature could be.
fn first_data(file: &File, device: &Path, size: u64) -> Result<Option<u64>> {
    for area in signature_areas(size) {
        let mut at = area.start;
        while at < area.end {
            let bytes = read(file, device, at..area.end.min(at + CHUNK))?;
            if let Some(found) = first_set(&bytes) {
                return Ok(Some(at + found as u64));
            }
            at += CHUNK;
        }
    }
    Ok(None)
}

/// Where the first byte is that is not zero; pages are compared whole, for that is much faster.
fn first_set(bytes: &[u8]) -> Option<usize> {
    const PAGE: usize = 4096;
    let mut pages = bytes.chunks(PAGE).zip((0..).step_by(PAGE));
    let (page, at) = pages.find(|(page, _)| **page != [0; PAGE][..page.len()])?;
    page.iter().position(|&byte| byte != 0).map(|found| at + found)
}

/// Where file systems, RAIDs, volume managers and partition tables keep their signatures and the
/// copies of them, clipped to a device of `size` bytes.
fn signature_areas(size: u64) -> Vec<Range<u64>> {
    let ends = MIB + (64 << 10);
    // The start, and the mirrors of btrfs's superblock.
    let mut areas = vec![0..ends, 64 * MIB..65 * MIB, 256 << 30..(256 << 30) + MIB];
    // ext's backup superblocks (sparse_super), for blocks of 1, 2 and 4 KiB.
    for block in [1024, 2048, 4096] {
        let first = u64::from(block == 1024);
        areas.extend([1, 3, 5, 7, 9].map(|group| {
            let at = (group * 8 * block + first) * block;
            at..at + 4096
        }));
    }
    // The headers of xfs's allocation groups: four, or of 1 TiB each.
    areas.extend([1, 2, 3].map(|quarter| {
        let at = (size / 4 * quarter) & !0xFFFF;
        at..at.saturating_add(128 << 10)
    }));
    areas.push(1 << 40..(1 << 40) + 4096);
    // The backup GPT, mdraid 0.90 and 1.0, the last two ZFS labels.
    areas.push(size.saturating_sub(ends)..size);
    areas.iter().map(|area| area.start.min(size)..area.end.min(size)).collect()
}

fn read(file: &File, device: &Path, range: Range<u64>) -> Result<Vec<u8>> {
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, range.start)
        .map_err(|error| unreadable(device, &format!("read at {}", range.start), error))?;
    Ok(bytes)
}

fn unreadable(device: &Path, done: &str, error: std::io::Error) -> Error {
    Error::new(
        Kind::of_io(&error),
        format!("{} could not be {done}: it is not considered blank", device.display()),
    )
    .because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::superblock::tests::{ext4_bytes, xfs_bytes};

    fn finished(code: i32, stdout: &str) -> Finished {
        Finished { code, stdout: stdout.to_owned(), stderr: String::new() }
    }

    fn foreign(code: i32, stdout: &str) -> String {
        match classify(&finished(code, stdout), None).expect("no error") {
            Some(Content::Foreign(what)) => what,
            other => panic!("{other:?}"),
        }
    }

    fn image(bytes: &[u8]) -> tempfile::NamedTempFile {
        let image = tempfile::NamedTempFile::new().expect("made");
        std::fs::write(image.path(), bytes).expect("written");
        image
    }

    #[test]
    fn whatever_blkid_finds_is_foreign() {
        assert_eq!(foreign(0, "DEVNAME=/d\nTYPE=LVM2_member\nUSAGE=raid\n"), "LVM2_member");
        assert_eq!(foreign(0, "DEVNAME=/d\nPTUUID=1\nPTTYPE=gpt\n"), "gpt partition table");
        assert_eq!(foreign(0, "TYPE=ntfs\nPTTYPE=dos\n"), "ntfs and a dos partition table");
        assert_eq!(foreign(0, "USAGE=other\n"), "other");
        assert_eq!(foreign(0, ""), "something without a name");
        assert_eq!(foreign(0, "TYPE=xfs\n"), "xfs that is damaged or of several devices");
        assert_eq!(foreign(8, ""), "several signatures that contradict");
    }

    #[test]
    fn only_code_2_means_that_blkid_knows_nothing() {
        assert_eq!(classify(&finished(2, ""), None).expect("no error"), None);
        for code in [1, 3, 4, 16, 137] {
            classify(&finished(code, ""), None).expect_err("not an answer");
        }
    }

    #[test]
    fn a_superblock_stays_foreign_unless_blkid_agrees() {
        let found = superblock::find(&ext4_bytes()).remove(0);
        let ask = |code, text| classify(&finished(code, text), Some(found.clone()));
        assert_eq!(
            ask(0, "TYPE=ext4\n").expect("no error"),
            Some(Content::Filesystem(found.clone()))
        );
        for (code, text) in [(0, "TYPE=crypto_LUKS\n"), (2, ""), (8, "")] {
            let content = ask(code, text).expect("no error");
            assert!(matches!(content, Some(Content::Foreign(_))), "{code} {text}");
        }
    }

    #[test]
    fn areas_stay_within_any_device() {
        for size in [1, 512, 4096, MIB, 3 * MIB, 65 * MIB, 1 << 30, 1 << 40, u64::MAX] {
            for area in signature_areas(size) {
                assert!(area.start <= area.end && area.end <= size, "{size}: {area:?}");
            }
        }
    }

    #[test]
    fn a_small_device_is_looked_at_whole() {
        let areas = signature_areas(2 * MIB);
        assert!(areas.contains(&(0..MIB + (64 << 10))));
        assert!(areas.contains(&(MIB - (64 << 10)..2 * MIB)));
    }

    #[test]
    fn an_image_that_is_one_hole_is_blank() {
        let image = image(b"");
        image.as_file().set_len(1 << 30).expect("longer");
        assert_eq!(probe(image.path()).expect("probed"), Content::Blank);
    }

    #[test]
    fn a_superblock_is_read_without_blkid() {
        let content = probe(image(&xfs_bytes()).path()).expect("probed");
        assert!(matches!(content, Content::Filesystem(found) if found.fstype == Fstype::Xfs));
    }

    #[test]
    fn two_superblocks_are_ambiguous() {
        let mut bytes = ext4_bytes();
        bytes[..512].copy_from_slice(&xfs_bytes()[..512]);
        let content = probe(image(&bytes).path()).expect("probed");
        assert_eq!(content, Content::Foreign("the superblocks of ext4 and xfs at once".to_owned()));
    }

    #[test]
    fn written_zeros_are_blank_and_a_single_byte_is_not() {
        let mut bytes = vec![0; 3 << 20];
        assert_eq!(probe(image(&bytes).path()).expect("probed"), Content::Blank);
        for at in [0, 70_000, (3 << 20) - 1] {
            bytes[at] = 1;
            let what = Content::Foreign(format!("data at offset {at} without a known signature"));
            assert_eq!(probe(image(&bytes).path()).expect("probed"), what);
            bytes[at] = 0;
        }
    }

    #[test]
    fn what_can_not_be_read_is_an_error() {
        probe(Path::new("/nonexistent/device")).expect_err("missing");
        probe(Path::new("/")).expect_err("a directory");
        probe(Path::new("/dev/null")).expect_err("a character device");
    }
}
