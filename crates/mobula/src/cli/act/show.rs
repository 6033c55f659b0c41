//! How the report of an action is shown: rows as every command shows rows, and its notes below them.

use crate::api::ActionReport;
use crate::cli::output::{Format, Output};
use crate::cli::table::{Cell, Table};
use crate::cli::terminal::{emit_line, note};
use error::Result;
use serde_json::{Map, Value, json};

/// Shows it. In JSON the notes are a field; beside names and templates they go to standard error.
pub(super) fn report(output: &Output, report: &ActionReport) -> Result<()> {
    let fields: Vec<String> = report.columns.iter().map(|title| field(title)).collect();
    let rows: Vec<Value> = report.rows.iter().map(|row| object(&fields, row)).collect();
    let notes = report.notes.iter().map(|text| Cell::new(text, None).shown(false));
    match output.format()? {
        format @ (Format::Json | Format::Pretty) => {
            output.show_json(&format, &json!({ "rows": rows, "notes": report.notes }))
        }
        _ if output.quiet => {
            let firsts = report.rows.iter().filter_map(|row| row.first());
            notes.for_each(|text| note(&text));
            firsts.map(|name| Cell::new(name, None).shown(false)).try_for_each(|n| emit_line(&n))
        }
        Format::Template(template) => {
            notes.for_each(|text| note(&text));
            output.show_objects(&template, &fields, &rows)
        }
        Format::Table => {
            if !report.columns.is_empty() {
                output.show_table(&table(report))?;
            }
            let gap = (!report.columns.is_empty()).then(String::new);
            let lines = if report.notes.is_empty() { None } else { gap };
            lines.into_iter().chain(notes).try_for_each(|line| emit_line(&line))
        }
    }
}

fn table(report: &ActionReport) -> Table {
    let mut table = Table::bare();
    for row in std::iter::once(&report.columns).chain(&report.rows) {
        table.push(row.iter().map(Cell::from).collect());
    }
    table
}

fn object(fields: &[String], row: &[String]) -> Value {
    let values = row.iter().map(|value| Value::from(value.as_str()));
    Value::Object(fields.iter().cloned().zip(values).collect::<Map<_, _>>())
}

/// `COPY OF` → `copyOf`.
fn field(title: &str) -> String {
    let mut name = String::with_capacity(title.len());
    for word in title.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let word = word.to_lowercase();
        let mut letters = word.chars();
        match letters.next().filter(|_| !name.is_empty()) {
            Some(first) => name.extend(first.to_uppercase().chain(letters)),
            None => name.push_str(&word),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orphans() -> ActionReport {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        ActionReport {
            columns: words(&["ID", "COPY OF"]),
            rows: vec![words(&["snap-1", "snap\u{1b}[2J"]), words(&["snap-20", "-"])],
            notes: words(&["it costs 1.20 a month"]),
        }
    }

    #[test]
    fn a_report_is_a_table_with_titles_whose_cells_steer_no_terminal() {
        let expected = "ID       COPY OF\nsnap-1   snap\\u{1b}[2J\nsnap-20  -\n";
        assert_eq!(table(&orphans()).render(None, true), expected);
    }

    #[test]
    fn columns_are_fields_for_programs() {
        let fields: Vec<_> = orphans().columns.iter().map(|title| field(title)).collect();
        assert_eq!(fields, ["id", "copyOf"]);
        assert_eq!(field("PRICE/MONTH (USD)"), "priceMonthUsd");
        let row = object(&fields, &orphans().rows[1]);
        assert_eq!(row, json!({ "id": "snap-20", "copyOf": "-" }));
    }
}
