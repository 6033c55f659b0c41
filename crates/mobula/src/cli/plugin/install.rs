//! `mobula plugin install` and `push`: plugins from and to registries.

use super::consent::Consent;
use super::{auth, change, watch};
use crate::cli::terminal::emit_line;
use crate::engine_client::{EngineClient, Request, named, query};
use clap::Args;
use error::{Error, Kind, Result};
use plugin::privileges::Privilege;
use plugin::reference::Reference;
use serde_json::Value;

/// Install a plugin from a registry and enable it.
#[derive(Debug, Args)]
pub(super) struct Install {
    /// Where from, such as vieux/sshfs or registry:5000/me/store:v2.
    #[arg(value_name = "REFERENCE")]
    remote: String,

    /// Setting, such as DEBUG=1 (repeatable).
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<String>,

    /// Name to install it under.
    #[arg(long, value_name = "NAME")]
    alias: Option<String>,

    /// Do not enable it.
    #[arg(long)]
    disable: bool,

    #[command(flatten)]
    consent: Consent,
}

/// Push a plugin to the registry that its name says.
#[derive(Debug, Args)]
pub(super) struct Push {
    /// Name, with a tag unless it is latest.
    #[arg(value_name = "PLUGIN")]
    plugin: String,
}

impl Install {
    /// Asks, pulls, sets and enables.
    pub(super) async fn run(&self, engine: &EngineClient) -> Result<()> {
        let reference = Reference::parse(&self.remote)?.or_latest();
        let alias = self.alias.as_deref().map(local_name).transpose()?;
        let remote = Remote::of(&reference).await;
        let privileges = remote.privileges(engine).await?;
        self.consent.ask(&self.remote, &privileges).await?;
        let expected = alias.clone().unwrap_or_else(|| reference.local_name());
        let path = remote.path("/plugins/pull", Some(alias.as_deref().unwrap_or_default()));
        let request = remote.request(path, &privileges)?;
        let name = pull(engine, request, &expected).await?;
        self.set_up(engine, &name).await?;
        emit_line(&format!("Installed plugin {}", self.remote))
    }

    async fn set_up(&self, engine: &EngineClient, name: &str) -> Result<()> {
        if !self.settings.is_empty() {
            let set = change::set(engine, name, &self.settings).await;
            set.map_err(|source| half_done(name, "set up", &source))?;
        }
        if self.disable {
            return Ok(());
        }
        let enabled = change::enable(engine, name, 0).await;
        enabled.map_err(|source| half_done(name, "enabled", &source))
    }
}

fn half_done(name: &str, what: &str, source: &Error) -> Error {
    Error::new(
        source.kind(),
        format!(
            "plugin {name} is installed, but could not be {what} ({}); it stays there, disabled: \
             put it right and run \"mobula plugin enable {name}\", or \"mobula plugin rm {name}\"",
            source.chain()
        ),
    )
}

/// Pulls, and looks whether the plugin is there then: the engine's word may have been cut off in a
/// way that nothing else shows.
async fn pull(engine: &EngineClient, request: Request, expected: &str) -> Result<String> {
    let answer = engine.send(request).await?;
    let name = answer.header("docker-plugin-name").unwrap_or(expected).to_owned();
    watch::watch(answer).await?;
    match engine.get::<Value>(named("/plugins", &name, "/json")?).await {
        Ok(_) => Ok(name),
        Err(error) if error.kind() == Kind::NotFound => Err(Error::unavailable(format!(
            "the engine stopped before plugin {name} was installed; look at its log and try again"
        ))),
        Err(error) => Err(error),
    }
}

/// The name that a plugin gets here; names with a digest are none.
pub(super) fn local_name(text: &str) -> Result<String> {
    let reference = Reference::parse(text)?;
    if reference.digest.is_some() {
        return Err(Error::invalid_argument(format!(
            "invalid name: {}; the name of an installed plugin has no digest",
            text.escape_debug()
        )));
    }
    Ok(reference.local_name())
}

/// A plugin in a registry, and who asks for it.
pub(super) struct Remote {
    reference: String,
    auth: String,
}

impl Remote {
    /// `reference`, with the caller's credentials.
    pub(super) async fn of(reference: &Reference) -> Self {
        Self { reference: reference.full(), auth: auth::header(reference).await }
    }

    /// What the plugin asks for.
    pub(super) async fn privileges(&self, engine: &EngineClient) -> Result<Vec<Privilege>> {
        let request = Request::get(self.path("/plugins/privileges", None));
        let answer = engine.send(request.header(auth::HEADER, &self.auth)).await?;
        Ok(answer.json::<Option<Vec<Privilege>>>().await?.unwrap_or_default())
    }

    /// `path`, about this remote.
    pub(super) fn path(&self, path: &str, name: Option<&str>) -> String {
        match name {
            Some(name) => query(path, &[("remote", &self.reference), ("name", name)]),
            None => query(path, &[("remote", &self.reference)]),
        }
    }

    /// POST of what is granted.
    pub(super) fn request(&self, path: String, granted: &[Privilege]) -> Result<Request> {
        Request::post(path).header(auth::HEADER, &self.auth).json(&granted)
    }
}

impl Push {
    /// Pushes.
    pub(super) async fn run(&self, engine: &EngineClient) -> Result<()> {
        let name = local_name(&self.plugin)?;
        let auth = auth::header(&Reference::parse(&name)?).await;
        let request = Request::post(named("/plugins", &name, "/push")?);
        let answer = engine.send(request.header(auth::HEADER, auth)).await?;
        let Some(aux) = watch::watch(answer).await? else {
            return Err(Error::unavailable(format!(
                "the engine stopped before it said what was pushed of {name}; look at its log and \
                 push again"
            )));
        };
        let word = |key: &str| aux.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let size = aux.get("Size").and_then(Value::as_u64).unwrap_or_default();
        emit_line(&format!("{}: digest: {} size: {size}", word("Tag"), word("Digest")))
    }
}
