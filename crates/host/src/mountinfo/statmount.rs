//! statmount(2): one mount by its unique ID, at a cost that doesn't grow with the number of mounts.

use crate::mount::Mount;
use std::ffi::OsString;
use std::fmt::Write;
use std::io::{Error, Result};
use std::os::unix::ffi::OsStringExt;

/// The same number on every architecture that this program is built for; libc doesn't have it yet.
const SYS_STATMOUNT: libc::c_long = 457;

const SB_BASIC: u64 = 0x1;
const MNT_BASIC: u64 = 0x2;
const MNT_ROOT: u64 = 0x8;
const MNT_POINT: u64 = 0x10;
const FS_TYPE: u64 = 0x20;
const MNT_OPTS: u64 = 0x80;
const FS_SUBTYPE: u64 = 0x100;
const SB_SOURCE: u64 = 0x200;

/// Without these the answer is incomplete. Subtype and options are not among them: the kernel
/// leaves them out when they are empty.
const NEEDED: u64 = SB_BASIC | MNT_BASIC | MNT_ROOT | MNT_POINT | FS_TYPE | SB_SOURCE;

/// Where the strings begin: the size of the fixed part.
const STRINGS: usize = 512;
/// More than any mount needs, in bytes.
const LARGEST: usize = 1 << 20;

/// `struct mnt_id_req`, version 0.
#[repr(C)]
struct Request {
    size: u32,
    spare: u32,
    mount: u64,
    wanted: u64,
}

/// The beginning of `struct statmount`; names of the kernel.
#[repr(C)]
#[derive(Clone, Copy)]
struct Answer {
    size: u32,
    mnt_opts: u32,
    mask: u64,
    sb_dev_major: u32,
    sb_dev_minor: u32,
    sb_magic: u64,
    sb_flags: u32,
    fs_type: u32,
    mnt_id: u64,
    mnt_parent_id: u64,
    mnt_id_old: u32,
    mnt_parent_id_old: u32,
    mnt_attr: u64,
    mnt_propagation: u64,
    mnt_peer_group: u64,
    mnt_master: u64,
    propagate_from: u64,
    mnt_root: u32,
    mnt_point: u32,
    mnt_ns_id: u64,
    fs_subtype: u32,
    sb_source: u32,
}

/// The mount with the unique ID `id`; `None` when this kernel can't tell all of it, when a seccomp
/// filter forbids the call, or when the mount has gone: then mountinfo has the word.
pub(super) fn find(id: u64) -> Result<Option<Mount>> {
    // u64 for the alignment of `Answer`.
    let mut buffer = vec![0_u64; 4096 / 8];
    loop {
        match statmount(id, &mut buffer).map_err(|error| error.raw_os_error()) {
            Ok(()) => return Ok(decode(&buffer)),
            Err(Some(libc::EOVERFLOW)) if buffer.len() * 8 < LARGEST => {
                buffer = vec![0; buffer.len() * 4];
            }
            Err(Some(libc::EINTR)) => {}
            Err(Some(libc::ENOMEM)) => return Err(Error::from_raw_os_error(libc::ENOMEM)),
            Err(_) => return Ok(None),
        }
    }
}

/// Whether the call is there, and no seccomp filter forbids it. No mount has the ID 0.
pub(super) fn is_there() -> bool {
    let answer = statmount(0, &mut [0; 64]).map_err(|error| error.raw_os_error());
    !matches!(answer, Err(Some(libc::ENOSYS | libc::EPERM)))
}

fn statmount(id: u64, buffer: &mut [u64]) -> Result<()> {
    let request = Request {
        size: size_of::<Request>() as u32,
        spare: 0,
        mount: id,
        wanted: NEEDED | MNT_OPTS | FS_SUBTYPE,
    };
    // SAFETY: the kernel reads `request`, whose size it is told, and writes at most the given
    // number of bytes to `buffer`; both outlive the call.
    let code = unsafe {
        libc::syscall(
            SYS_STATMOUNT,
            &raw const request,
            buffer.as_mut_ptr(),
            size_of_val(buffer),
            0,
        )
    };
    if code == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

fn decode(buffer: &[u64]) -> Option<Mount> {
    // SAFETY: the buffer is larger than `Answer`, aligned for u64, initialised, and every bit
    // pattern is a valid `Answer`.
    let answer = unsafe { *buffer.as_ptr().cast::<Answer>() };
    // SAFETY: the same memory, borrowed for as long, as bytes.
    let bytes =
        unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), size_of_val(buffer)) };
    if answer.mask & NEEDED != NEEDED {
        return None;
    }
    let string = |bit: u64, offset: u32| {
        if answer.mask & bit == 0 { Vec::new() } else { string_at(bytes, offset) }
    };
    let text = |bit, offset| String::from_utf8_lossy(&string(bit, offset)).into_owned();
    let mut fstype = text(FS_TYPE, answer.fs_type);
    if answer.mask & FS_SUBTYPE != 0 {
        let _ = write!(fstype, ".{}", text(FS_SUBTYPE, answer.fs_subtype));
    }
    Some(Mount {
        id: answer.mnt_id_old.into(),
        parent: answer.mnt_parent_id_old.into(),
        device: format!("{}:{}", answer.sb_dev_major, answer.sb_dev_minor),
        root: OsString::from_vec(string(MNT_ROOT, answer.mnt_root)).into(),
        target: OsString::from_vec(string(MNT_POINT, answer.mnt_point)).into(),
        fstype,
        source: text(SB_SOURCE, answer.sb_source),
        options: mount_options(answer.mnt_attr),
        super_options: super_options(&answer, &super::unescape(&string(MNT_OPTS, answer.mnt_opts))),
        shared: group(&answer, libc::MS_SHARED, answer.mnt_peer_group),
        master: group(&answer, libc::MS_SLAVE, answer.mnt_master),
        unbindable: answer.mnt_propagation & libc::MS_UNBINDABLE != 0,
    })
}

fn string_at(bytes: &[u8], offset: u32) -> Vec<u8> {
    let rest = bytes.get(STRINGS + offset as usize..).unwrap_or_default();
    rest.iter().copied().take_while(|byte| *byte != 0).collect()
}

fn group(answer: &Answer, flag: libc::c_ulong, group: u64) -> Option<u64> {
    (answer.mnt_propagation & flag != 0).then_some(group)
}

/// The per-mount options in the words and the order of mountinfo.
fn mount_options(attributes: u64) -> String {
    let has = |bit| attributes & bit != 0;
    let atime = attributes & libc::MOUNT_ATTR__ATIME;
    let words = [
        (has(libc::MOUNT_ATTR_NOSUID), "nosuid"),
        (has(libc::MOUNT_ATTR_NODEV), "nodev"),
        (has(libc::MOUNT_ATTR_NOEXEC), "noexec"),
        (atime == libc::MOUNT_ATTR_NOATIME, "noatime"),
        (has(libc::MOUNT_ATTR_NODIRATIME), "nodiratime"),
        (atime == libc::MOUNT_ATTR_RELATIME, "relatime"),
        (has(libc::MOUNT_ATTR_NOSYMFOLLOW), "nosymfollow"),
        (has(libc::MOUNT_ATTR_IDMAP), "idmapped"),
    ];
    join(has(libc::MOUNT_ATTR_RDONLY), &words, "")
}

/// The options of the file system in the words and the order of mountinfo.
fn super_options(answer: &Answer, own: &[u8]) -> String {
    let has = |bit: libc::c_ulong| u64::from(answer.sb_flags) & bit != 0;
    let words = [
        (has(libc::MS_SYNCHRONOUS), "sync"),
        (has(libc::MS_DIRSYNC), "dirsync"),
        (has(libc::MS_LAZYTIME), "lazytime"),
    ];
    join(has(libc::MS_RDONLY), &words, &String::from_utf8_lossy(own))
}

fn join(read_only: bool, words: &[(bool, &str)], own: &str) -> String {
    let mut joined = String::from(if read_only { "ro" } else { "rw" });
    let set = words.iter().filter(|(is_set, _)| *is_set).map(|(_, word)| *word);
    for word in set.chain(Some(own).filter(|own| !own.is_empty())) {
        joined.push(',');
        joined.push_str(word);
    }
    joined
}
