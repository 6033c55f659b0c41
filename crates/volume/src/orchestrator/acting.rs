//! What only some drivers do: their own actions for people, and claims on volumes that have to be
//! kept up while they are in use.

use super::Orchestrator;
use crate::driver::{Action, ActionRequest, Driver, Lost, Report, Subject, Told, blocking};
use crate::ledger::{Entry, State};
use crate::name::{SnapshotName, VolumeName};
use crate::options::normalise;
use crate::volume::Volume;
use error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Orchestrator {
    /// Does one of the driver's own actions. Nothing else happens meanwhile to the volume that it is
    /// about, but for what the driver joins with it.
    pub async fn act(
        &self,
        action: &str,
        subject: Option<&str>,
        options: &BTreeMap<String, String>,
        told: &Told,
    ) -> Result<Report> {
        let known = self.action(action)?;
        let request = requested(known, subject, options)?;
        let locked = match (known.subject, &request.subject) {
            (Subject::Volume, Some(name)) => Some(VolumeName::parse(name)?.as_str().to_owned()),
            (Subject::Snapshot, Some(name)) => {
                Some(format!("snapshot {}", SnapshotName::parse(name)?))
            }
            _ => None,
        };
        let _lock = match &locked {
            Some(name) => Some(self.driver.lock_for(name, action).await),
            None => None,
        };
        tracing::info!(service = %self.service, action, subject, "action asked for");
        self.driver.act(&request, told).await
    }

    fn action(&self, name: &str) -> Result<&'static Action> {
        let spec = self.driver.spec();
        spec.actions.iter().find(|action| action.name == name).ok_or_else(|| {
            let names: Vec<_> = spec.actions.iter().map(|action| action.name).collect();
            let known = match names.is_empty() {
                true => "it has none".to_owned(),
                false => format!("it has {}", names.join(", ")),
            };
            let driver = spec.name;
            Error::unimplemented(format!("driver {driver} has no action {name:?}; {known}"))
        })
    }

    /// Keeps up the claims on what is in use here, and stops writing to what was lost. To be called
    /// every few seconds.
    pub async fn keep_up(&self) {
        let held: Vec<Arc<Entry>> = self.ledger.list();
        let held: Vec<_> = held.iter().filter(|entry| entry.state != State::Releasing).collect();
        if held.is_empty() {
            return;
        }
        let ids: Vec<_> = held.iter().map(|entry| entry.id.clone()).collect();
        let lost = match self.driver.renew(&ids).await {
            Ok(lost) => lost,
            Err(error) => {
                tracing::warn!(service = %self.service, %error, "claims on volumes not renewed");
                return;
            }
        };
        let fence = |lost: &Lost| {
            let entries = held.iter().filter(|entry| entry.id == lost.id);
            entries.map(|entry| tokio::spawn(self.fence(entry, &lost.why))).collect::<Vec<_>>()
        };
        // All at once: a disk that hangs takes no time from the others.
        for fenced in lost.iter().flat_map(fence).collect::<Vec<_>>() {
            let _ = fenced.await;
        }
    }

    /// Makes every further write to the volume fail, for whoever has it mounted on this machine.
    fn fence(&self, entry: &Entry, why: &str) -> impl Future<Output = ()> + use<> {
        let (host, target) = (Arc::clone(&self.host), self.target(&entry.name));
        let (service, volume, why) = (self.service.clone(), entry.name.clone(), why.to_owned());
        let fenced = blocking(move || match host.at(&target)? {
            Some(_) => host.shut_down(&target),
            None => Ok(()),
        });
        async move {
            match fenced.await {
                Ok(()) => tracing::error!(
                    %service, %volume, why,
                    "writes to the volume are stopped; end its containers, unmount it and mount it \
                     again"
                ),
                Err(error) => {
                    tracing::error!(%service, %volume, why, %error, "writes could not be stopped");
                }
            }
        }
    }

    /// Detaches what the back end has attached here and nobody uses: a reboot left it.
    pub async fn detach_left_over(&self) {
        let attached = match self.driver.attached().await {
            Ok(attached) => attached,
            Err(error) => {
                tracing::warn!(service = %self.service, %error, "not known what is attached here");
                return;
            }
        };
        let used: BTreeSet<_> = self.ledger.list().iter().map(|entry| entry.name.clone()).collect();
        for volume in attached.into_iter().filter(|volume| !used.contains(&volume.name)) {
            if let Err(error) = self.detach_unused(&volume).await {
                tracing::warn!(volume = %volume.name, %error, "attached, unused, and not detached");
            }
        }
    }

    async fn detach_unused(&self, volume: &Volume) -> Result<()> {
        // Somebody who works on it now knows better.
        let Some(_lock) = self.driver.try_lock(volume.name.as_str()) else { return Ok(()) };
        if self.ledger.find(&volume.name).is_some() {
            return Ok(());
        }
        let node = self.driver.node().await?;
        self.driver.detach(&volume.id, &node).await?;
        tracing::warn!(volume = %volume.name, "detached: it was attached here, and nobody uses it");
        Ok(())
    }
}

/// The request, checked against what the action says of itself.
fn requested(
    action: &'static Action,
    subject: Option<&str>,
    options: &BTreeMap<String, String>,
) -> Result<ActionRequest> {
    let needed = match action.subject {
        Subject::Service => None,
        Subject::Volume => Some("volume"),
        Subject::Snapshot => Some("snapshot"),
    };
    match (needed, subject) {
        (Some(what), None) => {
            return Err(Error::invalid_argument(format!(
                "{} needs the name of a {what}",
                action.name
            )));
        }
        (None, Some(subject)) => {
            return Err(Error::invalid_argument(format!(
                "{} is about the whole service, not about {subject:?}; leave that out",
                action.name
            )));
        }
        _ => {}
    }
    let given = options.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let known = normalise(action.options, given)?;
    let mut options = BTreeMap::new();
    for option in action.options {
        let given = known.get(option.name).map(|(_, value)| *value).or(option.default);
        if let Some(value) = given {
            option.unit.check(option.name, value)?;
            options.insert(option.name.to_owned(), value.to_owned());
        }
    }
    let (action, subject) = (action.name.to_owned(), subject.map(str::to_owned));
    Ok(ActionRequest { action, subject, options })
}
