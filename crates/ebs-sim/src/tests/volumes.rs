//! Volumes and attachments, without disks: states, refusals, tokens, filters, pages.

use super::client::{Client, FAR, HERE, THERE, ZONE, config};
use crate::{Delays, Simulator};

async fn start() -> (Simulator, Client) {
    let sim = Simulator::start(config()).await.unwrap();
    let client = Client::new(&sim, HERE);
    (sim, client)
}

fn client_error(code: &str) -> (u16, String) {
    (400, code.to_owned())
}

#[tokio::test]
async fn a_volume_goes_through_its_whole_life() {
    let (sim, client) = start().await;
    let tags = [
        ("TagSpecification.1.ResourceType", "volume"),
        ("TagSpecification.1.Tag.1.Key", "Name"),
        ("TagSpecification.1.Tag.1.Value", "a <&> b"),
    ];
    let mut params = vec![("AvailabilityZone", ZONE), ("Size", "2"), ("VolumeType", "gp3")];
    params.extend(tags);
    let created = client.ok("CreateVolume", &params).await;
    assert_eq!(created.get("status"), "creating");
    assert_eq!(created.get("value"), "a &lt;&amp;&gt; b");
    let id = created.get("volumeId").to_owned();
    client.wait_for(&id, "available").await;
    let by = [("VolumeId", id.as_str()), ("InstanceId", HERE), ("Device", "/dev/xvdba")];
    assert_eq!(client.ok("AttachVolume", &by).await.get("status"), "attaching");
    client.wait_for_attachment(&id, "attached").await;
    assert_eq!(client.state(&id).await, "in-use");
    assert_eq!(client.refused("DeleteVolume", &by[..1]).await, client_error("VolumeInUse"));
    assert_eq!(client.ok("DetachVolume", &by[..1]).await.get("status"), "detaching");
    client.wait_for(&id, "available").await;
    assert_eq!(client.refused("DetachVolume", &by[..1]).await, client_error("IncorrectState"));
    client.ok("DeleteVolume", &by[..1]).await;
    let gone = client.refused("DescribeVolumes", &[("VolumeId.1", &id)]).await;
    assert_eq!(gone, client_error("InvalidVolume.NotFound"));
    assert!(sim.volumes().is_empty());
    sim.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_attached_is_refused_by_its_code() {
    let (_sim, client) = start().await;
    let (one, two) = (client.volume(&[]).await, client.volume(&[]).await);
    let attach = async |volume: &str, instance: &str, device: &str| {
        let params = [("VolumeId", volume), ("InstanceId", instance), ("Device", device)];
        client.refused("AttachVolume", &params).await.1
    };
    client.attach(&one, HERE, "/dev/xvdba").await;
    assert_eq!(attach(&one, THERE, "/dev/xvdba").await, "VolumeInUse");
    assert_eq!(attach(&two, HERE, "/dev/xvdba").await, "InvalidParameterValue");
    assert_eq!(attach(&two, HERE, "/dev/nvme1n1").await, "InvalidParameterValue");
    assert_eq!(attach(&two, FAR, "/dev/xvdbb").await, "InvalidVolume.ZoneMismatch");
    assert_eq!(
        attach(&two, "i-00000000000000000", "/dev/xvdbb").await,
        "InvalidInstanceID.NotFound"
    );
    assert_eq!(attach(&two, "nobody", "/dev/xvdbb").await, "InvalidInstanceID.Malformed");
    assert_eq!(attach("vol-00000000000000000", HERE, "/dev/xvdbb").await, "InvalidVolume.NotFound");
    assert_eq!(attach("vol-1", HERE, "/dev/xvdbb").await, "InvalidParameterValue");
    assert_eq!(attach("disk", HERE, "/dev/xvdbb").await, "InvalidVolumeID.Malformed");
    let by = [("VolumeId", one.as_str()), ("InstanceId", THERE)];
    assert_eq!(client.refused("DetachVolume", &by).await.1, "InvalidAttachment.NotFound");
}

#[tokio::test]
async fn of_two_that_attach_at_once_one_wins() {
    let (sim, client) = start().await;
    for round in 0..20 {
        let volume = client.volume(&[]).await;
        let device = format!("/dev/sd{}", char::from(b'b' + round));
        let attach = async |instance| {
            let params = [
                ("VolumeId", volume.as_str()),
                ("InstanceId", instance),
                ("Device", device.as_str()),
            ];
            Client::new(&sim, instance).call("AttachVolume", &params).await.status
        };
        let mut both: [u16; 2] = tokio::join!(attach(HERE), attach(THERE)).into();
        both.sort_unstable();
        assert_eq!(both, [200, 400]);
    }
}

#[tokio::test]
async fn an_instance_takes_as_many_volumes_as_its_type_says() {
    let (_sim, client) = start().await;
    // Twenty-seven, of which one is the root volume.
    for letter in ('a'..='z').map(|letter| format!("/dev/xvdb{letter}")) {
        let volume = client.volume(&[]).await;
        client.attach(&volume, HERE, &letter).await;
    }
    let volume = client.volume(&[]).await;
    let params = [("VolumeId", volume.as_str()), ("InstanceId", HERE), ("Device", "/dev/xvdca")];
    assert_eq!(client.refused("AttachVolume", &params).await.1, "AttachmentLimitExceeded");
    let types = client.ok("DescribeInstanceTypes", &[("InstanceType.1", "m5.large")]).await;
    assert_eq!(types.get("maximumEbsAttachments"), "27");
}

#[tokio::test]
async fn several_instances_share_a_volume_that_is_made_for_it() {
    let (_sim, client) = start().await;
    let shared =
        [("VolumeType", "io2"), ("Size", "4"), ("Iops", "100"), ("MultiAttachEnabled", "true")];
    let volume = client.volume(&shared).await;
    client.attach(&volume, HERE, "/dev/xvdba").await;
    client
        .ok(
            "AttachVolume",
            &[("VolumeId", &volume), ("InstanceId", THERE), ("Device", "/dev/xvdba")],
        )
        .await;
    let by = [("VolumeId", volume.as_str())];
    assert_eq!(client.refused("DetachVolume", &by).await.1, "MissingParameter");
    let gp3 = [
        ("AvailabilityZone", ZONE),
        ("Size", "4"),
        ("VolumeType", "gp3"),
        ("MultiAttachEnabled", "true"),
    ];
    assert_eq!(client.refused("CreateVolume", &gp3).await.1, "InvalidParameterCombination");
}

#[tokio::test]
async fn a_client_token_makes_one_volume_even_after_that_is_deleted() {
    let (sim, client) = start().await;
    let params =
        [("AvailabilityZone", ZONE), ("Size", "1"), ("VolumeType", "gp3"), ("ClientToken", "t")];
    let first = client.ok("CreateVolume", &params).await.get("volumeId").to_owned();
    let again = client.ok("CreateVolume", &params).await.get("volumeId").to_owned();
    assert_eq!(first, again);
    assert_eq!(sim.volumes().len(), 1);
    let mut other = params;
    other[1].1 = "2";
    let mismatch = client.refused("CreateVolume", &other).await;
    assert_eq!(mismatch, client_error("IdempotentParameterMismatch"));
    client.ok("DeleteVolume", &[("VolumeId", &first)]).await;
    let dead = client.ok("CreateVolume", &params).await.get("volumeId").to_owned();
    assert_eq!(first, dead);
    let found = client.refused("DescribeVolumes", &[("VolumeId.1", &dead)]).await;
    assert_eq!(found.1, "InvalidVolume.NotFound");
}

#[tokio::test]
async fn volumes_are_found_by_filters_and_in_pages() {
    let (_sim, client) = start().await;
    for n in 0..12 {
        let value = format!("v{n}");
        client
            .volume(&[
                ("TagSpecification.1.ResourceType", "volume"),
                ("TagSpecification.1.Tag.1.Key", "Name"),
                ("TagSpecification.1.Tag.1.Value", &value),
            ])
            .await;
    }
    let by_name = [("Filter.1.Name", "tag:Name"), ("Filter.1.Value.1", "v1*")];
    assert_eq!(client.ok("DescribeVolumes", &by_name).await.all("volumeId").len(), 3);
    let by_two = [
        ("Filter.1.Name", "tag-key"),
        ("Filter.1.Value.1", "Name"),
        ("Filter.2.Name", "status"),
        ("Filter.2.Value.1", "in-use"),
    ];
    assert!(client.ok("DescribeVolumes", &by_two).await.all("volumeId").is_empty());
    let roots = [("Filter.1.Name", "attachment.instance-id"), ("Filter.1.Value.1", THERE)];
    // The root volume has an attachment, which names it again.
    assert_eq!(client.ok("DescribeVolumes", &roots).await.all("volumeId").len(), 2);
    let (mut seen, mut token) = (0, None::<String>);
    loop {
        let mut params =
            vec![("MaxResults", "5"), ("Filter.1.Name", "tag-key"), ("Filter.1.Value.1", "Name")];
        params.extend(token.as_deref().map(|token| ("NextToken", token)));
        let page = client.ok("DescribeVolumes", &params).await;
        seen += page.all("volumeId").len();
        token = page.all("nextToken").first().map(|token| (*token).to_owned());
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, 12);
    let unknown = [("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")];
    assert_eq!(client.refused("DescribeVolumes", &unknown).await.1, "InvalidParameterValue");
}

#[tokio::test]
async fn what_the_api_does_not_know_it_does_not_do() {
    let (sim, client) = start().await;
    assert_eq!(client.refused("RunInstances", &[]).await.1, "InvalidAction");
    let params = [("AvailabilityZone", ZONE), ("Sise", "1"), ("Size", "1")];
    assert_eq!(client.refused("CreateVolume", &params).await.1, "UnknownParameter");
    assert_eq!(client.refused("CreateVolume", &params[..1]).await.1, "MissingParameter");
    let dry = [("AvailabilityZone", ZONE), ("Size", "1"), ("DryRun", "true")];
    assert_eq!(client.refused("CreateVolume", &dry).await, (412, "DryRunOperation".to_owned()));
    let too_fast = [
        ("AvailabilityZone", ZONE),
        ("Size", "1"),
        ("VolumeType", "gp3"),
        ("Iops", "9999999"),
        ("DryRun", "true"),
    ];
    assert_eq!(client.refused("CreateVolume", &too_fast).await.1, "InvalidParameterValue");
    let old = client.send_signed("POST", "", "Action=DescribeVolumes&Version=2010-01-01").await;
    assert_eq!(old.unwrap().get("Code"), "NoSuchVersion");
    assert!(sim.volumes().is_empty());
}

#[tokio::test]
async fn a_call_may_be_a_get() {
    let (_sim, client) = start().await;
    let query = "Version=2016-11-15&Action=DescribeAvailabilityZones";
    let answer = client.send_signed("GET", query, "").await.unwrap();
    assert_eq!(answer.all("zoneName"), ["us-east-1a", "us-east-1b", "us-east-1c"]);
}

#[tokio::test]
async fn states_last_as_long_as_they_shall() {
    let delays = Delays { create: 1000, attach: 1000, detach: 1000, ..Delays::default() };
    let sim = Simulator::start(crate::Config { delays, ..config() }).await.unwrap();
    let client = Client::new(&sim, HERE);
    let params = [("AvailabilityZone", ZONE), ("Size", "1"), ("VolumeType", "gp3")];
    let id = client.ok("CreateVolume", &params).await.get("volumeId").to_owned();
    let by = [("VolumeId", id.as_str()), ("InstanceId", HERE), ("Device", "/dev/sdf")];
    assert_eq!(client.state(&id).await, "creating");
    assert_eq!(client.refused("AttachVolume", &by).await.1, "IncorrectState");
    sim.advance(1000);
    assert_eq!(client.state(&id).await, "available");
    client.ok("AttachVolume", &by).await;
    assert_eq!(client.describe(&id).await.all("status"), ["in-use", "attaching"]);
    sim.advance(1000);
    assert_eq!(client.describe(&id).await.all("status"), ["in-use", "attached"]);
    client.ok("DetachVolume", &by[..1]).await;
    assert_eq!(client.describe(&id).await.all("status"), ["in-use", "detaching"]);
    sim.advance(1000);
    assert_eq!(client.describe(&id).await.all("status"), ["available"]);
}

#[tokio::test]
async fn describe_lags_as_far_behind_as_it_shall() {
    let sim = Simulator::start(config()).await.unwrap();
    let client = Client::new(&sim, HERE);
    let old = client.volume(&[]).await;
    sim.set_delays(Delays { visibility: 60_000, ..Delays::default() });
    let params = [("AvailabilityZone", ZONE), ("Size", "1"), ("VolumeType", "gp3")];
    let new = client.ok("CreateVolume", &params).await.get("volumeId").to_owned();
    client.ok("DeleteVolume", &[("VolumeId", &old)]).await;
    let by = [("VolumeId.1", new.as_str())];
    assert_eq!(client.refused("DescribeVolumes", &by).await.1, "InvalidVolume.NotFound");
    assert_eq!(client.state(&old).await, "available");
    sim.advance(120_000);
    assert_eq!(client.state(&new).await, "available");
    let by = [("VolumeId.1", old.as_str())];
    assert_eq!(client.refused("DescribeVolumes", &by).await.1, "InvalidVolume.NotFound");
}

#[tokio::test]
async fn a_volume_grows_once_until_it_has_cooled_down() {
    let (sim, client) = start().await;
    let id = client.volume(&[]).await;
    sim.set_delays(Delays { modify: 1000, ..Delays::default() });
    let grow = |size| [("VolumeId", id.as_str()), ("Size", size)];
    let began = client.ok("ModifyVolume", &grow("2")).await;
    assert_eq!(began.get("modificationState"), "modifying");
    assert_eq!(client.describe(&id).await.get("size"), "1");
    assert_eq!(client.refused("ModifyVolume", &grow("3")).await.1, "IncorrectModificationState");
    sim.advance(1000);
    let by = [("VolumeId.1", id.as_str())];
    let now = client.ok("DescribeVolumesModifications", &by).await;
    assert_eq!((now.get("modificationState"), now.get("targetSize")), ("optimizing", "2"));
    assert_eq!(client.describe(&id).await.get("size"), "2");
    sim.advance(1000);
    let now = client.ok("DescribeVolumesModifications", &by).await;
    assert_eq!(now.get("modificationState"), "completed");
    assert_eq!(
        client.refused("ModifyVolume", &grow("3")).await.1,
        "VolumeModificationRateExceeded"
    );
    assert_eq!(client.refused("ModifyVolume", &grow("1")).await.1, "InvalidParameterValue");
    sim.advance(6 * 60 * 60 * 1000);
    client.ok("ModifyVolume", &grow("3")).await;
}

#[tokio::test]
async fn tags_come_and_go() {
    let (sim, client) = start().await;
    let id = client.volume(&[]).await;
    let create = [
        ("ResourceId.1", id.as_str()),
        ("Tag.1.Key", "a"),
        ("Tag.1.Value", "1"),
        ("Tag.2.Key", "b"),
        ("Tag.2.Value", ""),
    ];
    client.ok("CreateTags", &create).await;
    assert_eq!(sim.volumes()[0].tags.len(), 2);
    let other_value = [("ResourceId.1", id.as_str()), ("Tag.1.Key", "a"), ("Tag.1.Value", "2")];
    client.ok("DeleteTags", &other_value).await;
    client.ok("DeleteTags", &[("ResourceId.1", &id), ("Tag.1.Key", "b")]).await;
    let left = [("Filter.1.Name", "resource-id"), ("Filter.1.Value.1", id.as_str())];
    assert_eq!(client.ok("DescribeTags", &left).await.all("key"), ["a"]);
    let reserved = [("ResourceId.1", id.as_str()), ("Tag.1.Key", "aws:x"), ("Tag.1.Value", "")];
    assert_eq!(client.refused("CreateTags", &reserved).await.1, "InvalidParameterValue");
}

#[tokio::test]
async fn a_terminated_instance_lets_go_of_its_volumes_and_stays_visible() {
    let (sim, client) = start().await;
    let id = client.volume(&[]).await;
    client.attach(&id, THERE, "/dev/sdf").await;
    client.ok("TerminateInstances", &[("InstanceId.1", THERE)]).await;
    client.wait_for(&id, "available").await;
    let found = client.ok("DescribeInstances", &[("InstanceId.1", THERE)]).await;
    assert_eq!(found.get("name"), "terminated");
    let by = [("VolumeId", id.as_str()), ("InstanceId", THERE), ("Device", "/dev/sdf")];
    assert_eq!(client.refused("AttachVolume", &by).await.1, "IncorrectState");
    assert_eq!(sim.instances().len(), 3);
}

#[tokio::test]
async fn an_instance_shows_what_is_attached_to_it() {
    let (_sim, client) = start().await;
    let id = client.volume(&[]).await;
    client.attach(&id, HERE, "/dev/sdf").await;
    let found = client.ok("DescribeInstances", &[("InstanceId.1", HERE)]).await;
    assert!(found.all("volumeId").contains(&id.as_str()));
    assert!(found.all("deviceName").contains(&"/dev/sdf"));
    assert_eq!(found.get("availabilityZone"), ZONE);
}
