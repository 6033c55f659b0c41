//! Waiting for AWS: until a volume or a snapshot is in the state that was asked for, never for ever.

use super::Ebs;
use crate::cloud::aws::{self, Backoff};
use error::{Error, Result};
use std::time::Duration;

/// AWS creates most volumes in 1 to 4 s (1.5 s in the median).
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);
/// How long a volume may take to be created, or to let go of an instance that is gone.
const CREATED: Duration = Duration::from_secs(120);
/// How long AWS may show no trace of a volume that it has just created.
const VISIBLE: Duration = Duration::from_secs(60);
/// How long a snapshot may take: they are copied to S3 in the background.
const SNAPSHOT: Duration = Duration::from_secs(3600);

/// What became of a volume that was created.
pub(super) enum Created {
    /// It can be used.
    Available(Box<aws::Volume>),
    /// It is gone: its token belongs to a volume that was deleted.
    Gone,
}

/// Pauses for something that takes a second or so, for at most `within`.
pub(super) fn patience(within: Duration) -> Backoff {
    Backoff::new(FIRST, LONGEST, within)
}

impl Ebs {
    /// Waits until the volume that CreateVolume answered can be used.
    pub(super) async fn wait_created(&self, new: &aws::Volume) -> Result<Created> {
        if self.is_gone(&new.id) {
            return Ok(Created::Gone);
        }
        // One that was created long ago is not just on its way into AWS's listings.
        let is_old = self.is_older(&new.created, VISIBLE);
        let mut seen = false;
        let mut waiting = patience(CREATED);
        let mut hidden = patience(if is_old { Duration::from_secs(3) } else { VISIBLE });
        loop {
            let again = match self.ec2.find_volume(&new.id).await? {
                Some(found) if !found.exists() => return Ok(Created::Gone),
                Some(found) if found.state == "error" => {
                    return Err(self.discard_failed(&found).await);
                }
                Some(found) if found.state == "creating" => {
                    seen = true;
                    waiting.pause().await
                }
                Some(found) => return Ok(Created::Available(Box::new(found))),
                None if seen => return Ok(Created::Gone),
                None if hidden.pause().await => !waiting.is_over(),
                None => return Ok(Created::Gone),
            };
            if !again {
                return Err(Error::deadline_exceeded(format!(
                    "EBS volume {} is still being created after {} s; repeat the call to go on \
                     waiting",
                    new.id,
                    CREATED.as_secs()
                )));
            }
        }
    }

    /// Whether a moment is longer ago than `age`, by AWS's clock. A moment that cannot be read is
    /// not.
    pub(super) fn is_older(&self, moment: &str, age: Duration) -> bool {
        let Ok(moment) = moment.parse::<jiff::Timestamp>() else { return false };
        let passed = self.ec2.client().now().duration_since(moment).as_secs();
        u64::try_from(passed).is_ok_and(|passed| passed > age.as_secs())
    }

    /// A volume that AWS could not create stays as one in state `error`: it is of no use to anybody.
    async fn discard_failed(&self, failed: &aws::Volume) -> Error {
        let key = failed.kms_key_id.as_deref();
        let key = key.map(|key| format!(", with key {key}: is that enabled, and may it be used?"));
        let deleted = self.ec2.delete_volume(&failed.id).await.is_ok();
        super::locked(&self.gone).insert(failed.id.clone());
        let left = if deleted { "it was deleted again" } else { "delete it in AWS's console" };
        Error::failed_precondition(format!(
            "AWS could not create EBS volume {}{}; {left}",
            failed.id,
            key.unwrap_or_default()
        ))
    }

    /// Waits until nobody has the volume any more.
    pub(super) async fn wait_free(&self, id: &str, within: Duration) -> Result<()> {
        let mut waiting = patience(within);
        loop {
            let Some(found) = self.find_raw(id).await? else { return Ok(()) };
            let Some(attachment) = found.attachments().first() else { return Ok(()) };
            if !waiting.pause().await {
                return Err(Error::deadline_exceeded(format!(
                    "EBS volume {id} is still {} at instance {} after {} s",
                    attachment.state,
                    attachment.instance,
                    within.as_secs()
                )));
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
        let mut waiting = Backoff::new(FIRST, Duration::from_secs(15), SNAPSHOT);
        let mut last = String::new();
        let mut hidden = patience(VISIBLE);
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
                    SNAPSHOT.as_secs() / 60
                )));
            }
        }
    }
}
