//! How results are shown: tables, JSON, Go templates, names.

use crate::cli::failure::Failure;
use crate::cli::table::Table;
use crate::cli::template::Template;
use crate::cli::terminal::{self, Color, emit, emit_line};
use clap::Args;
use error::{Error, Result};
use serde::Serialize;
use serde_json::Value;
use utoipa::PartialSchema;

/// The flags of every command that shows something.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Output {
    /// table, json, jsonp (indented), or a Go template such as '{{.Name}}'.
    #[arg(short, long, global = true, value_name = "FORMAT")]
    format: Option<String>,

    /// Show JSON; the same as --format json.
    #[arg(long, global = true)]
    json: bool,

    /// Go template; the same as --format TEMPLATE.
    #[arg(long, global = true, value_name = "TEMPLATE", hide = true)]
    template: Option<String>,

    /// Show names only, without a header.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    #[arg(skip)]
    color: Color,
}

/// What `--format` says.
pub(crate) enum Format {
    /// For people.
    Table,
    /// On one line.
    Json,
    /// Indented.
    Pretty,
    /// By a template.
    Template(Box<Template>),
}

/// Something that is shown as a row.
pub(crate) trait Row: Serialize {
    /// Its name, for `--quiet`.
    fn name(&self) -> &str;
    /// Every field that it may have.
    fn fields() -> Vec<String>;
}

/// The fields of a type of the API.
pub(crate) fn fields_of<T: PartialSchema>() -> Vec<String> {
    let schema = serde_json::to_value(T::schema()).unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
}

impl Output {
    /// Names only.
    pub(crate) fn names_only() -> Self {
        Self { quiet: true, ..Self::default() }
    }

    /// An output of commands whose flags are docker's, in this format.
    pub(crate) fn of(format: Option<String>, quiet: bool) -> Self {
        Self { format, quiet, ..Self::default() }
    }

    /// The same output in these colours, in the one format that flags and environment choose.
    pub(crate) fn resolved(&self, color: Color) -> Self {
        let given = self.template.clone().or_else(|| self.format.clone());
        let given = given.or_else(|| self.json.then(|| "json".to_owned()));
        let format = given.or_else(|| terminal::variable("MOBULA_FORMAT"));
        Self { format, template: None, json: false, quiet: self.quiet, color }
    }

    /// The same output with `--json` where that is given.
    pub(crate) fn or_json(self, json: bool) -> Self {
        Self { json, ..self }
    }

    /// Reads the format.
    pub(crate) fn format(&self) -> Result<Format> {
        Ok(match self.format.as_deref() {
            None | Some("table" | "tmpl") => Format::Table,
            Some("json") => Format::Json,
            Some("jsonp") => Format::Pretty,
            Some(template) => Format::Template(Box::new(Template::parse(template)?)),
        })
    }

    /// [`format`](Self::format), and indented JSON where nothing is said.
    pub(crate) fn format_or_pretty(&self) -> Result<Format> {
        if self.format.is_none() { Ok(Format::Pretty) } else { self.format() }
    }

    /// Whether standard output carries JSON, failures included.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.format.as_deref(), Some("json" | "jsonp"))
    }

    /// Whether colours are wanted.
    pub(crate) fn is_coloured(&self) -> bool {
        self.color.is_on()
    }

    /// Whether nothing is said about the format.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.format.as_deref(), None | Some("table" | "tmpl"))
    }

    /// Shows `rows` in `format`; `table` makes the table for people.
    pub(crate) fn show<T: Row>(
        &self,
        format: &Format,
        rows: &[T],
        table: impl FnOnce(&[T]) -> Table,
    ) -> Result<()> {
        match format {
            Format::Json | Format::Pretty => self.show_json(format, &rows),
            _ if self.quiet => emit(&lines(rows.iter().map(|row| row.name().to_owned()))),
            Format::Table => self.show_table(&table(rows)),
            Format::Template(template) => self.show_template(template, rows),
        }
    }

    /// Writes any value as JSON.
    pub(crate) fn show_json(&self, format: &Format, value: &impl Serialize) -> Result<()> {
        let text = match format {
            Format::Pretty => serde_json::to_string_pretty(value),
            _ => serde_json::to_string(value),
        };
        emit_line(&text.map_err(unserialisable)?)
    }

    /// Writes a table, cut to the terminal.
    pub(crate) fn show_table(&self, table: &Table) -> Result<()> {
        emit(&table.render(terminal::width(), self.color.is_on()))
    }

    fn show_template<T: Row>(&self, template: &Template, rows: &[T]) -> Result<()> {
        let objects: Vec<Value> = rows
            .iter()
            .map(serde_json::to_value)
            .collect::<std::result::Result<_, _>>()
            .map_err(unserialisable)?;
        self.show_objects(template, &T::fields(), &objects)
    }

    /// Shows objects that may have `fields` by a template.
    pub(crate) fn show_objects(
        &self,
        template: &Template,
        fields: &[String],
        rows: &[Value],
    ) -> Result<()> {
        let rendered: Vec<String> =
            rows.iter().map(|row| template.render(row, fields)).collect::<Result<_>>()?;
        let Some(header) = template.header() else { return emit(&lines(rendered)) };
        let mut table = Table::bare();
        for line in std::iter::once(&header).chain(&rendered) {
            table.push(line.split('\t').map(Into::into).collect());
        }
        emit(&table.render(None, false))
    }

    /// Tells of a failure: text on standard error and, in JSON formats, an object on standard output.
    pub(crate) fn fail(&self, failure: &Failure) {
        failure.tell();
        if self.is_json() {
            // Nothing is left to be done about an output that cannot be written.
            let _ = emit_line(&failure.to_json().to_string());
        }
    }
}

fn lines(texts: impl IntoIterator<Item = String>) -> String {
    texts.into_iter().map(|text| text + "\n").collect()
}

fn unserialisable(error: serde_json::Error) -> Error {
    Error::internal("the result cannot be written as JSON").because(error)
}
