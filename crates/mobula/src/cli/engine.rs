//! `mobula engine`: the plugin engine.

use super::{Global, runtime};
use crate::cli::failure::Outcome;
use crate::config::{self, Overrides};
use crate::paths::Paths;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  mobula engine
  mobula engine --socket /run/plugins.sock --log-level debug
  DOCKER_HOST=unix:///run/mobula/engine.sock docker plugin ls

SIGTERM ends it; plugins go on running, and the next engine takes them over.";

/// Run the plugin engine: Docker's managed plugins without Docker.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Engine {
    /// Where its API listens, instead of /run/mobula/engine.sock.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// What is logged: error, warn, info, debug or trace.
    #[arg(short, long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Engine {
    /// Runs the engine until it is told to stop.
    pub(crate) fn run(&self, global: &Global) -> Outcome {
        let paths = Paths::from_env();
        let config = config::load(&paths, &self.overrides(global))?;
        let socket = self.socket.as_ref().map(std::path::absolute).transpose();
        let socket =
            socket.map_err(|source| error::Error::io("find the socket's place", source))?;
        // Few threads: each has its own share of the allocator's memory.
        let runtime = runtime(Some(2))?;
        let ended = runtime.block_on(crate::engine::run(&paths, &config, socket));
        // Work that hangs in the kernel must not keep the process from ending.
        runtime.shutdown_timeout(Duration::from_millis(500));
        ended?;
        Ok(ExitCode::SUCCESS)
    }

    /// The flag of its own wins over `--set`.
    fn overrides(&self, global: &Global) -> Overrides {
        let mut overrides = global.overrides();
        let level = self.log_level.iter().map(|level| ("log.level".to_owned(), level.clone()));
        overrides.set.extend(level);
        overrides
    }
}
