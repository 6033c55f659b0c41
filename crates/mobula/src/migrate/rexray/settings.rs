//! What was set, where, and which of several wins: a setting's scope, its layers, and the look-up
//! from a module over its service up to the root.

use super::drivers::Driver;
use super::keys::{self, Key};
use crate::migrate::HIDDEN;
use error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;

/// A value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: String,
    /// It was a list; its words are joined by commas.
    pub(super) list: bool,
    /// It has a `$NAME` that is not set, which stays as it is written.
    pub(super) dollar: bool,
}

impl Value {
    /// A single value.
    pub(super) fn single(text: impl Into<String>) -> Self {
        Self { text: text.into(), list: false, dollar: false }
    }
}

/// Where a setting was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    File {
        name: String,
        line: usize,
        column: usize,
    },
    /// A variable of this name; in a file, its name and the line.
    Variable {
        name: String,
        file: Option<(String, usize)>,
    },
    /// A variable of a managed plugin.
    Plugin {
        plugin: String,
        name: String,
    },
    /// REX-Ray's own, nobody said it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line, .. } => write!(f, "{name}:{line}"),
            Self::Variable { file: Some((file, line)), .. } => write!(f, "{file}:{line}"),
            Self::Variable { .. } => f.write_str("environment"),
            Self::Plugin { plugin, .. } => write!(f, "plugin {plugin}"),
            Self::Default => f.write_str("REX-Ray's default"),
        }
    }
}

impl Origin {
    /// The place with its column, for an error.
    pub(super) fn exact(&self) -> String {
        match self {
            Self::File { name, line, column } => format!("{name}:{line}:{column}"),
            other => other.to_string(),
        }
    }
}

/// A setting as it was read: a dotted key in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// For whom a setting holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    Root,
    /// `libstorage.server`.
    Server,
    /// `rexray.agent`, or `rexray` itself.
    Agent,
    Service(String),
    Module(String),
}

/// What a key is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known<'a> {
    Key(&'static Key),
    Driver(&'a Driver, usize),
    /// A field of a service or module: `driver`, `host`.
    Field(&'static str),
    Unknown,
}

/// A setting whose key was looked up.
#[derive(Debug, Clone)]
pub(super) struct Setting<'a> {
    pub(super) scope: Scope,
    /// The key within its scope, by its present name, in lower case.
    pub(super) key: String,
    /// The key as a report spells it.
    pub(super) shown: String,
    pub(super) known: Known<'a>,
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// It was said under an old name, which the present one takes precedence over.
    pub(super) old_name: bool,
}

impl Setting<'_> {
    /// Whether its value is nobody's business: secrets, what is not known, addresses with a password.
    pub(super) fn is_secret(&self) -> bool {
        let said = match self.known {
            Known::Key(key) => key.secret,
            Known::Driver(driver, index) => driver.keys[index].secret,
            Known::Field(_) => false,
            Known::Unknown => true,
        };
        said || has_password(&self.value.text)
    }

    /// The value for people.
    pub(super) fn was(&self) -> String {
        if self.is_secret() { HIDDEN.to_owned() } else { self.value.text.clone() }
    }

    /// The error of a value that is not what the key takes.
    pub(super) fn wrong(&self, wanted: &str) -> Error {
        let place = self.origin.exact();
        Error::invalid_argument(format!("{place}: {} must be {wanted}", self.shown))
    }
}

/// Whether an address holds a user and a password: `http://user:word@host`.
pub(super) fn has_password(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| rest.contains('@'))
}

/// All settings, and which of them count.
pub(super) struct Settings<'a> {
    pub(super) all: Vec<Setting<'a>>,
    winners: BTreeMap<(Scope, String), usize>,
}

impl<'a> Settings<'a> {
    /// Looks every key up; later ones win over earlier ones of the same key.
    pub(super) fn new(raws: Vec<Raw>, drivers: &'a [Driver]) -> Result<Self> {
        let mut settings = Self { all: Vec::new(), winners: BTreeMap::new() };
        for raw in raws {
            settings.add(keys::identify(raw, drivers)?);
        }
        Ok(settings)
    }

    fn add(&mut self, setting: Setting<'a>) {
        let index = self.all.len();
        let place = (setting.scope.clone(), setting.key.clone());
        let holder = self.winners.get(&place).map(|holder| &self.all[*holder]);
        let loses = holder.is_some_and(|holder| setting.old_name && !holder.old_name);
        if !loses && !matches!(setting.known, Known::Unknown) {
            self.winners.insert(place, index);
        }
        self.all.push(setting);
    }

    /// The setting that counts for `key` in the first of these scopes that has it.
    pub(super) fn find(&self, scopes: &[Scope], key: &str) -> Option<usize> {
        let in_scope = |scope: &Scope| self.winners.get(&(scope.clone(), key.to_owned())).copied();
        scopes.iter().find_map(in_scope)
    }

    /// The text of what [`find`](Self::find) finds; an empty one counts as not said.
    pub(super) fn text(&self, scopes: &[Scope], key: &str) -> Option<(usize, &str)> {
        let index = self.find(scopes, key)?;
        let text = self.all[index].value.text.trim();
        (!text.is_empty()).then_some((index, text))
    }

    /// The setting that stands in the way of this one, in the same scope.
    pub(super) fn winner_over(&self, index: usize) -> Option<&Setting<'a>> {
        let setting = &self.all[index];
        let winner = *self.winners.get(&(setting.scope.clone(), setting.key.clone()))?;
        (winner != index).then(|| &self.all[winner])
    }

    /// The names of the services, or of the modules, that anything is said about.
    pub(super) fn names(&self, of: fn(&Scope) -> Option<&str>) -> Vec<String> {
        let mut names: Vec<String> =
            self.all.iter().filter_map(|setting| of(&setting.scope)).map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    }
}

impl Scope {
    /// The service that it is.
    pub(super) fn service(&self) -> Option<&str> {
        if let Self::Service(name) = self { Some(name) } else { None }
    }

    /// The module that it is.
    pub(super) fn module(&self) -> Option<&str> {
        if let Self::Module(name) = self { Some(name) } else { None }
    }
}
