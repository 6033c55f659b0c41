//! What is mounted: `/proc/PID/mountinfo` (proc_pid_mountinfo(5)) for tables, statmount(2) for a
//! single mount. Only reads; nothing here waits for a mounted file system.

mod statmount;

use crate::mount::Mount;
use error::{Error, IoContext, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The table of the calling thread's mount namespace: a thread may have left its process's.
const OWN: &str = "/proc/thread-self/mountinfo";

/// Parses a whole mountinfo file; the error names the line that is malformed.
pub fn parse(bytes: &[u8]) -> Result<Vec<Mount>> {
    lines(bytes)
        .enumerate()
        .map(|(index, line)| {
            parse_line(line).ok_or_else(|| {
                let text = String::from_utf8_lossy(line);
                Error::internal(format!("line {} of mountinfo is malformed: {text}", index + 1))
            })
        })
        .collect()
}

/// Parses one line, without its newline. `None` when it isn't a line of mountinfo.
#[must_use]
pub fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut mount = Mount {
        id: number(fields.next()?)?,
        parent: number(fields.next()?)?,
        device: device(fields.next()?)?,
        root: path(fields.next()?),
        target: path(fields.next()?),
        options: text(fields.next()?),
        fstype: String::new(),
        source: String::new(),
        super_options: String::new(),
        shared: None,
        master: None,
        unbindable: false,
    };
    loop {
        match fields.next()? {
            b"-" => break,
            field => propagation(&mut mount, field)?,
        }
    }
    mount.fstype = text(fields.next().filter(|fstype| !fstype.is_empty())?);
    // An empty source leaves two spaces, and old kernels left out what came last.
    mount.source = fields.next().map(text).unwrap_or_default();
    mount.super_options = fields.next().map(text).unwrap_or_default();
    Some(mount)
}

/// The mounts of the calling thread's mount namespace, in the kernel's order.
pub fn table() -> Result<Vec<Mount>> {
    parse(&std::fs::read(OWN).doing(|| format!("read {OWN}"))?)
}

/// The mounts that process `pid` sees.
///
/// A process that has ended is `NotFound`.
pub fn table_of(pid: i32) -> Result<Vec<Mount>> {
    let path = format!("/proc/{pid}/mountinfo");
    parse(&std::fs::read(&path).doing(|| format!("read {path}"))?)
}

/// The topmost mount whose mount point is exactly `target`; `None` when that is missing or is no
/// mount point. The cost doesn't depend on the number of mounts where statmount(2) is complete
/// (Linux 6.13).
pub fn at(target: &Path) -> Result<Option<Mount>> {
    let Some(fd) = open_point(target)? else { return Ok(None) };
    let doing = || format!("find what is mounted at {}", target.display());
    let stat = rustix::fs::statx(
        &fd,
        "",
        AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT,
        StatxFlags::from_bits_retain(libc::STATX_MNT_ID_UNIQUE),
    );
    let stat = match stat {
        // A file system that was shut down answers nothing, but is still mounted.
        Err(Errno::IO) => {
            let found = by_descriptor(fd.as_fd())?;
            return Ok(found.filter(|mount| mount.target == target));
        }
        other => other.doing(doing)?,
    };
    if !stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
        return Err(Error::failed_precondition(format!(
            "cannot {}: this needs Linux 5.8 or newer",
            doing()
        )));
    }
    if !stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(None);
    }
    if stat.stx_mask & libc::STATX_MNT_ID_UNIQUE != 0
        && let Some(mount) = statmount::find(stat.stx_mnt_id).doing(doing)?
    {
        return Ok(Some(mount));
    }
    by_descriptor(fd.as_fd())
}

/// Whether single mounts can be looked up by statmount(2).
pub(crate) fn has_statmount() -> bool {
    statmount::is_there()
}

/// The reusable ID of the mount that `fd` is on, the one that mountinfo shows (Linux 5.8).
pub(crate) fn id_of(fd: impl AsFd) -> Result<u64> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let stat = rustix::fs::statx(fd, "", flags, StatxFlags::MNT_ID).doing(|| "read a mount ID")?;
    Ok(stat.stx_mnt_id)
}

/// Opens `target` without asking the file system on it, and without triggering an automount: that
/// is why there is no O_DIRECTORY. The exception is NFS: the kernel (d_weak_revalidate) asks the
/// server about the root of a mount when its cached attributes have expired, whatever the flags.
fn open_point(target: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, target, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => {
            Err(Error::io(format!("open mount point {}", target.display()), errno.into()))
        }
    }
}

/// The way of kernels without a complete statmount(2): the mount ID of the descriptor, looked up in
/// the table. `None` when the mount has gone in the meantime.
fn by_descriptor(fd: impl AsFd) -> Result<Option<Mount>> {
    let path = format!("/proc/thread-self/fdinfo/{}", fd.as_fd().as_raw_fd());
    let info = std::fs::read_to_string(&path).doing(|| format!("read {path}"))?;
    let id = info
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:"))
        .and_then(|id| id.trim().parse().ok())
        .ok_or_else(|| Error::internal(format!("{path} has no mnt_id")))?;
    let table = std::fs::read(OWN).doing(|| format!("read {OWN}"))?;
    Ok(find_id(&table, id))
}

fn find_id(table: &[u8], id: u64) -> Option<Mount> {
    let prefix = format!("{id} ");
    lines(table).find(|line| line.starts_with(prefix.as_bytes())).and_then(parse_line)
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

fn number(field: &[u8]) -> Option<u64> {
    str::from_utf8(field).ok()?.parse().ok()
}

/// `major:minor`, checked.
fn device(field: &[u8]) -> Option<String> {
    let field = str::from_utf8(field).ok()?;
    let (major, minor) = field.split_once(':')?;
    (major.parse::<u32>().is_ok() && minor.parse::<u32>().is_ok()).then(|| field.to_owned())
}

/// Reads an optional field; unknown ones are left for the kernels that invent them.
fn propagation(mount: &mut Mount, field: &[u8]) -> Option<()> {
    if let Some(group) = field.strip_prefix(b"shared:") {
        mount.shared = Some(number(group)?);
    } else if let Some(group) = field.strip_prefix(b"master:") {
        mount.master = Some(number(group)?);
    } else if field == b"unbindable" {
        mount.unbindable = true;
    }
    Some(())
}

fn path(field: &[u8]) -> PathBuf {
    OsString::from_vec(unescape(field)).into()
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

/// Undoes the kernel's `\ooo` for space, tab, newline, backslash and `#`. What is no such escape
/// stays as it is.
fn unescape(field: &[u8]) -> Vec<u8> {
    if !field.contains(&b'\\') {
        return field.to_vec();
    }
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let (byte, tail) = octal(rest).map_or((*first, tail), |byte| (byte, &rest[4..]));
        plain.push(byte);
        rest = tail;
    }
    plain
}

fn octal(text: &[u8]) -> Option<u8> {
    let [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', ..] = text else {
        return None;
    };
    Some((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;

    fn escape(bytes: &[u8]) -> Vec<u8> {
        let mut escaped = Vec::new();
        for byte in bytes {
            match byte {
                b' ' | b'\t' | b'\n' | b'\\' | b'#' => {
                    escaped.extend_from_slice(format!("\\{byte:03o}").as_bytes());
                }
                other => escaped.push(*other),
            }
        }
        escaped
    }

    fn render(mount: &Mount) -> Vec<u8> {
        let mut optional = String::new();
        for (word, group) in [("shared", mount.shared), ("master", mount.master)] {
            if let Some(group) = group {
                let _ = write!(optional, " {word}:{group}");
            }
        }
        if mount.unbindable {
            optional.push_str(" unbindable");
        }
        let head = format!("{} {} {} ", mount.id, mount.parent, mount.device);
        let options = format!(" {}{optional} - ", mount.options);
        [
            head.as_bytes(),
            &escape(mount.root.as_os_str().as_bytes()),
            b" ",
            &escape(mount.target.as_os_str().as_bytes()),
            options.as_bytes(),
            &escape(mount.fstype.as_bytes()),
            b" ",
            &escape(mount.source.as_bytes()),
            b" ",
            &escape(mount.super_options.as_bytes()),
        ]
        .concat()
    }

    fn paths() -> impl Strategy<Value = PathBuf> {
        prop::collection::vec(1_u8.., 0..40)
            .prop_map(|bytes| OsString::from_vec([b"/".to_vec(), bytes].concat()).into())
    }

    prop_compose! {
        fn mounts()(
            (id, parent, major, minor) in any::<(u32, u32, u32, u32)>(),
            (root, target) in (paths(), paths()),
            (options, fstype) in ("[a-z,=]{1,20}", "[a-z0-9.]{1,12}"),
            (source, super_options) in ("[ -~\t\n]{0,30}", "[ -~]{1,30}"),
            (shared, master, unbindable) in any::<(Option<u32>, Option<u32>, bool)>(),
        ) -> Mount {
            Mount {
                id: id.into(),
                parent: parent.into(),
                device: format!("{major}:{minor}"),
                root, target, options, fstype, source, super_options,
                shared: shared.map(u64::from),
                master: master.map(u64::from),
                unbindable,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_rendered_is_parsed_back(mount in mounts()) {
            let parsed = parse_line(&render(&mount)).expect("well-formed");
            prop_assert_eq!(parsed.root.as_os_str(), mount.root.as_os_str());
            prop_assert_eq!(parsed.target.as_os_str(), mount.target.as_os_str());
            prop_assert_eq!(parsed, mount);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn bytes_that_look_like_mountinfo_never_panic(text in "[0-9a-z /:\\\\-]{0,120}") {
            let _ = parse(text.as_bytes());
        }
    }

    #[test]
    fn a_line_with_every_field_is_parsed() {
        let line = br"36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 shared:7 propagate_from:2 - ext3 /dev/root rw,errors=continue";
        let mount = parse_line(line).expect("well-formed");
        assert_eq!((mount.id, mount.parent, mount.device.as_str()), (36, 35, "98:0"));
        assert_eq!(mount.target, Path::new("/mnt 2"));
        assert_eq!((mount.shared, mount.master), (Some(7), Some(1)));
        assert_eq!(mount.propagation(), "shared,slave");
        assert_eq!(mount.super_options, "rw,errors=continue");
    }

    #[test]
    fn an_empty_source_is_empty() {
        let mount = parse_line(b"1 2 0:3 / /a rw - tmpfs  rw").expect("well-formed");
        assert_eq!((mount.source.as_str(), mount.super_options.as_str()), ("", "rw"));
    }

    #[test]
    fn missing_last_fields_are_empty() {
        let mount = parse_line(b"1 2 0:3 / /a rw - tmpfs").expect("well-formed");
        assert_eq!((mount.source.as_str(), mount.super_options.as_str()), ("", ""));
    }

    #[test]
    fn the_root_of_a_removed_directory_keeps_its_mark() {
        let mount = parse_line(b"1 2 0:3 /gone//deleted /a rw - tmpfs x rw").expect("well-formed");
        assert_eq!(mount.root.as_os_str(), "/gone//deleted");
    }

    #[test]
    fn a_malformed_line_is_named_in_the_error() {
        let error = parse(b"1 2 0:3 / /a rw - tmpfs x rw\n1 2 nonsense\n").expect_err("malformed");
        assert_eq!(error.message(), "line 2 of mountinfo is malformed: 1 2 nonsense");
    }

    #[test]
    fn a_root_directory_below_no_mount_point_is_no_mount() {
        assert_eq!(at(Path::new("/proc/self")).expect("readable"), None);
        assert_eq!(at(Path::new("/nonexistent/directory")).expect("readable"), None);
        assert_eq!(at(Path::new("/proc/version/below")).expect("readable"), None);
    }

    #[test]
    fn statmount_and_mountinfo_tell_the_same() {
        for listed in table().expect("readable") {
            let Ok(Some(found)) = at(&listed.target) else { continue };
            let fd = open_point(&listed.target).expect("opened").expect("there");
            let read = by_descriptor(&fd).expect("readable").expect("listed");
            assert_eq!(found, read);
        }
        assert_eq!(at(Path::new("/proc")).expect("readable").expect("mounted").fstype, "proc");
    }
}
