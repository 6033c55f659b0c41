//! `mobula adapter`: what REX-Ray's users call `mobula driver ls`.

use super::Global;
use crate::cli::driver;
use crate::cli::failure::Outcome;
use crate::cli::output::Output;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Show drivers and services; `mobula driver` is the proper name.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct AdapterGroup {
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List drivers and the services that use them.
    #[command(visible_aliases = ["ls", "list"])]
    Types,
}

impl AdapterGroup {
    /// Runs the verb.
    pub(crate) async fn run(&self, global: &Global, output: &Output) -> Outcome {
        let Verb::Types = self.verb;
        let format = output.format()?;
        driver::list(&global.open(output).await?, output, &format).await?;
        Ok(ExitCode::SUCCESS)
    }
}
