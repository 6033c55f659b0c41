//! Tags: given when something is created, added, removed, listed.

use super::Call;
use super::filters::Filters;
use super::paging::{Page, write_next};
use crate::params::Params;
use crate::refusal::{Answered, Refusal};
use crate::world::World;
use crate::world::tags::{self, Tags};
use crate::xml::Xml;

/// Takes `TagSpecification.N` for a resource of this type.
pub(super) fn specified(params: &mut Params, resource: &str) -> Answered<Tags> {
    let mut tags = Tags::new();
    for mut specification in params.structures("TagSpecification") {
        let kind = specification.need("ResourceType")?;
        if kind != resource {
            return Err(Refusal::value(format!(
                "'{kind}' is not a valid taggable resource type for this operation."
            )));
        }
        take(&mut specification, &mut tags)?;
        specification.finish()?;
    }
    tags::check(&tags)?;
    Ok(tags)
}

/// Takes `Tag.N.Key` and `Tag.N.Value`.
fn take(params: &mut Params, tags: &mut Tags) -> Answered<()> {
    for mut tag in params.structures("Tag") {
        let (key, value) = (tag.take("Key").unwrap_or_default(), tag.take("Value"));
        tag.finish()?;
        if tags.insert(key.clone(), value.unwrap_or_default()).is_some() {
            let what = format!("Tag key '{key}' was given more than once");
            return Err(Refusal::value(what));
        }
    }
    Ok(())
}

/// Writes `tagSet`.
pub(super) fn write(xml: &mut Xml, tags: &Tags) {
    xml.list("tagSet", tags, |xml, (key, value)| {
        xml.text("key", key);
        xml.text("value", value);
    });
}

pub(super) fn create(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    let (ids, region) = (resources(call)?, call.region());
    let mut added = Tags::new();
    take(&mut call.params, &mut added)?;
    if added.is_empty() {
        return Err(Refusal::missing("Tag"));
    }
    tags::check(&added)?;
    let (world, _) = call.change()?;
    // All or nothing.
    let mut merged = Vec::new();
    for id in &ids {
        merged.push(tags::merged(tags_of(world, id, &region)?, &added)?);
    }
    for (id, tags) in ids.iter().zip(merged) {
        *tags_of(world, id, &region)? = tags;
    }
    xml.text("return", true);
    Ok(())
}

/// A tag without a value is removed whatever its value; with one, only if it has it.
pub(super) fn delete(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    let (ids, region) = (resources(call)?, call.region());
    let mut wanted = Vec::new();
    for mut tag in call.params.structures("Tag") {
        wanted.push((tag.need("Key")?, tag.take("Value")));
        tag.finish()?;
    }
    let (world, _) = call.change()?;
    for id in &ids {
        tags_of(world, id, &region)?;
    }
    for id in &ids {
        let is_wanted = |key: &str, value: &str| {
            let matches = |(one, with): &(String, Option<String>)| {
                one == key && with.as_ref().is_none_or(|with| with == value)
            };
            wanted.is_empty() || wanted.iter().any(matches)
        };
        tags_of(world, id, &region)?.retain(|key, value| !is_wanted(key, value));
    }
    xml.text("return", true);
    Ok(())
}

fn resources(call: &mut Call<'_>) -> Answered<Vec<String>> {
    let ids = call.params.list("ResourceId");
    if ids.is_empty() { Err(Refusal::missing("ResourceId")) } else { Ok(ids) }
}

fn tags_of<'a>(world: &'a mut World, id: &str, region: &str) -> Answered<&'a mut Tags> {
    if id.starts_with("snap-") {
        return Ok(&mut world.snapshot_mut(id, region)?.tags);
    }
    if world.instances.contains_key(id) {
        return Ok(&mut world.instance_mut(id, region)?.tags);
    }
    if !id.starts_with("vol-") {
        return Err(Refusal::client("InvalidID", format!("The ID '{id}' is not valid")));
    }
    Ok(&mut world.volume_mut(id, region)?.tags)
}

pub(super) fn describe(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    let names = ["key", "value", "resource-id", "resource-type"];
    let filters = Filters::take(&mut call.params, &names)?;
    let page = Page::take(&mut call.params, 5, false)?;
    let region = call.region();
    let mut all = all_tags(call.read()?, &region);
    all.retain(|[id, kind, key, value]| {
        filters.pass(&Tags::from([(key.clone(), value.clone())]), |name| {
            vec![match name {
                "key" => key.clone(),
                "value" => value.clone(),
                "resource-id" => id.clone(),
                _ => kind.clone(),
            }]
        })
    });
    let (shown, next) = page.cut(all.into_iter(), |[id, _, key, _]| format!("{id}/{key}"));
    xml.list("tagSet", shown, |xml, [id, kind, key, value]| {
        xml.text("resourceId", id);
        xml.text("resourceType", kind);
        xml.text("key", key);
        xml.text("value", value);
    });
    write_next(xml, next);
    Ok(())
}

/// Resource, its type, key and value of every tag, sorted.
fn all_tags(world: &World, region: &str) -> Vec<[String; 4]> {
    let volumes = world.volumes.values().filter(|one| one.is_there(region));
    let volumes = volumes.map(|one| (&one.id, "volume", &one.tags));
    let snapshots = world.snapshots.values().filter(|one| one.region == region);
    let snapshots = snapshots.map(|one| (&one.id, "snapshot", &one.tags));
    let instances = world.instances.values().filter(|one| one.region == region);
    let instances = instances.map(|one| (&one.id, "instance", &one.tags));
    let mut all: Vec<_> = volumes
        .chain(snapshots)
        .chain(instances)
        .flat_map(|(id, kind, tags)| {
            tags.iter()
                .map(move |(key, value)| [id.clone(), kind.to_owned(), key.clone(), value.clone()])
        })
        .collect();
    all.sort_by_key(|[id, _, key, _]| format!("{id}/{key}"));
    all
}
