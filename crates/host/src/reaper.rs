//! Being the parent of processes that others started: sub-reaper, signals as a descriptor, process
//! descriptors (pidfd_open(2)).

use crate::process::Identity;
use error::{Error, IoContext, Result};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A child that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub pid: i32,
    /// Its exit code, unless it was killed.
    pub code: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
}

impl Ended {
    /// As a shell tells it: the exit code, or 128 + n when killed by signal n.
    #[must_use]
    pub fn shell_code(&self) -> i32 {
        self.code.unwrap_or_else(|| 128 + self.signal.unwrap_or(0))
    }
}

/// Leaves the caller's session and terminal, closes every descriptor above 2, and becomes the
/// parent of all orphans below. To be called first, by a program of one thread.
pub fn detach() -> Result<()> {
    // SAFETY: a call without pointers. Nothing owns a descriptor above 2 in a program that has
    // done nothing yet; those closed were left open by whoever started it.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if closed != 0 {
        return Err(Error::io("close descriptors", std::io::Error::last_os_error()));
    }
    rustix::process::setsid().doing(|| "begin a session")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own)).doing(|| "become a sub-reaper")
}

/// The highest signal there is.
const LAST_SIGNAL: i32 = 64;

/// Unblocks all signals and gives them their default action, for this program and what it becomes:
/// both are inherited from whoever started it. To be called first, by a program of one thread.
pub fn reset_signals() {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // The kernel's own structure, all of it zero: the default action (rt_sigaction(2)). The C
    // library refuses the signals that it keeps for itself, which are inherited like any other.
    let default = [0_u64; 8];
    // SAFETY: sigemptyset initialises the set before anything reads it. Default actions run no code
    // of ours; numbers that can't be changed are refused without harm; the kernel's structure is
    // not longer than what it is given.
    unsafe {
        for signal in 1..=LAST_SIGNAL {
            // A pipe without a reader is an error to us, and is reset when something is executed.
            if signal != libc::SIGPIPE {
                let none = std::ptr::null_mut::<u64>();
                libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, 8_usize);
            }
        }
        libc::sigemptyset(set.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// The standard output that this program was started with, as a descriptor of its own; its place is
/// taken by `/dev/null`, so that its reader sees the end when the descriptor is closed.
pub fn take_stdout() -> Result<OwnedFd> {
    let taking = || "take the standard output";
    let output = std::io::stdout().as_fd().try_clone_to_owned().doing(taking)?;
    let null = std::fs::File::options().write(true).open("/dev/null").doing(taking)?;
    // SAFETY: a call without pointers; descriptor 1 belongs to nobody but the standard library,
    // which takes it as it is.
    if unsafe { libc::dup2(null.as_raw_fd(), 1) } < 0 {
        return Err(Error::io(taking(), std::io::Error::last_os_error()));
    }
    Ok(output)
}

/// Gives back the memory that holds parts of program files as they are on disk; what is needed again
/// is read again. For a process that has done its work and only waits from now on.
pub fn release_program_memory() {
    // Nothing depends on it.
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    for (start, length) in unchanged_file_mappings(&smaps) {
        // SAFETY: the mapping is of a file, not writable, and none of its pages differs from the
        // file's: whoever reads there next gets the same bytes. The file can't be written while it
        // is being executed.
        unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
}

/// Start and length of the mappings of executed files without a page of their own
/// (proc_pid_smaps(5)).
fn unchanged_file_mappings(smaps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        match line.strip_prefix("Anonymous:") {
            Some(size) => {
                let is_unchanged = size.trim() == "0 kB";
                found.extend(candidate.take().filter(|_| is_unchanged));
            }
            None => candidate = read_only_file(line).or(candidate),
        }
    }
    found
}

/// The range of a line that begins a mapping; `None` for all other lines and mappings.
fn read_only_file(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let is_read_only = matches!(fields.next()?, "r--p" | "r-xp");
    let inode = fields.nth(2)?;
    (is_read_only && inode != "0").then(|| (start, end - start))
}

/// Names this process for `ps` (at most 15 bytes).
pub fn set_name(name: &std::ffi::CStr) {
    // Only cosmetic.
    let _ = rustix::thread::set_name(name);
}

/// Kills this process when its parent ends (PR_SET_PDEATHSIG); kept over an exec.
pub fn end_with_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .doing(|| "ask to end with the parent")
}

/// The next child that has ended, collected; `None` when none has.
pub fn reap() -> Result<Option<Ended>> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => return Ok(Some(ended(pid, status))),
            Ok(None) | Err(Errno::CHILD) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::io("wait for children", errno.into())),
        }
    }
}

/// Collects the child `pid`, if it is one and has ended.
pub fn reap_one(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // No child of ours is reaped by somebody else: nothing is lost by a failure.
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// Waits for the end of the child `pid`.
pub fn wait_for(pid: i32) -> Result<Ended> {
    loop {
        match rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::empty()) {
            Ok(Some((pid, status))) => return Ok(ended(pid, status)),
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::io(format!("wait for child {pid}"), errno.into())),
        }
    }
}

fn ended(pid: Pid, status: WaitStatus) -> Ended {
    Ended {
        pid: pid.as_raw_nonzero().get(),
        code: status.exit_status(),
        signal: status.terminating_signal(),
    }
}

/// Signals that arrive at a descriptor instead of interrupting (signalfd(2)).
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks SIGCHLD, SIGTERM, SIGINT and SIGHUP for the calling thread, and so for the whole
    /// program while it has no other.
    pub fn block() -> Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the set before anything reads it; all pointers are to
        // that local.
        let fd = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
            libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(Error::io("receive signals", std::io::Error::last_os_error()));
        }
        // SAFETY: the kernel has just given us this descriptor; nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Takes what has arrived; whether one of them asks to end.
    pub fn take(&self) -> Result<bool> {
        let mut asked = false;
        let mut buffer = [0; size_of::<libc::signalfd_siginfo>()];
        loop {
            match rustix::io::read(&self.0, &mut buffer) {
                Ok(_) => {
                    let number = u32::from_ne_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
                    asked |= number.cast_signed() != libc::SIGCHLD;
                }
                Err(Errno::AGAIN) => return Ok(asked),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::io("read signals", errno.into())),
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A process that stays the same whatever happens to its PID.
#[derive(Debug)]
pub struct Handle {
    identity: Identity,
    fd: OwnedFd,
}

impl Handle {
    /// The process; `None` when it has ended (a zombie has).
    pub fn open(identity: Identity) -> Result<Option<Self>> {
        let Some(fd) = descriptor(identity.pid)? else { return Ok(None) };
        // Only now: the descriptor might be of a successor.
        let is_it = Identity::of(identity.pid)? == Some(identity);
        Ok(is_it.then_some(Self { identity, fd }))
    }

    /// A child that was not waited for yet: nobody else can have its PID.
    pub fn of_child(pid: i32) -> Result<Self> {
        let identity = Identity::of_child(pid)?;
        let fd = descriptor(pid)?;
        fd.map(|fd| Self { identity, fd })
            .ok_or_else(|| Error::internal(format!("child {pid} is not there")))
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Sends the signal; a process that has ended is no failure.
    pub fn signal(&self, number: i32) -> Result<()> {
        let signal = Signal::from_named_raw(number)
            .ok_or_else(|| Error::invalid_argument(format!("{number} is no signal")))?;
        match rustix::process::pidfd_send_signal(&self.fd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => {
                Err(Error::io(format!("signal process {}", self.identity.pid), errno.into()))
            }
        }
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) -> Result<()> {
        self.signal(libc::SIGTERM)
    }

    /// Kills it (SIGKILL).
    pub fn kill(&self) -> Result<()> {
        self.signal(libc::SIGKILL)
    }

    /// Waits for its end until `deadline`; whether it has ended.
    pub fn wait(&self, deadline: std::time::Instant) -> Result<bool> {
        Ok(crate::watch::readable(&[&self.fd], Some(deadline))?[0])
    }
}

/// Readable once the process has ended.
impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn descriptor(pid: i32) -> Result<Option<OwnedFd>> {
    let Some(raw) = Pid::from_raw(pid) else { return Ok(None) };
    match rustix::process::pidfd_open(raw, PidfdFlags::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::SRCH | Errno::INVAL) => Ok(None),
        Err(errno) => Err(Error::io(format!("watch process {pid}"), errno.into())),
    }
}

/// Kills the process group that the child `leader` leads. The child was not waited for yet, so that
/// the group is surely its own.
pub fn kill_group_of_child(leader: &Handle) -> Result<()> {
    let Some(pid) = Pid::from_raw(leader.identity.pid) else { return Ok(()) };
    match rustix::process::kill_process_group(pid, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(Error::io("kill a process group", errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_killed_process_is_seen_to_end_by_its_descriptor() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().expect("started");
        let handle = Handle::of_child(child.id().cast_signed()).expect("there");
        assert!(!handle.wait(Instant::now()).expect("waited"));
        handle.kill().expect("killed");
        assert!(handle.wait(Instant::now() + Duration::from_secs(60)).expect("waited"));
        child.wait().expect("reaped");
        handle.kill().expect("nothing to do");
        assert!(Handle::open(handle.identity()).expect("looked").is_none());
    }

    #[test]
    fn only_unchanged_parts_of_files_are_given_back() {
        let smaps = "\
1000-3000 r-xp 00001000 08:01 42 /bin/x\nRss: 8 kB\nAnonymous:             0 kB\nLocked: 0 kB
3000-4000 r--p 00003000 08:01 42 /bin/x\nAnonymous:             4 kB
4000-5000 rw-p 00004000 08:01 42 /bin/x\nAnonymous:             0 kB
5000-6000 r--p 00000000 00:00 0 [vvar]\nAnonymous:             0 kB";
        assert_eq!(unchanged_file_mappings(smaps), [(0x1000, 0x2000)]);
        release_program_memory();
    }

    #[test]
    fn a_successor_with_the_same_pid_is_not_opened() {
        let own = Identity::own().expect("readable");
        assert!(Handle::open(own).expect("looked").is_some());
        let other = Identity { start_time: own.start_time + 1, ..own };
        assert!(Handle::open(other).expect("looked").is_none());
    }
}
