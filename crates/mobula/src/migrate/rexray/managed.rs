//! The settings of our managed plugin, out of those of REX-Ray's.

use super::drivers::{self, Driver};
use super::mapping::{Mapper, Order, Target, plugin_variable};
use super::plugin::{Found, commands};
use super::settings::{Scope, Settings};
use super::standalone::level;
use super::table::{LOG_LEVEL, VARIABLES};
use super::{Migration, Plugin, report};
use crate::config::Service;
use crate::migrate::{Became, HIDDEN};
use error::{Error, Result};

/// A variable with its value; `None` for a secret.
type Variable = (String, Option<String>);

/// A plugin has no modules and one service.
const SCOPES: [Scope; 2] = [Scope::Agent, Scope::Root];

/// Adds what becomes of the plugin.
pub(super) fn migrate(found: Found, drivers: &[Driver], migration: &mut Migration) -> Result<()> {
    let Found { name, driver, settings } = found;
    let mut mapper = Mapper::new(Settings::new(settings, drivers)?, Target::Plugin);
    let driver = drivers::find(drivers, &driver)
        .ok_or_else(|| Error::internal(format!("driver {driver} is not in the table")))?;
    let service = mapper.service(Order { name: driver.name, driver, scopes: &SCOPES });
    let mut common = proxies(&mut mapper, service.is_some());
    common.extend(log_level(&mut mapper, service.is_some()));
    migration.rows.extend(report::rows(&mapper, drivers));
    let plugin = match service.zip(driver.ours) {
        Some((service, ours)) => {
            let mut variables = variables(driver, &service);
            variables.extend(common);
            let commands = commands(&name, ours, &variables);
            Plugin { name, driver: Some(ours.to_owned()), commands }
        }
        None => {
            migration.left_out.push(format!("plugin {name} (driver {})", driver.name));
            Plugin { name, driver: None, commands: String::new() }
        }
    };
    migration.plugins.push(plugin);
    Ok(())
}

/// Proxies, which are called the same in both.
fn proxies(mapper: &mut Mapper<'_>, is_there: bool) -> Vec<Variable> {
    let mut variables = Vec::new();
    for (name, key) in VARIABLES.iter().filter(|(_, key)| key.starts_with("proxy.")) {
        let Some((index, text)) = mapper.settings.text(&SCOPES, key) else { continue };
        let is_secret = mapper.settings.all[index].is_secret();
        let value = (!is_secret).then(|| text.to_owned());
        let shown = value.clone().unwrap_or_else(|| HIDDEN.to_owned());
        mark(mapper, index, Became { key: (*name).to_owned(), value: shown }, is_there);
        variables.push(((*name).to_owned(), value));
    }
    variables
}

fn mark(mapper: &mut Mapper<'_>, index: usize, became: Became, is_there: bool) {
    let mark = &mut mapper.marks[index];
    let list = if is_there { &mut mark.mapped } else { &mut mark.later };
    list.push(became);
}

fn log_level(mapper: &mut Mapper<'_>, is_there: bool) -> Option<Variable> {
    let (index, text) = mapper.settings.text(&SCOPES, LOG_LEVEL)?;
    let level = level(text)?.to_owned();
    let became = Became { key: "LOG_LEVEL".to_owned(), value: level.clone() };
    mark(mapper, index, became, is_there);
    Some(("LOG_LEVEL".to_owned(), Some(level)))
}

fn variables(driver: &Driver, service: &Service) -> Vec<Variable> {
    // A secret never got into the service: its place is taken by what hides it.
    let variable = |section: &str, (option, value): (&String, &String)| {
        let value = (value != HIDDEN).then(|| value.clone());
        (plugin_variable(driver, section, option), value)
    };
    let options = service.options.iter().map(|pair| variable("options", pair));
    options.chain(service.volume.iter().map(|pair| variable("volume", pair))).collect()
}
