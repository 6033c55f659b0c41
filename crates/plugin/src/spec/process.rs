//! The program of a plugin: arguments, environment, user and capabilities.

use super::Input;
use crate::config::{User, capability, refused};
use error::Result;
use oci_spec::runtime::{self, Capabilities, Capability, LinuxCapabilities, Process};
use std::path::Path;

/// What Docker's containers have.
const USUAL: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

/// What is read of a passwd(5) file, in bytes.
const PASSWD: u64 = 1 << 20;

const SEARCH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn process(input: &Input<'_>) -> Result<Process> {
    let user = user(input);
    let cwd = Some(input.config.work_dir.as_str()).filter(|path| !path.is_empty()).unwrap_or("/");
    let mut process = Process::default();
    process
        .set_terminal(Some(false))
        .set_user(identity(user))
        .set_args(Some(arguments(input)?))
        .set_env(Some(environment(input, user)))
        .set_cwd(cwd.into())
        .set_capabilities(Some(capabilities(input, user)?))
        .set_rlimits(None)
        // Only ever true or missing: libcontainer takes false for "the filter comes after the
        // capabilities are gone", which the kernel then refuses.
        .set_no_new_privileges(input.confinement.no_new_privileges.then_some(true))
        .set_oom_score_adj(None);
    Ok(process)
}

/// Docker's usual capabilities and those that the configuration asks for.
pub(super) fn granted(input: &Input<'_>) -> Result<Capabilities> {
    Ok(USUAL.into_iter().chain(asked(input)?).collect())
}

fn asked(input: &Input<'_>) -> Result<Capabilities> {
    input.config.linux.capabilities.iter().map(|name| capability(name)).collect()
}

fn user(input: &Input<'_>) -> User {
    if input.confinement.user { input.config.user } else { User::default() }
}

fn identity(user: User) -> runtime::User {
    let mut identity = runtime::User::default();
    identity.set_uid(user.uid).set_gid(user.gid).set_additional_gids(None);
    identity
}

fn arguments(input: &Input<'_>) -> Result<Vec<String>> {
    let all: Vec<_> = input.config.entrypoint.iter().chain(&input.settings.args).cloned().collect();
    if all.first().is_none_or(String::is_empty) {
        return Err(refused("entrypoint", "is missing, and no argument stands for it"));
    }
    Ok(all)
}

/// A home directory is always among it: a runtime would otherwise look for one with the C library,
/// which may load code of the plugin's to read its users.
fn environment(input: &Input<'_>, user: User) -> Vec<String> {
    let given = &input.settings.env;
    let has = |name: &str| given.iter().any(|entry| entry.starts_with(name));
    let mut all = Vec::new();
    if !has("PATH=") {
        all.push(SEARCH.to_owned());
    }
    all.extend_from_slice(given);
    if !has("HOME=") {
        all.push(format!("HOME={}", home(input.passwd, user.uid)));
    }
    all
}

/// What `/etc/passwd` of a plugin says, for [`Input::passwd`]; empty when there is none.
pub fn passwd(rootfs: &Path) -> Result<String> {
    let bytes = host::node::read_inside(rootfs, Path::new("/etc/passwd"), PASSWD)?;
    Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
}

/// The home directory of `uid` in a passwd(5) file, `/` if it has none.
fn home(passwd: &str, uid: u32) -> &str {
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut homes = fields.filter_map(|fields| match fields[..] {
        [_, _, id, _, _, home, ..] if id.parse() == Ok(uid) => Some(home),
        _ => None,
    });
    homes.next().filter(|home| home.starts_with('/') && !home.contains('\0')).unwrap_or("/")
}

/// All sets but the ambient one are the same, as Docker has it for plugins. A program that does not
/// run as root would lose everything when it is executed: what its author asks for is kept.
fn capabilities(input: &Input<'_>, user: User) -> Result<LinuxCapabilities> {
    let granted = granted(input)?;
    let ambient = if user.uid == 0 { Capabilities::new() } else { asked(input)? };
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(granted.clone()))
        .set_permitted(Some(granted.clone()))
        .set_inheritable(Some(granted.clone()))
        .set_effective(Some(granted))
        .set_ambient(Some(ambient));
    Ok(sets)
}
