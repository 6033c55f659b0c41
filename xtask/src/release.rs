//! Programs of the workspace, built in release.

use crate::{program, workspace};
use error::{Error, Result};
use serde::Deserialize;
use std::path::PathBuf;

/// What cargo said when it had built.
pub(crate) struct Built(String);

/// A line of `cargo build --message-format=json`.
#[derive(Deserialize)]
struct Message {
    target: Option<Named>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// Builds these packages.
pub(crate) fn build(packages: &[&str]) -> Result<Built> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = program::command(cargo);
    command.current_dir(workspace::root()).args(["build", "--release", "--locked"]);
    command.arg("--message-format=json-render-diagnostics");
    command.args(packages.iter().flat_map(|package| ["-p", package]));
    let said = program::read(&mut command)?;
    Ok(Built(String::from_utf8_lossy(&said).into_owned()))
}

impl Built {
    /// Where the program of this name is.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let messages = self.0.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
        let mut ours =
            messages.filter(|message| message.target.as_ref().is_some_and(|t| t.name == name));
        ours.find_map(|message| message.executable)
            .ok_or_else(|| Error::internal(format!("cargo does not say where it put {name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_of_a_target_is_found() {
        let said = r#"{"reason":"compiler-artifact","target":{"name":"mobula"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"mobula"},"executable":"/t/mobula"}
{"reason":"build-finished","success":true}"#;
        let built = Built(said.to_owned());
        assert_eq!(built.program("mobula").unwrap(), PathBuf::from("/t/mobula"));
        assert!(built.program("xtask").is_err());
    }
}
