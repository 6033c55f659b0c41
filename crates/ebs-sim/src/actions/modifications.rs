//! ModifyVolume, DescribeVolumesModifications.

use super::Call;
use super::filters::{Filters, check_ids};
use super::paging::{Page, write_next};
use crate::refusal::{Answered, Refusal};
use crate::timestamp::iso;
use crate::world::kinds::Shape;
use crate::world::modification::{Modification, ModificationState};
use crate::xml::Xml;

/// IOPS of a volume that becomes one of a type with such a setting.
const DEFAULT_IOPS: u64 = 3000;

pub(super) fn modify(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    let (id, region) = (call.params.need("VolumeId")?, call.region());
    let volume = call.world.volume(&id, &region)?.clone();
    let size = call.params.number("Size")?;
    let kind = call.params.take("VolumeType");
    let (iops, throughput) = (call.params.number("Iops")?, call.params.number("Throughput")?);
    let multi_attach = call.params.boolean("MultiAttachEnabled")?;
    if multi_attach.is_some_and(|wanted| wanted != volume.multi_attach) {
        return Err(Refusal::client(
            "UnsupportedOperation",
            "The simulator does not change MultiAttachEnabled of a volume that is there",
        ));
    }
    if size.is_none() && kind.is_none() && iops.is_none() && throughput.is_none() {
        return Err(Refusal::client(
            "InvalidParameterCombination",
            "At least one of size, volumeType, iops and throughput must be given",
        ));
    }
    let current = &volume.shape;
    let same_kind = kind.as_ref().is_none_or(|kind| *kind == current.kind);
    // What isn't given stays, as long as the type does.
    let kept = match kind.as_deref().unwrap_or(&current.kind) {
        "gp3" | "io1" | "io2" if same_kind => current.iops,
        "gp3" | "io1" | "io2" => Some(DEFAULT_IOPS),
        _ => None,
    };
    let target = Shape::check(
        kind.as_ref().unwrap_or(&current.kind),
        size.unwrap_or(current.size),
        iops.or(kept),
        throughput.or(current.throughput.filter(|_| same_kind)),
    )?;
    let cooldown = call.config.cooldown * 1000;
    call.world.check_modify(&id, &region, &target, (call.step.now, cooldown))?;
    let (world, step) = call.change()?;
    let modification = world.modify(&id, &region, target, step)?;
    xml.node("volumeModification", |xml| write(xml, &id, &modification));
    Ok(())
}

const FILTERS: [&str; 8] = [
    "modification-state",
    "original-iops",
    "original-size",
    "original-volume-type",
    "target-iops",
    "target-size",
    "target-volume-type",
    "volume-id",
];

pub(super) fn describe(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    let ids = call.params.list("VolumeId");
    let filters = Filters::take(&mut call.params, &FILTERS)?;
    let page = Page::take(&mut call.params, 5, !ids.is_empty())?;
    let region = call.region();
    let world = call.read()?;
    check_ids(&ids, |id| match world.volume(id, &region)?.modification {
        Some(_) => Ok(()),
        None => Err(Refusal::client(
            "InvalidVolumeModification.NotFound",
            format!("Modification for volume '{id}' does not exist."),
        )),
    })?;
    let wanted = world
        .volumes
        .values()
        .filter(|volume| volume.is_there(&region))
        .filter(|volume| ids.is_empty() || ids.contains(&volume.id))
        .filter_map(|volume| Some((volume, volume.modification.as_ref()?)))
        .filter(|(volume, found)| {
            filters.pass(&volume.tags, |name| {
                let number = |value: Option<u64>| value.unwrap_or_default().to_string();
                vec![match name {
                    "modification-state" => found.state.name().to_owned(),
                    "original-iops" => number(found.original.iops),
                    "target-iops" => number(found.target.iops),
                    "original-size" => found.original.size.to_string(),
                    "original-volume-type" => found.original.kind.clone(),
                    "target-size" => found.target.size.to_string(),
                    "target-volume-type" => found.target.kind.clone(),
                    _ => volume.id.clone(),
                }]
            })
        });
    let (shown, next) = page.cut(wanted, |(volume, _)| volume.id.clone());
    xml.list("volumeModificationSet", shown, |xml, (volume, found)| write(xml, &volume.id, found));
    write_next(xml, next);
    Ok(())
}

fn write(xml: &mut Xml, id: &str, found: &Modification) {
    xml.text("volumeId", id);
    xml.text("modificationState", found.state.name());
    xml.text("targetSize", found.target.size);
    xml.optional("targetIops", found.target.iops);
    xml.text("targetVolumeType", &found.target.kind);
    xml.optional("targetThroughput", found.target.throughput);
    xml.text("originalSize", found.original.size);
    xml.optional("originalIops", found.original.iops);
    xml.text("originalVolumeType", &found.original.kind);
    xml.optional("originalThroughput", found.original.throughput);
    xml.text("progress", found.progress());
    xml.text("startTime", iso(found.began));
    if found.state == ModificationState::Completed {
        xml.optional("endTime", found.ended.map(iso));
    }
}
