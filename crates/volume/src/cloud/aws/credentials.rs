//! The keys that calls are signed with: given ones, or AWS's whole chain (environment, profiles,
//! SSO, web identity, containers, instance metadata), kept until shortly before they run out.

use super::merge::same;
use super::settings::Settings;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::region::Region;
use error::{Error, Result};
use std::time::{Duration, SystemTime};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

/// Keys are fetched anew when they have less than this left.
const EARLY: Duration = Duration::from_secs(300);

/// The keys of an account.
pub(super) struct Keys {
    settings: Settings,
    chain: OnceCell<DefaultCredentialsChain>,
    current: Mutex<Current>,
}

/// What is at hand.
#[derive(Default)]
struct Current {
    keys: Option<Credentials>,
    /// When there were none to be had, and why.
    none: Option<(Instant, Error)>,
}

impl Keys {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, chain: OnceCell::new(), current: Mutex::default() }
    }

    /// Keys that hold for a while.
    pub(super) async fn get(&self, region: &str) -> Result<Credentials> {
        if let (Some(id), Some(secret)) = (&self.settings.access_key, &self.settings.secret_key) {
            let token = self.settings.session_token.clone();
            return Ok(Credentials::new(id, secret, token, None, "configuration"));
        }
        let came = Instant::now();
        let mut current = self.current.lock().await;
        let now = SystemTime::now();
        let lasts = |keys: &&Credentials| keys.expiry().is_none_or(|end| end > now + EARLY);
        if let Some(keys) = current.keys.as_ref().filter(lasts) {
            return Ok(keys.clone());
        }
        // Those who waited while somebody else was told that there are none need not ask, too.
        if let Some((_, error)) = current.none.as_ref().filter(|(at, _)| *at > came) {
            return Err(same(error));
        }
        let chain = self.chain.get_or_init(|| chain(&self.settings, region)).await;
        match chain.provide_credentials().await {
            Ok(keys) => Ok(current.keys.insert(keys).clone()),
            // Those at hand may still do; AWS will tell.
            Err(failure) => match current.keys.as_ref().filter(|keys| keys.expiry() > Some(now)) {
                Some(keys) => {
                    tracing::warn!(%failure, "AWS credentials not renewed; using the old ones");
                    Ok(keys.clone())
                }
                None => {
                    let error = none(failure);
                    current.none = Some((Instant::now(), same(&error)));
                    Err(error)
                }
            },
        }
    }

    /// Forgets the keys at hand: AWS does not take them.
    pub(super) async fn forget(&self) {
        self.current.lock().await.keys = None;
    }
}

fn none(failure: aws_credential_types::provider::error::CredentialsError) -> Error {
    Error::unauthenticated(
        "no AWS credentials: give accessKey and secretKey, a profile, variables (AWS_ACCESS_KEY_ID \
         …), or give the instance a role; in a container on EC2 the metadata service must allow two \
         hops (aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2)",
    )
    .because(failure)
}

async fn chain(settings: &Settings, region: &str) -> DefaultCredentialsChain {
    let region = Region::new(region.to_owned());
    let config = configuration().with_region(Some(region.clone()));
    let builder = DefaultCredentialsChain::builder().region(region).configure(config);
    let builder = match &settings.profile {
        Some(profile) => builder.profile_name(profile),
        None => builder,
    };
    let builder = match super::identity::metadata(settings) {
        Ok(client) => builder.imds_client(client),
        Err(_) => builder,
    };
    builder.build().await
}

/// How AWS's own crates reach services: TLS by rustls with ring.
pub(super) fn configuration() -> ProviderConfig {
    let config = ProviderConfig::without_region().with_http_client(http());
    config.with_use_fips(None)
}

fn http() -> SharedHttpClient {
    let tls = Provider::Rustls(CryptoMode::Ring);
    aws_smithy_http_client::Builder::new().tls_provider(tls).build_https()
}
