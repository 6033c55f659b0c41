//! DescribeInstances, DescribeInstanceTypes, and starting, stopping and ending instances.

use super::Call;
use super::filters::{Filters, check_ids};
use super::paging::{Page, write_next};
use super::tagging;
use crate::refusal::{Answered, Refusal};
use crate::timestamp::iso;
use crate::world::World;
use crate::world::attachment::AttachmentState;
use crate::world::instance::{Change, IMAGE, Instance, InstanceState, ROOT_DEVICE};
use crate::world::limits::{self, InstanceType};
use crate::world::tags::Tags;
use crate::xml::Xml;

const FILTERS: [&str; 8] = [
    "availability-zone",
    "block-device-mapping.device-name",
    "block-device-mapping.status",
    "block-device-mapping.volume-id",
    "instance-id",
    "instance-state-code",
    "instance-state-name",
    "instance-type",
];

fn values(world: &World, instance: &Instance, name: &str) -> Vec<String> {
    let mapped = world.attachments_of(&instance.id);
    match name {
        "availability-zone" => vec![instance.zone.clone()],
        "block-device-mapping.device-name" => mapped.map(|(_, one)| one.device.clone()).collect(),
        "block-device-mapping.status" => mapped.map(|(_, one)| one.state.name().into()).collect(),
        "block-device-mapping.volume-id" => mapped.map(|(volume, _)| volume.id.clone()).collect(),
        "instance-id" => vec![instance.id.clone()],
        "instance-state-code" => vec![instance.state.code().to_string()],
        "instance-state-name" => vec![instance.state.name().to_owned()],
        _ => vec![instance.kind.clone()],
    }
}

pub(super) fn describe(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    call.params.boolean("IncludeManagedResources")?;
    let ids = call.params.list("InstanceId");
    let filters = Filters::take(&mut call.params, &FILTERS)?;
    let page = Page::take(&mut call.params, 5, !ids.is_empty())?;
    let (region, account) = (call.region(), call.config.account.clone());
    let world = call.read()?;
    check_ids(&ids, |id| world.instance(id, &region))?;
    let wanted = world
        .instances
        .values()
        .filter(|instance| instance.region == region)
        .filter(|instance| ids.is_empty() || ids.contains(&instance.id))
        .filter(|one| filters.pass(&one.tags, |name| values(world, one, name)));
    let (shown, next) = page.cut(wanted, |instance| instance.id.clone());
    xml.list("reservationSet", shown, |xml, instance| {
        xml.text("reservationId", "r-0123456789abcdef0");
        xml.text("ownerId", &account);
        xml.node("groupSet", |_| ());
        xml.list("instancesSet", [instance], |xml, instance| write(xml, world, instance));
    });
    write_next(xml, next);
    Ok(())
}

fn write(xml: &mut Xml, world: &World, instance: &Instance) {
    xml.text("instanceId", &instance.id);
    xml.text("imageId", IMAGE);
    xml.node("instanceState", |xml| write_state(xml, instance.state));
    xml.text("instanceType", &instance.kind);
    xml.text("launchTime", iso(instance.launched));
    xml.node("placement", |xml| {
        xml.text("availabilityZone", &instance.zone);
        xml.text("groupName", "");
        xml.text("tenancy", "default");
    });
    xml.text("architecture", "x86_64");
    xml.text("rootDeviceType", "ebs");
    xml.text("rootDeviceName", ROOT_DEVICE);
    let mapped = world.attachments_of(&instance.id);
    xml.list("blockDeviceMapping", mapped, |xml, (volume, attachment)| {
        xml.text("deviceName", &attachment.device);
        xml.node("ebs", |xml| {
            xml.text("volumeId", &volume.id);
            // This list knows no `busy`.
            let state = match attachment.state {
                AttachmentState::Busy => AttachmentState::Detaching,
                other => other,
            };
            xml.text("status", state.name());
            xml.text("attachTime", iso(attachment.since));
            xml.text("deleteOnTermination", attachment.delete_on_termination);
        });
    });
    xml.text("virtualizationType", "hvm");
    tagging::write(xml, &instance.tags);
    // The API says this of Nitro, too.
    xml.text("hypervisor", "xen");
    xml.list("networkInterfaceSet", [()], |xml, ()| {
        xml.text("networkInterfaceId", "eni-0123456789abcdef0");
        xml.text("status", "in-use");
    });
    xml.text("ebsOptimized", true);
}

fn write_state(xml: &mut Xml, state: InstanceState) {
    xml.text("code", state.code());
    xml.text("name", state.name());
}

pub(super) fn start(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    change(call, xml, Change::Start)
}

pub(super) fn stop(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    for known in ["Force", "Hibernate", "SkipOsShutdown"] {
        call.params.boolean(known)?;
    }
    change(call, xml, Change::Stop)
}

pub(super) fn terminate(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    for known in ["Force", "SkipOsShutdown"] {
        call.params.boolean(known)?;
    }
    change(call, xml, Change::Terminate)
}

fn change(call: &mut Call<'_>, xml: &mut Xml, change: Change) -> Answered<()> {
    let (ids, region) = (call.params.list("InstanceId"), call.region());
    if ids.is_empty() {
        return Err(Refusal::missing("InstanceId"));
    }
    check_ids(&ids, |id| call.world.instance(id, &region))?;
    let (world, step) = call.change()?;
    let mut changed = Vec::new();
    for id in ids {
        let before = world.change_instance(&id, &region, change, step)?;
        changed.push((world.instance(&id, &region)?.state, before, id));
    }
    xml.list("instancesSet", changed, |xml, (now, before, id)| {
        xml.text("instanceId", id);
        xml.node("currentState", |xml| write_state(xml, now));
        xml.node("previousState", |xml| write_state(xml, before));
    });
    Ok(())
}

pub(super) fn describe_types(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    call.params.boolean("IncludeUnsupportedInRegion")?;
    let mut names = call.params.list("InstanceType");
    let filters = Filters::take(&mut call.params, &["hypervisor", "instance-type"])?;
    let page = Page::take(&mut call.params, 5, !names.is_empty())?;
    let world = call.read()?;
    let unknown: Vec<_> = names.iter().filter(|name| limits::find(name).is_none()).collect();
    if !unknown.is_empty() {
        return Err(Refusal::client(
            "InvalidInstanceType",
            format!("The following supplied instance types do not exist: {unknown:?}"),
        ));
    }
    if names.is_empty() {
        names = world.instances.values().map(|instance| instance.kind.clone()).collect();
    }
    names.sort();
    names.dedup();
    let types = names.into_iter().filter_map(|name| Some((limits::find(&name)?, name)));
    let wanted = types.filter(|(found, name)| {
        filters.pass(&Tags::new(), |filter| {
            vec![if filter == "hypervisor" { found.hypervisor.to_owned() } else { name.clone() }]
        })
    });
    let (shown, next) = page.cut(wanted, |(_, name)| name.clone());
    xml.list("instanceTypeSet", shown, |xml, (found, name)| write_type(xml, &name, found));
    write_next(xml, next);
    Ok(())
}

fn write_type(xml: &mut Xml, name: &str, found: InstanceType) {
    let is_nitro = found.hypervisor == "nitro";
    xml.text("instanceType", name);
    xml.text("currentGeneration", is_nitro);
    xml.text("bareMetal", name.contains(".metal"));
    xml.text("hypervisor", found.hypervisor);
    xml.node("ebsInfo", |xml| {
        xml.text("ebsOptimizedSupport", "default");
        xml.text("encryptionSupport", "supported");
        xml.text("nvmeSupport", if is_nitro { "required" } else { "unsupported" });
        xml.text("attachmentLimitType", found.limit_type);
        xml.text("maximumEbsAttachments", found.max_volumes);
    });
    xml.node("networkInfo", |xml| {
        xml.text("maximumNetworkInterfaces", found.max_interfaces);
        xml.text("maximumNetworkCards", 1);
    });
}
