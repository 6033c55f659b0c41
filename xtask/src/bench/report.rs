//! Rows, their targets, the table and the JSON.

use super::contest::Measured;
use super::stats::{Samples, Stat, Unit};
use error::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What a row shall reach. Medians are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Target {
    /// At most so much.
    AtMost(f64),
    /// Less than so much.
    Below(f64),
    /// More than another row of the same run has.
    MoreThan(f64),
    /// At most so many times the bare kernel's or tool's.
    TimesRaw(f64),
    /// At least so many times the peer's.
    TimesPeer(f64),
    /// At most so many times the peer's.
    OfPeer(f64),
    /// Shown only.
    None,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) unit: Unit,
    pub(super) ours: Stat,
    pub(super) peer: Option<Stat>,
    /// What the peer did.
    pub(super) peer_is: Option<&'static str>,
    pub(super) raw: Option<Stat>,
    /// What the limit is.
    pub(super) raw_is: Option<&'static str>,
    /// Ours ÷ raw, or without raw ours ÷ peer; medians.
    pub(super) ratio: Option<f64>,
    /// The same of the minima.
    pub(super) ratio_of_minima: Option<f64>,
    pub(super) target: Option<String>,
    /// Absent without a target, or without the peer that it is about.
    pub(super) met: Option<bool>,
}

impl Row {
    /// A row without target.
    pub(super) fn new(name: impl Into<String>, unit: Unit, measured: &Measured) -> Self {
        let ours = measured.ours.stat();
        let [peer, raw] = [&measured.peer, &measured.raw].map(|s| s.as_ref().map(Samples::stat));
        let other = raw.or(peer);
        Self {
            name: name.into(),
            unit,
            ours,
            peer,
            peer_is: None,
            raw,
            raw_is: None,
            ratio: other.map(|other| ours.p50 / other.p50),
            ratio_of_minima: other.map(|other| ours.min / other.min),
            target: None,
            met: None,
        }
    }

    /// Names the peer.
    pub(super) fn peer(mut self, what: &'static str) -> Self {
        self.peer_is = self.peer.map(|_| what);
        self
    }

    /// Names the limit.
    pub(super) fn raw(mut self, what: &'static str) -> Self {
        self.raw_is = self.raw.map(|_| what);
        self
    }

    /// Sets the target.
    pub(super) fn target(mut self, target: Target) -> Self {
        let ours = self.ours.p50;
        let sign = self.unit.sign();
        (self.target, self.met) = match target {
            Target::AtMost(most) => (Some(format!("≤ {most} {sign}")), Some(ours <= most)),
            Target::Below(bound) => (Some(format!("< {bound} {sign}")), Some(ours < bound)),
            Target::MoreThan(other) => {
                (Some(format!("> {} {sign}", number(other))), Some(ours > other))
            }
            Target::TimesRaw(times) => {
                (Some(format!("≤ {times} × raw")), self.raw.map(|raw| ours <= times * raw.p50))
            }
            Target::TimesPeer(times) => {
                (Some(format!("≥ {times} × peer")), self.peer.map(|peer| ours >= times * peer.p50))
            }
            Target::OfPeer(times) => (
                Some(format!("≤ {times:.2} × peer")),
                self.peer.map(|peer| ours <= times * peer.p50),
            ),
            Target::None => (None, None),
        };
        self
    }

    fn cells(&self) -> Vec<String> {
        let other = |stat: Option<Stat>| stat.map_or_else(dash, |stat| number(stat.p50));
        let times = |ratio: Option<f64>| ratio.map_or_else(dash, |ratio| format!("{ratio:.2}"));
        vec![
            self.name.clone(),
            self.unit.sign().to_owned(),
            self.ours.n.to_string(),
            number(self.ours.min),
            number(self.ours.p50),
            number(self.ours.p99),
            other(self.peer),
            other(self.raw),
            times(self.ratio),
            times(self.ratio_of_minima),
            self.target.clone().unwrap_or_default(),
            self.is_met().to_owned(),
        ]
    }

    /// Its cells where the peer and what is called raw are two others of one kind.
    pub(super) fn beside_two(&self) -> Vec<String> {
        let shown = |value| match self.unit {
            Unit::Calls => format!("{value:.0}"),
            _ => number(value),
        };
        let other = |stat: Option<Stat>| stat.map_or_else(dash, |stat| shown(stat.p50));
        vec![
            self.name.clone(),
            self.unit.sign().to_owned(),
            self.ours.n.to_string(),
            shown(self.ours.min),
            shown(self.ours.p50),
            shown(self.ours.p99),
            other(self.peer),
            other(self.raw),
            self.target.clone().unwrap_or_default(),
            self.is_met().to_owned(),
        ]
    }

    /// Its cells where few samples are compared with a peer's.
    pub(super) fn ranges(&self) -> Vec<String> {
        let range = |stat: Stat| match stat.n {
            1 => number(stat.p50),
            _ => format!("{} ({}..{})", number(stat.p50), number(stat.min), number(stat.max)),
        };
        vec![
            self.name.clone(),
            self.unit.sign().to_owned(),
            self.ours.n.to_string(),
            range(self.ours),
            self.peer.map_or_else(dash, range),
            self.ratio.map_or_else(dash, |ratio| format!("{ratio:.2}")),
            self.target.clone().unwrap_or_default(),
            self.is_met().to_owned(),
        ]
    }

    fn is_met(&self) -> &'static str {
        match (self.met, &self.target) {
            (Some(true), _) => "yes",
            (Some(false), _) => "missed",
            (None, Some(_)) => "no peer",
            (None, None) => "",
        }
    }
}

/// How rows become a table, and where it is on its page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// The marks around the table of a page.
    pub(super) begin: &'static str,
    pub(super) end: &'static str,
    pub(super) head: &'static [&'static str],
    /// The columns whose text begins at the left.
    pub(super) left: &'static [usize],
    pub(super) cells: fn(&Row) -> Vec<String>,
}

/// Many samples, and the kernel beside them.
pub(super) const SAMPLES: Layout = Layout {
    begin: "<!-- a run, written by cargo xtask bench --publish -->",
    end: "<!-- end of the run -->",
    head: &HEAD,
    left: &[0, 1, 10, 11],
    cells: Row::cells,
};

const HEAD: [&str; 12] = [
    "figure",
    "unit",
    "n",
    "min",
    "p50",
    "p99",
    "peer",
    "raw",
    "ratio",
    "of minima",
    "target",
    "met",
];
/// The machine that it was measured on.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    kernel: String,
    cpu: String,
    cpus: usize,
}

impl Machine {
    /// This machine.
    pub(super) fn this() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let mut models = cpu.lines().filter_map(|line| line.strip_prefix("model name"));
        let model = models.next().unwrap_or("unknown").trim_start_matches([' ', '\t', ':']);
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: model.to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// The figures of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(skip)]
    layout: Layout,
    machine: Machine,
    rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(machine: Machine, layout: Layout) -> Self {
        Self { layout, machine, rows: Vec::new() }
    }

    pub(super) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Writes the JSON.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|source| Error::internal("encode the report").because(source))?;
        crate::workspace::write(path, &(text + "\n"))
    }

    /// Puts the rows into the Markdown page at `path`, between its two marks.
    pub(super) fn publish(&self, path: &Path) -> Result<()> {
        let Layout { begin, end, .. } = self.layout;
        let page = crate::workspace::read(path)?;
        let parts = page.split_once(begin).zip(page.split_once(end));
        let Some(((before, _), (_, after))) = parts else {
            return Err(Error::failed_precondition(format!(
                "{} has no {begin} and {end}; put them where the table shall be",
                path.display()
            )));
        };
        let table = self.markdown();
        crate::workspace::write(path, &format!("{before}{begin}\n{table}\n{end}{after}"))
    }

    fn markdown(&self) -> String {
        let Machine { kernel, cpu, cpus } = &self.machine;
        let kernel: Vec<&str> = kernel.splitn(3, '.').take(2).collect();
        let Layout { head, left, cells, .. } = self.layout;
        let column = |column| if left.contains(&column) { "---" } else { "--:" };
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let marks: Vec<String> = (0..head.len()).map(|at| column(at).to_owned()).collect();
        let rows: String = self.rows.iter().map(|row| line(&cells(row))).collect();
        let head: Vec<String> = head.iter().copied().map(str::to_owned).collect();
        let head = line(&head) + &line(&marks);
        format!("Measured on {cpus} CPUs ({cpu}), Linux {}.\n\n{head}{rows}", kernel.join("."))
    }

    /// The table, with who the peers were below it.
    pub(super) fn table(&self) -> String {
        let Layout { head, left, cells, .. } = self.layout;
        let mut lines: Vec<Vec<String>> = vec![head.iter().copied().map(str::to_owned).collect()];
        lines.extend(self.rows.iter().map(cells));
        let width = |column: usize| {
            let cells = lines.iter().map(|line: &Vec<String>| line[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let Machine { kernel, cpu, cpus } = &self.machine;
        let mut text = format!("{cpu}, {cpus} CPUs, Linux {kernel}\n\n");
        for line in &lines {
            text.push_str(aligned(line, &widths, left).trim_end());
            text.push('\n');
        }
        for (what, rows) in self.others() {
            text.push_str(&format!("\n{what}: {}", rows.join("; ")));
        }
        text.push('\n');
        text
    }
}

impl Report {
    /// Who the others are, and the rows that they are in.
    fn others(&self) -> BTreeMap<String, Vec<&str>> {
        let mut others: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for row in &self.rows {
            for (what, it) in [("peer", row.peer_is), ("raw", row.raw_is)] {
                let Some(it) = it else { continue };
                others.entry(format!("{what} is {it}")).or_default().push(&row.name);
            }
        }
        others
    }
}

fn aligned(line: &[String], widths: &[usize], left: &[usize]) -> String {
    let cell = |(column, (cell, width)): (usize, (&String, &usize))| {
        if left.contains(&column) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    };
    let cells: Vec<_> = line.iter().zip(widths).enumerate().map(cell).collect();
    cells.join("  ")
}

fn dash() -> String {
    "-".to_owned()
}

/// Three digits that matter.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::contest::once;

    fn row(ours: f64, peer: Option<f64>) -> Row {
        Row::new("x", Unit::Rate, &once(ours, peer).unwrap())
    }

    #[test]
    fn a_target_is_met_or_missed() {
        assert_eq!(row(60.0, None).target(Target::AtMost(60.0)).met, Some(true));
        assert_eq!(row(60.0, None).target(Target::Below(60.0)).met, Some(false));
        assert_eq!(row(60.0, Some(31.0)).target(Target::TimesPeer(2.0)).met, Some(false));
        assert_eq!(row(60.0, Some(30.0)).target(Target::TimesPeer(2.0)).met, Some(true));
        assert_eq!(row(60.0, None).target(Target::MoreThan(59.0)).met, Some(true));
    }

    #[test]
    fn without_the_peer_a_target_is_neither_met_nor_missed() {
        let row = row(60.0, None).target(Target::TimesPeer(2.0));
        assert_eq!(row.met, None);
        assert!(row.cells().contains(&"no peer".to_owned()));
    }

    #[test]
    fn a_run_is_published_between_its_marks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("page.md");
        let mut report =
            Report::new(Machine { kernel: "6.1.2-x".into(), cpu: "c".into(), cpus: 2 }, SAMPLES);
        report.add(row(1.0, None));
        std::fs::write(&path, "no marks").unwrap();
        assert!(report.publish(&path).is_err());
        let Layout { begin, end, .. } = SAMPLES;
        std::fs::write(&path, format!("a\n{begin}\nold\n{end}\nb\n")).unwrap();
        report.publish(&path).unwrap();
        report.publish(&path).unwrap();
        let page = std::fs::read_to_string(&path).unwrap();
        assert!(page.starts_with("a\n") && page.ends_with("\nb\n"), "{page}");
        assert!(page.contains("Linux 6.1.\n\n| figure |") && !page.contains("old"), "{page}");
        assert_eq!(page.matches("| x | ops/s | 1 |").count(), 1, "{page}");
    }

    #[test]
    fn a_peer_may_be_undercut_by_a_factor() {
        assert_eq!(row(10.0, Some(50.0)).target(Target::OfPeer(0.2)).met, Some(true));
        assert_eq!(row(11.0, Some(50.0)).target(Target::OfPeer(0.2)).met, Some(false));
    }

    #[test]
    fn calls_are_whole_numbers_beside_two_others() {
        let calls = Row::new("x", Unit::Calls, &once(3.0, Some(12.0)).unwrap());
        assert_eq!(calls.beside_two()[3..8], ["3", "3", "3", "12", "-"]);
        assert_eq!(row(3.0, None).beside_two()[3], "3.00");
    }

    #[test]
    fn ranges_of_single_samples_are_numbers() {
        let mut row = row(10.0, Some(50.0));
        assert_eq!(row.ranges()[3..6], ["10.0", "50.0", "0.20"]);
        row.ours = Samples::of(vec![3.0, 1.0, 2.0]).unwrap().stat();
        assert_eq!(row.ranges()[3], "2.00 (1.00..3.00)");
    }

    #[test]
    fn the_columns_are_aligned() {
        let mut report =
            Report::new(Machine { kernel: "6".into(), cpu: "c".into(), cpus: 2 }, SAMPLES);
        report.add(row(1.0, Some(2.0)).peer("another"));
        report.add(row(123_456.0, None).target(Target::AtMost(1.0)));
        let table = report.table();
        assert!(table.contains("ratio") && table.contains("0.50") && table.contains("missed"));
        assert!(table.ends_with("\npeer is another: x\n"));
    }
}
