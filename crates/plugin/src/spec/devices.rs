//! The devices of the machine that a plugin's settings name.

use crate::config::{Device, Mount};
use crate::settings::Settings;
use error::{Error, Result};
use host::node::{self, HostDevice};
use std::path::Path;

/// Looks up the devices that `settings` name, directories walked. A path that is empty but may be
/// set stands for no device. `InvalidArgument` or `NotFound` names the entry.
pub fn devices(settings: &Settings) -> Result<Vec<HostDevice>> {
    let mut found = Vec::new();
    for (index, device) in settings.devices.iter().enumerate() {
        let entry = || format!("linux.devices[{index}].path");
        match wanted(device) {
            Some("") => {}
            Some(path) => {
                let resolved = node::resolve(Path::new(path));
                found.extend(resolved.map_err(|error| error.with("entry", entry()))?);
            }
            None => {
                let missing = format!(
                    "the plugin's configuration: {}: is missing; set device {:?} to the path of one",
                    entry(),
                    device.name
                );
                return Err(Error::invalid_argument(missing));
            }
        }
    }
    Ok(found)
}

/// The path of `device`; empty only where its user has yet to choose one.
fn wanted(device: &Device) -> Option<&str> {
    let may_be_empty = device.settable.iter().any(|field| field == "path");
    device.path.as_deref().filter(|path| may_be_empty || !path.is_empty())
}

/// Whether a mount brings the machine's own node along, or hides the place where one would be made.
pub(super) fn is_hidden(device: &HostDevice, mounts: &[Mount]) -> bool {
    // A tmpfs is empty, and a bind without a source is not mounted.
    let is_there = |mount: &Mount| mount.kind != "tmpfs" && mount.source.as_deref() != Some("");
    mounts.iter().any(|mount| is_there(mount) && device.path.starts_with(&mount.destination))
}
