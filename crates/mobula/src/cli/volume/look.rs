//! The verbs that only look: ls, inspect, path, exists.

use crate::api::VolumeInfo;
use crate::cli::failure::Outcome;
use crate::cli::output::{Output, Row, fields_of};
use crate::cli::select::{Reach, select, select_each};
use crate::cli::session::{Found, Session};
use crate::cli::table::{Cell, Column, Table, Tint};
use crate::cli::terminal::emit;
use clap::Args;
use error::{Error, Kind, Result};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use volume::Size;

/// List volumes.
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Name, ID, beginning of a name, or /regex/; without any, every volume.
    #[arg(value_name = "VOLUME")]
    volumes: Vec<String>,

    /// Only volumes that are attached to this machine.
    #[arg(long, conflicts_with = "available")]
    attached: bool,

    /// Only volumes that are not attached.
    #[arg(long)]
    available: bool,

    /// Show where they are mounted, in JSON as Path.
    #[arg(long)]
    path: bool,
}

/// Show all that is known about volumes, as JSON.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Name, ID, beginning of a name, or /regex/ (repeatable).
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,
}

/// Print where volumes are mounted; exit code 4 when one is not.
#[derive(Debug, Args)]
pub(crate) struct PathOf {
    /// Name, ID, beginning of a name, or /regex/ (repeatable).
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,
}

/// Say by the exit code whether volumes exist: 0 or 3.
#[derive(Debug, Args)]
pub(crate) struct Exists {
    /// Whole name or ID (repeatable).
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,
}

/// A volume as a row of a listing.
#[derive(Debug, Serialize)]
pub(crate) struct VolumeRow {
    #[serde(flatten)]
    volume: VolumeInfo,
    #[serde(rename = "Path", skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
}

impl VolumeRow {
    /// A row; `with_path` repeats the mount point under the name that REX-Ray's scripts expect.
    pub(crate) fn new(volume: VolumeInfo, with_path: bool) -> Self {
        let path = volume.mountpoint.clone().filter(|_| with_path);
        Self { volume, path }
    }
}

impl Row for VolumeRow {
    fn name(&self) -> &str {
        &self.volume.name
    }

    fn fields() -> Vec<String> {
        let mut fields = fields_of::<VolumeInfo>();
        fields.push("Path".to_owned());
        fields
    }
}

impl Ls {
    /// Lists them.
    pub(crate) async fn run(&self, session: &Session, output: &Output) -> Outcome {
        let format = output.format()?;
        let found = session.volumes().await?;
        let complete = found.complete;
        let chosen = chosen(found.entries, &self.volumes)?;
        let rows: Vec<_> = chosen
            .into_iter()
            .filter(|volume| self.wants(volume))
            .map(|volume| VolumeRow::new(volume, self.path))
            .collect();
        output.show(&format, &rows, |rows| volume_table(rows, self.path))?;
        Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn wants(&self, volume: &VolumeInfo) -> bool {
        let attached = volume.device.is_some()
            || matches!(volume.status.as_str(), "attached" | "mounted" | "releasing");
        !(self.attached && !attached || self.available && volume.status != "available")
    }
}

/// The volumes that `words` mean, in their order; without words, all.
fn chosen(all: Vec<VolumeInfo>, words: &[String]) -> Result<Vec<VolumeInfo>> {
    if words.is_empty() {
        return Ok(all);
    }
    let selected = select_each(&all, words, Reach::Partial, false);
    selected.into_iter().map(Result::<&VolumeInfo>::cloned).collect()
}

/// The table of volumes for people.
pub(crate) fn volume_table(rows: &[VolumeRow], with_path: bool) -> Table {
    let mut columns = vec![
        Column::flexible("NAME"),
        Column::flexible("SERVICE"),
        Column::fixed("STATUS"),
        Column::fixed("SIZE"),
        Column::fixed("FS TYPE"),
    ];
    if with_path {
        columns.push(Column::flexible("PATH"));
    }
    let mut table = Table::new(&columns);
    for row in rows {
        table.push(cells(&row.volume, with_path));
    }
    table
}

fn cells(volume: &VolumeInfo, with_path: bool) -> Vec<Cell> {
    let size = volume.size.map_or_else(|| "-".to_owned(), |bytes| Size(bytes).to_string());
    let mut cells = vec![
        volume.name.as_str().into(),
        volume.service.as_str().into(),
        Cell::new(stand(volume), Tint::of_status(&volume.status)),
        size.into(),
        volume.fs_type.as_deref().unwrap_or("-").into(),
    ];
    if with_path {
        let path = volume.mountpoint.as_ref().map(|path| path.display().to_string());
        cells.push(path.unwrap_or_default().into());
    }
    cells
}

/// `elsewhere (i-0a)`.
fn stand(volume: &VolumeInfo) -> String {
    match volume.status.as_str() {
        status @ "elsewhere" => format!("{status} ({})", volume.attached_to.join(", ")),
        status => status.to_owned(),
    }
}

impl Inspect {
    /// Shows them.
    pub(crate) async fn run(&self, session: &Session, output: &Output) -> Outcome {
        let format = output.format_or_pretty()?;
        let chosen = chosen(session.volumes().await?.entries, &self.volumes)?;
        let rows: Vec<_> = chosen.into_iter().map(|volume| VolumeRow::new(volume, false)).collect();
        output.show(&format, &rows, |rows| volume_table(rows, true))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl PathOf {
    /// Prints them.
    pub(crate) async fn run(&self, session: &Session, output: &Output) -> Outcome {
        let format = output.format()?;
        let Found { entries, .. } = session.volumes().await?;
        let mut rows = Vec::new();
        for volume in chosen(entries, &self.volumes)? {
            mountpoint(&volume)?;
            rows.push(VolumeRow::new(volume, true));
        }
        if output.is_plain() {
            let paths = rows.iter().filter_map(|row| row.path.as_ref());
            emit(&paths.map(|path| format!("{}\n", path.display())).collect::<String>())?;
        } else {
            output.show(&format, &rows, |rows| volume_table(rows, true))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn mountpoint(volume: &VolumeInfo) -> Result<&PathBuf> {
    volume.mountpoint.as_ref().ok_or_else(|| {
        Error::failed_precondition(format!(
            "{} is not mounted; `mobula volume mount {}` mounts it",
            super::title(volume),
            volume.name
        ))
    })
}

impl Exists {
    /// Answers by the exit code.
    pub(crate) async fn run(&self, session: &Session) -> Outcome {
        let Found { entries, complete } = session.volumes().await?;
        let is_there = |word: &String| select(&entries, word, Reach::Exact);
        for missing in self.volumes.iter().filter_map(|word| is_there(word).err()) {
            if missing.kind() != Kind::NotFound {
                continue;
            }
            if complete {
                return Ok(ExitCode::from(Kind::NotFound.exit_code()));
            }
            return Err(Error::unavailable(
                "not every service could be asked; give the one that is meant with --service",
            )
            .into());
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn volume(name: &str, mountpoint: Option<&str>) -> VolumeInfo {
        serde_json::from_value(json!({
            "service": "s", "name": name, "id": name, "driver": "loop", "size": 64 << 20,
            "fsType": "ext4", "created": "2026-01-02T03:04:05Z", "mountpoint": mountpoint,
            "status": if mountpoint.is_some() { "mounted" } else { "available" },
        }))
        .unwrap()
    }

    #[test]
    fn the_listing_shows_what_matters() {
        let rows = [
            VolumeRow::new(volume("pgdata", Some("/run/mobula/mounts/s/pgdata")), true),
            VolumeRow::new(volume("a", None), true),
        ];
        let expected = "\
NAME    SERVICE  STATUS     SIZE   FS TYPE  PATH
pgdata  s        mounted    64MiB  ext4     /run/mobula/mounts/s/pgdata
a       s        available  64MiB  ext4
";
        assert_eq!(volume_table(&rows, true).render(None, false), expected);
    }

    #[test]
    fn path_is_spelled_as_scripts_of_rexray_expect() {
        let row = VolumeRow::new(volume("a", Some("/m")), true);
        let json = serde_json::to_value([row]).unwrap();
        assert_eq!(json[0]["Path"], "/m");
        assert_eq!(json[0]["mountpoint"], "/m");
        let without = serde_json::to_value(VolumeRow::new(volume("a", Some("/m")), false)).unwrap();
        assert_eq!(without.get("Path"), None);
    }

    #[test]
    fn a_template_can_name_fields_without_value() {
        assert!(VolumeRow::fields().contains(&"mountpoint".to_owned()));
        assert!(VolumeRow::fields().contains(&"fsType".to_owned()));
    }

    #[test]
    fn volumes_are_shown_once_in_the_order_of_the_arguments() {
        let all = vec![volume("a", None), volume("b", None), volume("c", None)];
        let words = ["c", "/[ab]/", "a"].map(str::to_owned);
        let names: Vec<_> = chosen(all, &words).unwrap().into_iter().map(|v| v.name).collect();
        assert_eq!(names, ["c", "a", "b"]);
    }
}
