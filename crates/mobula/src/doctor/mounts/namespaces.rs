//! Who lives in which mount namespace, and whether what the agent mounts arrives there.

use super::{Finding, Patient, Tell, at};
use host::{Mount, facts, mountinfo};
use std::collections::BTreeSet;
use std::path::Path;

/// Programs whose containers get volumes, by the kernel's name of their processes.
const ENGINES: [&str; 4] = ["dockerd", "containerd", "podman", "mobula"];

pub(super) fn check(patient: &Patient, table: &[Mount], tell: Tell<'_>) {
    let root = patient.paths.mounts();
    // Until there is a mount, nothing can be missing anywhere.
    let Some(ours) = at(table, &root) else { return };
    let own = facts::mount_namespace(patient.agent_pid().unwrap_or_else(own_pid));
    let mut seen: BTreeSet<String> = own.into_iter().collect();
    let mut is_whole = true;
    for (pid, name) in processes(patient) {
        match facts::mount_namespace(pid) {
            Some(namespace) if seen.contains(&namespace) => {}
            Some(namespace) => {
                seen.insert(namespace);
                is_whole = false;
                tell(judge(&described(pid, &name), mountinfo::table_of(pid), ours, &root));
            }
            // It has ended meanwhile.
            None if host::process::describe(pid).is_none() => {}
            None => {
                is_whole = false;
                tell(hidden(patient, described(pid, &name)));
            }
        }
    }
    if is_whole {
        tell(Finding::ok(
            "mount-namespace",
            "the agent, PID 1 and container engines",
            "all in one mount namespace",
        ));
    }
}

fn hidden(patient: &Patient, who: String) -> Finding {
    if !patient.is_root {
        return Finding::needs_root("mount-namespace", who);
    }
    let found = "its mount namespace cannot be looked at from here (CAP_SYS_PTRACE is missing)";
    Finding::unknown("mount-namespace", who, found)
}

fn own_pid() -> i32 {
    std::process::id().cast_signed()
}

fn described(pid: i32, name: &str) -> String {
    format!("{name} (pid {pid})")
}

/// The host, this program when an agent runs, and the engines.
fn processes(patient: &Patient) -> Vec<(i32, String)> {
    let mut found = vec![(1, "the host".to_owned())];
    if patient.agent.is_some() {
        found.push((own_pid(), "this program".to_owned()));
    }
    // The machine's engines look for plugins below /; in another home there are none.
    let engines = ENGINES.iter().filter(|_| patient.paths.home() == Path::new("/"));
    for name in engines.copied() {
        let pids = facts::processes_called(name).unwrap_or_default();
        // Shims and containers' own processes are none of these.
        let engines =
            pids.into_iter().filter(|pid| name != "mobula" || Some(*pid) == engine(patient));
        found.extend(engines.map(|pid| (pid, name.to_owned())));
    }
    found
}

fn engine(patient: &Patient) -> Option<i32> {
    match facts::listener(&patient.paths.engine_socket()) {
        Ok(facts::Listener::Alive(pid)) => pid,
        _ => None,
    }
}

fn judge(who: &str, table: error::Result<Vec<Mount>>, ours: &Mount, root: &Path) -> Finding {
    let name = "mount-namespace";
    let table = match table {
        Ok(table) => table,
        Err(error) => return Finding::unknown(name, who, error.to_string()),
    };
    let shown = root.display();
    if at(&table, root).is_some_and(|theirs| receives(theirs, ours)) {
        return Finding::ok(
            name,
            who,
            format!("in a mount namespace of its own, which receives what is mounted at {shown}"),
        );
    }
    Finding::problem(
        name,
        who,
        format!(
            "in another mount namespace than the agent, and what is mounted at {shown} does not \
             arrive there"
        ),
    )
    .why(
        "Its containers see empty directories in the place of volumes, and what they write is \
         lost.",
    )
    .mend(format!(
        "start both in the host's namespace (no PrivateMounts=, no unshare; in a container bind \
         {shown} with rshared)"
    ))
}

/// Whether what is mounted below one appears below the other: they are peers, or it is a slave.
fn receives(theirs: &Mount, ours: &Mount) -> bool {
    ours.shared.is_some() && (theirs.shared == ours.shared || theirs.master == ours.shared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    fn mount(shared: Option<u64>, master: Option<u64>) -> Mount {
        let line = b"1 2 8:1 / /run/mobula/mounts rw - ext4 /dev/vda rw";
        Mount { shared, master, ..mountinfo::parse_line(line).unwrap() }
    }

    #[test]
    fn a_namespace_that_does_not_receive_mounts_is_a_problem() {
        let root = Path::new("/run/mobula/mounts");
        let status = |theirs: Vec<Mount>, ours| judge("dockerd", Ok(theirs), &ours, root).status;
        let shared = || mount(Some(7), None);
        assert_eq!(status(vec![shared()], shared()), Status::Ok, "peers");
        assert_eq!(status(vec![mount(None, Some(7))], shared()), Status::Ok, "a slave");
        assert_eq!(status(vec![mount(Some(8), None)], shared()), Status::Problem, "another group");
        assert_eq!(status(vec![mount(None, None)], shared()), Status::Problem, "private");
        assert_eq!(status(vec![], shared()), Status::Problem, "not there at all");
        assert_eq!(status(vec![mount(None, None)], mount(None, None)), Status::Problem);
    }
}
