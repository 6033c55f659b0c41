//! Claims on volumes in use: a tag that the holder keeps changing. Who finds it unchanged for as long
//! as it lasts has proof that the holder is gone; and a holder that cannot change it for two thirds of
//! that time stops writing, before anybody may have taken the volume.
//!
//! Times are of the clock that goes on while the machine sleeps (CLOCK_BOOTTIME); no machine's wall
//! clock matters.

use super::{Ebs, locked};
use crate::cloud::aws;
use crate::driver::Lost;
use crate::name::VolumeId;
use error::Result;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

/// The tag: `i-0a/30/17` is instance, seconds, count.
pub(super) const LEASE: &str = "mobula:lease";
/// A claim is not renewed by one call for more volumes than this: AWS takes 1,000.
const AT_ONCE: usize = 500;

/// Instances by the volume that they have.
type Holders = HashMap<String, Vec<String>>;

/// The claims of this machine, and what is known of those of others.
pub(super) struct Leases {
    lasts: Option<Duration>,
    own: Mutex<Own>,
    watched: Mutex<HashMap<String, (String, Duration)>>,
}

#[derive(Default)]
struct Own {
    count: u64,
    /// When each was renewed last.
    renewed: HashMap<String, Duration>,
    /// Those that are lost already; told once.
    told: HashSet<String>,
    /// Those that are being attached: they are not here yet, and not lost.
    coming: HashMap<String, usize>,
}

/// A volume is being attached as long as this is there.
pub(super) struct Coming<'a>(&'a Leases, String);

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        let coming = &mut locked(&self.0.own).coming;
        match coming.get_mut(&self.1) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(coming.remove(&self.1)),
        }
    }
}

/// A claim of somebody else that is being watched.
pub(super) struct Watched(Duration);

impl Watched {
    /// For how long it has not changed.
    pub(super) fn age(&self) -> Duration {
        host::process::uptime().saturating_sub(self.0)
    }
}

impl Leases {
    pub(super) fn new(lasts: Option<Duration>) -> Self {
        Self { lasts, own: Mutex::default(), watched: Mutex::default() }
    }

    /// Watches the claim `value` of somebody else; one that was seen before has been watched since.
    pub(super) fn watch(&self, id: &str, value: &str) -> Watched {
        let mut watched = locked(&self.watched);
        let now = host::process::uptime();
        let known = watched.entry(id.to_owned()).or_insert_with(|| (value.to_owned(), now));
        if known.0 != value {
            *known = (value.to_owned(), now);
        }
        Watched(known.1)
    }

    /// The volume is being attached.
    pub(super) fn coming(&self, id: &str) -> Coming<'_> {
        *locked(&self.own).coming.entry(id.to_owned()).or_default() += 1;
        Coming(self, id.to_owned())
    }

    /// These volumes are in use here. Of claims that a process before this one has put nobody knows
    /// when: they are due now, and may be kept for a third of their time without that. Answers them
    /// but for those that are not here yet.
    fn expect(&self, held: &[VolumeId], lasts: Duration) -> Vec<VolumeId> {
        let mut own = locked(&self.own);
        let before = host::process::uptime().saturating_sub(lasts / 3);
        let held = held.iter().filter(|id| !own.coming.contains_key(id.as_str()));
        let held: Vec<_> = held.cloned().collect();
        for id in &held {
            own.renewed.entry(id.to_string()).or_insert(before);
        }
        held
    }

    /// The volume is not ours any more.
    pub(super) fn forget(&self, id: &str) {
        let mut own = locked(&self.own);
        own.renewed.remove(id);
        own.told.remove(id);
        locked(&self.watched).remove(id);
    }
}

/// How long the claim `value` of `holder` lasts; `None` when it is not one of his.
pub(super) fn lasts(value: &str, holder: &str) -> Option<Duration> {
    let mut parts = value.split('/');
    let (node, seconds) = (parts.next()?, parts.next()?.parse().ok()?);
    (node == holder && seconds > 0).then(|| Duration::from_secs(seconds))
}

impl Ebs {
    /// Claims a volume that was attached, before anybody writes to it.
    pub(super) async fn claim(&self, raw: &aws::Volume, node: &str, is_new: bool) -> Result<()> {
        let Some(lasts) = self.leases.lasts else { return self.disclaim(raw).await };
        if !is_new && locked(&self.leases.own).renewed.contains_key(&raw.id) {
            return Ok(());
        }
        self.put_claim(&[&raw.id], node, lasts).await
    }

    /// Takes back a claim that nobody would renew: it would look like that of a dead machine.
    async fn disclaim(&self, raw: &aws::Volume) -> Result<()> {
        if raw.tag(LEASE).is_none_or(str::is_empty) {
            return Ok(());
        }
        let none = BTreeMap::from([(LEASE.to_owned(), String::new())]);
        self.ec2.create_tags(&[&raw.id], &none).await
    }

    async fn put_claim(&self, ids: &[&str], node: &str, lasts: Duration) -> Result<()> {
        // The time of asking counts: the answer may take long.
        let asked = host::process::uptime();
        let count = {
            let mut own = locked(&self.leases.own);
            own.count += 1;
            own.count
        };
        let value = format!("{node}/{}/{}.{count}", lasts.as_secs(), asked.as_millis());
        let tags = BTreeMap::from([(LEASE.to_owned(), value)]);
        self.ec2.create_tags(ids, &tags).await?;
        let mut own = locked(&self.leases.own);
        for id in ids {
            own.renewed.insert((*id).to_owned(), asked);
            own.told.remove(*id);
        }
        Ok(())
    }

    /// Renews the claims that are due, and tells those that are lost.
    pub(super) async fn renew_leases(&self, held: &[VolumeId]) -> Result<Vec<Lost>> {
        let Some(lasts) = self.leases.lasts else { return Ok(Vec::new()) };
        let held = self.leases.expect(held, lasts);
        let due: Vec<&str> =
            held.iter().map(VolumeId::as_str).filter(|id| self.is_due(id)).collect();
        let mut lost = Vec::new();
        if !due.is_empty() {
            // Whoever waits for AWS must notice when a claim is over.
            let left = due.iter().map(|id| self.left(id)).filter(|left| !left.is_zero()).min();
            let left = left.unwrap_or(lasts).min(lasts / 4);
            match tokio::time::timeout(left, self.renew_due(&due, lasts)).await {
                Ok(Ok(gone)) => lost.extend(gone),
                Ok(Err(error)) => tracing::warn!(%error, "claims on volumes not renewed"),
                Err(_) => tracing::warn!("claims on volumes not renewed: AWS does not answer"),
            }
        }
        lost.extend(held.iter().filter(|id| self.left(id.as_str()).is_zero()).map(|id| Lost {
            id: id.clone(),
            why: format!(
                "its lease was lost: the claim on it could not be renewed, and another machine may \
                 take it after {} s",
                lasts.as_secs()
            ),
        }));
        let mut own = locked(&self.leases.own);
        lost.retain(|lost| own.told.insert(lost.id.to_string()));
        Ok(lost)
    }

    fn is_due(&self, id: &str) -> bool {
        let Some(lasts) = self.leases.lasts else { return false };
        let now = host::process::uptime();
        let renewed = locked(&self.leases.own).renewed.get(id).copied();
        renewed.is_none_or(|renewed| now.saturating_sub(renewed) >= lasts / 3)
    }

    /// How long this machine may still write to the volume without a renewal.
    fn left(&self, id: &str) -> Duration {
        let Some(lasts) = self.leases.lasts else { return Duration::MAX };
        let now = host::process::uptime();
        let renewed = locked(&self.leases.own).renewed.get(id).copied().unwrap_or(now);
        (renewed + lasts * 2 / 3).saturating_sub(now)
    }

    /// Renews the claims on volumes that are still here; answers those that are not.
    async fn renew_due(&self, due: &[&str], lasts: Duration) -> Result<Vec<Lost>> {
        let node = self.ec2.client().identity().await?.instance.as_str();
        let is_here = |holders: &Holders, id: &str| {
            holders.get(id).is_some_and(|there| there.iter().any(|holder| holder == node))
        };
        let mut holders = self.holders_of(due).await?;
        let missing: Vec<&str> = due.iter().copied().filter(|id| !is_here(&holders, id)).collect();
        if !missing.is_empty() {
            // What one answer lacks may be a slip; what is gone does not come back.
            tokio::time::sleep(lasts / 20).await;
            holders.extend(self.holders_of(&missing).await?);
        }
        let (here, gone): (Vec<&str>, Vec<&str>) =
            due.iter().copied().partition(|id| is_here(&holders, id));
        let lost = gone.iter().map(|id| {
            let now = holders.get(*id).map(|there| there.join(", ")).filter(|now| !now.is_empty());
            let now = now.map(|now| format!("attached to {now} now, and ")).unwrap_or_default();
            let why = format!("its lease was lost: AWS has it {now}no longer at this machine");
            Lost { id: VolumeId::new(*id), why }
        });
        let lost = lost.collect();
        for ids in here.chunks(AT_ONCE) {
            self.put_claim(ids, node, lasts).await?;
        }
        Ok(lost)
    }

    /// Who AWS has these volumes attached to.
    async fn holders_of(&self, ids: &[&str]) -> Result<Holders> {
        let mut holders = Holders::new();
        for ids in ids.chunks(200) {
            let ids = ids.iter().map(|id| (*id).to_owned()).collect();
            let found = self.ec2.list_volumes(&vec![("volume-id".to_owned(), ids)]).await?;
            holders.extend(found.into_iter().map(|raw| {
                let there = raw.attachments().iter().map(|there| there.instance.clone());
                (raw.id.clone(), there.collect())
            }));
        }
        Ok(holders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_only_its_holders() {
        assert_eq!(lasts("i-1/30/5.1", "i-1"), Some(Duration::from_secs(30)));
        for value in ["i-2/30/5.1", "i-1/0/1", "i-1/x/1", "i-1", ""] {
            assert_eq!(lasts(value, "i-1"), None, "{value}");
        }
    }

    #[test]
    fn what_was_seen_before_has_been_watched_since() {
        let leases = Leases::new(None);
        let first = leases.watch("vol-1", "a");
        std::thread::sleep(Duration::from_millis(20));
        assert!(leases.watch("vol-1", "a").age() >= Duration::from_millis(20));
        assert!(leases.watch("vol-1", "b").age() < first.age());
    }
}
