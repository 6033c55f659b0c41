//! `mobula start`: the agent.

use super::{Global, runtime};
use crate::cli::failure::Outcome;
use crate::config::{self, Overrides};
use crate::paths::Paths;
use clap::{Args, ValueEnum};
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  mobula start
  mobula start -c ./mobula.yml --log-level debug
  mobula start --set services.mobula.driver=local --log-format json

SIGTERM ends it; what is mounted stays mounted.";

/// Run the agent: serve volumes to Docker and to the command line.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Start {
    /// What is logged: error, warn, info, debug or trace.
    #[arg(short, long, alias = "logLevel", value_name = "LEVEL")]
    log_level: Option<String>,

    /// How a log line looks.
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Start {
    /// Runs the agent until it is told to stop.
    pub(crate) fn run(&self, global: &Global) -> Outcome {
        let overrides = self.overrides(global);
        let paths = Paths::from_env();
        let home = paths.clone();
        let load = move || config::load(&home, &overrides);
        let runtime = runtime(None)?;
        let ended = runtime.block_on(crate::agent::run(paths, load));
        // Work that hangs in the kernel must not keep the process from ending; what it leaves the
        // next start puts right.
        runtime.shutdown_timeout(Duration::from_millis(500));
        ended?;
        Ok(ExitCode::SUCCESS)
    }

    /// Flags of their own win over `--set`.
    fn overrides(&self, global: &Global) -> Overrides {
        let mut overrides = global.overrides();
        let format = self.log_format.map(|format| match format {
            LogFormat::Text => "text".to_owned(),
            LogFormat::Json => "json".to_owned(),
        });
        let flags = [("log.level", self.log_level.clone()), ("log.format", format)];
        let given = flags.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        overrides.set.extend(given);
        overrides
    }
}
