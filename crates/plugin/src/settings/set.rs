//! `<name>[.<field>][=<value>]`, looked up as dockerd does it and answered in its words.

use super::{Overrides, Replacement, Value, Variable};
use crate::config::{Config, List};
use error::{Error, Result};
use host::secret::{self, Written};

/// One thing to set.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) name: &'a str,
    pub(super) field: &'a str,
    pub(super) value: &'a str,
}

impl<'a> Item<'a> {
    /// The field is what follows the last dot before the first `=`.
    pub(super) fn parse(text: &'a str) -> Result<Self> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        if name.is_empty() {
            let format = "invalid format, must be <name>[.<field>][=<value>]";
            return Err(Error::invalid_argument(format));
        }
        // A dot at the very beginning belongs to the name.
        let (name, field) = match name.rsplit_once('.') {
            Some((name, field)) if !name.is_empty() => (name, field),
            _ => (name, ""),
        };
        Ok(Self { name, field, value })
    }

    /// Whether this item may set `field` of something whose author allows `settable`.
    pub(super) fn may_set(&self, field: &str, settable: &[String]) -> Result<bool> {
        let wanted = match settable {
            [only] if self.field.is_empty() => only,
            [_, _, ..] if self.field.is_empty() => {
                let several = "multiple fields are settable, one must be specified";
                return Err(Error::invalid_argument(several));
            }
            _ => self.field,
        };
        Ok(wanted == field && settable.iter().any(|allowed| allowed == wanted))
    }

    fn require(&self, field: &str, settable: &List<String>) -> Result<()> {
        if self.may_set(field, settable)? {
            return Ok(());
        }
        let dot = if self.field.is_empty() { "" } else { "." };
        let name = format!("{}{dot}{}", self.name, self.field);
        Err(Error::invalid_argument(format!("{name:?} is not settable")))
    }
}

/// `overrides` with all `items` applied.
pub(super) fn apply(overrides: &Overrides, config: &Config, items: &[String]) -> Result<Overrides> {
    let items = items.iter().map(|item| Item::parse(item)).collect::<Result<Vec<_>>>()?;
    let mut changed = overrides.clone();
    for item in items {
        if item.value.contains('\0') {
            let refused = format!("the value of {} has a NUL character in it", item.name);
            return Err(Error::invalid_argument(refused));
        }
        one(&mut changed, config, &item)?;
    }
    Ok(changed)
}

/// The first thing of that name decides, in Docker's order.
fn one(overrides: &mut Overrides, config: &Config, item: &Item<'_>) -> Result<()> {
    if let Some(variable) = config.env.iter().find(|known| known.name == item.name) {
        item.require("value", &variable.settable)?;
        return set_variable(&mut overrides.env, item);
    }
    if let Some(mount) = config.mounts.iter().find(|known| known.name == item.name) {
        item.require("source", &mount.settable)?;
        if mount.source.is_none() {
            return Err(Error::invalid_argument("plugin config has no mount source"));
        }
        replace(&mut overrides.mounts, item);
        return Ok(());
    }
    if let Some(device) = config.linux.devices.iter().find(|known| known.name == item.name) {
        item.require("path", &device.settable)?;
        if device.path.is_none() {
            return Err(Error::invalid_argument("plugin config has no device path"));
        }
        replace(&mut overrides.devices, item);
        return Ok(());
    }
    if config.args.name == item.name {
        item.require("value", &config.args.settable)?;
        overrides.args = Some(item.value.split(' ').map(str::to_owned).collect());
        return Ok(());
    }
    let missing = format!("setting {:?} not found in the plugin configuration", item.name);
    Err(Error::invalid_argument(missing))
}

fn set_variable(env: &mut Vec<Variable>, item: &Item<'_>) -> Result<()> {
    let value = value(item)?;
    match env.iter_mut().find(|known| known.name == item.name) {
        Some(known) => known.value = value,
        None => env.push(Variable { name: item.name.to_owned(), value }),
    }
    Ok(())
}

fn replace(known: &mut Vec<Replacement>, item: &Item<'_>) {
    let path = item.value.to_owned();
    match known.iter_mut().find(|known| known.name == item.name) {
        Some(known) => known.path = path,
        None => known.push(Replacement { name: item.name.to_owned(), path }),
    }
}

fn value(item: &Item<'_>) -> Result<Value> {
    let of_setting = |error: Error| error.with("setting", item.name);
    match secret::parse(item.value).map_err(of_setting)? {
        Written::Literal(text) => Ok(Value::Literal(text.to_owned())),
        Written::Secret(secret) => {
            secret.check().map_err(of_setting)?;
            Ok(Value::Secret(secret))
        }
    }
}
