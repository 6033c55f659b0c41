//! `mobula plugin inspect`.

use super::indent::indent;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::{Format, Output};
use crate::cli::template::Template;
use crate::cli::terminal::emit_line;
use crate::engine_client::{EngineClient, Request, named};
use clap::Args;
use error::{Error, Kind, Result};
use serde_json::Value;
use std::process::ExitCode;

/// Show all that is known about plugins, as JSON.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Name, ID, or beginning of an ID (repeatable).
    #[arg(value_name = "PLUGIN", required = true)]
    plugins: Vec<String>,

    /// json, or a Go template such as '{{.Enabled}}'.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    /// How it really is: state, problem, last exit, restarts, who uses it, its socket.
    #[arg(long)]
    state: bool,
}

impl Inspect {
    /// What the engine is asked about each plugin.
    async fn ask(&self, engine: &EngineClient, plugin: &str) -> Result<String> {
        if !self.state {
            return inspect(engine, plugin).await;
        }
        engine.send(Request::get(named("/mobula/plugins", plugin, "")?)).await?.text().await
    }

    /// What its flags say about the output.
    pub(super) fn output(&self) -> Output {
        Output::of(self.format.clone(), false)
    }

    /// Shows those that there are, then fails for the others.
    pub(super) async fn run(&self, engine: &EngineClient, output: &Output) -> Outcome {
        let format = output.format()?;
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for plugin in &self.plugins {
            match self.ask(engine, plugin).await {
                Ok(json) => found.push(json.trim().to_owned()),
                Err(error) => errors.push(error),
            }
        }
        emit_line(&show(&format, &found)?)?;
        if errors.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        Err(Failure::new(errors, Vec::new()))
    }
}

/// Docker's JSON of a managed plugin, ours of a legacy one.
async fn inspect(engine: &EngineClient, plugin: &str) -> Result<String> {
    let managed = engine.send(Request::get(named("/plugins", plugin, "/json")?)).await;
    let missing = match managed {
        Ok(answer) => return answer.text().await,
        Err(error) if error.kind() == Kind::NotFound => error,
        Err(error) => return Err(error),
    };
    match engine.send(Request::get(named("/mobula/plugins", plugin, "")?)).await {
        Ok(answer) => answer.text().await,
        Err(error) if error.kind() == Kind::NotFound => Err(missing),
        Err(error) => Err(error),
    }
}

fn show(format: &Format, found: &[String]) -> Result<String> {
    match format {
        Format::Table | Format::Pretty => Ok(indent(&format!("[{}]", found.join(",")))),
        Format::Json => Ok(found.join("\n")),
        Format::Template(template) => {
            let rows = found.iter().map(|json| render(template, json));
            Ok(rows.collect::<Result<Vec<_>>>()?.join("\n"))
        }
    }
}

/// The template on the JSON; where that has no such field, with the name of docker's own field.
fn render(template: &Template, json: &str) -> Result<String> {
    let row: Value = serde_json::from_str(json)
        .map_err(|source| Error::internal("the engine's answer is no JSON").because(source))?;
    template.render(&row, &[]).or_else(|error| {
        let mut docker = row;
        let id = docker.as_object_mut().and_then(|members| members.remove("Id"));
        let Some(id) = id else { return Err(error) };
        docker["ID"] = id;
        template.render(&docker, &[]).map_err(|_| error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLUGIN: &str = r#"{"Config":{"Description":"d","rootfs":{"diff_ids":["x"]}},"Enabled":true,"Id":"07","Name":"a:latest","Settings":{"Env":["DEBUG=1"]}}"#;

    fn rendered(template: &str) -> Result<String> {
        render(&Template::parse(template)?, PLUGIN)
    }

    #[test]
    fn json_keeps_the_engines_order() {
        let text = show(&Format::Table, &[PLUGIN.to_owned()]).unwrap();
        assert!(text.starts_with("[\n    {\n        \"Config\": {\n            \"Description\""));
        assert!(text.ends_with("        }\n    }\n]"), "{text}");
        assert_eq!(show(&Format::Table, &[]).unwrap(), "[]");
    }

    #[test]
    fn templates_take_dockers_names_and_the_raw_ones() {
        assert_eq!(rendered("{{.ID}} {{.Enabled}}").unwrap(), "07 true");
        assert_eq!(rendered("{{.Id}}").unwrap(), "07");
        assert_eq!(rendered("{{.Settings.Env}}").unwrap(), "DEBUG=1");
        assert_eq!(rendered("{{json .Config.rootfs.diff_ids}}").unwrap(), "[\"x\"]");
        assert!(rendered("{{.Nope}}").is_err());
    }
}
