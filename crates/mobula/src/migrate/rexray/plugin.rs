//! REX-Ray's managed plugins, out of what `docker plugin inspect` prints: which driver each is, and
//! what it was set to; and the commands that install ours in its place.

use super::drivers::{self, Driver};
use super::keys::variable;
use super::settings::{Origin, Raw, Value};
use super::variables::key_of;
use error::{Error, Result};
use serde::Deserialize;
use std::fmt::Write;

/// A plugin as it was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// What Docker calls it: its alias.
    pub(super) name: String,
    /// The name of REX-Ray's driver.
    pub(super) driver: String,
    pub(super) settings: Vec<Raw>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    #[serde(default)]
    name: String,
    #[serde(default)]
    plugin_reference: String,
    #[serde(default)]
    settings: Settings,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    #[serde(default)]
    env: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Document {
    Several(Vec<Inspected>),
    One(Inspected),
}

/// The plugins in the file `name`: an array as docker prints it, or one object.
pub(super) fn read(name: &str, bytes: &[u8], drivers: &[Driver]) -> Result<Vec<Found>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // Syntax first: the error of an untagged choice has no place. Its words may quote the file.
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| {
        Error::invalid_argument(format!(
            "{name}:{}:{}: no JSON as docker plugin inspect prints it",
            error.line(),
            error.column()
        ))
    })?;
    let document = serde_json::from_value(value).map_err(|_| {
        Error::invalid_argument(format!(
            "{name}: not what docker plugin inspect prints: an array of objects with Name, \
             PluginReference and Settings"
        ))
    })?;
    let plugins = match document {
        Document::Several(plugins) => plugins,
        Document::One(plugin) => vec![plugin],
    };
    if plugins.is_empty() {
        return Err(Error::invalid_argument(format!("{name}: there is no plugin in it")));
    }
    plugins.into_iter().map(|plugin| found(name, plugin, drivers)).collect()
}

fn found(file: &str, plugin: Inspected, drivers: &[Driver]) -> Result<Found> {
    let variables: Vec<(String, String)> = plugin
        .settings
        .env
        .unwrap_or_default()
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let driver = driver_of(&plugin.plugin_reference, drivers)
        .or_else(|| driver_of(&plugin.name, drivers))
        .or_else(|| driver_by_variables(&variables, drivers))
        .ok_or_else(|| {
            Error::invalid_argument(format!(
                "{file}: plugin \"{}\" is none of REX-Ray's; inspect those that are",
                plugin.name.escape_debug()
            ))
        })?;
    let settings = variables.into_iter().filter(|(_, value)| !value.trim().is_empty());
    let settings = settings.map(|(name, value)| Raw {
        key: key_of(&name, drivers, &[], &[]).unwrap_or_else(|| name.clone()),
        value: Value::single(value),
        origin: Origin::Plugin { plugin: plugin.name.clone(), name },
    });
    Ok(Found { driver: driver.to_owned(), settings: settings.collect(), name: plugin.name })
}

/// `docker.io/rexray/ebs:0.11.4` → ebs; also `…/rexray-ebs`.
fn driver_of(reference: &str, drivers: &[Driver]) -> Option<&'static str> {
    let last = reference.split('@').next()?.rsplit('/').next()?;
    let name = last.split(':').next()?;
    let name = name.strip_prefix("rexray-").unwrap_or(name);
    drivers::find(drivers, name).map(|driver| driver.name)
}

fn driver_by_variables(variables: &[(String, String)], drivers: &[Driver]) -> Option<&'static str> {
    let of = |driver: &&Driver| {
        let prefix = format!("{}_", variable(driver.name));
        variables.iter().any(|(name, _)| name.starts_with(&prefix))
    };
    drivers.iter().find(of).map(|driver| driver.name)
}

/// The commands that put our plugin in the place of the one called `name`. A secret is a variable
/// of the shell, which a comment says how to fill.
pub(super) fn commands(name: &str, driver: &str, settings: &[(String, Option<String>)]) -> String {
    let mut text = String::new();
    let quoted = quote(name);
    for (variable, _) in settings.iter().filter(|(_, value)| value.is_none()) {
        let _ = writeln!(
            text,
            "{variable}=$(docker plugin inspect --format '{{{{range .Settings.Env}}}}{{{{println .}}}}\
             {{{{end}}}}' {quoted} | sed -n 's/^{variable}=//p')"
        );
    }
    let _ = writeln!(text, "docker plugin disable {quoted}");
    let _ = writeln!(text, "docker plugin rm {quoted}");
    let _ = write!(text, "docker plugin install --alias {quoted} mobula/{driver}");
    for (variable, value) in settings {
        let _ = match value {
            Some(value) => write!(text, " \\\n  {variable}={}", quote(value)),
            None => write!(text, " \\\n  {variable}=\"${variable}\""),
        };
    }
    text + "\n"
}

/// A word of a POSIX shell.
fn quote(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._:@%+-,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::rexray::drivers::ALL;

    fn drivers_in(text: &str) -> Vec<(String, String)> {
        let found = read("-", text.as_bytes(), ALL).unwrap();
        found.into_iter().map(|plugin| (plugin.name, plugin.driver)).collect()
    }

    #[test]
    fn a_plugin_is_known_by_its_reference_its_name_or_its_variables() {
        for (text, driver) in [
            (
                r#"[{"Name":"storage:latest","PluginReference":"docker.io/rexray/ebs:0.11.4"}]"#,
                "ebs",
            ),
            (r#"{"Name":"rexray/dobs:latest"}"#, "dobs"),
            (r#"{"Name":"x:1","PluginReference":"public.ecr.aws/a/rexray-efs@sha256:00"}"#, "efs"),
            (r#"{"Name":"x:1","Settings":{"Env":["GCEPD_ZONE=","A=b"]}}"#, "gcepd"),
        ] {
            assert_eq!(drivers_in(text)[0].1, driver, "{text}");
        }
    }

    #[test]
    fn what_is_no_plugin_of_rexrays_is_refused_and_not_quoted() {
        for text in [
            "",
            "[",
            "[]",
            "\"hunter2\"",
            r#"[{"Settings":{"Env":"hunter2"}}]"#,
            r#"{"Name":"vieux/sshfs:latest","Settings":{"Env":["DEBUG=hunter2"]}}"#,
            r#"{"Name":"rexray/ebs", "Settings": {"Env": ["EBS_SECRETKEY=hunter2" oops]}}"#,
        ] {
            let error = read("-", text.as_bytes(), ALL).expect_err(text).to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_secret_is_never_in_the_commands_and_other_values_are_words_of_the_shell() {
        let settings = [
            ("EBS_REGION".to_owned(), Some("it's here".to_owned())),
            ("EBS_SECRETKEY".to_owned(), None),
        ];
        let text = commands("rexray/ebs:latest", "ebs", &settings);
        assert!(text.contains(r"EBS_REGION='it'\''s here'"), "{text}");
        assert!(text.contains("EBS_SECRETKEY=\"$EBS_SECRETKEY\""), "{text}");
        assert!(text.contains("sed -n 's/^EBS_SECRETKEY=//p'"), "{text}");
    }
}
