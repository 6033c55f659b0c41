//! Registries (OCI distribution-spec, Docker Registry HTTP API V2): resolving references, pulling
//! manifests and blobs, pushing, searching.
//!
//! ```text
//! pull, push, search ─▶ session (addresses, 401) ─▶ transport (redirects, deadlines) ─▶ reqwest
//!        │                 └─▶ token ◀─ challenge      └─▶ leniency (who may do without TLS)
//!        └─▶ manifest (pure)
//! ```
//!
//! What a registry says is believed only after it was measured: sizes are bounded before they are
//! read, and every blob and manifest is verified by its digest.

mod challenge;
mod credentials;
mod leniency;
pub mod manifest;
mod pull;
mod push;
mod search;
mod session;
mod token;
mod transport;
mod upload;
mod whole;
mod words;

pub use push::is_gzip;

use crate::digest::Digest;
use error::{Error, Result};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use transport::{Transport, Tuning};

/// A blob as manifests describe it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// A plugin as a registry or an archive holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The manifest's own digest.
    pub digest: Digest,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// How to show who is asking.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum Auth {
    /// No credentials.
    #[default]
    Anonymous,
    /// User and password.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// An identity (refresh) token, exchanged for bearer tokens.
    Identity(String),
    /// A bearer token, used as it is.
    Bearer(String),
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic(…)",
            Self::Identity(_) => "Identity(…)",
            Self::Bearer(_) => "Bearer(…)",
        })
    }
}

/// How registries are reached.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `host`, `host:port` or CIDR ranges whose certificates are not looked at and that may be
    /// talked to over plain HTTP where https fails (loopback always may).
    pub insecure: Vec<String>,
    /// Where `config.json` with credentials is, for callers that send none: `~/.docker`, or the
    /// file itself.
    pub docker_config: Option<PathBuf>,
    /// A file of further PEM certificates to trust, beside the system's.
    pub certificates: Option<PathBuf>,
}

/// A client of all registries.
#[derive(Debug)]
pub struct Registry {
    options: Options,
    transport: Transport,
    tokens: token::Tokens,
    /// Where registries that may do without TLS answered.
    bases: Mutex<HashMap<String, Url>>,
    /// Docker Hub's web site.
    hub: Url,
}

impl Registry {
    /// A client. rustls' ring provider is installed by it if none is yet.
    pub fn new(options: Options) -> Result<Self> {
        Self::tuned(options, Tuning::default())
    }

    fn tuned(options: Options, tuning: Tuning) -> Result<Self> {
        let leniency = leniency::Leniency::parse(&options.insecure, tuning.lenient_loopback)?;
        let transport = Transport::new(leniency, options.certificates.as_deref(), tuning)?;
        let hub = Url::parse(search::HUB)
            .map_err(|error| Error::internal("the address of Docker Hub").because(error))?;
        let (tokens, bases) = (token::Tokens::default(), Mutex::default());
        Ok(Self { options, transport, tokens, bases, hub })
    }

    fn known_base(&self, domain: &str) -> Option<Url> {
        self.bases.lock().unwrap_or_else(PoisonError::into_inner).get(domain).cloned()
    }

    fn note_base(&self, domain: &str, base: &Url) {
        let mut bases = self.bases.lock().unwrap_or_else(PoisonError::into_inner);
        bases.insert(domain.to_owned(), base.clone());
    }

    fn forget_base(&self, domain: &str) {
        self.bases.lock().unwrap_or_else(PoisonError::into_inner).remove(domain);
    }
}

/// A hit of a search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The repository.
    pub name: String,
    /// Its description.
    pub description: String,
    /// Stars.
    pub stars: u64,
}

/// Runs what waits for the disk where it holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Error::internal("a task that reads or writes a blob ended").because(error)
    })?
}

#[cfg(test)]
mod tests;
