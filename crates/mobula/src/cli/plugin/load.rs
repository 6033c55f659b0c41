//! `mobula plugin save` and `load`: plugins as files, for machines without a network.

use super::consent::Consent;
use super::install::local_name;
use crate::cli::terminal::emit_line;
use crate::engine_client::{
    Answer, EngineClient, Request, Writer, is_unread, named, open_file, pipe, query,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use error::{Error, IoContext, Result};
use plugin::privileges::Privilege;
use serde::Deserialize;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Write a plugin into a file (an OCI archive).
#[derive(Debug, Args)]
pub(super) struct Save {
    /// Name or ID.
    #[arg(value_name = "PLUGIN")]
    plugin: String,

    /// The file, instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Save {
    /// Writes it; a file appears complete or not at all.
    pub(super) async fn run(&self, engine: &EngineClient) -> Result<()> {
        if self.output.is_none() && std::io::stdout().is_terminal() {
            return Err(Error::invalid_argument(
                "an archive is nothing for a terminal; name a file with --output",
            ));
        }
        let path = named("/mobula/plugins", &self.plugin, "/save")?;
        let answer = engine.send(Request::get(path)).await?;
        match &self.output {
            None => copy(answer, &mut std::io::stdout().lock(), "standard output").await,
            Some(file) => to_file(answer, file).await,
        }
    }
}

async fn to_file(answer: Answer, file: &Path) -> Result<()> {
    let mut part = file.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    let mut out = File::create(&part).doing(|| format!("make {}", part.display()))?;
    let saved = match copy(answer, &mut out, &part.display().to_string()).await {
        Ok(()) => host::file::rename_synced(&part, file),
        Err(error) => Err(error),
    };
    if saved.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    saved
}

async fn copy(mut answer: Answer, to: &mut impl Write, name: &str) -> Result<()> {
    while let Some(chunk) = answer.chunk().await? {
        to.write_all(&chunk).doing(|| format!("write to {name}"))?;
    }
    to.flush().doing(|| format!("write to {name}"))
}

/// Install the plugins of a file that save wrote, disabled.
#[derive(Debug, Args)]
pub(super) struct Load {
    /// The file.
    #[arg(short, long, value_name = "FILE")]
    input: PathBuf,

    /// Name to install the plugin under, when there is one in the file.
    #[arg(long, value_name = "NAME")]
    alias: Option<String>,

    #[command(flatten)]
    consent: Consent,
}

/// What the engine answers when it was not told what is granted.
#[derive(Deserialize)]
struct Wishes {
    #[serde(default)]
    message: String,
    privileges: Option<Vec<Privilege>>,
}

impl Load {
    /// Asks for what the plugins want, installs them and prints their names.
    pub(super) async fn run(&self, engine: &EngineClient) -> Result<()> {
        let name = self.alias.as_deref().map(local_name).transpose()?.unwrap_or_default();
        let mut answer = self.send(engine, &name, None).await?;
        if answer.status().as_u16() == 403 {
            let wishes: Wishes = answer.json().await?;
            let Some(privileges) = wishes.privileges else {
                return Err(Error::permission_denied(wishes.message));
            };
            let shown = self.alias.clone().unwrap_or_else(|| self.input.display().to_string());
            self.consent.ask(&shown, &privileges).await?;
            answer = self.send(engine, &name, Some(&privileges)).await?;
        }
        let answer = answer.successful().await?;
        for name in answer.json::<Vec<String>>().await? {
            emit_line(&format!("Loaded plugin {name}"))?;
        }
        Ok(())
    }

    async fn send(
        &self,
        engine: &EngineClient,
        name: &str,
        granted: Option<&[Privilege]>,
    ) -> Result<Answer> {
        let mut file = open_file(&self.input)?;
        let (writer, body) = pipe();
        let writing = tokio::task::spawn_blocking(move || feed(&mut file, writer));
        let path = query("/mobula/plugins/load", &[("name", name)]);
        let mut request = Request::post(path).tar(body);
        if let Some(granted) = granted {
            let json = serde_json::to_vec(granted)
                .map_err(|source| Error::internal("encode the request").because(source))?;
            request = request.header("x-mobula-privileges", STANDARD.encode(json));
        }
        let answer = engine.send_any(request).await;
        match (answer, writing.await) {
            (Ok(answer), _) => Ok(answer),
            (Err(_), Ok(Err(unreadable))) if !is_unread(&unreadable) => Err(unreadable),
            (Err(broken), _) => Err(broken),
        }
    }
}

fn feed(file: &mut File, mut writer: Writer) -> Result<()> {
    std::io::copy(file, &mut writer).doing(|| "send the archive")?;
    writer.finish().doing(|| "send the archive")
}
