//! `mobula volume import`: a volume out of a disk that another program left.

use super::create::{Settings, create};
use crate::cli::change::Batch;
use crate::cli::failure::Outcome;
use crate::cli::pair;
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

    /// Option of the driver, such as subPath=data (repeatable).
    #[arg(short, long = "option", alias = "opt", value_name = "KEY=VALUE", value_parser = pair)]
    options: Vec<(String, String)>,

    /// Label (repeatable).
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
}

impl Import {
    /// Copies it.
    pub(super) async fn run(&self, batch: &Batch<'_>) -> Outcome {
        let service = batch.session.service.as_deref();
        let (options, labels) = (self.options.clone(), self.labels.clone());
        let settings = Settings::of(options, labels);
        let mut request = settings.request(&self.name, service, None)?;
        // The agent has another working directory.
        let from = std::path::absolute(&self.from)
            .doing(|| format!("find out where {} is", self.from.display()))?;
        request.from = Some(from);
        batch.run_one(create(batch, &request)).await
    }
}
