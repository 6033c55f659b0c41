//! One service: what of REX-Ray's settings it takes, and under which key of ours. What a setting
//! became is marked on it; the report is made of the marks.

use super::drivers::{Driver, DriverKey, Place};
use super::keys::{self, Becomes};
use super::settings::{Scope, Settings};
use super::table::{ENCRYPTED, FILE_MODE, FS_TYPE, KEYS, LINUX_ROOT_PATH, ROOT_PATH, SIZE};
use crate::config::Service;
use crate::migrate::{Became, Fate, HIDDEN};
use std::collections::{BTreeMap, BTreeSet};

/// What became of a setting, so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Mark {
    pub(super) mapped: Vec<Became>,
    /// What it will be when the driver is there.
    pub(super) later: Vec<Became>,
    /// The code took care of it without a key of ours.
    pub(super) done: Option<Fate>,
    pub(super) changes: BTreeSet<String>,
}

/// A default of REX-Ray's that a service was given.
#[derive(Debug, Clone)]
pub(super) struct Defaulted {
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) mark: Mark,
}

/// Where the result goes: it decides how keys are called, and where a secret is put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Into mobula.yml; secrets into files of this directory.
    File { secrets: String },
    /// Into the settings of a managed plugin.
    Plugin,
}

/// A secret that goes into a file of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// The file.
    pub path: String,
    /// What is in it.
    pub value: String,
}

pub(super) struct Mapper<'a> {
    pub(super) settings: Settings<'a>,
    pub(super) marks: Vec<Mark>,
    pub(super) defaults: Vec<Defaulted>,
    pub(super) secrets: Vec<Secret>,
    pub(super) target: Target,
}

/// What a service is made of.
#[derive(Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) name: &'a str,
    pub(super) driver: &'a Driver,
    pub(super) scopes: &'a [Scope],
}

/// One value on its way to a service.
struct Given<'a> {
    order: Order<'a>,
    section: &'static str,
    option: &'a str,
    value: String,
    secret: bool,
}

impl<'a> Mapper<'a> {
    pub(super) fn new(settings: Settings<'a>, target: Target) -> Self {
        let marks = vec![Mark::default(); settings.all.len()];
        let defaults = [(ROOT_PATH, "/data"), (FILE_MODE, "0700"), (SIZE, "16"), (FS_TYPE, "ext4")];
        let mark = Mark::default;
        let defaults = defaults.map(|(key, value)| Defaulted { key, value, mark: mark() }).to_vec();
        Self { settings, marks, defaults, secrets: Vec::new(), target }
    }

    /// The service; `None` when its driver is not there yet. Either way every setting that it takes
    /// is marked.
    pub(super) fn service(&mut self, order: Order<'_>) -> Option<Service> {
        let mut service = Service::default();
        for key in order.driver.keys {
            self.driver_key(order, key, &mut service);
        }
        self.behaviours(order, &mut service.options);
        self.switches(order, &mut service.options);
        self.volume(order, &mut service.volume);
        service.driver = order.driver.ours?.to_owned();
        Some(service)
    }

    fn driver_key(&mut self, order: Order<'_>, key: &DriverKey, service: &mut Service) {
        let name = format!("{}.{}", order.driver.section, key.name.to_ascii_lowercase());
        let Some((index, text)) = self.settings.text(order.scopes, &name) else { return };
        let value = key.form.of(text);
        let (section, option, into) = match key.place {
            Place::Service(option) => ("options", option, &mut service.options),
            Place::Volume("encryptionKey") if self.is_off(order, ENCRYPTED) => {
                return self.settle(
                    index,
                    Fate::NoEquivalent,
                    "Volumes are not encrypted unless somebody says so, and a key for all would \
                     encrypt all: give it with -o encryptionKey to those that are to be.",
                );
            }
            Place::Volume(option) => ("volume", option, &mut service.volume),
            Place::Nothing => return self.settle(index, Fate::NotNeeded, key.change),
        };
        let secret = self.settings.all[index].is_secret();
        self.note(index, key.change);
        let given = Given { order, section, option, value, secret };
        self.give(Some(index), None, &given, into);
    }

    fn is_off(&self, order: Order<'_>, key: &str) -> bool {
        let found = self.settings.text(order.scopes, key);
        found.and_then(|(_, text)| keys::is_on(text)) == Some(false)
    }

    fn settle(&mut self, index: usize, fate: Fate, told: &str) {
        self.marks[index].done = Some(fate);
        self.note(index, told);
    }

    /// What the driver did without being told so.
    fn behaviours(&mut self, order: Order<'_>, into: &mut BTreeMap<String, String>) {
        for behaviour in order.driver.behaviours {
            let (key, value) = (order.driver.section, behaviour.was);
            let known = self.defaults.iter().position(|default| default.value == value);
            let default = known.unwrap_or_else(|| {
                self.defaults.push(Defaulted { key, value, mark: Mark::default() });
                self.defaults.len() - 1
            });
            let (option, value) = (behaviour.option, behaviour.value.to_owned());
            let given = Given { order, section: "options", option, value, secret: false };
            self.give(None, Some(default), &given, into);
        }
    }

    fn switches(&mut self, order: Order<'_>, into: &mut BTreeMap<String, String>) {
        for key in KEYS {
            let Becomes::Switch(switch) = key.becomes else { continue };
            let found = self.settings.text(order.scopes, &key.name.to_ascii_lowercase());
            let Some((index, on)) =
                found.and_then(|(index, text)| Some((index, keys::is_on(text)?)))
            else {
                continue;
            };
            if has_option(order.driver, switch.option) {
                let (option, value) = (switch.option, switch.word(on).to_owned());
                let given = Given { order, section: "options", option, value, secret: false };
                self.note(index, switch.change(on));
                self.give(Some(index), None, &given, into);
            }
        }
    }

    fn volume(&mut self, order: Order<'_>, volume: &mut BTreeMap<String, String>) {
        for key in KEYS {
            let Becomes::Volume(option) = key.becomes else { continue };
            let name = key.name.to_ascii_lowercase();
            let index = self.settings.find(order.scopes, &name);
            let default = self.defaults.iter().position(|default| default.key == name);
            let text = match (index, default) {
                (Some(index), _) => self.settings.all[index].value.text.trim().to_owned(),
                (None, Some(default)) if !self.is_said_otherwise(order, &name) => {
                    self.defaults[default].value.to_owned()
                }
                _ => continue,
            };
            self.volume_option(order, (option, text), (index, default), volume);
        }
    }

    /// Of the two keys for the sub-directory, the other one is set.
    fn is_said_otherwise(&self, order: Order<'_>, name: &str) -> bool {
        name == ROOT_PATH && self.settings.find(order.scopes, LINUX_ROOT_PATH).is_some()
    }

    fn volume_option(
        &mut self,
        order: Order<'_>,
        (option, text): (&'static str, String),
        (index, default): (Option<usize>, Option<usize>),
        volume: &mut BTreeMap<String, String>,
    ) {
        let is_volumes_root = text.trim_matches('/').is_empty();
        let value = match option {
            "size" => format!("{text}GiB"),
            "encrypted" => keys::is_on(&text).map_or(text, |on| on.to_string()),
            "subPath" => text.trim_matches('/').to_owned(),
            _ => text,
        };
        let key = format!("{}.{option}", self.prefix(order, "volume"));
        let mut fate = Fate::NoEquivalent;
        let told = if option == "subPath" && is_volumes_root {
            fate = Fate::NotNeeded;
            Some("Users see the volume's root, as they did.".to_owned())
        } else if option == "iops" && value == "0" {
            fate = Fate::NotNeeded;
            Some("It was none.".to_owned())
        } else if let Some(earlier) = volume.get(option) {
            let told = (*earlier != value).then(|| {
                "REX-Ray made this directory and handed out the other one; the one handed out \
                 counts."
                    .to_owned()
            });
            let earlier = Became { key: key.clone(), value: earlier.clone() };
            if let (Some(index), None) = (index, &told) {
                self.marks[index].mapped.push(earlier);
                return;
            }
            told
        } else {
            refusal(order.driver, option, &value)
        };
        if let Some(told) = told {
            // A default that nobody chose, and that nothing becomes of, is not worth a row.
            if let Some(index) = index {
                self.marks[index].done = Some(fate);
                self.note(index, &told);
            }
            return;
        }
        let secret = index.is_some_and(|index| self.settings.all[index].is_secret());
        let given = Given { order, section: "volume", option, value, secret };
        self.give(index, default, &given, volume);
    }

    /// Puts the value into the service, and marks the setting, or the default, that it is of.
    fn give(
        &mut self,
        index: Option<usize>,
        default: Option<usize>,
        given: &Given<'_>,
        into: &mut BTreeMap<String, String>,
    ) {
        let is_there = given.order.driver.ours.is_some();
        let value = match (given.secret, is_there) {
            (true, true) => self.secret(given),
            (true, false) => HIDDEN.to_owned(),
            (false, _) if given.section == "options" => literal(&given.value),
            (false, _) => given.value.clone(),
        };
        let prefix = self.prefix(given.order, given.section);
        let key = match self.target {
            Target::File { .. } => format!("{prefix}.{}", given.option),
            Target::Plugin => plugin_variable(given.order.driver, given.section, given.option),
        };
        let hides = given.secret && self.target == Target::Plugin;
        let shown = if hides { HIDDEN.to_owned() } else { value.clone() };
        into.insert(given.option.to_owned(), value);
        let mark = match (index, default) {
            (Some(index), _) => &mut self.marks[index],
            (None, Some(default)) => &mut self.defaults[default].mark,
            (None, None) => return,
        };
        let list = if is_there { &mut mark.mapped } else { &mut mark.later };
        list.push(Became { key, value: shown });
    }

    fn prefix(&self, order: Order<'_>, section: &str) -> String {
        format!("services.{}.{section}", order.name)
    }

    /// Where a secret goes, and how the configuration refers to it. This is the only place that
    /// knows either.
    fn secret(&mut self, given: &Given<'_>) -> String {
        let Target::File { secrets } = &self.target else { return HIDDEN.to_owned() };
        let path = format!("{secrets}/{}-{}", given.order.name, given.option);
        let reference = format!("@{path}");
        self.secrets.push(Secret { path, value: given.value.clone() });
        reference
    }

    /// Adds a sentence about what changes.
    pub(super) fn note(&mut self, index: usize, change: &str) {
        if !change.is_empty() {
            self.marks[index].changes.insert(change.to_owned());
        }
    }
}

/// A value of REX-Ray's, which is itself, as it is written here, where one that begins with `@` would
/// be read from elsewhere (`host::secret`).
pub(super) fn literal(value: &str) -> String {
    if value.starts_with('@') { format!("@{value}") } else { value.to_owned() }
}

/// The variable of a managed plugin for this option.
pub(super) fn plugin_variable(driver: &Driver, section: &str, option: &str) -> String {
    let option = option.to_ascii_uppercase();
    match (section, driver.ours) {
        ("options", Some(ours)) => format!("{}_{option}", keys::variable(ours)),
        ("options", None) => format!("{}_{option}", keys::variable(driver.name)),
        _ => format!("VOLUME_{option}"),
    }
}

/// Why the driver here does not take this volume option with this value. One that is not there yet
/// is expected to.
fn refusal(driver: &Driver, option: &str, value: &str) -> Option<String> {
    let ours = driver.ours?;
    let spec = volume::drivers::get(ours).ok()?;
    match spec.volume_options().find(|known| known.name == option) {
        None => Some(format!("Driver {ours} has no such option.")),
        Some(known) if known.unit.check(option, value).is_err() => {
            Some(format!("Driver {ours} takes {} there.", known.unit.describe()))
        }
        Some(_) => None,
    }
}

/// Whether a service of the driver here has this option.
fn has_option(driver: &Driver, option: &str) -> bool {
    let spec = driver.ours.and_then(|ours| volume::drivers::get(ours).ok());
    spec.is_some_and(|spec| spec.service_options.iter().any(|known| known.name == option))
}
