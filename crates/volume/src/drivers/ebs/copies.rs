//! Copies of snapshots in other regions.

use super::Ebs;
use super::record::{SNAPSHOT, SNAPSHOT_OF};
use super::snapshots::SEEN;
use crate::cloud::aws::{self, Ec2, NewSnapshot, VolumeQuery};
use crate::driver::Told;
use error::{Error, Result};
use std::sync::Arc;

/// The tag of a copy: the snapshot that it is of.
const COPIED_FROM: &str = "mobula:copied-from";

impl Ebs {
    /// Copies a snapshot to another region, and waits until it is there; answers its ID there.
    pub(super) async fn copy_to_region(
        &self,
        raw: &aws::Snapshot,
        region: &str,
        key: Option<&str>,
        told: &Told,
    ) -> Result<String> {
        let from = self.ec2.client().region().await?;
        if from == region {
            return Err(Error::invalid_argument(format!(
                "snapshot {} is in {region} already; give another region",
                raw.id
            )));
        }
        let there = Ec2::new(Arc::new(self.ec2.client().in_region(region)), VolumeQuery::new());
        let id = match find_copy(&there, raw).await? {
            Some(found) => {
                told(&format!("it was copied before, as {}", found.id));
                found.id
            }
            None => self.begin_copy(&there, raw, &from, key).await?,
        };
        told(&format!("{id} is being copied to {region}"));
        Ok(self.wait_snapshot(&there, &id, told).await?.id)
    }

    async fn begin_copy(
        &self,
        there: &Ec2,
        raw: &aws::Snapshot,
        from: &str,
        key: Option<&str>,
    ) -> Result<String> {
        let name = raw.tag(SNAPSHOT).unwrap_or(&raw.id).to_owned();
        let mut tags = raw.tags();
        tags.retain(|key, _| !key.starts_with("aws:"));
        tags.insert(COPIED_FROM.to_owned(), raw.id.clone());
        let of = raw.tag(SNAPSHOT_OF).unwrap_or(&raw.volume_id);
        let description = format!("volume {of} ({name}), copied from {from}");
        let new = NewSnapshot { volume: String::new(), description, tags };
        match there.copy_snapshot(from, &raw.id, &new, key).await {
            Err(error) if aws::is_doubtful(&error) => {
                // There is no token for it: made again it would be a second one.
                let mut waiting = self.waiting(SEEN);
                loop {
                    if let Some(found) = find_copy(there, raw).await? {
                        return Ok(found.id);
                    }
                    if !waiting.pause().await {
                        return Err(error);
                    }
                }
            }
            copied => copied,
        }
    }
}

/// The copy that there is of a snapshot; one that has failed is none.
async fn find_copy(there: &Ec2, raw: &aws::Snapshot) -> Result<Option<aws::Snapshot>> {
    let query = vec![(format!("tag:{COPIED_FROM}"), vec![raw.id.clone()])];
    let found = there.list_snapshots(&query).await?;
    Ok(found.into_iter().find(|copy| copy.state != "error"))
}
