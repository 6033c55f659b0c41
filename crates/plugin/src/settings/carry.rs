//! What of a user's settings survives an upgrade.

use super::{Overrides, Replacement};
use crate::config::{Config, List};

/// What may still be set, and a line about each thing that may not.
pub(super) fn over(overrides: &Overrides, config: &Config) -> (Overrides, Vec<String>) {
    let mut lost = Lost(Vec::new());
    let mut kept = overrides.clone();
    kept.env.retain(|variable| {
        let found = config.env.iter().find(|entry| entry.name == variable.name);
        let settable = found.map(|entry| &entry.settable);
        lost.keep(&format!("variable {}", variable.name), "value", settable)
    });
    kept.mounts.retain(|mount| {
        let found = config.mounts.iter().find(|entry| entry.name == mount.name);
        let settable = found.filter(|entry| entry.source.is_some()).map(|entry| &entry.settable);
        lost.keep(&what("mount", mount), "source", settable)
    });
    kept.devices.retain(|device| {
        let found = config.linux.devices.iter().find(|entry| entry.name == device.name);
        let settable = found.filter(|entry| entry.path.is_some()).map(|entry| &entry.settable);
        lost.keep(&what("device", device), "path", settable)
    });
    kept.args = kept.args.filter(|_| {
        let named = Some(&config.args).filter(|args| !args.name.is_empty());
        lost.keep("args", "value", named.map(|args| &args.settable))
    });
    (kept, lost.0)
}

fn what(kind: &str, replacement: &Replacement) -> String {
    format!("{kind} {}", replacement.name)
}

/// A line for each setting that is not kept.
struct Lost(Vec<String>);

impl Lost {
    /// Whether `what` is kept; `settable` is `None` if it is no more.
    fn keep(&mut self, what: &str, field: &str, settable: Option<&List<String>>) -> bool {
        let why = match settable {
            Some(fields) if fields.iter().any(|known| known == field) => return true,
            Some(_) => "may no longer be set",
            None => "is gone",
        };
        self.0.push(format!("setting {what} {why} in the new version; its default is in effect"));
        false
    }
}
