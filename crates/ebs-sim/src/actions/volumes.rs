//! CreateVolume, CopyVolumes, DeleteVolume, DescribeVolumes, DescribeVolumeStatus.

use super::Call;
use super::attachments;
use super::filters::{Filters, check_ids};
use super::paging::{Page, write_next};
use super::tagging;
use crate::config::zone_id;
use crate::refusal::{Answered, Refusal};
use crate::timestamp::iso;
use crate::world::kinds::Shape;
use crate::world::snapshot::SnapshotState;
use crate::world::volume::{NewVolume, Phase, Token, Volume};
use crate::xml::Xml;

/// The longest client token.
const LONGEST_TOKEN: usize = 64;

pub(super) fn create(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    let token = take_token(call, &["AvailabilityZone", "AvailabilityZoneId"])?;
    let zone = take_zone(call)?;
    let snapshot = call.params.take("SnapshotId").filter(|id| !id.is_empty());
    let size = call.params.number("Size")?;
    let kind = call.params.take("VolumeType").unwrap_or_else(|| "gp2".to_owned());
    let (iops, throughput) = (call.params.number("Iops")?, call.params.number("Throughput")?);
    let wants_encryption = call.params.boolean("Encrypted")?;
    let kms_key = call.params.take("KmsKeyId");
    let multi_attach = call.params.boolean("MultiAttachEnabled")?.unwrap_or_default();
    let outpost = call.params.take("OutpostArn");
    let rate = call.params.number::<u64>("VolumeInitializationRate")?;
    let tags = tagging::specified(&mut call.params, "volume")?;
    let (size, inherited) = of_snapshot(call, snapshot.as_deref(), size)?;
    if rate.is_some_and(|rate| snapshot.is_none() || !(100..=300).contains(&rate)) {
        return Err(Refusal::value("VolumeInitializationRate needs a snapshot, and 100 to 300"));
    }
    let encrypted = wants_encryption.unwrap_or(inherited.is_some() || kms_key.is_some());
    if kms_key.is_some() && wants_encryption != Some(true) {
        return Err(Refusal::client(
            "InvalidParameterDependency",
            "The parameter KmsKeyId requires the parameter Encrypted to be set.",
        ));
    }
    if multi_attach && !matches!(kind.as_str(), "io1" | "io2") {
        return Err(Refusal::combination(
            "The parameter MultiAttachEnabled is supported for io1 and io2 volumes only.",
        ));
    }
    let shape = Shape::check(&kind, size, iops, throughput)?;
    let new = NewVolume {
        region: call.region(),
        zone,
        shape,
        tags,
        encrypted: encrypted || inherited.is_some(),
        kms_key: kms_key.or(inherited).or_else(|| encrypted.then(|| default_key(call))),
        snapshot,
        source: None,
        outpost,
        multi_attach,
        token,
        doomed: false,
    };
    let volume = make(call, new)?;
    write(xml, &volume);
    Ok(())
}

/// The size that a volume of this snapshot has, and the snapshot's key.
fn of_snapshot(
    call: &Call<'_>,
    snapshot: Option<&str>,
    size: Option<u64>,
) -> Answered<(u64, Option<String>)> {
    let Some(id) = snapshot else {
        let missing = "The request must contain the parameter size or snapshotId";
        let size = size.ok_or_else(|| Refusal::client("MissingParameter", missing))?;
        return Ok((size, None));
    };
    let found = call.world.snapshot(id, &call.region())?;
    if found.state != SnapshotState::Completed {
        let what = format!("Snapshot is in invalid state - {}", found.state.name());
        return Err(Refusal::client("IncorrectState", what));
    }
    let size = size.unwrap_or(found.size);
    if size < found.size {
        let what =
            format!("The size {size} is smaller than the {} GiB of snapshot {id}", found.size);
        return Err(Refusal::client("InvalidParameterValue", what));
    }
    Ok((size, found.encrypted.then(|| found.kms_key.clone().unwrap_or_default())))
}

pub(super) fn copy(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    let token = take_token(call, &[])?;
    let region = call.region();
    let id = call.params.need("SourceVolumeId")?;
    let source = call.world.volume(&id, &region)?.clone();
    let size = call.params.number("Size")?.unwrap_or(source.shape.size);
    let kind = call.params.take("VolumeType").unwrap_or_else(|| "gp2".to_owned());
    let (iops, throughput) = (call.params.number("Iops")?, call.params.number("Throughput")?);
    let multi_attach = call.params.boolean("MultiAttachEnabled")?.unwrap_or_default();
    let encrypted = call.params.boolean("Encrypted")?.unwrap_or_default() || source.encrypted;
    let kms_key = call.params.take("KmsKeyId");
    let tags = tagging::specified(&mut call.params, "volume")?;
    if source.phase != Phase::Ready {
        let what = format!("Volume '{id}' is in the '{}' state.", source.state());
        return Err(Refusal::client("IncorrectState", what));
    }
    if size < source.shape.size {
        let what = format!("The size {size} is smaller than the {} GiB of {id}", source.shape.size);
        return Err(Refusal::value(what));
    }
    let new = NewVolume {
        shape: Shape::check(&kind, size, iops, throughput)?,
        zone: source.zone,
        region,
        tags,
        encrypted,
        kms_key: kms_key.or(source.kms_key).or_else(|| encrypted.then(|| default_key(call))),
        snapshot: None,
        source: Some(id),
        outpost: source.outpost,
        multi_attach,
        token,
        doomed: false,
    };
    let volume = make(call, new)?;
    xml.list("volumeSet", [volume], |xml, volume| write(xml, &volume));
    Ok(())
}

/// Makes the volume, or finds the one that was made with the same token. A volume that was deleted
/// is answered like a new one: only DescribeVolumes tells.
fn make(call: &mut Call<'_>, mut new: NewVolume) -> Answered<Volume> {
    new.doomed = call.marks.fail || (call.marks.kms_disabled && new.encrypted);
    let (world, step) = call.change()?;
    if let Some(token) = &new.token
        && let Some(found) = world.find_by_token(token, &new.region)?
    {
        let mut found = found.clone();
        if matches!(found.phase, Phase::Deleting | Phase::Deleted) {
            found.phase = Phase::Creating;
        }
        return Ok(found);
    }
    world.create_volume(new, step).cloned()
}

/// The token, with what was asked for besides (`region` and zone may differ).
fn take_token(call: &mut Call<'_>, except: &[&str]) -> Answered<Option<Token>> {
    let Some(text) = call.params.take("ClientToken").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    if text.len() > LONGEST_TOKEN || !text.is_ascii() {
        let why = format!("Expected: at most {LONGEST_TOKEN} ASCII characters");
        return Err(Refusal::parameter("clientToken", text, &why));
    }
    let mut others = call.params.clone();
    for name in except {
        others.take(name);
    }
    Ok(Some(Token { text, fingerprint: others.fingerprint() }))
}

fn take_zone(call: &mut Call<'_>) -> Answered<String> {
    let zones = call.config.zones_of(&call.region());
    if let Some(id) = call.params.take("AvailabilityZoneId") {
        if call.params.take("AvailabilityZone").is_some() {
            return Err(Refusal::combination(
                "Give either AvailabilityZone or AvailabilityZoneId, not both",
            ));
        }
        return zones.into_iter().find(|zone| zone_id(zone) == id).ok_or_else(|| {
            Refusal::client("InvalidZone.NotFound", format!("The zone '{id}' does not exist."))
        });
    }
    let zone = call.params.need("AvailabilityZone")?;
    match zones.contains(&zone) {
        true => Ok(zone),
        false => Err(Refusal::client(
            "InvalidZone.NotFound",
            format!("The zone '{zone}' does not exist."),
        )),
    }
}

fn default_key(call: &Call<'_>) -> String {
    format!("arn:aws:kms:{}:{}:alias/aws/ebs", call.region(), call.config.account)
}

pub(super) fn delete(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    let (id, region) = (call.params.need("VolumeId")?, call.region());
    call.world.volume(&id, &region)?;
    let (world, step) = call.change()?;
    world.delete_volume(&id, &region, step)?;
    xml.text("return", true);
    Ok(())
}

const FILTERS: [&str; 16] = [
    "attachment.attach-time",
    "attachment.delete-on-termination",
    "attachment.device",
    "attachment.instance-id",
    "attachment.status",
    "availability-zone",
    "availability-zone-id",
    "create-time",
    "encrypted",
    "multi-attach-enabled",
    "size",
    "snapshot-id",
    "source-volume-id",
    "status",
    "volume-id",
    "volume-type",
];

/// What a volume has for a filter.
fn values(volume: &Volume, name: &str) -> Vec<String> {
    let of_attachments = |value: fn(&crate::world::attachment::Attachment) -> String| {
        volume.attachments.iter().map(value).collect()
    };
    match name {
        "attachment.attach-time" => of_attachments(|one| iso(one.since)),
        "attachment.delete-on-termination" => {
            of_attachments(|one| one.delete_on_termination.to_string())
        }
        "attachment.device" => of_attachments(|one| one.device.clone()),
        "attachment.instance-id" => of_attachments(|one| one.instance.clone()),
        "attachment.status" => of_attachments(|one| one.state.name().to_owned()),
        "availability-zone" => vec![volume.zone.clone()],
        "availability-zone-id" => vec![zone_id(&volume.zone)],
        "create-time" => vec![iso(volume.created)],
        "encrypted" => vec![volume.encrypted.to_string()],
        "multi-attach-enabled" => vec![volume.multi_attach.to_string()],
        "size" => vec![volume.shape.size.to_string()],
        "snapshot-id" => volume.snapshot.clone().into_iter().collect(),
        "source-volume-id" => volume.source.clone().into_iter().collect(),
        "status" => vec![volume.state().to_owned()],
        "volume-id" => vec![volume.id.clone()],
        _ => vec![volume.shape.kind.clone()],
    }
}

pub(super) fn describe(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    call.params.boolean("IncludeManagedResources")?;
    let ids = call.params.list("VolumeId");
    let filters = Filters::take(&mut call.params, &FILTERS)?;
    let page = Page::take(&mut call.params, 5, !ids.is_empty())?;
    let region = call.region();
    let world = call.read()?;
    check_ids(&ids, |id| world.volume(id, &region))?;
    let wanted = world
        .volumes
        .values()
        .filter(|volume| page.is_ahead(&volume.id))
        .filter(|volume| volume.is_there(&region))
        .filter(|volume| ids.is_empty() || ids.contains(&volume.id))
        .filter(|volume| filters.pass(&volume.tags, |name| values(volume, name)));
    let (shown, next) = page.cut(wanted, |volume| volume.id.clone());
    xml.list("volumeSet", shown, write);
    write_next(xml, next);
    Ok(())
}

pub(super) fn describe_status(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    call.params.boolean("IncludeManagedResources")?;
    let ids = call.params.list("VolumeId");
    let filters = Filters::take(&mut call.params, &["availability-zone", "volume-status.status"])?;
    let page = Page::take(&mut call.params, 5, !ids.is_empty())?;
    let region = call.region();
    let world = call.read()?;
    check_ids(&ids, |id| world.volume(id, &region))?;
    let status = |volume: &Volume| match volume.phase {
        Phase::Error => "impaired",
        Phase::Creating => "insufficient-data",
        _ => "ok",
    };
    let wanted = world
        .volumes
        .values()
        .filter(|volume| volume.is_there(&region))
        .filter(|volume| ids.is_empty() || ids.contains(&volume.id))
        .filter(|volume| {
            filters.pass(&volume.tags, |name| match name {
                "availability-zone" => vec![volume.zone.clone()],
                _ => vec![status(volume).to_owned()],
            })
        });
    let (shown, next) = page.cut(wanted, |volume| volume.id.clone());
    xml.list("volumeStatusSet", shown, |xml, volume| {
        xml.text("volumeId", &volume.id);
        xml.text("availabilityZone", &volume.zone);
        xml.node("volumeStatus", |xml| xml.text("status", status(volume)));
    });
    write_next(xml, next);
    Ok(())
}

/// A volume, as all actions answer it.
fn write(xml: &mut Xml, volume: &Volume) {
    xml.text("volumeId", &volume.id);
    xml.text("size", volume.shape.size);
    xml.text("snapshotId", volume.snapshot.as_deref().unwrap_or_default());
    xml.optional("sourceVolumeId", volume.source.as_ref());
    xml.text("availabilityZone", &volume.zone);
    xml.text("availabilityZoneId", zone_id(&volume.zone));
    xml.optional("outpostArn", volume.outpost.as_ref());
    xml.text("status", volume.state());
    xml.text("createTime", iso(volume.created));
    xml.list("attachmentSet", &volume.attachments, |xml, attachment| {
        attachments::write(xml, &volume.id, attachment);
    });
    tagging::write(xml, &volume.tags);
    xml.text("volumeType", &volume.shape.kind);
    xml.optional("iops", volume.shape.iops);
    xml.optional("throughput", volume.shape.throughput);
    xml.text("encrypted", volume.encrypted);
    xml.optional("kmsKeyId", volume.kms_key.as_ref());
    xml.text("multiAttachEnabled", volume.multi_attach);
}
