//! The configuration value by value, each with where it comes from; defaults too.

use super::known::{KEYS, is_free};
use super::{Examined, Origin};
use serde::Serialize;
use serde_json::Value;
use volume::drivers;

/// A value that is in effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its key.
    pub key: String,
    /// The value; a secret is hidden.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Everything that is in effect.
pub fn settings(examined: &Examined) -> Vec<Setting> {
    let config = serde_json::to_value(examined.config.redacted()).unwrap_or_default();
    let mut found = Vec::new();
    flatten(&config, &mut String::new(), &mut found);
    for (key, value) in defaults(examined) {
        if !found.iter().any(|(known, _)| known.eq_ignore_ascii_case(&key)) {
            found.push((key, value));
        }
    }
    found.sort_by_key(|(key, _)| rank(key));
    let setting =
        |(key, value): (String, String)| Setting { origin: examined.origin(&key), key, value };
    found.into_iter().map(setting).collect()
}

/// The sections in the order of the documentation, and what is in them by name.
fn rank(key: &str) -> (usize, String) {
    let section = key.split('.').next().unwrap_or_default();
    let at = KEYS.iter().position(|known| known.parts().next() == Some(section));
    (at.unwrap_or(usize::MAX), key.to_owned())
}

fn flatten(value: &Value, at: &mut String, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            let length = at.len();
            for (name, value) in fields {
                if length > 0 {
                    at.push('.');
                }
                at.push_str(name);
                flatten(value, at, found);
                at.truncate(length);
            }
        }
        Value::Array(items) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            found.push((at.clone(), words.join(",")));
        }
        Value::String(text) => found.push((at.clone(), text.clone())),
        Value::Null => {}
        other => found.push((at.clone(), other.to_string())),
    }
}

/// What holds where nothing is said: of the engine, and of the options of each service's driver.
fn defaults(examined: &Examined) -> Vec<(String, String)> {
    let plain = KEYS.iter().filter(|key| !key.default.is_empty() && !key.parts().any(is_free));
    let mut found: Vec<(String, String)> =
        plain.map(|key| (key.name.to_owned(), key.default.to_owned())).collect();
    for (name, service) in &examined.config.services {
        let Ok(spec) = drivers::get(&service.driver) else { continue };
        let options = spec.service_options.iter().copied().map(|option| ("options", option));
        let volume = spec.volume_options().map(|option| ("volume", option));
        for (section, option) in options.chain(volume) {
            if let Some(default) = option.default {
                found.push((
                    format!("services.{name}.{section}.{}", option.name),
                    default.to_owned(),
                ));
            }
        }
    }
    found
}
