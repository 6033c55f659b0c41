//! `mobula config`: the configuration, checked and shown.

use super::Global;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::{Format, Output};
use crate::cli::terminal::{emit, emit_line};
use crate::config::{self, Config};
use crate::paths::Paths;
use clap::{Args, Subcommand};
use error::{Error, Result};
use std::path::Path;
use std::process::ExitCode;

/// Check and show the configuration.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct ConfigGroup {
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check the configuration; exit code 2 when something is wrong with it.
    Check,
    /// Show the configuration in effect: file, environment and flags; secrets are hidden.
    Show,
}

impl ConfigGroup {
    /// Runs the verb.
    pub(crate) fn run(&self, global: &Global, output: &Output) -> Outcome {
        let paths = Paths::from_env();
        let overrides = global.overrides();
        let config = config::load(&paths, &overrides);
        match self.verb {
            Verb::Check => check(&overrides.file.unwrap_or_else(|| paths.config()), config),
            Verb::Show => show(output, &config?.redacted()),
        }
    }
}

fn check(file: &Path, config: Result<Config>) -> Outcome {
    let shown = file.display();
    let problems = config.map_err(|error| usage(&error))?.problems();
    if problems.is_empty() {
        let state = if file.exists() { "ok" } else { "not there; defaults are used" };
        emit_line(&format!("{shown}: {state}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let errors = problems
        .into_iter()
        .map(|problem| Error::invalid_argument(format!("{shown}: {problem}")))
        .collect();
    Err(Failure::new(errors, Vec::new()))
}

/// Whatever is wrong with a configuration is wrong usage.
fn usage(error: &Error) -> Error {
    Error::invalid_argument(error.chain())
}

fn show(output: &Output, config: &Config) -> Outcome {
    match output.format()? {
        Format::Table => {
            let yaml = serde_saphyr::to_string(config).map_err(|error| {
                Error::internal("the configuration cannot be written as YAML").because(error)
            })?;
            emit(&yaml)?;
        }
        format @ (Format::Json | Format::Pretty) => output.show_json(&format, config)?,
        Format::Template(_) => {
            return Err(Error::invalid_argument(
                "the configuration has no rows for a template; give --format json",
            )
            .into());
        }
    }
    Ok(ExitCode::SUCCESS)
}
