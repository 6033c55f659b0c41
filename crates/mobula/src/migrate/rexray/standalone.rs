//! The configuration of the standalone agent: REX-Ray's services and modules, put together.

use super::drivers::{self, Driver};
use super::mapping::{Mapper, Order, Secret, Target, literal};
use super::modules::{self, Module, Wanted};
use super::settings::{Origin, Raw, Scope, Settings};
use super::table::{LOG_LEVEL, SERVICE};
use super::{Migration, Sources, report};
use crate::config::{self, Config, Log};
use crate::migrate::{Became, Fate, Row};
use error::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use volume::ServiceName;

/// Makes the configuration of the standalone agent.
pub(super) fn migrate(
    sources: &Sources,
    raws: Vec<Raw>,
    drivers: &[Driver],
    migration: &mut Migration,
) -> Result<()> {
    let of_process =
        |raw: &Raw| matches!(&raw.origin, Origin::Variable { file, .. } if file.is_none());
    let has_variables = raws.iter().any(of_process);
    let settings = Settings::new(raws, drivers)?;
    let modules = modules::modules(&settings);
    let services = modules::services(&settings, &modules);
    let target = Target::File { secrets: sources.secrets.clone() };
    let mut assembly = Assembly {
        mapper: Mapper::new(settings, target),
        config: config::parse("")?,
        drivers,
        left_out: BTreeMap::new(),
        extra: Vec::new(),
    };
    for wanted in &services {
        assembly.service(wanted, &modules::scopes(&wanted.name, &modules, &services))?;
    }
    for module in &modules {
        assembly.module(module, &services)?;
    }
    assembly.log();
    let Assembly { mapper, config, left_out, extra, .. } = assembly;
    migration.secrets.extend(mapper.secrets.iter().cloned());
    migration.rows.extend(report::rows(&mapper, drivers));
    migration.rows.extend(extra);
    migration.left_out.extend(left_out.into_values());
    accepted(config.clone(), &migration.secrets)?;
    let files = sources.files.iter().chain(&sources.environment);
    let mut names: Vec<&str> = files.map(|file| file.name.as_str()).collect();
    names.extend(has_variables.then_some("the environment"));
    migration.text = text(&names, &config, &migration.left_out)?;
    migration.config = Some(config);
    Ok(())
}

/// What is made must be accepted by `mobula config check`; this is what it asks. The files that
/// secrets go to are not there yet: what will be in them takes their place.
fn accepted(mut config: Config, secrets: &[Secret]) -> Result<()> {
    config.check()?;
    for value in config.services.values_mut().flat_map(|service| service.options.values_mut()) {
        let place = value.strip_prefix('@');
        if let Some(secret) = secrets.iter().find(|secret| place == Some(secret.path.as_str())) {
            *value = literal(&secret.value);
        }
    }
    match config.problems().into_iter().next() {
        None => Ok(()),
        Some(problem) => Err(Error::internal(format!("the new configuration is wrong: {problem}"))),
    }
}

struct Assembly<'a> {
    mapper: Mapper<'a>,
    config: Config,
    drivers: &'a [Driver],
    /// Services that are not there yet, by name, in words.
    left_out: BTreeMap<String, String>,
    /// Rows that no setting has.
    extra: Vec<Row>,
}

impl Assembly<'_> {
    fn service(&mut self, wanted: &Wanted, scopes: &[Scope]) -> Result<()> {
        let name = ServiceName::parse(&wanted.name)?;
        let key = format!("services.{name}.driver");
        let Some(driver) = drivers::find(self.drivers, &wanted.driver) else {
            return self.unknown_driver(wanted);
        };
        let order = Order { name: name.as_str(), driver, scopes };
        let service = self.mapper.service(order);
        let value = driver.ours.unwrap_or(driver.name).to_owned();
        let became = Became { key, value };
        if let Some(index) = wanted.said_by {
            let mark = &mut self.mapper.marks[index];
            let list = if service.is_some() { &mut mark.mapped } else { &mut mark.later };
            list.push(became);
            self.mapper.note(index, driver.change);
        }
        match service {
            Some(service) => drop(self.config.services.insert(name, service)),
            None => {
                let what = format!("service {name} (driver {})", driver.name);
                self.left_out.insert(wanted.name.clone(), what);
            }
        }
        Ok(())
    }

    fn unknown_driver(&mut self, wanted: &Wanted) -> Result<()> {
        let names: Vec<&str> = self.drivers.iter().map(|driver| driver.name).collect();
        let near = volume::options::nearest(&wanted.driver, &names);
        let hint = near.map(|near| format!(" Did you mean {near}?")).unwrap_or_default();
        let what = format!("service {} (an unknown driver)", wanted.name);
        self.left_out.insert(wanted.name.clone(), what);
        if let Some(index) = wanted.said_by {
            self.mapper.marks[index].done = Some(Fate::Unknown);
            let told = format!("REX-Ray has no such driver; the service is left out.{hint}");
            self.mapper.note(index, &told);
        }
        Ok(())
    }

    fn module(&mut self, module: &Module, services: &[Wanted]) -> Result<()> {
        let (name, listen) = match &module.plugin {
            Ok((name, listen)) => (name.clone(), listen.clone()),
            Err(why) => {
                self.tell_module(module, &format!("Module {} is left out: {why}.", module.name));
                return Ok(());
            }
        };
        let Some(service) = modules::offered(module, services) else {
            let told = format!(
                "Module {} is left out: {SERVICE} does not say which service it offers.",
                module.name
            );
            self.tell_module(module, &told);
            return Ok(());
        };
        let (plugin, service) = (ServiceName::parse(&name)?, ServiceName::parse(&service)?);
        let is_there = self.config.services.contains_key(&service);
        let key = format!("docker.{plugin}");
        let offers = Became { key: format!("{key}.service"), value: service.to_string() };
        let mut became = vec![offers.clone()];
        if let Some(listen) = &listen {
            became.push(Became { key: format!("{key}.listen"), value: listen.clone() });
        }
        for (index, became) in [module.chosen_by, module.host].into_iter().zip(became) {
            if let Some(index) = index {
                let mark = &mut self.mapper.marks[index];
                if is_there { mark.mapped.push(became) } else { mark.later.push(became) }
            }
        }
        if let Some(index) = module.host.filter(|_| listen.is_none() && !is_there) {
            self.mapper.marks[index].later.push(offers);
        } else if let Some(index) = module.host.filter(|_| listen.is_none()) {
            // The name says where it listens.
            self.mapper.marks[index].done = Some(Fate::NotNeeded);
            let told = "Docker knows the plugin by the name of that socket, as before.";
            self.mapper.note(index, told);
        }
        if !is_there {
            return Ok(());
        }
        let made = config::Module { service: Some(service), listen, tls: None };
        if self.config.docker.insert(plugin.clone(), made).is_some() {
            let told = format!("Another module is {plugin} for Docker, too; the last one counts.");
            self.tell_module(module, &told);
        }
        Ok(())
    }

    /// Says something about a module where it will be read: at its setting, or in a row of its own.
    fn tell_module(&mut self, module: &Module, told: &str) {
        if let Some(index) = module.host.or(module.chosen_by) {
            self.mapper.marks[index].done = Some(Fate::NotNeeded);
            return self.mapper.note(index, told);
        }
        self.extra.push(Row {
            key: format!("rexray.modules.{}", module.name),
            was: String::new(),
            from: "REX-Ray's default".to_owned(),
            fate: Fate::NoEquivalent,
            became: Vec::new(),
            change: told.to_owned(),
            attention: false,
        });
    }

    fn log(&mut self) {
        let found = self.mapper.settings.text(&[Scope::Agent, Scope::Root], LOG_LEVEL);
        let Some((index, text)) = found else { return };
        let Some(level) = level(text) else {
            let told = "No level of REX-Ray's; info, the default, is logged.";
            self.mapper.marks[index].done = Some(Fate::NotNeeded);
            return self.mapper.note(index, told);
        };
        let became = Became { key: "log.level".to_owned(), value: level.to_owned() };
        self.mapper.marks[index].mapped.push(became);
        level.clone_into(&mut self.config.log.level);
    }
}

/// Our level that is nearest to REX-Ray's.
pub(super) fn level(text: &str) -> Option<&'static str> {
    Some(match text.to_ascii_lowercase().as_str() {
        "panic" | "fatal" | "error" => "error",
        "warn" | "warning" => "warn",
        "info" => "info",
        "debug" => "debug",
        _ => return None,
    })
}

/// What of the configuration is said, and nothing else.
#[derive(Serialize)]
struct Said<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<Level<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    services: BTreeMap<&'a str, SaidService<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    docker: &'a BTreeMap<ServiceName, config::Module>,
}

#[derive(Serialize)]
struct Level<'a> {
    level: &'a str,
}

#[derive(Serialize)]
struct SaidService<'a> {
    driver: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    options: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    volume: &'a BTreeMap<String, String>,
}

fn text(names: &[&str], config: &Config, left_out: &[String]) -> Result<String> {
    let services = config.services.iter().map(|(name, service)| {
        let config::Service { driver, options, volume, .. } = service;
        (name.as_str(), SaidService { driver, options, volume })
    });
    let is_said = config.log != Log::default();
    let said = Said {
        log: is_said.then(|| Level { level: &config.log.level }),
        services: services.collect(),
        docker: &config.docker,
    };
    let is_empty = said.log.is_none() && said.services.is_empty();
    let yaml = serde_saphyr::to_string(&said).map_err(|error| {
        Error::internal("the configuration cannot be written as YAML").because(error)
    })?;
    let heading = heading(names, config, left_out);
    Ok(if is_empty { heading } else { format!("{heading}{}\n", yaml.trim_end()) })
}

fn heading(names: &[&str], config: &Config, left_out: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| name.escape_debug().to_string()).collect();
    let mut text = format!("# Made by `mobula migrate rexray` of {}.\n", names.join(", "));
    for what in left_out {
        text += &format!("# NOT THERE YET, and left out: {what}.\n");
    }
    if !left_out.is_empty() {
        text += "# Run the command again when `mobula driver ls` shows the driver.\n";
    }
    if config.services.is_empty() {
        text += "# No service is left. Without one, `mobula start` serves driver loop as mobula.\n";
    } else if config.docker.is_empty() {
        text += "# No module is left. Docker knows each service by its own name.\n";
    }
    text
}
