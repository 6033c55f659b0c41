//! From a challenge to an `Authorization` header: basic, bearer tokens (distribution's token
//! specification), identity tokens (its OAuth2 form). Keeps tokens in memory only.

use super::challenge::Challenge;
use super::leniency::Lenient;
use super::transport::{Ask, Body, Transport};
use super::whole::{Answer, whole};
use super::{Auth, words};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use error::{Error, Result};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest answer of a token server that is read, in bytes.
const LARGEST_ANSWER: usize = 256 << 10;
/// How long a token lives when its server does not say (token specification).
const DEFAULT_LIFE: u64 = 60;
/// No token is kept for longer, in seconds.
const LONGEST_LIFE: u64 = 3600;
/// How long before its end a token is no longer used.
const MARGIN: Duration = Duration::from_secs(10);

/// What a header is good for: registry, scopes and who asks.
pub(super) type Key = (String, Vec<String>, Auth);

/// Headers that were accepted.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<Key, Header>>);

/// An `Authorization` header and its end.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) value: HeaderValue,
    expires: Instant,
}

impl Header {
    fn new(scheme: &str, credentials: &str, life: Duration) -> Result<Self> {
        let mut value =
            HeaderValue::from_str(&format!("{scheme} {credentials}")).map_err(|_| {
                Error::unauthenticated("the credentials have characters that HTTP cannot carry")
            })?;
        value.set_sensitive(true);
        Ok(Self { value, expires: Instant::now() + life })
    }

    /// Of a bearer token that the caller brought along.
    pub(super) fn bearer(token: &str) -> Result<Self> {
        Self::new("Bearer", token, Duration::from_secs(LONGEST_LIFE))
    }

    /// Of a user and a password.
    fn basic(username: &str, password: &str) -> Result<Self> {
        let pair = STANDARD.encode(format!("{username}:{password}"));
        Self::new("Basic", &pair, Duration::from_secs(LONGEST_LIFE))
    }
}

impl Tokens {
    /// The header that was accepted before, unless it is at its end.
    pub(super) fn find(&self, key: &Key) -> Option<HeaderValue> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let header = tokens.get(key).filter(|header| header.expires > Instant::now() + MARGIN);
        header.map(|header| header.value.clone())
    }

    /// Notes an accepted header and forgets those at their end.
    pub(super) fn put(&self, key: Key, header: Header) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, header| header.expires > Instant::now());
        tokens.insert(key, header);
    }

    /// Forgets a header that was refused.
    pub(super) fn forget(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// A way to answer a challenge.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// User and password in each request.
    Basic,
    /// A token for these scopes.
    Token {
        /// The token server.
        realm: Url,
        /// The registry's name there.
        service: Option<String>,
        /// What to ask for.
        scopes: Vec<String>,
    },
}

/// The ways to answer `challenges`, best first. `wanted` are alternative lists of scopes; where
/// there is none, the challenge's own is asked for.
pub(super) fn ways(challenges: &[Challenge], wanted: &[Vec<String>], auth: &Auth) -> Vec<Way> {
    let mut ways = Vec::new();
    for challenge in challenges {
        match challenge.scheme.as_str() {
            "bearer" => ways.extend(token_ways(challenge, wanted)),
            "basic" if matches!(auth, Auth::Basic { .. }) => ways.push(Way::Basic),
            _ => {}
        }
    }
    ways
}

fn token_ways(challenge: &Challenge, wanted: &[Vec<String>]) -> Vec<Way> {
    let Some(realm) = challenge.get("realm").and_then(|realm| Url::parse(realm).ok()) else {
        return Vec::new();
    };
    let way = |scopes: &[String]| Way::Token {
        realm: realm.clone(),
        service: challenge.get("service").map(str::to_owned),
        scopes: scopes.to_vec(),
    };
    if wanted.is_empty() {
        let own: Vec<_> = challenge.get("scope").iter().map(|&scope| scope.to_owned()).collect();
        return vec![way(&own)];
    }
    wanted.iter().map(|scopes| way(scopes)).collect()
}

/// The header for one way.
pub(super) async fn header(transport: &Transport, way: &Way, auth: &Auth) -> Result<Header> {
    match (way, auth) {
        (Way::Basic, Auth::Basic { username, password }) => Header::basic(username, password),
        (Way::Basic, _) => Err(Error::unauthenticated("the registry wants user and password")),
        (Way::Token { realm, service, scopes }, auth) => {
            let may_be_plain = transport.leniency(realm).await != Lenient::No;
            if realm.scheme() != "https" && !may_be_plain {
                return Err(Error::failed_precondition(format!(
                    "the token server {} is reached over plain HTTP only; credentials are not \
                     sent there",
                    words::host(realm)
                )));
            }
            let ask = token_ask(realm, service.as_deref(), scopes, auth);
            let basic = match auth {
                Auth::Basic { username, password } => {
                    Some(Header::basic(username, password)?.value)
                }
                _ => None,
            };
            let answer = whole(&(transport, basic), transport.tuning, &ask, LARGEST_ANSWER).await?;
            read_token(&answer)
        }
    }
}

fn token_ask(realm: &Url, service: Option<&str>, scopes: &[String], auth: &Auth) -> Ask {
    let mut pairs: Vec<(&str, &str)> =
        service.iter().map(|&service| ("service", service)).collect();
    let Auth::Identity(token) = auth else {
        pairs.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
        if let Auth::Basic { username, .. } = auth {
            pairs.push(("account", username));
        }
        let mut url = realm.clone();
        url.query_pairs_mut().extend_pairs(pairs);
        return Ask::get(url);
    };
    let scope = scopes.join(" ");
    pairs.extend([("grant_type", "refresh_token"), ("client_id", "mobula"), ("scope", &scope)]);
    pairs.push(("refresh_token", token));
    let mut form = realm.clone();
    form.set_query(None);
    form.query_pairs_mut().extend_pairs(pairs);
    let body = form.query().unwrap_or_default().to_owned();
    Ask::new(Method::POST, realm.clone())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::Bytes(body.into()))
}

#[derive(Deserialize)]
struct Granted {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

fn read_token(answer: &Answer) -> Result<Header> {
    if !answer.status.is_success() {
        return Err(answer.problem("get a token"));
    }
    let host = words::host(&answer.url);
    let granted: Option<Granted> = serde_json::from_slice(&answer.body).ok();
    let life = granted.as_ref().and_then(|granted| granted.expires_in).unwrap_or(DEFAULT_LIFE);
    let token = granted.and_then(|granted| {
        granted.token.filter(|t| !t.is_empty()).or(granted.access_token.filter(|t| !t.is_empty()))
    });
    let token = token.ok_or_else(|| {
        Error::failed_precondition(format!("the token server {host} answers without a token"))
    })?;
    Header::new("Bearer", &token, Duration::from_secs(life.clamp(DEFAULT_LIFE, LONGEST_LIFE)))
}
