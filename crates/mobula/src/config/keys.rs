//! Single keys: `services.db.driver` on the command line, `MOBULA_SERVICES_DB_DRIVER` in the
//! environment.

use super::known::{KEYS, is_free};
use super::{Config, LogFormat, Module, Service, Tls};
use error::{Error, Result};
use std::collections::BTreeMap;
use volume::ServiceName;
use volume::options::nearest;

/// What the names of this program's environment variables begin with.
pub const ENVIRONMENT_PREFIX: &str = "MOBULA_";

/// Variables that are no configuration keys.
const OTHERS: [&str; 10] = [
    "MOBULA_HOME",
    "MOBULA_CONFIG",
    "MOBULA_SERVICE",
    "MOBULA_ENGINE",
    "MOBULA_FORMAT",
    "MOBULA_KILL_AT",
    "MOBULA_KILL_LOG",
    // The installer's.
    "MOBULA_URL",
    "MOBULA_VERSION",
    "MOBULA_PUBKEY",
];

/// Sets `key` to `value`.
pub(super) fn apply(config: &mut Config, key: &str, value: &str) -> Result<()> {
    let parts: Vec<&str> = key.split('.').collect();
    set(config, &parts, value)?.ok_or_else(|| unknown("key", key))
}

/// Applies an environment variable, if it is one of this program's.
pub(super) fn apply_variable(config: &mut Config, name: &str, value: &str) -> Result<()> {
    let Some(path) = path_of(config, name, value) else { return Ok(()) };
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    set(config, &parts, value)?.ok_or_else(|| unknown("environment variable", name))
}

/// The path of the key that an environment variable sets; `None` when it is none of this program's.
pub(super) fn path_of(config: &Config, name: &str, value: &str) -> Option<Vec<String>> {
    let rest = name.strip_prefix(ENVIRONMENT_PREFIX)?;
    let is_key = !OTHERS.contains(&name) && !value.is_empty();
    is_key.then(|| split(config, rest))
}

/// Whether a key has this path.
pub(super) fn is_known(path: &[String]) -> bool {
    let fits = |(part, given): (&str, &String)| is_free(part) || part.eq_ignore_ascii_case(given);
    KEYS.iter().any(|key| key.parts().count() == path.len() && key.parts().zip(path).all(fits))
}

/// `SERVICES_MY_DB_VOLUME_SIZE` → services, my-db, volume, size.
fn split(config: &Config, rest: &str) -> Vec<String> {
    let lower = rest.to_ascii_lowercase();
    let Some((section, rest)) = lower.split_once('_') else { return vec![lower] };
    let (names, fields): (Vec<&ServiceName>, &[&str]) = match section {
        "services" => (config.services.keys().collect(), &["_driver", "_options_", "_volume_"]),
        "docker" => (config.docker.keys().collect(), &["_service", "_listen", "_tls_"]),
        _ => return vec![section.to_owned(), rest.to_owned()],
    };
    let Some(at) = fields.iter().filter_map(|field| rest.find(field)).min() else {
        return vec![section.to_owned(), rest.to_owned()];
    };
    let (name, field) = (&rest[..at], &rest[at + 1..]);
    let alike = |known: &&&ServiceName| variable_part(known.as_str()) == name;
    let name = names.iter().find(alike).map_or_else(|| name.to_owned(), ToString::to_string);
    let mut path = vec![section.to_owned(), name];
    path.extend(field.splitn(2, '_').map(str::to_owned));
    path
}

fn variable_part(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .collect()
}

/// `None` when there is no such key.
pub(super) fn set(config: &mut Config, path: &[&str], value: &str) -> Result<Option<()>> {
    let text = value.to_owned();
    match path {
        ["log", "level"] => config.log.level = text,
        ["log", "format"] => config.log.format = log_format(value)?,
        ["services", name, "driver"] => service(config, name)?.driver = text,
        ["services", name, "options", option] => {
            set_option(&mut service(config, name)?.options, option, text);
        }
        ["services", name, "volume", option] => {
            set_option(&mut service(config, name)?.volume, option, text);
        }
        ["docker", name, "service"] => {
            module(config, name)?.service = Some(ServiceName::parse(value)?);
        }
        ["docker", name, "listen"] => module(config, name)?.listen = Some(text),
        ["docker", name, "tls", field] => return Ok(set_tls(module(config, name)?, field, value)),
        ["engine", field] => return config.engine.set(field, value),
        _ => return Ok(None),
    }
    Ok(Some(()))
}

fn set_tls(module: &mut Module, field: &str, value: &str) -> Option<()> {
    let tls = module.tls.get_or_insert_with(Tls::default);
    match field.to_ascii_lowercase().as_str() {
        "cert" => tls.cert = value.into(),
        "key" => tls.key = value.into(),
        "clientca" => tls.client_ca = Some(value.into()),
        "ca" => tls.ca = Some(value.into()),
        "clientcert" => tls.client_cert = Some(value.into()),
        "clientkey" => tls.client_key = Some(value.into()),
        _ => return None,
    }
    Some(())
}

/// Option names are case-insensitive: the file's spelling must not stand beside the flag's.
fn set_option(options: &mut BTreeMap<String, String>, name: &str, value: String) {
    options.retain(|known, _| !known.eq_ignore_ascii_case(name));
    options.insert(name.to_owned(), value);
}

fn service<'a>(config: &'a mut Config, name: &str) -> Result<&'a mut Service> {
    Ok(config.services.entry(ServiceName::parse(name)?).or_default())
}

fn module<'a>(config: &'a mut Config, name: &str) -> Result<&'a mut Module> {
    Ok(config.docker.entry(ServiceName::parse(name)?).or_default())
}

fn log_format(value: &str) -> Result<LogFormat> {
    match value {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(Error::invalid_argument(format!(
            "log.format \"{other}\" is not a format; formats are text, json"
        ))),
    }
}

fn unknown(what: &str, name: &str) -> Error {
    Error::invalid_argument(format!(
        "{what} {name} is not known; configuration keys are {} (in the environment \
         MOBULA_LOG_LEVEL for log.level, and so on)",
        KEYS.map(|key| key.name).join(", ")
    ))
}

/// The key that was meant, out of serde's "unknown field `a`, expected one of b, c".
pub(super) fn suggestion(said: &str) -> Option<String> {
    let (_, rest) = said.lines().find_map(|line| line.split_once("unknown field `"))?;
    let (wrong, rest) = rest.split_once('`')?;
    let (_, known) = rest.split_once("expected ")?;
    let known = known.trim_start_matches("one of ");
    let known: Vec<&str> = known.split([',', ' ', '`']).filter(|word| !word.is_empty()).collect();
    nearest(wrong, &known).map(str::to_owned)
}
