//! The programs of a run: `mobula`, this one again, and the plugin that engines run, all optimised.

use crate::{program, workspace};
use error::{Error, Result};
use serde::Deserialize;
use std::path::PathBuf;

/// What was built.
pub(super) struct Built {
    pub(super) mobula: PathBuf,
    pub(super) xtask: PathBuf,
    pub(super) plugin: PathBuf,
}

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

/// Builds them in release.
pub(super) fn build() -> Result<Built> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = program::command(cargo);
    command.current_dir(workspace::root()).args(["build", "--release"]);
    command.args([
        "-p",
        "mobula",
        "-p",
        "xtask",
        "-p",
        "testkit",
        "--message-format=json-render-diagnostics",
    ]);
    let said = program::read(&mut command)?;
    let said = String::from_utf8_lossy(&said);
    let find = |name| {
        find(&said, name)
            .ok_or_else(|| Error::internal(format!("cargo does not say where it put {name}")))
    };
    Ok(Built { mobula: find("mobula")?, xtask: find("xtask")?, plugin: find("probe")? })
}

fn find(said: &str, name: &str) -> Option<PathBuf> {
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let mut ours =
        messages.filter(|message| message.target.as_ref().is_some_and(|t| t.name == name));
    ours.find_map(|message| message.executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_of_a_target_is_found() {
        let said = r#"{"reason":"compiler-artifact","target":{"name":"mobula"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"mobula"},"executable":"/t/mobula"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(find(said, "mobula"), Some("/t/mobula".into()));
        assert_eq!(find(said, "xtask"), None);
    }
}
