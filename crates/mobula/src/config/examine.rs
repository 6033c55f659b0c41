//! Everything that is wrong with the configuration of this machine at once, each with the file and
//! line, the variable or the flag that it comes from. Reads what [`load`](super::load) reads, and goes
//! on where that stops.

mod machine;

use super::known::{self, Kind, is_free};
use super::tree::{self, Content, Node};
use super::{Config, Overrides, keys};
use crate::paths::Paths;
use error::Error;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use volume::ServiceName;
use volume::options::nearest;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase", tag = "from")]
pub enum Origin {
    /// The configuration file.
    File {
        /// Its path.
        path: PathBuf,
        /// Counted from 1; none when it is about the whole file.
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<u64>,
    },
    /// A variable of the environment.
    Variable {
        /// Its name.
        name: String,
    },
    /// `--set`.
    Flag {
        /// The key, as given.
        key: String,
    },
    /// Nothing was said.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Variable { name } => write!(f, "variable {name}"),
            Self::Flag { key } => write!(f, "flag --set {key}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where it comes from.
    pub origin: Origin,
    /// The key to blame; empty when it is about the whole file.
    pub key: String,
    /// What is wrong, and the way out.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}

/// The configuration, and what is wrong with it.
#[derive(Debug)]
pub struct Examined {
    /// The file that was looked for.
    pub file: PathBuf,
    /// Whether it is there.
    pub exists: bool,
    /// What is in effect, as far as it can be read.
    pub config: Config,
    /// What is wrong, in the order of the file.
    pub problems: Vec<Problem>,
    origins: BTreeMap<String, Origin>,
}

/// Looks at file, environment and flags, in this order.
pub fn examine(
    paths: &Paths,
    overrides: &Overrides,
    environment: impl Iterator<Item = (String, String)>,
) -> Examined {
    let file = overrides.file.clone().unwrap_or_else(|| paths.config());
    let mut it = Examined {
        file,
        exists: false,
        config: Config::empty(),
        problems: Vec::new(),
        origins: BTreeMap::new(),
    };
    it.read_file(overrides.file.is_some());
    for (name, value) in environment {
        it.apply_variable(&name, &value);
    }
    for (key, value) in &overrides.set {
        it.apply_flag(key, value);
    }
    it.config.complete();
    it.judge();
    it.look_at_machine(paths);
    it.problems.sort_by(|one, other| one.origin.cmp(&other.origin));
    it.problems.dedup();
    it
}

impl Examined {
    /// Where the value of this key comes from.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(&key.to_ascii_lowercase()).cloned().unwrap_or(Origin::Default)
    }

    /// The same of the key, or of the nearest section around it that was said.
    fn blame(&self, key: &str) -> Origin {
        let key = key.to_ascii_lowercase();
        let mut section = key.as_str();
        loop {
            if let Some(origin) = self.origins.get(section) {
                return origin.clone();
            }
            let within = format!("{section}.");
            let mut inside =
                self.origins.range(within.clone()..).take_while(|(at, _)| at.starts_with(&within));
            if let (true, Some((_, origin))) = (section == key, inside.next()) {
                return origin.clone();
            }
            match section.rsplit_once('.') {
                Some((around, _)) => section = around,
                None if self.exists => return self.in_file(None),
                None => return Origin::Default,
            }
        }
    }

    fn in_file(&self, line: Option<u64>) -> Origin {
        Origin::File { path: self.file.clone(), line }
    }

    fn complain(&mut self, origin: Origin, key: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { origin, key: key.into(), message: message.into() });
    }

    fn read_file(&mut self, must_exist: bool) {
        let text = match host::file::read_optional(&self.file) {
            Ok(Some(text)) => text,
            Ok(None) if must_exist => {
                let message = "the file does not exist; name an existing one with --config";
                return self.complain(self.in_file(None), "", message);
            }
            Ok(None) => return,
            Err(error) => return self.complain(self.in_file(None), "", error.chain()),
        };
        self.exists = true;
        let Ok(text) = String::from_utf8(text) else {
            return self.complain(self.in_file(None), "", "the file is not valid UTF-8");
        };
        if super::is_blank(&text) {
            return;
        }
        match tree::parse(&text) {
            Ok(root) => self.read_section(&root, &mut Vec::new()),
            Err(error) => {
                let line = error.location().map(|place| place.line());
                return self.complain(self.in_file(line), "", super::told(&error));
            }
        }
        // The agent's own reader has the last word.
        if let (true, Err(error)) =
            (self.problems.is_empty(), serde_saphyr::from_str::<Config>(&text))
        {
            let line = error.location().map(|place| place.line());
            self.complain(self.in_file(line), "", super::told(&error));
        }
    }

    /// Takes over what stands at `path`: a section, or a value.
    fn read_section<'a>(&mut self, node: &'a Node, path: &mut Vec<&'a str>) {
        let origin = self.in_file(Some(node.line));
        let key = path.join(".");
        if let Some(kind) = value_at(path) {
            return self.read_value(node, path, kind);
        }
        match &node.content {
            Content::Nothing if !key.is_empty() => {
                let message =
                    format!("{key} has nothing in it; write {key}: {{}}, or leave it out");
                self.complain(origin, key, message);
            }
            Content::Nothing => {}
            Content::Map(entries) => {
                self.mention(path, origin);
                for (name, line, node) in entries {
                    self.read_entry(name, *line, node, path);
                }
            }
            other => {
                let what = if key.is_empty() { "the file" } else { key.as_str() };
                let (is, known) = (other.describe(), next_parts(path).join(", "));
                self.complain(
                    origin,
                    key.clone(),
                    format!("{what} is {is}; it must be a section with the keys {known}"),
                );
            }
        }
    }

    fn read_entry<'a>(
        &mut self,
        name: &'a str,
        line: u64,
        node: &'a Node,
        path: &mut Vec<&'a str>,
    ) {
        let known = next_parts(path);
        path.push(name);
        if known.iter().any(|part| is_free(part) || *part == name) {
            self.read_section(node, path);
            // The section begins where its name stands.
            let origin = self.in_file(Some(line));
            self.origins.insert(path.join(".").to_ascii_lowercase(), origin);
        } else {
            let hint = nearest(name, &known).map(|near| format!("did you mean {near}? "));
            let shown: String = name.escape_debug().take(40).collect();
            let around = path[..path.len() - 1].join(".");
            let place = if around.is_empty() { String::new() } else { format!(" in {around}") };
            let message = format!(
                "unknown key {shown}{place}; {}keys are {}",
                hint.unwrap_or_default(),
                known.join(", ")
            );
            self.complain(self.in_file(Some(line)), path.join("."), message);
        }
        path.pop();
    }

    fn read_value(&mut self, node: &Node, path: &[&str], kind: Kind) {
        let origin = self.in_file(Some(node.line));
        let key = path.join(".");
        let value = match (&node.content, kind) {
            (Content::Value(value), kind) if kind != Kind::List => value.clone(),
            (Content::Nothing, _) => return,
            (Content::List(items), Kind::List) => match words(items) {
                Some(words) => words.join(","),
                None => {
                    let message = format!("{key} has something else than single values in it");
                    return self.complain(origin, key, message);
                }
            },
            (other, kind) => {
                let wanted = if kind == Kind::List { "a list" } else { "a single value" };
                let message = format!("{key} is {}; it must be {wanted}", other.describe());
                return self.complain(origin, key, message);
            }
        };
        self.apply(path, &value, origin);
    }

    /// A section that is there, even if nothing is in it: a service or plugin of this name.
    fn mention(&mut self, path: &[&str], origin: Origin) {
        let made = match path {
            ["services", name] => ServiceName::parse(name).map(|name| {
                self.config.services.entry(name).or_default();
            }),
            ["docker", name] => ServiceName::parse(name).map(|name| {
                self.config.docker.entry(name).or_default();
            }),
            ["docker", name, "tls"] => ServiceName::parse(name).map(|name| {
                let module = self.config.docker.entry(name).or_default();
                module.tls.get_or_insert_with(super::Tls::default);
            }),
            _ => Ok(()),
        };
        if let Err(error) = made {
            self.complain(origin, path.join("."), error.to_string());
        }
    }

    fn apply(&mut self, path: &[&str], value: &str, origin: Origin) {
        let key = path.join(".");
        match keys::set(&mut self.config, path, value) {
            Ok(Some(())) => drop(self.origins.insert(key.to_ascii_lowercase(), origin)),
            Ok(None) => {
                let message = format!("{key} is no key; all keys: mobula config schema");
                self.complain(origin, key, message);
            }
            Err(error) => self.complain(origin, key, error.to_string()),
        }
    }

    fn apply_variable(&mut self, name: &str, value: &str) {
        let Some(path) = keys::path_of(&self.config, name, value) else { return };
        let origin = Origin::Variable { name: name.to_owned() };
        let known = next_parts_of(&path);
        if keys::is_known(&path) {
            let parts: Vec<&str> = path.iter().map(String::as_str).collect();
            return self.apply(&parts, value, origin);
        }
        self.complain(origin, path.join("."), unknown("variable", name, &known));
    }

    fn apply_flag(&mut self, key: &str, value: &str) {
        let origin = Origin::Flag { key: key.to_owned() };
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        if keys::is_known(&path) {
            let parts: Vec<&str> = path.iter().map(String::as_str).collect();
            return self.apply(&parts, value, origin);
        }
        let known = next_parts_of(&path);
        self.complain(origin, key, unknown("key", key, &known));
    }

    fn judge(&mut self) {
        let mut faults = self.config.faults();
        faults.extend(self.config.service_faults());
        for fault in faults {
            let origin = self.blame(&fault.key);
            let message = with_key(&fault.key, &fault.error);
            self.complain(origin, fault.key, message);
        }
    }
}

/// The message, with the key in front unless it names it itself.
fn with_key(key: &str, error: &Error) -> String {
    let said = error.chain();
    let section = key.rsplit_once('.').map_or(key, |(section, _)| section);
    if said.contains(section) { said } else { format!("{key}: {said}") }
}

fn words(items: &[Node]) -> Option<Vec<&str>> {
    items
        .iter()
        .map(|item| match &item.content {
            Content::Value(value) => Some(value.as_str()),
            _ => None,
        })
        .collect()
}

/// The kind of value that stands at `path`; `None` when it is a section.
fn value_at(path: &[&str]) -> Option<Kind> {
    let key = known::below(path).find(|key| key.parts().count() == path.len())?;
    Some(key.kind)
}

/// What may stand below `path`.
fn next_parts(path: &[&str]) -> Vec<&'static str> {
    let mut parts: Vec<_> =
        known::below(path).filter_map(|key| key.parts().nth(path.len())).collect();
    parts.dedup();
    parts
}

/// What may stand where the first wrong part of `path` stands, and that part.
fn next_parts_of(path: &[String]) -> (String, Vec<&'static str>) {
    let mut good: Vec<&str> = Vec::new();
    for part in path {
        let known = next_parts(&good);
        let fits = |one: &&&str| is_free(one) || one.eq_ignore_ascii_case(part);
        match known.iter().find(fits) {
            Some(one) => good.push(one),
            None => return (part.clone(), known),
        }
    }
    (String::new(), next_parts(&good))
}

fn unknown(what: &str, name: &str, (wrong, known): &(String, Vec<&'static str>)) -> String {
    let hint = nearest(wrong, known).map(|near| format!("did you mean {near}? "));
    let shown: String = name.escape_debug().take(80).collect();
    let place =
        if wrong.is_empty() { "it goes on with".to_owned() } else { format!("{wrong} may be") };
    format!("unknown {what} {shown}; {}{place} {}", hint.unwrap_or_default(), known.join(", "))
}

#[cfg(test)]
mod tests;
