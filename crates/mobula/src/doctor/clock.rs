//! The clock, as far as one machine can tell: whether somebody keeps it, and whether state was written
//! in what is the future now.

use super::{Finding, Patient, Tell};
use host::facts;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Differences up to this are nobody's concern.
const SLACK: Duration = Duration::from_secs(60);
/// Files that are looked at.
const MOST: usize = 2000;

pub(super) fn check(patient: &Patient, tell: Tell<'_>) {
    tell(kept());
    tell(future(patient, SystemTime::now()));
}

fn kept() -> Finding {
    let (name, looked_at) = ("clock-synchronised", "adjtimex(2)");
    match facts::clock() {
        Ok(clock) if clock.is_synchronised => Finding::ok(
            name,
            looked_at,
            format!("a time service keeps it within {:?}", clock.largest_error),
        ),
        Ok(_) => Finding::warning(name, looked_at, "no time service keeps the clock")
            .why(
                "Signed requests to clouds fail when it is minutes off, and certificates seem \
                 invalid. How far it is off cannot be measured here.",
            )
            .mend("timedatectl set-ntp true, or install chrony"),
        Err(error) => Finding::unknown(name, looked_at, error.to_string()),
    }
}

fn future(patient: &Patient, now: SystemTime) -> Finding {
    let (name, files) = ("clock-future", records(patient));
    let looked_at = format!(
        "times of {} records in {} and {}",
        files.len(),
        patient.paths.state().display(),
        patient.paths.run().display()
    );
    let ahead = |path: &PathBuf| {
        let written = path.symlink_metadata().ok()?.modified().ok()?;
        let ahead = written.duration_since(now).ok()?;
        (ahead > SLACK).then(|| (path.clone(), ahead))
    };
    let furthest = files.iter().filter_map(ahead).max_by_key(|(_, ahead)| *ahead);
    let Some((path, ahead)) = furthest else {
        return Finding::ok(name, looked_at, "none is in the future");
    };
    let found = format!("{} was written {} s in the future", path.display(), ahead.as_secs());
    Finding::warning(name, looked_at, found)
        .why(
            "The clock was ahead then or is behind now: since when volumes are in use is wrong, \
             and signed requests fail.",
        )
        .mend(
            "set the clock right (timedatectl status); the record is written anew with its next \
             change",
        )
}

/// The records of volumes, plugins and of what is mounted; nothing that is within a volume.
fn records(patient: &Patient) -> Vec<PathBuf> {
    let paths = &patient.paths;
    let mut found = Vec::new();
    for dir in [paths.ledger(), paths.volumes()] {
        for service in list(&dir) {
            for entry in list(&service) {
                // A record itself, or the directory of a volume, which has one.
                let inside = entry.join("volume.json");
                found.push(if entry.extension().is_some_and(|end| end == "json") {
                    entry
                } else {
                    inside
                });
            }
        }
    }
    let plugins = list(&paths.state().join("plugins"));
    found.extend(plugins.into_iter().map(|dir| dir.join("plugin.json")));
    found.truncate(MOST);
    found.retain(|path| path.symlink_metadata().is_ok());
    found
}

fn list(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().take(MOST);
    entries.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::home;
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_record_from_the_future_is_told() {
        let home = home();
        for (path, seconds, status) in [
            ("run/mobula/ledger/mobula/a.json", 30, Status::Ok),
            ("run/mobula/ledger/mobula/b.json", 7200, Status::Warning),
            ("var/lib/mobula/volumes/mobula/c/volume.json", 9000, Status::Warning),
            ("var/lib/mobula/plugins/0123/plugin.json", 10_000, Status::Warning),
        ] {
            let path = home.write(path, "{}");
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            let time = SystemTime::now() + Duration::from_secs(seconds);
            file.set_modified(time).unwrap();
            let finding = future(&home.patient(), SystemTime::now());
            assert_eq!(finding.status, status, "{finding:?}");
            assert!(status == Status::Ok || finding.found.contains(&path.display().to_string()));
        }
    }
}
