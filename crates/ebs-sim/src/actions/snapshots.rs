//! CreateSnapshot, CopySnapshot, DeleteSnapshot, DescribeSnapshots.

use super::Call;
use super::filters::{Filters, check_ids};
use super::paging::{Page, write_next};
use super::tagging;
use crate::refusal::{Answered, Refusal};
use crate::timestamp::iso;
use crate::world::World;
use crate::world::snapshot::{NewSnapshot, Snapshot, SnapshotState};
use crate::world::volume::Phase;
use crate::xml::Xml;

/// The longest description.
const LONGEST: usize = 255;
/// What a copy says it is of.
const NO_VOLUME: &str = "vol-ffffffff";

pub(super) fn create(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    let (id, region) = (call.params.need("VolumeId")?, call.region());
    let volume = call.world.volume(&id, &region)?.clone();
    let description = take_description(call)?;
    let tags = tagging::specified(&mut call.params, "snapshot")?;
    call.params
        .take("Location")
        .filter(|place| place != "regional")
        .map_or(Ok(()), |place| Err(Refusal::parameter("location", place, "Expected: regional")))?;
    if volume.phase != Phase::Ready {
        let what = format!("Volume '{id}' is in the '{}' state.", volume.state());
        return Err(Refusal::client("IncorrectState", what));
    }
    check_pending(call, &id)?;
    let doomed = why_doomed(call, volume.encrypted);
    let new = NewSnapshot {
        region,
        volume: id.clone(),
        from: id,
        size: volume.shape.size,
        description,
        tags,
        encrypted: volume.encrypted,
        kms_key: volume.kms_key,
        doomed,
        stuck: call.marks.stick,
    };
    let account = call.config.account.clone();
    let (world, step) = call.change()?;
    let now = step.now;
    write(xml, world.create_snapshot(new, step)?, &account, now);
    Ok(())
}

/// The region that is called gets the copy.
pub(super) fn copy(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    let from = call.params.need("SourceRegion")?;
    let id = call.params.need("SourceSnapshotId")?;
    let description = take_description(call)?;
    let wants_encryption = call.params.boolean("Encrypted")?.unwrap_or_default();
    let kms_key = call.params.take("KmsKeyId");
    for known in ["DestinationRegion", "PresignedUrl", "CompletionDurationMinutes"] {
        call.params.take(known);
    }
    let tags = tagging::specified(&mut call.params, "snapshot")?;
    let source = call.world.snapshot(&id, &from)?.clone();
    if source.state != SnapshotState::Completed {
        let what = format!("Snapshot {id} is in state '{}'", source.state.name());
        return Err(Refusal::client("IncorrectState", what));
    }
    let encrypted = wants_encryption || source.encrypted;
    let new = NewSnapshot {
        region: call.region(),
        volume: NO_VOLUME.to_owned(),
        from: id,
        size: source.size,
        description,
        tags,
        encrypted,
        kms_key: kms_key.or(source.kms_key),
        doomed: why_doomed(call, encrypted),
        stuck: call.marks.stick,
    };
    let (world, step) = call.change()?;
    let snapshot = world.create_snapshot(new, step)?;
    xml.text("snapshotId", &snapshot.id);
    tagging::write(xml, &snapshot.tags);
    Ok(())
}

fn take_description(call: &mut Call<'_>) -> Answered<String> {
    let description = call.params.take("Description").unwrap_or_default();
    match description.chars().count() <= LONGEST {
        true => Ok(description),
        false => Err(Refusal::value(format!(
            "The description must not be longer than {LONGEST} characters"
        ))),
    }
}

fn why_doomed(call: &Call<'_>, encrypted: bool) -> Option<String> {
    if call.marks.kms_disabled && encrypted {
        return Some("Client.InvalidKMSKey.InvalidState: The KMS key is disabled".to_owned());
    }
    call.marks.fail.then(|| "Server.InternalError: The snapshot failed".to_owned())
}

fn check_pending(call: &Call<'_>, volume: &str) -> Answered<()> {
    let Some(most) = call.config.limits.pending_snapshots else { return Ok(()) };
    let is_pending = |one: &&Snapshot| one.volume == volume && one.state == SnapshotState::Pending;
    match call.world.snapshots.values().filter(is_pending).count() < most {
        true => Ok(()),
        false => Err(Refusal::client(
            "ConcurrentSnapshotLimitExceeded",
            format!("Maximum allowed in-progress snapshots for volume {volume} exceeded."),
        )),
    }
}

pub(super) fn delete(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    let (id, region) = (call.params.need("SnapshotId")?, call.region());
    call.world.snapshot(&id, &region)?;
    let (world, step) = call.change()?;
    world.delete_snapshot(&id, &region, step)?;
    xml.text("return", true);
    Ok(())
}

const FILTERS: [&str; 10] = [
    "description",
    "encrypted",
    "owner-id",
    "progress",
    "snapshot-id",
    "start-time",
    "status",
    "storage-tier",
    "volume-id",
    "volume-size",
];

pub(super) fn describe(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    let ids = call.params.list("SnapshotId");
    let owners = call.params.list("Owner");
    let restorers = call.params.list("RestorableBy");
    let filters = Filters::take(&mut call.params, &FILTERS)?;
    let page = Page::take(&mut call.params, 5, !ids.is_empty())?;
    let (region, now, account) = (call.region(), call.step.now, call.config.account.clone());
    let world = call.read()?;
    check_ids(&ids, |id| world.snapshot(id, &region))?;
    let is_own = |names: &[String]| {
        names.is_empty() || names.iter().any(|name| name == "self" || *name == account)
    };
    let of_us = is_own(&owners) && is_own(&restorers);
    let wanted = in_region(world, &region)
        .filter(|_| of_us)
        .filter(|snapshot| ids.is_empty() || ids.contains(&snapshot.id))
        .filter(|snapshot| {
            filters.pass(&snapshot.tags, |name| vec![value(snapshot, name, &account, now)])
        });
    let (shown, next) = page.cut(wanted, |snapshot| snapshot.id.clone());
    xml.list("snapshotSet", shown, |xml, snapshot| write(xml, snapshot, &account, now));
    write_next(xml, next);
    Ok(())
}

fn in_region<'a>(world: &'a World, region: &'a str) -> impl Iterator<Item = &'a Snapshot> {
    world.snapshots.values().filter(move |snapshot| snapshot.region == region)
}

fn value(snapshot: &Snapshot, name: &str, account: &str, now: u64) -> String {
    match name {
        "description" => snapshot.description.clone(),
        "encrypted" => snapshot.encrypted.to_string(),
        "owner-id" => account.to_owned(),
        "progress" => format!("{}%", snapshot.progress(now)),
        "snapshot-id" => snapshot.id.clone(),
        "start-time" => iso(snapshot.began),
        "status" => snapshot.state.name().to_owned(),
        "storage-tier" => "standard".to_owned(),
        "volume-id" => snapshot.volume.clone(),
        _ => snapshot.size.to_string(),
    }
}

fn write(xml: &mut Xml, snapshot: &Snapshot, account: &str, now: u64) {
    xml.text("snapshotId", &snapshot.id);
    xml.text("volumeId", &snapshot.volume);
    xml.text("status", snapshot.state.name());
    xml.optional("statusMessage", snapshot.message.as_ref());
    xml.text("startTime", iso(snapshot.began));
    xml.text("progress", format!("{}%", snapshot.progress(now)));
    xml.text("ownerId", account);
    xml.text("volumeSize", snapshot.size);
    xml.text("description", &snapshot.description);
    xml.text("encrypted", snapshot.encrypted);
    xml.optional("kmsKeyId", snapshot.kms_key.as_ref());
    xml.text("storageTier", "standard");
    tagging::write(xml, &snapshot.tags);
}
