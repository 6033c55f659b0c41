//! What a configuration may say: refused is what could never be run, or never safely. dockerd
//! checks nothing before the plugin is started.

use super::{Config, List};
use error::{Error, Result};
use oci_spec::runtime::Capability;
use std::path::{Component, Path};

/// The longest list, in items.
const ITEMS: usize = 1000;

/// The longest socket name, in bytes: `/run/docker/plugins/<name>` is bound in the plugin, and a
/// socket's path has 107 bytes (unix(7)).
const SOCKET: usize = 107 - "/run/docker/plugins/".len();

/// What chown(2) and setuid(2) take for "leave it as it is"; nobody's number.
const NOBODY: u32 = u32::MAX;

pub(super) fn whole(config: &Config) -> Result<()> {
    sizes(config)?;
    socket(&config.interface.socket)?;
    absolute("propagatedMount", &config.propagated_mount)?;
    absolute("workdir", &config.work_dir)?;
    for name in &config.linux.capabilities {
        capability(name)?;
    }
    for (index, mount) in config.mounts.iter().enumerate() {
        let entry = format!("mounts[{index}].destination");
        if mount.destination.is_empty() {
            return Err(refused(&entry, "is missing"));
        }
        absolute(&entry, &mount.destination)?;
    }
    for (name, id) in [("user.uid", config.user.uid), ("user.gid", config.user.gid)] {
        if id == NOBODY {
            return Err(refused(name, &format!("{id} is nobody's number")));
        }
    }
    Ok(())
}

/// The capability that `name` means: with or without `CAP_`, in any case.
pub(crate) fn capability(name: &str) -> Result<Capability> {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).parse().map_err(|_| {
        refused("linux.capabilities", &format!("{name:?} is no capability (capabilities(7))"))
    })
}

pub(crate) fn refused(entry: &str, why: &str) -> Error {
    Error::invalid_argument(format!("the plugin's configuration: {entry}: {why}"))
}

fn sizes(config: &Config) -> Result<()> {
    short("args.value", &config.args.value)?;
    short("entrypoint", &config.entrypoint)?;
    short("env", &config.env)?;
    short("interface.types", &config.interface.types)?;
    short("linux.capabilities", &config.linux.capabilities)?;
    short("linux.devices", &config.linux.devices)?;
    short("mounts", &config.mounts)?;
    for (index, mount) in config.mounts.iter().enumerate() {
        short(&format!("mounts[{index}].options"), &mount.options)?;
    }
    config.rootfs.as_ref().map_or(Ok(()), |rootfs| short("rootfs.diff_ids", &rootfs.diff_ids))
}

fn short<T>(entry: &str, list: &List<T>) -> Result<()> {
    if list.len() > ITEMS {
        return Err(refused(entry, &format!("{} items; at most {ITEMS} may be", list.len())));
    }
    Ok(())
}

fn socket(name: &str) -> Result<()> {
    if name.contains('/') || matches!(name, "." | "..") {
        return Err(refused("interface.socket", &format!("{name:?} is no file name")));
    }
    if name.len() > SOCKET {
        let why = format!("{} bytes; the path of a socket has room for {SOCKET}", name.len());
        return Err(refused("interface.socket", &why));
    }
    Ok(())
}

/// Nothing, or an absolute path below `/` that cannot lead out of the plugin.
fn absolute(entry: &str, path: &str) -> Result<()> {
    let is_up = |part| part == Component::ParentDir;
    if path.is_empty()
        || (Path::new(path).is_absolute() && !Path::new(path).components().any(is_up))
    {
        return Ok(());
    }
    Err(refused(entry, &format!("{path:?} must be an absolute path without \"..\"")))
}
