//! Faults, over the socket; and the admin API.

use super::client::{Client, HERE, THERE, ZONE, config};
use crate::{Bucket, Config, Effect, Fault, Limits, Simulator};
use std::time::Duration;

async fn start() -> (Simulator, Client) {
    let sim = Simulator::start(config()).await.unwrap();
    let client = Client::new(&sim, HERE);
    (sim, client)
}

const NEW: [(&str, &str); 3] = [("AvailabilityZone", ZONE), ("Size", "1"), ("VolumeType", "gp3")];

#[tokio::test]
async fn answers_that_are_faults_have_their_codes() {
    let (sim, client) = start().await;
    sim.inject(Fault::new(Effect::Throttle).on("CreateVolume").times(1));
    let throttled = client.refused("CreateVolume", &NEW).await;
    assert_eq!(throttled, (503, "RequestLimitExceeded".to_owned()));
    let (code, message) = ("InternalError".to_owned(), "An internal error".to_owned());
    sim.inject(Fault::new(Effect::Error { code, status: 500, message }).times(1));
    assert_eq!(client.refused("CreateVolume", &NEW).await, (500, "InternalError".to_owned()));
    sim.inject(Fault::new(Effect::Deny).on("Create*").of(HERE));
    let dry = [NEW.as_slice(), &[("DryRun", "true")]].concat();
    assert_eq!(
        client.refused("CreateVolume", &dry).await,
        (403, "UnauthorizedOperation".to_owned())
    );
    Client::new(&sim, THERE).ok("CreateVolume", &NEW).await;
    assert_eq!(sim.calls()["CreateVolume"], 4);
    sim.reset_calls();
    assert!(sim.calls().is_empty());
}

#[tokio::test]
async fn a_connection_breaks_before_or_after_the_work() {
    let (sim, client) = start().await;
    sim.inject(Fault::new(Effect::Reset).times(1));
    assert!(client.try_call("CreateVolume", &NEW).await.is_none());
    assert!(sim.volumes().is_empty());
    sim.inject(Fault::new(Effect::DropAnswer).times(1));
    assert!(client.try_call("CreateVolume", &NEW).await.is_none());
    assert_eq!(sim.volumes().len(), 1);
}

#[tokio::test]
async fn a_slow_answer_is_complete_in_the_end() {
    let (sim, client) = start().await;
    sim.inject(Fault::new(Effect::Drip { ms: 0 }));
    sim.inject(Fault::new(Effect::Delay { ms: 1 }));
    let answer = client.ok("DescribeRegions", &[]).await;
    assert!(answer.all("regionName").contains(&"us-east-1"));
}

#[tokio::test]
async fn a_lie_does_nothing_and_shows_the_past() {
    let (sim, client) = start().await;
    sim.inject(Fault::new(Effect::Lie).on("CreateVolume").times(1));
    client.ok("CreateVolume", &NEW).await;
    assert!(sim.volumes().is_empty());
    let id = client.volume(&[]).await;
    sim.inject(Fault::new(Effect::Lie).on("DescribeVolumes").times(1));
    let by = [("VolumeId", id.as_str()), ("InstanceId", HERE), ("Device", "/dev/sdf")];
    client.ok("AttachVolume", &by).await;
    assert_eq!(client.state(&id).await, "available");
    assert_eq!(client.state(&id).await, "in-use");
}

#[tokio::test]
async fn what_is_stuck_stays_until_it_is_forced_or_faults_are_cleared() {
    let (sim, client) = start().await;
    let id = client.volume(&[]).await;
    let by = [("VolumeId", id.as_str()), ("InstanceId", HERE), ("Device", "/dev/sdf")];
    sim.inject(Fault::new(Effect::Stick).volume(&id));
    client.ok("AttachVolume", &by).await;
    sim.advance(600_000);
    assert_eq!(client.describe(&id).await.all("status"), ["in-use", "attaching"]);
    sim.clear_faults();
    assert_eq!(client.describe(&id).await.all("status"), ["in-use", "attached"]);
    sim.inject(Fault::new(Effect::Stick).on("DetachVolume"));
    client.ok("DetachVolume", &by[..1]).await;
    sim.advance(600_000);
    assert_eq!(client.describe(&id).await.all("status"), ["in-use", "busy"]);
    client.ok("DetachVolume", &[by[0], ("Force", "true")]).await;
    assert_eq!(client.state(&id).await, "available");
    sim.inject(Fault::new(Effect::Stick).on("CreateSnapshot"));
    client.ok("CreateSnapshot", &[("VolumeId", &id)]).await;
    sim.advance(600_000);
    assert_eq!(sim.snapshots()[0].state, "pending");
}

#[tokio::test]
async fn what_is_created_can_fail_later() {
    let (sim, client) = start().await;
    sim.inject(Fault::new(Effect::Fail).times(2));
    client.ok("CreateVolume", &NEW).await;
    assert_eq!(sim.volumes()[0].state, "error");
    sim.clear_faults();
    let id = client.volume(&[("Encrypted", "true")]).await;
    sim.inject(Fault::new(Effect::KmsKeyDisabled));
    let by = [("VolumeId", id.as_str()), ("InstanceId", HERE), ("Device", "/dev/sdf")];
    assert_eq!(client.refused("AttachVolume", &by).await.1, "InvalidKMSKey.InvalidState");
    client.ok("CreateSnapshot", &by[..1]).await;
    let snapshot = client.ok("DescribeSnapshots", &[]).await;
    assert_eq!(snapshot.get("status"), "error");
    assert!(snapshot.get("statusMessage").contains("InvalidKMSKey.InvalidState"));
}

#[tokio::test]
async fn a_partitioned_instance_hears_nothing_and_the_others_go_on() {
    let (sim, client) = start().await;
    sim.partition(HERE, true);
    assert!(client.try_call("DescribeRegions", &[]).await.is_none());
    sim.partition(HERE, false);
    let silent = tokio::spawn(async move { client.try_call("CreateVolume", &NEW).await });
    Client::new(&sim, THERE).ok("DescribeRegions", &[]).await;
    assert!(!silent.is_finished());
    sim.heal(HERE);
    assert!(silent.await.unwrap().is_none());
    assert!(sim.volumes().is_empty());
    sim.inject(Fault::new(Effect::Partition { reset: true }).of(THERE));
    assert!(Client::new(&sim, THERE).try_call("DescribeRegions", &[]).await.is_none());
    sim.clear_faults();
    Client::new(&sim, THERE).ok("DescribeRegions", &[]).await;
}

#[tokio::test]
async fn calls_are_limited_by_buckets() {
    let writes = Some(Bucket { capacity: 2.0, refill: 0.0 });
    let limits = Limits { writes, pending_snapshots: Some(0), ..Limits::default() };
    let sim = Simulator::start(Config { limits, ..config() }).await.unwrap();
    let client = Client::new(&sim, HERE);
    let id = client.volume(&[]).await;
    let by = [("VolumeId", id.as_str())];
    assert_eq!(client.refused("CreateSnapshot", &by).await.1, "ConcurrentSnapshotLimitExceeded");
    assert_eq!(client.refused("CreateVolume", &NEW).await.1, "RequestLimitExceeded");
}

#[tokio::test]
async fn the_admin_api_looks_and_disturbs() {
    let (sim, client) = start().await;
    let fault = r#"{"effect": "throttle", "action": "DescribeVolumes", "times": 1}"#;
    assert_eq!(client.plain("POST", "/_sim/faults", fault).await.status, 200);
    assert_eq!(client.refused("DescribeVolumes", &[]).await.0, 503);
    client.ok("DescribeVolumes", &[]).await;
    let calls: serde_json::Value =
        serde_json::from_str(&client.plain("GET", "/_sim/calls", "").await.body).unwrap();
    assert_eq!(calls["DescribeVolumes"], 2);
    assert_eq!(client.plain("POST", "/_sim/instances/elsewhere/stop", "").await.status, 200);
    let state = client.plain("GET", "/_sim/state", "").await.body;
    assert!(state.contains("\"stopped\""), "{state}");
    let added = client.plain("POST", "/_sim/instances", r#"{"id": "i-new", "zone": "us-east-1c"}"#);
    assert!(added.await.body.contains(&sim.endpoint("i-new")));
    Client::new(&sim, "i-new").ok("DescribeInstances", &[("InstanceId.1", "i-new")]).await;
    assert_eq!(client.plain("POST", "/_sim/delays", r#"{"create": 5000}"#).await.status, 200);
    client.ok("CreateVolume", &NEW).await;
    assert_eq!(sim.volumes()[0].state, "creating");
    assert_eq!(client.plain("POST", "/_sim/clock", r#"{"advance-ms": 5000}"#).await.status, 200);
    assert_eq!(sim.volumes()[0].state, "available");
    for (path, body) in [("/_sim/faults", "x"), ("/_sim/delays", r#"{"cretae": 1}"#)] {
        assert_eq!(client.plain("POST", path, body).await.status, 400);
    }
    assert_eq!(client.plain("GET", "/_sim/nothing", "").await.status, 404);
}

#[tokio::test]
async fn a_scenario_that_makes_no_sense_is_refused() {
    for wrong in [
        Config::default(),
        Config { account: "12".to_owned(), ..config() },
        Config { zones: vec!["x".to_owned()], instances: config().instances, ..config() },
    ] {
        assert!(Simulator::start(wrong).await.is_err());
    }
}

#[tokio::test]
async fn a_token_request_from_too_far_away_is_never_answered() {
    let (sim, client) = start().await;
    sim.inject(Fault::new(Effect::HopLimit));
    let asked = client.send("PUT", "/latest/api/token", &[], "");
    tokio::time::timeout(Duration::from_millis(100), asked).await.expect_err("no answer");
}
