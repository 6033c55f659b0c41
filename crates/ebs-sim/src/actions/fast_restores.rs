//! EnableFastSnapshotRestores, DisableFastSnapshotRestores, DescribeFastSnapshotRestores.

use super::Call;
use super::filters::Filters;
use super::paging::{Page, write_next};
use crate::refusal::{Answered, Refusal};
use crate::timestamp::iso;
use crate::world::snapshot::{FastRestore, Snapshot, SnapshotState};
use crate::world::tags::Tags;
use crate::xml::Xml;

/// A snapshot in a zone, and how far fast restore is there.
type Row = (String, String, FastRestore);

pub(super) fn enable(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    switch(call, xml, false)
}

pub(super) fn disable(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    switch(call, xml, true)
}

/// What can't be done is listed in the answer beside what can.
fn switch(call: &mut Call<'_>, xml: &mut Xml, disable: bool) -> Answered<()> {
    let zones = call.params.list("AvailabilityZone");
    let ids = call.params.list("SourceSnapshotId");
    let region = call.region();
    for (given, name) in [(&zones, "AvailabilityZone"), (&ids, "SourceSnapshotId")] {
        if given.is_empty() {
            return Err(Refusal::missing(name));
        }
    }
    let known = call.config.zones_of(&region);
    if let Some(zone) = zones.iter().find(|zone| !known.contains(zone)) {
        let what = format!("The zone '{zone}' does not exist.");
        return Err(Refusal::client("InvalidZone.NotFound", what));
    }
    let account = call.config.account.clone();
    let (world, step) = call.change()?;
    let (now, due) = (step.now, step.now + step.delays.snapshot);
    let (mut done, mut refused): (Vec<Row>, Vec<(String, String, Refusal)>) = Default::default();
    for id in &ids {
        for zone in &zones {
            let wanted = FastRestore { enabling: now, due, disabling: disable };
            let snapshot = world.snapshot_mut(id, &region);
            match snapshot.and_then(|snapshot| switch_one(snapshot, zone, wanted)) {
                Ok(fast) => done.push((id.clone(), zone.clone(), fast)),
                Err(refusal) => refused.push((id.clone(), zone.clone(), refusal)),
            }
        }
    }
    xml.list("successful", &done, |xml, row| write(xml, row, &account, now));
    xml.list("unsuccessful", &refused, |xml, (id, zone, refusal)| {
        xml.text("snapshotId", id);
        xml.list("fastSnapshotRestoreStateErrorSet", [()], |xml, ()| {
            xml.text("availabilityZone", zone);
            xml.node("error", |xml| {
                xml.text("code", &refusal.code);
                xml.text("message", &refusal.message);
            });
        });
    });
    Ok(())
}

/// Switches it in one zone; what is so already stays as it is.
fn switch_one(snapshot: &mut Snapshot, zone: &str, wanted: FastRestore) -> Answered<FastRestore> {
    let id = &snapshot.id;
    if snapshot.state != SnapshotState::Completed {
        let what = format!("Snapshot {id} is '{}'", snapshot.state.name());
        return Err(Refusal::client("IncorrectState", what));
    }
    if wanted.disabling && !snapshot.fast.contains_key(zone) {
        return Err(Refusal::value(format!("Fast restore of {id} is not enabled in {zone}")));
    }
    let fast = snapshot.fast.entry(zone.to_owned()).or_insert(wanted);
    if fast.disabling != wanted.disabling {
        (fast.disabling, fast.due) = (wanted.disabling, wanted.due);
    }
    Ok(*fast)
}

pub(super) fn describe(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    let names = ["availability-zone", "owner-id", "snapshot-id", "state"];
    let filters = Filters::take(&mut call.params, &names)?;
    let page = Page::take(&mut call.params, 1, false)?;
    let (region, now, account) = (call.region(), call.step.now, call.config.account.clone());
    let world = call.read()?;
    let snapshots = world.snapshots.values().filter(|snapshot| snapshot.region == region);
    let rows = snapshots.flat_map(|snapshot| {
        let row =
            |(zone, fast): (&String, &FastRestore)| (snapshot.id.clone(), zone.clone(), *fast);
        snapshot.fast.iter().map(row)
    });
    let wanted = rows.filter(|(id, zone, fast)| {
        filters.pass(&Tags::new(), |name| {
            vec![match name {
                "availability-zone" => zone.clone(),
                "owner-id" => account.clone(),
                "snapshot-id" => id.clone(),
                _ => fast.state(now).to_owned(),
            }]
        })
    });
    let (shown, next) = page.cut(wanted, |(id, zone, _)| format!("{id}/{zone}"));
    xml.list("fastSnapshotRestoreSet", &shown, |xml, row| write(xml, row, &account, now));
    write_next(xml, next);
    Ok(())
}

fn write(xml: &mut Xml, (id, zone, fast): &Row, account: &str, now: u64) {
    xml.text("snapshotId", id);
    xml.text("availabilityZone", zone);
    xml.text("state", fast.state(now));
    xml.text("stateTransitionReason", "Client.UserInitiated");
    xml.text("ownerId", account);
    xml.text("enablingTime", iso(fast.enabling));
    if fast.state(now) == "enabled" {
        xml.text("enabledTime", iso(fast.due));
    }
}
