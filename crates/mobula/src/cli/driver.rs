//! `mobula driver`: the drivers of this program and the services that use them.

use super::Global;
use crate::api::{ActionInfo, DriverInfo, OptionInfo, ServiceInfo};
use crate::cli::failure::Outcome;
use crate::cli::output::{Format, Output, Row, fields_of};
use crate::cli::session::Session;
use crate::cli::table::{Cell, Column, Table, Tint};
use crate::cli::terminal::emit_line;
use clap::{Args, Subcommand};
use error::{Error, Result};
use serde::Serialize;
use std::process::ExitCode;

/// Show drivers, their options, and the services that use them.
#[derive(Debug, Args)]
#[command(visible_alias = "drivers", subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct DriverGroup {
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List drivers and the services that use them.
    #[command(visible_aliases = ["l", "list"])]
    Ls,
    /// Describe a driver and its options.
    #[command(visible_alias = "show")]
    Inspect {
        /// Name of the driver.
        #[arg(value_name = "DRIVER")]
        name: String,
    },
}

/// A driver with its services.
#[derive(Serialize)]
struct DriverRow {
    #[serde(flatten)]
    driver: DriverInfo,
    services: Vec<ServiceInfo>,
}

impl Row for DriverRow {
    fn name(&self) -> &str {
        &self.driver.name
    }

    fn fields() -> Vec<String> {
        let mut fields = fields_of::<DriverInfo>();
        fields.push("services".to_owned());
        fields
    }
}

impl DriverGroup {
    /// Runs the verb.
    pub(crate) async fn run(&self, global: &Global, output: &Output) -> Outcome {
        let format = output.format()?;
        let session = global.open(output).await?;
        match &self.verb {
            Verb::Ls => list(&session, output, &format).await?,
            Verb::Inspect { name } => inspect(&session, output, &format, name).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Lists drivers with their services.
pub(crate) async fn list(session: &Session, output: &Output, format: &Format) -> Result<()> {
    output.show(format, &rows(session).await?, list_table)
}

async fn rows(session: &Session) -> Result<Vec<DriverRow>> {
    let drivers: Vec<DriverInfo> = session.get("listing drivers", "/v1/drivers").await?;
    let services: Vec<ServiceInfo> = session.get("listing services", "/v1/services").await?;
    let row = |driver: DriverInfo| {
        let own = services.iter().filter(|service| service.driver == driver.name);
        DriverRow { services: own.cloned().collect(), driver }
    };
    Ok(drivers.into_iter().map(row).collect())
}

fn list_table(rows: &[DriverRow]) -> Table {
    let columns =
        [Column::fixed("DRIVER"), Column::flexible("SERVICES"), Column::flexible("SUMMARY")];
    let mut table = Table::new(&columns);
    for row in rows {
        table.push(vec![
            row.driver.name.as_str().into(),
            services_cell(&row.services),
            row.driver.summary.as_str().into(),
        ]);
    }
    table
}

fn services_cell(services: &[ServiceInfo]) -> Cell {
    let word = |service: &ServiceInfo| match service.error {
        Some(_) => format!("{} (unusable)", service.name),
        None => service.name.clone(),
    };
    let text = services.iter().map(word).collect::<Vec<_>>().join(", ");
    let broken = services.iter().any(|service| service.error.is_some());
    Cell::new(text, broken.then_some(Tint::Red))
}

async fn inspect(session: &Session, output: &Output, format: &Format, name: &str) -> Result<()> {
    let rows = rows(session).await?;
    let Some(row) = rows.iter().find(|row| row.driver.name.eq_ignore_ascii_case(name)) else {
        let names: Vec<_> = rows.iter().map(|row| row.driver.name.as_str()).collect();
        return Err(Error::not_found(format!(
            "there is no driver \"{}\"; drivers are {}",
            name.escape_debug(),
            names.join(", ")
        )));
    };
    match format {
        Format::Table if !output.quiet => describe(output, row),
        _ => output.show(format, std::slice::from_ref(row), list_table),
    }
}

fn describe(output: &Output, row: &DriverRow) -> Result<()> {
    let driver = &row.driver;
    emit_line(&format!("{}: {}\n", driver.name, driver.summary))?;
    emit_line(driver.description.trim())?;
    for service in &row.services {
        let capabilities = service.capabilities.join(", ");
        let state = service.error.as_deref().unwrap_or(&capabilities);
        emit_line(&format!("\nService {}: {state}", service.name))?;
    }
    options(output, "Options of a service", &driver.service_options)?;
    options(output, "Options of a volume", &driver.volume_options)?;
    actions(output, driver)
}

fn actions(output: &Output, driver: &DriverInfo) -> Result<()> {
    if driver.actions.is_empty() {
        return Ok(());
    }
    emit_line(&format!("\nActions (`mobula {} ACTION --help` shows their options):", driver.name))?;
    let columns = [Column::fixed("ACTION"), Column::fixed("SUBJECT"), Column::flexible("MEANING")];
    let mut table = Table::new(&columns);
    for ActionInfo { name, help, subject, options: _ } in &driver.actions {
        table.push(vec![name.as_str().into(), subject.as_str().into(), help.as_str().into()]);
    }
    output.show_table(&table)
}

fn options(output: &Output, title: &str, options: &[OptionInfo]) -> Result<()> {
    if options.is_empty() {
        return emit_line(&format!("\n{title}: none"));
    }
    emit_line(&format!("\n{title}:"))?;
    let columns = [
        Column::fixed("OPTION"),
        Column::flexible("VALUE"),
        Column::fixed("DEFAULT"),
        Column::flexible("MEANING"),
    ];
    let mut table = Table::new(&columns);
    for option in options {
        let default = option.default.as_deref().unwrap_or("-");
        let (name, value) = (option.name.as_str(), option.value.as_str());
        table.push(vec![name.into(), value.into(), default.into(), option.help.as_str().into()]);
    }
    output.show_table(&table)
}
