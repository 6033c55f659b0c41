//! Processes: who they are in spite of reused PIDs, who is at the other end of a socket, and who
//! keeps a mount in use. Only reads `/proc`, and nothing of a mounted file system.

use crate::mount::{Mount, User};
use crate::mountinfo;
use error::{Error, IoContext, Kind, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A process, told apart from a later one with the same PID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Its process ID.
    pub pid: i32,
    /// When it began, in clock ticks since the machine was started (proc_pid_stat(5), field 22).
    pub start_time: u64,
}

impl Identity {
    /// The process that has `pid` now; `None` when there is none, or only a zombie.
    pub fn of(pid: i32) -> Result<Option<Self>> {
        match std::fs::read(format!("/proc/{pid}/stat")) {
            Ok(stat) => match parse_stat(&stat) {
                Some((b'Z' | b'X', _)) => Ok(None),
                Some((_, start_time)) => Ok(Some(Self { pid, start_time })),
                None => Err(Error::internal(format!("/proc/{pid}/stat is malformed"))),
            },
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(Error::io(format!("read /proc/{pid}/stat"), error)),
        }
    }

    /// A child that was not waited for yet, even a zombie: nobody else can have its PID.
    pub fn of_child(pid: i32) -> Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let stat = std::fs::read(&path).doing(|| format!("read {path}"))?;
        let (_, start_time) =
            parse_stat(&stat).ok_or_else(|| Error::internal(format!("{path} is malformed")))?;
        Ok(Self { pid, start_time })
    }

    /// The calling process.
    pub fn own() -> Result<Self> {
        let pid = std::process::id().cast_signed();
        Self::of(pid)?.ok_or_else(|| Error::internal("/proc has no entry for this process"))
    }

    /// Whether this very process still runs. When that can't be read it counts as alive.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid).map_or(true, |now| now == Some(*self))
    }
}

/// State and start time. The name before them may contain anything, even `)`.
fn parse_stat(stat: &[u8]) -> Option<(u8, u64)> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// What a process is doing and costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its parent.
    pub parent: i32,
    /// Effective user ID.
    pub uid: u32,
    /// Resident memory in bytes.
    pub memory: u64,
    /// Processor time used, in milliseconds.
    pub cpu: u64,
    /// The command line; the name in brackets when there is none.
    pub command: String,
}

/// Describes process `pid`; `None` when it has ended.
#[must_use]
pub fn describe(pid: i32) -> Option<Description> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields: Vec<_> = str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    Some(Description {
        parent: fields.get(1)?.parse().ok()?,
        uid: uids.split_ascii_whitespace().nth(1)?.parse().ok()?,
        memory: number(21)? * rustix::param::page_size() as u64,
        cpu: (number(11)? + number(12)?) * 1000 / rustix::param::clock_ticks_per_second(),
        command: command_line(pid),
    })
}

fn command_line(pid: i32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    match words.join(" ").trim_end() {
        "" => format!("[{}]", name(pid)),
        line => line.to_owned(),
    }
}

/// The process that connected to the UNIX socket `fd` (unix(7), SO_PEERCRED).
pub fn peer(fd: impl AsFd) -> Result<i32> {
    let credentials = rustix::net::sockopt::socket_peercred(fd).doing(|| "ask who is connected")?;
    Ok(credentials.pid.as_raw_nonzero().get())
}

/// The name of this machine (hostname(7)).
#[must_use]
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Sets or removes an environment variable of this process, which libraries read. Only while it has
/// one thread; later → `FailedPrecondition`.
pub fn set_variable(name: &str, value: Option<&str>) -> Result<()> {
    let threads = std::fs::read_dir("/proc/self/task").doing(|| "count the threads")?.count();
    if threads != 1 {
        return Err(Error::failed_precondition(format!(
            "{name} can be set before there are threads only"
        )));
    }
    // SAFETY: nobody else can read the environment at the same time: this is the only thread.
    unsafe {
        match value {
            Some(value) => std::env::set_var(name, value),
            None => std::env::remove_var(name),
        }
    }
    Ok(())
}

/// Raises the limit of open files to what this process may have (getrlimit(2)).
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // A refusal leaves the limit as it is, which is no reason not to go on.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// The ID of this boot (proc_sys_kernel(5), `random/boot_id`).
pub fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let id = std::fs::read_to_string(path).doing(|| format!("read {path}"))?;
    Ok(id.trim().to_owned())
}

/// The name of process `pid` (proc_pid_comm(5)); `?` when it has ended.
#[must_use]
pub fn name(pid: i32) -> String {
    let name = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = String::from_utf8_lossy(&name).trim_end().to_owned();
    if name.is_empty() { "?".to_owned() } else { name }
}

/// The PIDs whose working directory, root, program, open or mapped files lie at or below `target`.
///
/// Links are read, never followed: this doesn't wait for a file system that hangs. Processes that
/// may not be looked at are left out.
pub fn holders_of(target: &Path) -> Result<Vec<i32>> {
    let mut holders = pids()?;
    holders.retain(|pid| holds(*pid, target));
    Ok(holders)
}

fn holds(pid: i32, target: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let is_inside =
        |link: &Path| std::fs::read_link(link).is_ok_and(|path| path.starts_with(target));
    ["cwd", "root", "exe"].iter().any(|link| is_inside(&process.join(link)))
        || ["fd", "map_files"].iter().any(|links| {
            std::fs::read_dir(process.join(links))
                .is_ok_and(|links| links.flatten().any(|link| is_inside(&link.path())))
        })
}

/// Mounts of the same file system as `mount` elsewhere; see
/// [`Mounts::other_users`](crate::Mounts::other_users).
///
/// A mount namespace that no process lives in, and that of a thread that left its process's, is not
/// seen.
pub fn other_users(mount: &Mount) -> Result<Vec<User>> {
    let own_pid = std::process::id().cast_signed();
    let own = std::fs::read_link("/proc/thread-self/ns/mnt").doing(|| "read ns/mnt")?;
    let mut users = users_in(own_pid, &mountinfo::table()?, mount);
    let mut seen = HashSet::from([own]);
    for pid in pids()? {
        let Some(namespace) = namespace_of(pid).filter(|namespace| !seen.contains(namespace))
        else {
            continue;
        };
        match mountinfo::table_of(pid) {
            Ok(table) => {
                users.extend(users_in(pid, &table, mount));
                seen.insert(namespace);
            }
            // It has ended meanwhile; perhaps another one lives in the namespace.
            Err(error) if error.kind() == Kind::NotFound || has_left(&error) || is_over(pid) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(users)
}

/// Whether `pid` lives in the mount namespace of `other`; `false` when one of them is gone.
#[must_use]
pub fn shares_mounts_with(pid: i32, other: Option<i32>) -> bool {
    let namespace = other.and_then(namespace_of);
    namespace.is_some() && namespace == namespace_of(pid)
}

fn namespace_of(pid: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()
}

fn is_over(pid: i32) -> bool {
    Identity::of(pid).is_ok_and(|identity| identity.is_none())
}

/// The users among `table`. What sits at the same target is the mount itself, a copy of it that
/// another namespace inherited or received, or what is stacked on it.
fn users_in(pid: i32, table: &[Mount], mount: &Mount) -> Vec<User> {
    table
        .iter()
        .filter(|other| other.device == mount.device && is_within(&other.root, &mount.root))
        .filter(|other| other.target != mount.target)
        .map(|other| User { pid, command: name(pid), target: other.target.clone() })
        .collect()
}

/// By bytes: a `Path` comparison would take `/a//deleted` for `/a/deleted`.
fn is_within(path: &Path, directory: &Path) -> bool {
    let (path, directory) = (path.as_os_str().as_bytes(), directory.as_os_str().as_bytes());
    match path.strip_prefix(directory) {
        Some(rest) => rest.is_empty() || rest.starts_with(b"/") || directory == b"/",
        None => false,
    }
}

pub(crate) fn pids() -> Result<Vec<i32>> {
    let entries = std::fs::read_dir("/proc").doing(|| "read /proc")?;
    let number = |name: OsString| name.to_str().and_then(|name| name.parse().ok());
    Ok(entries.flatten().filter_map(|entry| number(entry.file_name())).collect())
}

/// Whether a mount table could not be read because its process is ending: it has let go of its mount
/// namespace already, though it is still there (the kernel's mounts_open_common, EINVAL).
fn has_left(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|s| s.downcast_ref::<io::Error>());
    source.and_then(io::Error::raw_os_error) == Some(libc::EINVAL)
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_left_its_mount_namespace_holds_nothing() {
        let errno = |code| Error::io("read", io::Error::from_raw_os_error(code));
        assert!(has_left(&errno(libc::EINVAL)));
        assert!(!has_left(&errno(libc::EACCES)));
    }

    fn mount(id: u64, device: &str, root: &str, target: &str) -> Mount {
        let line = format!("{id} 1 {device} {root} {target} rw - ext4 /dev/x rw");
        mountinfo::parse_line(line.as_bytes()).expect("well-formed")
    }

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let stat = b"7 (a) R (b)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        assert_eq!(parse_stat(stat), Some((b'S', 4242)));
        assert_eq!(parse_stat(b"7 (a"), None);
    }

    #[test]
    fn this_process_is_alive_and_another_start_time_is_not() {
        let own = Identity::own().expect("readable");
        assert!(own.is_alive());
        assert!(!Identity { start_time: own.start_time + 1, ..own }.is_alive());
    }

    #[test]
    fn a_process_is_described_by_its_command_line() {
        let own = describe(std::process::id().cast_signed()).expect("alive");
        assert_eq!(own.parent, std::os::unix::process::parent_id().cast_signed());
        assert!(own.memory > 0 && own.command.contains("host"), "{own:?}");
        assert_eq!(describe(i32::MAX), None);
    }

    #[test]
    fn a_process_that_ended_is_nobody() {
        let mut child = std::process::Command::new("true").spawn().expect("started");
        let pid = child.id().cast_signed();
        child.wait().expect("ended");
        assert_eq!(Identity::of(pid).expect("readable"), None);
    }

    #[test]
    fn the_peer_of_a_socket_pair_is_this_process() {
        let (one, _two) = std::os::unix::net::UnixStream::pair().expect("a pair");
        assert_eq!(peer(&one).expect("known"), std::process::id().cast_signed());
    }

    #[test]
    fn an_open_file_makes_a_holder() {
        let dir = tempfile::tempdir().expect("a directory");
        let _file = std::fs::File::create(dir.path().join("open")).expect("made");
        let holders = holders_of(dir.path()).expect("readable");
        assert_eq!(holders, [std::process::id().cast_signed()]);
    }

    #[test]
    fn users_have_the_same_directory_or_one_below() {
        let own = mount(9, "7:1", "/vol", "/mnt/vol");
        let table = [
            mount(9, "7:1", "/vol", "/mnt/vol"),
            mount(10, "7:1", "/vol", "/mnt/vol"),
            mount(11, "7:1", "/vol", "/data"),
            mount(12, "7:1", "/vol/sub", "/sub"),
            mount(13, "7:1", "/volume", "/other"),
            mount(14, "7:1", "/", "/whole"),
            mount(15, "7:2", "/vol", "/disk"),
        ];
        let targets: Vec<_> = users_in(1, &table, &own).into_iter().map(|u| u.target).collect();
        assert_eq!(targets, [PathBuf::from("/data"), PathBuf::from("/sub")]);
        let whole = mount(20, "7:1", "/", "/mnt/all");
        assert_eq!(users_in(1, &table, &whole).len(), 6);
    }
}
