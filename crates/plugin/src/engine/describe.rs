//! Plugins as front ends show them.

use super::change::describe_holder;
use super::slot::Slot;
use super::{Description, Engine, Plugin, State, blocking};
use crate::discovery::Legacy;
use crate::rpc::Client;
use crate::settings::Settings;
use error::Result;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;

/// How long a legacy plugin may take to accept before it counts as not running.
const LEGACY: Duration = Duration::from_millis(300);

/// A plugin in Docker's API.
pub(super) fn plugin(slot: &Slot) -> Plugin {
    let installed = slot.installed();
    let config = installed.config_or_empty();
    let record = installed.record;
    Plugin {
        settings: Settings::shown(&config, &record.overrides),
        config,
        enabled: record.enabled,
        id: record.id.clone(),
        name: record.name.clone(),
        reference: record.reference.clone(),
    }
}

impl Engine {
    /// Managed and legacy plugins as they really are.
    pub async fn describe_all(&self) -> Result<Vec<Description>> {
        let (slots, ledger) = (self.slots(), Arc::clone(&self.ledger));
        let ids: Vec<_> = slots.iter().map(|slot| slot.record().id.clone()).collect();
        let held =
            blocking(move || ids.iter().map(|id| ledger.holders(id)).collect::<Result<Vec<_>>>());
        let held =
            held.await?.into_iter().map(|holders| holders.iter().map(describe_holder).collect());
        let managed = slots.iter().zip(held);
        let mut all: Vec<_> =
            managed.map(|(slot, users)| self.describe_managed(slot, users)).collect();
        let found = self.legacy_plugins().await?;
        all.extend(join_all(found.iter().map(|legacy| self.describe_legacy(legacy))).await);
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    /// One plugin, managed or legacy, as it really is.
    pub async fn describe(&self, name: &str) -> Result<Description> {
        match self.slot(name) {
            Ok(slot) => {
                let users = self.users(&slot).await?;
                Ok(self.describe_managed(&slot, users.into_iter().collect()))
            }
            Err(missing) => match self.legacy_plugin(name).await? {
                Some(legacy) => Ok(self.describe_legacy(&legacy).await),
                None => Err(missing),
            },
        }
    }

    /// Who uses its volumes is `in_use`'s business: to look into every mount namespace for every
    /// plugin of a listing would take too long.
    fn describe_managed(&self, slot: &Slot, in_use: Vec<String>) -> Description {
        let (installed, status) = (slot.installed(), slot.now());
        let record = &installed.record;
        let config = installed.config_or_empty();
        let problem = installed.config().err().map(|error| error.chain()).or(status.problem);
        let published = self.published.borrow().clone();
        let socket = published.iter().find(|published| published.plugin == record.id);
        Description {
            kind: "managed".to_owned(),
            name: record.name.clone(),
            id: Some(record.id.to_string()),
            description: config.description.clone(),
            types: config.interface.types.iter().map(ToString::to_string).collect(),
            enabled: record.enabled,
            state: status.state,
            reference: record.reference.clone(),
            digest: record.manifest.as_ref().map(ToString::to_string),
            pid: status.instance.as_ref().map(|instance| instance.pid()),
            started: status.started,
            restarts: status.restarts,
            last_exit: status.last_exit,
            problem,
            socket: socket.map(|published| published.path.display().to_string()),
            in_use,
            propagated_mount: (!config.propagated_mount.is_empty()).then(|| slot.home.propagated()),
            choices: Some(record.choices.clone()),
            privileges: record.privileges.clone(),
        }
    }

    async fn describe_legacy(&self, legacy: &Legacy) -> Description {
        let client = Client { address: legacy.address.clone() };
        let accepts = tokio::time::timeout(LEGACY, client.accepts()).await.unwrap_or(false);
        let implements = self.heard.implements(legacy).unwrap_or_default();
        Description {
            kind: "legacy".to_owned(),
            name: legacy.name.clone(),
            id: None,
            description: String::new(),
            types: implements,
            enabled: true,
            state: if accepts { State::Running } else { State::Failing },
            reference: legacy.file.display().to_string(),
            digest: None,
            pid: None,
            started: None,
            restarts: 0,
            last_exit: None,
            problem: (!accepts).then(|| "it does not accept connections".to_owned()),
            socket: Some(legacy.address.to_string()),
            in_use: Vec::new(),
            propagated_mount: None,
            choices: None,
            privileges: Vec::new(),
        }
    }
}
