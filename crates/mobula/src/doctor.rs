//! What is wrong with this machine, why it matters, and the command that mends it. Looks only, unless
//! it is told to mend; then it mends what cannot harm anybody.
//!
//! Each group of checks runs in a thread of its own and has so long to answer: a dead server or a
//! hanging file system delays nothing but its own finding. No check touches a mounted volume; tables
//! of the kernel say what is to be known about those.

mod agent;
mod clock;
mod configuration;
mod finding;
mod kernel;
mod loops;
mod mounts;
mod permissions;
mod plugins;
mod sockets;
mod space;
#[cfg(test)]
mod tests_support;
mod tools;
mod volumes;

use crate::config::{self, Config, Examined, Overrides};
use crate::paths::Paths;
use host::facts::Listener;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

pub use finding::{Finding, Report, Status};

/// How long a group of checks has that asks this machine only.
const DEADLINE: Duration = Duration::from_secs(8);

/// What is looked at.
pub struct Patient {
    /// Where things are.
    paths: Paths,
    /// The configuration and what is wrong with it.
    examined: Examined,
    /// Whether to mend what is safe to mend.
    mends: bool,
    /// Whether this process may look at everything.
    is_root: bool,
    /// The agent's process, if one listens.
    agent: Option<Listener>,
}

impl Patient {
    /// This machine, with everything at `paths`.
    pub fn new(paths: Paths, overrides: &Overrides, mends: bool) -> Self {
        let examined = config::examine(&paths, overrides, config::environment());
        let agent = host::facts::listener(&paths.socket()).ok();
        let agent = agent.filter(|agent| *agent != Listener::Nobody);
        Self { paths, examined, mends, is_root: host::facts::is_root(), agent }
    }

    fn config(&self) -> &Config {
        &self.examined.config
    }

    fn agent_pid(&self) -> Option<i32> {
        match self.agent {
            Some(Listener::Alive(pid)) => pid,
            _ => None,
        }
    }
}

/// Takes findings as they are made.
type Tell<'a> = &'a mut dyn FnMut(Finding);

/// A group of checks: its name, what it does, and how long it has.
type Group = (&'static str, fn(&Patient, Tell<'_>), Duration);

/// In the order in which they are told.
const GROUPS: [Group; 12] = [
    ("configuration", configuration::check, DEADLINE),
    ("permissions", permissions::check, permissions::DEADLINE),
    ("kernel", kernel::check, DEADLINE),
    ("tools", tools::check, DEADLINE),
    ("agent", agent::check, DEADLINE),
    ("volumes", volumes::check, volumes::DEADLINE),
    ("mounts", mounts::check, DEADLINE),
    ("sockets", sockets::check, DEADLINE),
    ("loop-devices", loops::check, DEADLINE),
    ("plugins", plugins::check, DEADLINE),
    ("clock", clock::check, DEADLINE),
    ("space", space::check, DEADLINE),
];

/// Runs every check.
pub fn run(patient: Patient) -> Report {
    report(patient, &GROUPS)
}

fn report(patient: Patient, groups: &[Group]) -> Report {
    let patient = Arc::new(patient);
    let began = Instant::now();
    let started: Vec<_> =
        groups.iter().map(|group| (group, start(group.1, Arc::clone(&patient)))).collect();
    let findings = started
        .into_iter()
        .flat_map(|((name, _, within), told)| collect(name, &told, began + *within));
    Report::of(findings.collect())
}

/// Starts a group. One that hangs is left behind; the program's end is its end.
fn start(check: fn(&Patient, Tell<'_>), patient: Arc<Patient>) -> Receiver<Finding> {
    let (teller, told) = mpsc::channel();
    std::thread::spawn(move || {
        check(&patient, &mut |finding| {
            // Nobody listens any more when it is late.
            let _ = teller.send(finding);
        });
    });
    told
}

/// What the group has found until then.
fn collect(name: &'static str, told: &Receiver<Finding>, until: Instant) -> Vec<Finding> {
    let mut findings = Vec::new();
    loop {
        match told.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(finding) => findings.push(finding),
            Err(RecvTimeoutError::Disconnected) => return findings,
            Err(RecvTimeoutError::Timeout) => {
                let late = Finding::unknown(
                    name,
                    format!("the checks of {name}"),
                    "they gave no answer in time: something that they ask hangs",
                );
                findings.push(late.why(
                    "What hangs here hangs for others too: look for processes in state D (ps) and \
                     for dead servers.",
                ));
                return findings;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patient() -> (tempfile::TempDir, Patient) {
        let home = tempfile::tempdir().unwrap();
        let patient = Patient::new(Paths::at(home.path()), &Overrides::default(), false);
        (home, patient)
    }

    #[test]
    fn a_group_that_hangs_delays_nobody_and_is_told() {
        fn fine(_: &Patient, tell: Tell<'_>) {
            tell(Finding::ok("fine", "it", "well"));
        }
        fn hangs(_: &Patient, tell: Tell<'_>) {
            tell(Finding::ok("before", "it", "well"));
            std::thread::sleep(Duration::from_secs(600));
        }
        let (_home, patient) = patient();
        let soon = Duration::from_millis(300);
        let groups: [Group; 2] = [("hanging", hangs, soon), ("other", fine, soon)];
        let report = report(patient, &groups);
        let told: Vec<_> = report.findings.iter().map(|f| (f.check, f.status)).collect();
        let expected = [("before", Status::Ok), ("hanging", Status::Unknown), ("fine", Status::Ok)];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_home_that_nothing_was_done_in_has_no_problem_of_its_own() {
        let (home, patient) = patient();
        let report = run(patient);
        let own: Vec<_> = report
            .findings
            .iter()
            .filter(|finding| finding.status == Status::Problem)
            .filter(|finding| {
                !finding.check.starts_with("kernel") && !finding.check.starts_with("tools")
            })
            .filter(|finding| finding.check != "plugin-directory")
            .collect();
        assert!(own.is_empty(), "{own:#?}");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing was made");
    }

    #[test]
    fn whatever_is_not_well_says_why_and_what_to_do() {
        let (_home, patient) = patient();
        for finding in run(patient).findings {
            let needs = matches!(finding.status, Status::Problem | Status::Warning);
            assert!(!needs || finding.why.is_some(), "{finding:?}");
            assert!(!needs || finding.mend.is_some(), "{finding:?}");
        }
    }
}
