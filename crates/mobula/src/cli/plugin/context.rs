//! `mobula plugin create`: a plugin from a directory.

use super::install::local_name;
use crate::cli::terminal::emit_line;
use crate::engine_client::{EngineClient, Request, Writer, is_unread, pipe, query};
use clap::Args;
use error::{Error, IoContext, Kind, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::path::{Path, PathBuf};

/// Create a plugin from a directory with config.json and rootfs/.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// Name, with a tag unless it is latest.
    #[arg(value_name = "PLUGIN")]
    plugin: String,

    /// The directory.
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// Send it compressed (gzip).
    #[arg(long)]
    compress: bool,
}

impl Create {
    /// Creates it and prints its name.
    pub(super) async fn run(&self, engine: &EngineClient) -> Result<()> {
        local_name(&self.plugin)?;
        check(&self.dir)?;
        let (writer, body) = pipe();
        let (dir, compress) = (self.dir.clone(), self.compress);
        let writing = tokio::task::spawn_blocking(move || write(&dir, compress, writer));
        let request = Request::post(query("/plugins/create", &[("name", &self.plugin)])).tar(body);
        let answered = engine.send(request).await.map(drop);
        let written = writing
            .await
            .map_err(|source| Error::internal("the plugin was not sent").because(source))?;
        verdict(answered, written)?;
        emit_line(&self.plugin)
    }
}

/// The engine's refusal tells more than that it read no further; but when the directory could not
/// be read, that is why the engine gave up.
fn verdict(answered: Result<()>, written: Result<()>) -> Result<()> {
    match (answered, written) {
        // Nobody may believe that all of it arrived.
        (Ok(()), written) => written,
        (Err(refusal), _) if refusal.kind() != Kind::Unavailable => Err(refusal),
        (Err(_), Err(unreadable)) if !is_unread(&unreadable) => Err(unreadable),
        (Err(broken), _) => Err(broken),
    }
}

fn check(dir: &Path) -> Result<()> {
    let shown = dir.display();
    if !dir.is_dir() {
        return Err(Error::invalid_argument(format!("{shown} is no directory")));
    }
    let path = dir.join("config.json");
    let config = std::fs::read(&path).doing(|| format!("read {}", path.display()))?;
    serde_json::from_slice::<serde_json::Value>(&config).map_err(|source| {
        Error::invalid_argument(format!("{} is no JSON", path.display())).because(source)
    })?;
    if dir.join("rootfs").is_dir() {
        return Ok(());
    }
    Err(Error::invalid_argument(format!(
        "{shown} has no directory rootfs, the root file system of the plugin"
    )))
}

fn write(dir: &Path, compress: bool, mut writer: Writer) -> Result<()> {
    if compress {
        let mut packer = GzEncoder::new(writer, Compression::fast());
        plugin::rootfs::write_context(dir, &mut packer)?;
        writer = packer.finish().doing(|| "send the plugin")?;
    } else {
        plugin::rootfs::write_context(dir, &mut writer)?;
    }
    writer.finish().doing(|| "send the plugin")
}
