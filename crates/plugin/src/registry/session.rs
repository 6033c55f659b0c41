//! One caller's talk with one repository of one registry: addresses, and the answer to `401`.

use super::leniency::Lenient;
use super::manifest::LARGEST_MANIFEST;
use super::token::{self, Header, Key, Way};
use super::transport::{Ask, Transport, Tuning, is_same_server};
use super::whole::{self, Answer, Sender};
use super::{Auth, Registry, challenge, words};
use crate::reference::{DOCKER_HUB, Reference};
use bytes::Bytes;
use error::{Error, Kind, Result};
use futures_util::future::BoxFuture;
use reqwest::header::HeaderValue;
use reqwest::{Response, StatusCode, Url};

/// Where Docker Hub's registry is.
const HUB_REGISTRY: &str = "registry-1.docker.io";

/// The largest answer that is read whole, manifests included, in bytes.
pub(super) const LARGEST_ANSWER: usize = LARGEST_MANIFEST as usize;

/// One caller's talk with one repository.
#[derive(Debug)]
pub(super) struct Session<'a> {
    registry: &'a Registry,
    auth: &'a Auth,
    domain: String,
    base: Url,
    /// The repository; empty for the registry as a whole.
    path: String,
    /// Alternative lists of scopes, the best first.
    scopes: Vec<Vec<String>>,
}

impl<'a> Session<'a> {
    /// Begins to talk about `reference`'s repository; `actions` is `pull` or `pull,push`, and
    /// `from` names further repositories to read.
    pub(super) async fn open(
        registry: &'a Registry,
        reference: &Reference,
        auth: &'a Auth,
        actions: &str,
        from: &[String],
    ) -> Result<Self> {
        let mut session = Self::with_registry(registry, &reference.domain, auth).await?;
        // Docker Hub wants the class; some registries do not know it.
        session.scopes = ["repository(plugin)", "repository"]
            .map(|class| {
                let own = format!("{class}:{}:{actions}", reference.path);
                let others = from.iter().map(|path| format!("{class}:{path}:pull"));
                std::iter::once(own).chain(others).collect()
            })
            .to_vec();
        session.path.clone_from(&reference.path);
        Ok(session)
    }

    /// Begins to talk about the registry as a whole.
    pub(super) async fn with_registry(
        registry: &'a Registry,
        domain: &str,
        auth: &'a Auth,
    ) -> Result<Self> {
        let base = registry.base(domain).await?;
        let domain = domain.to_owned();
        Ok(Self { registry, auth, domain, base, path: String::new(), scopes: Vec::new() })
    }

    /// An address of the repository: `manifests/latest`.
    pub(super) fn url(&self, rest: &str) -> Result<Url> {
        let path =
            if self.path.is_empty() { "v2/".to_owned() } else { format!("v2/{}/", self.path) };
        self.base
            .join(&format!("{path}{rest}"))
            .map_err(|error| Error::internal("make an address of a registry").because(error))
    }

    /// Sends `ask`, reads the whole answer, with several attempts.
    pub(super) async fn whole(&self, ask: &Ask) -> Result<Answer> {
        whole::whole(self, self.registry.transport.tuning, ask, LARGEST_ANSWER).await
    }

    /// Sends `ask` once, with credentials if the registry wants them; answers with the head.
    pub(super) async fn send(&self, ask: &Ask) -> Result<Response> {
        let outcome = self.authorized(ask).await;
        if outcome.as_ref().is_err_and(whole::is_passing) {
            self.registry.forget_base(&self.domain);
        }
        outcome
    }

    async fn authorized(&self, ask: &Ask) -> Result<Response> {
        let transport = &self.registry.transport;
        // A registry may send an upload elsewhere; what is meant for it stays with it.
        if !is_same_server(&self.base, &ask.url) {
            return transport.send(ask, None).await;
        }
        let key = self.key();
        let response = transport.send(ask, self.known(&key)?.as_ref()).await?;
        // Only the registry itself may ask for its credentials.
        let is_own = is_same_server(&self.base, response.url());
        if response.status() != StatusCode::UNAUTHORIZED || !is_own {
            return Ok(response);
        }
        self.registry.tokens.forget(&key);
        if matches!(self.auth, Auth::Bearer(_)) {
            return Err(self.unauthenticated(None));
        }
        let challenges = challenge::parse(response.headers());
        let mut why = None;
        for way in token::ways(&challenges, &self.scopes, self.auth) {
            match self.attempt(ask, &way).await {
                Ok((response, header)) => {
                    self.registry.tokens.put(key, header);
                    return Ok(response);
                }
                Err(error) if is_refusal(&error) => why = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(self.unauthenticated(why))
    }

    fn known(&self, key: &Key) -> Result<Option<HeaderValue>> {
        match self.auth {
            Auth::Bearer(token) => Header::bearer(token).map(|header| Some(header.value)),
            _ => Ok(self.registry.tokens.find(key)),
        }
    }

    fn key(&self) -> Key {
        let scopes = self.scopes.first().cloned().unwrap_or_default();
        (self.domain.clone(), scopes, self.auth.clone())
    }

    /// The answer to `ask` with the credentials that `way` yields, unless it is a refusal.
    async fn attempt(&self, ask: &Ask, way: &Way) -> Result<(Response, Header)> {
        let header = token::header(&self.registry.transport, way, self.auth).await?;
        let response = self.registry.transport.send(ask, Some(&header.value)).await?;
        match response.status() {
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                let url = response.url().clone();
                let body = self.body_of(response).await;
                Err(words::of_status("use the credentials", &url, status, &body))
            }
            _ => Ok((response, header)),
        }
    }

    /// How patient to be.
    pub(super) fn tuning(&self) -> Tuning {
        self.registry.transport.tuning
    }

    /// The next bytes of a body; `None` at its end.
    pub(super) async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>> {
        self.registry.transport.chunk(response).await
    }

    /// What a small body says; what cannot be read is left out.
    pub(super) async fn body_of(&self, mut response: Response) -> Vec<u8> {
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = self.registry.transport.chunk(&mut response).await {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST_ANSWER {
                break;
            }
        }
        body
    }

    fn unauthenticated(&self, why: Option<Error>) -> Error {
        let domain = &self.domain;
        let what = match self.auth {
            Auth::Anonymous => format!("{domain} wants credentials for this; log in to it"),
            _ => format!("{domain} does not accept the credentials"),
        };
        match why {
            Some(why) if why.kind() != Kind::Unauthenticated => why,
            Some(why) => Error::unauthenticated(what).because(why),
            None => Error::unauthenticated(what),
        }
    }
}

/// Whether another way to authenticate may do better.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Unauthenticated | Kind::PermissionDenied | Kind::NotFound | Kind::FailedPrecondition
    )
}

impl Sender for Session<'_> {
    fn send<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Response>> {
        Box::pin(Session::send(self, ask))
    }

    fn transport(&self) -> &Transport {
        &self.registry.transport
    }
}

impl Registry {
    /// The address of the registry called `domain`: https, or plain HTTP for one that may do
    /// without and does not answer otherwise.
    async fn base(&self, domain: &str) -> Result<Url> {
        let host = if domain == DOCKER_HUB { HUB_REGISTRY } else { domain };
        let parse = |scheme: &str| {
            Url::parse(&format!("{scheme}://{host}/")).map_err(|error| {
                Error::invalid_argument(format!("{domain} is no registry")).because(error)
            })
        };
        let https = parse("https")?;
        if self.transport.leniency(&https).await == Lenient::No {
            return Ok(https);
        }
        if let Some(known) = self.known_base(domain) {
            return Ok(known);
        }
        let base = match self.ping(&https).await {
            Ok(()) => https,
            Err(over_https) => {
                let http = parse("http")?;
                let explain = |error: Error| {
                    Error::new(error.kind(), format!("{over_https}; over plain HTTP"))
                        .because(error)
                };
                self.ping(&http).await.map_err(explain)?;
                http
            }
        };
        self.note_base(domain, &base);
        Ok(base)
    }

    async fn ping(&self, base: &Url) -> Result<()> {
        let url = base.join("v2/").map_err(|e| Error::internal("make an address").because(e))?;
        self.transport.send(&Ask::get(url), None).await.map(drop)
    }
}
