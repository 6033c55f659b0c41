//! From REX-Ray 0.11: its YAML, its environment and its managed plugins become our configuration,
//! settings for our plugins, and a report. Pure: what is read and written is the caller's business.
//!
//! ```text
//! yaml, variables, plugin ──▶ settings (scopes, layers) ──▶ modules, services ──▶ mapping ──▶ report
//!   dotted keys with places      keys, drivers: the tables       what there is     marks     rows
//! ```

mod drivers;
mod keys;
mod managed;
mod mapping;
mod modules;
mod plugin;
mod report;
mod settings;
mod standalone;
mod table;
#[cfg(test)]
mod tests;
mod variables;
mod yaml;

pub(crate) use drivers::{Form, Place};
pub(crate) use keys::PREEMPT;
pub use mapping::Secret;

use super::Row;
use crate::config::Config;
use drivers::Driver;
use error::Result;
use settings::{Origin, Raw};
use std::collections::BTreeMap;
use variables::Variable;

/// How much text variables may put into all values, in bytes: a small file cannot become a large one.
const REPLACED: usize = 1 << 20;

/// A file with the name that messages call it by.
#[derive(Debug, Clone)]
pub struct File {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What is known of a REX-Ray.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Its YAML files; a later one wins.
    pub files: Vec<File>,
    /// Files of variables; a later one wins.
    pub environment: Vec<File>,
    /// Variables of this process, which win over both.
    pub process: Vec<(String, String)>,
    /// What `docker plugin inspect` printed.
    pub plugins: Vec<File>,
    /// The directory of files with secrets.
    pub secrets: String,
}

/// What a migration comes to.
#[derive(Clone)]
pub struct Migration {
    /// What became of every setting.
    pub rows: Vec<Row>,
    /// The configuration; `None` when only managed plugins were found.
    pub config: Option<Config>,
    /// Its text, with a comment on what is left out.
    pub text: String,
    /// Files that the configuration refers to.
    pub secrets: Vec<Secret>,
    /// Managed plugins.
    pub plugins: Vec<Plugin>,
    /// What is not there yet: `service db (driver ebs)`.
    pub left_out: Vec<String>,
}

/// A managed plugin.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Plugin {
    /// What Docker calls it.
    pub name: String,
    /// The driver here; `None` when it is not there yet.
    pub driver: Option<String>,
    /// Commands that put ours in its place; empty when it is not there yet.
    pub commands: String,
}

/// A variable that REX-Ray's managed plugin had for a setting of its driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// `EBS_KMSKEYID`.
    pub(crate) variable: String,
    /// What it sets here, and how.
    pub(crate) place: Place,
    pub(crate) form: Form,
    /// Why it need not be set.
    pub(crate) change: &'static str,
}

/// The names that REX-Ray's plugin of the driver `ours` had, if there was one that is called so.
pub(crate) fn names(ours: &str) -> Vec<Name> {
    let driver =
        drivers::ALL.iter().find(|driver| driver.ours == Some(ours) && driver.name == ours);
    let keys =
        driver.into_iter().flat_map(|driver| driver.keys.iter().map(move |key| (driver, key)));
    let name = |(driver, key): (&Driver, &drivers::DriverKey)| Name {
        variable: keys::variable(&format!("{}.{}", driver.section, key.name)),
        place: key.place,
        form: key.form,
        change: key.change,
    };
    keys.map(name).collect()
}

/// Makes our configuration of REX-Ray's.
pub fn migrate(sources: &Sources) -> Result<Migration> {
    let drivers = drivers::ALL;
    let mut migration = Migration {
        rows: Vec::new(),
        config: None,
        text: String::new(),
        secrets: Vec::new(),
        plugins: Vec::new(),
        left_out: Vec::new(),
    };
    let raws = read(sources, drivers)?;
    if !sources.files.is_empty() || !raws.is_empty() {
        standalone::migrate(sources, raws, drivers, &mut migration)?;
    }
    for file in &sources.plugins {
        for found in plugin::read(&file.name, &file.bytes, drivers)? {
            managed::migrate(found, drivers, &mut migration)?;
        }
    }
    Ok(migration)
}

/// Every setting, in the order in which later ones win.
fn read(sources: &Sources, drivers: &[Driver]) -> Result<Vec<Raw>> {
    let mut raws = Vec::new();
    for file in &sources.files {
        raws.extend(yaml::read(&file.name, &file.bytes)?);
    }
    let mut variables = Vec::new();
    for file in &sources.environment {
        variables.extend(variables::read_file(&file.name, &file.bytes)?);
    }
    for (name, value) in &sources.process {
        variables.push(Variable { name: name.clone(), value: value.clone(), file: None });
    }
    let named = |prefix: &str| {
        let names = raws.iter().filter_map(|raw| raw.key.strip_prefix(prefix));
        names.filter_map(|rest| Some(rest.split_once('.')?.0.to_owned())).collect::<Vec<_>>()
    };
    let services = named("libstorage.server.services.");
    let mut modules = named("rexray.modules.");
    modules.extend(modules::DEFAULT_MODULES.map(str::to_owned));
    let environment: BTreeMap<String, String> =
        variables.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect();
    let mut room = REPLACED;
    for raw in &mut raws {
        let (text, missing) = variables::expand(&raw.value.text, &environment, &mut room);
        (raw.value.text, raw.value.dollar) = (text, !missing.is_empty());
    }
    raws.extend(variables::settings(&variables, drivers, &services, &modules));
    Ok(raws)
}

impl Origin {
    /// How the report spells the key: variables by their own name.
    fn spelling(&self) -> Option<&str> {
        match self {
            Self::Variable { name, .. } | Self::Plugin { name, .. } => Some(name),
            Self::File { .. } | Self::Default => None,
        }
    }
}
