//! What is wrong with a configuration, all of it, each with the key that is to blame. Opens nothing;
//! whether files are there is looked at in [`super::examine`].

use super::{Config, Log, Service};
use crate::listen::Listen;
use error::{Error, Result};
use host::secret::Written;
use std::collections::BTreeMap;
use std::path::PathBuf;
use volume::options::{Mistake, told};
use volume::{OptionSpec, ServiceName, Spec, drivers};

/// Something that is wrong.
#[derive(Debug)]
pub(super) struct Fault {
    /// The key to blame, or a section.
    pub(super) key: String,
    pub(super) error: Error,
}

fn fault(key: impl Into<String>, message: impl Into<String>) -> Fault {
    Fault { key: key.into(), error: Error::invalid_argument(message.into()) }
}

impl Config {
    /// Whether it can be used at all; a driver's own troubles show when its service is opened.
    pub fn check(&self) -> Result<()> {
        self.faults().into_iter().next().map_or(Ok(()), |fault| Err(fault.error))
    }

    /// Why it cannot be used at all.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if !Log::LEVELS.contains(&self.log.level.as_str()) {
            let message = format!(
                "log.level \"{}\" is not a level; levels are {}",
                self.log.level,
                Log::LEVELS.join(", ")
            );
            faults.push(fault("log.level", message));
        }
        faults.extend(self.unnamed_drivers());
        faults.extend(self.shared_directories());
        let engine = self.engine.faults().into_iter();
        faults.extend(engine.map(|(key, error)| Fault { key: format!("engine.{key}"), error }));
        faults.extend(self.modules_without_service());
        faults.extend(self.wrong_addresses());
        faults
    }

    fn unnamed_drivers(&self) -> impl Iterator<Item = Fault> {
        let unnamed = self.services.iter().filter(|(_, service)| service.driver.is_empty());
        unnamed.map(|(name, _)| {
            let message =
                format!("services.{name}.driver is missing; `mobula driver ls` shows the drivers");
            fault(format!("services.{name}"), message)
        })
    }

    fn shared_directories(&self) -> Vec<Fault> {
        let mut paths: Vec<(&ServiceName, PathBuf)> = Vec::new();
        let mut faults = Vec::new();
        for (name, service) in &self.services {
            let own = service.options.iter().find(|(key, _)| key.eq_ignore_ascii_case("path"));
            let Some((key, path)) = own.map(|(key, path)| (key, PathBuf::from(path))) else {
                continue;
            };
            let clash = |(_, other): &&(&ServiceName, PathBuf)| {
                path.starts_with(other) || other.starts_with(&path)
            };
            if let Some((other, _)) = paths.iter().find(clash) {
                let message = format!(
                    "services {other} and {name} share the directory {}; give each a path of its \
                     own, none within the other",
                    path.display()
                );
                faults.push(fault(format!("services.{name}.options.{key}"), message));
            }
            paths.push((name, path));
        }
        faults
    }

    fn modules_without_service(&self) -> impl Iterator<Item = Fault> {
        self.docker.iter().filter_map(|(name, module)| {
            let service = module.service.as_ref().unwrap_or(name);
            if self.services.contains_key(service) {
                return None;
            }
            let known: Vec<_> = self.services.keys().map(ServiceName::as_str).collect();
            let message = format!(
                "docker.{name} offers service {service}, which is not configured; services are {}",
                known.join(", ")
            );
            Some(fault(format!("docker.{name}.service"), message))
        })
    }

    fn wrong_addresses(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (name, module) in &self.docker {
            let listen = match module.listen.as_deref().map(Listen::parse).transpose() {
                Ok(listen) => listen,
                Err(error) => {
                    faults.push(Fault { key: format!("docker.{name}.listen"), error });
                    continue;
                }
            };
            if module.tls.is_some() && !matches!(listen, Some(Listen::Tcp(_))) {
                let message = format!(
                    "docker.{name} has tls but no TCP address; set docker.{name}.listen to \
                     tcp://ADDRESS:PORT"
                );
                faults.push(fault(format!("docker.{name}.tls"), message));
            }
        }
        faults
    }

    /// What is wrong with its services: unknown drivers and options, unusable secrets. Opens none.
    pub(super) fn service_faults(&self) -> Vec<Fault> {
        self.services.iter().flat_map(|(name, service)| service.faults(name)).collect()
    }

    /// Itself, unless something is wrong with its services: `InvalidArgument` says what.
    pub fn without_problems(self) -> Result<Self> {
        let problems = self.problems();
        if problems.is_empty() {
            return Ok(self);
        }
        Err(Error::invalid_argument(problems.join("; ")))
    }

    /// The same for people.
    pub fn problems(&self) -> Vec<String> {
        let faults = self.service_faults().into_iter();
        faults.map(|Fault { key, error }| format!("{key}: {error}")).collect()
    }
}

impl Service {
    fn faults(&self, name: &ServiceName) -> Vec<Fault> {
        let at = |below: String, error| Fault { key: format!("services.{name}{below}"), error };
        if let Some(problem) = &self.problem {
            return vec![at(String::new(), Error::invalid_argument(problem.clone()))];
        }
        let spec = match drivers::get(&self.driver) {
            // Which services have no driver is said elsewhere.
            Err(_) if self.driver.is_empty() => return Vec::new(),
            Err(error) => return vec![at(".driver".to_owned(), error)],
            Ok(spec) => spec,
        };
        let mut faults = self.option_faults(spec);
        faults.extend(self.volume_faults(spec));
        faults.into_iter().map(|(below, error)| at(below, error)).collect()
    }

    /// What is wrong with its driver's options, each with its key below the service. Whether they go
    /// together is judged where each by itself can be read.
    fn option_faults(&self, spec: &Spec) -> Vec<(String, Error)> {
        let mut faults = Vec::new();
        for (key, value) in &self.options {
            if let Err(error) = service_option(spec, key, value) {
                faults.push((format!(".options.{key}"), error));
            }
        }
        if faults.is_empty() {
            let mistakes = match self.read_options(spec) {
                Ok(options) => self.mistakes(spec, &options),
                Err(error) => return vec![(String::new(), error)],
            };
            let blamed = |option| format!(".options.{}", spelled(&self.options, option));
            faults.extend(mistakes.into_iter().map(|wrong| (blamed(wrong.option), wrong.error)));
        }
        faults
    }

    /// The same of its volume defaults.
    fn volume_faults(&self, spec: &Spec) -> Vec<(String, Error)> {
        let mut faults = Vec::new();
        for (key, value) in &self.volume {
            let one = [(key.as_str(), value.as_str())];
            if let Err(error) = volume_defaults(spec, one) {
                faults.push((format!(".volume.{key}"), error));
            }
        }
        if faults.is_empty() {
            let mistakes = match volume_defaults(spec, pairs(&self.volume)) {
                Ok(defaults) => volume::options::mistakes(spec, &defaults),
                Err(error) => return vec![(String::new(), error)],
            };
            let blamed = |option| format!(".volume.{}", spelled(&self.volume, option));
            faults.extend(mistakes.into_iter().map(|wrong| (blamed(wrong.option), wrong.error)));
        }
        faults
    }

    /// What the driver finds wrong with its options. What stands elsewhere is told nobody.
    fn mistakes(&self, spec: &Spec, options: &BTreeMap<String, String>) -> Vec<Mistake> {
        let mut mistakes = (spec.check)(options);
        // Of a secret the driver tells nothing in any case.
        let told_nobody = spec.service_options.iter().filter(|option| {
            let written = self.options.get(spelled(&self.options, option.name));
            !option.secret && written.is_some_and(|written| is_elsewhere(written))
        });
        let told_nobody: Vec<_> = told_nobody.map(|option| option.name).collect();
        for Mistake { option, error } in &mut mistakes {
            let shows = |name: &&&str| {
                let value = options.get(**name).filter(|value| !value.is_empty());
                **name == *option || value.is_some_and(|value| error.message().contains(value))
            };
            if let Some(name) = told_nobody.iter().find(shows) {
                *error = Error::invalid_argument(format!(
                    "option {name}: the value that it stands for is refused by driver {}; put it \
                     right there",
                    spec.name
                ));
            }
        }
        mistakes
    }

    /// Its driver, the driver's options by their proper names, and its volume defaults: all that has
    /// to be right before it can be opened.
    pub fn parsed(&self) -> Result<(&'static Spec, BTreeMap<String, String>, volume::Parameters)> {
        let (spec, options, defaults) = self.read()?;
        told(self.mistakes(spec, &options))?;
        told(volume::options::mistakes(spec, &defaults))?;
        Ok((spec, options, defaults))
    }

    /// The same, each by itself: whether they go together is not asked.
    pub fn read(&self) -> Result<(&'static Spec, BTreeMap<String, String>, volume::Parameters)> {
        if let Some(problem) = &self.problem {
            return Err(Error::invalid_argument(problem.clone()));
        }
        let spec = drivers::get(&self.driver)?;
        Ok((spec, self.read_options(spec)?, volume_defaults(spec, pairs(&self.volume))?))
    }

    fn read_options(&self, spec: &Spec) -> Result<BTreeMap<String, String>> {
        let known = volume::options::normalise(spec.service_options, pairs(&self.options))?;
        let known = known.values();
        known
            .map(|(option, value)| Ok((option.name.to_owned(), resolved(option, value)?)))
            .collect()
    }
}

fn pairs(map: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    map.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

/// The option as it is written, in whatever case.
fn spelled<'a>(written: &'a BTreeMap<String, String>, option: &'a str) -> &'a str {
    written.keys().find(|key| key.eq_ignore_ascii_case(option)).map_or(option, String::as_str)
}

/// Whether a value stands in a file.
fn is_elsewhere(written: &str) -> bool {
    matches!(host::secret::parse(written), Ok(Written::Secret(_)))
}

fn service_option(spec: &Spec, key: &str, value: &str) -> Result<()> {
    let known = volume::options::normalise(spec.service_options, [(key, value)])?;
    known.values().try_for_each(|(option, value)| resolved(option, value).map(drop))
}

/// The value of an option, wherever it stands. What stands elsewhere is told nobody, not even when
/// it is of the wrong kind.
fn resolved(option: &OptionSpec, written: &str) -> Result<String> {
    let name = option.name;
    let value = host::secret::resolve(written).map_err(|error| error.with("option", name))?;
    let is_hidden = option.secret || is_elsewhere(written);
    match option.unit.check(name, &value) {
        Err(_) if is_hidden => Err(Error::invalid_argument(format!(
            "option {name}: the value that it stands for is refused; it must be {}",
            option.unit.describe()
        ))),
        checked => checked.map(|()| value),
    }
}

fn volume_defaults<'a>(
    spec: &Spec,
    given: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<volume::Parameters> {
    let (defaults, origin) = volume::options::parse_volume_options(spec, given)?;
    if origin.is_some() {
        return Err(Error::invalid_argument(
            "volume defaults cannot name a snapshot or clone; say that when creating a volume",
        ));
    }
    Ok(defaults)
}
