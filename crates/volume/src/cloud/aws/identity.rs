//! Who this machine is: its instance document, from the metadata service (IMDSv2 only), or as the
//! configuration says.

use super::credentials::configuration;
use super::settings::Settings;
use aws_config::imds::Client;
use aws_config::imds::client::error::ImdsError;
use error::{Error, Result};
use serde::Deserialize;
use std::time::Duration;

/// This machine, as EC2 knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Instance ID.
    pub instance: String,
    /// Availability zone.
    pub zone: String,
    /// Region.
    pub region: String,
    /// Outpost's ARN, for an instance on one.
    pub outpost: Option<String>,
}

/// The part of the instance identity document that matters here.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html>
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    instance_id: String,
    availability_zone: String,
    region: String,
}

/// How long the metadata service may take with all attempts.
const LONGEST: Duration = Duration::from_secs(10);
const DOCUMENT: &str = "/latest/dynamic/instance-identity/document";
const OUTPOST: &str = "/latest/meta-data/outpost-arn";
/// Where the simulator tells the directory of an instance's disks.
const DEVICES: &str = "/latest/meta-data/mobula/devices";

/// A client of the metadata service; nothing is asked yet.
pub(super) fn metadata(settings: &Settings) -> Result<Client> {
    let builder = Client::builder().configure(&configuration());
    // Its answers come from the machine itself: not much shorter when everything else is.
    let within = settings.patience.at_most(LONGEST * 4).min(LONGEST);
    let builder = builder.operation_timeout(within).max_attempts(3);
    let Some(endpoint) = &settings.metadata else { return Ok(builder.build()) };
    let builder = builder.endpoint(endpoint).map_err(|failure| {
        Error::invalid_argument(format!("metadata: \"{endpoint}\" is no address; give a URL"))
            .because(failure)
    })?;
    Ok(builder.build())
}

/// Asks who this machine is.
pub(super) async fn ask(settings: &Settings) -> Result<Identity> {
    if let (Some(instance), Some(zone)) = (&settings.instance, &settings.zone) {
        let region = settings.region.clone().unwrap_or_else(|| region_of(zone));
        let (instance, zone) = (instance.clone(), zone.clone());
        return Ok(Identity { instance, zone, region, outpost: None });
    }
    let client = metadata(settings)?;
    let text = client.get(DOCUMENT).await.map_err(|failure| unreachable(&failure, settings))?;
    let document: Document = serde_json::from_str(text.as_ref()).map_err(|failure| {
        Error::unavailable("the metadata service's instance document cannot be read")
            .because(failure)
    })?;
    let outpost = client.get(OUTPOST).await.ok().map(String::from).filter(|arn| !arn.is_empty());
    Ok(Identity {
        instance: settings.instance.clone().unwrap_or(document.instance_id),
        zone: settings.zone.clone().unwrap_or(document.availability_zone),
        region: settings.region.clone().unwrap_or(document.region),
        outpost,
    })
}

/// The directory of links to this instance's disks, where a simulator tells it. AWS's own service,
/// which is the one that is asked when nothing else is said, tells none.
pub(super) async fn devices(settings: &Settings) -> Result<Option<String>> {
    if settings.metadata.is_none() {
        return Ok(None);
    }
    match metadata(settings)?.get(DEVICES).await {
        Ok(text) => {
            let directory = text.as_ref().trim();
            Ok(directory.starts_with('/').then(|| directory.to_owned()))
        }
        Err(ImdsError::ErrorResponse(_)) => Ok(None),
        Err(failure) => Err(unreachable(&failure, settings)),
    }
}

/// `eu-central-1a` → `eu-central-1`; a local zone (`us-west-2-lax-1a`) → `us-west-2`.
fn region_of(zone: &str) -> String {
    let mut parts = zone.split('-').collect::<Vec<_>>();
    let is_number = |part: &&str| part.starts_with(|c: char| c.is_ascii_digit());
    if let Some(at) = parts.iter().position(is_number) {
        parts.truncate(at + 1);
    }
    parts.join("-").trim_end_matches(|c: char| c.is_ascii_lowercase()).to_owned()
}

fn unreachable(failure: &ImdsError, settings: &Settings) -> Error {
    let (what, way_out) = match failure {
        ImdsError::FailedToLoadToken(_) => (
            "gave no token",
            "is it enabled for this instance (aws ec2 modify-instance-metadata-options \
             --http-endpoint enabled)? In a container its answers must be allowed two hops (… \
             --http-put-response-hop-limit 2).",
        ),
        ImdsError::ErrorResponse(_) => ("refuses", "is it enabled for this instance?"),
        _ => ("does not answer", "is this machine an EC2 instance?"),
    };
    // A simulator's, or one that is configured.
    let at = settings.metadata.as_ref();
    let at = at.map(|url| format!(" at {url} (option simulator or metadata)")).unwrap_or_default();
    Error::unavailable(format!(
        "it is not known which instance this is: the metadata service{at} {what}; {way_out} Otherwise \
         set instance and zone in the service's options"
    ))
    .because(aws_error(failure))
}

/// The innermost reason; AWS's own chains say the same thing several times.
fn aws_error(failure: &ImdsError) -> String {
    let mut innermost: &dyn std::error::Error = failure;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_tells_its_region() {
        for (zone, region) in [
            ("eu-central-1a", "eu-central-1"),
            ("us-gov-west-1b", "us-gov-west-1"),
            ("us-west-2-lax-1a", "us-west-2"),
        ] {
            assert_eq!(region_of(zone), region);
        }
    }

    #[tokio::test]
    async fn a_machine_that_is_told_who_it_is_asks_nobody() {
        let settings = Settings {
            instance: Some("i-1".to_owned()),
            zone: Some("eu-west-1b".to_owned()),
            metadata: Some("http://127.0.0.1:1".to_owned()),
            ..Settings::default()
        };
        let identity = ask(&settings).await.expect("known");
        assert_eq!((identity.region.as_str(), identity.zone.as_str()), ("eu-west-1", "eu-west-1b"));
    }

    #[tokio::test]
    async fn a_metadata_service_that_is_not_there_is_an_error_with_the_way_out() {
        let metadata = Some("http://127.0.0.1:1".to_owned());
        let settings = Settings { metadata, ..Settings::default() };
        let error = ask(&settings).await.expect_err("nobody there");
        assert_eq!(error.kind(), error::Kind::Unavailable);
        assert!(error.message().contains("set instance and zone"), "{error}");
    }
}
