//! Namespaces, cgroup, devices and hidden paths of a plugin.

use super::{Input, devices, process, seccomp};
use error::Result;
use host::node::{HostDevice, Kind};
use oci_spec::runtime::{
    Linux, LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxNamespace,
    LinuxNamespaceType, LinuxPids, LinuxResources,
};
use std::path::Path;

/// Character devices that every container may use: null, zero, random, urandom, tty, console.
const ALLOWED: [(i64, i64); 6] = [(1, 3), (1, 5), (1, 8), (1, 9), (5, 0), (5, 1)];

/// fuse(4): denied unless the plugin asks for it.
const FUSE: (i64, i64) = (10, 229);

const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub(super) fn linux(input: &Input<'_>) -> Result<Linux> {
    let owned = |paths: &[&str]| Some(paths.iter().map(|&path| path.to_owned()).collect());
    let filter = if input.confinement.seccomp {
        Some(seccomp::profile(&process::granted(input)?)?)
    } else {
        None
    };
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(input)))
        .set_resources(Some(resources(input)))
        .set_cgroups_path(Some(Path::new("/mobula").join(input.id.as_str())))
        .set_devices(Some(nodes(input)))
        .set_seccomp(filter)
        .set_rootfs_propagation(propagation(input))
        .set_masked_paths(owned(&MASKED))
        .set_readonly_paths(owned(&READ_ONLY));
    Ok(linux)
}

/// Without a shared root nothing that the plugin mounts would appear on the machine. dockerd says
/// `rshared`, which not every runtime knows; the mounts below say themselves what they are.
fn propagation(input: &Input<'_>) -> Option<String> {
    (!input.config.propagated_mount.is_empty()).then(|| "shared".to_owned())
}

fn namespaces(input: &Input<'_>) -> Vec<LinuxNamespace> {
    use LinuxNamespaceType::{Ipc, Mount, Network, Pid, Uts};
    let config = input.config;
    let is_own = |kind: &LinuxNamespaceType| match kind {
        Pid => !config.pid_host,
        Ipc => !config.ipc_host,
        Network => config.network.kind != "host",
        _ => true,
    };
    let make = |kind| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind);
        namespace
    };
    [Mount, Uts, Pid, Ipc, Network].into_iter().filter(is_own).map(make).collect()
}

fn resources(input: &Input<'_>) -> LinuxResources {
    let limit = |bytes: u64| {
        let mut memory = LinuxMemory::default();
        memory.set_limit(Some(i64::try_from(bytes).unwrap_or(i64::MAX)));
        memory
    };
    let count = |count: u32| {
        let mut pids = LinuxPids::default();
        pids.set_limit(count.into());
        pids
    };
    let mut resources = LinuxResources::default();
    resources
        .set_devices(Some(rules(input)))
        .set_memory(input.confinement.memory.map(limit))
        .set_pids(input.confinement.pids.map(count));
    resources
}

fn rules(input: &Input<'_>) -> Vec<LinuxDeviceCgroup> {
    let character = |is_allowed, (major, minor)| {
        let mut rule = rule(is_allowed, Some(LinuxDeviceType::C));
        rule.set_major(Some(major)).set_minor(Some(minor));
        rule
    };
    let mut rules = if input.config.linux.allow_all_devices {
        vec![rule(true, None)]
    } else {
        let mut rules = vec![rule(false, None)];
        rules.extend(ALLOWED.map(|numbers| character(true, numbers)));
        rules.push(character(false, FUSE));
        rules
    };
    for device in input.devices {
        let mut rule = rule(true, Some(kind(device)));
        rule.set_major(Some(device.major.into())).set_minor(Some(device.minor.into()));
        rules.push(rule);
    }
    rules
}

fn rule(is_allowed: bool, kind: Option<LinuxDeviceType>) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(is_allowed).set_typ(kind).set_access(Some("rwm".to_owned()));
    rule
}

/// The nodes to be made: not those that a mount brings along or hides.
fn nodes(input: &Input<'_>) -> Vec<LinuxDevice> {
    let is_wanted = |device: &&HostDevice| !devices::is_hidden(device, &input.settings.mounts);
    input.devices.iter().filter(is_wanted).map(node).collect()
}

fn node(device: &HostDevice) -> LinuxDevice {
    let mut node = LinuxDevice::default();
    node.set_path(device.path.clone())
        .set_typ(kind(device))
        .set_major(device.major.into())
        .set_minor(device.minor.into())
        .set_file_mode(Some(device.mode))
        .set_uid(Some(device.uid))
        .set_gid(Some(device.gid));
    node
}

fn kind(device: &HostDevice) -> LinuxDeviceType {
    match device.kind {
        Kind::Character => LinuxDeviceType::C,
        Kind::Block => LinuxDeviceType::B,
    }
}
