//! From a plugin's environment to the agent's configuration. Nothing here fails: what is wrong
//! becomes the reason why the service can't be used.

use super::variables::{AUTHORITIES, Sets, Variable, variables};
use super::{image, rexray};
use crate::config::{Config, Log, Module, Service};
use crate::migrate::rexray::Form;
use error::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use volume::options::parse_bool;
use volume::{ServiceName, Spec};

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
    let Some(value) = said(&variable.name, |name| std::env::var(name).ok()) else { return Ok(()) };
    let read = host::secret::resolve(&value).and_then(|value| {
        if variable.name == AUTHORITIES && !value.is_empty() {
            check_authorities(Path::new(&value))?;
        }
        Ok(value)
    });
    // What is wrong is told, and used by nobody.
    let value = read.as_deref().ok().filter(|value| !value.is_empty());
    host::process::set_variable(&variable.name, value)?;
    read.map(drop)
}

/// Whether there is a certificate in the file: with none, whoever makes connections would trust
/// nobody, and not say why.
fn check_authorities(path: &Path) -> Result<()> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let bytes = host::file::read_optional(path)?.ok_or_else(|| {
        Error::failed_precondition(format!(
            "file {} is not there; name one that the plugin sees, like /machine/secrets/ca.pem",
            path.display()
        ))
    })?;
    if bytes.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Ok(());
    }
    Err(Error::failed_precondition(format!(
        "file {} holds no certificate; it must be PEM",
        path.display()
    )))
}

/// What a variable for libraries is set to. A proxy for http is one for https too where none is named
/// for that: so it was with REX-Ray's.
fn said(name: &str, environment: impl Fn(&str) -> Option<String>) -> Option<String> {
    let own = environment(name);
    if name != "HTTPS_PROXY" || own.as_ref().is_some_and(|value| !value.is_empty()) {
        return own;
    }
    // By now it was read, wherever it stood, or that failed and was told.
    environment("HTTP_PROXY").filter(|value| !value.starts_with('@')).or(own)
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
        Sets::Address(key) => config.set(key, &address(value)),
        Sets::Switch { key, on, off } => config.set(key, if switch(value)? { on } else { off }),
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

/// `ec2.eu-west-1.amazonaws.com` → `https://…`. A secret's place is not looked into.
fn address(value: &str) -> String {
    if value.starts_with('@') { value.to_owned() } else { Form::Address.of(value) }
}

fn switch(value: &str) -> Result<bool> {
    parse_bool(value).ok_or_else(|| {
        Error::invalid_argument(format!(
            "\"{}\" is refused; give true or false",
            value.escape_debug().take(40).collect::<String>()
        ))
    })
}

fn compat(config: &mut Config, spec: &Spec, value: &str) -> Result<()> {
    if !value.eq_ignore_ascii_case("rexray") {
        return Err(Error::invalid_argument(format!(
            "\"{value}\" is nothing to be compatible with; it may be rexray, or empty"
        )));
    }
    rexray::compat(spec).iter().try_for_each(|(key, value)| config.set(key, value))
}

fn check(config: &Config) -> Result<()> {
    config.check()?;
    config.services.values().try_for_each(|service| service.read().map(drop))
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
    fn rexrays_settings_of_ebs_are_those_of_the_driver() {
        let rexray = [
            ("EBS_ACCESSKEY", "AK"),
            ("EBS_SECRETKEY", "hunter2"),
            ("EBS_REGION", "eu-west-1"),
            ("EBS_TAG", "prod"),
            ("EBS_ENDPOINT", "ec2.eu-west-1.amazonaws.com"),
            ("EBS_KMSKEYID", "alias/k"),
            ("EBS_MAXRETRIES", "3"),
            ("EBS_STATUSMAXATTEMPTS", "10"),
            ("EBS_STATUSINITIALDELAY", "100ms"),
            ("EBS_STATUSTIMEOUT", "2m"),
            ("EBS_USELARGEDEVICERANGE", "true"),
            ("EBS_NVMEBINPATH", "/usr/sbin/nvme"),
        ];
        let config = loaded("ebs", &rexray);
        let Service { options, volume, problem, .. } = service(&config);
        assert_eq!(*problem, None);
        let all: Vec<_> = options.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let expected = [
            "accessKey=AK",
            "endpoint=https://ec2.eu-west-1.amazonaws.com",
            "region=eu-west-1",
            "secretKey=hunter2",
            "tag=prod",
        ];
        assert_eq!(all, expected);
        assert_eq!(volume["encryptionKey"], "alias/k");
        let both = [("EBS_KMSKEYID", "old"), ("VOLUME_ENCRYPTIONKEY", "new")];
        assert_eq!(service(&loaded("ebs", &both)).volume["encryptionKey"], "new");
    }

    #[test]
    fn rexrays_preempt_is_the_drivers_where_it_has_one() {
        for (said, is) in [("true", Some("proof")), ("false", Some("never")), ("", None)] {
            let config = loaded("ebs", &[("REXRAY_PREEMPT", said)]);
            assert_eq!(service(&config).options.get("preempt").map(String::as_str), is);
        }
        let config = loaded("ebs", &[("REXRAY_PREEMPT", "true"), ("EBS_PREEMPT", "never")]);
        assert_eq!(service(&config).options["preempt"], "never");
        let config = loaded("ebs", &[("REXRAY_PREEMPT", "perhaps")]);
        let problem = service(&config).problem.clone().unwrap();
        assert_eq!(problem, "REXRAY_PREEMPT: \"perhaps\" is refused; give true or false");
    }

    #[test]
    fn compatible_with_rexray_means_its_list_where_there_is_another() {
        let config = loaded("ebs", &[("COMPAT", "rexray")]);
        let Service { options, volume, .. } = service(&config);
        assert_eq!((&*options["list"], &*volume["subPath"]), ("named", "data"));
    }

    #[test]
    fn awss_region_counts_where_the_drivers_own_is_not_said() {
        let region = |variables: &[(&str, &str)]| {
            service(&loaded("ebs", variables)).options.get("region").cloned().unwrap_or_default()
        };
        assert_eq!(region(&[("AWS_REGION", "a"), ("AWS_DEFAULT_REGION", "b")]), "a");
        assert_eq!(region(&[("AWS_DEFAULT_REGION", "b")]), "b");
        assert_eq!(region(&[("AWS_REGION", "a"), ("EBS_REGION", "c")]), "c");
    }

    #[test]
    fn a_proxy_for_http_is_one_for_https_too_unless_there_is_another() {
        let proxy = |http: &str, https: &str| {
            let environment = [("HTTP_PROXY", http.to_owned()), ("HTTPS_PROXY", https.to_owned())];
            let find = |name: &str| environment.iter().find(|(known, _)| *known == name);
            said("HTTPS_PROXY", |name| find(name).map(|(_, value)| value.clone()))
        };
        assert_eq!(proxy("http://a", "").as_deref(), Some("http://a"));
        assert_eq!(proxy("http://a", "http://b").as_deref(), Some("http://b"));
        assert_eq!(proxy("@/unread", "").as_deref(), Some(""));
    }

    #[test]
    fn authorities_are_a_file_with_a_certificate() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let told = |path: &Path| check_authorities(path).map_err(|error| error.to_string());
        std::fs::write(&file, "none").unwrap();
        assert!(told(file.path()).unwrap_err().contains("holds no certificate"));
        std::fs::write(&file, "# one\n-----BEGIN CERTIFICATE-----\n").unwrap();
        assert_eq!(told(file.path()), Ok(()));
        assert!(told(Path::new("/nosuch/ca.pem")).unwrap_err().contains("is not there"));
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
