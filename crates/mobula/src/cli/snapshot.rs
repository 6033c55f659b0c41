//! `mobula snapshot`.

use super::Global;
use crate::api::{CreateSnapshot, SnapshotChanged, SnapshotInfo};
use crate::cli::change::Batch;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::{Format, Output, Row, fields_of};
use crate::cli::select::{Reach, all_or_none, select, select_each};
use crate::cli::session::{Session, snapshot_path};
use crate::cli::table::{Column, Table};
use crate::cli::terminal::emit_line;
use crate::cli::volume::{Origin, Patience, Settings, create};
use clap::{Args, Subcommand};
use error::{Error, Kind, Result};
use serde::Serialize;
use std::process::ExitCode;
use volume::Size;

/// Take, list, remove and restore snapshots.
#[derive(Debug, Args)]
#[command(visible_alias = "snap", subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct SnapshotGroup {
    #[command(flatten)]
    pub(crate) output: Output,

    /// Say what would be done, and change nothing.
    #[arg(short = 'n', long, alias = "dryRun", global = true)]
    dry_run: bool,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(visible_aliases = ["l", "list", "get"])]
    Ls(Ls),
    #[command(visible_aliases = ["c", "n", "new"])]
    Create(Create),
    #[command(visible_aliases = ["r", "remove", "delete", "del"])]
    Rm(Rm),
    Restore(Restore),
}

/// List snapshots.
#[derive(Debug, Args)]
struct Ls {
    /// Name, beginning of a name, or /regex/; without any, every snapshot.
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,

    /// Only snapshots of this volume.
    #[arg(long, value_name = "VOLUME")]
    volume: Option<String>,
}

/// Take a snapshot of a volume, and print its name.
#[derive(Debug, Args)]
struct Create {
    /// The volume: name, ID, or beginning of a name.
    #[arg(value_name = "VOLUME")]
    volume: String,

    /// Name of the snapshot.
    #[arg(value_name = "NAME")]
    name: String,

    /// Succeed when the volume has a snapshot of this name already.
    #[arg(short, long)]
    idempotent: bool,
}

/// Remove snapshots.
#[derive(Debug, Args)]
struct Rm {
    /// Whole name; /regex/ only with --dry-run or --force (repeatable).
    #[arg(value_name = "SNAPSHOT", required = true)]
    snapshots: Vec<String>,

    #[command(flatten)]
    patience: Patience,

    /// Succeed when there is no such snapshot.
    #[arg(short, long)]
    idempotent: bool,

    /// The same as --idempotent, and accept /regex/.
    #[arg(long)]
    force: bool,
}

/// Create a volume from a snapshot, and print its name.
#[derive(Debug, Args)]
struct Restore {
    /// Name of the snapshot.
    #[arg(value_name = "SNAPSHOT")]
    snapshot: String,

    /// Name of the new volume.
    #[arg(value_name = "NEW")]
    name: String,

    #[command(flatten)]
    settings: Settings,
}

/// A snapshot as a row.
#[derive(Serialize)]
#[serde(transparent)]
struct SnapshotRow(SnapshotInfo);

impl Row for SnapshotRow {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn fields() -> Vec<String> {
        fields_of::<SnapshotInfo>()
    }
}

impl SnapshotGroup {
    /// Runs the verb.
    pub(crate) async fn run(&self, global: &Global, output: &Output) -> Outcome {
        let session = global.open(output).await?;
        let batch = Batch { session: &session, output, dry_run: self.dry_run };
        match &self.verb {
            Verb::Ls(ls) => ls.run(&session, output).await,
            Verb::Create(create) => create.run(&batch).await,
            Verb::Rm(rm) => rm.run(&batch).await,
            Verb::Restore(restore) => restore.run(&batch).await,
        }
    }
}

impl Ls {
    async fn run(&self, session: &Session, output: &Output) -> Outcome {
        let format = output.format()?;
        let found = session.snapshots().await?;
        let rows = self.rows(found.entries)?;
        output.show(&format, &rows, table)?;
        Ok(if found.complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn rows(&self, all: Vec<SnapshotInfo>) -> Result<Vec<SnapshotRow>> {
        let chosen: Vec<SnapshotInfo> = if self.snapshots.is_empty() {
            all
        } else {
            let selected = select_each(&all, &self.snapshots, Reach::Partial, false);
            selected.into_iter().map(Result::<&SnapshotInfo>::cloned).collect::<Result<_>>()?
        };
        let wanted = |snapshot: &SnapshotInfo| {
            self.volume.as_ref().is_none_or(|volume| *volume == snapshot.volume)
        };
        Ok(chosen.into_iter().filter(wanted).map(SnapshotRow).collect())
    }
}

fn table(rows: &[SnapshotRow]) -> Table {
    let columns = [
        Column::flexible("NAME"),
        Column::flexible("VOLUME"),
        Column::flexible("SERVICE"),
        Column::fixed("SIZE"),
        Column::flexible("CREATED"),
    ];
    let mut table = Table::new(&columns);
    for SnapshotRow(snapshot) in rows {
        table.push(vec![
            snapshot.name.as_str().into(),
            snapshot.volume.as_str().into(),
            snapshot.service.as_str().into(),
            Size(snapshot.size).to_string().into(),
            snapshot.created.strftime("%Y-%m-%d %H:%M:%SZ").to_string().into(),
        ]);
    }
    table
}

impl Create {
    async fn run(&self, batch: &Batch<'_>) -> Outcome {
        let volumes = batch.session.volumes().await?.entries;
        let volumes = select(&volumes, &self.volume, Reach::Partial)?;
        let [volume] = volumes.as_slice() else {
            return Err(Error::invalid_argument("give one volume to take a snapshot of").into());
        };
        if batch.dry_run {
            batch.would(&format!("take snapshot {} of volume {}", self.name, volume.name))?;
            return show(batch, Vec::new());
        }
        let request = CreateSnapshot {
            service: Some(volume.service.clone()),
            volume: volume.name.clone(),
            name: self.name.clone(),
        };
        let what = format!("taking snapshot {}", self.name);
        let changed: SnapshotChanged = batch.session.post(&what, "/v1/snapshots", &request).await?;
        if !changed.changed && !self.idempotent {
            let (name, volume) = (&self.name, &volume.name);
            let text = format!(
                "volume {volume} has a snapshot {name} already, and none was taken; choose another \
                 name, remove it, or pass --idempotent"
            );
            return Err(Error::new(Kind::AlreadyExists, text).into());
        }
        show(batch, changed.snapshot.into_iter().collect())
    }
}

/// Shows the snapshots that a verb was about: names, or what `--format` says.
fn show(batch: &Batch<'_>, snapshots: Vec<SnapshotInfo>) -> Outcome {
    let rows: Vec<_> = snapshots.into_iter().map(SnapshotRow).collect();
    match batch.output.format()? {
        Format::Table => rows.iter().try_for_each(|row| emit_line(&row.0.name))?,
        format => batch.output.show(&format, &rows, table)?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Rm {
    async fn run(&self, batch: &Batch<'_>) -> Outcome {
        let all = batch.session.snapshots().await?.entries;
        let reach = Reach::Whole { regex: self.force || batch.dry_run };
        let selected = select_each(&all, &self.snapshots, reach, self.is_lenient());
        let goes_on = self.patience.continue_on_error;
        let selected = if goes_on { selected } else { all_or_none(selected)? };
        let (mut done, mut errors) = (Vec::new(), Vec::new());
        for snapshot in selected {
            match self.remove(batch, snapshot).await {
                Ok(removed) => done.extend(removed),
                Err(error) => errors.push(error),
            }
            if !errors.is_empty() && !goes_on {
                break;
            }
        }
        end(batch, done, errors)
    }

    fn is_lenient(&self) -> bool {
        self.idempotent || self.force
    }

    async fn remove(
        &self,
        batch: &Batch<'_>,
        snapshot: Result<&SnapshotInfo>,
    ) -> Result<Option<SnapshotInfo>> {
        let snapshot = snapshot?;
        if batch.dry_run {
            batch.would(&format!("remove snapshot {}", snapshot.name))?;
            return Ok(batch.output.is_json().then(|| snapshot.clone()));
        }
        let what = format!("removing snapshot {}", snapshot.name);
        let path = snapshot_path(snapshot);
        let changed: SnapshotChanged = batch.session.delete(&what, &path).await?;
        if !changed.changed && !self.is_lenient() {
            return Err(Error::not_found(format!("snapshot {} is gone already", snapshot.name)));
        }
        Ok(Some(snapshot.clone()))
    }
}

fn end(batch: &Batch<'_>, done: Vec<SnapshotInfo>, errors: Vec<Error>) -> Outcome {
    if errors.is_empty() {
        return show(batch, done);
    }
    let json = done.iter().filter_map(|snapshot| serde_json::to_value(snapshot).ok()).collect();
    if !batch.output.is_json() {
        show(batch, done)?;
    }
    Err(Failure::new(errors, json))
}

impl Restore {
    async fn run(&self, batch: &Batch<'_>) -> Outcome {
        let all = batch.session.snapshots().await?.entries;
        let snapshots = select(&all, &self.snapshot, Reach::Whole { regex: false })?;
        let [snapshot] = snapshots.as_slice() else {
            return Err(Error::invalid_argument("give one snapshot").into());
        };
        let origin = Origin::Snapshot(&snapshot.name);
        let request = self.settings.request(&self.name, Some(&snapshot.service), Some(&origin))?;
        batch.run_one(create(batch, &request)).await
    }
}
