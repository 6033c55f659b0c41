//! REX-Ray's keys as data: their names, old ones too, what they take, and what becomes of them. One
//! entry is all that a key needs; the drivers' own are in [`drivers`](super::drivers).

use super::drivers::Driver;
use super::settings::{Known, Raw, Scope, Setting};
use super::table::KEYS;
use error::Result;
use volume::options::{nearest, parse_bool};

/// A key outside the drivers' sections.
#[derive(Debug)]
pub(super) struct Key {
    /// Its present name.
    pub(super) name: &'static str,
    /// Names that it had, and variables of plugins written as keys.
    pub(super) old: &'static [&'static str],
    pub(super) takes: Takes,
    pub(super) secret: bool,
    pub(super) becomes: Becomes,
    /// What changes in behaviour, when it is set (for a switch: when it is on).
    pub(super) change: &'static str,
    /// Whoever has it set (switched on) must know that.
    pub(super) attention: bool,
}

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Text,
    Switch,
    Number,
    /// `30s`, or seconds.
    Duration,
    /// `0700`.
    Mode,
    List,
}

/// A switch of REX-Ray's that is an option with two words here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Switch {
    /// The option of a service.
    pub(crate) option: &'static str,
    pub(crate) on: &'static str,
    pub(crate) off: &'static str,
    /// What changes for whom has it on, and off.
    pub(super) changes: [&'static str; 2],
}

/// Whether a volume is taken from another machine.
pub(crate) const PREEMPT: Switch = Switch {
    option: "preempt",
    on: "proof",
    off: "never",
    changes: [
        "REX-Ray took a volume from whichever machine had it, running or not; here it is taken \
         only from one that is proved to be gone.",
        "As before, a volume stays with the machine that has it, even one that is gone; with \
         proof, the default, it would then be taken.",
    ],
};

impl Switch {
    /// The word for what the switch says.
    pub(crate) fn word(self, on: bool) -> &'static str {
        if on { self.on } else { self.off }
    }

    /// What changes.
    pub(super) fn change(self, on: bool) -> &'static str {
        self.changes[usize::from(!on)]
    }
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Becomes {
    /// A volume option of each service.
    Volume(&'static str),
    /// An option of each service whose driver has it.
    Switch(Switch),
    /// `log.level`.
    LogLevel,
    /// It says how the configuration is put together; the code knows.
    Structure,
    NotNeeded,
    NoEquivalent,
    NotThereYet,
}

/// Fields of `libstorage.server.services.NAME` and of `rexray.modules.NAME`.
const SERVICE_FIELDS: [&str; 1] = ["driver"];
const MODULE_FIELDS: [&str; 5] = ["type", "desc", "host", "spec", "disabled"];

/// The setting that `raw` is. A value of the wrong type → an error with its place.
pub(super) fn identify(raw: Raw, drivers: &[Driver]) -> Result<Setting<'_>> {
    let (scope, rest) = split(&raw.key, drivers);
    let found = look_up(&scope, rest, drivers);
    let setting = Setting {
        key: found.as_ref().map_or_else(|| rest.to_owned(), |found| found.key.clone()),
        shown: shown(&raw.key, rest, found.as_ref().map(|found| found.spelled.as_str())),
        known: found.as_ref().map_or(Known::Unknown, |found| found.known),
        old_name: found.as_ref().is_some_and(|found| found.old),
        scope,
        value: raw.value,
        origin: raw.origin,
    };
    check(&setting)?;
    Ok(setting)
}

/// The key with its own capitals, where they are known.
fn shown(whole: &str, rest: &str, spelled: Option<&str>) -> String {
    let before = &whole[..whole.len() - rest.len()];
    let before = before.replace("loglevel", "logLevel");
    format!("{before}{}", spelled.unwrap_or(rest))
}

struct Found<'a> {
    key: String,
    spelled: String,
    known: Known<'a>,
    old: bool,
}

fn look_up<'a>(scope: &Scope, rest: &str, drivers: &'a [Driver]) -> Option<Found<'a>> {
    let fields: &[&'static str] = match scope {
        Scope::Service(_) => &SERVICE_FIELDS,
        Scope::Module(_) => &MODULE_FIELDS,
        _ => &[],
    };
    if let Some(field) = fields.iter().find(|field| **field == rest) {
        let (key, spelled) = (rest.to_owned(), rest.to_owned());
        return Some(Found { key, spelled, known: Known::Field(field), old: false });
    }
    key_of(rest).or_else(|| driver_key(rest, drivers))
}

fn key_of<'a>(rest: &str) -> Option<Found<'a>> {
    let (key, spelled) = KEYS.iter().find_map(|key| {
        let mut names = std::iter::once(&key.name).chain(key.old);
        names.find(|name| matches_name(name, rest)).map(|name| (key, *name))
    })?;
    let (pattern, old) = (spelled.contains('*'), spelled != key.name);
    let canonical = if pattern { rest.to_owned() } else { key.name.to_ascii_lowercase() };
    let spelled = if pattern { rest } else { spelled };
    Some(Found { key: canonical, spelled: spelled.to_owned(), known: Known::Key(key), old })
}

/// Whether `name` is this key; `*` at its end stands for anything, within it for one part.
pub(super) fn matches_name(name: &str, key: &str) -> bool {
    let (mut parts, mut given) = (name.split('.').peekable(), key.split('.'));
    loop {
        match (parts.next(), given.next()) {
            (None, None) => return true,
            (Some("*"), Some(_)) if parts.peek().is_none() => return true,
            (Some(part), Some(word)) if part == "*" || part.eq_ignore_ascii_case(word) => {}
            _ => return false,
        }
    }
}

fn driver_key<'a>(rest: &str, drivers: &'a [Driver]) -> Option<Found<'a>> {
    let (section, name) = rest.split_once('.')?;
    let driver = super::drivers::find(drivers, section)?;
    let index = driver.keys.iter().position(|key| key.name.eq_ignore_ascii_case(name))?;
    Some(Found {
        key: format!("{}.{}", driver.section, driver.keys[index].name.to_ascii_lowercase()),
        spelled: format!("{section}.{}", driver.keys[index].name),
        known: Known::Driver(driver, index),
        old: section != driver.name,
    })
}

/// The scope of a key, and the key within it.
fn split<'a>(key: &'a str, drivers: &[Driver]) -> (Scope, &'a str) {
    let named = |prefix: &str| key.strip_prefix(prefix).and_then(|rest| rest.split_once('.'));
    if let Some((name, rest)) = named("rexray.modules.") {
        return (Scope::Module(name.to_owned()), rest);
    }
    if let Some((name, rest)) = named("libstorage.server.services.") {
        return (Scope::Service(name.to_owned()), rest);
    }
    if let Some(rest) = key.strip_prefix("rexray.agent.") {
        return (Scope::Agent, rest);
    }
    let known = |key: &str| look_up(&Scope::Root, key, drivers).is_some();
    if !known(key) {
        for (prefix, scope) in [("libstorage.server.", Scope::Server), ("rexray.", Scope::Agent)] {
            if let Some(rest) = key.strip_prefix(prefix).filter(|rest| known(rest)) {
                return (scope, rest);
            }
        }
    }
    (Scope::Root, key)
}

fn check(setting: &Setting<'_>) -> Result<()> {
    let text = setting.value.text.trim();
    let takes = match setting.known {
        Known::Key(key) => key.takes,
        Known::Field("disabled") => Takes::Switch,
        Known::Field(_) => Takes::Text,
        // Groups and the like may be lists.
        Known::Driver(..) | Known::Unknown => return Ok(()),
    };
    if setting.value.list && takes != Takes::List {
        return Err(setting.wrong("a single value, not a list"));
    }
    if text.is_empty() {
        return Ok(());
    }
    let (fine, wanted) = match takes {
        Takes::Text | Takes::List => return Ok(()),
        Takes::Switch => (is_switch(text), "true or false"),
        Takes::Number => (text.parse::<u64>().is_ok(), "a number"),
        Takes::Duration => (is_duration(text), "a time such as 30s"),
        Takes::Mode => (volume::options::parse_mode(text).is_some(), "a mode such as 0700"),
    };
    if fine { Ok(()) } else { Err(setting.wrong(wanted)) }
}

fn is_switch(text: &str) -> bool {
    is_on(text).is_some()
}

/// What a switch says: YAML's words and Go's.
pub(super) fn is_on(text: &str) -> Option<bool> {
    match text.trim() {
        "t" | "T" | "y" | "Y" => Some(true),
        "f" | "F" | "n" | "N" => Some(false),
        other => parse_bool(other),
    }
}

fn is_duration(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    text.starts_with(|c: char| c.is_ascii_digit())
        && ["", "ns", "us", "ms", "s", "m", "h"].iter().any(|known| {
            unit.strip_prefix(known).is_some_and(|rest| rest.is_empty() || is_duration(rest))
        })
}

/// The key that was probably meant.
pub(super) fn suggestion(setting: &Setting<'_>, drivers: &[Driver]) -> Option<String> {
    let keys = KEYS.iter().map(|key| key.name).filter(|name| !name.contains('*'));
    let keys: Vec<String> = keys
        .map(str::to_owned)
        .chain(drivers.iter().flat_map(|driver| {
            driver.keys.iter().map(move |key| format!("{}.{}", driver.name, key.name))
        }))
        .chain(fields(&setting.scope).iter().map(ToString::to_string))
        .collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    nearest(&setting.key, &keys).map(str::to_owned)
}

fn fields(scope: &Scope) -> &'static [&'static str] {
    match scope {
        Scope::Service(_) => &SERVICE_FIELDS,
        Scope::Module(_) => &MODULE_FIELDS,
        _ => &[],
    }
}

/// The variable of a key: `EBS_ACCESSKEY`.
pub(super) fn variable(key: &str) -> String {
    key.to_ascii_uppercase().replace(['.', '-'], "_")
}

#[cfg(test)]
mod tests {
    use super::super::settings::{Origin, Value};
    use super::*;
    use crate::migrate::rexray::drivers::ALL;

    fn identified(key: &str, value: &str) -> Result<Setting<'static>> {
        let value = Value::single(value);
        let origin = Origin::File { name: "r.yml".to_owned(), line: 3, column: 9 };
        identify(Raw { key: key.to_owned(), value, origin }, ALL)
    }

    #[test]
    fn a_key_is_known_in_every_scope() {
        const PREEMPT: &str = "libstorage.integration.volume.operations.mount.preempt";
        for (key, scope) in [
            (PREEMPT.to_owned(), Scope::Root),
            (format!("rexray.agent.{PREEMPT}"), Scope::Agent),
            (format!("rexray.{PREEMPT}"), Scope::Agent),
            (format!("libstorage.server.{PREEMPT}"), Scope::Server),
            (format!("libstorage.server.services.a.{PREEMPT}"), Scope::Service("a".to_owned())),
            (format!("rexray.modules.m.{PREEMPT}"), Scope::Module("m".to_owned())),
        ] {
            let setting = identified(&key, "true").unwrap();
            assert_eq!((setting.scope, setting.key.as_str()), (scope, PREEMPT), "{key}");
        }
    }

    #[test]
    fn old_names_are_known_by_the_present_one() {
        for (old, key) in [
            ("volume.mount.preempt", "libstorage.integration.volume.operations.mount.preempt"),
            ("docker.size", "libstorage.integration.volume.operations.create.default.size"),
            ("ec2.region", "ebs.region"),
            ("aws.secretkey", "ebs.secretkey"),
            ("rexray.storagedrivers", "libstorage.service"),
        ] {
            let setting = identified(old, "1").unwrap();
            assert_eq!(setting.key, key);
            assert!(setting.old_name, "{old}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_with_its_place_and_not_shown() {
        for (key, wanted) in [
            ("libstorage.integration.volume.operations.mount.preempt", "true or false"),
            ("libstorage.integration.volume.operations.create.default.size", "a number"),
            ("libstorage.device.attachtimeout", "a time"),
            ("linux.volume.filemode", "a mode"),
        ] {
            let error = identified(key, "hunter2").expect_err(key).to_string();
            assert!(error.starts_with("r.yml:3:9: ") && error.contains(wanted), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(identified("libstorage.device.attachtimeout", "1m30s").is_ok());
    }

    #[test]
    fn a_misspelt_key_is_unknown_hidden_and_told_what_was_meant() {
        for (key, meant) in [
            ("ebs.acesskey", "ebs.accessKey"),
            ("libstorage.servce", "libstorage.service"),
            ("rexray.modules.m.hots", "host"),
        ] {
            let setting = identified(key, "hunter2").unwrap();
            assert!(matches!(setting.known, Known::Unknown) && setting.is_secret());
            assert_eq!(suggestion(&setting, ALL).as_deref(), Some(meant));
        }
    }

    #[test]
    fn no_two_keys_have_the_same_name_or_variable() {
        let names = KEYS.iter().flat_map(|key| std::iter::once(key.name).chain(key.old.to_vec()));
        let mut names: Vec<_> = names.map(str::to_ascii_lowercase).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
