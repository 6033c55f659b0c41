//! Docker's credential helpers: programs that are told a server and tell its credentials
//! (`docker-credential-<name> get`). Knows nothing of what the credentials are for.

use error::{Error, IoContext, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Where helpers are looked for; unlike system programs they are often installed by hand.
const SEARCH: [&str; 4] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin"];
/// Variables that helpers need to find their stores.
const PASSED: [&str; 6] = [
    "HOME",
    "USER",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "GNUPGHOME",
    "PASSWORD_STORE_DIR",
];
/// The longest answer that is read, in bytes.
const LONGEST: u64 = 64 << 10;

/// How long a helper may take when nothing else is said.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// What `docker-credential-<name> get` answers about `server`; `None` when it has nothing for it.
///
/// A `name` that is no plain word is `InvalidArgument`; not installed, or another failure, is
/// `FailedPrecondition`. The answer holds a secret and is in no error.
pub fn get(name: &str, server: &str, deadline: Duration) -> Result<Option<Vec<u8>>> {
    run(&find(name)?, server, deadline)
}

fn run(program: &Path, server: &str, deadline: Duration) -> Result<Option<Vec<u8>>> {
    let shown = program.display().to_string();
    let mut child = Command::new(program)
        .arg("get")
        .env_clear()
        .envs(PASSED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .env("PATH", SEARCH.join(":"))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .doing(|| format!("start {shown}"))?;
    let answer = talk(&mut child, server, deadline);
    end(child, answer.is_some()).map_or_else(
        || Err(Error::deadline_exceeded(format!("{shown} gave no answer in time"))),
        |is_success| judge(is_success, answer.unwrap_or_default(), &shown),
    )
}

fn find(name: &str) -> Result<PathBuf> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_fine) {
        let message = format!("{name:?} is no name of a credential helper");
        return Err(Error::invalid_argument(message));
    }
    let program = format!("docker-credential-{name}");
    let paths = SEARCH.iter().map(|dir| PathBuf::from(dir).join(&program));
    let mut found =
        paths.filter(|path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok());
    found.next().ok_or_else(|| {
        Error::failed_precondition(format!(
            "the credential helper {program} is not installed (looked in {})",
            SEARCH.join(", ")
        ))
    })
}

/// Tells the helper the server and reads what it says; `None` if it does not end in time.
fn talk(child: &mut Child, server: &str, deadline: Duration) -> Option<Vec<u8>> {
    let (mut stdin, stdout) = (child.stdin.take()?, child.stdout.take()?);
    let server = server.to_owned();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        // A helper that does not read what it is told has its reasons.
        let _ = stdin.write_all(server.as_bytes());
        drop(stdin);
        let mut answer = Vec::new();
        let _ = stdout.take(LONGEST).read_to_end(&mut answer);
        let _ = tell.send(answer);
    });
    told.recv_timeout(deadline).ok()
}

/// Whether the helper succeeded; `None` if it had to be killed.
fn end(mut child: Child, has_answered: bool) -> Option<bool> {
    if !has_answered {
        if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        std::thread::spawn(move || child.wait());
        return None;
    }
    // It has closed its output: what it still does is of no interest.
    let grace = Duration::from_millis(5);
    for _ in 0..400 {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) => std::thread::sleep(grace),
            Err(_) => break,
        }
    }
    end(child, false)
}

fn judge(is_success: bool, answer: Vec<u8>, shown: &str) -> Result<Option<Vec<u8>>> {
    if is_success {
        return Ok(Some(answer));
    }
    // The helpers' protocol has these words for it, and no exit code.
    let said = String::from_utf8_lossy(&answer).to_lowercase();
    if said.contains("credentials not found") {
        return Ok(None);
    }
    Err(Error::failed_precondition(format!("{shown} failed; run it by hand to see why")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_words_name_a_helper() {
        for name in ["", "../sh", "a/b", "a b", "a;b", &"x".repeat(65)] {
            let error = get(name, "x", DEADLINE).expect_err(name);
            assert_eq!(error.kind(), error::Kind::InvalidArgument, "{name}");
        }
    }

    #[test]
    fn a_helper_that_is_not_installed_is_named() {
        let error = get("no-such-store", "x", DEADLINE).expect_err("not there");
        assert!(error.message().contains("docker-credential-no-such-store"));
    }

    #[test]
    fn a_helper_is_told_the_server_and_a_hanging_one_is_killed() {
        let dir = tempfile::tempdir().expect("a directory");
        let script = |name: &str, text: &str| {
            use std::os::unix::fs::PermissionsExt;
            let path = dir.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("set");
            path
        };
        let fine = script("fine", "read server; echo \"$1 $server\"");
        let answer = run(&fine, "r.example\n", DEADLINE).expect("runs");
        assert_eq!(answer.as_deref(), Some(&b"get r.example\n"[..]));
        let hanging = script("hanging", "exec sleep 600");
        let error = run(&hanging, "x", Duration::from_millis(100)).expect_err("hangs");
        assert_eq!(error.kind(), error::Kind::DeadlineExceeded);
    }

    #[test]
    fn nothing_found_is_no_failure_and_a_secret_is_in_no_error() {
        let none = judge(false, b"credentials not found in native keychain\n".to_vec(), "x");
        assert_eq!(none.expect("no failure"), None);
        let error = judge(false, b"hunter2".to_vec(), "x").expect_err("failed");
        assert!(!error.to_string().contains("hunter2"));
    }
}
