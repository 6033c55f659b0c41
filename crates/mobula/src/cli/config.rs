//! `mobula config`: the configuration, begun, checked and shown.

use super::Global;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::{Format, Output, Row};
use crate::cli::table::{Column, Table};
use crate::cli::terminal::{emit, emit_line, note};
use crate::config::{self, Examined, Setting};
use crate::paths::Paths;
use clap::{Args, Subcommand};
use error::{Error, Kind, Result};
use host::file::{self, Durability};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Begin, check and show the configuration.
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
    /// Write a configuration file to begin with; one that is there stays, unless forced.
    Init(Init),
    /// Check the configuration and the files that it names; exit code 2 when something is wrong.
    Check,
    /// Show the configuration in effect: file, environment and flags; secrets are hidden.
    Show(Show),
    /// Show the JSON schema of the configuration file, for editors.
    Schema,
}

#[derive(Debug, Args)]
struct Init {
    /// File to write instead of the usual one; - for standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct Show {
    /// Value by value, each with the file and line, variable or flag that it comes from.
    #[arg(long)]
    origin: bool,
}

impl ConfigGroup {
    /// Runs the verb.
    pub(crate) fn run(&self, global: &Global, output: &Output) -> Outcome {
        let paths = Paths::from_env();
        let overrides = global.overrides();
        let examine = || config::examine(&paths, &overrides, config::environment());
        match &self.verb {
            Verb::Init(init) => init.run(overrides.file.clone().unwrap_or_else(|| paths.config())),
            Verb::Check => check(output, &examine()),
            Verb::Show(Show { origin: true }) => show_origins(output, &examine()),
            Verb::Show(_) => show(output, &config::load(&paths, &overrides)?.redacted()),
            Verb::Schema => {
                output.show_json(&output.format_or_pretty()?, &config::schema())?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl Init {
    fn run(&self, usual: PathBuf) -> Outcome {
        let path = self.output.clone().unwrap_or(usual);
        if path == Path::new("-") {
            emit(config::EXAMPLE)?;
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            file::make_dir(dir, 0o755)?;
        }
        let text = config::EXAMPLE.as_bytes();
        if self.force {
            file::write_atomic(&path, text, Durability::Synced)?;
        } else {
            write_new(&path, text)?;
        }
        emit_line(&path.display().to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn write_new(path: &Path, text: &[u8]) -> Result<()> {
    file::put_new(path, text).map_err(|error| match error.kind() {
        Kind::AlreadyExists => Error::already_exists(format!(
            "{} is there already and stays as it is; name another file with --output, or replace it \
             with --force",
            path.display()
        )),
        _ => error,
    })
}

fn check(output: &Output, examined: &Examined) -> Outcome {
    let problems = &examined.problems;
    if let format @ (Format::Json | Format::Pretty) = output.format()? {
        let report = json!({
            "file": examined.file,
            "exists": examined.exists,
            "ok": problems.is_empty(),
            "problems": problems,
        });
        output.show_json(&format, &report)?;
        problems.iter().for_each(|problem| note(&problem.to_string()));
        return Ok(ExitCode::from(if problems.is_empty() { 0 } else { 2 }));
    }
    if !problems.is_empty() {
        return Err(failure(examined));
    }
    let state = if examined.exists { "ok" } else { "not there; defaults are used" };
    emit_line(&format!("{}: {state}", examined.file.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Whatever is wrong with a configuration is wrong usage.
fn failure(examined: &Examined) -> Failure {
    let problems = examined.problems.iter();
    Failure::new(
        problems.map(|problem| Error::invalid_argument(problem.to_string())).collect(),
        Vec::new(),
    )
}

impl Row for Setting {
    fn name(&self) -> &str {
        &self.key
    }

    fn fields() -> Vec<String> {
        ["key", "value", "origin"].map(str::to_owned).into()
    }
}

/// What can be read is shown whatever is wrong with the rest.
fn show_origins(output: &Output, examined: &Examined) -> Outcome {
    let settings = config::settings(examined);
    output.show(&output.format()?, &settings, |settings| {
        let columns =
            [Column::flexible("KEY"), Column::flexible("VALUE"), Column::flexible("ORIGIN")];
        let mut table = Table::new(&columns);
        for Setting { key, value, origin } in settings {
            table.push(vec![key.clone().into(), value.clone().into(), origin.to_string().into()]);
        }
        table
    })?;
    if examined.problems.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(failure(examined)) }
}

fn show(output: &Output, config: &config::Config) -> Outcome {
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
                "the configuration has no rows for a template; give --format json, or --origin",
            )
            .into());
        }
    }
    Ok(ExitCode::SUCCESS)
}
