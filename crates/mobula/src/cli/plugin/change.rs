//! The verbs that change an installed plugin: enable, disable, set, rm.

use crate::cli::failure::{Failure, Outcome};
use crate::cli::terminal::emit_line;
use crate::engine_client::{EngineClient, Request, named, query};
use clap::Args;
use error::{Error, Result};
use std::process::ExitCode;

/// Enable a plugin: start it, and again whenever the engine starts.
#[derive(Debug, Args)]
pub(super) struct Enable {
    /// Name or ID.
    #[arg(value_name = "PLUGIN")]
    plugin: String,

    /// Seconds it may take to accept connections; 0: as the engine is configured.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, allow_negative_numbers = true)]
    timeout: i64,
}

/// Disable a plugin: stop it.
#[derive(Debug, Args)]
pub(super) struct Disable {
    /// Name or ID.
    #[arg(value_name = "PLUGIN")]
    plugin: String,

    /// Disable it though it is in use.
    #[arg(short, long)]
    force: bool,
}

/// Change settings of a disabled plugin.
#[derive(Debug, Args)]
pub(super) struct Set {
    /// Name or ID.
    #[arg(value_name = "PLUGIN")]
    plugin: String,

    /// Setting, such as DEBUG=1 or data.source=/srv (repeatable).
    #[arg(value_name = "KEY=VALUE", required = true)]
    settings: Vec<String>,
}

/// Remove plugins and their data.
#[derive(Debug, Args)]
pub(super) struct Rm {
    /// Name or ID (repeatable).
    #[arg(value_name = "PLUGIN", required = true)]
    plugins: Vec<String>,

    /// Remove it though it is enabled or in use.
    #[arg(short, long)]
    force: bool,
}

impl Enable {
    /// Enables it and prints its name.
    pub(super) async fn run(&self, engine: &EngineClient) -> Result<()> {
        if self.timeout < 0 {
            return Err(Error::invalid_argument(format!(
                "negative timeout {} is invalid; give seconds",
                self.timeout
            )));
        }
        enable(engine, &self.plugin, self.timeout).await?;
        emit_line(&self.plugin)
    }
}

/// Enables a plugin; `timeout` in seconds, 0 as the engine does.
pub(super) async fn enable(engine: &EngineClient, plugin: &str, timeout: i64) -> Result<()> {
    let path = query(&named("/plugins", plugin, "/enable")?, &[("timeout", &timeout.to_string())]);
    engine.send(Request::post(path)).await.map(drop)
}

impl Disable {
    /// Disables it and prints its name.
    pub(super) async fn run(&self, engine: &EngineClient) -> Result<()> {
        let path = forced(named("/plugins", &self.plugin, "/disable")?, self.force);
        engine.send(Request::post(path)).await?;
        emit_line(&self.plugin)
    }
}

impl Set {
    /// Sets all of them, or none.
    pub(super) async fn run(&self, engine: &EngineClient) -> Result<()> {
        set(engine, &self.plugin, &self.settings).await
    }
}

/// Applies settings to a plugin.
pub(super) async fn set(engine: &EngineClient, plugin: &str, settings: &[String]) -> Result<()> {
    let request = Request::post(named("/plugins", plugin, "/set")?).json(&settings)?;
    engine.send(request).await.map(drop)
}

impl Rm {
    /// Removes each of them, printing names; goes on after a failure.
    pub(super) async fn run(&self, engine: &EngineClient) -> Outcome {
        let mut errors = Vec::new();
        for plugin in &self.plugins {
            match remove(engine, plugin, self.force).await {
                Ok(()) => emit_line(plugin)?,
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        Err(Failure::new(errors, Vec::new()))
    }
}

async fn remove(engine: &EngineClient, plugin: &str, force: bool) -> Result<()> {
    let path = forced(named("/plugins", plugin, "")?, force);
    engine.send(Request::delete(path)).await.map(drop)
}

fn forced(path: String, force: bool) -> String {
    if force { query(&path, &[("force", "1")]) } else { path }
}
