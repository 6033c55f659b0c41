//! Creation: one call with all tags and a token made of the name, so that a crash leaves no volume
//! without a name, and a repeat makes no second one.

use super::record;
use super::wait::Created;
use super::{Ebs, GIB, parameters};
use crate::cloud::aws::{self, NewVolume};
use crate::driver::blocking;
use crate::name::VolumeName;
use crate::size::Size;
use crate::volume::{Create, Filesystem, Origin, Parameters, Volume};
use error::{Error, Kind, Result};
use host::{Format, Fstype, Outcome, failpoint};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How often volumes of a name may have been created and deleted while AWS remembers their tokens.
const GENERATIONS: u32 = 100;

/// How long a volume that somebody else creates just now may take to be seen. Shorter than for one
/// of which AWS answers the ID: most often there is none any more.
const SEEN: Duration = Duration::from_secs(6);

/// What a new volume is made of.
pub(super) struct Blueprint {
    /// The call, without its tags and its token.
    pub call: NewVolume,
    /// What the volume is recorded with.
    pub parameters: Parameters,
    /// The file system that it will have; its UUID, nil here, follows from the volume's ID.
    pub filesystem: Option<Filesystem>,
}

impl Ebs {
    /// Creates a volume, or finds the one that answers the request.
    pub(super) async fn create_volume(&self, request: &Create) -> Result<Outcome<Volume>> {
        self.check(request)?;
        if let Some(found) = self.existing(request).await? {
            return Ok(Outcome::AlreadyDone(found));
        }
        self.rehearse(request).await?;
        let blueprint = self.blueprint(request).await?;
        let name = self.tag_of(&request.name);
        let first = self.memory.generation(&name);
        for generation in first..first + GENERATIONS {
            let created = match self.try_create(request, &blueprint, generation).await {
                // Somebody has made, or had made, one of this name with other options.
                Err(error) if aws::code(&error) == Some("IdempotentParameterMismatch") => {
                    if let Some(found) = self.appears(request).await? {
                        return Ok(Outcome::AlreadyDone(found));
                    }
                    Created::Gone
                }
                other => other?,
            };
            let Some(raw) = still_named(created, &name) else {
                self.memory.note_generation(&name, generation + 1);
                continue;
            };
            failpoint::hit("ebs.created");
            let raw = match generation {
                0 => raw,
                _ => self.without_twin(&request.name, raw).await?,
            };
            if raw.zone != blueprint.call.zone {
                // Somebody of another zone was quicker: this is his.
                self.ensure_reachable(&raw, request).await?;
                return self.volume(&raw).map(Outcome::AlreadyDone);
            }
            return self.volume(&raw).map(Outcome::Done);
        }
        Err(Error::resource_exhausted(format!(
            "volume {} was created and deleted {GENERATIONS} times lately, and AWS remembers each; \
             use another name, or wait for a day",
            request.name
        )))
    }

    /// What is wrong with the request itself is told before AWS is asked for anything.
    fn check(&self, request: &Create) -> Result<()> {
        let parameters = match &request.origin {
            None => fresh(request)?.parameters,
            Some(_) => {
                parameters::check_copy(&request.asked)?;
                request.asked.clone()
            }
        };
        record::tags(&self.settings, request, &parameters, None).map(drop)
    }

    /// Options that mkfs would refuse are told now, not by the first mount, when the volume is paid
    /// for.
    async fn rehearse(&self, request: &Create) -> Result<()> {
        let options = request.parameters.mkfs_options.clone().unwrap_or_default();
        if options.is_empty() || request.origin.is_some() {
            return Ok(());
        }
        let blueprint = fresh(request)?;
        let (Some(filesystem), Some(gib)) = (blueprint.filesystem, blueprint.call.size) else {
            return Ok(());
        };
        let host = Arc::clone(&self.host);
        let format = Format { fstype: filesystem.fstype, uuid: Uuid::new_v4(), options };
        blocking(move || host.rehearse(&format, gib * GIB)).await
    }

    /// The volume of this name, if it answers the request.
    async fn existing(&self, request: &Create) -> Result<Option<Volume>> {
        let Some(raw) = self.find_by_name(&request.name).await? else { return Ok(None) };
        let found = self.volume(&raw).map_err(|error| {
            let message = format!("volume {} is there: {}", request.name, error.message());
            Error::new(error.kind(), message)
        })?;
        if raw.tag(record::RECORD).is_some() {
            found.ensure_answers(request)?;
        } else if request.asked.size.is_some_and(|asked| asked.0.div_ceil(GIB) != raw.size) {
            // Of one that another program made only the size is known.
            found.ensure_answers(request)?;
        }
        if raw.state == "error" {
            return Err(Error::failed_precondition(format!(
                "volume {0} ({1}) has failed at AWS (state error); remove it (`mobula volume rm {0}`) \
                 and create it again",
                request.name, raw.id
            )));
        }
        self.ensure_reachable(&raw, request).await?;
        // One that is still on its way is waited for, whoever asked for it.
        if raw.state != "creating" {
            return Ok(Some(found));
        }
        match self.wait_created(&raw).await? {
            Created::Available(raw) => self.volume(&raw).map(Some),
            Created::Gone => Ok(None),
        }
    }

    /// A volume in a zone from where it cannot come here is an error, before somebody counts on it.
    async fn ensure_reachable(&self, raw: &aws::Volume, request: &Create) -> Result<()> {
        let wanted = request.asked.driver.contains_key("availabilityZone");
        let here = &self.ec2.client().identity().await?.zone;
        if wanted || raw.zone == *here || raw.zone.is_empty() || self.moves(raw)? {
            return Ok(());
        }
        Err(super::relocate::elsewhere(&request.name, raw, here))
    }

    /// Waits a moment for a volume of this name, which somebody else creates just now.
    async fn appears(&self, request: &Create) -> Result<Option<Volume>> {
        let mut waiting = self.waiting(SEEN);
        loop {
            if let Some(found) = self.existing(request).await? {
                return Ok(Some(found));
            }
            if !waiting.pause().await {
                return Ok(None);
            }
        }
    }

    async fn try_create(
        &self,
        request: &Create,
        blueprint: &Blueprint,
        generation: u32,
    ) -> Result<Created> {
        let token = self.token(&request.name, generation);
        let filesystem = blueprint.filesystem.as_ref();
        let filesystem = filesystem.filter(|filesystem| !filesystem.unrecorded);
        let mut call = NewVolume { token, ..blueprint.call.clone() };
        call.tags.extend(record::tags(&self.settings, request, &blueprint.parameters, filesystem)?);
        failpoint::hit("ebs.creating");
        let new = self.ec2.create_volume(&call).await?;
        failpoint::hit("ebs.asked");
        self.wait_created(&new).await
    }

    /// The same for the same name on every machine, whatever its zone: AWS makes one volume of it.
    fn token(&self, name: &VolumeName, generation: u32) -> String {
        let cluster = self.settings.cluster.as_deref().unwrap_or_default();
        let words = format!("mobula\n{cluster}\n{}\n{generation}", self.tag_of(name));
        let digest = Sha256::digest(words);
        digest.iter().take(31).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Where an earlier token was skipped, another machine may not have: the older volume stays.
    async fn without_twin(&self, name: &VolumeName, ours: aws::Volume) -> Result<aws::Volume> {
        let mut named = self.ec2.find_named(&self.tag_of(name)).await?;
        named.retain(|raw| raw.exists() && !self.is_gone(&raw.id));
        named.sort_by(|one, other| (&one.created, &one.id).cmp(&(&other.created, &other.id)));
        match named.first() {
            Some(first) if first.id != ours.id && named.iter().any(|raw| raw.id == ours.id) => {
                self.ec2.delete_volume(&ours.id).await?;
                self.memory.note_gone(&ours.id);
                Err(Error::aborted(format!(
                    "another machine has created volume {name} at the same time; repeat the call"
                )))
            }
            _ => Ok(ours),
        }
    }

    async fn blueprint(&self, request: &Create) -> Result<Blueprint> {
        let zone = self.zone_for(request).await?;
        let blueprint = match &request.origin {
            None => fresh(request)?,
            Some(Origin::Snapshot(name)) => self.restored(request, name).await?,
            Some(Origin::Volume(name)) => self.cloned(request, name, &zone).await?,
        };
        let outpost = self.ec2.client().identity().await?.outpost.clone();
        let call = NewVolume {
            zone,
            outpost: blueprint.call.outpost.clone().or(outpost),
            ..blueprint.call
        };
        Ok(Blueprint { call, ..blueprint })
    }

    async fn zone_for(&self, request: &Create) -> Result<String> {
        match request.parameters.driver.get("availabilityZone") {
            Some(zone) => Ok(zone.clone()),
            None => Ok(self.ec2.client().identity().await?.zone.clone()),
        }
    }

    async fn restored(
        &self,
        request: &Create,
        name: &crate::name::SnapshotName,
    ) -> Result<Blueprint> {
        let raw = self.get_snapshot(name).await?;
        let snapshot = record::snapshot(&raw)?;
        let source = snapshot.as_ref().map(|snapshot| snapshot.parameters.clone());
        let filesystem = snapshot.and_then(|snapshot| snapshot.filesystem);
        let copy = copied(request, raw.volume_size, source.unwrap_or_default(), filesystem)?;
        let raw = self.wait_snapshot(&self.ec2, &raw.id, &|_| {}).await?;
        Ok(Blueprint { call: NewVolume { snapshot: Some(raw.id), ..copy.call }, ..copy })
    }

    async fn cloned(&self, request: &Create, name: &VolumeName, zone: &str) -> Result<Blueprint> {
        let raw = self
            .find_by_name(name)
            .await?
            .ok_or_else(|| Error::not_found(format!("there is no volume {name} to be copied")))?;
        if raw.zone != zone {
            return Err(Error::failed_precondition(format!(
                "volume {name} is in {}, and AWS copies volumes only within a zone, not to {zone}; \
                 take a snapshot of it, and create the volume from that",
                raw.zone
            )));
        }
        let source = self.volume(&raw)?;
        let copy = copied(request, raw.size, source.parameters, source.filesystem)?;
        Ok(Blueprint { call: NewVolume { source: Some(raw.id), ..copy.call }, ..copy })
    }
}

/// The volume that a token stands for, unless it is gone or has another name by now: one that was
/// moved, or renamed by hand.
fn still_named(created: Created, name: &str) -> Option<aws::Volume> {
    match created {
        Created::Available(raw) if raw.tag("Name").is_none_or(|tag| tag == name) => Some(*raw),
        Created::Available(_) | Created::Gone => None,
    }
}

fn fresh(request: &Create) -> Result<Blueprint> {
    let asked = request.parameters.size.unwrap_or(Size::gib(16));
    let call = parameters::new_volume(&request.parameters, Some(parameters::gib(asked)))?;
    let fstype = request.parameters.fs_type.unwrap_or(Fstype::Ext4);
    let mut parameters = request.parameters.clone();
    parameters.size = Some(asked);
    parameters.fs_type = Some(fstype);
    let filesystem = (!call.multi_attach).then_some(Filesystem {
        fstype,
        uuid: Uuid::nil(),
        inherited: None,
        fresh: fstype == Fstype::Ext4,
        covers: None,
        unrecorded: false,
    });
    Ok(Blueprint { call, parameters, filesystem })
}

/// A copy of something with `have` GiB, these parameters and this file system.
fn copied(
    request: &Create,
    have: u64,
    source: Parameters,
    filesystem: Option<Filesystem>,
) -> Result<Blueprint> {
    let have_size = parameters::bytes(have);
    let size = request.asked.size.unwrap_or(have_size);
    if size < have_size {
        return Err(Error::out_of_range(format!(
            "{size} is smaller than the {have_size} of what is copied; give size={have_size} or more"
        )));
    }
    if let (Some(filesystem), true) = (&filesystem, size > have_size) {
        filesystem.ensure_grows_to(size)?;
    }
    let held = filesystem.as_ref().map(|filesystem| filesystem.fstype);
    if let (Some(asked), Some(held)) = (request.asked.fs_type, held)
        && asked != held
    {
        return Err(Error::new(
            Kind::InvalidArgument,
            format!("what is copied holds {held}, so the copy cannot be {asked}; leave fsType out"),
        ));
    }
    // Where the source is must not say where the copy is, nor whether it moves by itself.
    let mut inherited = source;
    inherited.driver.remove("availabilityZone");
    let mut parameters = request.asked.or(&inherited);
    let call = parameters::new_volume(&parameters, Some(parameters::gib(size)))?;
    parameters.size = Some(size);
    parameters.fs_type = held.or(parameters.fs_type);
    // Its UUID is replaced before the first mount; what is not on record is found out then.
    let filesystem = filesystem.map(|source| Filesystem {
        uuid: Uuid::nil(),
        inherited: Some(source.uuid),
        fresh: false,
        ..source
    });
    let filesystem = filesystem.filter(|_| !call.multi_attach);
    Ok(Blueprint { call, parameters, filesystem })
}
