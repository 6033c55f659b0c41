//! Where volumes are mounted: whether everybody who must see them does, and whether the ledger and the
//! kernel say the same. Reads mount tables only; a volume that hangs is not touched.

mod namespaces;

use super::{Finding, Patient, Tell};
use error::{Error, Kind, Result};
use host::record::{self, Read};
use host::{Mount, Mounts};
use std::path::{Path, PathBuf};
use volume::ledger::{Entry, State};

pub(super) fn check(patient: &Patient, tell: Tell<'_>) {
    let table = match table(patient) {
        Ok(table) => table,
        Err(error) if error.kind() == Kind::PermissionDenied => {
            return tell(Finding::needs_root("mount-root", "the agent's mount table"));
        }
        Err(error) => {
            let looked_at = "the agent's mount table";
            return tell(Finding::unknown("mount-root", looked_at, error.to_string()));
        }
    };
    tell(root(patient, &table));
    namespaces::check(patient, &table, tell);
    match known(patient) {
        Ok(known) => compare(patient, &known, &table, tell),
        Err(error) if error.kind() == Kind::PermissionDenied => {
            tell(Finding::needs_root("ledger", patient.paths.ledger().display().to_string()));
        }
        Err(error) => {
            let shown = patient.paths.ledger().display().to_string();
            tell(Finding::unknown("ledger", shown, error.to_string()));
        }
    }
}

/// What the agent sees; without one, what this program sees.
fn table(patient: &Patient) -> Result<Vec<Mount>> {
    patient.agent_pid().map_or_else(host::mountinfo::table, host::mountinfo::table_of)
}

/// Whether what this program does to mounts, it does to those of the agent.
fn is_at_home(patient: &Patient) -> bool {
    let own = std::process::id().cast_signed();
    patient.agent_pid().is_none_or(|agent| host::process::shares_mounts_with(own, Some(agent)))
}

/// The topmost mount at `target`.
fn at<'a>(table: &'a [Mount], target: &Path) -> Option<&'a Mount> {
    table.iter().rev().find(|mount| mount.target == target)
}

fn root(patient: &Patient, table: &[Mount]) -> Finding {
    let (name, path) = ("mount-root", patient.paths.mounts());
    let shown = path.display().to_string();
    let finding = match at(table, &path) {
        Some(mount) if mount.shared.is_some() => {
            return Finding::ok(
                name,
                shown,
                "a shared mount: containers see what is mounted below it",
            );
        }
        None if patient.agent.is_none() => {
            return Finding::ok(
                name,
                shown,
                "no mount yet; the agent, or the first volume, makes it a shared one",
            );
        }
        None => {
            Finding::problem(name, &shown, "it is no mount, though an agent runs").mend(format!(
                "mobula doctor --fix, or: mount --bind {shown} {shown} && mount --make-shared \
                 {shown}"
            ))
        }
        Some(mount) => {
            Finding::problem(name, &shown, format!("it is {}, not shared", mount.propagation()))
                .mend(format!("mobula doctor --fix, or: mount --make-shared {shown}"))
        }
    };
    let finding = finding.why(
        "A container sees an empty directory in the place of its volume, and what it writes is \
         lost.",
    );
    if !patient.mends || !is_at_home(patient) {
        return finding;
    }
    let shared = host::linux::Linux::default().ensure_shared(&path);
    finding.tried(shared.map(|_| format!("made {shown} a shared mount")))
}

/// A line of the ledger.
pub(super) struct Known {
    service: String,
    /// Its record.
    path: PathBuf,
    /// What it says, or why it cannot be used.
    entry: Result<Entry>,
}

impl Known {
    fn target(&self, root: &Path) -> Option<PathBuf> {
        let entry = self.entry.as_ref().ok()?;
        Some(root.join(&self.service).join(entry.name.as_str()))
    }

    /// Whether it is about this device, or the image it is attached to.
    pub(super) fn uses(&self, device: &Path, backing: &Path) -> bool {
        self.entry.as_ref().is_ok_and(|entry| {
            let volume = backing.parent().and_then(Path::file_name);
            entry.device.as_deref() == Some(device)
                || volume.is_some_and(|name| name == entry.name.as_str())
        })
    }
}

/// The ledgers of every service, as they are on disk; those of an earlier boot are void. Changes
/// nothing.
pub(super) fn known(patient: &Patient) -> Result<Vec<Known>> {
    let boot = host::process::boot_id()?;
    let mut known = Vec::new();
    for service in directories(&patient.paths.ledger())? {
        for path in record::list(&service)? {
            let entry = match record::read::<Entry>(&path)? {
                Read::Fine(entry) if entry.boot != boot => continue,
                Read::Missing => continue,
                Read::Fine(entry) => Ok(entry),
                Read::Unusable(error) => Err(error),
            };
            let service = service.file_name().unwrap_or_default().to_string_lossy().into_owned();
            known.push(Known { service, path, entry });
        }
    }
    Ok(known)
}

fn directories(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => {
            entries.map_err(|source| Error::io(format!("list {}", dir.display()), source))?
        }
    };
    let paths = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(paths.map(|entry| entry.path()).collect())
}

/// The ledger against the mount table of this namespace.
fn compare(patient: &Patient, known: &[Known], table: &[Mount], tell: Tell<'_>) {
    let root = patient.paths.mounts();
    let mut is_well = true;
    let mut complain = |finding: Finding| {
        is_well = false;
        tell(finding);
    };
    for line in known {
        if let Some(finding) = judge(line, &root, table) {
            complain(finding);
        }
    }
    let targets: Vec<PathBuf> = known.iter().filter_map(|line| line.target(&root)).collect();
    for mount in table.iter().filter(|mount| is_volume(&mount.target, &root)) {
        if !targets.contains(&mount.target) {
            complain(orphan(mount));
        }
    }
    if is_well {
        let found = format!("{} volumes in use, each as the kernel says", known.len());
        tell(Finding::ok("ledger", patient.paths.ledger().display().to_string(), found));
    }
}

fn judge(line: &Known, root: &Path, table: &[Mount]) -> Option<Finding> {
    let path = line.path.display().to_string();
    let entry = match &line.entry {
        Ok(entry) => entry,
        Err(error) => {
            return Some(
                Finding::warning("ledger", path, error.to_string())
                    .why(
                        "Who uses the volume is not known; the agent sets the record aside and \
                         finds the mount again.",
                    )
                    .mend("systemctl restart mobula"),
            );
        }
    };
    let target = line.target(root)?;
    if entry.state != State::Mounted || at(table, &target).is_some() {
        return None;
    }
    Some(
        Finding::problem(
            "ledger",
            path,
            format!(
                "volume {} is in use, but nothing is mounted at {}",
                entry.name,
                target.display()
            ),
        )
        .why(
            "Somebody unmounted it behind the agent's back: containers that start now may find it \
             gone.",
        )
        .mend(format!(
            "mobula volume mount {} -i, or with no user left: mobula volume unmount {}",
            entry.name, entry.name
        )),
    )
}

/// `root/SERVICE/VOLUME`.
fn is_volume(target: &Path, root: &Path) -> bool {
    target.strip_prefix(root).is_ok_and(|below| below.components().count() == 2)
}

fn orphan(mount: &Mount) -> Finding {
    let shown = mount.target.display().to_string();
    Finding::warning(
        "orphaned-mount",
        &shown,
        format!("{} is mounted, and the ledger does not know it", mount.source),
    )
    .why(
        "Nobody will unmount it, and its volume cannot be removed. The agent takes it over when \
         it starts.",
    )
    .mend(format!("start the agent; or, when no container uses it: umount {shown}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{about, found, home};
    use super::*;
    use crate::doctor::Status;
    use volume::{VolumeId, VolumeName};

    fn entry(name: &str, boot: &str) -> String {
        let entry = Entry {
            boot: boot.to_owned(),
            name: VolumeName::parse(name).unwrap(),
            id: VolumeId::new(name),
            state: State::Mounted,
            shown: None,
            consumers: Vec::new(),
            kept: false,
            device: None,
            loss: None,
        };
        String::from_utf8(record::encode(&entry).unwrap()).unwrap()
    }

    #[test]
    fn a_ledger_that_says_more_than_the_kernel_is_a_problem() {
        let home = home();
        let boot = host::process::boot_id().unwrap();
        let gone = home.write("run/mobula/ledger/mobula/gone.json", &entry("gone", &boot));
        let old = home.write("run/mobula/ledger/mobula/old.json", &entry("old", "earlier"));
        let torn = home.write("run/mobula/ledger/mobula/torn.json", "{");
        let findings = found(check, &home.patient());
        assert_eq!(about(&findings, "ledger", &gone)[0].status, Status::Problem);
        assert_eq!(about(&findings, "ledger", &torn)[0].status, Status::Warning);
        assert!(about(&findings, "ledger", &old).is_empty(), "a reboot made it void");
        assert!(gone.exists() && old.exists() && torn.exists(), "it only looks");
    }

    fn mount(target: &str, shared: Option<u64>) -> Mount {
        let line = format!("1 2 8:1 / {target} rw - ext4 /dev/loop7 rw");
        Mount { shared, ..host::mountinfo::parse_line(line.as_bytes()).unwrap() }
    }

    #[test]
    fn a_mount_that_the_ledger_does_not_know_is_told() {
        let home = home();
        let root = home.path("run/mobula/mounts");
        let below = |name: &str| mount(&root.join(name).display().to_string(), None);
        let table =
            [below("mobula/a"), below("mobula/a/inner"), mount("/elsewhere/mobula/b", None)];
        let mut findings = Vec::new();
        compare(&home.patient(), &[], &table, &mut |finding| findings.push(finding));
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert_eq!((findings[0].check, findings[0].status), ("orphaned-mount", Status::Warning));
        assert!(findings[0].mend.as_ref().unwrap().contains("umount"));
    }

    #[test]
    fn a_mount_root_that_is_not_shared_is_a_problem() {
        let home = home();
        let path = home.path("run/mobula/mounts").display().to_string();
        let status = |table: &[Mount]| root(&home.patient(), table).status;
        assert_eq!(status(&[]), Status::Ok, "no agent runs");
        assert_eq!(status(&[mount(&path, Some(3))]), Status::Ok);
        assert_eq!(status(&[mount(&path, None)]), Status::Problem);
        assert_eq!(
            status(&[mount(&path, Some(3)), mount(&path, None)]),
            Status::Problem,
            "the topmost counts"
        );
    }
}
