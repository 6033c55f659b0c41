//! What a user may set of a plugin: only what was set is kept, so that an
//! upgrade can put it on top of the new version's defaults.

mod carry;
mod set;
#[cfg(test)]
mod tests;

pub use host::secret::Secret;

use crate::config::{Config, Device, Mount};
use error::Result;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// What is shown in place of a secret.
pub const REDACTED: &str = "********";

/// What the user set, by kind and name; the only settings that are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overrides {
    /// Environment variables, in the order in which they were first set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<Variable>,
    /// Sources of mounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Replacement>,
    /// Paths of devices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Replacement>,
    /// All arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
}

/// An environment variable that was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What it was set to.
    pub value: Value,
}

/// What an environment variable was set to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// To this.
    Literal(String),
    /// To what is found there whenever the plugin starts.
    Secret(Secret),
}

/// The source of a mount or the path of a device that was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// The name of the mount or device.
    pub name: String,
    /// What stands in place of the default.
    pub path: String,
}

impl Overrides {
    /// Applies `KEY=VALUE` items, all of them or none. `InvalidArgument` in Docker's words;
    /// `FailedPrecondition` for a secret file that cannot be used.
    ///
    /// The value `@/path` of an environment variable stands for what the file has whenever the
    /// plugin starts, `@credential:NAME` for a credential of the service (systemd.exec(5)); a
    /// literal value that begins with `@` is written `@@`.
    pub fn set(&mut self, config: &Config, items: &[String]) -> Result<()> {
        *self = set::apply(self, config, items)?;
        Ok(())
    }

    /// The overrides that still make sense for another version's `config`, and a line for each one
    /// that does not (gone, or no longer settable).
    #[must_use]
    pub fn carried_to(&self, config: &Config) -> (Self, Vec<String>) {
        carry::over(self, config)
    }
}

/// Docker's `Settings`: mounts, environment, arguments and devices with the user's values in them.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Settings {
    /// The arguments after the entry point.
    pub args: Vec<String>,
    /// The devices.
    pub devices: Vec<Device>,
    /// `NAME=value` of each variable that has a value.
    pub env: Vec<String>,
    /// The mounts.
    pub mounts: Vec<Mount>,
}

impl Settings {
    /// `config`'s defaults with `overrides` on top, secret values replaced by [`REDACTED`]: what
    /// inspect shows.
    #[must_use]
    pub fn shown(config: &Config, overrides: &Overrides) -> Self {
        let mut settings = Self::without_env(config, overrides);
        for variable in &overrides.env {
            let value = match &variable.value {
                Value::Literal(text) => text,
                Value::Secret(_) => REDACTED,
            };
            put(&mut settings.env, &variable.name, value);
        }
        settings
    }

    /// The same with secrets read from their files (or `credentials`, the service's
    /// `$CREDENTIALS_DIRECTORY`): what the plugin gets. A missing or empty secret file is
    /// `FailedPrecondition` naming it.
    pub fn effective(
        config: &Config,
        overrides: &Overrides,
        credentials: Option<&Path>,
    ) -> Result<Self> {
        let mut settings = Self::without_env(config, overrides);
        for variable in &overrides.env {
            match &variable.value {
                Value::Literal(text) => put(&mut settings.env, &variable.name, text),
                Value::Secret(secret) => {
                    let value = secret.read(credentials);
                    let value = value.map_err(|error| error.with("setting", &variable.name))?;
                    put(&mut settings.env, &variable.name, &value);
                }
            }
        }
        Ok(settings)
    }

    /// Everything but the overrides of the environment.
    fn without_env(config: &Config, overrides: &Overrides) -> Self {
        let mut settings = Self::defaults(config);
        for over in &overrides.mounts {
            if let Some(mount) = settings.mounts.iter_mut().find(|mount| mount.name == over.name) {
                mount.source = Some(over.path.clone());
            }
        }
        for over in &overrides.devices {
            if let Some(device) = settings.devices.iter_mut().find(|known| known.name == over.name)
            {
                device.path = Some(over.path.clone());
            }
        }
        if let Some(args) = &overrides.args {
            settings.args.clone_from(args);
        }
        settings
    }

    fn defaults(config: &Config) -> Self {
        let mut env = Vec::new();
        for variable in &config.env {
            env.extend(variable.value.as_ref().map(|value| format!("{}={value}", variable.name)));
        }
        Self {
            args: config.args.value.to_vec(),
            devices: config.linux.devices.to_vec(),
            env,
            mounts: config.mounts.to_vec(),
        }
    }
}

/// The values of variables may be secret.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |entry: &String| entry.split('=').next().unwrap_or_default().to_owned();
        f.debug_struct("Settings")
            .field("args", &self.args)
            .field("devices", &self.devices)
            .field("env", &self.env.iter().map(name).collect::<Vec<_>>())
            .field("mounts", &self.mounts)
            .finish()
    }
}

/// Sets a variable in its place, or at the end.
fn put(env: &mut Vec<String>, name: &str, value: &str) {
    let is_it = |entry: &&mut String| entry.split('=').next() == Some(name);
    match env.iter_mut().find(is_it) {
        Some(entry) => *entry = format!("{name}={value}"),
        None => env.push(format!("{name}={value}")),
    }
}
