//! One request and its answer on one connection, and what the answer means.

use super::connect::Stream;
use super::fields;
use bytes::Bytes;
use error::{Error, Result};
use http::header::{ACCEPT, CONTENT_LENGTH, HOST};
use http::{Method, Request};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The longest answer that is taken, in bytes.
const LIMIT: usize = 16 << 20;
/// How much of an answer that is no JSON gets into an error, in characters.
const QUOTED: usize = 1000;
/// What dockerd says it wants.
const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";
/// Who dockerd believes to talk to.
const HOST_NAME: &str = "plugin.moby.localhost";

/// A plugin's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// The request that calls `method`.
pub(super) fn request(method: &str, body: Vec<u8>) -> Result<Request<Full<Bytes>>> {
    Request::builder()
        .method(Method::POST)
        .uri(format!("/{method}"))
        .header(HOST, HOST_NAME)
        .header(ACCEPT, MEDIA_TYPE)
        // An empty body is said to be one, too.
        .header(CONTENT_LENGTH, body.len())
        .body(Full::new(body.into()))
        .map_err(|source| {
            Error::invalid_argument(format!("{method:?} is no method of a plugin")).because(source)
        })
}

/// Sends the request and reads the answer. The connection ends with this future.
pub(super) async fn send(stream: Box<dyn Stream>, request: Request<Full<Bytes>>) -> Result<Reply> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(broken_off)?;
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let (head, body) = sender.send_request(request).await.map_err(broken_off)?.into_parts();
    let body = Limited::new(body, LIMIT).collect().await.map_err(|source| {
        if source.is::<LengthLimitError>() {
            return Error::resource_exhausted(format!(
                "the plugin's answer is longer than {LIMIT} bytes"
            ));
        }
        broken_off(source)
    })?;
    Ok(Reply { status: head.status.as_u16(), body: body.to_bytes() })
}

fn broken_off(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::unavailable("the plugin broke off; what it was asked for may or may not be done")
        .because(source)
}

impl Reply {
    /// The JSON of a success, or the plugin's own words as an error. `Err` counts whatever the
    /// status: there are plugins of both styles.
    pub fn decode(&self, method: &str) -> Result<Value> {
        let is_success = (200..300).contains(&self.status);
        if self.body.trim_ascii().is_empty() && is_success {
            return Err(Error::unavailable(format!(
                "the plugin answered nothing to {method} (EOF)"
            )));
        }
        let value: Option<Value> = serde_json::from_slice(&self.body).ok();
        match (value.as_ref().and_then(complaint), value, is_success) {
            (Some(words), ..) => Err(Error::internal(words)),
            (None, Some(Value::Null), true) => Ok(json!({})),
            (None, Some(value), true) => Ok(value),
            (None, None, true) => {
                let quoted = self.quoted();
                Err(Error::unavailable(format!("the answer to {method} is no JSON: {quoted}")))
            }
            (None, _, false) => Err(Error::internal(self.quoted())),
        }
    }

    fn quoted(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let text: String = text.trim().chars().take(QUOTED).collect();
        if text.is_empty() { format!("the plugin answered HTTP {}", self.status) } else { text }
    }
}

/// The plugin's `Err`, if it has one.
fn complaint(answer: &Value) -> Option<String> {
    match fields::get(answer, "Err")? {
        Value::String(words) if words.is_empty() => None,
        Value::String(words) => Some(words.clone()),
        other => Some(other.to_string()),
    }
}
