//! A plugin's OCI runtime spec; pure, but for [`devices`] and
//! [`passwd`], which look at the machine.
//!
//! As dockerd makes it, with these differences: binds receive mounts and send none (`rslave`)
//! except the propagated one, what a mount of the configuration hides is not mounted at all, the
//! cgroup has a place of ours, and [`Confinement`].

mod devices;
mod linux;
mod mounts;
mod process;
#[cfg(test)]
mod runs;
mod seccomp;
#[cfg(test)]
mod tests;

pub use devices::devices;
pub use process::passwd;
pub use seccomp::for_libcontainer;

use crate::config::Config;
use crate::id::PluginId;
use crate::settings::Settings;
use error::{Error, Result};
use host::node::HostDevice;
use oci_spec::runtime::{Root, Spec};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Where a plugin has its sockets.
const SOCKETS: &str = "/run/docker/plugins";

/// How far a plugin is confined beyond what Docker does; each may be given up per plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Confinement {
    /// Docker's default system call filter.
    pub seccomp: bool,
    /// No gaining of privileges by set-user-ID programs (no_new_privs).
    pub no_new_privileges: bool,
    /// Run as `config.user` says (dockerd ignores it).
    pub user: bool,
    /// Bytes of memory for the whole plugin; `None`: no limit.
    pub memory: Option<u64>,
    /// Processes and threads of the whole plugin; `None`: no limit.
    pub pids: Option<u32>,
}

impl Default for Confinement {
    fn default() -> Self {
        Self { seccomp: true, no_new_privileges: true, user: true, memory: None, pids: Some(4096) }
    }
}

/// What a spec is made of.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Whose.
    pub id: &'a PluginId,
    /// What its author says.
    pub config: &'a Config,
    /// What its user says, secrets resolved.
    pub settings: &'a Settings,
    /// The devices that the settings name, from [`devices`].
    pub devices: &'a [HostDevice],
    /// Its root file system (absolute).
    pub rootfs: &'a Path,
    /// What its `/etc/passwd` says, from [`passwd`], for the home directory.
    pub passwd: &'a str,
    /// Becomes `/run/docker/plugins` inside.
    pub sockets: &'a Path,
    /// Becomes `config.propagatedMount` inside.
    pub propagated: &'a Path,
    /// `/etc/hosts`, `/etc/resolv.conf` of the machine, bound in when the plugin has a network.
    pub hosts: &'a [std::path::PathBuf],
    /// How far to confine it.
    pub confinement: &'a Confinement,
}

/// The spec. `InvalidArgument` names the entry of the configuration that makes no sense.
pub fn build(input: &Input<'_>) -> Result<Spec> {
    if input.config.interface.socket.is_empty() {
        let none = "the plugin's configuration: interface.socket: is missing; nothing could be \
                    asked of this plugin";
        return Err(Error::invalid_argument(none));
    }
    let mut root = Root::default();
    root.set_path(input.rootfs.to_owned()).set_readonly(Some(false));
    let mut spec = Spec::default();
    spec.set_version("1.0.2".to_owned())
        .set_root(Some(root))
        .set_mounts(Some(mounts::all(input)?))
        .set_process(Some(process::process(input)?))
        .set_hostname(None)
        .set_annotations(None)
        .set_linux(Some(linux::linux(input)?));
    Ok(spec)
}
