//! The metadata service of an instance, with tokens
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>).

use crate::api::{Reply, Request};
use crate::config::zone_id;
use crate::core::Core;
use crate::credentials::ROLE;
use crate::fault::{About, Effect};
use crate::timestamp;
use crate::world::instance::IMAGE;
use serde_json::json;
use std::collections::BTreeMap;

/// The longest that a token lasts, in seconds.
const LONGEST: u64 = 21600;
pub(crate) const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";

/// The tokens that were handed out: whose, and until when.
#[derive(Debug, Default)]
pub(crate) struct Tokens(BTreeMap<String, (String, u64)>);

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Served {
    Answer(Reply),
    /// The connection is closed.
    Closed,
    /// No answer ever comes.
    Silence,
}

fn reply(status: u16, body: impl Into<String>) -> Served {
    Served::Answer(Reply::new(status, body))
}

/// Serves a request for a path below `/latest`.
pub(crate) fn serve(core: &mut Core, request: &Request) -> Served {
    let about = About {
        action: &request.path,
        instances: vec![&request.instance],
        volumes: Vec::new(),
        imds: true,
    };
    let effects: Vec<_> = core.faults.draw(&about).into_iter().map(|(_, effect)| effect).collect();
    if effects.contains(&Effect::ImdsDown) {
        return Served::Closed;
    }
    if effects.contains(&Effect::ImdsDisabled) {
        return reply(403, "Forbidden");
    }
    let first_version = effects.contains(&Effect::ImdsV1Only);
    if request.path == "/latest/api/token" {
        return match request.method.as_str() {
            "PUT" if effects.contains(&Effect::HopLimit) => Served::Silence,
            "PUT" if !first_version => new_token(core, request),
            _ => reply(405, "Method Not Allowed"),
        };
    }
    if request.method != "GET" {
        return reply(405, "Method Not Allowed");
    }
    if !first_version && !is_allowed(core, request) {
        return reply(401, "Unauthorized");
    }
    match get(core, &request.instance, &request.path) {
        Some(body) => reply(200, body),
        None => reply(404, "Not Found"),
    }
}

/// A token for as long as the header says. A request that came through a proxy gets none.
fn new_token(core: &mut Core, request: &Request) -> Served {
    if request.header("x-forwarded-for").is_some() {
        return reply(403, "Forbidden");
    }
    let seconds = request.header(TTL).and_then(|text| text.parse::<u64>().ok());
    let Some(seconds) = seconds.filter(|seconds| (1..=LONGEST).contains(seconds)) else {
        return reply(400, "Bad Request");
    };
    let token = format!("AQAE{}==", uuid::Uuid::new_v4().simple());
    let until = core.now() + seconds * 1000;
    core.tokens.0.insert(token.clone(), (request.instance.clone(), until));
    Served::Answer(Reply { lasts: Some(seconds), ..Reply::new(200, token) })
}

fn is_allowed(core: &Core, request: &Request) -> bool {
    let known = request.header(TOKEN).and_then(|token| core.tokens.0.get(token));
    known.is_some_and(|(instance, until)| *instance == request.instance && *until > core.now())
}

/// What is at `path`; a directory lists what is in it.
fn get(core: &mut Core, id: &str, path: &str) -> Option<String> {
    let instance = core.world.instances.get(id)?.clone();
    let path = path.strip_prefix("/latest")?.trim_end_matches('/');
    let role = format!("/meta-data/iam/security-credentials/{ROLE}");
    if path == role {
        return Some(credentials(core, id));
    }
    Some(match path {
        "" => "dynamic\nmeta-data".to_owned(),
        "/meta-data" => {
            "iam/\ninstance-id\ninstance-type\nlocal-ipv4\nmobula/\nplacement/\nservices/"
                .to_owned()
        }
        "/meta-data/instance-id" => instance.id,
        "/meta-data/instance-type" => instance.kind,
        "/meta-data/local-ipv4" => "127.0.0.1".to_owned(),
        "/meta-data/placement" => "availability-zone\navailability-zone-id\nregion".to_owned(),
        "/meta-data/placement/availability-zone-id" => zone_id(&instance.zone),
        "/meta-data/placement/availability-zone" => instance.zone,
        "/meta-data/placement/region" => instance.region,
        "/meta-data/services/domain" => "amazonaws.com".to_owned(),
        "/meta-data/services/partition" => "aws".to_owned(),
        "/meta-data/iam" => "info\nsecurity-credentials/".to_owned(),
        "/meta-data/iam/security-credentials" => ROLE.to_owned(),
        "/meta-data/mobula" => "devices".to_owned(),
        "/meta-data/mobula/devices" => links(core, id)?,
        "/dynamic" => "instance-identity/".to_owned(),
        "/dynamic/instance-identity" => "document".to_owned(),
        "/dynamic/instance-identity/document" => document(core, id)?,
        _ => return None,
    })
}

fn links(core: &Core, id: &str) -> Option<String> {
    let links = core.links(id).inspect_err(|error| tracing::error!(%error, "no links"));
    Some(links.ok()??.display().to_string())
}

fn credentials(core: &mut Core, id: &str) -> String {
    // By the clock that signatures are checked with: time that was skipped does not end them.
    let now = core.signing_clock(0);
    let issue = core.issued.of(id, now);
    let value = json!({
        "Code": "Success",
        "LastUpdated": timestamp::seconds(issue.issued),
        "Type": "AWS-HMAC",
        "AccessKeyId": issue.access_key,
        "SecretAccessKey": issue.secret_key,
        "Token": issue.token,
        "Expiration": timestamp::seconds(issue.expires),
    });
    format!("{value:#}")
}

fn document(core: &Core, id: &str) -> Option<String> {
    let instance = core.world.instances.get(id)?;
    let value = json!({
        "accountId": core.config.account,
        "architecture": "x86_64",
        "availabilityZone": instance.zone,
        "imageId": IMAGE,
        "instanceId": instance.id,
        "instanceType": instance.kind,
        "pendingTime": timestamp::seconds(instance.launched),
        "privateIp": "127.0.0.1",
        "region": instance.region,
        "version": "2017-09-30",
    });
    Some(format!("{value:#}"))
}
