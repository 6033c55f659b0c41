//! AttachVolume, DetachVolume.

use super::Call;
use crate::refusal::{Answered, Refusal};
use crate::timestamp::iso;
use crate::world::attachment::{Attachment, Detach};
use crate::xml::Xml;

pub(super) fn attach(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    let volume = call.params.need("VolumeId")?;
    let instance = call.params.need("InstanceId")?;
    let device = call.params.need("Device")?;
    if let Some(card) = call.params.number::<u32>("EbsCardIndex")?.filter(|card| *card != 0) {
        return Err(Refusal::parameter("ebsCardIndex", card, "The instance type has one EBS card"));
    }
    let (region, marks) = (call.region(), call.marks);
    call.world.check_attach(&volume, &instance, &device, &region)?;
    if marks.kms_disabled && call.world.volume(&volume, &region)?.encrypted {
        return Err(Refusal::client(
            "InvalidKMSKey.InvalidState",
            format!("The KMS key that volume {volume} is encrypted with is disabled"),
        ));
    }
    let (world, step) = call.change()?;
    let attachment = world.attach(&volume, &instance, &device, marks.stick, step)?;
    write(xml, &volume, &attachment);
    Ok(())
}

pub(super) fn detach(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    let region = call.region();
    let detach = Detach {
        volume: call.params.need("VolumeId")?,
        instance: call.params.take("InstanceId").filter(|id| !id.is_empty()),
        device: call.params.take("Device").filter(|device| !device.is_empty()),
        force: call.params.boolean("Force")?.unwrap_or_default(),
        stuck: call.marks.stick,
    };
    call.world.find_attachment(&detach, &region)?;
    let (world, step) = call.change()?;
    let attachment = world.detach(&detach, &region, step)?;
    write(xml, &detach.volume, &attachment);
    Ok(())
}

/// An attachment, as all actions answer it.
pub(super) fn write(xml: &mut Xml, volume: &str, attachment: &Attachment) {
    xml.text("volumeId", volume);
    xml.text("instanceId", &attachment.instance);
    xml.text("device", &attachment.device);
    xml.text("status", attachment.state.name());
    xml.text("attachTime", iso(attachment.since));
    xml.text("deleteOnTermination", attachment.delete_on_termination);
}
