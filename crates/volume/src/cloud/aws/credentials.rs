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
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

/// Keys are fetched anew when they have less than this left.
const EARLY: Duration = Duration::from_secs(300);
/// Keys that have less than this left are not used any more.
const LATE: Duration = Duration::from_secs(15);
/// How long it is left at that, when new keys are not to be had and the old ones do.
const AGAIN: Duration = Duration::from_secs(30);

/// The keys of an account.
pub(super) struct Keys(Arc<Inner>);

struct Inner {
    settings: Settings,
    chain: OnceCell<DefaultCredentialsChain>,
    at_hand: std::sync::Mutex<Option<Credentials>>,
    /// Held while keys are fetched: when there were none to be had last, and why.
    fetching: Arc<Mutex<Option<(Instant, Error)>>>,
}

impl Keys {
    pub(super) fn new(settings: Settings) -> Self {
        let (chain, at_hand) = (OnceCell::new(), std::sync::Mutex::default());
        Self(Arc::new(Inner { settings, chain, at_hand, fetching: Arc::default() }))
    }

    /// Keys that hold for a while. Nobody waits for new ones as long as the old ones do.
    pub(super) async fn get(&self, region: &str) -> Result<Credentials> {
        let settings = &self.0.settings;
        if let (Some(id), Some(secret)) = (&settings.access_key, &settings.secret_key) {
            let token = settings.session_token.clone();
            return Ok(Credentials::new(id, secret, token, None, "configuration"));
        }
        let came = Instant::now();
        if let Some(keys) = self.0.find(LATE) {
            if self.0.find(EARLY).is_none() {
                self.fetch_meanwhile(region);
            }
            return Ok(keys);
        }
        let mut failed = self.0.fetching.lock().await;
        // Somebody else may have fetched them, or have been told that there are none.
        if let Some(keys) = self.0.find(LATE) {
            return Ok(keys);
        }
        match failed.as_ref().filter(|(at, _)| *at > came) {
            Some((_, error)) => Err(same(error)),
            None => self.0.fetch(region, &mut failed).await,
        }
    }

    fn fetch_meanwhile(&self, region: &str) {
        let Ok(mut failed) = Arc::clone(&self.0.fetching).try_lock_owned() else { return };
        if failed.as_ref().is_some_and(|(at, _)| at.elapsed() < AGAIN) {
            return;
        }
        let (inner, region) = (Arc::clone(&self.0), region.to_owned());
        tokio::spawn(async move {
            if let Err(error) = inner.fetch(&region, &mut failed).await {
                tracing::warn!(%error, "AWS credentials not renewed; using the old ones");
            }
        });
    }

    /// Forgets the keys at hand: AWS does not take them.
    pub(super) fn forget(&self) {
        *self.0.at_hand.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Inner {
    /// The keys at hand, if they hold for longer than `left`.
    fn find(&self, left: Duration) -> Option<Credentials> {
        let end = SystemTime::now() + left;
        let at_hand = self.at_hand.lock().unwrap_or_else(PoisonError::into_inner);
        at_hand.as_ref().filter(|keys| keys.expiry().is_none_or(|expiry| expiry > end)).cloned()
    }

    async fn fetch(
        &self,
        region: &str,
        failed: &mut Option<(Instant, Error)>,
    ) -> Result<Credentials> {
        let chain = self.chain.get_or_init(|| chain(&self.settings, region)).await;
        match chain.provide_credentials().await {
            Ok(keys) => {
                let mut at_hand = self.at_hand.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(at_hand.insert(keys).clone())
            }
            Err(failure) => {
                let error = none(failure);
                *failed = Some((Instant::now(), same(&error)));
                Err(error)
            }
        }
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
