//! The system call filter: what Docker's containers get (moby/profiles, `seccomp/default.json`),
//! by the capabilities that a plugin has. What is not allowed fails with EPERM; the calls for the
//! kernel's key rings, which every container of the machine would share, with ENOSYS: mount.ceph
//! and rbd then pass their keys in another way, but give up at EPERM.

mod always;

use error::{Error, Result};
use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg,
    LinuxSeccompArgBuilder, LinuxSeccompOperator, LinuxSyscall, Spec,
};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The flags of clone(2) that make namespaces.
const NAMESPACES: u64 = 0x7e02_0000;

/// The calls for key rings.
const KEYS: &str = "add_key keyctl request_key";

/// What each capability allows.
const BY_CAPABILITY: [(Capability, &str); 14] = [
    (Capability::DacReadSearch, "open_by_handle_at"),
    (
        Capability::SysAdmin,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie \
         lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount \
         open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog \
         umount umount2 unshare",
    ),
    (Capability::SysBoot, "reboot"),
    (Capability::SysChroot, "chroot"),
    (Capability::SysModule, "delete_module init_module finit_module"),
    (Capability::SysPacct, "acct"),
    (Capability::SysPtrace, "kcmp pidfd_getfd process_madvise"),
    (Capability::SysRawio, "iopl ioperm"),
    (Capability::SysTime, "settimeofday stime clock_settime clock_settime64"),
    (Capability::SysTtyConfig, "vhangup"),
    (Capability::SysNice, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    (Capability::Syslog, "syslog"),
    (Capability::Bpf, "bpf"),
    (Capability::Perfmon, "perf_event_open"),
];

#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: [Arch; 3] = [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32];
#[cfg(target_arch = "x86_64")]
const BY_ARCHITECTURE: &str = "arch_prctl modify_ldt";

#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: [Arch; 2] = [Arch::ScmpArchAarch64, Arch::ScmpArchArm];
#[cfg(target_arch = "aarch64")]
const BY_ARCHITECTURE: &str =
    "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls";

/// The values of personality(2) that do no harm: Linux, `UNAME26`, 32 bits, both, and the query.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The filter for a plugin that has these capabilities.
pub(super) fn profile(granted: &Capabilities) -> Result<LinuxSeccomp> {
    use LinuxSeccompOperator::{ScmpCmpEq, ScmpCmpGt, ScmpCmpLt};
    let mut calls = vec![allowed(always::ALWAYS), allowed(BY_ARCHITECTURE)];
    let by_capability = BY_CAPABILITY.iter().filter(|(needed, _)| granted.contains(needed));
    calls.extend(by_capability.map(|(_, names)| allowed(names)));
    // All address families but AF_ALG (38) and AF_VSOCK (40), which lead out of the container.
    for (operator, value) in [(ScmpCmpLt, 38), (ScmpCmpEq, 39), (ScmpCmpGt, 40)] {
        calls.push(allowed_if("socket", operator, value, None)?);
    }
    for value in PERSONALITIES {
        calls.push(allowed_if("personality", ScmpCmpEq, value, None)?);
    }
    if !granted.contains(&Capability::SysAdmin) {
        let masked = LinuxSeccompOperator::ScmpCmpMaskedEq;
        calls.push(allowed_if("clone", masked, NAMESPACES, Some(0))?);
        // Its flags are in memory, out of a filter's reach; C libraries then fall back to clone.
        calls.push(unknown("clone3"));
    }
    calls.push(unknown(KEYS));
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_default_errno_ret(Some(EPERM))
        .set_architectures(Some(ARCHITECTURES.to_vec()))
        .set_syscalls(Some(calls));
    Ok(profile)
}

/// Makes a spec mean to libcontainer 0.7 what it means to runc.
///
/// Of `SCMP_CMP_MASKED_EQ` runc takes `value` for the mask and `valueTwo` for what must be left,
/// libcontainer the other way round: it would allow clone(2) with any flags.
pub fn for_libcontainer(spec: &mut Spec) -> Result<()> {
    let filter = spec.linux_mut().as_mut().and_then(|linux| linux.seccomp_mut().as_mut());
    let Some(filter) = filter else { return Ok(()) };
    let mut calls = filter.syscalls().clone().unwrap_or_default();
    for call in &mut calls {
        if let Some(args) = call.args().clone() {
            call.set_args(Some(args.into_iter().map(swap).collect::<Result<_>>()?));
        }
    }
    filter.set_syscalls(Some(calls));
    Ok(())
}

fn swap(arg: LinuxSeccompArg) -> Result<LinuxSeccompArg> {
    if arg.op() != LinuxSeccompOperator::ScmpCmpMaskedEq {
        return Ok(arg);
    }
    let rest = arg.value_two().unwrap_or(0);
    compare(arg.index(), arg.op(), rest, Some(arg.value()))
}

fn compare(
    index: usize,
    operator: LinuxSeccompOperator,
    value: u64,
    value_two: Option<u64>,
) -> Result<LinuxSeccompArg> {
    let mut arg = LinuxSeccompArgBuilder::default().index(index).op(operator).value(value);
    if let Some(two) = value_two {
        arg = arg.value_two(two);
    }
    arg.build().map_err(|source| Error::internal("compare an argument").because(source))
}

fn allowed(names: &str) -> LinuxSyscall {
    call(names, LinuxSeccompAction::ScmpActAllow)
}

/// As if this kernel had no such calls.
fn unknown(names: &str) -> LinuxSyscall {
    let mut call = call(names, LinuxSeccompAction::ScmpActErrno);
    call.set_errno_ret(Some(ENOSYS));
    call
}

/// Allowed if the first argument is so.
fn allowed_if(
    name: &str,
    operator: LinuxSeccompOperator,
    value: u64,
    value_two: Option<u64>,
) -> Result<LinuxSyscall> {
    let mut call = allowed(name);
    call.set_args(Some(vec![compare(0, operator, value, value_two)?]));
    Ok(call)
}

fn call(names: &str, action: LinuxSeccompAction) -> LinuxSyscall {
    let mut call = LinuxSyscall::default();
    call.set_names(names.split_whitespace().map(str::to_owned).collect()).set_action(action);
    call
}
