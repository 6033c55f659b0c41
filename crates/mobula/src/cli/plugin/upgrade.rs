//! `mobula plugin upgrade`: another version of an installed plugin.

use super::consent::Consent;
use super::install::Remote;
use super::watch;
use crate::cli::confirm::confirm;
use crate::cli::terminal::emit_line;
use crate::engine_client::{EngineClient, named};
use clap::Args;
use error::{Error, Kind, Result};
use plugin::engine::Description;
use plugin::privileges::{Privilege, added};
use plugin::reference::Reference;
use serde::Deserialize;
use std::io::IsTerminal;

/// Upgrade a plugin; its ID, settings and data stay.
#[derive(Debug, Args)]
pub(super) struct Upgrade {
    /// Name or ID.
    #[arg(value_name = "PLUGIN")]
    plugin: String,

    /// Where from, instead of where it came from.
    #[arg(value_name = "REFERENCE")]
    remote: Option<String>,

    /// Do not ask when it came from elsewhere.
    #[arg(long)]
    skip_remote_check: bool,

    /// Exchange it while it is enabled: it stops for a moment, and what is mounted stays.
    #[arg(long)]
    drain: bool,

    #[command(flatten)]
    consent: Consent,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Present {
    name: String,
    enabled: bool,
    plugin_reference: String,
}

impl Upgrade {
    /// Asks for what is new, and upgrades.
    pub(super) async fn run(&self, engine: &EngineClient) -> Result<()> {
        let path = named("/plugins", &self.plugin, "/json")?;
        let present: Present = engine.get(&path).await?;
        if present.enabled && !self.drain {
            return Err(Error::failed_precondition(format!(
                "plugin {0} must be disabled before upgrading; run \"mobula plugin disable {0}\", or \
                 pass --drain to exchange it as it runs",
                present.name
            )));
        }
        let old = Reference::parse(&present.plugin_reference)?.or_latest();
        let new = self.remote.as_deref().map(Reference::parse).transpose()?;
        let new = new.map_or_else(|| old.clone(), Reference::or_latest);
        let (from, to) = (old.familiar(), new.familiar());
        emit_line(&format!("Upgrading plugin {} from {from} to {to}", present.name))?;
        if new != old && !self.skip_remote_check {
            confirm_other(&from, &to).await?;
        }
        let remote = Remote::of(&new).await;
        let wanted = remote.privileges(engine).await?;
        let missing = added(&granted(engine, &self.plugin).await?, &wanted);
        self.consent.ask(&present.name, &missing).await?;
        let request = remote.path(&named("/plugins", &self.plugin, "/upgrade")?, None);
        let request = if self.drain { request + "&drain=1" } else { request };
        watch::watch(engine.send(remote.request(request, &wanted)?).await?).await?;
        verify(engine, &path, &new).await?;
        emit_line(&format!("Upgraded plugin {} to {to}", present.name))
    }
}

/// The stream may have been cut off in a way that nothing else shows.
async fn verify(engine: &EngineClient, path: &str, new: &Reference) -> Result<()> {
    let present: Present = engine.get(path).await?;
    if Reference::parse(&present.plugin_reference)?.or_latest() == *new {
        return Ok(());
    }
    Err(Error::unavailable(format!(
        "the engine stopped before plugin {} was upgraded; look at its log and try again",
        present.name
    )))
}

async fn confirm_other(from: &str, to: &str) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::failed_precondition(format!(
            "the plugin came from {from}, not from {to}, and nobody can be asked; pass \
             --skip-remote-check to upgrade it nevertheless"
        )));
    }
    if confirm("Plugin images do not match, are you sure?").await? {
        return Ok(());
    }
    Err(Error::aborted("plugin upgrade has been cancelled; nothing was changed"))
}

/// What was granted before; another engine than ours does not tell, so everything is asked for.
async fn granted(engine: &EngineClient, plugin: &str) -> Result<Vec<Privilege>> {
    match engine.get::<Description>(named("/mobula/plugins", plugin, "")?).await {
        Ok(description) => Ok(description.privileges),
        Err(error) if error.kind() == Kind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
