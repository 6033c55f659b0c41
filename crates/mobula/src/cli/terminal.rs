//! Standard output and standard error: who is looking, in which width, and writing to somebody who
//! may have gone away.

use clap::ValueEnum;
use error::{Error, Result};
use std::io::{ErrorKind, IsTerminal, Write};

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always, even into a pipe.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Whether standard output gets colours.
    pub(crate) fn is_on(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => std::io::stdout().is_terminal() && !is_unwanted(),
        }
    }
}

/// An environment variable; an empty one counts as unset.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn is_unwanted() -> bool {
    variable("NO_COLOR").is_some() || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// The columns that a table may have; `None` when standard output is no terminal.
pub(crate) fn width() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let told = variable("COLUMNS").and_then(|columns| columns.parse().ok());
    let told = told.filter(|columns| *columns > 0);
    told.or_else(|| terminal_size::terminal_size().map(|(width, _)| width.0.into()))
}

/// Writes `text` to standard output. A reader that went away is no failure: what the command does
/// must not depend on who looks on.
pub(crate) fn emit(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::io("write to standard output", error))
        }
        _ => Ok(()),
    }
}

/// [`emit`]s one line.
pub(crate) fn emit_line(line: &str) -> Result<()> {
    emit(&format!("{line}\n"))
}

/// Tells people something on standard error. There is nowhere to report that this failed.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "mobula: {text}");
}
