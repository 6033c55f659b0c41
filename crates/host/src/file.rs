//! Files that survive a crash: replaced whole or not at all, copied with their holes, and trees
//! removed without ever leaving them. What is in the files is no business of this module.

use crate::{Outcome, failpoint};
use error::{Error, IoContext, Kind, Result};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, SeekFrom, copy_file_range, ioctl_ficlone, openat2,
    seek, unlinkat,
};
use rustix::io::Errno;
use std::ffi::{CStr, CString, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The largest file that [`read_optional`] reads, in bytes: states and records are far smaller.
pub const READ_LIMIT: u64 = 1 << 20;

/// How deep [`remove_tree`] goes before it moves what is deeper up: it holds a file descriptor per
/// level, and whoever made the tree may have wanted us to run out of them.
const DEPTH: usize = 64;

/// What one read or `copy_file_range` of a sparse copy moves at most, in bytes.
const CHUNK: usize = 1 << 20;

/// Whether a written file must outlive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On disk when the call returns (fsync of the file and of its directory).
    Synced,
    /// For what means nothing after a reboot: no fsync.
    Volatile,
}

/// How an image was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// The copy shares its blocks with the original until one of them is written (FICLONE).
    Reflink,
    /// The data was copied; holes stayed holes.
    Sparse,
}

/// A descriptor of the socket at `path` that names it and nothing else (open(2), O_PATH); a link
/// there is an error, and so is anything that is no socket.
pub fn open_socket(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let socket = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    let mode = rustix::fs::fstat(&socket)?.st_mode;
    if rustix::fs::FileType::from_raw_mode(mode) == rustix::fs::FileType::Socket {
        return Ok(socket);
    }
    Err(io::Error::new(io::ErrorKind::ConnectionRefused, "it is no socket"))
}

/// Puts a file with mode 0600 and these contents at `path`: readers see the old file or the new
/// one. After an error the old file is there (or, when only the last fsync failed, the new one).
pub fn write_atomic(path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let (mut file, temp) = create_temporary(path)?;
    let written = fill_and_rename(&mut file, &temp, path, bytes, durability);
    if written.is_err() {
        let _ = fs::remove_file(&temp);
    }
    written?;
    if durability == Durability::Synced {
        failpoint::hit("file.renamed");
        sync_dir(parent(path))?;
    }
    failpoint::hit("file.written");
    Ok(())
}

/// Writes a new file with mode 0600, durably: contents and name are on disk afterwards.
///
/// Its name is, without an fsync of its directory: every journalling file system of Linux makes
/// the creation of a file durable with the first fsync of it, and ext4 without a journal does.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || format!("write {}", path.display());
    let mut file = create_new(path, 0o600)?;
    failpoint::hit("file.created");
    file.write_all(bytes).doing(write)?;
    failpoint::hit("file.filled");
    file.sync_all().doing(write)?;
    failpoint::hit("file.written");
    Ok(())
}

/// Puts a file with mode 0600 and these contents at `path`, durably and complete from the moment it
/// can be seen. Something there, even a dangling link → `AlreadyExists`, and it stays.
pub fn put_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || format!("write {}", path.display());
    let (mut file, temp) = create_temporary(path)?;
    let filled = file.write_all(bytes).and_then(|()| file.sync_all()).doing(write);
    let put = filled.and_then(|()| fs::hard_link(&temp, path).doing(write));
    let _ = fs::remove_file(&temp);
    put?;
    sync_dir(parent(path))
}

fn fill_and_rename(
    file: &mut File,
    temp: &Path,
    path: &Path,
    bytes: &[u8],
    durability: Durability,
) -> Result<()> {
    let write = || format!("write {}", path.display());
    failpoint::hit("file.created");
    file.write_all(bytes).doing(write)?;
    if durability == Durability::Synced {
        failpoint::hit("file.filled");
        file.sync_all().doing(write)?;
    }
    failpoint::hit("file.synced");
    fs::rename(temp, path).doing(write)
}

/// Creates `.{name}.tmp-{pid}-{counter}` beside `path`. One that is there was left by a process that
/// was killed and had our number, which in a container is always the same.
fn create_temporary(path: &Path) -> Result<(File, PathBuf)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| {
        Error::invalid_argument(format!("{} does not name a file", path.display()))
    })?;
    loop {
        let mut temp = OsString::from(".");
        temp.push(name);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        temp.push(format!(".tmp-{}-{count}", std::process::id()));
        let temp = path.with_file_name(temp);
        match create_new(&temp, 0o600) {
            Err(error) if error.kind() == Kind::AlreadyExists => {}
            other => return other.map(|file| (file, temp)),
        }
    }
}

fn create_new(path: &Path, mode: u32) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .doing(|| format!("create {}", path.display()))
}

/// The directory that `path` is in; `.` for a bare name.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The contents of a file; `None` when it is missing. More than 1 MiB → `OutOfRange`.
pub fn read_optional(path: &Path) -> Result<Option<Vec<u8>>> {
    let read = || format!("read {}", path.display());
    // Without O_NONBLOCK a FIFO put there by somebody else would hold us for ever.
    let mut options = OpenOptions::new();
    let file = match options.read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.doing(read)?,
    };
    let mut bytes = Vec::new();
    file.take(READ_LIMIT + 1).read_to_end(&mut bytes).doing(read)?;
    if bytes.len() as u64 > READ_LIMIT {
        return Err(Error::out_of_range(format!(
            "{} is larger than {READ_LIMIT} bytes: not a file of this program; move it away",
            path.display()
        )));
    }
    Ok(Some(bytes))
}

/// Whether this process may read the file (access(2)).
#[must_use]
pub fn is_readable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::READ_OK).is_ok()
}

/// Makes the entries of a directory durable (fsync(2)).
pub fn sync_dir(path: &Path) -> Result<()> {
    let sync = || format!("sync directory {}", path.display());
    let mut options = OpenOptions::new();
    let dir = options.read(true).custom_flags(libc::O_DIRECTORY).open(path).doing(sync)?;
    dir.sync_all().doing(sync)
}

/// Renames, replacing what is at `to`, and makes it durable in both directories.
pub fn rename_synced(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).doing(|| format!("rename {} to {}", from.display(), to.display()))?;
    failpoint::hit("file.moved");
    sync_dir(parent(to))?;
    if parent(from) != parent(to) {
        sync_dir(parent(from))?;
    }
    Ok(())
}

/// Makes a directory with exactly this mode, whatever the umask; missing parents get 0700. One that
/// is there stays as it is; anything else there → `FailedPrecondition`.
pub fn make_dir(path: &Path, mode: u32) -> Result<Outcome> {
    let make = || format!("make directory {}", path.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(parent(path)).doing(make)?;
    match fs::DirBuilder::new().mode(mode & 0o700).create(path) {
        Ok(()) => {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).doing(make)?;
            Ok(Outcome::Done(()))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
            Ok(Outcome::AlreadyDone(()))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Error::failed_precondition(format!(
                "{} is in the way: not a directory; move it away",
                path.display()
            )))
        }
        Err(error) => Err(Error::io(make(), error)),
    }
}

/// Length of the file in bytes.
pub fn length(path: &Path) -> Result<u64> {
    let meta = path.metadata().doing(|| format!("look at {}", path.display()))?;
    Ok(meta.len())
}

/// Whether files in `dir` may share their blocks (ioctl_ficlone(2)): xfs, btrfs and bcachefs can,
/// though an xfs may have been made without; [`copy_image`] tells for sure.
pub fn can_reflink(dir: &Path) -> bool {
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683e;
    const BCACHEFS: u64 = 0xca45_1a4e;
    rustix::fs::statfs(dir)
        .is_ok_and(|stat| [XFS, BTRFS, BCACHEFS].contains(&stat.f_type.cast_unsigned()))
}

/// Bytes of space that a file takes on its file system.
pub fn allocated(path: &Path) -> Result<u64> {
    let found = fs::metadata(path).doing(|| format!("look at {}", path.display()))?;
    Ok(found.blocks() * 512)
}

/// Makes a file of `bytes` with mode 0600 that takes no space yet. There already → `AlreadyExists`;
/// longer than the file system can → `OutOfRange`. A failure leaves no file.
pub fn create_sparse(path: &Path, bytes: u64) -> Result<()> {
    let file = create_new(path, 0o600)?;
    let made = set_length(&file, path, bytes).and_then(|()| sync_new(&file, path));
    if made.is_err() {
        let _ = fs::remove_file(path);
    }
    made
}

/// Sets the length of a file, in bytes; `OutOfRange` when the file system can't have it so long.
pub(crate) fn set_length(file: &File, path: &Path, bytes: u64) -> Result<()> {
    file.set_len(bytes).map_err(|error| {
        let too_long =
            matches!(error.kind(), io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput);
        let kind = if too_long { Kind::OutOfRange } else { Kind::of_io(&error) };
        Error::new(kind, format!("make {} {bytes} bytes long", path.display())).because(error)
    })
}

fn sync_new(file: &File, path: &Path) -> Result<()> {
    file.sync_all().doing(|| format!("sync {}", path.display()))?;
    sync_dir(parent(path))
}

/// Copies a disk image: by sharing its blocks where the file system can, else its data without its
/// holes. `to` exists → `AlreadyExists`. Durable when it returns; a failure leaves no `to`.
pub fn copy_image(from: &Path, to: &Path) -> Result<Copy> {
    let source = File::open(from).doing(|| format!("open {}", from.display()))?;
    let target = create_new(to, 0o600)?;
    failpoint::hit("file.copy");
    let copied = clone_or_copy(&source, &target)
        .doing(|| format!("copy {} to {}", from.display(), to.display()))
        .and_then(|how| sync_new(&target, to).map(|()| how));
    if copied.is_err() {
        let _ = fs::remove_file(to);
    }
    copied
}

pub(crate) fn clone_or_copy(source: &File, target: &File) -> io::Result<Copy> {
    match ioctl_ficlone(target, source) {
        Ok(()) => Ok(Copy::Reflink),
        Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS) => {
            copy_data(source, target)?;
            Ok(Copy::Sparse)
        }
        Err(errno) => Err(errno.into()),
    }
}

fn copy_data(source: &File, target: &File) -> io::Result<()> {
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut at = 0;
    while let Some(data) = next_data(source, at, length)? {
        copy_range(source, target, data.clone())?;
        at = data.end;
    }
    Ok(())
}

/// The next stretch that is no hole, from `at` on.
fn next_data(file: &File, at: u64, length: u64) -> io::Result<Option<std::ops::Range<u64>>> {
    let start = match seek(file, SeekFrom::Data(at)) {
        Err(Errno::NXIO) => return Ok(None),
        other => other?,
    };
    let end = seek(file, SeekFrom::Hole(start))?.min(length);
    Ok((start < end).then_some(start..end))
}

/// Copies within the kernel while that works, then by hand.
fn copy_range(source: &File, target: &File, range: std::ops::Range<u64>) -> io::Result<()> {
    let (mut from, mut to) = (range.start, range.start);
    while from < range.end {
        let left = usize::try_from(range.end - from).unwrap_or(CHUNK).min(CHUNK);
        match copy_file_range(source, Some(&mut from), target, Some(&mut to), left) {
            Ok(count) if count > 0 => {}
            // 0 although there is data: some file systems (procfs, older FUSE) answer so.
            Ok(_) | Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                return copy_by_hand(source, target, from..range.end);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn copy_by_hand(source: &File, target: &File, range: std::ops::Range<u64>) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut at = range.start;
    while at < range.end {
        let wanted = usize::try_from(range.end - at).unwrap_or(CHUNK).min(CHUNK);
        let count = source.read_at(&mut buffer[..wanted], at)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the source became shorter"));
        }
        if buffer[..count].iter().any(|&byte| byte != 0) {
            target.write_all_at(&buffer[..count], at)?;
        }
        at += count as u64;
    }
    Ok(())
}

/// Whether a regular file has no data at all: every byte of it is a hole.
pub(crate) fn is_all_hole(file: &File) -> io::Result<bool> {
    match seek(file, SeekFrom::Data(0)) {
        Err(Errno::NXIO) => Ok(true),
        // A file system without holes says "data" or EINVAL: then nothing is known.
        Ok(_) | Err(Errno::INVAL) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes a file or a directory with all that is in it; missing → `AlreadyDone`.
///
/// Symbolic links are removed, not followed. When `path` or something below it is a mount point →
/// `FailedPrecondition`, and nothing has been removed.
pub fn remove_tree(path: &Path) -> Result<Outcome> {
    let name = path
        .file_name()
        .ok_or_else(|| Error::invalid_argument(format!("{} can not be removed", path.display())))?;
    let remove = || format!("remove {}", path.display());
    let dir = match rustix::fs::openat(CWD, parent(path), DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Outcome::AlreadyDone(())),
        other => other.doing(remove)?,
    };
    let name = CString::new(name.as_encoded_bytes()).doing(remove)?;
    let mut tree = Tree { path, root: None, moved: 0 };
    match tree.find_mounts(dir.as_fd(), &name, DEPTH) {
        Err(Stop::Os(Errno::NOENT)) => return Ok(Outcome::AlreadyDone(())),
        other => other.map_err(|stop| tree.explain(stop))?,
    }
    failpoint::hit("file.remove");
    tree.remove(dir.as_fd(), &name, 0).map_err(|stop| tree.explain(stop))?;
    Ok(Outcome::Done(()))
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A tree that is being removed.
struct Tree<'a> {
    path: &'a Path,
    /// Its topmost directory, once it is open: what is too deep is moved here.
    root: Option<OwnedFd>,
    moved: u64,
}

/// Why a walk ended.
enum Stop {
    /// Something is mounted at this name.
    Mounted(CString),
    Os(Errno),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Os(errno)
    }
}

impl Tree<'_> {
    fn explain(&self, stop: Stop) -> Error {
        match stop {
            Stop::Mounted(name) => Error::failed_precondition(format!(
                "{} is not removed: {} in it is a mount point; unmount it first",
                self.path.display(),
                name.to_string_lossy()
            )),
            Stop::Os(errno) => Error::io(format!("remove {}", self.path.display()), errno.into()),
        }
    }

    /// Looks for mount points without changing anything, `depth` levels deep.
    fn find_mounts(&self, dir: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<(), Stop> {
        let entry = open_here(dir, name, OFlags::PATH | OFlags::NOFOLLOW)?;
        let found = rustix::fs::fstat(&entry)?;
        let is_dir = rustix::fs::FileType::from_raw_mode(found.st_mode).is_dir();
        if !is_dir || depth == 0 {
            return Ok(());
        }
        let entry = open_here(dir, name, DIRECTORY)?;
        for name in names(entry.as_fd())? {
            match self.find_mounts(entry.as_fd(), &name, depth - 1) {
                // Somebody else removed it meanwhile.
                Err(Stop::Os(Errno::NOENT)) => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn remove(&mut self, dir: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<(), Stop> {
        match unlinkat(dir, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            Err(Errno::NOENT) | Ok(()) => return Ok(()),
            Err(Errno::BUSY) => return Err(Stop::Mounted(name.to_owned())),
            Err(errno) => return Err(errno.into()),
        }
        if depth >= DEPTH {
            return self.move_up(dir, name);
        }
        let entry = open_here(dir, name, DIRECTORY)?;
        if depth == 0 {
            self.root = Some(entry.try_clone().map_err(|_| Errno::MFILE)?);
        }
        // What was moved up appears in the topmost directory while it is being emptied.
        loop {
            let names = names(entry.as_fd())?;
            if names.is_empty() {
                break;
            }
            for name in names {
                self.remove(entry.as_fd(), &name, depth + 1)?;
            }
        }
        match unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Err(Errno::BUSY) => Err(Stop::Mounted(name.to_owned())),
            other => Ok(other?),
        }
    }

    fn move_up(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Stop> {
        let Some(root) = &self.root else { return Err(Errno::LOOP.into()) };
        loop {
            let new = format!(".removing-{}", self.moved);
            self.moved += 1;
            match rustix::fs::renameat_with(
                dir,
                name,
                root,
                new,
                rustix::fs::RenameFlags::NOREPLACE,
            ) {
                Err(Errno::EXIST) => {}
                other => return Ok(other?),
            }
        }
    }
}

/// Opens an entry of `dir` itself, neither a link's target nor what is mounted on it.
fn open_here(dir: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<OwnedFd, Stop> {
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(dir, name, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
        Err(Errno::XDEV) => Err(Stop::Mounted(name.to_owned())),
        other => Ok(other?),
    }
}

fn names(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> tempfile::TempDir {
        tempfile::tempdir().expect("temporary directory")
    }

    fn entries(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .expect("readable")
            .map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_written_file_is_private_and_leaves_no_temporary_file() {
        let dir = dir();
        let path = dir.path().join("state.json");
        for (bytes, durability) in [(&b"one"[..], Durability::Synced), (b"2", Durability::Volatile)]
        {
            write_atomic(&path, bytes, durability).expect("written");
            assert_eq!(read_optional(&path).expect("read").as_deref(), Some(bytes));
        }
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o600);
        assert_eq!(entries(dir.path()), ["state.json"]);
    }

    #[test]
    fn what_is_there_is_never_replaced_by_a_new_file() {
        let dir = dir();
        let path = dir.path().join("f");
        put_new(&path, b"one").expect("put");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o600);
        assert_eq!(put_new(&path, b"two").expect_err("there").kind(), Kind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("read"), b"one");
        std::os::unix::fs::symlink("nowhere", dir.path().join("link")).expect("linked");
        let error = put_new(&dir.path().join("link"), b"x").expect_err("a link is there");
        assert_eq!(error.kind(), Kind::AlreadyExists);
        assert_eq!(entries(dir.path()), ["f", "link"]);
    }

    #[test]
    fn a_failed_write_leaves_no_temporary_file() {
        let dir = dir();
        let path = dir.path().join("taken");
        fs::create_dir(&path).expect("directory in the way");
        write_atomic(&path, b"x", Durability::Synced).expect_err("a directory is there");
        assert_eq!(entries(dir.path()), ["taken"]);
    }

    #[test]
    fn what_a_killed_process_of_the_same_number_left_is_no_hindrance() {
        let dir = dir();
        let path = dir.path().join("f");
        write_atomic(&path, b"old", Durability::Volatile).expect("written");
        // The tests of this process count on, but not by thousands.
        for count in 0..2000 {
            let stale = format!(".f.tmp-{}-{count}", std::process::id());
            fs::write(dir.path().join(stale), "half").expect("written");
        }
        write_atomic(&path, b"new", Durability::Volatile).expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"new");
    }

    #[test]
    fn concurrent_readers_never_see_a_part() {
        let dir = dir();
        let path = dir.path().join("f");
        let content = |n: u8| vec![n; 20_000 + usize::from(n)];
        write_atomic(&path, &content(0), Durability::Volatile).expect("written");
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..400 {
                        let seen = read_optional(&path).expect("read").expect("always there");
                        assert_eq!(seen, content(seen[0]));
                    }
                });
            }
            for n in 0..200 {
                write_atomic(&path, &content(n), Durability::Volatile).expect("written");
            }
        });
    }

    #[test]
    fn a_missing_file_is_none_and_a_huge_one_is_refused() {
        let dir = dir();
        let path = dir.path().join("f");
        assert_eq!(read_optional(&path).expect("no error"), None);
        create_sparse(&path, READ_LIMIT + 1).expect("made");
        assert_eq!(read_optional(&path).expect_err("too large").kind(), Kind::OutOfRange);
    }

    #[test]
    fn a_made_directory_has_exactly_its_mode() {
        let dir = dir();
        let path = dir.path().join("a/b");
        assert!(make_dir(&path, 0o777).expect("made").is_done());
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o777);
        assert_eq!(fs::metadata(dir.path().join("a")).expect("there").mode() & 0o7777, 0o700);
        assert!(!make_dir(&path, 0o700).expect("there").is_done());
        fs::write(dir.path().join("file"), "").expect("written");
        let error = make_dir(&dir.path().join("file"), 0o700).expect_err("a file is there");
        assert_eq!(error.kind(), Kind::FailedPrecondition);
    }

    #[test]
    fn a_tree_is_removed_without_following_links() {
        let dir = dir();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("a/b/c")).expect("made");
        fs::create_dir(dir.path().join("outside")).expect("made");
        fs::write(dir.path().join("outside/kept"), "x").expect("written");
        std::os::unix::fs::symlink("../../outside", tree.join("a/link")).expect("linked");
        std::os::unix::fs::symlink(dir.path().join("outside"), tree.join("l2")).expect("linked");
        assert!(remove_tree(&tree).expect("removed").is_done());
        assert!(!remove_tree(&tree).expect("gone").is_done());
        assert!(!remove_tree(&tree.join("x/y")).expect("gone").is_done());
        assert!(dir.path().join("outside/kept").exists());
    }

    #[test]
    fn a_link_to_a_directory_is_removed_itself() {
        let dir = dir();
        fs::create_dir(dir.path().join("kept")).expect("made");
        std::os::unix::fs::symlink("kept", dir.path().join("link")).expect("linked");
        assert!(remove_tree(&dir.path().join("link")).expect("removed").is_done());
        assert_eq!(entries(dir.path()), ["kept"]);
    }

    #[test]
    fn a_tree_deeper_than_the_limit_of_open_files_is_removed() {
        let dir = dir();
        let mut at = rustix::fs::open(dir.path(), DIRECTORY, Mode::empty()).expect("open");
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).expect("made");
            at = rustix::fs::openat(&at, "d", DIRECTORY, Mode::empty()).expect("open");
        }
        remove_tree(&dir.path().join("d")).expect("removed");
        assert!(entries(dir.path()).is_empty());
    }

    #[test]
    fn a_rename_replaces_and_is_found_in_the_other_directory() {
        let dir = dir();
        fs::create_dir(dir.path().join("sub")).expect("made");
        let (from, to) = (dir.path().join("a"), dir.path().join("sub/b"));
        fs::write(&from, "new").expect("written");
        fs::write(&to, "old").expect("written");
        rename_synced(&from, &to).expect("renamed");
        assert_eq!(fs::read(&to).expect("read"), b"new");
        assert!(!from.exists());
    }

    #[test]
    fn a_sparse_file_takes_no_space_and_is_made_once() {
        let dir = dir();
        let path = dir.path().join("image");
        create_sparse(&path, 1 << 30).expect("made");
        assert_eq!(fs::metadata(&path).expect("there").len(), 1 << 30);
        assert!(allocated(&path).expect("known") < 1 << 16);
        assert_eq!(create_sparse(&path, 1).expect_err("there").kind(), Kind::AlreadyExists);
        let error = create_sparse(&dir.path().join("x"), u64::MAX >> 1).expect_err("too long");
        assert_eq!(error.kind(), Kind::OutOfRange);
        assert_eq!(entries(dir.path()), ["image"]);
    }

    #[test]
    fn a_copied_image_keeps_its_holes_and_its_length() {
        let dir = dir();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        create_sparse(&from, (64 << 20) + 7).expect("made");
        let file = OpenOptions::new().write(true).open(&from).expect("open");
        file.write_all_at(&[7; 5000], 1 << 20).expect("written");
        file.write_all_at(&[9; 7], 64 << 20).expect("written");
        copy_image(&from, &to).expect("copied");
        assert_eq!(fs::read(&from).expect("read"), fs::read(&to).expect("read"));
        assert!(allocated(&to).expect("known") < 1 << 20);
        assert_eq!(copy_image(&from, &to).expect_err("there").kind(), Kind::AlreadyExists);
    }

    #[test]
    fn data_copied_by_hand_is_the_same() {
        let dir = dir();
        let from = dir.path().join("from");
        let bytes: Vec<u8> = (0..3_000_001_u32).map(|n| (n / 777) as u8).collect();
        fs::write(&from, &bytes).expect("written");
        let target = create_new(&dir.path().join("to"), 0o600).expect("made");
        target.set_len(bytes.len() as u64).expect("set");
        let source = File::open(&from).expect("open");
        copy_by_hand(&source, &target, 0..bytes.len() as u64).expect("copied");
        assert_eq!(fs::read(dir.path().join("to")).expect("read"), bytes);
    }
}
