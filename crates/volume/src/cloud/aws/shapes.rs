//! What EC2 answers, as far as it is used here; names as in its API reference (2016-11-15). Whatever
//! else an answer holds is passed over.

use serde::Deserialize;
use std::collections::BTreeMap;

/// `<xSet><item>…</item></xSet>`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Set<T> {
    #[serde(rename = "item", default = "Vec::new")]
    pub items: Vec<T>,
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Tag {
    /// Its key, at most 128 characters.
    pub key: String,
    /// Its value, at most 256 characters.
    #[serde(default)]
    pub value: String,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// `vol-…`.
    #[serde(rename = "volumeId")]
    pub id: String,
    /// In GiB.
    pub size: u64,
    /// Where it is.
    #[serde(rename = "availabilityZone", default)]
    pub zone: String,
    /// `creating`, `available`, `in-use`, `deleting`, `deleted`, `error`.
    #[serde(rename = "status", default)]
    pub state: String,
    /// RFC 3339.
    #[serde(rename = "createTime", default)]
    pub created: String,
    /// `gp3` …
    #[serde(rename = "volumeType", default)]
    pub kind: String,
    /// Provisioned I/O operations per second.
    #[serde(default)]
    pub iops: Option<u64>,
    /// In MiB per second.
    #[serde(default)]
    pub throughput: Option<u64>,
    /// Whether it is encrypted.
    #[serde(default)]
    pub encrypted: bool,
    /// The key it is encrypted with.
    #[serde(default)]
    pub kms_key_id: Option<String>,
    /// What it was made of; empty when of nothing.
    #[serde(default)]
    pub snapshot_id: Option<String>,
    /// Whether several instances may have it.
    #[serde(default)]
    pub multi_attach_enabled: bool,
    #[serde(rename = "attachmentSet", default)]
    attachments: Set<Attachment>,
    #[serde(rename = "tagSet", default)]
    tags: Set<Tag>,
}

impl Volume {
    /// Where it is attached, or about to be.
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments.items
    }

    /// Its tags by key.
    #[must_use]
    pub fn tags(&self) -> BTreeMap<String, String> {
        map(&self.tags)
    }

    /// The value of a tag.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags.items.iter().find(|tag| tag.key == key).map(|tag| tag.value.as_str())
    }

    /// Whether it is there, and not about to go.
    #[must_use]
    pub fn exists(&self) -> bool {
        !matches!(self.state.as_str(), "deleting" | "deleted")
    }
}

fn map(tags: &Set<Tag>) -> BTreeMap<String, String> {
    tags.items.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect()
}

/// A volume at an instance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// Which instance.
    #[serde(rename = "instanceId", default)]
    pub instance: String,
    /// The device name that was asked for.
    #[serde(default)]
    pub device: String,
    /// `attaching`, `attached`, `detaching`, `busy`, `detached`.
    #[serde(rename = "status", default)]
    pub state: String,
    /// Since when, in RFC 3339.
    #[serde(rename = "attachTime", default)]
    pub since: String,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// `snap-…`.
    #[serde(rename = "snapshotId")]
    pub id: String,
    /// The volume it was taken of.
    #[serde(default)]
    pub volume_id: String,
    /// `pending`, `completed`, `error` …
    #[serde(rename = "status", default)]
    pub state: String,
    /// `42%`.
    #[serde(default)]
    pub progress: String,
    /// When it was taken, in RFC 3339.
    #[serde(rename = "startTime", default)]
    pub started: String,
    /// Of the volume, in GiB.
    #[serde(default)]
    pub volume_size: u64,
    /// Whether it is encrypted.
    #[serde(default)]
    pub encrypted: bool,
    /// Why it has failed.
    #[serde(default)]
    pub status_message: Option<String>,
    #[serde(rename = "tagSet", default)]
    tags: Set<Tag>,
}

impl Snapshot {
    /// Its tags by key.
    #[must_use]
    pub fn tags(&self) -> BTreeMap<String, String> {
        map(&self.tags)
    }

    /// The value of a tag.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags.items.iter().find(|tag| tag.key == key).map(|tag| tag.value.as_str())
    }
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Instance {
    /// `i-…`.
    #[serde(rename = "instanceId")]
    pub id: String,
    /// `m5.large` …
    #[serde(rename = "instanceType", default)]
    pub kind: String,
    #[serde(rename = "instanceState", default)]
    state: InstanceState,
    #[serde(rename = "blockDeviceMapping", default)]
    devices: Set<BlockDevice>,
    #[serde(rename = "networkInterfaceSet", default)]
    interfaces: Set<Interface>,
    #[serde(rename = "tagSet", default)]
    tags: Set<Tag>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct InstanceState {
    #[serde(default)]
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Interface {
    #[serde(rename = "networkInterfaceId", default)]
    _id: String,
}

/// A disk of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BlockDevice {
    /// Its name there.
    #[serde(rename = "deviceName", default)]
    pub name: String,
    /// The volume.
    #[serde(default)]
    pub ebs: Ebs,
}

/// The volume of a [`BlockDevice`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Ebs {
    /// `vol-…`.
    #[serde(rename = "volumeId", default)]
    pub volume: String,
    /// As in [`Attachment::state`].
    #[serde(rename = "status", default)]
    pub state: String,
}

impl Instance {
    /// `pending`, `running`, `stopping`, `stopped`, `shutting-down`, `terminated`.
    #[must_use]
    pub fn state(&self) -> &str {
        &self.state.name
    }

    /// Its disks.
    pub fn devices(&self) -> &[BlockDevice] {
        &self.devices.items
    }

    /// How many network interfaces it has.
    #[must_use]
    pub fn interfaces(&self) -> usize {
        self.interfaces.items.len()
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.tags.items.iter().find(|tag| tag.key == "Name").map(|tag| tag.value.as_str())
    }
}

/// A type of instance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceType {
    /// `m5.large` …
    #[serde(rename = "instanceType")]
    pub name: String,
    /// `nitro`, `xen`; empty for machines without a hypervisor.
    #[serde(default)]
    pub hypervisor: String,
    #[serde(default)]
    ebs_info: EbsInfo,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EbsInfo {
    #[serde(default)]
    attachment_limit_type: String,
    #[serde(default)]
    maximum_ebs_attachments: Option<usize>,
}

impl InstanceType {
    /// How many volumes it may have, where AWS says so.
    #[must_use]
    pub fn most_volumes(&self) -> Option<usize> {
        self.ebs_info.maximum_ebs_attachments
    }

    /// Whether network interfaces count among them.
    #[must_use]
    pub fn shares_with_interfaces(&self) -> bool {
        self.ebs_info.attachment_limit_type != "dedicated"
    }
}

/// A change of a volume's type, size or performance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Modification {
    /// `vol-…`.
    #[serde(rename = "volumeId")]
    pub id: String,
    /// `modifying`, `optimizing`, `completed`, `failed`.
    #[serde(rename = "modificationState", default)]
    pub state: String,
    /// In percent.
    #[serde(default)]
    pub progress: u64,
    /// When it began, in RFC 3339.
    #[serde(rename = "startTime", default)]
    pub started: String,
    /// In GiB.
    #[serde(default)]
    pub target_size: u64,
    /// `gp3` …
    #[serde(rename = "targetVolumeType", default)]
    pub target_kind: String,
    /// I/O operations per second.
    #[serde(default)]
    pub target_iops: Option<u64>,
    /// MiB per second.
    #[serde(default)]
    pub target_throughput: Option<u64>,
    /// Why it failed.
    #[serde(default)]
    pub status_message: Option<String>,
}

/// A snapshot that is kept at hand in a zone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FastRestore {
    /// `snap-…`.
    #[serde(rename = "snapshotId")]
    pub snapshot: String,
    /// Where.
    #[serde(rename = "availabilityZone")]
    pub zone: String,
    /// `enabling`, `optimizing`, `enabled`, `disabling`, `disabled`.
    #[serde(default)]
    pub state: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Volumes {
    #[serde(default)]
    pub volume_set: Set<Volume>,
    #[serde(default)]
    pub next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Snapshots {
    #[serde(default)]
    pub snapshot_set: Set<Snapshot>,
    #[serde(default)]
    pub next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reservations {
    #[serde(default)]
    pub reservation_set: Set<Reservation>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reservation {
    #[serde(default)]
    pub instances_set: Set<Instance>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstanceTypes {
    #[serde(default)]
    pub instance_type_set: Set<InstanceType>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Modifications {
    #[serde(default)]
    pub volume_modification_set: Set<Modification>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Modified {
    pub volume_modification: Modification,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Copied {
    pub snapshot_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FastRestores {
    #[serde(default)]
    pub fast_snapshot_restore_set: Set<FastRestore>,
    #[serde(default)]
    pub unsuccessful: Set<Unsuccessful>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Unsuccessful {
    #[serde(default)]
    pub fast_snapshot_restore_state_error_set: Set<StateError>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StateError {
    #[serde(default)]
    pub availability_zone: String,
    #[serde(default)]
    pub error: Reason,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Reason {
    #[serde(default)]
    pub message: String,
}

/// An answer of which nothing is of interest.
#[derive(Debug, Deserialize)]
pub(super) struct Nothing {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_volumes_is_read() {
        let text = "<DescribeVolumesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
            <requestId>r</requestId><volumeSet><item><volumeId>vol-1</volumeId><size>8</size>\
            <snapshotId/><availabilityZone>eu-west-1a</availabilityZone><status>in-use</status>\
            <createTime>2026-11-01T00:00:00.000Z</createTime><attachmentSet><item>\
            <volumeId>vol-1</volumeId><instanceId>i-1</instanceId><device>/dev/xvdba</device>\
            <status>attached</status><attachTime>2026-11-01T00:00:01.000Z</attachTime>\
            <deleteOnTermination>false</deleteOnTermination></item></attachmentSet><tagSet><item>\
            <key>Name</key><value>pg &amp; data</value></item><item><key>empty</key><value/></item>\
            </tagSet><volumeType>gp3</volumeType><iops>3000</iops><encrypted>true</encrypted>\
            <multiAttachEnabled>false</multiAttachEnabled><throughput>125</throughput>\
            </item><item><volumeId>vol-2</volumeId><size>1</size><attachmentSet/></item></volumeSet>\
            <nextToken>more</nextToken></DescribeVolumesResponse>";
        let page: Volumes = quick_xml::de::from_str(text).unwrap();
        assert_eq!(page.next_token.as_deref(), Some("more"));
        let [first, second] = &page.volume_set.items[..] else { panic!("{page:?}") };
        assert_eq!((first.size, first.tag("Name")), (8, Some("pg & data")));
        assert_eq!(first.attachments()[0].device, "/dev/xvdba");
        assert!(first.encrypted && first.exists());
        assert_eq!((second.iops, second.tags().len()), (None, 0));
    }

    #[test]
    fn instances_are_read_out_of_their_reservations() {
        let text = "<DescribeInstancesResponse><reservationSet><item><instancesSet><item>\
            <instanceId>i-1</instanceId><instanceState><code>16</code><name>running</name>\
            </instanceState><instanceType>m5.large</instanceType><blockDeviceMapping><item>\
            <deviceName>/dev/xvda</deviceName><ebs><volumeId>vol-0</volumeId><status>attached</status>\
            </ebs></item></blockDeviceMapping><networkInterfaceSet><item><networkInterfaceId>eni-1\
            </networkInterfaceId></item></networkInterfaceSet></item></instancesSet></item>\
            </reservationSet></DescribeInstancesResponse>";
        let found: Reservations = quick_xml::de::from_str(text).unwrap();
        let instance = &found.reservation_set.items[0].instances_set.items[0];
        assert_eq!((instance.state(), instance.interfaces()), ("running", 1));
        assert_eq!(instance.devices()[0].ebs.volume, "vol-0");
    }

    #[test]
    fn an_answer_without_lists_is_an_empty_one() {
        let page: Volumes = quick_xml::de::from_str("<R><volumeSet/></R>").unwrap();
        assert!(page.volume_set.items.is_empty() && page.next_token.is_none());
        quick_xml::de::from_str::<Nothing>("<R><return>true</return></R>").unwrap();
    }
}
