//! What a path stands for: devices of this machine, and small files inside another root. Whether
//! anybody may use them is decided elsewhere.

use error::{Error, IoContext, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags, major, minor, openat2};
use rustix::io::Errno;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// How many files a directory of devices may have, at any depth.
const FILES: usize = 10_000;

/// A device of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostDevice {
    /// Where it was found, below the path that was asked for.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Kinds of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Unbuffered.
    Character,
    /// Buffered.
    Block,
}

/// The device at `path`, or the devices anywhere below it if it is a directory, by path.
///
/// Symbolic links are followed in `path` itself; those that a directory holds are passed over, as
/// they lead to devices that are found anyway or lie elsewhere. `InvalidArgument` when there is no
/// device at all.
pub fn resolve(path: &Path) -> Result<Vec<HostDevice>> {
    let look = || format!("look at device {}", path.display());
    let metadata = fs::metadata(path).doing(look)?;
    let mut found = if metadata.is_dir() {
        below(path)?
    } else {
        device(path, &metadata).into_iter().collect()
    };
    if found.is_empty() {
        let what = if metadata.is_dir() { "holds no device" } else { "is no device" };
        return Err(Error::invalid_argument(format!("{} {what}", path.display())));
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// The beginning of the file at `path` inside `root`, at most `limit` bytes of it; links lead nowhere
/// else. `None` when there is none, or no regular file.
pub fn read_inside(root: &Path, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let read = || format!("read {} inside {}", path.display(), root.display());
    let root = File::open(root).doing(read)?;
    // Without O_NONBLOCK a FIFO would hold us for ever.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = match openat2(&root, path, flags, Mode::empty(), inside) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(errno) => return Err(errno).doing(read),
    };
    if !file.metadata().doing(read)?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).doing(read)?;
    Ok(Some(bytes))
}

fn below(path: &Path) -> Result<Vec<HostDevice>> {
    let mut found = Vec::new();
    let mut directories = vec![path.to_owned()];
    let mut files = 0;
    while let Some(directory) = directories.pop() {
        let read = || format!("read directory {}", directory.display());
        for entry in fs::read_dir(&directory).doing(read)? {
            let entry = entry.doing(read)?;
            files += 1;
            if files > FILES {
                let many = format!("{} has more than {FILES} files; name a device", path.display());
                return Err(Error::invalid_argument(many));
            }
            // Devices come and go; one that has just gone is none.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                directories.push(entry.path());
            }
            found.extend(device(&entry.path(), &metadata));
        }
    }
    Ok(found)
}

fn device(path: &Path, metadata: &Metadata) -> Option<HostDevice> {
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => Kind::Character,
        kind if kind.is_block_device() => Kind::Block,
        _ => return None,
    };
    Some(HostDevice {
        path: path.to_owned(),
        kind,
        major: major(metadata.rdev()),
        minor: minor(metadata.rdev()),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use error::Kind as Failure;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_device_is_found_with_its_numbers_also_behind_a_link() {
        let null = resolve(Path::new("/dev/null")).expect("is there");
        assert_eq!((null.len(), null[0].kind), (1, Kind::Character));
        assert_eq!((null[0].major, null[0].minor), (1, 3));
        let directory = tempfile::tempdir().expect("made");
        let link = directory.path().join("link");
        symlink("/dev/null", &link).expect("linked");
        let linked = resolve(&link).expect("followed");
        assert_eq!(linked, [HostDevice { path: link, ..null[0].clone() }]);
    }

    #[test]
    fn a_directory_stands_for_the_devices_below_it() {
        let all = resolve(Path::new("/dev")).expect("is there");
        assert!(all.iter().any(|device| device.path == Path::new("/dev/zero")));
        assert!(all.iter().all(|device| device.path.starts_with("/dev")));
        assert!(all.is_sorted_by(|one, other| one.path < other.path));
    }

    #[test]
    fn a_file_inside_another_root_is_read_without_leaving_it() {
        let root = tempfile::tempdir().expect("made");
        let inside = |path: &str| {
            let bytes = read_inside(root.path(), Path::new(path), 5).expect("looked at");
            bytes.map(|bytes| String::from_utf8(bytes).expect("text"))
        };
        fs::create_dir(root.path().join("etc")).expect("made");
        assert_eq!(inside("/etc/passwd"), None);
        symlink("/../../real", root.path().join("etc/passwd")).expect("linked");
        fs::write(root.path().join("real"), "root:x").expect("written");
        assert_eq!(inside("/etc/passwd").as_deref(), Some("root:"));
        assert_eq!(inside("/etc"), None);
        assert_eq!(inside("/real/passwd"), None);
    }

    #[test]
    fn what_is_no_device_is_refused() {
        let directory = tempfile::tempdir().expect("made");
        let file = directory.path().join("file");
        fs::write(&file, "").expect("written");
        let refusal = |path: &Path| resolve(path).expect_err("refused");
        assert_eq!(refusal(&file).message(), format!("{} is no device", file.display()));
        // A link to a device does not make a device of its directory.
        symlink("/dev/null", directory.path().join("null")).expect("linked");
        let empty = format!("{} holds no device", directory.path().display());
        assert_eq!(refusal(directory.path()).message(), empty);
        assert_eq!(refusal(&directory.path().join("none")).kind(), Failure::NotFound);
    }
}
