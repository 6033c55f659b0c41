//! Ending what a run leaves: daemons of daemons, such as shims and plugins, become children of this
//! process, and are ended as such, by their own IDs.
#![allow(unsafe_code)] // Adopting and reaping other processes is not in the standard library.

use error::{Error, IoContext, Result};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// How long what was killed may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a command to its end, and ends whatever it leaves. This process must have no other children.
pub(super) fn run(command: &mut Command) -> Result<ExitStatus> {
    // SAFETY: takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } != 0 {
        return Err(Error::io("adopt what a run leaves", io::Error::last_os_error()));
    }
    let child = command.spawn().doing(|| "run the benchmarks")?.id();
    let status = loop {
        match reap(0)? {
            Some((pid, status)) if pid.cast_unsigned() == child => break status,
            // An orphan that ended by itself.
            Some(_) => {}
            None => return Err(Error::internal("the benchmarks ended unseen")),
        }
    };
    end_all()?;
    Ok(status)
}

/// Kills all children, and those that become children by that, until there are none.
fn end_all() -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let children = children()?;
        if children.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(Error::deadline_exceeded(format!(
                "processes {children:?} were killed but do not end"
            )));
        }
        for pid in children {
            // SAFETY: takes numbers only; a child that is not reaped keeps its ID.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        while reap(libc::WNOHANG)?.is_some() {}
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A child that has ended, whichever; `None` when there is none, or none yet with `WNOHANG`.
fn reap(flags: i32) -> Result<Option<(i32, ExitStatus)>> {
    let mut status = 0;
    // SAFETY: the number that is written to lives through the call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, flags) };
    match pid {
        0 => Ok(None),
        pid if pid > 0 => Ok(Some((pid, ExitStatus::from_raw(status)))),
        _ => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
            error if error.kind() == io::ErrorKind::Interrupted => reap(flags),
            error => Err(Error::io("wait for a process", error)),
        },
    }
}

fn children() -> Result<Vec<i32>> {
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").doing(|| "list processes")?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_ours = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        parent(&stat).is_some_and(|parent| parent == own)
    };
    Ok(pids.filter(is_ours).collect())
}

/// The fourth field of proc_pid_stat(5); the second may have anything in it.
fn parent(stat: &str) -> Option<&str> {
    stat.rsplit_once(") ")?.1.split(' ').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent("12 (a) 3 b) S 34 56"), Some("34"));
        assert_eq!(parent(""), None);
    }
}
