//! The programs that are run, by the package that has them.

use super::{Finding, Patient, Tell};
use host::command::{PROGRAMS, find, version};
use std::collections::BTreeMap;

pub(super) fn check(patient: &Patient, tell: Tell<'_>) {
    let wanted = super::kernel::wanted(patient);
    let mut packages: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (program, package) in PROGRAMS {
        packages.entry(package).or_default().push(program);
    }
    let install = install_command();
    for (package, programs) in packages {
        tell(judge(package, &programs, is_needed(package, &wanted), &install));
    }
}

/// Whether volumes as the configuration makes them cannot do without the package.
fn is_needed(package: &str, wanted: &[String]) -> bool {
    let for_filesystem = match package {
        "e2fsprogs" => "ext4",
        "xfsprogs" => "xfs",
        "btrfs-progs" => "btrfs",
        _ => return !wanted.is_empty(),
    };
    wanted.iter().any(|filesystem| filesystem == for_filesystem)
}

fn judge(package: &str, programs: &[&str], is_needed: bool, install: &str) -> Finding {
    let looked_at = format!("{package} ({})", programs.join(", "));
    let missing: Vec<&str> =
        programs.iter().copied().filter(|program| find(program).is_err()).collect();
    if missing.is_empty() {
        let said = programs.first().map(|program| version(program));
        return match said {
            Some(Ok(version)) => Finding::ok("tools", looked_at, version),
            _ => Finding::unknown("tools", looked_at, "there, but its version cannot be told"),
        };
    }
    let found = format!("not installed: {}", missing.join(", "));
    let status = if is_needed { Finding::problem } else { Finding::warning };
    status("tools", looked_at, found)
        .why(if is_needed {
            "Volumes as they are made by default cannot be made, checked or grown without it."
        } else {
            "Volumes of this file system cannot be made, checked or grown; no service asks for \
             them by default."
        })
        .mend(format!("{install} {package}"))
}

/// How packages are installed here (os-release(5)).
fn install_command() -> String {
    let about = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    install_by(&about).to_owned()
}

fn install_by(about: &str) -> &'static str {
    let ids = about
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")));
    let ids: Vec<&str> =
        ids.flat_map(|ids| ids.trim_matches('"').split_ascii_whitespace()).collect();
    let is = |names: &[&str]| ids.iter().any(|id| names.contains(id));
    if is(&["debian", "ubuntu"]) {
        "apt-get install"
    } else if is(&["fedora", "rhel", "centos"]) {
        "dnf install"
    } else if is(&["alpine"]) {
        "apk add"
    } else if is(&["suse", "opensuse"]) {
        "zypper install"
    } else if is(&["arch"]) {
        "pacman -S"
    } else {
        "install the package"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_missing_program_is_told_with_its_package() {
        let needed = judge("nosuch-progs", &["mkfs.nosuch", "sh"], true, "apt-get install");
        assert_eq!(needed.status, Status::Problem);
        assert_eq!(needed.found, "not installed: mkfs.nosuch");
        assert_eq!(needed.mend.as_deref(), Some("apt-get install nosuch-progs"));
        let other = judge("nosuch-progs", &["mkfs.nosuch"], false, "dnf install");
        assert_eq!(other.status, Status::Warning);
    }

    #[test]
    fn what_is_needed_follows_from_the_file_systems() {
        let wanted = ["xfs".to_owned()];
        assert!(is_needed("xfsprogs", &wanted) && is_needed("util-linux", &wanted));
        assert!(!is_needed("e2fsprogs", &wanted) && !is_needed("util-linux", &[]));
    }

    #[test]
    fn the_distribution_has_its_own_command() {
        assert_eq!(install_by("ID=debian\n"), "apt-get install");
        assert_eq!(install_by("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), "apt-get install");
        assert_eq!(install_by("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"), "dnf install");
        assert_eq!(install_by("ID=alpine\n"), "apk add");
        assert_eq!(install_by(""), "install the package");
    }
}
