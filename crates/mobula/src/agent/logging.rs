//! The agent's log: lines on standard error, text or JSON; keeping and rotating them is journald's.

use crate::config::{Log, LogFormat};
use error::{Error, Result};
use std::io::IsTerminal;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// Changes what is logged while the agent runs.
pub(crate) struct Handle(reload::Handle<EnvFilter, Registry>);

/// Begins to log.
pub(crate) fn start(log: &Log) -> Result<Handle> {
    let (filter, handle) = reload::Layer::new(filter(log)?);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines: Box<dyn Layer<_> + Send + Sync> = match log.format {
        LogFormat::Json => lines.json().boxed(),
        LogFormat::Text => lines.with_ansi(colours()).with_target(false).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(|error| {
        Error::internal("the log cannot be started twice in one process").because(error)
    })?;
    Ok(Handle(handle))
}

fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

fn filter(log: &Log) -> Result<EnvFilter> {
    EnvFilter::try_new(&log.level)
        .map_err(|error| Error::invalid_argument("log.level cannot be used").because(error))
}

impl Handle {
    /// Logs at another level from now on.
    pub(crate) fn set(&self, log: &Log) -> Result<()> {
        self.0
            .reload(filter(log)?)
            .map_err(|error| Error::internal("the log level cannot be changed").because(error))
    }
}
