//! Metadata, credentials and signatures.

use super::client::{Client, HERE, THERE, ZONE, config};
use crate::{Credentials, Effect, Fault, Simulator};

async fn start() -> (Simulator, Client) {
    let sim = Simulator::start(config()).await.unwrap();
    let client = Client::new(&sim, HERE);
    (sim, client)
}

fn headers(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

async fn token(client: &Client) -> String {
    let ttl = headers("x-aws-ec2-metadata-token-ttl-seconds", "60");
    let answer = client.send("PUT", "/latest/api/token", &ttl, "").await.unwrap();
    assert_eq!(answer.status, 200);
    // SDKs take no token without it.
    assert!(answer.head.contains("x-aws-ec2-metadata-token-ttl-seconds: 60"), "{}", answer.head);
    answer.body
}

async fn metadata(client: &Client, path: &str) -> String {
    let with = headers("x-aws-ec2-metadata-token", &token(client).await);
    client.send("GET", &format!("/latest/{path}"), &with, "").await.unwrap().body
}

/// A client with the credentials of its instance.
async fn with_role(client: &Client) -> Client {
    let role = metadata(client, "meta-data/iam/security-credentials/").await;
    let text = metadata(client, &format!("meta-data/iam/security-credentials/{role}")).await;
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let field = |name: &str| value[name].as_str().unwrap().to_owned();
    let credentials =
        Credentials { access_key: field("AccessKeyId"), secret_key: field("SecretAccessKey") };
    Client { credentials, token: Some(field("Token")), ..client.clone() }
}

#[tokio::test]
async fn metadata_needs_a_token_of_the_same_instance() {
    let (sim, client) = start().await;
    let path = "/latest/meta-data/instance-id";
    assert_eq!(client.plain("GET", path, "").await.status, 401);
    assert_eq!(client.plain("PUT", "/latest/api/token", "").await.status, 400);
    let foreign = headers("x-aws-ec2-metadata-token", &token(&Client::new(&sim, THERE)).await);
    assert_eq!(client.send("GET", path, &foreign, "").await.unwrap().status, 401);
    assert_eq!(metadata(&client, "meta-data/instance-id").await, HERE);
    assert_eq!(metadata(&client, "meta-data/placement/availability-zone").await, ZONE);
    assert!(
        metadata(&client, "dynamic/instance-identity/document").await.contains("\"us-east-1\"")
    );
}

#[tokio::test]
async fn credentials_of_an_instance_are_good_until_they_expire() {
    let (sim, client) = start().await;
    let own = with_role(&client).await;
    own.ok("DescribeVolumes", &[]).await;
    let sts = Client { service: "sts".to_owned(), ..own.clone() };
    let who = sts.ok("GetCallerIdentity", &[]).await;
    assert!(who.get("Arn").ends_with(HERE), "{}", who.body);
    let no_token = Client { token: None, ..own.clone() };
    assert_eq!(no_token.refused("DescribeVolumes", &[]).await, (401, "AuthFailure".to_owned()));
    sim.inject(Fault::new(Effect::ExpireCredentials).times(1));
    assert_eq!(own.refused("DescribeVolumes", &[]).await, (400, "RequestExpired".to_owned()));
    assert_eq!(sts.refused("GetCallerIdentity", &[]).await, (403, "ExpiredToken".to_owned()));
    let fresh = with_role(&client).await;
    assert_ne!(fresh.credentials.access_key, own.credentials.access_key);
    fresh.ok("DescribeVolumes", &[]).await;
}

#[tokio::test]
async fn what_is_not_signed_well_is_refused() {
    let (sim, client) = start().await;
    let unsigned = client.plain("POST", "/", "Action=DescribeVolumes&Version=2016-11-15").await;
    assert_eq!(unsigned.error(), (403, "MissingAuthenticationToken"));
    let with = |access_key: &str, secret_key: &str| Client {
        credentials: Credentials { access_key: access_key.into(), secret_key: secret_key.into() },
        ..client.clone()
    };
    let own = Credentials::default();
    let stranger = with("AKIASTRANGER", &own.secret_key);
    assert_eq!(stranger.refused("DescribeVolumes", &[]).await, (401, "AuthFailure".to_owned()));
    let sts = Client { service: "sts".to_owned(), ..stranger };
    assert_eq!(sts.refused("GetCallerIdentity", &[]).await.1, "InvalidClientTokenId");
    let forger = with(&own.access_key, "wrong");
    assert_eq!(forger.refused("DescribeVolumes", &[]).await.1, "SignatureDoesNotMatch");
    let s3 = Client { service: "s3".to_owned(), ..client.clone() };
    assert_eq!(s3.refused("DescribeVolumes", &[]).await.1, "SignatureDoesNotMatch");
    for ahead in [-6 * 60_000, 6 * 60_000] {
        let skewed = Client { ahead, ..client.clone() };
        assert_eq!(skewed.refused("DescribeVolumes", &[]).await.1, "RequestExpired");
    }
    Client { ahead: 4 * 60_000, ..client.clone() }.ok("DescribeVolumes", &[]).await;
    sim.inject(Fault::new(Effect::ClockSkew { ms: 15 * 60_000 }).times(1));
    assert_eq!(client.refused("DescribeVolumes", &[]).await.1, "RequestExpired");
    client.ok("DescribeVolumes", &[]).await;
}

#[tokio::test]
async fn the_metadata_service_can_be_down_old_or_off() {
    let (sim, client) = start().await;
    let path = "/latest/meta-data/instance-id";
    sim.inject(Fault::new(Effect::ImdsDown));
    assert!(client.send("GET", path, &[], "").await.is_none());
    sim.clear_faults();
    sim.inject(Fault::new(Effect::ImdsV1Only));
    assert_eq!(client.plain("PUT", "/latest/api/token", "").await.status, 405);
    assert_eq!(client.plain("GET", path, "").await.body, HERE);
    sim.clear_faults();
    sim.inject(Fault::new(Effect::ImdsDisabled).of(HERE));
    assert_eq!(client.plain("GET", path, "").await.status, 403);
    assert_eq!(metadata(&Client::new(&sim, THERE), "meta-data/instance-id").await, THERE);
}
