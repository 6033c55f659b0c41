//! `mobula doctor`.

use super::Global;
use crate::cli::failure::Outcome;
use crate::cli::output::{Format, Output, Row};
use crate::cli::table::{Cell, Table, Tint};
use crate::cli::terminal::{self, emit};
use crate::doctor::{self, Finding, Patient, Report, Status};
use crate::paths::Paths;
use clap::Args;
use std::fmt::Write;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  mobula doctor
  mobula doctor --all
  mobula doctor --fix
  mobula doctor --json | jq '.findings[] | select(.status == \"problem\")'

Nothing is changed without --fix. Exit code 0: no problem; 1: at least one.";

/// Columns that the word for how it stands takes.
const INDENT: usize = 9;

/// Look for what is wrong with this machine, and say what mends it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Doctor {
    /// Mend what cannot harm anybody: make directories and the mount root, remove dead sockets of
    /// mobula, detach loop devices that nobody uses.
    #[arg(long)]
    fix: bool,

    /// Show also what is well.
    #[arg(short, long)]
    all: bool,

    #[command(flatten)]
    pub(crate) output: Output,
}

impl Row for Finding {
    fn name(&self) -> &str {
        self.check
    }

    fn fields() -> Vec<String> {
        let fields = "check status lookedAt found why mend mended";
        fields.split(' ').map(str::to_owned).collect()
    }
}

impl Doctor {
    /// Looks, and shows what was found.
    pub(crate) fn run(&self, global: &Global, output: &Output) -> Outcome {
        let report = doctor::run(Patient::new(Paths::from_env(), &global.overrides(), self.fix));
        match output.format()? {
            format @ (Format::Json | Format::Pretty) => output.show_json(&format, &report)?,
            Format::Table if !output.quiet => {
                emit(&self.text(&report, terminal::width(), output.is_coloured()))?;
            }
            format => {
                let shown: Vec<_> = self.shown(&report).cloned().collect();
                output.show(&format, &shown, |_| Table::bare())?;
            }
        }
        Ok(ExitCode::from(if report.ok { 0 } else { 1 }))
    }

    fn shown<'a>(&'a self, report: &'a Report) -> impl Iterator<Item = &'a Finding> {
        report
            .findings
            .iter()
            .filter(|finding| self.all || finding.status != Status::Ok || finding.mended.is_some())
    }

    /// For people: what was found, and below it why it matters and what mends it.
    fn text(&self, report: &Report, width: Option<usize>, color: bool) -> String {
        let mut text = String::new();
        for finding in self.shown(report) {
            let word = Cell::new(finding.status.word(), tint(finding.status));
            let padding = " ".repeat(INDENT - finding.status.word().len());
            let head = wrapped(&format!("{}: {}", finding.looked_at, finding.found), width);
            let _ = writeln!(text, "{}{padding}{head}", word.shown(color));
            // What is mended needs no more than what was done.
            let advice = [("why", &finding.why), ("mend", &finding.mend)];
            let advice = advice.into_iter().filter(|_| finding.mended.is_none());
            for (word, said) in advice.chain([("done", &finding.mended)]) {
                if let Some(said) = said {
                    let line = wrapped(&format!("{word}: {said}"), width);
                    let _ = writeln!(text, "{}{line}", " ".repeat(INDENT));
                }
            }
        }
        text + &summary(report)
    }
}

fn summary(report: &Report) -> String {
    format!(
        "{} looked at; problems: {}, warnings: {}, unknown: {}\n",
        report.findings.len(),
        report.count(Status::Problem),
        report.count(Status::Warning),
        report.count(Status::Unknown)
    )
}

/// The text in lines that fit the terminal, below each other behind the indent; paths come from
/// elsewhere and must not steer the terminal.
fn wrapped(text: &str, width: Option<usize>) -> String {
    let plain = Cell::new(text, None).shown(false);
    let most = width.map_or(usize::MAX, |width| width.saturating_sub(INDENT).max(20));
    let (mut lines, mut length) = (String::new(), 0);
    for word in plain.split(' ') {
        let long = word.chars().count();
        if length > 0 && length + 1 + long > most {
            lines.push('\n');
            lines.push_str(&" ".repeat(INDENT));
            length = 0;
        } else if length > 0 {
            lines.push(' ');
            length += 1;
        }
        lines.push_str(word);
        length += long;
    }
    lines
}

fn tint(status: Status) -> Option<Tint> {
    match status {
        Status::Ok => Some(Tint::Green),
        Status::Unknown => None,
        Status::Warning => Some(Tint::Yellow),
        Status::Problem => Some(Tint::Red),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_findings_are_wrapped_and_never_cut() {
        let doctor = Doctor { fix: false, all: false, output: Output::default() };
        let finding = Finding::problem("x", "/run/a", "it is \u{1b}[2Jprivate, not shared")
            .why("a container sees nothing there")
            .mend("mount --make-shared /run/a");
        let report = Report::of(vec![Finding::ok("y", "/", "well"), finding]);
        let expected = "problem  /run/a: it is
         \\u{1b}[2Jprivate, not
         shared
         why: a container sees
         nothing there
         mend: mount
         --make-shared /run/a
2 looked at; problems: 1, warnings: 0, unknown: 0
";
        assert_eq!(doctor.text(&report, Some(30), false), expected);
        assert!(doctor.text(&report, None, true).starts_with("\u{1b}[31mproblem\u{1b}[0m  "));
    }
}
