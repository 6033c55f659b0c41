//! One call of a Query API: signed, sent, repeated as far as that is harmless, and its answer read.

use super::backoff::Backoff;
use super::credentials::Keys;
use super::fault::Fault;
use super::form::Form;
use super::identity::{self, Identity};
use super::limiter::Limiter;
use super::merge::same;
use super::partition;
use super::patience::Patience;
use super::settings::Settings;
use crate::metrics::Calls;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use error::{Error, Result};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// How long one attempt may take, with its body.
const ATTEMPT: Duration = Duration::from_secs(20);
const CONNECT: Duration = Duration::from_secs(5);
/// How long a call that only looks may take with all its attempts; less than a lookup's deadline.
const LOOK: Duration = Duration::from_secs(45);
/// How long a call that changes something may take with all its attempts.
const CHANGE: Duration = Duration::from_secs(100);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Attempts that fail otherwise than by throttling; those are bounded by time alone.
const ATTEMPTS: u32 = 8;
/// The longest answer that is read, in bytes; a page of 1,000 volumes is some 2 MiB.
const LONGEST: usize = 64 << 20;
/// A clock that is off by more is corrected for; AWS takes five minutes.
const SKEW: i64 = 120;
/// Of EC2's API.
const VERSION: &str = "2016-11-15";
const CONTENT_TYPE: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// What may be done about a call whose answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It only looks: make it again.
    Look,
    /// Making it twice is as good as once: make it again.
    Harmless,
    /// Made twice it would do twice: only its caller can find out.
    Never,
}

/// A client of the account.
pub struct Client {
    settings: Settings,
    keys: Keys,
    identity: OnceCell<Identity>,
    /// When it was last found out that this cannot be known, and why.
    unknown: tokio::sync::Mutex<Option<(Instant, Error)>>,
    http: OnceCell<reqwest::Client>,
    limiter: Limiter,
    /// Seconds that AWS's clock was ahead of this machine's at its last answer.
    ahead: AtomicI64,
    /// The part of it that signatures are corrected for: none as long as AWS takes them.
    corrected: AtomicI64,
    calls: Calls,
}

/// Why an attempt failed.
enum Failure {
    /// AWS refused it.
    Refused(Fault),
    /// It never got there: nothing was done.
    Unsent(reqwest::Error),
    /// It was sent, and the answer is lost.
    Lost(String),
}

impl Client {
    /// A client that counts its calls in `calls`; nothing is contacted yet.
    #[must_use]
    pub fn new(settings: Settings, calls: Calls) -> Self {
        Self {
            keys: Keys::new(settings.clone()),
            settings,
            identity: OnceCell::new(),
            unknown: tokio::sync::Mutex::default(),
            http: OnceCell::new(),
            limiter: Limiter::default(),
            ahead: AtomicI64::new(0),
            corrected: AtomicI64::new(0),
            calls,
        }
    }

    /// Who this machine is. Asked once; those who ask while nobody answers hear of it together, and
    /// the next one to come asks again.
    pub async fn identity(&self) -> Result<&Identity> {
        if let Some(known) = self.identity.get() {
            return Ok(known);
        }
        let came = Instant::now();
        let mut unknown = self.unknown.lock().await;
        match unknown.as_ref().filter(|(at, _)| *at > came) {
            Some((_, error)) if self.identity.get().is_none() => return Err(same(error)),
            _ => {}
        }
        let asked = self.identity.get_or_try_init(|| identity::ask(&self.settings)).await;
        asked.inspect_err(|error| *unknown = Some((Instant::now(), same(error))))
    }

    /// The region in which calls are made.
    pub async fn region(&self) -> Result<String> {
        match &self.settings.region {
            Some(region) => Ok(region.clone()),
            None => Ok(self.identity().await?.region.clone()),
        }
    }

    /// The directory of links to this machine's disks, where a simulator tells it.
    pub async fn simulated_devices(&self) -> Result<Option<String>> {
        identity::devices(&self.settings).await
    }

    /// The time by AWS's clock, whatever this machine's says.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let ahead = SignedDuration::from_secs(self.ahead.load(Ordering::Relaxed));
        Timestamp::now().saturating_add(ahead).unwrap_or(Timestamp::MAX)
    }

    /// The same account in another region.
    #[must_use]
    pub fn in_region(&self, region: &str) -> Self {
        let settings = Settings { region: Some(region.to_owned()), ..self.settings.clone() };
        Self::new(settings, self.calls.clone())
    }

    /// Calls `action` of EC2 and reads its answer.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        action: &'static str,
        form: &Form,
        repeat: Repeat,
    ) -> Result<T> {
        read_answer(action, &self.answer(action, form, repeat).await?)
    }

    /// As [`call`](Self::call), but leaves it to the caller to [read](read_answer) the answer.
    pub(super) async fn answer(
        &self,
        action: &'static str,
        form: &Form,
        repeat: Repeat,
    ) -> Result<String> {
        let body = form.encode(action, VERSION);
        // On the heap: the futures of callers are deep enough.
        Box::pin(self.text(action, &|| body.clone(), repeat)).await
    }

    /// As [`call`](Self::call), but what is asked for is only settled when the call is sent, however
    /// long it was held back; asked again, `form` must answer the same.
    pub(super) async fn call_late<T: DeserializeOwned>(
        &self,
        action: &'static str,
        form: &(dyn Fn() -> Form + Sync),
        repeat: Repeat,
    ) -> Result<T> {
        let body = || form().encode(action, VERSION);
        read_answer(action, &Box::pin(self.text(action, &body, repeat)).await?)
    }

    async fn text(
        &self,
        action: &'static str,
        body: &(dyn Fn() -> String + Sync),
        repeat: Repeat,
    ) -> Result<String> {
        let within = if repeat == Repeat::Look { LOOK } else { CHANGE };
        let patience = self.settings.patience;
        let (first, longest) = (patience.at_most(FIRST_PAUSE), patience.at_most(LONGEST_PAUSE));
        let mut backoff = Backoff::new(first, longest, patience.at_most(within));
        let (mut attempts, mut renewed, mut last) = (0, false, None::<Failure>);
        loop {
            let Some(held_back) = self.limiter.turn(action, backoff.left()).await else {
                return Err(last.map_or_else(|| crowded(action), |last| last.error(action)));
            };
            self.calls.held_back(action, held_back);
            let answer = self.attempt(body(), backoff.left()).await?;
            self.calls.count(action, answer.as_ref().err().map_or("ok", Failure::outcome));
            let failure = match answer {
                Ok(text) => {
                    self.limiter.taken(action);
                    return Ok(text);
                }
                Err(failure) => failure,
            };
            let again = match &failure {
                Failure::Refused(fault) if fault.is_throttling() => {
                    self.limiter.complained(action);
                    true
                }
                Failure::Refused(fault) if fault.is_stale() && !renewed => {
                    renewed = true;
                    self.renew().await;
                    continue;
                }
                Failure::Refused(fault) => {
                    attempts += 1;
                    // It may have been done all the same.
                    fault.is_transient() && repeat != Repeat::Never && attempts < ATTEMPTS
                }
                Failure::Unsent(_) => {
                    attempts += 1;
                    attempts < ATTEMPTS
                }
                Failure::Lost(_) => {
                    attempts += 1;
                    repeat != Repeat::Never && attempts < ATTEMPTS
                }
            };
            if !again || !backoff.pause().await {
                return Err(failure.error(action));
            }
            last = Some(failure);
        }
    }

    /// AWS does not take the keys, or not the time: fetches both anew.
    async fn renew(&self) {
        self.keys.forget();
        let ahead = self.ahead.load(Ordering::Relaxed);
        let ahead = if ahead.abs() < SKEW { 0 } else { ahead };
        if self.corrected.swap(ahead, Ordering::Relaxed) != ahead {
            tracing::warn!(seconds = -ahead, "this machine's clock is ahead of AWS's by so much");
        }
    }

    /// One attempt. The outer error is one that no further attempt would mend.
    async fn attempt(&self, body: String, left: Duration) -> Result<Result<String, Failure>> {
        let region = self.region().await?;
        let keys = self.keys.get(&region).await?;
        let endpoint = match &self.settings.endpoint {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => partition::endpoint("ec2", &region, self.settings.fips),
        };
        let url = format!("{endpoint}/");
        let headers = self.signed(&url, &keys, &region, &body)?;
        let patience = self.settings.patience;
        let http = self.http.get_or_try_init(async || client(patience)).await?;
        // Not much longer than there is time for all attempts.
        let within = patience.at_most(ATTEMPT).min(left + patience.at_most(CONNECT));
        let mut request = http.post(&url).timeout(within).body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        Ok(self.send(request).await)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<String, Failure> {
        let response = request.send().await.map_err(|failure| match failure.is_connect() {
            true => Failure::Unsent(failure),
            false => Failure::Lost(reason(&failure)),
        })?;
        let date = response.headers().get("date").and_then(|date| date.to_str().ok());
        if let Some(date) = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) {
            let ahead = date.timestamp().duration_since(Timestamp::now()).as_secs();
            self.ahead.store(ahead, Ordering::Relaxed);
        }
        read(response).await
    }

    fn signed(
        &self,
        url: &str,
        keys: &Credentials,
        region: &str,
        body: &str,
    ) -> Result<Vec<(String, String)>> {
        let fail = |failure: Box<dyn std::error::Error + Send + Sync>| {
            Error::internal("a call of AWS cannot be signed").because(failure)
        };
        let identity = keys.clone().into();
        let ahead = self.corrected.load(Ordering::Relaxed);
        let now = SystemTime::now();
        let shift = Duration::from_secs(ahead.unsigned_abs());
        let time = if ahead < 0 { now - shift } else { now + shift };
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name("ec2")
            .time(time)
            .settings(SigningSettings::default())
            .build()
            .map_err(|failure| fail(failure.into()))?;
        let headers = [("content-type", CONTENT_TYPE)];
        let request = SignableRequest::new(
            "POST",
            url,
            headers.into_iter(),
            SignableBody::Bytes(body.as_bytes()),
        )
        .map_err(|failure| fail(failure.into()))?;
        let (signed, _) =
            sign(request, &parameters.into()).map_err(|failure| fail(failure.into()))?.into_parts();
        let all = signed.headers().chain(headers);
        Ok(all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// Reads the answer to `action`.
pub(super) fn read_answer<T: DeserializeOwned>(action: &str, text: &str) -> Result<T> {
    quick_xml::de::from_str(text).map_err(|failure| {
        Error::unavailable(format!(
            "the answer of AWS to {action} cannot be read; is there a proxy in between? Try again"
        ))
        .with(LOST, true)
        .because(failure)
    })
}

async fn read(mut response: reqwest::Response) -> Result<String, Failure> {
    let status = response.status();
    let told = response.content_length().and_then(|length| usize::try_from(length).ok());
    let mut bytes = Vec::with_capacity(told.unwrap_or(0).min(LONGEST));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() <= LONGEST => {
                bytes.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => return Err(Failure::Lost(format!("it has more than {LONGEST} bytes"))),
            Ok(None) => break,
            Err(failure) => return Err(Failure::Lost(reason(&failure))),
        }
    }
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|broken| String::from_utf8_lossy(broken.as_bytes()).into_owned());
    if status.is_success() {
        return Ok(text);
    }
    Err(Failure::Refused(Fault::parse(status.as_u16(), &text)))
}

/// The innermost reason.
fn reason(failure: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = failure;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

impl Failure {
    /// What it is counted as.
    fn outcome(&self) -> &'static str {
        match self {
            Self::Refused(fault) if fault.is_throttling() => "throttled",
            // What AWS answers when it was only asked whether it would.
            Self::Refused(fault) if fault.code == "DryRunOperation" => "ok",
            Self::Refused(fault) => fault.kind().name(),
            Self::Unsent(_) => "unsent",
            Self::Lost(_) => "lost",
        }
    }

    fn error(self, action: &str) -> Error {
        match self {
            Self::Refused(fault) if fault.is_transient() => fault.error(action).with(LOST, true),
            Self::Refused(fault) => fault.error(action),
            Self::Unsent(failure) => Error::unavailable(format!(
                "AWS cannot be reached for {action} ({}); check the network, the proxy and the \
                 service's region and endpoint",
                reason(&failure)
            )),
            Self::Lost(why) => Error::unavailable(format!(
                "the answer of AWS to {action} was lost ({why}); it may have been done; try again"
            ))
            .with(LOST, true),
        }
    }
}

/// The context pair of an error about a call that may have been done.
const LOST: &str = "lost";

/// Whether it is not known if the call was done.
pub(super) fn is_lost(error: &Error) -> bool {
    error.context().iter().any(|(key, _)| *key == LOST)
}

fn crowded(action: &str) -> Error {
    Error::unavailable(format!(
        "AWS complains of too many calls of {action}, and too many wait already; try again later"
    ))
}

fn client(patience: Patience) -> Result<reqwest::Client> {
    // The second time it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .connect_timeout(patience.at_most(CONNECT))
        .pool_idle_timeout(Duration::from_secs(20))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("mobula/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|failure| Error::internal("no HTTP client for AWS").because(failure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::OnceLock;

    #[tokio::test(start_paused = true)]
    async fn what_a_late_call_asks_for_is_settled_when_its_turn_comes() {
        let key = || Some("key".to_owned());
        let settings = Settings {
            region: Some("us-east-1".to_owned()),
            endpoint: Some("http://127.0.0.1:1".to_owned()),
            access_key: key(),
            secret_key: key(),
            ..Settings::default()
        };
        let client = Client::new(settings, Calls::default());
        client.limiter.complained("A");
        // Those before it: ten of them in a second.
        for _ in 0..10 {
            let limiter = &client.limiter;
            let _ = tokio::time::timeout(Duration::ZERO, limiter.turn("A", LOOK)).await;
        }
        let (came, settled) = (Instant::now(), OnceLock::new());
        let form = || {
            let _ = settled.set(came.elapsed());
            Form::default()
        };
        let called: Result<super::super::shapes::Nothing> =
            client.call_late("A", &form, Repeat::Never).await;
        assert_eq!(called.expect_err("nobody is there").kind(), error::Kind::Unavailable);
        let settled = settled.get().copied().unwrap_or_default();
        assert!(settled >= Duration::from_millis(900), "{settled:?}");
    }
}
