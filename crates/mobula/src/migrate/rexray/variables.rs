//! REX-Ray's environment: which key a variable is, the files that units read variables from, and
//! the `$NAME` that REX-Ray replaced in every value.

use super::drivers::Driver;
use super::keys::variable;
use super::settings::{Origin, Raw, Value};
use super::table::{KEYS, VARIABLES};
use error::{Error, Result};
use std::collections::BTreeMap;

/// A variable with its value and where it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) file: Option<(String, usize)>,
}

/// Beginnings of names that nobody but REX-Ray has.
const PREFIXES: [&str; 3] = ["REXRAY_", "LIBSTORAGE_", "X_CSI_"];

/// The variables in a file as systemd reads it: `NAME=value`, `#` comments, quotes, CRLF.
pub(super) fn read_file(name: &str, bytes: &[u8]) -> Result<Vec<Variable>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut variables = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let wrong = |what: &str| Error::invalid_argument(format!("{name}:{number}:1: {what}"));
        let line = std::str::from_utf8(line).map_err(|_| {
            wrong("a byte that is not UTF-8; iconv -f WINDOWS-1252 -t UTF-8 makes it so")
        })?;
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (variable, value) =
            line.split_once('=').ok_or_else(|| wrong("no NAME=value and no comment"))?;
        let variable = variable.trim();
        if variable.is_empty() || !variable.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(wrong("a variable's name has letters, digits and _ only"));
        }
        variables.push(Variable {
            name: variable.to_owned(),
            value: unquoted(value.trim()).to_owned(),
            file: Some((name.to_owned(), number)),
        });
    }
    Ok(variables)
}

fn unquoted(value: &str) -> &str {
    let within = |quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    within('"').or_else(|| within('\'')).unwrap_or(value)
}

/// The settings that these variables are. An empty variable counts as unset. Of a file every
/// variable is told, of the process only those that are REX-Ray's.
pub(super) fn settings(
    variables: &[Variable],
    drivers: &[Driver],
    services: &[String],
    modules: &[String],
) -> Vec<Raw> {
    let mut settings = Vec::new();
    for variable in variables.iter().filter(|variable| !variable.value.trim().is_empty()) {
        let key = key_of(&variable.name, drivers, services, modules);
        let is_foreign = match &key {
            // Every program that talks to Amazon, or through a proxy, has these.
            Some(key) => key.starts_with("aws.") || key.starts_with("proxy."),
            None => !is_ours(&variable.name, drivers),
        };
        if is_foreign && variable.file.is_none() {
            continue;
        }
        settings.push(Raw {
            key: key.unwrap_or_else(|| variable.name.clone()),
            value: Value::single(variable.value.clone()),
            origin: Origin::Variable { name: variable.name.clone(), file: variable.file.clone() },
        });
    }
    settings
}

fn is_ours(name: &str, drivers: &[Driver]) -> bool {
    let own = |driver: &Driver| name.starts_with(&format!("{}_", variable(driver.name)));
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || drivers.iter().any(own)
}

/// The key that a variable sets.
pub(super) fn key_of(
    name: &str,
    drivers: &[Driver],
    services: &[String],
    modules: &[String],
) -> Option<String> {
    let plain = |name: &str| {
        let special = VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, key)| *key);
        special.map(str::to_owned).or_else(|| key_named(name, drivers))
    };
    if let Some(key) = plain(name) {
        return Some(key);
    }
    let scopes = [
        ("LIBSTORAGE_SERVER_SERVICES_", "libstorage.server.services", services, &["DRIVER"][..]),
        ("REXRAY_MODULES_", "rexray.modules", modules, &["HOST", "TYPE", "DISABLED", "DESC"]),
    ];
    for (prefix, section, known, fields) in scopes {
        let Some(rest) = name.strip_prefix(prefix) else { continue };
        let own = |one: &&String| rest.strip_prefix(&format!("{}_", variable(one))).is_some();
        let name = match known.iter().find(own) {
            Some(name) => name.clone(),
            // A service that only variables speak of.
            None => rest.split_once('_')?.0.to_ascii_lowercase(),
        };
        let rest = rest.get(name.len() + 1..)?;
        let key = fields.iter().find(|field| **field == rest).map(|f| f.to_ascii_lowercase());
        return Some(format!("{section}.{name}.{}", key.or_else(|| plain(rest))?));
    }
    let rest = name.strip_prefix("REXRAY_AGENT_")?;
    Some(format!("rexray.agent.{}", plain(rest)?))
}

fn key_named(name: &str, drivers: &[Driver]) -> Option<String> {
    let names = KEYS.iter().flat_map(|key| std::iter::once(&key.name).chain(key.old));
    let mut names = names.filter(|key| !key.contains('*'));
    if let Some(key) = names.find(|key| variable(key) == name) {
        return Some(key.to_ascii_lowercase());
    }
    let sections = drivers.iter().flat_map(|driver| {
        let sections = std::iter::once(&driver.name).chain(driver.also);
        sections.flat_map(move |section| driver.keys.iter().map(move |key| (*section, key.name)))
    });
    let mut keys = sections.map(|(section, key)| format!("{section}.{key}"));
    keys.find(|key| variable(key) == name).map(|key| key.to_ascii_lowercase())
}

/// `value` with `$NAME` and `${NAME}` replaced as REX-Ray did; a name that is not set stays as it is
/// written (REX-Ray put nothing in its place) and is answered, and so does one for whose value, in
/// bytes, there is no `room` left.
pub(super) fn expand(
    value: &str,
    environment: &BTreeMap<String, String>,
    room: &mut usize,
) -> (String, Vec<String>) {
    let (mut text, mut missing) = (String::new(), Vec::new());
    let mut rest = value;
    // Looked for once: a text of opening braces alone would take the square of its length.
    let last_brace = value.rfind('}').map_or(usize::MAX, |at| value.len() - at);
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let braced = after.strip_prefix('{');
        let closed = braced.filter(|braced| braced.len() >= last_brace);
        let (name, used) = match (braced, closed.and_then(|braced| braced.split_once('}'))) {
            (_, Some((name, _))) => (name, name.len() + 2),
            (Some(_), None) => ("", 0),
            (None, None) => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let end = end.unwrap_or(after.len());
                (&after[..end], end)
            }
        };
        match environment.get(name).filter(|found| found.len() <= *room) {
            Some(found) => {
                *room -= found.len();
                text.push_str(found);
            }
            None => {
                text.push_str(&rest[at..=at + used]);
                if !name.is_empty() {
                    missing.push(name.to_owned());
                }
            }
        }
        rest = &after[used..];
    }
    (text + rest, missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::rexray::drivers::ALL;

    fn key(name: &str) -> Option<String> {
        key_of(name, ALL, &["my-db".to_owned()], &["default-csi".to_owned()])
    }

    #[test]
    fn a_variable_is_its_key_in_capitals() {
        for (name, expected) in [
            ("EBS_ACCESSKEY", "ebs.accesskey"),
            ("AWS_SECRETKEY", "aws.secretkey"),
            ("REXRAY_LOGLEVEL", "rexray.loglevel"),
            ("REXRAY_FSTYPE", "rexray.fstype"),
            ("LINUX_VOLUME_FILEMODE", "linux.volume.filemode"),
            ("LIBSTORAGE_SERVER_SERVICES_MY_DB_DRIVER", "libstorage.server.services.my-db.driver"),
            (
                "LIBSTORAGE_SERVER_SERVICES_OTHER_EBS_REGION",
                "libstorage.server.services.other.ebs.region",
            ),
            ("REXRAY_MODULES_DEFAULT_CSI_HOST", "rexray.modules.default-csi.host"),
            ("X_CSI_NFS_VOLUMES", "csi-nfs.volumes"),
        ] {
            assert_eq!(key(name).as_deref(), Some(expected), "{name}");
        }
        assert_eq!(key("AWS_ACCESS_KEY_ID").as_deref(), Some("aws.chain.accesskeyid"));
        assert_eq!(key("PATH"), None);
    }

    #[test]
    fn an_empty_variable_is_unset_and_a_foreign_one_of_the_process_is_not_told() {
        let file = Some(("rexray.env".to_owned(), 1));
        let of = |name: &str, value: &str, file: &Option<(String, usize)>| Variable {
            name: name.to_owned(),
            value: value.to_owned(),
            file: file.clone(),
        };
        let variables = [
            of("EBS_REGION", "", &None),
            of("PATH", "/bin", &None),
            of("AWS_ACCESS_KEY_ID", "a", &None),
            of("REXRAY_NOSUCH", "1", &None),
            of("PATH", "/bin", &file),
        ];
        let settings = settings(&variables, ALL, &[], &[]);
        let keys: Vec<_> = settings.iter().map(|raw| raw.key.as_str()).collect();
        assert_eq!(keys, ["REXRAY_NOSUCH", "PATH"]);
    }

    #[test]
    fn an_environment_file_has_comments_quotes_and_carriage_returns() {
        let text = b"\xef\xbb\xbf# REX-Ray\r\nEBS_REGION=\"eu-west-1\"\r\n\nexport A='b c'\r\nB=\n";
        let variables = read_file("rexray.env", text).unwrap();
        let pairs: Vec<_> = variables.iter().map(|v| (v.name.as_str(), v.value.as_str())).collect();
        assert_eq!(pairs, [("EBS_REGION", "eu-west-1"), ("A", "b c"), ("B", "")]);
        assert_eq!(variables[0].file, Some(("rexray.env".to_owned(), 2)));
    }

    #[test]
    fn a_malformed_environment_file_is_refused_without_its_text() {
        for text in [&b"A=1\nhunter2\n"[..], b"A=1\nhunter2 x=1\n", b"A=1\nB=hunter2\xe9\n"] {
            let error = read_file("rexray.env", text).expect_err("refused").to_string();
            assert!(error.starts_with("rexray.env:2:1: "), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn dollar_names_are_replaced_as_rexray_did_and_unset_ones_told() {
        let environment = BTreeMap::from([("A".to_owned(), "x".to_owned())]);
        for (value, expected, missing) in [
            ("plain", "plain", &[][..]),
            ("$A/${A}y", "x/xy", &[]),
            ("pass$word", "pass$word", &["word"]),
            ("a$", "a$", &[]),
            ("${", "${", &[]),
            ("$$A", "$x", &[]),
        ] {
            let (text, told) = expand(value, &environment, &mut 1000);
            assert_eq!(
                (text.as_str(), told),
                (expected, missing.iter().map(|s| (*s).to_owned()).collect()),
                "{value}"
            );
        }
    }
    #[test]
    fn what_is_replaced_is_bounded_in_size_and_time() {
        let environment = BTreeMap::from([("A".to_owned(), "x".repeat(100))]);
        let mut room = 250;
        let (text, told) = expand("$A $A $A", &environment, &mut room);
        assert_eq!((text.len(), told, room), (204, vec!["A".to_owned()], 50));
        let (text, told) = expand("$A", &environment, &mut room);
        assert_eq!((text.as_str(), told), ("$A", vec!["A".to_owned()]));
        // Minutes, if each brace looked for its end.
        let braces = "${".repeat(1 << 20);
        assert_eq!(expand(&braces, &environment, &mut room).0, braces);
    }
}
