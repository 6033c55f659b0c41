//! What kind of machine this is: kernel, file systems, clock, limits, space. Only reads.

mod kernel;

pub use kernel::{Version, filesystem, has_openat2, has_statmount, kernel_release, kernel_version};

use error::{IoContext, Result};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::path::Path;
use std::time::Duration;

/// `STA_UNSYNC` of <linux/timex.h>: nobody keeps the clock right.
const UNSYNCHRONISED: i32 = 0x40;

/// Whether this process has the rights of root (effective user 0).
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The clock, as adjtimex(2) tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Whether a time service keeps it right.
    pub is_synchronised: bool,
    /// By how much it may be wrong, as the kernel reckons.
    pub largest_error: Duration,
}

/// How well the clock is kept.
pub fn clock() -> Result<Clock> {
    // SAFETY: `timex` is plain numbers, for which zeroes are valid; with `modes` 0 adjtimex(2) only
    // fills it in.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live, writable structure of the kernel's size.
    let code = unsafe { libc::adjtimex(&raw mut state) };
    if code < 0 {
        return Err(std::io::Error::last_os_error()).doing(|| "ask how well the clock is kept");
    }
    let microseconds = u64::try_from(state.maxerror).unwrap_or(0);
    Ok(Clock {
        is_synchronised: code != libc::TIME_ERROR && state.status & UNSYNCHRONISED == 0,
        largest_error: Duration::from_micros(microseconds),
    })
}

/// Space and names of a file system (statvfs(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes that may still be written.
    pub free: u64,
    /// Files in all; 0 where the file system does not count them.
    pub files: u64,
    /// Files that may still be made.
    pub free_files: u64,
}

/// The space of the file system that `path` is on.
pub fn space(path: &Path) -> Result<Space> {
    let found =
        rustix::fs::statvfs(path).doing(|| format!("read the free space of {}", path.display()))?;
    Ok(Space {
        bytes: found.f_blocks.saturating_mul(found.f_frsize),
        free: found.f_bavail.saturating_mul(found.f_frsize),
        files: found.f_files,
        free_files: found.f_favail,
    })
}

/// The number of files that a process may have open, and how many it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// Open ones.
    pub open: u64,
    /// As many as it may have.
    pub limit: u64,
}

/// The open files of process `pid` (proc_pid_limits(5), proc_pid_fd(5)).
pub fn descriptors(pid: i32) -> Result<Descriptors> {
    let path = format!("/proc/{pid}/limits");
    let limits = std::fs::read_to_string(&path).doing(|| format!("read {path}"))?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_ascii_whitespace().next());
    let limit = soft.and_then(|soft| soft.parse().ok()).unwrap_or(u64::MAX);
    let path = format!("/proc/{pid}/fd");
    let open = std::fs::read_dir(&path).doing(|| format!("read {path}"))?.count() as u64;
    Ok(Descriptors { open, limit })
}

/// Who is at a UNIX socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// Somebody who accepts, or soon may; the process, where the kernel tells.
    Alive(Option<i32>),
    /// Nobody: the socket is what a process left that has ended.
    Nobody,
    /// This process may not ask.
    Forbidden,
}

/// Who listens at `path`. Never waits: a listener that does not accept is alive for all that.
pub fn listener(path: &Path) -> Result<Listener> {
    let doing = || format!("connect to {}", path.display());
    let address = SocketAddrUnix::new(path).doing(doing)?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .doing(doing)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => Ok(Listener::Alive(crate::process::peer(&socket).ok())),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INPROGRESS) => Ok(Listener::Alive(None)),
        Err(rustix::io::Errno::CONNREFUSED) => Ok(Listener::Nobody),
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => Ok(Listener::Forbidden),
        Err(errno) => Err(std::io::Error::from(errno)).doing(doing),
    }
}

/// The names of the kernel's security modules that decide here.
#[must_use]
pub fn security_modules() -> String {
    std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default().trim().to_owned()
}

/// Whether any process but this one has `device` open, as far as this one may look (`/proc/*/fd`).
pub(crate) fn is_open_elsewhere(device: &Path) -> bool {
    let own = std::process::id().to_string();
    let Ok(processes) = std::fs::read_dir("/proc") else { return true };
    let others = processes.flatten().filter(|entry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|name| name != own && name.parse::<u32>().is_ok())
    });
    others.flat_map(|entry| std::fs::read_dir(entry.path().join("fd")).into_iter().flatten()).any(
        |descriptor| {
            descriptor.is_ok_and(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == device))
        },
    )
}

/// The PIDs of the processes with this name (proc_pid_comm(5)).
pub fn processes_called(name: &str) -> Result<Vec<i32>> {
    let entries = std::fs::read_dir("/proc").doing(|| "read /proc")?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids.filter(|pid| crate::process::name(*pid) == name).collect())
}

/// What identifies the mount namespace of process `pid`; `None` when that cannot be read.
#[must_use]
pub fn mount_namespace(pid: i32) -> Option<String> {
    let link = std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()?;
    Some(link.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_socket_tells_whether_somebody_listens() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let bound = UnixListener::bind(&path).expect("bound");
        let own = std::process::id().cast_signed();
        assert_eq!(listener(&path).expect("asked"), Listener::Alive(Some(own)));
        drop(bound);
        assert_eq!(listener(&path).expect("asked"), Listener::Nobody);
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(listener(&path).expect_err("gone").kind(), error::Kind::NotFound);
    }

    #[test]
    fn a_listener_that_does_not_accept_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .expect("made");
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path).expect("fits")).expect("bound");
        rustix::net::listen(&socket, 0).expect("listens");
        let first = std::os::unix::net::UnixStream::connect(&path).expect("fills the queue");
        assert!(matches!(listener(&path).expect("asked"), Listener::Alive(_)));
        drop(first);
    }

    #[test]
    fn the_facts_of_this_machine_can_be_read() {
        let space = space(Path::new("/")).expect("a file system");
        assert!(space.bytes >= space.free && space.bytes > 0);
        let own = std::process::id().cast_signed();
        let descriptors = descriptors(own).expect("our own");
        assert!(descriptors.open > 0 && descriptors.open <= descriptors.limit);
        clock().expect("every kernel tells");
        assert!(mount_namespace(own).expect("our own").starts_with("mnt:"));
        let name = crate::process::name(own);
        assert!(processes_called(&name).expect("listed").contains(&own));
    }
}
