//! What only some drivers do: their own actions for people, and claims on volumes that have to be
//! kept up while they are in use.

use super::Orchestrator;
use crate::driver::{Action, ActionRequest, Driver, Lost, Report, Subject, Told, blocking};
use crate::ledger::{Entry, Loss, State};
use crate::name::{SnapshotName, VolumeName};
use crate::options::normalise;
use crate::volume::Volume;
use error::{Error, Kind, Result};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use tokio::task::JoinHandle;

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
        let begin = |lost: &Lost| {
            let entries = held.iter().filter(|entry| entry.id == lost.id);
            let begun = entries.map(|entry| (entry, lost.why.clone(), self.fence(entry)));
            begun.collect::<Vec<_>>()
        };
        // All at once: a disk that hangs takes no time from the others.
        for (entry, why, fencing) in lost.iter().flat_map(begin).collect::<Vec<_>>() {
            let fenced = fencing.await.unwrap_or_else(|failure| {
                Err(Error::new(Kind::Internal, format!("shutting it down failed: {failure}")))
            });
            self.note_fenced(entry, &why, fenced);
        }
    }

    /// Makes every further write to the volume fail, for whoever has it mounted on this machine;
    /// answers whether somebody had.
    fn fence(&self, entry: &Entry) -> JoinHandle<Result<bool>> {
        let (host, target) = (Arc::clone(&self.host), self.target(&entry.name));
        tokio::spawn(blocking(move || match host.at(&target)? {
            Some(_) => host.shut_down(&target).map(|()| true),
            None => Ok(false),
        }))
    }

    fn note_fenced(&self, entry: &Entry, why: &str, fenced: Result<bool>) {
        match fenced {
            Ok(is_mounted) => {
                tracing::error!(
                    service = %self.service, volume = %entry.name, why,
                    "writes to the volume are stopped; end its containers, unmount it and mount it \
                     again"
                );
                if is_mounted {
                    self.note_loss(&entry.name, format!("{why}; its writes are stopped"));
                }
            }
            Err(error) => {
                tracing::error!(
                    service = %self.service, volume = %entry.name, why, %error,
                    "writes could not be stopped"
                );
                let why = format!("{why}; its writes could not be stopped: {}", error.chain());
                self.note_loss(&entry.name, why);
            }
        }
    }

    fn note_loss(&self, name: &VolumeName, why: String) {
        let loss = Loss { since: Timestamp::now(), why };
        self.losses.write().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), loss);
        // Who works on the volume would overwrite it: then the next sweep writes it down.
        if let Some(_lock) = self.driver.try_lock(name.as_str()) {
            self.record_loss(name);
        }
    }

    /// Has the ledger know of a loss too, so that it is known after a restart. The volume must be
    /// locked.
    pub(super) fn record_loss(&self, name: &VolumeName) {
        let (Some(loss), Some(entry)) = (self.loss(name), self.ledger.find(name)) else { return };
        if entry.loss.as_ref() == Some(&loss) {
            return;
        }
        if let Err(error) = self.ledger.put(Entry { loss: Some(loss), ..Entry::clone(&entry) }) {
            tracing::warn!(volume = %name, %error, "a lost claim is not on record");
        }
    }

    /// The volume is not mounted any more: nothing stands in the way of another mount.
    pub(super) fn forget_loss(&self, name: &VolumeName) {
        self.losses.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// What is to be said of a volume that is mounted here and that this machine has lost.
    pub(super) fn lost(&self, name: &VolumeName) -> Option<String> {
        let Loss { since, why } = self.loss(name)?;
        // It may have been unmounted just when that was noted.
        self.ledger.find(name).filter(|entry| entry.state != State::Attached)?;
        Some(format!(
            "cut off from it since {}: {why}; end its containers, unmount it (`mobula volume unmount \
             --all {name}`), and mount it again",
            since.strftime("%Y-%m-%dT%H:%M:%SZ")
        ))
    }

    fn loss(&self, name: &VolumeName) -> Option<Loss> {
        self.losses.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
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
