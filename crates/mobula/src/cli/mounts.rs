//! `mobula mounts`: the kernel's mount table next to the ledger, and what is not as it must be.

mod plugins;

use super::Global;
use crate::api::{MountInfo, MountList};
use crate::cli::failure::Outcome;
use crate::cli::output::{Format, Output, Row};
use crate::cli::table::{Cell, Column, Table, Tint};
use crate::cli::terminal::note;
use crate::cli::tree;
use crate::paths::Paths;
use clap::Args;
use error::Result;
use host::Mount;
use plugins::Plugins;
use serde::Serialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  mobula mounts
  mobula mounts --all
  mobula mounts --json | jq '.mounts[] | select(.shared == false)'

Mounts of plugins are shown when the plugin engine runs. A mount that containers shall see must be
shared; one that is not is marked NOT SHARED.";

/// Show what is mounted of mobula and its plugins on this machine, as a tree.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Mounts {
    /// The whole mount table.
    #[arg(short, long)]
    all: bool,

    #[command(flatten)]
    pub(crate) output: Output,
}

/// A line of the tree.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    id: u64,
    parent: u64,
    target: PathBuf,
    source: String,
    fstype: String,
    propagation: String,
    shared: bool,
    must_be_shared: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
    consumers: Vec<String>,
    #[serde(skip)]
    branch: String,
}

/// What `--json` shows.
#[derive(Debug, Serialize)]
struct Report<'a> {
    root: &'a Path,
    mounts: &'a [Line],
    /// Volumes that the ledger says are mounted, and the kernel does not.
    missing: Vec<&'a MountInfo>,
}

impl Row for Line {
    fn name(&self) -> &str {
        self.target.to_str().unwrap_or_default()
    }

    fn fields() -> Vec<String> {
        let fields = "id parent target source fstype propagation shared mustBeShared service \
                      volume plugin consumers";
        fields.split(' ').map(str::to_owned).collect()
    }
}

impl Mounts {
    /// Shows the tree.
    pub(crate) async fn run(&self, global: &Global, output: &Output) -> Outcome {
        let format = output.format()?;
        let (list, plugins) = tokio::join!(ledger(global, output), Plugins::ask());
        let table = host::mountinfo::table()?;
        let ledger = Ledger::new(&list, &table);
        let lines = lines(&table, &ledger, &plugins, self.all);
        let missing = ledger.missing(&table);
        match format {
            Format::Json | Format::Pretty => {
                let report = Report { root: &list.root, mounts: &lines, missing };
                output.show_json(&format, &report)?;
            }
            format => {
                remarks(&ledger, &missing, &table);
                if !lines.is_empty() {
                    output.show(&format, &lines, tree_table)?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The ledger; the kernel's table is worth showing without it.
async fn ledger(global: &Global, output: &Output) -> MountList {
    let asked: Result<MountList> = async {
        let session = global.open(output).await?;
        session.get("reading the ledger", "/v1/mounts").await
    }
    .await;
    asked.unwrap_or_else(|error| {
        note(&format!("the ledger cannot be read, so no volumes are shown: {error}"));
        MountList { root: Paths::from_env().mounts(), mounts: Vec::new() }
    })
}

fn remarks(ledger: &Ledger<'_>, missing: &[&MountInfo], table: &[Mount]) {
    let root = ledger.root;
    if !table.iter().any(|mount| mount.target == root) {
        note(&format!(
            "{} is no mount point yet; the agent, or the first mount, makes it one",
            root.display()
        ));
    }
    for volume in missing {
        note(&format!(
            "volume {} of service {} should be mounted at {}, and is not",
            volume.volume,
            volume.service,
            volume.target.display()
        ));
    }
}

/// The directory of a file system that a mount shows.
type Place<'a> = (&'a str, &'a Path);

/// What the ledger says, by place.
struct Ledger<'a> {
    root: &'a Path,
    volumes: &'a [MountInfo],
    targets: HashMap<&'a Path, &'a MountInfo>,
    places: HashMap<Place<'a>, Option<&'a MountInfo>>,
}

impl<'a> Ledger<'a> {
    fn new(list: &'a MountList, table: &'a [Mount]) -> Self {
        let targets: HashMap<&Path, &MountInfo> =
            list.mounts.iter().map(|volume| (volume.target.as_path(), volume)).collect();
        let mut ledger =
            Self { root: &list.root, volumes: &list.mounts, places: HashMap::new(), targets };
        for mount in table.iter().filter(|mount| ledger.is_below(mount)).collect::<Vec<_>>() {
            let volume = ledger.targets.get(mount.target.as_path()).copied();
            ledger.places.insert((&mount.device, &mount.root), volume);
        }
        ledger
    }

    fn is_below(&self, mount: &Mount) -> bool {
        mount.target != self.root && mount.target.starts_with(self.root)
    }

    /// The volume that `mount` shows, wherever it is, if it shows one at all.
    fn find_volume(&self, mount: &Mount) -> Option<Option<&'a MountInfo>> {
        let ancestors = mount.root.ancestors();
        let mut places =
            ancestors.filter_map(|root| self.places.get(&(mount.device.as_str(), root)));
        places.next().copied()
    }

    /// Whether `mount` is the root, below it, or a volume elsewhere.
    fn concerns(&self, mount: &Mount) -> bool {
        mount.target == self.root || self.is_below(mount) || self.find_volume(mount).is_some()
    }

    fn missing(&self, table: &[Mount]) -> Vec<&'a MountInfo> {
        let mounted: std::collections::HashSet<&Path> =
            table.iter().map(|mount| mount.target.as_path()).collect();
        let lacks = |volume: &&MountInfo| {
            volume.state == "mounted" && !mounted.contains(volume.target.as_path())
        };
        self.volumes.iter().filter(lacks).collect()
    }

    fn line(&self, mount: &Mount, plugin: Option<&str>, branch: String) -> Line {
        let volume = self.find_volume(mount).flatten();
        let consumers = volume.map(|volume| volume.consumers.as_slice()).unwrap_or_default();
        Line {
            id: mount.id,
            parent: mount.parent,
            target: mount.target.clone(),
            source: source(mount),
            fstype: mount.fstype.clone(),
            propagation: mount.propagation(),
            shared: mount.shared.is_some(),
            must_be_shared: plugin.is_some() || mount.target.starts_with(self.root),
            service: volume.map(|volume| volume.service.clone()),
            volume: volume.map(|volume| volume.volume.clone()),
            plugin: plugin.map(str::to_owned),
            consumers: consumers.iter().map(|consumer| consumer.id.clone()).collect(),
            branch,
        }
    }
}

/// As findmnt writes it: `/dev/loop0`, or `/dev/vda1[/var/lib/x]` where a directory is mounted.
fn source(mount: &Mount) -> String {
    if mount.root == Path::new("/") {
        return mount.source.clone();
    }
    format!("{}[{}]", mount.source, mount.root.display())
}

/// The lines of the tree, in the order in which they are drawn: those of one plugin together.
fn lines(table: &[Mount], ledger: &Ledger<'_>, plugins: &Plugins, all: bool) -> Vec<Line> {
    let owned = table.iter().map(|mount| (plugins.owner(&mount.target), mount));
    let mut owned: Vec<(Option<&str>, &Mount)> =
        owned.filter(|(owner, mount)| all || owner.is_some() || ledger.concerns(mount)).collect();
    owned.sort_unstable_by_key(|(owner, mount)| (*owner, mount.id));
    let shown: Vec<&Mount> = owned.iter().map(|(_, mount)| *mount).collect();
    let drawn = tree::draw(&parents(table, &shown));
    drawn
        .into_iter()
        .map(|(node, branch)| ledger.line(shown[node], owned[node].0, branch))
        .collect()
}

/// For each mount that is shown, the nearest mount below it that is shown too.
fn parents(table: &[Mount], shown: &[&Mount]) -> Vec<Option<usize>> {
    let index: HashMap<u64, usize> =
        shown.iter().enumerate().map(|(index, mount)| (mount.id, index)).collect();
    let next: HashMap<u64, u64> = table.iter().map(|mount| (mount.id, mount.parent)).collect();
    shown.iter().map(|mount| nearest_shown(mount, &index, &next)).collect()
}

fn nearest_shown(
    mount: &Mount,
    index: &HashMap<u64, usize>,
    next: &HashMap<u64, u64>,
) -> Option<usize> {
    let (mut id, mut parent) = (mount.id, mount.parent);
    // The root of a namespace is its own parent, or has one that is not in the table.
    for _ in 0..next.len() {
        if parent == id {
            return None;
        }
        if let Some(found) = index.get(&parent) {
            return Some(*found);
        }
        (id, parent) = (parent, *next.get(&parent)?);
    }
    None
}

fn tree_table(lines: &[Line]) -> Table {
    let has_plugins = lines.iter().any(|line| line.plugin.is_some());
    let mut columns = vec![
        Column::flexible("TARGET"),
        Column::flexible("SOURCE"),
        Column::fixed("FSTYPE"),
        Column::fixed("PROPAGATION"),
        Column::flexible("VOLUME"),
        Column::flexible("CONSUMERS"),
    ];
    columns.extend(has_plugins.then_some(Column::flexible("PLUGIN")));
    let mut table = Table::new(&columns);
    for line in lines {
        let mut row = vec![
            format!("{}{}", line.branch, line.target.display()).into(),
            line.source.as_str().into(),
            line.fstype.as_str().into(),
            propagation(line),
            volume(line).into(),
            line.consumers.iter().map(|id| short(id)).collect::<Vec<_>>().join(", ").into(),
        ];
        row.extend(has_plugins.then(|| line.plugin.as_deref().unwrap_or_default().into()));
        table.push(row);
    }
    table
}

fn propagation(line: &Line) -> Cell {
    if line.must_be_shared && !line.shared {
        return Cell::new(format!("{} NOT SHARED", line.propagation), Some(Tint::Red));
    }
    line.propagation.as_str().into()
}

fn volume(line: &Line) -> String {
    match (&line.service, &line.volume) {
        (Some(service), Some(volume)) => format!("{service}/{volume}"),
        _ => String::new(),
    }
}

/// Docker's IDs as Docker shows them: their first twelve digits. The JSON has them whole.
fn short(id: &str) -> &str {
    let is_long = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_long { &id[..12] } else { id }
}

#[cfg(test)]
mod tests;
