//! The programs that should run: agent and engine, which version they are, whether the service manager
//! starts them, and who else decides what they may do.

use super::{Finding, Patient, Tell};
use crate::api::Health;
use crate::client;
use error::{Error, Kind, Result};
use host::facts::{self, Listener};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a program of ours may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(3);
/// Open files, of as many as it may have, beyond which a program is near its end.
const NEARLY_ALL: u64 = 80;
/// Open files with which a program that serves many volumes gets by.
const ENOUGH: u64 = 4096;

pub(super) fn check(patient: &Patient, tell: Tell<'_>) {
    agent(patient, tell);
    engine(patient, tell);
    unit("mobula.service", "the agent", patient, tell);
    descriptors(patient, tell);
    security(tell);
}

/// What the agent says about itself, if one answers.
pub(super) fn health(patient: &Patient) -> Option<Health> {
    matches!(patient.agent, Some(Listener::Alive(_))).then(|| ask(&patient.paths.socket()).ok())?
}

fn ask(socket: &Path) -> Result<Health> {
    let (status, body) = waited(client::get_from(socket, "/v1/health"))?;
    if status != 200 {
        return Err(Error::unavailable(format!("it answered with status {status}")));
    }
    serde_json::from_slice(&body)
        .map_err(|source| Error::internal("its answer cannot be read").because(source))
}

/// The end of `work`, in time.
pub(super) fn waited<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Error::io("start a thread", source))?;
    runtime.block_on(async {
        let late = Error::deadline_exceeded(format!("no answer within {} s", PATIENCE.as_secs()));
        tokio::time::timeout(PATIENCE, work).await.unwrap_or(Err(late))
    })
}

fn agent(patient: &Patient, tell: Tell<'_>) {
    let socket = patient.paths.socket();
    let looked_at = format!("the agent at {}", socket.display());
    let Some(agent) = patient.agent else {
        tell(
            Finding::warning("agent", looked_at, "no agent runs")
                .why(
                    "Docker and Podman reach volumes only through it; the command line works \
                     without.",
                )
                .mend("mobula service start, or: mobula start"),
        );
        return;
    };
    if agent == Listener::Forbidden {
        return tell(Finding::needs_root("agent", looked_at));
    }
    let health = match ask(&socket) {
        Ok(health) => health,
        Err(error) => {
            tell(
                Finding::problem(
                    "agent",
                    looked_at,
                    format!("it listens but does not answer: {error}"),
                )
                .why("Calls of Docker and Podman wait for it.")
                .mend("look at its log (journalctl -u mobula), then: systemctl restart mobula"),
            );
            return;
        }
    };
    tell(Finding::ok("agent", &looked_at, format!("pid {}, {}", health.pid, health.status)));
    tell(version("agent-version", looked_at, &health.version, "systemctl restart mobula"));
}

fn version(check: &'static str, looked_at: String, running: &str, restart: &str) -> Finding {
    if running == crate::VERSION {
        return Finding::ok(check, looked_at, format!("version {running}, as this program"));
    }
    let found = format!("version {running} runs; this program is {}", crate::VERSION);
    Finding::warning(check, looked_at, found)
        .why(
            "What was installed is not what runs: fixes are not in effect yet. Mounts stay during \
             a restart.",
        )
        .mend(restart)
}

fn engine(patient: &Patient, tell: Tell<'_>) {
    let socket = patient.config().engine.socket.clone();
    let socket = socket.unwrap_or_else(|| patient.paths.engine_socket());
    let looked_at = format!("the plugin engine at {}", socket.display());
    match facts::listener(&socket) {
        Ok(Listener::Alive(pid)) => {
            let pid = pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
            tell(Finding::ok("engine", looked_at, format!("it listens{pid}")));
            unit("mobula-engine.service", "the plugin engine", patient, tell);
        }
        Ok(Listener::Forbidden) => tell(Finding::needs_root("engine", looked_at)),
        Ok(Listener::Nobody) => tell(
            Finding::warning(
                "engine",
                looked_at,
                "it was killed, or has crashed: its socket is left",
            )
            .why("Its plugins go on running, but nothing new is mounted or started again.")
            .mend("mobula service start engine, or: mobula engine"),
        ),
        Err(error) if error.kind() == Kind::NotFound => {
            tell(Finding::ok("engine", looked_at, "none runs; only managed plugins need one"));
        }
        Err(error) => tell(Finding::unknown("engine", looked_at, error.to_string())),
    }
}

/// Whether the service manager starts the program at boot.
fn unit(name: &str, what: &str, patient: &Patient, tell: Tell<'_>) {
    let home = patient.paths.home();
    if !home.join("run/systemd/system").is_dir() {
        return;
    }
    let looked_at = format!("unit {name}");
    let dirs = ["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];
    let places = dirs.map(|dir| home.join(dir));
    let is_there = |dir: &PathBuf| dir.join(name).symlink_metadata().is_ok();
    if !places.iter().any(is_there) {
        tell(
            Finding::warning("systemd-unit", looked_at, "not installed")
                .why(format!(
                    "Nothing starts {what} after a reboot, and containers do not find their \
                     volumes."
                ))
                .mend(format!(
                    "install -m 644 packaging/{name} /etc/systemd/system/ && systemctl enable \
                     --now {name}"
                )),
        );
        return;
    }
    let wants = places.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
    let mut wants = wants.filter(|entry| entry.file_name().to_string_lossy().ends_with(".wants"));
    tell(if wants.any(|dir| dir.path().join(name).symlink_metadata().is_ok()) {
        Finding::ok("systemd-unit", looked_at, "installed and enabled")
    } else {
        Finding::warning("systemd-unit", looked_at, "installed, but not enabled")
            .why(format!(
                "{what} is not started after a reboot, and containers do not find their volumes."
            ))
            .mend(format!("systemctl enable {name}"))
    });
}

fn descriptors(patient: &Patient, tell: Tell<'_>) {
    let Some(pid) = patient.agent_pid() else { return };
    let (name, looked_at) = ("open-files", format!("open files of the agent (pid {pid})"));
    match facts::descriptors(pid) {
        Ok(found) => tell(judge_descriptors(name, looked_at, found.open, found.limit)),
        Err(error) if error.kind() == Kind::PermissionDenied => {
            tell(Finding::needs_root(name, looked_at));
        }
        Err(error) => tell(Finding::unknown(name, looked_at, error.to_string())),
    }
}

fn judge_descriptors(name: &'static str, looked_at: String, open: u64, limit: u64) -> Finding {
    let found = format!("{open} of {limit}");
    if open.saturating_mul(100) >= limit.saturating_mul(NEARLY_ALL) {
        return Finding::problem(name, looked_at, found)
            .why("It accepts no connection when there is none left: Docker's calls hang.")
            .mend("raise LimitNOFILE= of mobula.service, then: systemctl restart mobula");
    }
    if limit < ENOUGH {
        return Finding::warning(name, looked_at, found)
            .why("Each volume and each connection takes some; many volumes take more than that.")
            .mend("set LimitNOFILE=1048576 in mobula.service, then: systemctl restart mobula");
    }
    Finding::ok(name, looked_at, found)
}

/// Hints: whether these stand in the way is seen in the kernel's log only.
fn security(tell: Tell<'_>) {
    let modules = facts::security_modules();
    let is_enforcing =
        std::fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|on| on.trim() == "1");
    let profile = std::fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
    let profile = profile.trim_matches(['\n', '\0', ' ']);
    let found = if is_enforcing {
        format!(
            "SELinux is enforcing ({profile}); what it refuses: ausearch -m avc. Containers see \
             volumes with a label of theirs: mountOptions=context=…"
        )
    } else if modules.split(',').any(|name| name == "apparmor") {
        format!("AppArmor is there; this program's profile: {profile}; what it refuses: dmesg")
    } else {
        "neither SELinux nor AppArmor decides here".to_owned()
    };
    tell(Finding::ok("security-modules", "/sys/kernel/security/lsm", found));
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{found, home};
    use super::*;
    use crate::doctor::Status;
    use std::os::unix::fs::symlink;

    #[test]
    fn another_version_that_runs_is_told() {
        let same = version("agent-version", "x".to_owned(), crate::VERSION, "restart");
        assert_eq!(same.status, Status::Ok);
        let other = version("agent-version", "x".to_owned(), "0.0.1", "restart");
        assert!(other.status == Status::Warning && other.found.contains("0.0.1"));
    }

    #[test]
    fn a_program_that_runs_out_of_files_is_a_problem() {
        let judge =
            |open, limit| judge_descriptors("open-files", "x".to_owned(), open, limit).status;
        assert_eq!(judge(10, 1 << 20), Status::Ok);
        assert_eq!(judge(10, 1024), Status::Warning);
        assert_eq!(judge(900, 1024), Status::Problem);
        assert_eq!(judge(10, u64::MAX), Status::Ok);
    }

    #[test]
    fn a_unit_that_is_missing_or_not_enabled_is_told() {
        let home = home();
        let state = || {
            let findings = found(check, &home.patient());
            findings.iter().find(|f| f.check == "systemd-unit").map(|f| (f.status, f.found.clone()))
        };
        assert_eq!(state(), None, "without systemd there is nothing to say");
        home.make_dir("run/systemd/system");
        assert_eq!(state().unwrap(), (Status::Warning, "not installed".to_owned()));
        let unit = home.write("etc/systemd/system/mobula.service", "");
        assert!(state().unwrap().1.contains("not enabled"));
        let wants = home.make_dir("etc/systemd/system/multi-user.target.wants");
        symlink(unit, wants.join("mobula.service")).unwrap();
        assert_eq!(state().unwrap().0, Status::Ok);
    }

    #[test]
    fn an_agent_that_accepts_and_says_nothing_is_a_problem_in_time() {
        let home = home();
        let dir = home.make_dir("run/mobula");
        let _silent = std::os::unix::net::UnixListener::bind(dir.join("mobula.sock")).unwrap();
        let findings = found(check, &home.patient());
        let agent = findings.iter().find(|f| f.check == "agent").unwrap();
        assert!(agent.status == Status::Problem && agent.found.contains("does not answer"));
    }

    #[test]
    fn a_killed_engine_is_told_by_the_socket_it_left() {
        let home = home();
        let dir = home.make_dir("run/mobula");
        drop(std::os::unix::net::UnixListener::bind(dir.join("engine.sock")).unwrap());
        let findings = found(check, &home.patient());
        let engine = findings.iter().find(|f| f.check == "engine").unwrap();
        assert_eq!(engine.status, Status::Warning, "{engine:?}");
    }
}
