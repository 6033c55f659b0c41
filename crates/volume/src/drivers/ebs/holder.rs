//! Taking a volume from another machine: only with proof that it is gone, or by order of a person.
//!
//! Proof is that AWS says so (terminated, stopped), or that the machine has not renewed its claim for
//! as long as the claim lasts, watched on this machine's own monotonic clock. A machine that lives
//! and may write is never cut off without an order; either is on record.

use super::attach::is_detached;
use super::wait::VISIBLE;
use super::{Ebs, lease};
use crate::cloud::aws::{self, Attachment};
use crate::driver::Told;
use error::{Error, Result};
use std::time::Duration;

/// How long AWS may take to free the volumes of an instance that was terminated.
const FREED: Duration = Duration::from_secs(120);

/// Why a volume may be taken.
enum Proof {
    /// AWS frees it by itself.
    Terminated,
    /// The instance does not run.
    Stopped,
    /// It has not renewed its claim.
    Expired,
}

impl Ebs {
    /// Frees the volume from `attachment` if that is proved to be a dead one's; otherwise an error
    /// names the holder.
    pub(super) async fn take_over(
        &self,
        raw: &aws::Volume,
        attachment: &Attachment,
        node: &str,
    ) -> Result<()> {
        let holder = &attachment.instance;
        // One that is on its way out is waited for; that is no taking.
        if matches!(attachment.state.as_str(), "detaching" | "detached")
            && self.wait_free(&raw.id, Duration::from_secs(20)).await.is_ok()
        {
            return Ok(());
        }
        if !self.settings.preempts {
            return Err(self.attached_to(raw, holder).await);
        }
        let Some(proof) = self.proof(raw, attachment).await? else {
            return Err(self.attached_to(raw, holder).await);
        };
        self.take_from_gone(raw, holder, &proof, node).await
    }

    /// Frees the volume from `holder`, which is proved to be gone, for `to`.
    async fn take_from_gone(
        &self,
        raw: &aws::Volume,
        holder: &str,
        proof: &Proof,
        to: &str,
    ) -> Result<()> {
        let why = match proof {
            Proof::Terminated => "it is terminated",
            Proof::Stopped => "it is stopped",
            Proof::Expired => "it has not renewed its claim",
        };
        tracing::warn!(
            target: "audit", volume = raw.id, from = holder, to, why,
            "a volume is taken from a machine that is gone"
        );
        match proof {
            Proof::Terminated if self.wait_free(&raw.id, FREED).await.is_ok() => Ok(()),
            Proof::Terminated | Proof::Expired => self.release_from(&raw.id, holder, true).await,
            Proof::Stopped => self.release_from(&raw.id, holder, false).await,
        }
    }

    async fn proof(&self, raw: &aws::Volume, attachment: &Attachment) -> Result<Option<Proof>> {
        match self.proof_of_aws(&attachment.instance).await? {
            None => Ok(self.claim_expires(raw, attachment).await?.then_some(Proof::Expired)),
            proof => Ok(proof),
        }
    }

    /// What AWS says of the instance, if that is proof.
    async fn proof_of_aws(&self, instance: &str) -> Result<Option<Proof>> {
        let holder = self.find_holder(instance).await?;
        Ok(match holder.as_ref().map(aws::Instance::state) {
            // Terminated instances are shown for an hour; one that never was holds nothing.
            None | Some("terminated") => Some(Proof::Terminated),
            Some("stopped") => Some(Proof::Stopped),
            Some(_) => None,
        })
    }

    /// The instance that has a volume. One that AWS does not show may have been launched just now, so
    /// that it is looked for again before it is taken for gone.
    async fn find_holder(&self, id: &str) -> Result<Option<aws::Instance>> {
        let mut hidden = self.waiting(VISIBLE);
        loop {
            match self.ec2.find_instance(id).await? {
                None if hidden.pause().await => {}
                found => return Ok(found),
            }
        }
    }

    /// Whether the holder does not renew its claim while it is watched for as long as that lasts.
    async fn claim_expires(&self, raw: &aws::Volume, attachment: &Attachment) -> Result<bool> {
        let claim = |raw: &aws::Volume| raw.tag(lease::LEASE).map(str::to_owned);
        let Some(first) = claim(raw) else { return Ok(false) };
        let Some(lasts) = lease::lasts(&first, &attachment.instance) else { return Ok(false) };
        // A claim of an earlier attachment says nothing of this one.
        let watched = self.leases.watch(&raw.id, &format!("{first} {}", attachment.since));
        // A little longer: its clock may go slower.
        let long_enough = lasts + lasts / 4;
        while watched.age() < long_enough {
            let left = long_enough.saturating_sub(watched.age());
            tokio::time::sleep((lasts / 8).min(left)).await;
            let Some(now) = self.find_raw(&raw.id).await? else { return Ok(false) };
            if claim(&now).as_ref() != Some(&first) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Detaches the volume from a machine that has no say any more.
    pub(super) async fn release_from(&self, id: &str, holder: &str, force: bool) -> Result<()> {
        match self.ec2.detach_volume(id, holder, force).await {
            Ok(()) => {}
            Err(error) if is_detached(&error) => {}
            Err(error) => return Err(error),
        }
        self.wait_detached(id, holder, FREED).await
    }

    /// Frees the volume from whoever has it, by order of a person; answers from whom. Without proof
    /// that they are gone it is done only when it `is_forced`, and `told` what it may cost.
    pub(super) async fn take_by_order(
        &self,
        raw: &aws::Volume,
        is_forced: bool,
        by: &str,
        told: &Told,
    ) -> Result<Vec<String>> {
        let mut holders = Vec::new();
        for attachment in raw.attachments() {
            holders.push((&attachment.instance, self.proof_of_aws(&attachment.instance).await?));
        }
        if let Some((living, _)) = holders.iter().find(|(_, proof)| proof.is_none()) {
            let cost = self.cost_of_taking(raw, living).await;
            if !is_forced {
                return Err(Error::failed_precondition(format!(
                    "{cost}. Stop them and unmount it there; or take it all the same \
                     (`mobula ebs take {} --force`)",
                    self.name_of(raw)
                )));
            }
            told(&cost);
        }
        for (holder, proof) in &holders {
            let freed = match proof {
                Some(proof) => self.take_from_gone(raw, holder, proof, by).await,
                None => {
                    tracing::warn!(
                        target: "audit", volume = raw.id, from = holder, by,
                        "a volume is taken by force"
                    );
                    self.release_from(&raw.id, holder, true).await
                }
            };
            freed.map_err(|error| {
                Error::new(error.kind(), format!("not taken from {holder}: {}", error.message()))
            })?;
        }
        Ok(holders.into_iter().map(|(holder, _)| holder.clone()).collect())
    }

    /// What it may cost to take the volume from `holder`, which nothing proves to be gone.
    async fn cost_of_taking(&self, raw: &aws::Volume, holder: &str) -> String {
        format!(
            "volume {} ({}) is attached to {} in {}, and nothing proves that it is gone: what its \
             containers have written and not synced is lost when the volume is taken, and all that \
             they write from then on fails",
            self.name_of(raw),
            raw.id,
            self.describe(holder).await,
            raw.zone
        )
    }
}
