//! Bodies of requests: small JSON with Docker's checks, and long ones as a blocking `Read`.

use super::Call;
use crate::rest::read_body;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use error::{Error, Result};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read};
use std::time::Duration;
use tokio::sync::mpsc;

/// What a request's JSON must be labelled as.
const JSON: &str = "application/json";
/// How long a client may send nothing in the middle of a long body.
const IDLE: Duration = Duration::from_secs(300);
/// How much is still taken from a client after nobody wants it any more, in bytes: one that is
/// writing does not look at the answer yet.
const DRAIN: usize = 256 << 20;

/// The JSON of a request; nothing at all and `null` are the default.
pub(super) async fn json<T>(call: &Call, body: Body) -> Result<T>
where
    T: DeserializeOwned + Default,
{
    let body = read_body(body).await?;
    let kind = media_type(&call.headers);
    // Without a label there may be nothing to label.
    let is_fine = kind.map_or(body.is_empty(), is_json);
    if !is_fine {
        return Err(Error::invalid_argument(format!(
            "unsupported Content-Type header ({}): must be '{JSON}'",
            kind.unwrap_or_default()
        )));
    }
    decode(&body)
}

fn decode<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = Option::<T>::deserialize(&mut json)
        .map_err(|why| Error::invalid_argument(format!("invalid JSON: {why}")))?;
    json.end().map_err(|_| Error::invalid_argument("unexpected content after JSON"))?;
    Ok(value.unwrap_or_default())
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"))
}

fn is_json(kind: &str) -> bool {
    let (kind, _) = kind.split_once(';').unwrap_or((kind, ""));
    kind.trim().eq_ignore_ascii_case(JSON)
}

/// A long body. Reading blocks: not for threads that run async code.
pub(super) fn reader(body: Body) -> Box<dyn Read + Send> {
    let (sender, chunks) = mpsc::channel(4);
    tokio::spawn(pump(body, sender));
    Box::new(Reader { chunks, chunk: Bytes::new(), has_ended: false })
}

/// An empty chunk is the end: whatever else ends the channel has cut the body short.
async fn pump(mut body: Body, sender: mpsc::Sender<io::Result<Bytes>>) {
    let mut unwanted = 0;
    loop {
        let item = match tokio::time::timeout(IDLE, body.frame()).await {
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
            Ok(None) => Ok(Bytes::new()),
            Ok(Some(Err(error))) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, error)),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if !data.is_empty() => Ok(data),
                _ => continue,
            },
        };
        let size = item.as_ref().map_or(0, Bytes::len);
        if sender.send(item).await.is_err() {
            unwanted += size;
        }
        if size == 0 || unwanted > DRAIN {
            return;
        }
    }
}

struct Reader {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    chunk: Bytes,
    has_ended: bool,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() && !self.has_ended {
            let next = self.chunks.blocking_recv();
            self.chunk = next.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
            self.has_ended = self.chunk.is_empty();
        }
        let count = buffer.len().min(self.chunk.len());
        buffer[..count].copy_from_slice(&self.chunk.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pieces::Stream;

    fn refusal(body: &str) -> String {
        decode::<Vec<String>>(body.as_bytes()).expect_err(body).to_string()
    }

    #[test]
    fn bodies_are_checked_as_docker_does() {
        assert_eq!(decode::<Vec<String>>(b"").unwrap(), Vec::<String>::new());
        assert_eq!(decode::<Vec<String>>(b"null\n").unwrap(), Vec::<String>::new());
        assert_eq!(decode::<Vec<String>>(b"[\"a\"]\n").unwrap(), ["a"]);
        assert!(refusal("{invalid json").starts_with("invalid JSON: "));
        assert_eq!(refusal("[] trailing content"), "unexpected content after JSON");
    }

    #[test]
    fn media_types_may_have_parameters() {
        assert!(is_json("application/json") && is_json("Application/JSON; charset=utf-8"));
        assert!(!is_json("text/plain") && !is_json("application/jsonp"));
    }

    async fn read_all(body: Body) -> io::Result<Vec<u8>> {
        let mut reader = reader(body);
        let read = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        read.await.unwrap()
    }

    #[tokio::test]
    async fn a_long_body_is_read_whole() {
        let text = vec![7; 1 << 20];
        assert_eq!(read_all(Body::from(text.clone())).await.unwrap(), text);
        assert_eq!(read_all(Body::empty()).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_short_one() {
        let (sender, chunks) = mpsc::channel(4);
        sender.send(Ok(Bytes::from_static(b"half"))).await.unwrap();
        sender.send(Err(Error::aborted("gone"))).await.unwrap();
        drop(sender);
        let error = read_all(Body::new(Stream::new(chunks))).await.expect_err("half");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
