//! What the kernel must have, and what else it could have.

use super::{Finding, Patient, Tell};
use host::facts::{self, Version};
use std::path::Path;

/// mount_setattr(2), without which volumes cannot appear complete.
const NEEDED: Version = Version(5, 12);

/// The file systems that volumes can have.
const FILESYSTEMS: [&str; 3] = ["ext4", "xfs", "btrfs"];

pub(super) fn check(patient: &Patient, tell: Tell<'_>) {
    tell(version());
    tell(openat2());
    tell(statmount());
    tell(loop_devices(patient));
    let wanted = wanted(patient);
    for name in FILESYSTEMS {
        tell(filesystem(name, wanted.iter().any(|one| one == name)));
    }
    tell(overlay());
    tell(fuse());
    tell(control_groups());
}

/// The file systems that volumes get when nothing is said.
pub(super) fn wanted(patient: &Patient) -> Vec<String> {
    let services = patient.config().services.values();
    let chosen = services.filter_map(|service| {
        let (spec, _, defaults) = service.parsed().ok()?;
        let usual = spec.volume_options().find(|option| option.name == "fsType")?.default;
        Some(
            defaults
                .fs_type
                .map_or_else(|| usual.unwrap_or_default().to_owned(), |fs| fs.to_string()),
        )
    });
    chosen.collect()
}

fn version() -> Finding {
    let (name, release) = ("kernel-version", facts::kernel_release());
    match facts::kernel_version() {
        Ok(version) if version >= NEEDED => Finding::ok(name, "uname -r", release),
        Ok(_) => Finding::problem(name, "uname -r", format!("{release}; 5.12 or newer is needed"))
            .why(
                "Without mount_setattr(2) a volume cannot be mounted complete, and is not mounted \
                 at all.",
            )
            .mend("install a newer kernel and start it"),
        Err(error) => Finding::unknown(name, "uname -r", error.to_string()),
    }
}

fn openat2() -> Finding {
    let (name, looked_at) = ("kernel-openat2", "openat2(2)");
    if facts::has_openat2() {
        return Finding::ok(name, looked_at, "there");
    }
    Finding::problem(name, looked_at, "not there, or forbidden by a seccomp filter")
        .why(
            "Sub-directories of volumes and layers of plugins are opened by it, so that no link \
             leads out.",
        )
        .mend("start mobula on the host or in a container with --security-opt seccomp=unconfined")
}

fn statmount() -> Finding {
    let found = if facts::has_statmount() {
        "there"
    } else {
        "not there (Linux 6.8); whole mount tables are read instead, which is as good"
    };
    Finding::ok("kernel-statmount", "statmount(2)", found)
}

fn loop_devices(patient: &Patient) -> Finding {
    let (name, looked_at) = ("kernel-loop", "/dev/loop-control");
    if Path::new(looked_at).exists() {
        return Finding::ok(name, looked_at, "there");
    }
    let is_used = patient.config().services.values().any(|service| service.driver == "loop");
    let status = if is_used { Finding::problem } else { Finding::warning };
    status(name, looked_at.to_owned(), "not there".to_owned())
        .why("Driver loop needs a loop device for each volume that is mounted.")
        .mend("modprobe loop")
}

fn filesystem(name: &str, is_wanted: bool) -> Finding {
    let (check, looked_at) = ("kernel-filesystem", format!("file system {name}"));
    match facts::filesystem(name) {
        Some(true) => Finding::ok(check, looked_at, "there"),
        Some(false) => {
            Finding::ok(check, looked_at, "a module that the kernel loads when it is needed")
        }
        None if is_wanted => Finding::problem(check, looked_at, "the kernel does not have it")
            .why(
                "It is what new volumes get when their creator says nothing else; none can be \
                 mounted.",
            )
            .mend(format!("install the kernel's modules (modprobe {name}), or set another fsType")),
        None => {
            Finding::ok(check, looked_at, "the kernel does not have it, and no service asks for it")
        }
    }
}

fn overlay() -> Finding {
    let (name, looked_at) = ("kernel-overlay", "file system overlay");
    if facts::filesystem("overlay").is_some() {
        return Finding::ok(name, looked_at, "there");
    }
    Finding::warning(name, looked_at, "the kernel does not have it")
        .why("The engine lays the layers of managed plugins over each other with it.")
        .mend("modprobe overlay")
}

fn fuse() -> Finding {
    let (name, looked_at) = ("kernel-fuse", "/dev/fuse");
    if Path::new(looked_at).exists() {
        return Finding::ok(name, looked_at, "there");
    }
    if facts::filesystem("fuse").is_some() {
        return Finding::ok(name, looked_at, "not there yet; the kernel has the module");
    }
    Finding::warning(name, looked_at, "not there, and the kernel has no FUSE")
        .why("Plugins whose volumes are FUSE file systems (sshfs, rclone, s3fs) cannot mount any.")
        .mend("modprobe fuse")
}

fn control_groups() -> Finding {
    let (name, looked_at) = ("kernel-cgroup", "/sys/fs/cgroup");
    let table = host::mountinfo::table().unwrap_or_default();
    let has = |fstype: &str| table.iter().any(|mount| mount.fstype == fstype);
    match (has("cgroup2"), has("cgroup")) {
        (true, false) => Finding::ok(name, looked_at, "version 2"),
        (false, true) => Finding::ok(name, looked_at, "version 1"),
        (true, true) => Finding::ok(name, looked_at, "versions 1 and 2 beside each other"),
        (false, false) => Finding::warning(name, looked_at, "no control groups are mounted")
            .why(
                "The engine cannot limit the memory and processes of plugins, nor find all of \
                 them.",
            )
            .mend("mount -t cgroup2 none /sys/fs/cgroup"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::home;
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_file_system_that_a_service_wants_and_the_kernel_lacks_is_a_problem() {
        assert_eq!(filesystem("no-such-fs", true).status, Status::Problem);
        assert_eq!(filesystem("no-such-fs", false).status, Status::Ok);
        assert_eq!(filesystem("proc", true).status, Status::Ok);
    }

    #[test]
    fn what_services_want_follows_from_their_defaults() {
        let home = home();
        assert_eq!(wanted(&home.patient()), ["ext4"]);
        home.configure(
            "services: {a: {driver: loop, volume: {fsType: xfs}}, b: {driver: local}, c: {driver: \
             loop}}\n",
        );
        assert_eq!(wanted(&home.patient()), ["xfs", "ext4"]);
    }
}
