//! HTTP as registries need it: redirects that leak nothing, deadlines for silence rather than for
//! length, and errors in words. Knows nothing of registries' paths, tokens or manifests.

use super::leniency::{Leniency, Lenient};
use super::upload::Source;
use super::words;
use bytes::Bytes;
use error::{Error, IoContext, Result};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Certificate, Client, ClientBuilder, Method, Response, StatusCode, Url};
use std::future::Future;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// Redirects that are followed for one request.
const REDIRECTS: usize = 5;

/// How patient the client is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    /// Without a byte for so long, a connection counts as broken.
    pub stall: Duration,
    /// The pause before the second attempt; doubled before each further one.
    pub pause: Duration,
    /// Attempts in a row that may come to nothing.
    pub attempts: u32,
    /// The longest pause that a registry may ask for.
    pub longest_pause: Duration,
    /// Whether loopback may do without TLS and valid certificates.
    pub lenient_loopback: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(30),
            pause: Duration::from_millis(250),
            attempts: 5,
            longest_pause: Duration::from_secs(30),
            lenient_loopback: true,
        }
    }
}

impl Tuning {
    /// The pause after so many failures in a row.
    pub(super) fn pause_after(&self, failures: u32) -> Duration {
        let doubled = self.pause.saturating_mul(1 << failures.saturating_sub(1).min(10));
        doubled.min(self.longest_pause)
    }
}

/// A request that can be sent again.
#[derive(Debug)]
pub(super) struct Ask {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Headers besides `Authorization`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

/// A body that can be sent again.
#[derive(Debug)]
pub(super) enum Body {
    /// None.
    Empty,
    /// A small one.
    Bytes(Bytes),
    /// A blob of the store.
    Blob(Source),
}

impl Ask {
    /// A request without headers and body.
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Body::Empty }
    }

    /// GET.
    pub(super) fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// With a header.
    #[must_use]
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// With a body.
    #[must_use]
    pub(super) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

/// HTTP clients, one per degree of trust.
#[derive(Debug)]
pub(super) struct Transport {
    verified: Client,
    lenient: Client,
    local: Client,
    leniency: Leniency,
    pub(super) tuning: Tuning,
}

impl Transport {
    /// Clients that trust the system's roots and the PEM certificates in `certificates`.
    pub(super) fn new(
        leniency: Leniency,
        certificates: Option<&Path>,
        tuning: Tuning,
    ) -> Result<Self> {
        // Somebody else may have installed one; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let extra = certificates.map_or(Ok(Vec::new()), read_certificates)?;
        let unverified = || base().tls_danger_accept_invalid_certs(true);
        Ok(Self {
            verified: verified(&extra)?,
            lenient: build(unverified())?,
            // As in Go, a proxy has no business with loopback.
            local: build(unverified().no_proxy())?,
            leniency,
            tuning,
        })
    }

    /// How much the registry at `url` may do without.
    pub(super) async fn leniency(&self, url: &Url) -> Lenient {
        self.leniency.of(url).await
    }

    /// Sends `ask` once and follows redirects: never from https to http, and with `authorization`
    /// only to the host that it is meant for. Answers with the final response's head.
    pub(super) async fn send(
        &self,
        ask: &Ask,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response> {
        let mut url = ask.url.clone();
        let mut authorization = authorization;
        for _ in 0..=REDIRECTS {
            let response = self.exchange(ask, &url, authorization).await?;
            let Some(next) = redirection(&response, ask, &url)? else { return Ok(response) };
            authorization = authorization.filter(|_| is_same_server(&url, &next));
            url = next;
        }
        let host = words::host(&ask.url);
        Err(Error::failed_precondition(format!("{host} redirects more than {REDIRECTS} times")))
    }

    async fn exchange(
        &self,
        ask: &Ask,
        url: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response> {
        let client = match self.leniency(url).await {
            Lenient::No => &self.verified,
            Lenient::Listed => &self.lenient,
            Lenient::Loopback => &self.local,
        };
        let mut request =
            client.request(ask.method.clone(), url.clone()).headers(ask.headers.clone());
        if let Some(value) = authorization {
            request = request.header(reqwest::header::AUTHORIZATION, value.clone());
        }
        let sending = match &ask.body {
            Body::Empty => request.send(),
            Body::Bytes(bytes) => request.body(bytes.clone()).send(),
            // An upload has a deadline of its own, see `upload`.
            Body::Blob(source) => {
                let request = source.attach(request).await?;
                return request.send().await.map_err(|error| words::of(error, url));
            }
        };
        self.in_time(sending, url).await
    }

    /// The next bytes of a body; `None` at its end.
    pub(super) async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>> {
        let url = response.url().clone();
        self.in_time(response.chunk(), &url).await
    }

    async fn in_time<T>(
        &self,
        waiting: impl Future<Output = reqwest::Result<T>>,
        url: &Url,
    ) -> Result<T> {
        match timeout(self.tuning.stall, waiting).await {
            Ok(outcome) => outcome.map_err(|error| words::of(error, url)),
            Err(_) => Err(Error::deadline_exceeded(format!(
                "{} sent nothing for {} s",
                words::host(url),
                self.tuning.stall.as_secs_f32()
            ))),
        }
    }
}

fn redirection(response: &Response, ask: &Ask, from: &Url) -> Result<Option<Url>> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let is_read = matches!(ask.method, Method::GET | Method::HEAD);
    let Some(location) = response.headers().get(LOCATION).filter(|_| is_redirect && is_read) else {
        return Ok(None);
    };
    resolve_location(from, location).map(Some)
}

/// The absolute form of a `Location`; one that leads from https to http is refused.
pub(super) fn resolve_location(from: &Url, location: &HeaderValue) -> Result<Url> {
    let host = words::host(from);
    let next = location.to_str().ok().and_then(|text| from.join(text).ok());
    let next = next.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(next) = next else {
        let message = format!("{host} answers with a Location that is no http address");
        return Err(Error::failed_precondition(message));
    };
    if from.scheme() == "https" && next.scheme() == "http" {
        return Err(Error::failed_precondition(format!(
            "{host} leads from https to plain http at {}, which is not followed",
            words::host(&next)
        )));
    }
    Ok(next)
}

/// Whether what is meant for one may be told to the other.
pub(super) fn is_same_server(one: &Url, other: &Url) -> bool {
    let place = |url: &Url| (url.host_str().map(str::to_owned), url.port());
    place(one) == place(other)
        && (one.scheme() == other.scheme() || (one.scheme(), other.scheme()) == ("http", "https"))
}

/// Whether a later attempt may fare better.
pub(super) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

fn base() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("mobula/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(15))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        // Digests are of the bytes as they are sent.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
}

fn verified(extra: &[Certificate]) -> Result<Client> {
    let system = base().tls_certs_merge(extra.iter().cloned()).build();
    system.or_else(|error| {
        // A machine without CA certificates still has its insecure registries and its plugins.
        tracing::warn!(%error, "the system's CA certificates cannot be used");
        build(base().tls_certs_only(extra.iter().cloned()))
    })
}

fn build(builder: ClientBuilder) -> Result<Client> {
    builder.build().map_err(|error| Error::internal("set up an HTTP client").because(error))
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate>> {
    let shown = path.display();
    let pem = std::fs::read(path).doing(|| format!("read certificates from {shown}"))?;
    let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if certificates.is_empty() {
        let message = format!("{shown} has no PEM certificate that can be read");
        return Err(Error::invalid_argument(message));
    }
    Ok(certificates)
}
