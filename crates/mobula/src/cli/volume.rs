//! `mobula volume`: the verbs and their flags.

mod create;
mod import;
mod look;

use super::Global;
use crate::api::{ExpandVolume, MountVolume, VolumeInfo};
use crate::cli::change::{Batch, Change};
use crate::cli::failure::Outcome;
use crate::cli::output::{Format, Output};
use clap::{Args, Subcommand};
use error::Result;
use look::{VolumeRow, volume_table};

pub(crate) use create::{Origin, Settings, create};

/// Create, mount and look after volumes.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct VolumeGroup {
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
    Ls(look::Ls),
    #[command(visible_aliases = ["c", "n", "new"])]
    Create(create::Create),
    Inspect(look::Inspect),
    #[command(visible_aliases = ["r", "remove", "delete", "del"])]
    Rm(Rm),
    #[command(visible_alias = "a")]
    Attach(Attach),
    #[command(visible_alias = "d")]
    Detach(Detach),
    #[command(visible_alias = "m")]
    Mount(Mount),
    #[command(visible_aliases = ["u", "umount"])]
    Unmount(Unmount),
    Expand(Expand),
    Clone(create::Clone),
    Import(import::Import),
    Path(look::PathOf),
    Exists(look::Exists),
}

/// The volumes that a verb is about.
#[derive(Debug, Args)]
pub(crate) struct Targets {
    /// Name, ID, beginning of a name, or /regex/ (repeatable).
    #[arg(value_name = "VOLUME", required = true)]
    pub(crate) volumes: Vec<String>,

    #[command(flatten)]
    pub(crate) patience: Patience,
}

/// What happens after a failure.
#[derive(Debug, Args)]
pub(crate) struct Patience {
    /// Go on after a failure; the exit code is that of the first.
    #[arg(long, alias = "continueOnError")]
    pub(crate) continue_on_error: bool,
}

/// Whether a state that is there already is a success.
#[derive(Debug, Args)]
struct Idempotence {
    /// Succeed when there is nothing to do.
    #[arg(short, long)]
    idempotent: bool,
}

/// Remove volumes and their data.
#[derive(Debug, Args)]
struct Rm {
    /// Whole name or ID; /regex/ only with --dry-run or --force (repeatable).
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,

    #[command(flatten)]
    patience: Patience,

    #[command(flatten)]
    idempotence: Idempotence,

    /// Detach before, if need be; succeed when there is no such volume.
    #[arg(long)]
    force: bool,
}

/// Whether volumes that this machine cannot reach are moved.
#[derive(Debug, Args)]
struct Relocation {
    /// Have the driver move them to where this machine can reach them before, if need be.
    #[arg(long = "move")]
    moves: bool,
}

/// Attach volumes to this machine without mounting them.
#[derive(Debug, Args)]
struct Attach {
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    idempotence: Idempotence,
    #[command(flatten)]
    relocation: Relocation,
}

/// Detach volumes from this machine.
#[derive(Debug, Args)]
struct Detach {
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    idempotence: Idempotence,
}

/// Mount volumes, and print where.
#[derive(Debug, Args)]
struct Mount {
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    idempotence: Idempotence,
    #[command(flatten)]
    relocation: Relocation,

    /// Mount ID: who has the volume mounted [default: cli].
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

/// Unmount volumes.
#[derive(Debug, Args)]
struct Unmount {
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    idempotence: Idempotence,

    /// Mount ID that the volume was mounted with [default: cli].
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    id: Option<String>,

    /// Give back every mount ID, unless a container still uses the volume.
    #[arg(long)]
    all: bool,
}

/// Grow a volume and its file system.
#[derive(Debug, Args)]
struct Expand {
    /// Name, ID, or beginning of a name.
    #[arg(value_name = "VOLUME")]
    volume: String,

    /// The size it shall have, such as 20GiB.
    #[arg(value_name = "SIZE")]
    size: String,
}

impl VolumeGroup {
    /// Runs the verb.
    pub(crate) async fn run(&self, global: &Global, output: &Output) -> Outcome {
        let session = global.open(output).await?;
        let batch = Batch { session: &session, output, dry_run: self.dry_run };
        match &self.verb {
            Verb::Ls(ls) => ls.run(&session, output).await,
            Verb::Create(create) => create.run(&batch).await,
            Verb::Inspect(inspect) => inspect.run(&session, output).await,
            Verb::Rm(rm) => rm.run(&batch).await,
            Verb::Attach(attach) => attach.run(&batch).await,
            Verb::Detach(detach) => detach.run(&batch).await,
            Verb::Mount(mount) => mount.run(&batch).await,
            Verb::Unmount(unmount) => unmount.run(&batch).await,
            Verb::Expand(expand) => expand.run(&batch).await,
            Verb::Clone(clone) => clone.run(&batch).await,
            Verb::Import(import) => import.run(&batch).await,
            Verb::Path(path) => path.run(&session, output).await,
            Verb::Exists(exists) => exists.run(&session).await,
        }
    }
}

impl Rm {
    async fn run(&self, batch: &Batch<'_>) -> Outcome {
        let change = Change::Remove { force: self.force, dry_run: batch.dry_run };
        let lenient = self.force || self.idempotence.idempotent;
        batch.change(&self.volumes, &self.patience, &change, lenient).await
    }
}

impl Attach {
    async fn run(&self, batch: &Batch<'_>) -> Outcome {
        let change = Change::Attach.moved(self.relocation.moves);
        batch.apply(&self.targets, &change, self.idempotence.idempotent).await
    }
}

impl Detach {
    async fn run(&self, batch: &Batch<'_>) -> Outcome {
        batch.apply(&self.targets, &Change::Detach, self.idempotence.idempotent).await
    }
}

impl Mount {
    async fn run(&self, batch: &Batch<'_>) -> Outcome {
        let change = Change::Mount(MountVolume { id: self.id.clone(), all: false });
        let change = change.moved(self.relocation.moves);
        batch.apply(&self.targets, &change, self.idempotence.idempotent).await
    }
}

impl Unmount {
    async fn run(&self, batch: &Batch<'_>) -> Outcome {
        let change = Change::Unmount(MountVolume { id: self.id.clone(), all: self.all });
        batch.apply(&self.targets, &change, self.idempotence.idempotent).await
    }
}

impl Expand {
    async fn run(&self, batch: &Batch<'_>) -> Outcome {
        let change = Change::Expand(ExpandVolume { size: self.size.clone() });
        let patience = Patience { continue_on_error: false };
        batch.change(std::slice::from_ref(&self.volume), &patience, &change, true).await
    }
}

/// How a message calls a volume.
pub(crate) fn title(volume: &VolumeInfo) -> String {
    format!("volume {} of service {}", volume.name, volume.service)
}

/// Shows volumes in another format than lines.
pub(crate) fn show_rows(output: &Output, format: &Format, volumes: Vec<VolumeInfo>) -> Result<()> {
    let rows: Vec<_> = volumes.into_iter().map(|volume| VolumeRow::new(volume, false)).collect();
    output.show(format, &rows, |rows| volume_table(rows, false))
}
