//! The agent as a Docker managed plugin: one driver, configured by the plugin's settings alone.
//! Which settings there are follows from the driver's [`Spec`]; the image builder writes them into
//! `config.json`, the agent in the container reads them.
//!
//! It listens whatever the settings say: who set them wrong is told so by each call.

pub mod image;
mod rexray;
pub mod settings;
pub mod variables;

use crate::paths::Paths;
use error::{Error, Result};
use std::process::ExitCode;
use std::time::Duration;
use volume::{Spec, drivers};

/// The first argument of a plugin's entrypoint; the second is the driver.
pub const VERB: &str = "__managed";

/// Runs the agent of a plugin until SIGTERM.
pub fn main(arguments: &[String]) -> ExitCode {
    match driver(arguments).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::cli::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn driver(arguments: &[String]) -> Result<&'static Spec> {
    let [name] = arguments else {
        return Err(Error::invalid_argument(format!("{VERB} takes the name of a driver")));
    };
    drivers::get(name)
}

fn run(spec: &'static Spec) -> Result<()> {
    let mut config = settings::load(spec, |name| std::env::var(name).ok());
    // Before there are threads.
    for variable in variables::variables(spec) {
        if let Err(error) = settings::export(&variable) {
            settings::note(&mut config, &variable, &error);
        }
    }
    let load = move || Ok(config.clone());
    let runtime = crate::cli::runtime(None)?;
    let ended = runtime.block_on(crate::agent::run(Paths::from_env(), load));
    runtime.shutdown_timeout(Duration::from_millis(500));
    ended
}
