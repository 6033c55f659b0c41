//! `mobula version`.

use crate::cli::failure::Outcome;
use crate::cli::output::{Format, Output, Row};
use crate::cli::table::Table;
use crate::cli::terminal::emit_line;
use clap::Args;
use serde::Serialize;
use std::env::consts::{ARCH, OS};
use std::process::ExitCode;

/// Show the version of this program.
#[derive(Debug, Args)]
pub(crate) struct Version {
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Serialize)]
struct Facts {
    program: &'static str,
    version: &'static str,
    os: &'static str,
    arch: &'static str,
}

impl Row for Facts {
    fn name(&self) -> &str {
        self.version
    }

    fn fields() -> Vec<String> {
        ["program", "version", "os", "arch"].map(str::to_owned).into()
    }
}

impl Version {
    /// Shows it.
    pub(crate) fn run(&self, output: &Output) -> Outcome {
        let facts = Facts { program: "mobula", version: crate::VERSION, os: OS, arch: ARCH };
        match output.format()? {
            Format::Table if !output.quiet => {
                emit_line(&format!("mobula {} ({OS}/{ARCH})", crate::VERSION))?;
            }
            format @ (Format::Json | Format::Pretty) => output.show_json(&format, &facts)?,
            format => output.show(&format, &[facts], |_| Table::bare())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
