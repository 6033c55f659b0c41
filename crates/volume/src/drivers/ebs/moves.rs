//! What volumes carry of moves between zones, in tags, and what becomes of that when somebody uses
//! them in between. How a move is made is in `relocate`.
//!
//! ```text
//! mobula:moving  us-east-1b/2   its third move, to that zone, is under way
//!                -/3            void: it was attached since, and what was copied is not what it holds
//! Name           pg (moved to vol-…)   the original of one that was moved: it is not the volume any more
//! ```

use super::Ebs;
use super::names::{KEPT, MOVED_FROM};
use crate::cloud::aws;
use crate::name::VolumeName;
use error::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::fmt;

/// The tag of a volume that is being moved.
const MOVING: &str = "mobula:moving";
/// The tag of a snapshot that is only taken for a move: which.
pub(super) const MOVE: &str = "mobula:move";
/// What follows the name of a volume that is not yet the one of that name.
pub(super) const ARRIVING: &str = " (arriving)";
/// What follows the name of an original, before the ID of what it became.
const MOVED_TO: &str = " (moved to ";

/// A move of a volume, one of several perhaps: no two are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    /// Where to; `None`: nowhere, it is void.
    zone: Option<String>,
    number: u32,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.zone.as_deref().unwrap_or("-"), self.number)
    }
}

impl Attempt {
    fn of(raw: &aws::Volume) -> Option<Self> {
        let (zone, number) = raw.tag(MOVING)?.split_once('/')?;
        let zone = (zone != "-").then(|| zone.to_owned());
        Some(Self { zone, number: number.parse().ok()? })
    }

    /// The one to make of it when the volume shall go to `zone`.
    fn to(known: Option<Self>, zone: &str) -> Self {
        let number = match known {
            None => 0,
            Some(Self { zone: Some(other), number }) if other != zone => number.saturating_add(1),
            Some(Self { number, .. }) => number,
        };
        Self { zone: Some(zone.to_owned()), number }
    }

    /// What voids it.
    fn void(&self) -> Self {
        Self { zone: None, number: self.number.saturating_add(1) }
    }
}

/// Whether a tag is about the volume itself, and not about what it holds.
pub(super) fn is_of_original(key: &str) -> bool {
    matches!(key, MOVING | KEPT | MOVED_FROM)
}

impl Ebs {
    /// Notes that the volume is being moved; answers which move that is, which may be one that was
    /// begun before.
    pub(super) async fn begin_move(&self, raw: &aws::Volume, zone: &str) -> Result<Attempt> {
        let known = Attempt::of(raw);
        let attempt = Attempt::to(known.clone(), zone);
        if known.as_ref() != Some(&attempt) {
            self.note(&raw.id, &attempt).await?;
        }
        Ok(attempt)
    }

    async fn note(&self, id: &str, attempt: &Attempt) -> Result<()> {
        let tags = BTreeMap::from([(MOVING.to_owned(), attempt.to_string())]);
        self.ec2.create_tags(&[id], &tags).await
    }

    /// This move cannot be completed; the next one shall be another. The error says so.
    pub(super) async fn begin_anew(
        &self,
        raw: &aws::Volume,
        attempt: &Attempt,
        name: &VolumeName,
    ) -> Error {
        match self.note(&raw.id, &attempt.void()).await {
            Ok(()) => Error::aborted(format!(
                "volume {name} has changed since it was begun to be moved, or another machine moves \
                 it, too; nothing was renamed; repeat the call"
            )),
            Err(error) => error,
        }
    }

    /// An error when somebody has, or had, the volume attached since the move began: what was copied
    /// may not be all that it holds.
    pub(super) async fn ensure_unused_since(
        &self,
        raw: &aws::Volume,
        attempt: &Attempt,
    ) -> Result<()> {
        let mut waiting = self.waiting(super::wait::VISIBLE);
        loop {
            let Some(now) = self.find_raw(&raw.id).await? else {
                return Err(Error::aborted(format!(
                    "EBS volume {} was deleted while it was moved; nothing was renamed",
                    raw.id
                )));
            };
            let known = Attempt::of(&now);
            if let Some(attachment) = now.attachments().first() {
                return Err(self.attached_to(&now, &attachment.instance).await);
            }
            if known.as_ref() == Some(attempt) {
                return Ok(());
            }
            let is_later = known.is_some_and(|known| known.number > attempt.number);
            if is_later || !waiting.pause().await {
                return Err(Error::aborted(format!(
                    "EBS volume {} was used, or moved elsewhere, while it was moved; nothing was \
                     renamed; repeat the call",
                    raw.id
                )));
            }
        }
    }

    /// The volume is attached, and will be written to: a move that was begun is void. An original is
    /// refused: it is not the volume any more.
    pub(super) async fn ensure_stays(&self, raw: &aws::Volume) -> Result<()> {
        let name = raw.tag("Name").unwrap_or_default();
        if let Some((name, new)) = name.rsplit_once(MOVED_TO) {
            return Err(Error::aborted(format!(
                "volume {name} was moved meanwhile: it is {} now, and {} is what was left; repeat \
                 the call",
                new.trim_end_matches(')'),
                raw.id
            )));
        }
        match Attempt::of(raw) {
            Some(attempt) if attempt.zone.is_some() => self.note(&raw.id, &attempt.void()).await,
            _ => Ok(()),
        }
    }

    /// Takes the name from the original of a volume that was moved.
    pub(super) async fn rename_original(&self, id: &str, name: &str, new: &str) -> Result<()> {
        let name = BTreeMap::from([("Name".to_owned(), format!("{name}{MOVED_TO}{new})"))]);
        self.ec2.create_tags(&[id], &name).await
    }

    /// Completes a move to this volume that was interrupted after it got its name.
    pub(super) async fn finish_move(&self, raw: &aws::Volume) -> Result<()> {
        let (Some(original), Some(name)) = (raw.tag(MOVED_FROM), raw.tag("Name")) else {
            return Ok(());
        };
        if let Some(kept) = self.find_raw(original).await?
            && kept.tag("Name") == Some(name)
        {
            self.rename_original(original, name, &raw.id).await?;
        }
        self.clean_up_after(original, &raw.id).await;
        Ok(())
    }

    /// Deletes what moves of the volume `original` to `moved` have left: snapshots, and volumes that
    /// never got the name. Only an aid.
    pub(super) async fn clean_up_after(&self, original: &str, moved: &str) {
        let left = async {
            self.delete_snapshots_of_moves(original).await?;
            self.delete_arriving(original, moved).await
        };
        if let Err(error) = left.await {
            tracing::warn!(volume = original, %error, "something of its move is left");
        }
    }

    /// What they hold is in the original, and in what was made of them.
    async fn delete_snapshots_of_moves(&self, original: &str) -> Result<()> {
        let query = vec![
            ("volume-id".to_owned(), vec![original.to_owned()]),
            ("tag-key".to_owned(), vec![MOVE.to_owned()]),
        ];
        for snapshot in self.ec2.list_snapshots(&query).await? {
            match self.ec2.delete_snapshot(&snapshot.id).await {
                Err(error) if error.kind() != Kind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Deletes volumes of moves that became void. What AWS shows may be late, and such a volume may
    /// have its name by now: only one that is still without it after a while is one.
    async fn delete_arriving(&self, original: &str, moved: &str) -> Result<()> {
        let before = self.list_arriving(original, moved).await?;
        if before.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(self.patience().of(super::wait::VISIBLE)).await;
        for id in self.list_arriving(original, moved).await? {
            if before.contains(&id) {
                self.ec2.delete_volume(&id).await?;
            }
        }
        Ok(())
    }

    async fn list_arriving(&self, original: &str, moved: &str) -> Result<Vec<String>> {
        let query = vec![(format!("tag:{MOVED_FROM}"), vec![original.to_owned()])];
        let found = self.ec2.list_volumes(&query).await?.into_iter();
        let is_left = |raw: &aws::Volume| {
            let is_nameless = raw.tag("Name").is_some_and(|name| name.ends_with(ARRIVING));
            is_nameless && raw.state == "available" && raw.id != moved
        };
        Ok(found.filter(is_left).map(|raw| raw.id).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(zone: Option<&str>, number: u32) -> Attempt {
        Attempt { zone: zone.map(str::to_owned), number }
    }

    #[test]
    fn a_move_goes_on_until_it_is_void() {
        let first = Attempt::to(None, "b");
        assert_eq!((first.clone(), first.to_string().as_str()), (attempt(Some("b"), 0), "b/0"));
        assert_eq!(Attempt::to(Some(first.clone()), "b"), first);
        assert_eq!(Attempt::to(Some(first.clone()), "c"), attempt(Some("c"), 1));
        assert_eq!(first.void().to_string(), "-/1");
        assert_eq!(Attempt::to(Some(first.void()), "b"), attempt(Some("b"), 1));
    }
}
