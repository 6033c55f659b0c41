//! The one place that runs programs: resolved in a fixed search path, an empty environment, no
//! standard input, a deadline, and the tail of stderr in the error.

use error::{Error, IoContext, Kind, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Where programs are looked for; the caller's PATH has no say.
const SEARCH: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// What is kept of each output stream, in bytes: stdout's beginning, stderr's end.
const KEPT: usize = 64 << 10;

/// Every program that is run, with the Debian package that has it.
pub const PROGRAMS: [(&str, &str); 12] = [
    ("blkid", "util-linux"),
    ("mkfs.ext4", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("resize2fs", "e2fsprogs"),
    ("tune2fs", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("xfs_growfs", "xfsprogs"),
    ("xfs_repair", "xfsprogs"),
    ("xfs_db", "xfsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("btrfs", "btrfs-progs"),
    ("btrfstune", "btrfs-progs"),
];

/// What `program` says to `-V`, the first line with a number in it.
pub fn version(program: &str) -> Result<String> {
    let finished = run(program, &["-V"], VERSION)?;
    let both = format!("{}\n{}", finished.stdout, finished.stderr);
    let line = both.lines().map(str::trim).find(|line| line.contains(|c: char| c.is_ascii_digit()));
    line.map(|line| line.chars().take(80).collect()).ok_or_else(|| failure(program, &finished))
}

/// How long a program may take when nothing else is said.
pub const DEADLINE: Duration = Duration::from_secs(100);

/// How long a program may take to say its version.
const VERSION: Duration = Duration::from_secs(3);

/// A finished program.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; 128 + n when killed by signal n.
    pub code: i32,
    /// The first 64 KiB of its standard output.
    pub stdout: String,
    /// The last 64 KiB of its standard error.
    pub stderr: String,
}

/// The path of `program`, or `FailedPrecondition` with the Debian package that has it.
pub fn find(program: &str) -> Result<PathBuf> {
    SEARCH
        .iter()
        .map(|dir| PathBuf::from(dir).join(program))
        .find(|path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok())
        .ok_or_else(|| {
            let package = PROGRAMS.iter().find(|(known, _)| *known == program);
            let package = package.map_or(program, |(_, package)| package);
            Error::failed_precondition(format!(
                "program {program} is not installed (looked in {}); install the package {package}",
                SEARCH.join(", ")
            ))
        })
}

/// Runs `program` and waits until it ends, whatever its exit code.
///
/// Not done within `deadline` → its process group is killed and the error is `DeadlineExceeded`.
pub fn run<S: AsRef<OsStr>>(program: &str, args: &[S], deadline: Duration) -> Result<Finished> {
    let path = find(program)?;
    let mut child = std::process::Command::new(&path)
        .args(args)
        .env_clear()
        .env("PATH", SEARCH.join(":"))
        .env("LC_ALL", "C")
        // mkfs.btrfs refuses a UUID that libblkid's cache remembers from a device of the past.
        .env("BLKID_FILE", "/dev/null")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .doing(|| format!("start {}", path.display()))?;
    let outcome = wait(&mut child, program, deadline);
    if outcome.is_err() {
        if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        reap_later(child);
    }
    outcome
}

/// As [`run`], and an exit code other than 0 is an error with the last lines of stderr.
pub fn run_ok<S: AsRef<OsStr>>(program: &str, args: &[S], deadline: Duration) -> Result<Finished> {
    let finished = run(program, args, deadline)?;
    if finished.code == 0 { Ok(finished) } else { Err(failure(program, &finished)) }
}

/// The error for a program that ended with a code that its caller does not accept.
#[must_use]
pub fn failure(program: &str, finished: &Finished) -> Error {
    let said = if finished.stderr.trim().is_empty() { &finished.stdout } else { &finished.stderr };
    let lines: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(4)..].join(" / ");
    Error::internal(format!("{program} failed with code {}: {tail}", finished.code))
}

/// This very program, running in the background; killed when dropped.
#[derive(Debug)]
pub struct Background(Child);

impl Background {
    /// Starts the calling program again with other arguments and further environment variables;
    /// both its output streams go to the end of the file `log`.
    pub fn start(args: &[&str], variables: &[(&str, &OsStr)], log: &Path) -> Result<Self> {
        let doing = || format!("open {}", log.display());
        let log = std::fs::File::options().append(true).create(true).open(log).doing(doing)?;
        let copy = log.try_clone().doing(doing)?;
        std::process::Command::new("/proc/self/exe")
            .args(args)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(copy)
            .stderr(log)
            .spawn()
            .doing(|| "start this program again")
            .map(Self)
    }

    /// Its exit code, once it has ended.
    pub fn ended(&mut self) -> Result<Option<i32>> {
        let status = self.0.try_wait().doing(|| "look after a started program")?;
        Ok(status.map(exit_code))
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(mut self) -> Result<()> {
        self.0.kill().doing(|| "kill a started program")?;
        self.0.wait().doing(|| "wait for a killed program").map(drop)
    }

    /// Asks it to end (SIGTERM) and answers its exit code; not within `deadline` →
    /// `DeadlineExceeded`, and it is killed.
    pub fn stop(mut self, deadline: Duration) -> Result<i32> {
        if let Some(pid) = Pid::from_raw(self.0.id().cast_signed()) {
            kill_process(pid, Signal::TERM).doing(|| "stop a started program")?;
        }
        let until = Instant::now() + deadline;
        while Instant::now() < until {
            if let Some(code) = self.ended()? {
                return Ok(code);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let late = format!("the program did not end within {} s", deadline.as_secs());
        Err(Error::deadline_exceeded(late))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait(child: &mut Child, program: &str, deadline: Duration) -> Result<Finished> {
    let until = Instant::now() + deadline;
    let pid = Pid::from_raw(child.id().cast_signed())
        .ok_or_else(|| Error::internal(format!("{program} has no process ID")))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).doing(|| format!("watch {program}"))?;
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        let mut watched = vec![PollFd::new(&pidfd, PollFlags::IN)];
        for stream in [stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)] {
            watched.extend(stream.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::new(
                Kind::DeadlineExceeded,
                format!("{program} was killed: not done within {} s", deadline.as_secs()),
            ));
        }
        let timeout = rustix::time::Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut watched, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::io(format!("wait for {program}"), errno.into())),
        }
        let ready: Vec<bool> = watched.iter().map(|fd| !fd.revents().is_empty()).collect();
        let ended = ready[0];
        let mut ready = ready.into_iter().skip(1);
        if stdout.is_some() && ready.next() == Some(true) {
            drain(&mut stdout, &mut out, false);
        }
        if stderr.is_some() && ready.next() == Some(true) {
            drain(&mut stderr, &mut err, true);
        }
        // A grandchild may keep the pipes open: what counts is that the program itself has ended.
        if ended && (ready_is_empty(stdout.as_ref()) && ready_is_empty(stderr.as_ref())) {
            let status = child.wait().doing(|| format!("wait for {program}"))?;
            return Ok(Finished {
                code: exit_code(status),
                stdout: String::from_utf8_lossy(&out).into_owned(),
                stderr: String::from_utf8_lossy(&err).into_owned(),
            });
        }
    }
}

fn drain(stream: &mut Option<impl Read>, kept: &mut Vec<u8>, keep_end: bool) {
    let mut buffer = [0; 16 << 10];
    match stream.as_mut().map(|stream| stream.read(&mut buffer)) {
        Some(Ok(count)) if count > 0 => {
            kept.extend_from_slice(&buffer[..count]);
            if keep_end && kept.len() > KEPT {
                kept.drain(..kept.len() - KEPT);
            }
            kept.truncate(KEPT);
        }
        Some(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => {}
        _ => *stream = None,
    }
}

/// Whether nothing is left to read right now.
fn ready_is_empty(stream: Option<&impl AsFd>) -> bool {
    stream.is_none_or(|stream| {
        let mut watched = [PollFd::new(stream, PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        !matches!(poll(&mut watched, Some(&now)), Ok(count) if count > 0)
    })
}

pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Collects a killed child without waiting for it here: in uninterruptible sleep it may stay.
fn reap_later(mut child: Child) {
    std::thread::spawn(move || {
        let _ = child.wait();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_code_are_kept() {
        let finished =
            run("sh", &["-c", "echo out; echo err >&2; exit 3"], DEADLINE).expect("sh runs");
        assert_eq!((finished.code, finished.stdout.as_str()), (3, "out\n"));
        assert_eq!(finished.stderr, "err\n");
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let error = find("mkfs.nosuch").expect_err("not there");
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(error.message().contains("install the package mkfs.nosuch"));
    }

    #[test]
    fn a_program_past_its_deadline_is_killed_with_its_children() {
        let began = Instant::now();
        let error = run("sh", &["-c", "sleep 60 & sleep 60"], Duration::from_millis(200))
            .expect_err("late");
        assert_eq!(error.kind(), Kind::DeadlineExceeded);
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn only_the_end_of_a_long_stderr_is_kept() {
        let script =
            "i=0; while [ $i -lt 9000 ]; do echo line-$i-xxxxxxxx >&2; i=$((i+1)); done; exit 1";
        let finished = run("sh", &["-c", script], DEADLINE).expect("runs");
        assert!(finished.stderr.len() <= KEPT);
        assert!(finished.stderr.ends_with("line-8999-xxxxxxxx\n"));
        assert!(failure("sh", &finished).message().contains("line-8999"));
    }

    #[test]
    fn nothing_of_the_callers_environment_is_passed_on() {
        let finished = run("env", &[] as &[&str], DEADLINE).expect("env runs");
        let mut names: Vec<_> =
            finished.stdout.lines().filter_map(|line| line.split('=').next()).collect();
        names.sort_unstable();
        assert_eq!(names, ["BLKID_FILE", "LC_ALL", "PATH"]);
    }
}
