//! Attach and detach: AWS is asked, watched, and believed only when the volume is where it should be
//! and nowhere else. The device itself is verified by its serial on the machine of the mount.

use super::Ebs;
use super::lease::LEASE;
use super::names::KEPT;
use super::orphans::USED;
use super::room::full;
use super::wait::VISIBLE;
use crate::cloud::aws::{self, Attachment, BlockDevice, Instance};
use crate::driver::{Attach, Source, blocking};
use crate::name::VolumeId;
use error::{Error, Kind, Result};
use host::{Outcome, failpoint};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// An attachment that AWS has not completed by then is stuck, and is begun anew.
const STUCK: Duration = Duration::from_secs(90);
/// How often a stuck attachment is begun anew.
const RENEWED: usize = 2;
/// How many more names of devices are tried when AWS does not take one.
const NAMES: usize = 3;
/// How often a volume is found to be taken again after it was freed.
const TAKEN: usize = 3;
/// How long an instance may take to let go of a volume.
const DETACHED: Duration = Duration::from_secs(120);

impl Ebs {
    /// Makes the volume reachable from `attach.node`.
    pub(super) async fn attach_volume(
        &self,
        id: &VolumeId,
        attach: &Attach,
    ) -> Result<Outcome<Source>> {
        let node = attach.node.as_str();
        let _coming = self.leases.coming(id.as_str());
        let instance = self.ec2.find_instance(node).await?;
        let place = instance.as_ref().and_then(|instance| place_of(instance, id.as_str()));
        let attached = match place {
            // The instance says so; the volume must say the same.
            Some(place) if place.ebs.state == "attached" => {
                Some(self.get_raw(id).await?).filter(|raw| is_attached(raw, node))
            }
            _ => None,
        };
        let outcome = match attached {
            Some(raw) => Outcome::AlreadyDone(raw),
            None => Outcome::Done(Box::pin(self.attach_anew(id, node, instance)).await?),
        };
        failpoint::hit("ebs.attached");
        let raw = match &outcome {
            Outcome::Done(raw) | Outcome::AlreadyDone(raw) => raw,
        };
        // Before anybody can write to it.
        self.ensure_stays(raw).await?;
        if attach.keep {
            self.keep(id.as_str(), node).await?;
        }
        self.claim(raw, node, outcome.is_done()).await?;
        let device = at(raw, node).map(|there| there.device.clone()).unwrap_or_default();
        let source = self.source(id.as_str(), &device).await?;
        Ok(outcome.map(|_| source))
    }

    /// Where the disk may be found on the machine.
    async fn source(&self, id: &str, device: &str) -> Result<Source> {
        let serial = id.replacen('-', "", 1);
        let link = format!("nvme-Amazon_Elastic_Block_Store_{serial}");
        let mut candidates = vec![self.links().await?.join(link)];
        if device.starts_with("/dev/") {
            candidates.push(PathBuf::from(device));
            // What is asked for as sdf may be there as xvdf (Xen).
            candidates.extend(
                device.strip_prefix("/dev/sd").map(|rest| format!("/dev/xvd{rest}").into()),
            );
        }
        Ok(Source::Device { candidates, serial: Some(serial) })
    }

    /// The directory of links to disks.
    async fn links(&self) -> Result<&PathBuf> {
        let find = async || {
            let simulated = self.ec2.client().simulated_devices().await?;
            Ok(simulated.map_or_else(|| self.settings.devices.clone(), PathBuf::from))
        };
        self.links.get_or_try_init(find).await
    }

    /// Asks AWS to attach until it has done so; answers the volume as it is then.
    async fn attach_anew(
        &self,
        id: &VolumeId,
        node: &str,
        mut instance: Option<Instance>,
    ) -> Result<aws::Volume> {
        let (mut names, mut taken, mut renewed) = (0, 0, 0);
        let mut shown_late = self.waiting(VISIBLE);
        loop {
            let here = match instance.take() {
                Some(here) => here,
                None => self.get_instance(id, node).await?,
            };
            self.ensure_room(&here, id).await?;
            let (count, most, error) = match self.ask_attach(id, &here).await? {
                Asked::Accepted => {
                    failpoint::hit("ebs.attaching");
                    if let Some(attached) = self.wait_attached(id, node).await? {
                        return Ok(attached);
                    }
                    tracing::warn!(volume = %id, node, "stuck in attaching; begun anew");
                    self.undo_attach(id.as_str(), node).await?;
                    (&mut renewed, RENEWED, stuck(id, node))
                }
                Asked::NameRefused(error) => (&mut names, NAMES, error),
                Asked::Freed(error) => (&mut taken, TAKEN, error),
                Asked::ShownLate(_) if shown_late.pause().await => continue,
                Asked::ShownLate(error) => return Err(error),
            };
            *count += 1;
            if *count > most {
                return Err(error);
            }
        }
    }

    async fn get_instance(&self, id: &VolumeId, node: &str) -> Result<Instance> {
        if let Some(found) = self.ec2.find_instance(node).await? {
            return Ok(found);
        }
        // A missing volume is the better answer.
        self.get_raw(id).await?;
        Err(Error::not_found(format!("there is no instance {node} in the region")))
    }

    /// Asks AWS to attach; whoever has the volume is told in the error, or proved to be gone.
    async fn ask_attach(&self, id: &VolumeId, here: &Instance) -> Result<Asked> {
        if !id.as_str().starts_with("vol-") || self.is_gone(id.as_str()) {
            self.get_raw(id).await?;
        }
        let taken: HashSet<&str> =
            here.devices().iter().map(|device| device.name.as_str()).collect();
        let name = self.devices.choose(&taken).ok_or_else(|| {
            Error::resource_exhausted(format!(
                "instance {} has no name for another disk left; detach some of its {}, or run the \
                 container elsewhere",
                here.id,
                taken.len()
            ))
        })?;
        failpoint::hit("ebs.attach");
        let Err(error) = self.ec2.attach_volume(id.as_str(), &here.id, &name).await else {
            return Ok(Asked::Accepted);
        };
        match aws::code(&error) {
            Some("VolumeInUse" | "IncorrectState") => Box::pin(self.taken(id, here, error)).await,
            // Most often the name; whatever else it is shows when other names are refused too.
            Some("InvalidParameterValue") => {
                self.devices.refused(&name);
                Ok(Asked::NameRefused(error))
            }
            Some("InvalidVolume.ZoneMismatch") => Err(self.mismatch(id, here, error).await),
            // AWS may not know yet what it has just made.
            Some("InvalidVolume.NotFound") => match self.get_raw(id).await {
                Ok(_) => Ok(Asked::ShownLate(error)),
                Err(missing) => Err(missing),
            },
            Some("AttachmentLimitExceeded") => Err(full(here, here.devices().len())),
            _ => Err(error),
        }
    }

    async fn mismatch(&self, id: &VolumeId, here: &Instance, error: Error) -> Error {
        let zone = self.ec2.client().identity().await.ok();
        let zone = zone.filter(|identity| identity.instance == here.id).map(|known| &known.zone);
        match (self.find_raw(id.as_str()).await, zone) {
            (Ok(Some(raw)), Some(zone)) => match super::record::name(&self.settings, &raw) {
                Some(name) => super::relocate::elsewhere(&name, &raw, zone),
                None => error,
            },
            _ => error,
        }
    }

    /// The volume is not free: who has it?
    async fn taken(&self, id: &VolumeId, here: &Instance, error: Error) -> Result<Asked> {
        let raw = self.get_raw(id).await?;
        match raw.state.as_str() {
            "creating" => {
                self.wait_created(&raw).await?;
                return Ok(Asked::ShownLate(error));
            }
            "error" => {
                return Err(Error::failed_precondition(format!(
                    "EBS volume {id} has failed at AWS (state error); restore it from a snapshot"
                )));
            }
            _ => {}
        }
        let own = raw.attachments().iter().find(|there| there.instance == here.id);
        let Some(attachment) = own.or(raw.attachments().first()) else {
            if !matches!(here.state(), "running" | "pending" | "stopped") {
                return Err(Error::failed_precondition(format!(
                    "instance {} is {}, and takes no disk; start it first",
                    here.id,
                    here.state()
                )));
            }
            // AWS has let go of it meanwhile, or shows what was.
            return Ok(Asked::ShownLate(error));
        };
        if attachment.instance != here.id {
            self.take_over(&raw, attachment, &here.id).await?;
            return Ok(Asked::Freed(error));
        }
        match attachment.state.as_str() {
            // An earlier call, of which the answer was lost.
            "attaching" | "attached" => Ok(Asked::Accepted),
            _ => {
                self.wait_detached(id.as_str(), &here.id, DETACHED).await?;
                Ok(Asked::Freed(error))
            }
        }
    }

    /// Waits until the volume is attached to `node` and to nobody else; `None` when it is stuck. AWS
    /// has taken the call: whoever else is shown has it no longer, or took it by force meanwhile.
    async fn wait_attached(&self, id: &VolumeId, node: &str) -> Result<Option<aws::Volume>> {
        let mut waiting = self.waiting(STUCK);
        loop {
            let raw = self.get_raw(id).await?;
            let other = raw.attachments().iter().find(|other| other.instance != node);
            let other = other.filter(|_| !raw.multi_attach_enabled);
            if is_attached(&raw, node) && other.is_none() {
                return Ok(Some(raw));
            }
            if !waiting.pause().await {
                return match other {
                    Some(other) => Err(self.attached_to(&raw, &other.instance).await),
                    None => Ok(None),
                };
            }
        }
    }

    async fn undo_attach(&self, id: &str, node: &str) -> Result<()> {
        match self.ec2.detach_volume(id, node, true).await {
            Ok(()) => {}
            Err(error) if is_detached(&error) => {}
            Err(error) => return Err(error),
        }
        self.wait_detached(id, node, DETACHED).await
    }

    /// Detaches the volume from `node`, and waits until it is.
    pub(super) async fn detach_volume(&self, id: &str, node: &str) -> Result<Outcome> {
        if !id.starts_with("vol-") || self.is_gone(id) {
            return Ok(Outcome::AlreadyDone(()));
        }
        self.ensure_released(id, node).await?;
        failpoint::hit("ebs.detach");
        match self.ec2.detach_volume(id, node, false).await {
            Ok(()) => {}
            Err(error) if is_detached(&error) => {
                // It may be about to be: then it is not yet.
                let still = self.find_raw(id).await?;
                if still.as_ref().and_then(|raw| at(raw, node)).is_none() {
                    return Ok(Outcome::AlreadyDone(()));
                }
            }
            Err(error) => return Err(error),
        }
        failpoint::hit("ebs.detaching");
        self.wait_detached(id, node, DETACHED).await?;
        failpoint::hit("ebs.detached");
        self.leases.forget(id);
        self.note_use(id).await;
        Ok(Outcome::Done(()))
    }

    /// A device that somebody holds on this machine is not taken away.
    async fn ensure_released(&self, id: &str, node: &str) -> Result<()> {
        let is_here = self.ec2.client().identity().await.is_ok_and(|known| known.instance == node);
        if !is_here {
            return Ok(());
        }
        let Source::Device { candidates, serial } = self.source(id, "").await? else {
            return Ok(());
        };
        let host = Arc::clone(&self.host);
        let held =
            blocking(move || match host.wait_for(&candidates, serial.as_deref(), Duration::ZERO) {
                Ok(device) => host.is_held(&device),
                Err(_) => Ok(false),
            });
        if held.await? {
            return Err(Error::failed_precondition(format!(
                "EBS volume {id} is still held by a mount on this machine; unmount it first"
            )));
        }
        Ok(())
    }

    /// Waits until the volume is no longer at `node`.
    pub(super) async fn wait_detached(&self, id: &str, node: &str, within: Duration) -> Result<()> {
        let mut waiting = self.waiting(within);
        loop {
            let Some(raw) = self.find_raw(id).await? else { return Ok(()) };
            let Some(there) = at(&raw, node) else { return Ok(()) };
            if !waiting.pause().await {
                return Err(Error::deadline_exceeded(format!(
                    "EBS volume {id} is still {} at {node} after {} s: the instance does not let go of \
                     it; is the device in use there?",
                    there.state,
                    self.patience().of(within).as_secs()
                )));
            }
        }
    }

    /// Notes until when the volume was in use, which AWS does not remember, and that nobody claims it
    /// any more. Only an aid.
    async fn note_use(&self, id: &str) {
        let now = self.ec2.client().now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut tags = BTreeMap::from([(USED.to_owned(), now)]);
        if self.settings.lease.is_some() {
            tags.insert(LEASE.to_owned(), String::new());
        }
        if let Err(error) = self.ec2.create_tags(&[id], &tags).await {
            tracing::debug!(volume = id, %error, "its last use is not noted");
        }
    }

    /// Notes that the volume stays attached, also after a reboot.
    async fn keep(&self, id: &str, node: &str) -> Result<()> {
        let tags = BTreeMap::from([(KEPT.to_owned(), node.to_owned())]);
        self.ec2.create_tags(&[id], &tags).await
    }
}

/// What became of a call of AttachVolume; with AWS's refusal where it is to be made again.
enum Asked {
    /// It is on its way.
    Accepted,
    /// The name of the device, most likely.
    NameRefused(Error),
    /// Somebody had it, and has it no longer.
    Freed(Error),
    /// Nobody is seen to have it: AWS shows what was.
    ShownLate(Error),
}

fn stuck(id: &VolumeId, node: &str) -> Error {
    Error::deadline_exceeded(format!(
        "AWS does not complete the attachment of {id} to {node}; try again, and if that does not \
         help, look at the volume in AWS's console"
    ))
}

fn is_attached(raw: &aws::Volume, node: &str) -> bool {
    at(raw, node).is_some_and(|there| there.state == "attached")
}

/// The attachment to `node`, unless that is over.
fn at<'a>(raw: &'a aws::Volume, node: &str) -> Option<&'a Attachment> {
    raw.attachments().iter().find(|there| there.instance == node && there.state != "detached")
}

fn place_of<'a>(instance: &'a Instance, id: &str) -> Option<&'a BlockDevice> {
    instance.devices().iter().find(|device| device.ebs.volume == id)
}

/// Whether AWS says that there is nothing to detach.
pub(super) fn is_detached(error: &Error) -> bool {
    error.kind() == Kind::NotFound || aws::code(error) == Some("IncorrectState")
}
