//! The verbs that answer in one go: top, exec, search, gc.

use crate::cli::failure::Outcome;
use crate::cli::output::{Output, Row};
use crate::cli::table::{Column, Table};
use crate::cli::terminal::emit;
use crate::engine_client::{EngineClient, Request, named, query};
use clap::Args;
use error::{IoContext, Result};
use plugin::engine::Executed;
use plugin::registry::Found;
use plugin::runtime::Process;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use volume::Size;

/// Show the processes of a plugin.
#[derive(Debug, Args)]
pub(super) struct Top {
    /// Name or ID.
    #[arg(value_name = "PLUGIN")]
    plugin: String,
}

impl Top {
    /// Shows them.
    pub(super) async fn run(&self, engine: &EngineClient, output: &Output) -> Result<()> {
        let processes: Vec<Process> =
            engine.get(named("/mobula/plugins", &self.plugin, "/top")?).await?;
        output.show_table(&process_table(&processes))
    }
}

fn process_table(processes: &[Process]) -> Table {
    let columns = [
        Column::fixed("PID"),
        Column::fixed("PPID"),
        Column::fixed("UID"),
        Column::fixed("MEMORY"),
        Column::fixed("CPU"),
        Column::flexible("COMMAND"),
    ];
    let mut table = Table::new(&columns);
    for process in processes {
        table.push(vec![
            process.pid.to_string().into(),
            process.parent.to_string().into(),
            process.uid.to_string().into(),
            Size(process.memory).to_string().into(),
            format!("{}.{:02}s", process.cpu / 1000, process.cpu % 1000 / 10).into(),
            process.command.as_str().into(),
        ]);
    }
    table
}

/// Run a command inside a plugin; its exit code becomes this one's.
#[derive(Debug, Args)]
pub(super) struct Exec {
    /// Name or ID.
    #[arg(value_name = "PLUGIN")]
    plugin: String,

    /// The command and its arguments.
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    #[arg(allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Exec {
    /// Runs it and shows what it wrote.
    pub(super) async fn run(&self, engine: &EngineClient) -> Outcome {
        let path = named("/mobula/plugins", &self.plugin, "/exec")?;
        let request = Request::post(path).json(&json!({ "Cmd": self.command }))?;
        let executed: Executed = engine.send(request).await?.json().await?;
        emit(&executed.stdout)?;
        let mut stderr = std::io::stderr().lock();
        stderr.write_all(executed.stderr.as_bytes()).doing(|| "write to standard error")?;
        Ok(ExitCode::from(u8::try_from(executed.code).unwrap_or(1)))
    }
}

/// Search a registry for plugins.
#[derive(Debug, Args)]
pub(super) struct Search {
    /// What to look for; HOST/TERM searches another registry than Docker Hub.
    #[arg(value_name = "TERM")]
    term: String,

    /// How many at most.
    #[arg(long, value_name = "COUNT", default_value_t = 25)]
    limit: usize,

    /// table, json, jsonp, or a Go template such as '{{.Name}}'.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Show JSON; the same as --format json.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(transparent)]
struct FoundRow(Found);

impl Row for FoundRow {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn fields() -> Vec<String> {
        ["name", "description", "stars"].map(str::to_owned).into()
    }
}

impl Search {
    /// What its flags say about the output.
    pub(super) fn output(&self) -> Output {
        Output::of(self.format.clone(), false).or_json(self.json)
    }

    /// Searches.
    pub(super) async fn run(&self, engine: &EngineClient, output: &Output) -> Result<()> {
        let format = output.format()?;
        let limit = self.limit.to_string();
        let path = query("/mobula/search", &[("term", &self.term), ("limit", &limit)]);
        let found: Vec<Found> = engine.get(path).await?;
        let rows: Vec<FoundRow> = found.into_iter().map(FoundRow).collect();
        output.show(&format, &rows, search_table)
    }
}

fn search_table(rows: &[FoundRow]) -> Table {
    let columns = [Column::fixed("NAME"), Column::flexible("DESCRIPTION"), Column::fixed("STARS")];
    let mut table = Table::new(&columns);
    for FoundRow(found) in rows {
        let (name, description) = (found.name.as_str(), found.description.as_str());
        table.push(vec![name.into(), description.into(), found.stars.to_string().into()]);
    }
    table
}

/// Remove what no plugin needs any more: blobs and unpacked layers.
#[derive(Debug, Args)]
pub(super) struct Gc {
    /// Say what would be removed, and change nothing.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// Something that nothing needs.
#[derive(Deserialize)]
struct Garbage {
    path: PathBuf,
    bytes: u64,
}

impl Gc {
    /// Removes it and says what was freed.
    pub(super) async fn run(&self, engine: &EngineClient) -> Result<()> {
        let pairs = [("dry_run", "1")];
        let path = query("/mobula/gc", if self.dry_run { &pairs[..] } else { &[] });
        let garbage: Vec<Garbage> = engine.send(Request::post(path)).await?.json().await?;
        emit(&report(&garbage, self.dry_run))
    }
}

fn report(garbage: &[Garbage], dry_run: bool) -> String {
    let mut text = String::new();
    for Garbage { path, bytes } in garbage {
        text += &format!("{} ({})\n", path.display(), Size(*bytes));
    }
    let freed = Size(garbage.iter().map(|garbage| garbage.bytes).sum());
    let word = if dry_run { "would be freed" } else { "freed" };
    text + &format!("{freed} {word}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_a_table() {
        let process = Process {
            pid: 7,
            parent: 1,
            uid: 0,
            memory: 3 << 20,
            cpu: 1234,
            command: "/bin/store --verbose".into(),
        };
        let expected = "\
PID  PPID  UID  MEMORY  CPU    COMMAND
7    1     0    3MiB    1.23s  /bin/store --verbose
";
        assert_eq!(process_table(&[process]).render(None, false), expected);
    }

    #[test]
    fn gc_says_what_it_frees() {
        let garbage = [Garbage { path: "/b/x".into(), bytes: 1024 }];
        assert_eq!(report(&garbage, true), "/b/x (1KiB)\n1KiB would be freed\n");
        assert_eq!(report(&[], false).lines().count(), 1);
    }
}
