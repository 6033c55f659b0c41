//! The plugin protocol's client: POST with JSON over a UNIX socket, TCP or
//! TLS. Only a refused connection is tried again; a call is never sent twice.
//!
//! Knows no interface beyond the activation: what a call means is its caller's.

mod connect;
mod exchange;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod fields;
mod tls;

#[cfg(test)]
mod tests;

pub use connect::Stream;
pub use exchange::Reply;

use error::{Error, Result};
use serde_json::Value;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// How long a plugin that does not listen (yet) is waited for, at most.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a mere look whether it listens may take.
const GLANCE: Duration = Duration::from_secs(1);

/// Where a plugin listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A UNIX socket.
    Unix(PathBuf),
    /// A UNIX socket in a directory that a plugin may write to: a link there is not followed.
    Own(PathBuf),
    /// Plain HTTP.
    Tcp(String),
    /// HTTPS.
    Tls {
        /// `host:port`.
        address: String,
        /// How to verify and to show oneself.
        tls: TlsFiles,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) | Self::Own(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Tls { address, .. } => write!(f, "https://{address}"),
        }
    }
}

/// The files of a `.json` specification's `TLSConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Accept any certificate.
    pub insecure: bool,
    /// Certificates to trust.
    pub ca: Option<PathBuf>,
    /// Our certificate.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// A client of one plugin. Cheap to make; each call has its own connection.
#[derive(Debug, Clone)]
pub struct Client {
    /// Where the plugin listens.
    pub address: Address,
}

impl Client {
    /// Calls `method` (`VolumeDriver.Mount`) with `body` and returns the answer. `Err` in an answer of whatever status is an error: `Unavailable` when the plugin
    /// could not be reached, broke off, answered nothing or no JSON, `DeadlineExceeded` when `within`
    /// passed, `Internal` with the plugin's own words otherwise. Answers of more than 16 MiB are
    /// refused (`ResourceExhausted`).
    pub async fn call(&self, method: &str, body: &Value, within: Duration) -> Result<Value> {
        self.exchange(method, encode(body), within, PATIENCE).await?.decode(method)
    }

    /// As [`call`](Self::call), but a plugin that does not listen is not waited for.
    pub(crate) async fn call_now(
        &self,
        method: &str,
        body: &Value,
        within: Duration,
    ) -> Result<Value> {
        self.exchange(method, encode(body), within, Duration::ZERO).await?.decode(method)
    }

    /// Hands a call on as it is and returns the answer as it is, whatever its status.
    pub async fn forward(&self, method: &str, body: &[u8], within: Duration) -> Result<Reply> {
        self.exchange(method, body.to_vec(), within, PATIENCE).await
    }

    /// `Plugin.Activate`: what the plugin implements. One that does not listen is waited for as long
    /// as `patience`.
    pub(crate) async fn activate(
        &self,
        within: Duration,
        patience: Duration,
    ) -> Result<Vec<String>> {
        const METHOD: &str = "Plugin.Activate";
        let answer = self.exchange(METHOD, Vec::new(), within, patience).await?.decode(METHOD)?;
        let implements = fields::get(&answer, "Implements").and_then(Value::as_array);
        let types = implements.into_iter().flatten().filter_map(Value::as_str);
        Ok(types.map(str::to_owned).collect())
    }

    /// A connection for whatever its holder wants to say; waits for a plugin that does not listen
    /// yet.
    pub async fn connect(&self) -> Result<Box<dyn Stream>> {
        let connected = connect::patiently(&self.address, PATIENCE, Instant::now() + PATIENCE);
        connected.await.map_err(|error| error.with("address", &self.address))
    }

    /// Whether the plugin accepts connections now.
    pub async fn accepts(&self) -> bool {
        connect::once(&self.address, Instant::now() + GLANCE).await.is_ok()
    }

    async fn exchange(
        &self,
        method: &str,
        body: Vec<u8>,
        within: Duration,
        patience: Duration,
    ) -> Result<Reply> {
        let request = exchange::request(method, body)?;
        let deadline = Instant::now() + within;
        let call = async {
            let stream = connect::patiently(&self.address, patience.min(within), deadline).await?;
            let late = |_| Error::deadline_exceeded(late(method, within));
            let sent = tokio::time::timeout_at(deadline, exchange::send(stream, request));
            sent.await.map_err(late)?
        };
        let answered = call.await;
        answered.map_err(|error| error.with("method", method).with("address", &self.address))
    }
}

fn late(method: &str, within: Duration) -> String {
    format!("the plugin did not answer {method} within {within:?}; it may still be at it")
}

/// The body as Go's encoder writes it, with a newline.
fn encode(body: &Value) -> Vec<u8> {
    let mut text = body.to_string().into_bytes();
    text.push(b'\n');
    text
}
