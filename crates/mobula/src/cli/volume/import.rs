//! `mobula volume import`: a volume out of a disk that another program left.

use super::create::{Settings, create};
use crate::cli::change::Batch;
use crate::cli::failure::Outcome;
use clap::Args;
use error::IoContext;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  mobula volume import pgdata --from /dev/xvdf -o subPath=data -o mode=0700
  mobula volume import pgdata --from /srv/images/pgdata.img

The first is a volume of REX-Ray, whose users saw its directory data. Nothing is formatted, and the
original is only read: it must not be in use, and stays as it is. It must hold ext4, xfs or btrfs.";

/// Make a volume of what is on a block device or in a disk image.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Import {
    /// Name of the new volume.
    #[arg(value_name = "NAME")]
    name: String,

    /// Block device, or disk image, with a file system on the whole of it.
    #[arg(long, value_name = "PATH")]
    from: PathBuf,

    #[command(flatten)]
    settings: Settings,
}

impl Import {
    /// Copies it.
    pub(super) async fn run(&self, batch: &Batch<'_>) -> Outcome {
        let service = batch.session.service.as_deref();
        let mut request = self.settings.request(&self.name, service, None)?;
        // The agent has another working directory.
        let from = std::path::absolute(&self.from)
            .doing(|| format!("find out where {} is", self.from.display()))?;
        request.from = Some(from);
        batch.run_one(create(batch, &request)).await
    }
}
