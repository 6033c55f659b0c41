//! The kernel, asked directly: the floor under loop mounts and copies, made without the code that is
//! measured, and what keeps a run to itself: a mount namespace, and processes that end with it.
#![allow(unsafe_code)] // The baseline must not be crate `host`, which is what it is compared with.

use error::{Error, IoContext, Result};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::ptr;

// <linux/loop.h>, <linux/fs.h>
const LOOP_CONFIGURE: u32 = 0x4C0A;
const LOOP_CTL_GET_FREE: u32 = 0x4C82;
const AUTOCLEAR: u32 = 4;
const DIRECT_IO: u32 = 16;
const FICLONE: u32 = 0x4004_9409;
const FIFREEZE: u32 = 0xC004_5877;
const FITHAW: u32 = 0xC004_5878;
/// The logical block size of a loop device, in bytes.
const BLOCK: u32 = 512;
/// How often a free loop device may be taken by somebody else.
const RACES: usize = 64;

/// `struct loop_config`, with `struct loop_info64` spelt out as far as its flags.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    numbers: [u64; 5],
    others: [u32; 3],
    flags: u32,
    names: [u8; 160],
    init: [u64; 2],
    reserved: [u64; 8],
}

/// An image on a loop device, detached when dropped (autoclear).
pub(super) struct LoopDevice {
    pub(super) path: PathBuf,
    _open: File,
}

impl LoopDevice {
    /// Attaches `image` with direct I/O.
    pub(super) fn attach(image: &Path) -> Result<Self> {
        let open = |path: &Path| {
            let file = OpenOptions::new().read(true).write(true).open(path);
            file.doing(|| format!("open {}", path.display()))
        };
        let (file, control) = (open(image)?, open(Path::new("/dev/loop-control"))?);
        for _ in 0..RACES {
            let number = ioctl(&control, LOOP_CTL_GET_FREE, 0).doing(|| "find a loop device")?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = open(&path)?;
            match configure(&device, &file) {
                Ok(()) => return Ok(Self { path, _open: device }),
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                Err(error) => {
                    return Err(Error::io(format!("attach {}", image.display()), error));
                }
            }
        }
        Err(Error::unavailable("other programs took every loop device that was free; try again"))
    }
}

fn configure(device: &File, image: &File) -> io::Result<()> {
    let config = LoopConfig {
        fd: image.as_raw_fd().cast_unsigned(),
        block_size: BLOCK,
        numbers: [0; 5],
        others: [0; 3],
        flags: AUTOCLEAR | DIRECT_IO,
        names: [0; 160],
        init: [0; 2],
        reserved: [0; 8],
    };
    ioctl(device, LOOP_CONFIGURE, (&raw const config).addr()).map(drop)
}

fn ioctl(file: &File, request: u32, argument: usize) -> io::Result<i32> {
    // SAFETY: each request here takes a number, or the address of a structure of the kernel's
    // layout that the caller keeps alive during the call; the kernel writes to none of them.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), request.into(), argument) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// Makes `to` share every block of `from` (ioctl_ficlone(2)).
pub(super) fn clone_file(from: &Path, to: &Path) -> Result<()> {
    let cloned = File::open(from).and_then(|source| {
        let source_fd = usize::try_from(source.as_raw_fd()).unwrap_or(0);
        ioctl(&File::create_new(to)?, FICLONE, source_fd)
    });
    cloned.map(drop).doing(|| format!("clone {}", from.display()))
}

/// Does `work` while nobody can write to the file system at `dir` (ioctl_fs(2)).
pub(super) fn frozen<T>(dir: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let doing = || format!("freeze {}", dir.display());
    let dir = File::open(dir).doing(doing)?;
    ioctl(&dir, FIFREEZE, 0).doing(doing)?;
    let done = work();
    ioctl(&dir, FITHAW, 0).doing(|| "thaw what was frozen")?;
    done
}

/// mount(2), without options.
pub(super) fn mount(source: &Path, target: &Path, fstype: &str) -> Result<()> {
    mount_flags(source, target, fstype, 0)
        .doing(|| format!("mount {} on {}", source.display(), target.display()))
}

/// Mounts a directory on itself.
pub(super) fn bind(dir: &Path) -> Result<()> {
    mount_flags(dir, dir, "", libc::MS_BIND).doing(|| format!("bind {}", dir.display()))
}

fn mount_flags(source: &Path, target: &Path, fstype: &str, flags: u64) -> io::Result<()> {
    let (source, target) = (text(source)?, text(target)?);
    let fstype = CString::new(fstype)?;
    // SAFETY: three strings that end with a zero and live through the call; no data.
    let failed = unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), fstype.as_ptr(), flags, ptr::null())
    };
    if failed != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// umount2(2).
pub(super) fn unmount(target: &Path) -> Result<()> {
    unmount_flags(target, 0)
}

/// Unmounts `target` and all below it.
pub(super) fn unmount_all(target: &Path) -> Result<()> {
    unmount_flags(target, libc::MNT_DETACH)
}

fn unmount_flags(target: &Path, flags: i32) -> Result<()> {
    let doing = || format!("unmount {}", target.display());
    let path = text(target).doing(doing)?;
    // SAFETY: a string that ends with a zero and lives through the call.
    let failed = unsafe { libc::umount2(path.as_ptr(), flags) };
    if failed != 0 { Err(Error::io(doing(), io::Error::last_os_error())) } else { Ok(()) }
}

fn text(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// A file system that is unmounted when dropped, with whatever is still mounted below it.
pub(super) struct Mounted {
    pub(super) target: PathBuf,
    _device: LoopDevice,
}

impl Mounted {
    /// Mounts the file system of `image` on the existing directory `target`.
    pub(super) fn image(image: &Path, target: &Path, fstype: &str) -> Result<Self> {
        let device = LoopDevice::attach(image)?;
        mount(&device.path, target, fstype)?;
        Ok(Self { target: target.to_owned(), _device: device })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = unmount_flags(&self.target, libc::MNT_DETACH) {
            eprintln!("{error}; it goes with this run's mount namespace");
        }
    }
}

/// Writes what the file system at `dir` has not yet written (syncfs(2)).
pub(super) fn sync(dir: &Path) -> Result<()> {
    let doing = || format!("sync {}", dir.display());
    let open = File::open(dir).doing(doing)?;
    // SAFETY: a descriptor that is open during the call.
    if unsafe { libc::syncfs(open.as_raw_fd()) } == 0 {
        return Ok(());
    }
    Err(Error::io(doing(), io::Error::last_os_error()))
}

/// The process that listens at the other end (unix(7), SO_PEERCRED).
pub(super) fn peer(stream: &UnixStream) -> io::Result<i32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of_val(&peer)).map_err(io::Error::other)?;
    let (fd, level, name) = (stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: a structure of the kernel's layout and its length, which live through the call.
    let failed =
        unsafe { libc::getsockopt(fd, level, name, (&raw mut peer).cast(), &raw mut length) };
    if failed != 0 { Err(io::Error::last_os_error()) } else { Ok(peer.pid) }
}

/// Kills a process.
pub(super) fn kill(pid: i32) {
    // SAFETY: takes numbers only.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Whether this process is root.
pub(super) fn is_root() -> bool {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Lets the interrupts of the terminal end the child only, so that this process can clean up.
pub(super) fn ignore_interrupts() {
    // SAFETY: installs no handler; the child sets the default again before its program runs.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
}

/// Gives the child a mount namespace whose mounts nobody else sees and that ends with it.
pub(super) fn isolate(command: &mut Command) {
    // SAFETY: between fork and exec, only system calls that are safe there and do not allocate.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            if libc::unshare(libc::CLONE_NEWNS) != 0 {
                return Err(io::Error::last_os_error());
            }
            let (none, root) = (ptr::null(), c"/".as_ptr());
            let flags = libc::MS_REC | libc::MS_SLAVE;
            if libc::mount(none, root, none, flags, ptr::null()) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    die_with_parent(command);
}

/// Makes the child end when the thread that started it does, however that ends.
pub(super) fn die_with_parent(command: &mut Command) {
    // SAFETY: between fork and exec, a system call that is safe there and does not allocate.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

/// Asks a child to end.
pub(super) fn terminate(child: &Child) {
    if let Ok(pid) = libc::pid_t::try_from(child.id()) {
        // SAFETY: the child has not been waited for, so the number is still its own.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }
}
