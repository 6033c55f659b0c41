//! Free space and names where state is kept.

use super::{Finding, Patient, Tell};
use host::facts::{self, Space};
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;

pub(super) fn check(patient: &Patient, tell: Tell<'_>) {
    let state = patient.paths.state();
    tell(of(
        "space-state",
        &state,
        "Records of volumes cannot be written, and images that grow can't: what their users write is lost when it should reach the disk.",
        1024 * MIB,
        64 * MIB,
    ));
    let services = patient.config().services.values();
    let own = services.filter_map(|service| {
        let path = service.options.iter().find(|(name, _)| name.eq_ignore_ascii_case("path"));
        path.map(|(_, path)| PathBuf::from(path)).filter(|path| path.is_absolute())
    });
    for path in own {
        tell(of(
            "space-volumes",
            &path,
            "Images that grow can't: what their users write is lost when it should reach the disk.",
            1024 * MIB,
            64 * MIB,
        ));
    }
    let run = patient.paths.run();
    tell(of(
        "space-run",
        &run,
        "Who has what mounted cannot be written down, so nothing can be mounted.",
        8 * MIB,
        MIB,
    ));
}

fn of(name: &'static str, path: &Path, why: &str, little: u64, too_little: u64) -> Finding {
    let shown = path.display().to_string();
    match facts::space(&existing(path)) {
        Ok(space) => judge(name, &shown, space, (little, too_little), why),
        Err(error) => Finding::unknown(name, shown, error.to_string()),
    }
}

/// The directory, or the nearest one above it that is there already.
fn existing(path: &Path) -> PathBuf {
    let found = path.ancestors().find(|dir| dir.symlink_metadata().is_ok());
    found.unwrap_or(Path::new("/")).to_owned()
}

fn judge(
    name: &'static str,
    shown: &str,
    space: Space,
    (little, too_little): (u64, u64),
    why: &str,
) -> Finding {
    let mut found = format!("{} MiB of {} MiB are free", space.free / MIB, space.bytes / MIB);
    if space.files > 0 {
        found.push_str(&format!(", {} of {} inodes", space.free_files, space.files));
    }
    let mend = format!("make room: du -xh --max-depth=2 {shown} | sort -h; mobula plugin gc");
    let few = |at_least: u64| space.files > 0 && space.free_files < at_least;
    if space.free < too_little || few(64) {
        return Finding::problem(name, shown, found).why(why).mend(mend);
    }
    if space.free < little && space.free < space.bytes / 20 || few(1024) {
        return Finding::warning(name, shown, found).why(why).mend(mend);
    }
    Finding::ok(name, shown, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn little_space_is_a_warning_and_too_little_a_problem() {
        let status = |free: u64, free_files: u64, files: u64| {
            let space = Space { bytes: 100_000 * MIB, free, files, free_files };
            judge("space-state", "/x", space, (1024 * MIB, 64 * MIB), "why").status
        };
        assert_eq!(status(50_000 * MIB, 5000, 10_000), Status::Ok);
        assert_eq!(status(900 * MIB, 5000, 10_000), Status::Warning);
        assert_eq!(status(10 * MIB, 5000, 10_000), Status::Problem);
        assert_eq!(status(50_000 * MIB, 100, 10_000), Status::Warning);
        assert_eq!(status(50_000 * MIB, 0, 10_000), Status::Problem);
        assert_eq!(status(50_000 * MIB, 0, 0), Status::Ok, "btrfs counts no inodes");
    }

    #[test]
    fn a_directory_that_is_not_there_yet_has_the_space_of_the_one_above() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(existing(&dir.path().join("a/b/c")), dir.path());
    }
}
