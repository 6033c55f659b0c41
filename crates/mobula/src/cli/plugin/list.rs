//! `mobula plugin ls`.

use crate::cli::output::{Format, Output, Row};
use crate::cli::table::{Cell, Column, Table, Tint};
use crate::cli::terminal::emit;
use crate::engine_client::{EngineClient, query};
use clap::Args;
use error::{Error, Kind, Result};
use plugin::engine::{Description, State};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;

const RAW: &str = "plugin_id: {{.ID}}\\nname: {{.Name}}\\ndescription: {{.Description}}\\n\
                   enabled: {{.Enabled}}\\n";
/// Characters of an ID or description that are shown.
const ID: usize = 12;
const DESCRIPTION: usize = 45;

/// List plugins: those that the engine manages, and legacy ones that it has found.
#[derive(Debug, Args)]
pub(super) struct Ls {
    /// enabled=BOOL, capability=TYPE or kind=managed|legacy (repeatable).
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,

    /// table, json (an object per line), jsonp, raw, or a Go template such as 'table {{.Name}}'.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Show JSON; the same as --format json.
    #[arg(long)]
    json: bool,

    /// Show whole IDs and descriptions.
    #[arg(long)]
    no_trunc: bool,

    /// Show IDs only.
    #[arg(short, long)]
    quiet: bool,
}

/// What is known about a plugin, with the names that docker's templates use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PluginRow {
    description: String,
    enabled: bool,
    #[serde(rename = "ID")]
    id: String,
    kind: String,
    name: String,
    plugin_reference: String,
    state: String,
    #[serde(skip)]
    types: Vec<String>,
}

impl Row for PluginRow {
    fn name(&self) -> &str {
        // Legacy plugins have no ID.
        if self.id.is_empty() { &self.name } else { &self.id }
    }

    fn fields() -> Vec<String> {
        let fields = "ID Name Description Enabled PluginReference Kind State";
        fields.split(' ').map(str::to_owned).collect()
    }
}

/// A plugin as Docker's API tells of it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    name: String,
    enabled: bool,
    #[serde(default)]
    plugin_reference: String,
    #[serde(default)]
    config: ListedConfig,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ListedConfig {
    description: String,
}

impl From<Listed> for PluginRow {
    fn from(plugin: Listed) -> Self {
        Self {
            description: plugin.config.description,
            enabled: plugin.enabled,
            id: plugin.id,
            kind: "managed".to_owned(),
            name: plugin.name,
            plugin_reference: plugin.plugin_reference,
            state: if plugin.enabled { "running" } else { "disabled" }.to_owned(),
            types: Vec::new(),
        }
    }
}

impl From<Description> for PluginRow {
    fn from(plugin: Description) -> Self {
        Self {
            description: plugin.description,
            enabled: plugin.enabled,
            id: plugin.id.unwrap_or_default(),
            kind: plugin.kind,
            name: plugin.name,
            plugin_reference: plugin.reference,
            state: word(&plugin.state).to_owned(),
            types: plugin.types,
        }
    }
}

/// The word for a state.
fn word(state: &State) -> &'static str {
    match state {
        State::Disabled => "disabled",
        State::Starting => "starting",
        State::Running => "running",
        State::Failing => "failing",
    }
}

impl Ls {
    /// What its flags say about the output.
    pub(super) fn output(&self) -> Output {
        let raw = if self.quiet { "plugin_id: {{.ID}}" } else { RAW };
        let format = self.format.as_deref();
        let format = format.map(|format| if format == "raw" { raw } else { format }.to_owned());
        // Docker's templates win over --quiet.
        let is_template = format.as_deref().is_some_and(|format| format.contains("{{"));
        Output::of(format, self.quiet && !is_template).or_json(self.json)
    }

    /// Lists.
    pub(super) async fn run(&self, engine: &EngineClient, output: &Output) -> Result<()> {
        let filter = Filter::parse(&self.filter)?;
        let format = output.format()?;
        let mut rows = rows(engine, &filter).await?;
        rows.sort_by(|a, b| natural(&a.name, &b.name));
        if !self.no_trunc {
            rows.iter_mut().for_each(shorten);
        }
        match format {
            Format::Json => emit(&json_lines(&rows)?),
            format => output.show(&format, &rows, list_table),
        }
    }
}

/// An object per line, as docker does it.
fn json_lines(rows: &[PluginRow]) -> Result<String> {
    let mut text = String::new();
    for row in rows {
        text += &serde_json::to_string(row)
            .map_err(|source| Error::internal("the result cannot be written").because(source))?;
        text.push('\n');
    }
    Ok(text)
}

async fn rows(engine: &EngineClient, filter: &Filter) -> Result<Vec<PluginRow>> {
    match engine.get::<Vec<Description>>("/mobula/plugins").await {
        Ok(plugins) => {
            let rows = plugins.into_iter().map(PluginRow::from);
            Ok(rows.filter(|row| filter.admits(row)).collect())
        }
        Err(error) if error.kind() == Kind::NotFound => docker_rows(engine, filter).await,
        Err(error) => Err(error),
    }
}

/// From an engine that has only Docker's API.
async fn docker_rows(engine: &EngineClient, filter: &Filter) -> Result<Vec<PluginRow>> {
    let path = query("/plugins", &[("filters", &filter.for_docker()?)]);
    let plugins: Option<Vec<Listed>> = engine.get(path).await?;
    let rows = plugins.unwrap_or_default().into_iter().map(PluginRow::from);
    Ok(rows.filter(|row| filter.admits_kind(row)).collect())
}

/// What `--filter` says: values of one key are alternatives, keys add up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Filter {
    enabled: Vec<bool>,
    capabilities: Vec<String>,
    kinds: Vec<String>,
}

impl Filter {
    fn parse(texts: &[String]) -> Result<Self> {
        let mut filter = Self::default();
        for text in texts {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            match (key.trim(), value.trim()) {
                ("enabled", "true" | "1") => filter.enabled.push(true),
                ("enabled", "false" | "0") => filter.enabled.push(false),
                ("capability", value) if !value.is_empty() => {
                    filter.capabilities.push(value.into());
                }
                ("kind", value @ ("managed" | "legacy")) => filter.kinds.push(value.into()),
                _ => return Err(invalid(text)),
            }
        }
        Ok(filter)
    }

    fn admits(&self, row: &PluginRow) -> bool {
        let enabled = self.enabled.is_empty() || self.enabled.contains(&row.enabled);
        let capable = self.capabilities.is_empty()
            || self.capabilities.iter().any(|wanted| has_capability(&row.types, wanted));
        enabled && capable && self.admits_kind(row)
    }

    fn admits_kind(&self, row: &PluginRow) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&row.kind)
    }

    /// The same in Docker's API, which knows no kinds.
    fn for_docker(&self) -> Result<String> {
        let mut filters = BTreeMap::new();
        if !self.enabled.is_empty() {
            filters.insert("enabled", self.enabled.iter().map(ToString::to_string).collect());
        }
        if !self.capabilities.is_empty() {
            filters.insert("capability", self.capabilities.clone());
        }
        filters_json(&filters)
    }
}

/// Filters as Docker's API takes them.
pub(super) fn filters_json(filters: &BTreeMap<&str, Vec<String>>) -> Result<String> {
    serde_json::to_string(filters)
        .map_err(|source| Error::internal("encode the filters").because(source))
}

fn invalid(text: &str) -> Error {
    Error::invalid_argument(format!(
        "Invalid filter '{}'; filters are enabled=true|false, capability=TYPE and \
         kind=managed|legacy",
        text.escape_debug()
    ))
}

/// `docker.volumedriver/1.0` is the capability `volumedriver`, in any case.
fn has_capability(types: &[String], wanted: &str) -> bool {
    types.iter().any(|kind| {
        let kind = kind.to_ascii_lowercase();
        let name = kind.strip_prefix("docker.").unwrap_or(&kind);
        name.split('/').next() == Some(wanted.to_ascii_lowercase().as_str())
    })
}

fn shorten(row: &mut PluginRow) {
    row.id.truncate(ID);
    let text = row.description.replace(['\n', '\r'], " ");
    row.description = ellipsis(text.trim(), DESCRIPTION);
}

fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

fn list_table(rows: &[PluginRow]) -> Table {
    let columns = [
        Column::fixed("ID"),
        Column::fixed("NAME"),
        Column::flexible("DESCRIPTION"),
        Column::fixed("ENABLED"),
        Column::fixed("KIND"),
        Column::fixed("STATE"),
    ];
    let mut table = Table::new(&columns);
    for row in rows {
        table.push(vec![
            row.id.as_str().into(),
            row.name.as_str().into(),
            row.description.as_str().into(),
            row.enabled.to_string().into(),
            row.kind.as_str().into(),
            Cell::new(&row.state, tint(&row.state)),
        ]);
    }
    table
}

fn tint(state: &str) -> Option<Tint> {
    match state {
        "running" => Some(Tint::Green),
        "starting" => Some(Tint::Yellow),
        "failing" => Some(Tint::Red),
        _ => None,
    }
}

/// As people sort: `a2` before `a10`.
fn natural(one: &str, other: &str) -> Ordering {
    let (mut a, mut b) = (one, other);
    while let (Some(x), Some(y)) = (a.chars().next(), b.chars().next()) {
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (number_a, number_b) = (number(&mut a), number(&mut b));
            (number_a.len(), number_a).cmp(&(number_b.len(), number_b))
        } else {
            (a, b) = (&a[x.len_utf8()..], &b[y.len_utf8()..]);
            x.cmp(&y)
        };
        if order.is_ne() {
            return order;
        }
    }
    (a.len(), one).cmp(&(b.len(), other))
}

/// Takes the digits off the beginning; without leading zeros, so that longer is larger.
fn number<'a>(text: &mut &'a str) -> &'a str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    digits.trim_start_matches('0')
}

#[cfg(test)]
mod tests;
