//! From a plugin's environment to the agent's configuration. Nothing here fails: what is wrong
//! becomes the reason why the service can't be used.

use super::image;
use super::variables::{Sets, Variable, variables};
use crate::config::{Config, Log, Module, Service};
use error::{Error, Result};
use std::collections::BTreeMap;
use volume::{ServiceName, Spec};

/// What a volume looks like as REX-Ray made it.
const COMPAT: [(&str, &str); 2] = [("subPath", "data"), ("mode", "0700")];

/// The configuration that `environment` describes: one service, of the driver's name.
pub fn load(spec: &Spec, environment: impl Fn(&str) -> Option<String>) -> Config {
    let mut config = base(spec);
    for variable in variables(spec) {
        let Some(value) = environment(&variable.name).filter(|value| !value.is_empty()) else {
            continue;
        };
        // Alone, so that the error names who is wrong, and the others are tried all the same.
        let mut alone = base(spec);
        let tried = set(&mut alone, spec, &variable, &value).and_then(|()| check(&alone));
        if let Err(error) = tried.and_then(|()| set(&mut config, spec, &variable, &value)) {
            note(&mut config, &variable, &error);
        }
    }
    config
}

/// Makes what is meant for libraries, such as proxies, this process's own environment: read from
/// where it stands, and gone where it is empty.
pub fn export(variable: &Variable) -> Result<()> {
    let Sets::Environment = variable.sets else { return Ok(()) };
    let Ok(value) = std::env::var(&variable.name) else { return Ok(()) };
    let value = host::secret::resolve(&value)?;
    host::process::set_variable(
        &variable.name,
        Some(value.as_str()).filter(|value| !value.is_empty()),
    )
}

/// Adds to the reasons why the service can't be used.
pub fn note(config: &mut Config, variable: &Variable, error: &Error) {
    for service in config.services.values_mut() {
        let before = service.problem.take().map(|before| format!("{before}; ")).unwrap_or_default();
        service.problem = Some(format!("{before}{}: {error}", variable.name));
    }
}

fn base(spec: &Spec) -> Config {
    let mut config = Config {
        log: Log::default(),
        services: BTreeMap::new(),
        docker: BTreeMap::new(),
        ..Config::default()
    };
    let Ok(name) = ServiceName::parse(spec.name) else { return config };
    let options = image::directories(spec).filter_map(|directory| {
        let place = format!("{}{}", image::place(directory.name), directory.below);
        (!directory.option.is_empty()).then(|| (directory.option.to_owned(), place))
    });
    let service =
        Service { driver: spec.name.to_owned(), options: options.collect(), ..Service::default() };
    let listen = format!("unix://{}/{}", image::SOCKETS, image::SOCKET);
    let module = Module { service: Some(name.clone()), listen: Some(listen), ..Module::default() };
    config.services.insert(name.clone(), service);
    config.docker.insert(name, module);
    config
}

fn set(config: &mut Config, spec: &Spec, variable: &Variable, value: &str) -> Result<()> {
    match &variable.sets {
        Sets::Key(key) if key == "log.level" => config.set(key, level(value)),
        Sets::Key(key) => config.set(key, value),
        Sets::Environment | Sets::Nothing(_) => Ok(()),
        Sets::Compat => compat(config, spec, value),
    }
}

/// What REX-Ray's plugins called their levels.
fn level(value: &str) -> &str {
    match value {
        "panic" | "fatal" => "error",
        "warning" => "warn",
        other => other,
    }
}

fn compat(config: &mut Config, spec: &Spec, value: &str) -> Result<()> {
    if !value.eq_ignore_ascii_case("rexray") {
        return Err(Error::invalid_argument(format!(
            "\"{value}\" is nothing to be compatible with; it may be rexray, or empty"
        )));
    }
    for (option, value) in COMPAT {
        config.set(&format!("services.{}.volume.{option}", spec.name), value)?;
    }
    Ok(())
}

fn check(config: &Config) -> Result<()> {
    config.check()?;
    config.services.values().try_for_each(|service| service.parsed().map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use volume::drivers;

    fn loaded(driver: &str, environment: &[(&str, &str)]) -> Config {
        let spec = drivers::get(driver).unwrap();
        load(spec, |name| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn service(config: &Config) -> &Service {
        config.services.values().next().unwrap()
    }

    #[test]
    fn without_settings_the_driver_works_on_the_directory_that_is_mounted() {
        let config = loaded("loop", &[("VOLUME_SIZE", "")]);
        assert_eq!(service(&config).options["path"], "/machine/volumes/mobula/loop");
        assert_eq!(service(&config).problem, None);
        check(&config).unwrap();
        let module = config.docker.values().next().unwrap();
        assert_eq!(module.listen.as_deref(), Some("unix:///run/docker/plugins/mobula.sock"));
    }

    #[test]
    fn settings_and_rexrays_names_of_them_set_defaults_of_volumes() {
        let rexray = [
            ("REXRAY_FSTYPE", "xfs"),
            ("LINUX_VOLUME_ROOTPATH", "data"),
            ("LINUX_VOLUME_FILEMODE", "0700"),
            ("REXRAY_LOGLEVEL", "warning"),
            ("REXRAY_PREEMPT", "true"),
        ];
        let config = loaded("loop", &rexray);
        let volume = &service(&config).volume;
        assert_eq!((volume["fsType"].as_str(), volume["mode"].as_str()), ("xfs", "0700"));
        assert_eq!((volume["subPath"].as_str(), config.log.level.as_str()), ("data", "warn"));
        let both = [("VOLUME_FSTYPE", "btrfs"), ("REXRAY_FSTYPE", "xfs")];
        assert_eq!(service(&loaded("loop", &both)).volume["fsType"], "btrfs");
    }

    #[test]
    fn compatible_with_rexray_means_its_directory_and_mode() {
        let config = loaded("loop", &[("COMPAT", "rexray"), ("VOLUME_MODE", "0755")]);
        let volume = &service(&config).volume;
        assert_eq!((volume["subPath"].as_str(), volume["mode"].as_str()), ("data", "0755"));
    }

    #[test]
    fn what_is_wrong_is_named_and_the_rest_holds() {
        let wrong = [
            ("VOLUME_SIZE", "huge"),
            ("LOG_LEVEL", "loud"),
            ("COMPAT", "docker"),
            ("VOLUME_FSTYPE", "xfs"),
        ];
        let config = loaded("loop", &wrong);
        let problem = service(&config).problem.clone().unwrap();
        for name in ["VOLUME_SIZE: ", "LOG_LEVEL: ", "COMPAT: "] {
            assert!(problem.contains(name), "{problem}");
        }
        assert_eq!(service(&config).volume["fsType"], "xfs");
        assert!(config.check().is_ok());
    }
}
