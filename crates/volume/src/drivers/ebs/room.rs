//! Whether an instance has a place for one more disk; told before AWS is asked to attach one.

use super::{Ebs, locked};
use crate::cloud::aws::{self, BlockDevice, Instance};
use crate::name::VolumeId;
use error::{Error, Result};

/// How many volumes every instance can have: fewer are not counted.
const FEW: usize = 8;
/// How many an instance can have when AWS does not say: Nitro's shared limit, with its root.
const USUAL: usize = 27;

impl Ebs {
    /// An error when the instance has as many disks as it can have.
    pub(super) async fn ensure_room(&self, here: &Instance, id: &VolumeId) -> Result<()> {
        // Its own place may be taken already, by a call of which the answer was lost.
        let is_other = |device: &&BlockDevice| device.ebs.volume != id.as_str();
        let count = here.devices().iter().filter(is_other).count();
        if let Some(most) = self.settings.most {
            return if count + self.settings.reserved < most {
                Ok(())
            } else {
                Err(full(here, most))
            };
        }
        if count + self.settings.reserved < FEW {
            return Ok(());
        }
        let kind = self.instance_type(&here.kind).await?;
        let most = kind.as_ref().and_then(aws::InstanceType::most_volumes).unwrap_or(USUAL);
        let shares = kind.as_ref().is_some_and(aws::InstanceType::shares_with_interfaces);
        let others = if shares { here.interfaces() } else { 0 } + self.settings.reserved;
        if count + others < most { Ok(()) } else { Err(full(here, most.saturating_sub(others))) }
    }

    async fn instance_type(&self, name: &str) -> Result<Option<aws::InstanceType>> {
        if let Some(known) = locked(&self.limits).get(name) {
            return Ok(known.clone());
        }
        let found = self.ec2.find_instance_type(name).await?;
        locked(&self.limits).insert(name.to_owned(), found.clone());
        Ok(found)
    }
}

/// The error of an instance that can have `most` disks.
pub(super) fn full(here: &Instance, most: usize) -> Error {
    Error::resource_exhausted(format!(
        "instance {} ({}) can have {most} disks and has {}; detach some, run the container elsewhere, \
         or take a larger instance",
        here.id,
        here.kind,
        here.devices().len()
    ))
}
