//! `mobula migrate`: the way over from other programs.

mod rexray;
mod show;
#[cfg(test)]
mod tests;

use super::Global;
use crate::cli::failure::Outcome;
use crate::cli::output::Output;
use clap::{Args, Subcommand};

/// Come over from another program: its configuration becomes Mobula's, and a table says what
/// became of each setting.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct MigrateGroup {
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Rexray(rexray::Rexray),
}

impl MigrateGroup {
    /// Runs the verb.
    pub(crate) fn run(&self, global: &Global, output: &Output) -> Outcome {
        match &self.verb {
            Verb::Rexray(rexray) => rexray.run(global, output),
        }
    }
}
