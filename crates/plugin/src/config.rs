//! A plugin's `config.json`, decoded as Go's encoding/json does it
//! (keys in any case, `null` anywhere, unknown keys ignored) and encoded in Docker's exact case.
//!
//! What a configuration says, and no more: what its user says is in [`crate::settings`], what
//! becomes of both in [`crate::spec`].

mod check;
mod decode;
mod encode;
mod interface;
mod list;
#[cfg(test)]
mod tests;

pub(crate) use check::{capability, refused};
pub use interface::InterfaceType;
pub use list::List;

use error::{Error, Result};
use serde::Serialize;

/// The media type of the configuration in a registry.
pub const MEDIA_TYPE: &str = "application/vnd.docker.plugin.v1+json";

/// The protocol scheme of Docker's calls, which an empty one stands for, too.
const HTTP: &str = "moby.plugins.http/v1";

/// The largest configuration that is read, in bytes.
pub const LIMIT: usize = 1 << 20;

/// The whole configuration. Field names, case and order when serialised are Docker's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// Arguments after the entry point.
    pub args: Args,
    /// For people; shown in listings.
    pub description: String,
    /// The daemon that made the plugin; means nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub docker_version: String,
    /// Where to read more.
    pub documentation: String,
    /// The program and its first arguments; empty: the first of `args` is the program.
    pub entrypoint: List<String>,
    /// Environment variables.
    pub env: List<Env>,
    /// What it speaks, and where.
    pub interface: Interface,
    /// Whether it shares the machine's IPC namespace.
    pub ipc_host: bool,
    /// Capabilities and devices.
    pub linux: Linux,
    /// Mounts besides the standard ones, in the order in which they are made.
    pub mounts: List<Mount>,
    /// Its network.
    pub network: Network,
    /// Whether it shares the machine's PID namespace.
    pub pid_host: bool,
    /// The directory inside whose mounts appear on the host; empty: none.
    pub propagated_mount: String,
    /// Who its program runs as.
    pub user: User,
    /// Its working directory; empty: `/`.
    pub work_dir: String,
    /// Its layers; filled in when it is made.
    #[serde(rename = "rootfs", skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<Rootfs>,
}

/// Arguments after the entry point: one setting for all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Args {
    /// For people.
    pub description: String,
    /// What `set` calls them.
    pub name: String,
    /// `value`, if the user may set them.
    pub settable: List<String>,
    /// The arguments.
    pub value: List<String>,
}

/// An environment variable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Env {
    /// For people.
    pub description: String,
    /// The variable's name.
    pub name: String,
    /// `value`, if the user may set it.
    pub settable: List<String>,
    /// Its value; `None`: not in the environment until it is set.
    pub value: Option<String>,
}

/// What the plugin speaks, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Interface {
    /// [`HTTP`] or empty: the JSON calls; anything else is not for us to speak.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol_scheme: String,
    /// File name of its socket below `/run/docker/plugins`.
    pub socket: String,
    /// What it implements.
    pub types: List<InterfaceType>,
}

/// Capabilities and devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Linux {
    /// Whether it may use every device there is.
    pub allow_all_devices: bool,
    /// Capabilities beyond Docker's usual ones.
    pub capabilities: List<String>,
    /// Devices that it gets.
    pub devices: List<Device>,
}

/// A device of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Device {
    /// For people.
    pub description: String,
    /// What `set` calls it.
    pub name: String,
    /// Where it is, here and there; a directory stands for all devices below it.
    pub path: Option<String>,
    /// `path`, if the user may set it.
    pub settable: List<String>,
}

/// A mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mount {
    /// For people.
    pub description: String,
    /// Where it is in the plugin.
    pub destination: String,
    /// What `set` calls it.
    pub name: String,
    /// Mount options.
    pub options: List<String>,
    /// `source`, if the user may set it.
    pub settable: List<String>,
    /// What is mounted: for a bind mount a path of the machine.
    pub source: Option<String>,
    /// Type of the file system, or `bind`.
    #[serde(rename = "Type")]
    pub kind: String,
}

/// The plugin's network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Network {
    /// `host`: the machine's; anything else: only a loopback device.
    #[serde(rename = "Type")]
    pub kind: String,
}

/// Who a plugin's program runs as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct User {
    /// Group ID.
    #[serde(rename = "GID", skip_serializing_if = "is_zero")]
    pub gid: u32,
    /// User ID.
    #[serde(rename = "UID", skip_serializing_if = "is_zero")]
    pub uid: u32,
}

/// The layers of a plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rootfs {
    /// Digests of the layers; dockerd writes those of the compressed blobs.
    pub diff_ids: List<String>,
    /// `layers`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
}

impl Interface {
    /// Whether it takes Docker's calls, as opposed to a protocol that only others know.
    #[must_use]
    pub fn takes_calls(&self) -> bool {
        matches!(self.protocol_scheme.as_str(), "" | HTTP)
    }
}

impl Mount {
    /// Whether it shows files of the machine: by its type, or by an option whatever the type.
    #[must_use]
    pub fn is_bind(&self) -> bool {
        let mut options = self.options.iter();
        self.kind == "bind" || options.any(|option| option == "bind" || option == "rbind")
    }
}

impl Config {
    /// Reads a `config.json`; `InvalidArgument` names the entry and what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > LIMIT {
            return Err(Error::invalid_argument(format!(
                "the plugin's configuration has {} bytes; at most {LIMIT} are read",
                bytes.len()
            )));
        }
        decode::document(bytes)
    }

    /// The bytes that dockerd would store: Go's field order and escaping, a newline at the end.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode::document(self)
    }

    /// Refuses what could never be run, or never safely: called before a plugin is installed.
    /// `InvalidArgument` names the entry. What a plugin lacks only to be started (a socket, a
    /// program) is refused by [`crate::spec::build`]: dockerd installs such plugins too.
    pub fn check(&self) -> Result<()> {
        check::whole(self)
    }

    /// Whether `interface.types` has `docker.<capability>/…`, in any case.
    #[must_use]
    pub fn has_capability(&self, capability: &str) -> bool {
        self.interface.types.iter().any(|known| known.is(capability))
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
