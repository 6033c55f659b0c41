//! A migration for people: a table whose sentences stand below it once, by number; and for machines.

use crate::cli::output::{Format, Output, Row as Shown};
use crate::cli::table::{Cell, Column, Table, Tint};
use crate::cli::terminal::{emit, emit_line};
use crate::migrate::rexray::{Migration, Plugin};
use crate::migrate::{Fate, Row};
use error::Result;
use serde::Serialize;
use std::path::Path;

impl Shown for Row {
    fn name(&self) -> &str {
        &self.key
    }

    fn fields() -> Vec<String> {
        ["key", "was", "from", "fate", "became", "change", "attention"].map(str::to_owned).to_vec()
    }
}

/// All of it, as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    rows: &'a [Row],
    config: &'a Option<crate::config::Config>,
    written: Option<&'a Path>,
    secret_files: Vec<&'a str>,
    plugins: &'a [Plugin],
    left_out: &'a [String],
}

/// Shows what became of what, and what was or would be written to `target`.
pub(super) fn migration(
    output: &Output,
    format: &Format,
    migration: &Migration,
    target: &Path,
    written: bool,
) -> Result<()> {
    match format {
        Format::Json | Format::Pretty => {
            return output.show_json(
                format,
                &Whole {
                    rows: &migration.rows,
                    config: &migration.config,
                    written: written.then_some(target),
                    secret_files: migration.secrets.iter().map(|secret| &*secret.path).collect(),
                    plugins: &migration.plugins,
                    left_out: &migration.left_out,
                },
            );
        }
        Format::Template(_) => return output.show(format, &migration.rows, |rows| table(rows).0),
        Format::Table if output.quiet => {}
        Format::Table => {
            let (table, notes) = table(&migration.rows);
            output.show_table(&table)?;
            emit(&notes)?;
        }
    }
    emit(&files(migration, target, written))?;
    for plugin in &migration.plugins {
        commands(plugin)?;
    }
    Ok(())
}

fn files(migration: &Migration, target: &Path, written: bool) -> String {
    if migration.config.is_none() {
        return String::new();
    }
    let verb = if written { "Wrote" } else { "Would write" };
    let secrets = migration.secrets.iter().map(|secret| secret.path.as_str());
    let secrets: String = secrets.map(|path| format!("{verb} {path} (a secret)\n")).collect();
    let shown = target.display();
    if written {
        return format!("\n{secrets}{verb} {shown}\n");
    }
    format!("\n{secrets}{verb} {shown}:\n\n{}", migration.text)
}

fn commands(plugin: &Plugin) -> Result<()> {
    match &plugin.driver {
        Some(_) => emit_line(&format!(
            "\nIn place of plugin {}, when no container uses it:\n\n{}",
            plugin.name,
            plugin.commands.trim_end()
        )),
        None => emit_line(&format!(
            "\nPlugin {}: Mobula has no such driver yet; leave it running.",
            plugin.name
        )),
    }
}

/// The table, and the sentences that its last column numbers.
pub(super) fn table(rows: &[Row]) -> (Table, String) {
    let columns = [
        Column::flexible("KEY"),
        Column::flexible("WAS"),
        Column::flexible("FROM"),
        Column::flexible("BECAME"),
        Column::fixed("NOTE"),
    ];
    let (mut table, mut sentences) = (Table::new(&columns), Vec::<&str>::new());
    for row in rows {
        let number = (!row.change.is_empty()).then(|| {
            let known = sentences.iter().position(|known| *known == row.change);
            known.unwrap_or_else(|| {
                sentences.push(&row.change);
                sentences.len() - 1
            }) + 1
        });
        let number = number.map(|number| number.to_string()).unwrap_or_default();
        let note = format!("{number}{}", if row.attention { "!" } else { "" });
        table.push(vec![
            row.key.as_str().into(),
            row.was.as_str().into(),
            row.from.as_str().into(),
            Cell::new(row.outcome(), tint(row)),
            note.into(),
        ]);
    }
    let numbered = sentences.iter().enumerate();
    let notes: String =
        numbered.map(|(index, said)| format!("{:>3}  {said}\n", index + 1)).collect();
    (table, if notes.is_empty() { notes } else { format!("\n{notes}") })
}

fn tint(row: &Row) -> Option<Tint> {
    match row.fate {
        _ if row.attention => Some(Tint::Red),
        Fate::Mapped => Some(Tint::Green),
        Fate::NotThereYet | Fate::Unknown => Some(Tint::Yellow),
        _ => None,
    }
}
