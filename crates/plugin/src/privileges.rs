//! What a plugin asks for beyond a plain container: seven kinds, in
//! Docker's order and words.

#[cfg(test)]
mod tests;

use crate::config::{Config, Mount};
use error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One privilege, as in Docker's API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privilege {
    /// `network`, `mount`, `capabilities` …
    #[serde(rename = "Name", alias = "name", default)]
    pub name: String,
    /// For people.
    #[serde(rename = "Description", alias = "description", default)]
    pub description: String,
    /// What exactly.
    #[serde(rename = "Value", alias = "value", default)]
    pub value: Option<Vec<String>>,
}

impl Privilege {
    fn new(name: &str, description: &str, value: Vec<String>) -> Self {
        Self { name: name.to_owned(), description: description.to_owned(), value: Some(value) }
    }

    fn values(&self) -> &[String] {
        self.value.as_deref().unwrap_or_default()
    }

    /// What makes two privileges the same: the description does not.
    fn key(&self) -> (&str, Vec<&str>) {
        let mut values: Vec<_> = self.values().iter().map(String::as_str).collect();
        values.sort_unstable();
        (&self.name, values)
    }
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: [{}]", self.name, self.values().join(" "))
    }
}

/// What `config` asks for.
#[must_use]
pub fn required(config: &Config) -> Vec<Privilege> {
    let mut asked = Vec::new();
    let mut ask = |name, description, value| asked.push(Privilege::new(name, description, value));
    let yes = || vec!["true".to_owned()];
    if !matches!(config.network.kind.as_str(), "" | "null" | "bridge") {
        let kind = vec![config.network.kind.clone()];
        ask("network", "permissions to access a network", kind);
    }
    if config.ipc_host {
        ask("host ipc namespace", "allow access to host ipc namespace", yes());
    }
    if config.pid_host {
        ask("host pid namespace", "allow access to host pid namespace", yes());
    }
    for (mount, source) in
        config.mounts.iter().filter_map(|mount| Some((mount, mount.source.as_ref()?)))
    {
        ask("mount", "host path to mount", vec![what_is_mounted(mount, source)]);
    }
    for path in config.linux.devices.iter().filter_map(|device| device.path.clone()) {
        ask("device", "host device to access", vec![path]);
    }
    if config.linux.allow_all_devices {
        ask("allow-all-devices", "allow 'rwm' access to all devices", yes());
    }
    if !config.linux.capabilities.is_empty() {
        let all = config.linux.capabilities.to_vec();
        ask("capabilities", "list of additional capabilities required", all);
    }
    asked
}

/// The source of a bind or a tmpfs, as Docker tells it; of anything else the type and the options
/// too, since they decide what of the machine is seen: `overlay (overlay lowerdir=/,…)`.
fn what_is_mounted(mount: &Mount, source: &str) -> String {
    let is_bind = |option: &String| option == "bind" || option == "rbind";
    if matches!(mount.kind.as_str(), "" | "bind" | "tmpfs") || mount.options.iter().any(is_bind) {
        return source.to_owned();
    }
    format!("{source} ({} {})", mount.kind, mount.options.join(","))
}

/// `PermissionDenied` ("incorrect privileges" and what is missing or too much) unless `granted` is
/// `required` as a multiset of (name, multiset of values).
pub fn check(required: &[Privilege], granted: &[Privilege]) -> Result<()> {
    let missing = beyond(required, granted);
    let surplus = beyond(granted, required);
    let mut what = Vec::new();
    if !missing.is_empty() {
        what.push(format!("not granted: {}", list(&missing)));
    }
    if !surplus.is_empty() {
        what.push(format!("granted, but not asked for: {}", list(&surplus)));
    }
    if what.is_empty() {
        return Ok(());
    }
    Err(Error::permission_denied(format!("incorrect privileges; {}", what.join("; "))))
}

/// What `required` has over `granted`: what an upgrade must ask consent for. Of an entry with
/// several values only the new ones.
#[must_use]
pub fn added(granted: &[Privilege], required: &[Privilege]) -> Vec<Privilege> {
    let mut added = Vec::new();
    for privilege in required {
        let mut same = granted.iter().filter(|known| known.name == privilege.name).peekable();
        let is_known = same.peek().is_some();
        let known: Vec<_> = same.flat_map(Privilege::values).collect();
        let is_new = |value: &&String| !known.contains(value);
        let new: Vec<_> = privilege.values().iter().filter(is_new).cloned().collect();
        if !new.is_empty() || !is_known {
            added.push(Privilege { value: Some(new), ..privilege.clone() });
        }
    }
    added
}

/// The privileges of `some` that `others` has not, or not as often.
fn beyond<'a>(some: &'a [Privilege], others: &[Privilege]) -> Vec<&'a Privilege> {
    let mut left: Vec<_> = others.iter().map(Privilege::key).collect();
    let mut beyond = Vec::new();
    for privilege in some {
        match left.iter().position(|other| *other == privilege.key()) {
            Some(index) => drop(left.swap_remove(index)),
            None => beyond.push(privilege),
        }
    }
    beyond
}

fn list(privileges: &[&Privilege]) -> String {
    privileges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
