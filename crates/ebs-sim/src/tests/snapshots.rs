//! Snapshots, copies and fast restore, without disks.

use super::client::{Client, HERE, ZONE, config};
use crate::{Delays, Simulator};

async fn start() -> (Simulator, Client) {
    let sim = Simulator::start(config()).await.unwrap();
    let client = Client::new(&sim, HERE);
    (sim, client)
}

#[tokio::test]
async fn a_snapshot_is_pending_and_then_complete() {
    let (sim, client) = start().await;
    let volume = client.volume(&[]).await;
    sim.set_delays(Delays { snapshot: 100_000, ..Delays::default() });
    let made = client.ok("CreateSnapshot", &[("VolumeId", &volume), ("Description", "d")]).await;
    assert_eq!(made.get("status"), "pending");
    let id = made.get("snapshotId").to_owned();
    sim.advance(50_000);
    let by = [("SnapshotId.1", id.as_str())];
    let now = client.ok("DescribeSnapshots", &by).await;
    assert_eq!((now.get("status"), now.get("progress")), ("pending", "50%"));
    let of_it = [("AvailabilityZone", ZONE), ("SnapshotId", id.as_str()), ("VolumeType", "gp3")];
    assert_eq!(client.refused("CreateVolume", &of_it).await.1, "IncorrectState");
    sim.advance(50_000);
    let now = client.ok("DescribeSnapshots", &[("Owner.1", "self")]).await;
    assert_eq!((now.get("status"), now.get("progress")), ("completed", "100%"));
    let made = client.ok("CreateVolume", &of_it).await;
    assert_eq!((made.get("size"), made.get("snapshotId")), ("1", id.as_str()));
    client.ok("DeleteSnapshot", &[("SnapshotId", &id)]).await;
    assert_eq!(client.refused("DescribeSnapshots", &by).await.1, "InvalidSnapshot.NotFound");
}

#[tokio::test]
async fn a_snapshot_is_copied_into_the_region_that_is_called() {
    let (_sim, client) = start().await;
    let volume = client.volume(&[]).await;
    let id =
        client.ok("CreateSnapshot", &[("VolumeId", &volume)]).await.get("snapshotId").to_owned();
    let there = Client { region: "eu-west-1".to_owned(), ..client.clone() };
    let params = [("SourceRegion", "us-east-1"), ("SourceSnapshotId", id.as_str())];
    client.ok("DescribeSnapshots", &[]).await;
    let copy = there.ok("CopySnapshot", &params).await.get("snapshotId").to_owned();
    let found = there.ok("DescribeSnapshots", &[("SnapshotId.1", &copy)]).await;
    assert_eq!(found.get("volumeId"), "vol-ffffffff");
    let by = [("SnapshotId.1", copy.as_str())];
    assert_eq!(client.refused("DescribeSnapshots", &by).await.1, "InvalidSnapshot.NotFound");
    let of_it = [("AvailabilityZone", "eu-west-1b"), ("SnapshotId", copy.as_str())];
    assert_eq!(there.ok("CreateVolume", &of_it).await.get("availabilityZone"), "eu-west-1b");
    assert_eq!(
        there.refused("DescribeVolumes", &[("VolumeId.1", &volume)]).await.1,
        "InvalidVolume.NotFound"
    );
}

#[tokio::test]
async fn a_volume_is_copied_within_its_zone() {
    let (sim, client) = start().await;
    let volume = client.volume(&[]).await;
    let params = [
        ("SourceVolumeId", volume.as_str()),
        ("Size", "3"),
        ("ClientToken", "t"),
        ("VolumeType", "gp3"),
    ];
    let copy = client.ok("CopyVolumes", &params).await;
    assert_eq!((copy.get("size"), copy.get("availabilityZone")), ("3", ZONE));
    assert_eq!(copy.get("sourceVolumeId"), volume);
    let plain = client.ok("CopyVolumes", &params[..1]).await;
    assert_eq!((plain.get("size"), plain.get("volumeType")), ("1", "gp2"));
    assert_eq!(client.ok("CopyVolumes", &params).await.get("volumeId"), copy.get("volumeId"));
    assert_eq!(sim.volumes().len(), 3);
}

#[tokio::test]
async fn fast_restore_is_switched_by_zone() {
    let (_sim, client) = start().await;
    let volume = client.volume(&[]).await;
    let id =
        client.ok("CreateSnapshot", &[("VolumeId", &volume)]).await.get("snapshotId").to_owned();
    client.ok("DescribeSnapshots", &[]).await;
    let params = [
        ("SourceSnapshotId.1", id.as_str()),
        ("SourceSnapshotId.2", "snap-00000000000000000"),
        ("AvailabilityZone.1", ZONE),
    ];
    let answer = client.ok("EnableFastSnapshotRestores", &params).await;
    assert_eq!(answer.all("code"), ["InvalidSnapshot.NotFound"]);
    let by = [("Filter.1.Name", "snapshot-id"), ("Filter.1.Value.1", id.as_str())];
    let now = client.ok("DescribeFastSnapshotRestores", &by).await;
    assert_eq!((now.get("state"), now.get("availabilityZone")), ("enabled", ZONE));
    client.ok("DisableFastSnapshotRestores", &[params[0], params[2]]).await;
    assert!(client.ok("DescribeFastSnapshotRestores", &by).await.all("state").is_empty());
}
