//! A control group by its path: its members, their end, and what the kernel counted. Version 1,
//! 2 and the mixture of both: the same path is looked for in every hierarchy that is mounted.
//!
//! Limits are not set here; the container runtime does that.

use crate::mountinfo;
use crate::process::Identity;
use crate::reaper::Handle;
use error::{Error, IoContext, Result};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long killed processes may take to leave: those that wait for a device or a dead server
/// don't.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often new members are looked for: a fork may win against a kill, for a while.
const ROUNDS: usize = 1000;

/// The directories of one group, one per hierarchy that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup(Vec<PathBuf>);

impl Cgroup {
    /// The group with this path below the root of the hierarchies; one that is nowhere has no
    /// members. A path that is empty, `/` or goes up → `InvalidArgument`: it is not one's own.
    pub fn at(path: &Path) -> Result<Self> {
        let plain = |part| matches!(part, std::path::Component::Normal(_));
        let below = path.strip_prefix("/").unwrap_or(path);
        if below.as_os_str().is_empty() || !below.components().all(plain) {
            let text = format!("{} is no path of a control group", path.display());
            return Err(Error::invalid_argument(text));
        }
        let is_cgroup = |fstype: &str| matches!(fstype, "cgroup" | "cgroup2");
        let mounts = mountinfo::table()?.into_iter().filter(|mount| is_cgroup(&mount.fstype));
        let mut directories: Vec<_> = mounts.map(|mount| mount.target.join(below)).collect();
        directories.retain(|directory| directory.is_dir());
        Ok(Self(directories))
    }

    /// Whether no hierarchy has it.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.iter().all(|directory| !directory.is_dir())
    }

    /// Process IDs of all members, also of groups below.
    pub fn members(&self) -> Result<BTreeSet<i32>> {
        let mut members = BTreeSet::new();
        for directory in &self.0 {
            for directory in tree(directory)? {
                let procs = directory.join("cgroup.procs");
                let Some(text) = read_optional(&procs)? else { continue };
                // 0 stands for a process of another PID namespace.
                let pids = text.lines().filter_map(|line| line.parse::<i32>().ok());
                members.extend(pids.filter(|pid| *pid > 0));
            }
        }
        Ok(members)
    }

    /// Kills all members (SIGKILL) and waits until they have ended. Not within 10 s →
    /// `DeadlineExceeded` with their number.
    pub fn kill(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        for _ in 0..ROUNDS {
            let members = self.members()?;
            if members.is_empty() {
                return Ok(());
            }
            let mut handles = Vec::new();
            for identity in members.into_iter().filter_map(|pid| Identity::of(pid).ok().flatten()) {
                handles.extend(Handle::open(identity)?);
            }
            handles.iter().try_for_each(Handle::kill)?;
            for handle in &handles {
                if !handle.wait(until)? {
                    break;
                }
            }
            if handles.is_empty() {
                // Only zombies are left; their parents collect them.
                return Ok(());
            }
            if Instant::now() >= until {
                break;
            }
        }
        let left = self.members()?.len();
        Err(Error::deadline_exceeded(format!(
            "{left} killed processes don't end; they wait for a device or a server"
        )))
    }

    /// How many of its processes the kernel has killed for want of memory, in this group and
    /// below (memory.events of version 2, memory.oom_control of version 1).
    pub fn out_of_memory_kills(&self) -> Result<u64> {
        let mut kills = 0;
        for directory in &self.0 {
            if let Some(text) = read_optional(&directory.join("memory.events"))? {
                kills += oom_kills(&text);
                continue;
            }
            for directory in tree(directory)? {
                let text = read_optional(&directory.join("memory.oom_control"))?;
                kills += text.map_or(0, |text| oom_kills(&text));
            }
        }
        Ok(kills)
    }

    /// Removes the group and those below it, in every hierarchy. Still populated →
    /// `FailedPrecondition`.
    pub fn remove(&self) -> Result<()> {
        for directory in &self.0 {
            for directory in tree(directory)?.into_iter().rev() {
                match std::fs::remove_dir(&directory) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        let removing = format!("remove control group {}", directory.display());
                        return Err(Error::io(removing, error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// The value of the line `oom_kill`.
fn oom_kills(text: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// The directory and those below it, parents first.
fn tree(top: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![top.to_owned()];
    let mut next = 0;
    while let Some(directory) = found.get(next) {
        next += 1;
        let entries = match std::fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.doing(|| format!("read {}", directory.display()))?,
        };
        let is_dir = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        let below: Vec<_> = entries.flatten().filter(is_dir).map(|entry| entry.path()).collect();
        found.extend(below);
    }
    Ok(found)
}

/// The text of a file of the kernel; `None` when it is missing, or its group was removed meanwhile.
fn read_optional(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // A threaded group, or one that is being removed.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EOPNOTSUPP)) => {
            Ok(None)
        }
        Err(error) => Err(Error::io(format!("read {}", path.display()), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_and_paths_that_go_up_are_refused() {
        for path in ["", "/", "/../x", "a/../b"] {
            assert!(Cgroup::at(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn a_group_that_is_nowhere_has_no_members_and_can_be_removed() {
        let group = Cgroup::at(Path::new("/mobula-no-such-group")).expect("well-formed");
        assert!(group.is_gone());
        assert!(group.members().expect("readable").is_empty());
        group.kill().expect("nothing to kill");
        group.remove().expect("nothing to remove");
    }

    #[test]
    fn both_versions_count_kills_alike() {
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n";
        let v2 = "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n";
        assert_eq!((oom_kills(v1), oom_kills(v2), oom_kills("")), (2, 2, 0));
    }

    #[test]
    fn members_are_found_below_and_killed() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let path = PathBuf::from(format!("/mobula-test-{}/below", std::process::id()));
        let mounts = mountinfo::table().expect("readable");
        let Some(pids) = mounts.iter().find(|mount| {
            mount.fstype == "cgroup" && mount.super_options.split(',').any(|o| o == "pids")
        }) else {
            return;
        };
        let top = path.parent().expect("a parent");
        let directory = pids.target.join(path.strip_prefix("/").expect("absolute"));
        std::fs::create_dir_all(&directory).expect("made");
        let mut child = std::process::Command::new("sleep").arg("600").spawn().expect("started");
        std::fs::write(directory.join("cgroup.procs"), child.id().to_string()).expect("moved");
        let group = Cgroup::at(top).expect("well-formed");
        assert_eq!(group.members().expect("read"), BTreeSet::from([child.id().cast_signed()]));
        group.kill().expect("killed");
        child.wait().expect("reaped");
        group.remove().expect("removed");
        assert!(group.is_gone());
    }
}
