//! The Docker plugin sockets of an agent, and the files by which dockerd finds those that are
//! reached over TCP (<https://docs.docker.com/engine/extend/plugin_api/>).

use crate::app::App;
use crate::config::{Config, Module, Tls};
use crate::docker;
use crate::listen::{Bound, Inherited, Listen};
use error::{Error, Result};
use host::file::{self, Durability};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use volume::ServiceName;

/// How long the answers under way on a socket that is closed are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The plugin sockets that are open.
pub(super) struct Modules {
    app: Arc<App>,
    open: BTreeMap<ServiceName, Open>,
}

struct Open {
    config: Module,
    stop: watch::Sender<bool>,
    stage: Stage,
    /// The file that tells dockerd the address.
    told: Option<PathBuf>,
}

enum Stage {
    Bound(Bound),
    Serving(JoinHandle<()>),
}

impl Modules {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self { app, open: BTreeMap::new() }
    }

    /// Binds what `config` wants and is not bound, and stops what it no longer wants.
    pub(super) async fn bind(&mut self, config: &Config, inherited: &mut Inherited) -> Result<()> {
        let unwanted = |(name, open): (&ServiceName, &Open)| {
            (config.docker.get(name) != Some(&open.config)).then(|| name.clone())
        };
        let unwanted: Vec<_> = self.open.iter().filter_map(unwanted).collect();
        for name in unwanted {
            if let Some(open) = self.open.remove(&name) {
                open.stop().await;
            }
        }
        let mut failed = None;
        for (name, module) in &config.docker {
            if self.open.contains_key(name) {
                continue;
            }
            match self.open_one(name, module, inherited).await {
                Ok(open) => drop(self.open.insert(name.clone(), open)),
                Err(error) => {
                    tracing::error!(module = %name, %error, "Docker plugin does not listen");
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn open_one(
        &self,
        name: &ServiceName,
        module: &Module,
        inherited: &mut Inherited,
    ) -> Result<Open> {
        let paths = &self.app.around().paths;
        let at = match &module.listen {
            Some(listen) => Listen::parse(listen)?,
            None => Listen::Unix(paths.docker_sockets().join(format!("{name}.sock"))),
        };
        let bound = Bound::bind(&at, module.tls.as_ref(), inherited).await?;
        let told = match &bound.at {
            Listen::Unix(_) => None,
            Listen::Tcp(address) => {
                let (suffix, text) = told(&address.to_string(), name, module.tls.as_ref())?;
                let path = paths.docker_specs().join(format!("{name}.{suffix}"));
                file::make_dir(&paths.docker_specs(), 0o755)?;
                file::write_atomic(&path, text.as_bytes(), Durability::Volatile)?;
                Some(path)
            }
        };
        tracing::info!(module = %name, at = %bound.at, "Docker plugin listens");
        let (stop, _) = watch::channel(false);
        Ok(Open { config: module.clone(), stop, stage: Stage::Bound(bound), told })
    }

    /// Serves whatever is bound and not yet served.
    pub(super) fn serve(&mut self) {
        for (name, open) in std::mem::take(&mut self.open) {
            let stage = match open.stage {
                Stage::Bound(bound) => {
                    let service = open.config.service.clone().unwrap_or_else(|| name.clone());
                    let router = docker::router(Arc::clone(&self.app), service);
                    let stopped = open.stop.subscribe();
                    Stage::Serving(tokio::spawn(bound.serve(router, stopped)))
                }
                serving @ Stage::Serving(_) => serving,
            };
            self.open.insert(name, Open { stage, ..open });
        }
    }

    /// Stops them all and waits for the answers under way.
    pub(super) async fn stop(self) {
        for open in self.open.into_values() {
            open.stop().await;
        }
    }
}

impl Open {
    async fn stop(self) {
        let _ = self.stop.send(true);
        if let Some(told) = self.told {
            let _ = std::fs::remove_file(told);
        }
        if let Stage::Serving(task) = self.stage {
            // A client that never finishes its request is not waited for.
            let _ = tokio::time::timeout(PATIENCE, task).await;
        }
    }
}

/// What dockerd reads to find a plugin at a TCP address: suffix and text of the file.
fn told(address: &str, name: &ServiceName, tls: Option<&Tls>) -> Result<(&'static str, String)> {
    let Some(tls) = tls else { return Ok(("spec", format!("tcp://{address}"))) };
    let file = |path: &Option<PathBuf>| path.clone().unwrap_or_default();
    // Without a CA dockerd would turn verification off whatever is said here.
    let text = serde_json::to_string_pretty(&json!({
        "Name": name,
        "Addr": format!("https://{address}"),
        "TLSConfig": {
            "InsecureSkipVerify": tls.ca.is_none(),
            "CAFile": file(&tls.ca),
            "CertFile": file(&tls.client_cert),
            "KeyFile": file(&tls.client_key),
        },
    }));
    let text = text.map_err(|source| Error::internal("encode the address").because(source))?;
    Ok(("json", text))
}
