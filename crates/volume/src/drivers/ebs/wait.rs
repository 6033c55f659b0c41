//! Waiting for AWS: until a volume or a snapshot is in the state that was asked for, never for ever.

use super::Ebs;
use crate::cloud::aws::{self, Backoff, Patience};
use error::{Error, Result};
use std::time::Duration;

/// AWS creates most volumes in 1 to 4 s (1.5 s in the median).
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);
/// How long a volume may take to be created, or to let go of an instance that is gone.
const CREATED: Duration = Duration::from_secs(120);
/// How long AWS may show what was: no trace of what it has just made, or what is gone already.
pub(super) const VISIBLE: Duration = Duration::from_secs(20);
/// How long AWS may fail to show what is there, and was shown before.
const MISSED: Duration = Duration::from_secs(3);
/// How long a snapshot may take: they are copied to S3 in the background.
const SNAPSHOT: Duration = Duration::from_secs(3600);

/// What became of a volume that was created.
pub(super) enum Created {
    /// It can be used.
    Available(Box<aws::Volume>),
    /// It is gone: its token belongs to a volume that was deleted.
    Gone,
}

impl Ebs {
    /// How patient this service is.
    pub(super) fn patience(&self) -> Patience {
        self.settings.account.patience
    }

    /// Pauses for something that takes a second or so, and that may take `usual` at most, usually.
    pub(super) fn waiting(&self, usual: Duration) -> Backoff {
        self.pausing(self.patience().of(usual))
    }

    fn pausing(&self, within: Duration) -> Backoff {
        let patience = self.patience();
        Backoff::new(patience.at_most(FIRST), patience.at_most(LONGEST), within)
    }

    /// Waits until the volume that CreateVolume answered can be used.
    pub(super) async fn wait_created(&self, new: &aws::Volume) -> Result<Created> {
        if self.is_gone(&new.id) {
            return Ok(Created::Gone);
        }
        // The older it is, the less it is likely to be just on its way into AWS's listings.
        let age = self.age(&new.created).unwrap_or_default();
        let hidden = self.patience().of(VISIBLE).saturating_sub(age);
        let mut hidden = self.pausing(hidden.max(self.patience().of(MISSED)));
        let mut waiting = self.waiting(CREATED);
        loop {
            let again = match self.ec2.find_volume(&new.id).await? {
                Some(found) if !found.exists() => return Ok(Created::Gone),
                Some(found) if found.state == "error" => {
                    return Err(self.discard_failed(&found).await);
                }
                Some(found) if found.state == "creating" => {
                    hidden = self.waiting(MISSED);
                    waiting.pause().await
                }
                Some(found) => return Ok(Created::Available(Box::new(found))),
                None if hidden.pause().await => !waiting.is_over(),
                None => return Ok(Created::Gone),
            };
            if !again {
                return Err(Error::deadline_exceeded(format!(
                    "EBS volume {} is still being created after {} s; repeat the call to go on \
                     waiting",
                    new.id,
                    self.patience().of(CREATED).as_secs()
                )));
            }
        }
    }

    /// Whether a moment is as long ago as `age`, by AWS's clock. A moment that cannot be read is not.
    pub(super) fn is_older(&self, moment: &str, age: Duration) -> bool {
        self.age(moment).is_some_and(|passed| passed >= age)
    }

    /// How long ago a moment is, by AWS's clock; `None` for one that cannot be read, or is to come.
    fn age(&self, moment: &str) -> Option<Duration> {
        let moment = moment.parse::<jiff::Timestamp>().ok()?;
        self.ec2.client().now().duration_since(moment).try_into().ok()
    }

    /// A volume that AWS could not create stays as one in state `error`: it is of no use to anybody.
    async fn discard_failed(&self, failed: &aws::Volume) -> Error {
        let key = failed.kms_key_id.as_deref();
        let key = key.map(|key| format!(", with key {key}: is that enabled, and may it be used?"));
        let deleted = self.ec2.delete_volume(&failed.id).await.is_ok();
        let left = if deleted { "it was deleted again" } else { "delete it in AWS's console" };
        if deleted {
            self.memory.note_gone(&failed.id);
        }
        Error::failed_precondition(format!(
            "AWS could not create EBS volume {}{}; {left}",
            failed.id,
            key.unwrap_or_default()
        ))
    }

    /// Waits until nobody has the volume any more.
    pub(super) async fn wait_free(&self, id: &str, within: Duration) -> Result<()> {
        let mut waiting = self.waiting(within);
        loop {
            let Some(found) = self.find_raw(id).await? else { return Ok(()) };
            let Some(attachment) = found.attachments().first() else { return Ok(()) };
            if !waiting.pause().await {
                return Err(Error::deadline_exceeded(format!(
                    "EBS volume {id} is still {} at instance {} after {} s",
                    attachment.state,
                    attachment.instance,
                    self.patience().of(within).as_secs()
                )));
            }
        }
    }

    /// Waits until AWS no longer shows a volume that was deleted, so that whoever looks next, on
    /// whatever machine, does not find it. Only an aid: it is gone in any case.
    pub(super) async fn wait_unseen(&self, id: &str) {
        let mut waiting = self.waiting(VISIBLE);
        while let Ok(Some(found)) = self.ec2.find_volume(id).await {
            if !found.exists() || !waiting.pause().await {
                return;
            }
        }
    }

    /// Waits until a snapshot is complete; `told` hears how far it is.
    pub(super) async fn wait_snapshot(
        &self,
        ec2: &aws::Ec2,
        id: &str,
        told: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<aws::Snapshot> {
        let query = vec![("snapshot-id".to_owned(), vec![id.to_owned()])];
        let mut waiting = self.waiting(SNAPSHOT);
        let mut last = String::new();
        let mut hidden = self.waiting(VISIBLE);
        loop {
            let found = ec2.list_snapshots(&query).await?.into_iter().next();
            match found {
                Some(found) if found.state == "completed" => return Ok(found),
                Some(found) if found.state == "error" => {
                    return Err(Error::failed_precondition(format!(
                        "EBS snapshot {id} has failed ({}); take another one",
                        found.status_message.as_deref().unwrap_or("AWS does not say why")
                    )));
                }
                Some(found) if found.progress != last => {
                    last = found.progress;
                    told(&format!("snapshot {id}: {last}"));
                }
                Some(_) => {}
                None if !hidden.pause().await => {
                    return Err(Error::not_found(format!("there is no EBS snapshot {id}")));
                }
                None => {}
            }
            if !waiting.pause().await {
                return Err(Error::deadline_exceeded(format!(
                    "EBS snapshot {id} is not complete after {} min; repeat the call to go on waiting",
                    self.patience().of(SNAPSHOT).as_secs() / 60
                )));
            }
        }
    }
}
