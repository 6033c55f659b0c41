//! Starting this program again as a helper that outlives it, and becoming another program.
//!
//! The helpers enter containers, where a hostile process could get at their program file through
//! `/proc/PID/exe` and overwrite it for the next start (CVE-2019-5736). So they run from a copy of
//! its mount that is read-only, or from sealed memory: [`Program`].

use crate::mount::{clone_tree, set_attributes};
use error::{Error, IoContext, Result};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, ResolveFlags, SealFlags};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The program that this process runs.
pub const OWN: &str = "/proc/self/exe";
/// What helpers get as PATH.
const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The copy in memory of the program that was protected last, for kernels and containers where
/// mounts can't be cloned. One copy serves all helpers: it costs the size of the file, once.
static IN_MEMORY: Mutex<Option<(PathBuf, OwnedFd)>> = Mutex::new(None);

/// A program file that can't be written by who gets hold of it through a process that runs it.
#[derive(Debug)]
pub struct Program(OwnedFd);

impl Program {
    /// Protects the program file `path`; [`OWN`] is the calling program.
    pub fn protect(path: &Path) -> Result<Self> {
        read_only_clone(path).or_else(|_| in_memory(path)).map(Self)
    }

    /// Where this process, and a child that has not executed yet, finds it.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// Starts it in the background; see [`spawn`].
    pub fn spawn<S: AsRef<OsStr>>(&self, args: &[S], streams: Streams) -> Result<Child> {
        spawn(&self.path(), args, streams)
    }
}

/// A mount of nothing but this file, attached nowhere, that refuses writes.
fn read_only_clone(path: &Path) -> Result<OwnedFd> {
    let file = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .doing(|| format!("open {}", path.display()))?;
    let clone = clone_tree(file)?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    set_attributes(&clone, &attributes, false)?;
    Ok(clone)
}

fn in_memory(path: &Path) -> Result<OwnedFd> {
    let copying = || format!("copy {} to memory", path.display());
    let mut cached = IN_MEMORY.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((known, copy)) = cached.as_ref()
        && known == path
    {
        return copy.try_clone().doing(copying);
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = rustix::fs::memfd_create(c"program", flags).doing(copying)?;
    let mut copy = File::from(memory);
    std::io::copy(&mut File::open(path).doing(copying)?, &mut copy).doing(copying)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals).doing(copying)?;
    let copy = OwnedFd::from(copy);
    *cached = Some((path.to_owned(), copy.try_clone().doing(copying)?));
    Ok(copy)
}

/// What a started program gets as descriptors 0, 1 and 2; `None` is `/dev/null`.
#[derive(Debug, Default)]
pub struct Streams {
    /// Standard input.
    pub input: Option<OwnedFd>,
    /// Standard output.
    pub output: Option<OwnedFd>,
    /// Standard error.
    pub error: Option<OwnedFd>,
}

/// Starts `program` (an absolute path) in `/`, with a fixed environment and default signals. The
/// caller reaps it.
pub fn spawn<S: AsRef<OsStr>>(program: &Path, args: &[S], streams: Streams) -> Result<Child> {
    let stream = |fd: Option<OwnedFd>| fd.map_or_else(Stdio::null, Stdio::from);
    Command::new(program)
        .arg0(if program.starts_with("/proc/self") {
            OsStr::new("mobula")
        } else {
            program.as_os_str()
        })
        .args(args)
        .env_clear()
        .env("PATH", SEARCH)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(stream(streams.input))
        .stdout(stream(streams.output))
        .stderr(stream(streams.error))
        .spawn()
        .doing(|| format!("start {}", program.display()))
}

/// Sets `no_new_privs` (prctl(2)): what this thread becomes gains nothing by set-user-ID programs.
pub fn gain_no_privileges() -> Result<()> {
    rustix::thread::set_no_new_privs(true).doing(|| "set no_new_privs")
}

/// Restricts this thread's system calls, and those of what it becomes, by a program of classic BPF
/// (seccomp(2)): an array of `struct sock_filter`. Needs `no_new_privs`, or CAP_SYS_ADMIN.
pub fn restrict(filter: &[u8]) -> Result<()> {
    let doing = || "restrict the plugin's system calls";
    let mut instructions: Vec<libc::sock_filter> = filter
        .chunks_exact(size_of::<libc::sock_filter>())
        .map(|bytes| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    let len = u16::try_from(instructions.len())
        .map_err(|_| Error::internal("the system call filter has too many instructions"))?;
    let program = libc::sock_fprog { len, filter: instructions.as_mut_ptr() };
    // SAFETY: `program` points to `len` instructions that live until the call returns; the kernel
    // copies them.
    let done = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()).doing(doing) }
}

/// Becomes `program` with the present environment and default signals; returns only the failure.
#[must_use]
pub fn replace<S: AsRef<OsStr>>(program: &str, args: &[S]) -> std::io::Error {
    let name = args.first().map_or(OsStr::new(program), AsRef::as_ref);
    Command::new(program).arg0(name).args(args.iter().skip(1)).exec()
}

/// What a program said that ran to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; 128 + n when killed by signal n.
    pub code: i32,
    /// The beginning of its standard output.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub stderr: Vec<u8>,
}

/// Reads both streams of a child to their end and waits for it, keeping `limit` bytes of either;
/// more is read and dropped. Not within `deadline` → it is killed, `DeadlineExceeded`.
pub fn collect(
    mut child: Child,
    streams: [OwnedFd; 2],
    limit: usize,
    deadline: Duration,
) -> Result<Output> {
    let collected = read_both(streams, limit, Instant::now() + deadline);
    if collected.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().doing(|| "wait for a program")?;
    let [stdout, stderr] = collected?;
    Ok(Output { code: crate::command::exit_code(status), stdout, stderr })
}

fn read_both(streams: [OwnedFd; 2], limit: usize, until: Instant) -> Result<[Vec<u8>; 2]> {
    let mut streams = streams.map(|stream| Some(File::from(stream)));
    let mut kept = [Vec::new(), Vec::new()];
    while streams.iter().any(Option::is_some) {
        let open: Vec<usize> = (0..2).filter(|index| streams[*index].is_some()).collect();
        let fds: Vec<_> = open.iter().filter_map(|i| streams[*i].as_ref()).collect();
        let ready = crate::watch::readable(&fds, Some(until))?;
        if !ready.contains(&true) {
            return Err(Error::deadline_exceeded("the program was killed: not done in time"));
        }
        for (index, _) in open.into_iter().zip(ready).filter(|(_, ready)| *ready) {
            if !read_some(streams[index].as_mut(), &mut kept[index], limit)? {
                streams[index] = None;
            }
        }
    }
    Ok(kept)
}

/// `false` at the end of the stream.
fn read_some(stream: Option<&mut File>, kept: &mut Vec<u8>, limit: usize) -> Result<bool> {
    let mut buffer = [0; 16 << 10];
    let Some(stream) = stream else { return Ok(false) };
    let count = stream.read(&mut buffer).doing(|| "read what a program says")?;
    let room = limit.saturating_sub(kept.len());
    kept.extend_from_slice(&buffer[..count.min(room)]);
    Ok(count > 0)
}

/// Opens the file `path` of the tree at `root`, for reading: no symbolic link leads out of the tree
/// (openat2(2)). `NotFound` when it is missing; a directory opens too.
pub fn open_inside(root: &Path, path: &Path) -> Result<File> {
    let opening = || format!("open {} in {}", path.display(), root.display());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, root, flags, Mode::empty()).doing(opening)?;
    // Without O_NONBLOCK a FIFO would hold us for ever.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = rustix::fs::openat2(root, path, flags, Mode::empty(), inside).doing(opening)?;
    Ok(File::from(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    fn pipe() -> (std::io::PipeReader, OwnedFd) {
        let (read, write) = std::io::pipe().expect("a pipe");
        (read, write.into())
    }

    #[test]
    fn a_protected_program_runs_and_refuses_to_be_written() {
        if !is_root() {
            return;
        }
        assert!(read_only_clone(Path::new(OWN)).is_ok());
        for protected in [read_only_clone(Path::new("/bin/sh")), in_memory(Path::new("/bin/sh"))] {
            let program = Program(protected.expect("protected"));
            let (mut read, write) = pipe();
            let streams = Streams { output: Some(write), ..Streams::default() };
            let script = "echo runs as $0";
            let mut child = program.spawn(&["-c", script], streams).expect("started");
            let mut said = String::new();
            read.read_to_string(&mut said).expect("readable");
            child.wait().expect("ended");
            assert_eq!(said, "runs as mobula\n");
            // Sealed memory can be opened, but not written.
            let writer = File::options().write(true).open(program.path());
            assert!(writer.and_then(|mut file| file.write_all(b"x")).is_err());
        }
    }

    #[test]
    fn output_beyond_the_limit_is_dropped() {
        let ((out, out_end), (err, err_end)) = (pipe(), pipe());
        let streams = Streams { input: None, output: Some(out_end), error: Some(err_end) };
        let script = "head -c 300000 /dev/zero; echo err >&2; exit 3";
        let child = spawn(Path::new("/bin/sh"), &["-c", script], streams).expect("started");
        let deadline = Duration::from_secs(60);
        let output = collect(child, [out.into(), err.into()], 1000, deadline).expect("done");
        assert_eq!((output.code, output.stdout.len()), (3, 1000));
        assert_eq!(output.stderr, b"err\n");
    }

    #[test]
    fn links_do_not_lead_out_of_a_tree() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("etc")).expect("made");
        std::fs::write(dir.path().join("etc/inside"), "").expect("written");
        std::os::unix::fs::symlink("/etc/inside", dir.path().join("link")).expect("made");
        std::os::unix::fs::symlink("/../etc/passwd", dir.path().join("out")).expect("made");
        assert!(open_inside(dir.path(), Path::new("/link")).is_ok());
        let error = open_inside(dir.path(), Path::new("/out")).expect_err("not there");
        assert_eq!(error.kind(), error::Kind::NotFound);
    }
}
