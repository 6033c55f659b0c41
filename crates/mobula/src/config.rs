//! Configuration: a YAML file, overridden by the environment, overridden by flags. Typed; a key that
//! does not exist is refused with the one that was probably meant.

mod engine;
mod examine;
mod faults;
mod keys;
mod known;
mod schema;
mod show;
mod tree;

use crate::paths::Paths;
use error::{Error, Result};
use host::secret::Written;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use volume::{OptionSpec, ServiceName, drivers};

pub use engine::Engine;
pub use examine::{Examined, Origin, Problem, examine};
pub use keys::ENVIRONMENT_PREFIX;
pub use known::{KEYS, Key, Kind};
pub use schema::schema;
pub use show::{Setting, settings};

/// A configuration file to begin with: every section, explained.
pub const EXAMPLE: &str = include_str!("../../../packaging/mobula.yml");

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is logged.
    #[serde(default)]
    pub log: Log,
    /// Drivers with their settings, by a name of your choice.
    #[serde(default)]
    pub services: BTreeMap<ServiceName, Service>,
    /// Docker volume plugins, by the name that Docker knows them by.
    #[serde(default)]
    pub docker: BTreeMap<ServiceName, Module>,
    /// The plugin engine.
    #[serde(default, skip_serializing_if = "Engine::is_default")]
    pub engine: Engine,
}

/// What is logged, on standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    #[serde(default = "Log::default_level")]
    pub level: String,
    /// `text` or `json`.
    #[serde(default)]
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl Log {
    const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

    fn default_level() -> String {
        "info".to_owned()
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Self::default_level(), format: LogFormat::default() }
    }
}

/// A driver with its settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The driver's name.
    #[serde(default)]
    pub driver: String,
    /// The driver's own options.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Volume options for volumes whose creator says nothing else.
    #[serde(default)]
    pub volume: BTreeMap<String, String>,
    /// Why it can't be used, where that is known before it is opened; no key.
    #[serde(skip)]
    pub problem: Option<String>,
}

/// A Docker volume plugin: a socket that speaks Docker's protocol for one service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// The service whose volumes it offers; by default the one of the module's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// `unix:///path`, or `tcp://127.0.0.1:port`; by default the socket of its name in Docker's
    /// plugin directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Certificates for a TCP listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// Certificates and keys, as PEM files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate chain.
    #[serde(default)]
    pub cert: PathBuf,
    /// The server's private key.
    #[serde(default)]
    pub key: PathBuf,
    /// The authority whose clients are let in. Without it, whoever reaches the port is.
    #[serde(default, rename = "clientCa", skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// The authority that signed `cert`, told to Docker in the plugin's `.json` file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The certificate that Docker shall show, told to it likewise.
    #[serde(default, rename = "clientCert", skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<PathBuf>,
    /// The key of that certificate.
    #[serde(default, rename = "clientKey", skip_serializing_if = "Option::is_none")]
    pub client_key: Option<PathBuf>,
}

impl Default for Config {
    /// Without any file: driver `loop`, served to Docker as `mobula`.
    fn default() -> Self {
        let mut config = Self::empty();
        config.complete();
        config
    }
}

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The file to read instead of the usual one; then it must exist.
    pub file: Option<PathBuf>,
    /// Keys and values, as in `log.level` and `debug`.
    pub set: Vec<(String, String)>,
}

/// Reads file, environment and flags, in this order, and checks the result.
pub fn load(paths: &Paths, overrides: &Overrides) -> Result<Config> {
    load_with(paths, overrides, environment())
}

/// The variables of this process that are text.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn load_with(
    paths: &Paths,
    overrides: &Overrides,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config> {
    let mut config = read(paths, overrides)?;
    for (name, value) in environment {
        keys::apply_variable(&mut config, &name, &value)?;
    }
    for (key, value) in &overrides.set {
        keys::apply(&mut config, key, value)?;
    }
    config.complete();
    config.check()?;
    Ok(config)
}

fn read(paths: &Paths, overrides: &Overrides) -> Result<Config> {
    let (path, must_exist) = match &overrides.file {
        Some(path) => (path.clone(), true),
        None => (paths.config(), false),
    };
    let text = match host::file::read_optional(&path)? {
        Some(text) => text,
        None if must_exist => {
            return Err(Error::invalid_argument(format!(
                "configuration file {} does not exist; name an existing one with --config",
                path.display()
            )));
        }
        None => return Ok(Config::empty()),
    };
    let text = String::from_utf8(text)
        .map_err(|_| Error::invalid_argument(format!("{} is not valid UTF-8", path.display())))?;
    parse(&text).map_err(|error| {
        Error::invalid_argument(format!("{}: {}", path.display(), error.message()))
    })
}

/// Parses the text of a configuration file.
pub fn parse(text: &str) -> Result<Config> {
    if is_blank(text) {
        return Ok(Config::empty());
    }
    serde_saphyr::from_str(text).map_err(|source| Error::invalid_argument(told(&source)))
}

/// Whether nothing but comments is in it, which YAML would take for null.
fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

/// What the parser has to say, without what stands in the file: its report shows the line, and a
/// secret on it must not end up in a log.
fn told(source: &serde_saphyr::Error) -> String {
    let said = source.to_string();
    let hint = keys::suggestion(&said).map(|near| format!("; did you mean {near}?"));
    let first = said.lines().next().unwrap_or("it cannot be read");
    // What follows is advice to programmers.
    let advice = [";", ","].into_iter().find_map(|sign| first.find(&format!("{sign} set Dup")));
    let first = &first[..advice.unwrap_or(first.len())];
    format!("{}{}", first.trim_start_matches("error: "), hint.unwrap_or_default())
}

impl Config {
    fn empty() -> Self {
        Self {
            log: Log::default(),
            services: BTreeMap::new(),
            docker: BTreeMap::new(),
            engine: Engine::default(),
        }
    }

    /// Sets a single key, such as `log.level`.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        keys::apply(self, key, value)
    }

    /// Fills in what follows from what is said: a service when there is none, and for services
    /// that no module offers, one of their own name.
    fn complete(&mut self) {
        if self.services.is_empty()
            && let Ok(name) = ServiceName::parse("mobula")
        {
            self.services.insert(name, Service { driver: "loop".to_owned(), ..Service::default() });
        }
        for (name, service) in &mut self.services {
            // Whoever sets a single key of the default service means that one.
            if service.driver.is_empty() && name.as_str() == "mobula" {
                "loop".clone_into(&mut service.driver);
            }
        }
        if self.docker.is_empty() {
            let own = |name: &ServiceName| (name.clone(), Module::default());
            self.docker = self.services.keys().map(own).collect();
        }
        for (name, module) in &mut self.docker {
            module.service.get_or_insert_with(|| name.clone());
        }
    }

    /// The same with every secret hidden; of a driver that is not known, every option.
    pub fn redacted(&self) -> Self {
        let mut config = self.clone();
        for service in config.services.values_mut() {
            let spec = drivers::get(&service.driver).ok();
            let known = |name: &str| -> Option<OptionSpec> {
                let spec = spec?;
                let mut all = spec.service_options.iter().copied().chain(spec.volume_options());
                all.find(|option| option.name.eq_ignore_ascii_case(name))
            };
            // Where a value stands is no secret.
            let elsewhere =
                |value: &str| matches!(host::secret::parse(value), Ok(Written::Secret(_)));
            let hidden = service.options.iter_mut().filter(|(_, value)| !elsewhere(value));
            for (name, value) in hidden.chain(&mut service.volume) {
                if known(name).is_none_or(|option| option.secret) {
                    "********".clone_into(value);
                }
            }
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(text).and_then(|config| config.check()).expect_err(text).to_string()
    }

    fn loaded(text: &str, environment: &[(&str, &str)], set: &[(&str, &str)]) -> Result<Config> {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::at(home.path());
        std::fs::create_dir_all(paths.config().parent().unwrap()).unwrap();
        std::fs::write(paths.config(), text).unwrap();
        let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let overrides = Overrides { file: None, set: owned(set) };
        load_with(&paths, &overrides, owned(environment).into_iter())
    }

    #[test]
    fn without_any_file_the_loop_driver_is_served_as_mobula() {
        let home = tempfile::tempdir().unwrap();
        let config =
            load_with(&Paths::at(home.path()), &Overrides::default(), std::iter::empty()).unwrap();
        assert_eq!(config, Config::default());
        let name = ServiceName::parse("mobula").unwrap();
        assert_eq!(config.services[&name].driver, "loop");
        assert_eq!(config.docker[&name].service, Some(name));
    }

    #[test]
    fn a_misspelt_key_is_refused_with_the_one_that_was_meant() {
        let error = refused("sevices:\n  a: {driver: loop}\n");
        assert!(error.contains("sevices") && error.contains("did you mean services?"), "{error}");
        let error = refused("services:\n  a: {drivr: loop}\n");
        assert!(error.contains("did you mean driver?"), "{error}");
    }

    #[test]
    fn values_stay_as_they_are_written() {
        let config = parse("services:\n  a: {driver: loop, volume: {size: 10, mode: 0770}}\n");
        let service = &config.unwrap().services[&ServiceName::parse("a").unwrap()];
        assert_eq!(service.volume["mode"], "0770");
        assert_eq!(service.parsed().unwrap().2.mode, Some(0o770));
    }

    #[test]
    fn the_environment_wins_over_the_file_and_flags_over_both() {
        let text = "log: {level: warn}\nservices:\n  my-db: {driver: local}\n";
        let service = ServiceName::parse("my-db").unwrap();
        let config = loaded(text, &[("MOBULA_SERVICES_MY_DB_DRIVER", "loop")], &[]).unwrap();
        assert_eq!(
            (config.log.level.as_str(), config.services[&service].driver.as_str()),
            ("warn", "loop")
        );
        let environment =
            [("MOBULA_LOG_LEVEL", "error"), ("MOBULA_SERVICES_MY_DB_VOLUME_SIZE", "5")];
        let config = loaded(text, &environment, &[("log.level", "debug")]).unwrap();
        assert_eq!(config.log.level, "debug");
        assert_eq!(config.services[&service].volume["size"], "5");
    }

    #[test]
    fn an_unknown_variable_or_key_is_refused() {
        let error = loaded("", &[("MOBULA_LOG_LEVLE", "x")], &[]).expect_err("unknown").to_string();
        assert!(error.contains("MOBULA_LOG_LEVLE") && error.contains("log.level"), "{error}");
        assert!(loaded("", &[], &[("log.colour", "x")]).is_err());
        assert!(loaded("", &[("OTHER", "x"), ("MOBULA_HOME", "/x")], &[]).is_ok());
    }

    #[test]
    fn a_module_without_its_service_is_refused() {
        let error = refused("services: {a: {driver: loop}}\ndocker: {b: {service: c}}\n");
        assert!(error.contains("services are a"), "{error}");
    }

    #[test]
    fn an_option_may_stand_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("path");
        std::fs::write(&file, "/srv/kept\n").unwrap();
        let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
        let text = format!(
            "services: {{a: {{driver: local, options: {{path: '@{}'}}}}}}\n",
            file.display()
        );
        let config = parse(&text).unwrap();
        let service = &config.services[&ServiceName::parse("a").unwrap()];
        std::fs::set_permissions(&file, mode(0o600)).unwrap();
        assert_eq!(service.parsed().unwrap().1["path"], "/srv/kept");
        assert!(!format!("{config:?}").contains("kept"));
        std::fs::set_permissions(&file, mode(0o644)).unwrap();
        assert!(config.problems()[0].contains("chmod 600"), "{:?}", config.problems());
        std::fs::remove_file(&file).unwrap();
        assert!(config.problems()[0].contains("does not exist"), "{:?}", config.problems());
    }

    #[test]
    fn two_services_never_share_a_directory() {
        for (one, two) in [("/srv/v", "/srv/v"), ("/srv/v", "/srv/v/x"), ("/srv/v/x", "/srv/v")] {
            let error = refused(&format!(
                "services:\n  a: {{driver: loop, options: {{path: {one}}}}}\n  \
                 b: {{driver: local, options: {{Path: {two}}}}}\n"
            ));
            assert!(error.contains("share the directory"), "{error}");
        }
    }

    #[test]
    fn a_single_key_of_the_default_service_leaves_its_driver() {
        let set = [("services.mobula.volume.size", "32MiB")];
        let config = loaded("", &[], &set).unwrap();
        let name = ServiceName::parse("mobula").unwrap();
        assert_eq!(config.services[&name].driver, "loop");
        assert!(loaded("services: {a: {}}\n", &[], &[]).is_err());
    }

    #[test]
    fn problems_of_services_are_listed() {
        let text = "services:\n  a: {driver: lop}\n  b: {driver: loop, volume: {sise: 1}}\n";
        let problems = parse(text).unwrap().problems();
        assert!(problems[0].contains("did you mean loop?"), "{problems:?}");
        assert!(problems[1].contains("did you mean size?"), "{problems:?}");
    }

    #[test]
    fn what_stands_on_a_wrong_line_is_not_repeated() {
        for text in [
            "services:\n  a: {driver: loop, options: {key: hunter2}, }}\n",
            "services:\n  a: {driver: loop, secretKey: hunter2}\n",
            "log: hunter2\n",
            "services:\n  a: [hunter2]\n",
        ] {
            let error = refused(text);
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_option_that_is_not_known_is_not_shown() {
        let text = "services:\n  a: {driver: nosuch, options: {key: hunter2}}\n  \
                    b: {driver: loop, options: {path: /srv, accessKey: hunter2}}\n";
        let shown = format!("{:?}", parse(text).unwrap().redacted());
        assert!(!shown.contains("hunter2") && shown.contains("/srv"), "{shown}");
    }

    #[test]
    fn malformed_text_is_an_error_with_its_place() {
        for text in ["services: [", "services:\n  a: {driver: loop}\n  a: {driver: local}\n", "42"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
