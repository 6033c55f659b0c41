//! The command line's way to a plugin engine: HTTP over its UNIX socket. Docker's routes work with
//! any server of Docker's API; `/mobula/…` only with ours. What is asked and shown is the command
//! line's business.

mod body;

use error::{Error, IoContext, Kind, Result};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

pub use body::{Pipe, Writer, is_unread, pipe};

/// What every server of Docker's API says of a path that it does not know.
const NO_SUCH_ROUTE: &str = "page not found";

/// An engine, by its socket.
#[derive(Debug, Clone)]
pub struct EngineClient {
    socket: PathBuf,
}

/// A request to be sent.
pub struct Request {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Pipe,
}

impl Request {
    /// GET `path` (with its query).
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// POST to `path`, with no body yet.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// DELETE `path`.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// PUT to `path`, with no body yet.
    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: Pipe::empty() }
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same with `value` as its body.
    pub fn json(mut self, value: &impl Serialize) -> Result<Self> {
        let bytes = serde_json::to_vec(value)
            .map_err(|source| Error::internal("encode the request").because(source))?;
        self.body = Pipe::whole(bytes);
        Ok(self.header(CONTENT_TYPE.as_str(), "application/json"))
    }

    /// The same with a tar that is written while it is sent.
    #[must_use]
    pub fn tar(mut self, body: Pipe) -> Self {
        self.body = body;
        self.header(CONTENT_TYPE.as_str(), "application/x-tar")
    }
}

impl EngineClient {
    /// The engine that listens at `socket`.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Reads `unix:///PATH`.
    pub fn parse(address: &str) -> Result<Self> {
        match address.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') => Ok(Self::new(path)),
            _ => Err(Error::invalid_argument(format!(
                "\"{}\" is no address of an engine; give unix:///PATH",
                address.escape_debug()
            ))),
        }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends `request`. An answer that is no success becomes the error that it tells of.
    pub async fn send(&self, request: Request) -> Result<Answer> {
        let is_own = request.path.starts_with("/mobula/");
        let answered = self.send_any(request).await?.successful().await;
        match answered {
            Err(error) if is_own && error.message() == NO_SUCH_ROUTE => {
                let socket = self.socket.display();
                Err(Error::not_found(format!(
                    "the engine at {socket} is not mobula's and cannot do this; name mobula's with \
                     --host"
                )))
            }
            answered => answered,
        }
    }

    /// Sends `request`; any answer will do.
    pub async fn send_any(&self, request: Request) -> Result<Answer> {
        let stream = self.connect().await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let driving = tokio::spawn(async move {
            // How it ended shows in the answer.
            let _ = connection.await;
        });
        let mut head = hyper::Request::builder().method(request.method).uri(&request.path);
        head = head.header(HOST, "mobula");
        for (name, value) in &request.headers {
            head = head.header(*name, value);
        }
        let request = head.body(request.body).map_err(|source| {
            let path = request.path.escape_debug();
            Error::invalid_argument(format!("\"{path}\" cannot be asked for")).because(source)
        })?;
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok(Answer { response, rest: Vec::new(), _driving: Driving(driving) })
    }

    /// GETs `path` and reads its JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: impl Into<String>) -> Result<T> {
        self.send(Request::get(path)).await?.json().await
    }

    async fn connect(&self) -> Result<UnixStream> {
        let socket = self.socket.display();
        UnixStream::connect(&self.socket).await.map_err(|source| match Kind::of_io(&source) {
            Kind::NotFound | Kind::Unavailable => Error::unavailable(format!(
                "no plugin engine listens at {socket}; start it with \"mobula engine\", or name \
                 another one with --host"
            ))
            .because(source),
            _ => Error::io(format!("connect to the plugin engine at {socket}"), source),
        })
    }
}

/// Ends the connection with the answer.
struct Driving(JoinHandle<()>);

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer whose body is still coming in.
pub struct Answer {
    response: Response<Incoming>,
    rest: Vec<u8>,
    _driving: Driving,
}

impl Answer {
    /// The same answer, unless it tells of a failure.
    pub async fn successful(self) -> Result<Self> {
        let status = self.status();
        if status.is_success() {
            return Ok(self);
        }
        Err(failure(status, &self.bytes().await.unwrap_or_default()))
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The next piece of the body; `None` at its proper end. A body that ends otherwise is
    /// `Unavailable`.
    pub async fn chunk(&mut self) -> Result<Option<bytes::Bytes>> {
        use http_body_util::BodyExt;
        while let Some(frame) = self.response.body_mut().frame().await {
            let frame = frame.map_err(|source| {
                Error::unavailable("the engine's answer broke off; look at its log").because(source)
            })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The whole body.
    pub async fn bytes(mut self) -> Result<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.rest);
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The whole body as text.
    pub async fn text(self) -> Result<String> {
        String::from_utf8(self.bytes().await?)
            .map_err(|source| Error::internal("the engine's answer is no text").because(source))
    }

    /// The whole body as JSON.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        read(&self.bytes().await?)
    }

    /// The next of a stream of JSON objects, one per line; `None` at the stream's proper end.
    pub async fn object<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                match line.trim_ascii() {
                    b"" => continue,
                    line => return read(line).map(Some),
                }
            }
            if let Some(chunk) = self.chunk().await? {
                self.rest.extend_from_slice(&chunk);
                continue;
            }
            let last = std::mem::take(&mut self.rest);
            return match last.trim_ascii() {
                b"" => Ok(None),
                line => read(line).map(Some),
            };
        }
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|source| Error::internal("the engine's answer cannot be read").because(source))
}

fn broken(source: hyper::Error) -> Error {
    Error::unavailable("the engine ended the connection before it answered; look at its log")
        .because(source)
}

/// What a server of Docker's API says when it refuses.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

fn failure(status: StatusCode, body: &[u8]) -> Error {
    let message = match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => refusal.message,
        Err(_) => {
            let text = String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned();
            format!("the engine answered {status} {text}").trim_end().to_owned()
        }
    };
    Error::new(kind(status), message)
}

/// Docker's API says 409 for whatever is not possible in the present state.
fn kind(status: StatusCode) -> Kind {
    match status.as_u16() {
        400 => Kind::InvalidArgument,
        401 => Kind::Unauthenticated,
        403 => Kind::PermissionDenied,
        404 => Kind::NotFound,
        409 | 412 => Kind::FailedPrecondition,
        422 => Kind::OutOfRange,
        501 => Kind::Unimplemented,
        503 => Kind::Unavailable,
        504 => Kind::DeadlineExceeded,
        507 => Kind::ResourceExhausted,
        _ => Kind::Internal,
    }
}

/// `path` with a query of these pairs.
pub fn query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut text = path.to_owned();
    for (index, (key, value)) in pairs.iter().enumerate() {
        let _ = write!(text, "{}{key}={}", if index == 0 { '?' } else { '&' }, encode(value, ""));
    }
    text
}

/// `prefix/name/suffix`: names of plugins keep their `/`, `:` and `@`, as Docker's clients send
/// them. Empty names are refused: they would make another path of it.
pub fn named(prefix: &str, name: &str, suffix: &str) -> Result<String> {
    if name.is_empty() {
        return Err(Error::invalid_argument("the name of a plugin is empty; give its name or ID"));
    }
    Ok(format!("{prefix}/{}{suffix}", encode(name, "/:@")))
}

/// Percent-encodes all but RFC 3986's unreserved characters and those of `kept`.
fn encode(text: &str, kept: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if plain || kept.as_bytes().contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Reads a file of the caller's, for a request.
pub(crate) fn open_file(path: &Path) -> Result<std::fs::File> {
    std::fs::File::open(path).doing(|| format!("open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_what_docker_keeps() {
        let path = named("/plugins", "127.0.0.1:5000/me/a b:v1?x", "/json").unwrap();
        assert_eq!(path, "/plugins/127.0.0.1:5000/me/a%20b:v1%3Fx/json");
        assert!(named("/plugins", "", "").is_err());
    }

    #[test]
    fn queries_are_encoded() {
        let pairs = [("remote", "a/b:c"), ("name", "")];
        assert_eq!(query("/plugins/pull", &pairs), "/plugins/pull?remote=a%2Fb%3Ac&name=");
    }

    #[test]
    fn only_unix_sockets_are_addresses() {
        let client = EngineClient::parse("unix:///run/docker.sock").unwrap();
        assert_eq!(client.socket(), Path::new("/run/docker.sock"));
        for text in ["tcp://x:1", "unix://relative", "", "/run/docker.sock"] {
            let error = EngineClient::parse(text).unwrap_err();
            assert!(error.message().contains("give unix:///PATH"), "{error}");
        }
    }

    #[test]
    fn a_refusal_keeps_its_words_and_its_kind() {
        let error = failure(StatusCode::CONFLICT, br#"{"message":"plugin x is in use"}"#);
        assert_eq!(
            (error.kind(), error.message()),
            (Kind::FailedPrecondition, "plugin x is in use")
        );
        let error = failure(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!(error.message(), "the engine answered 502 Bad Gateway <html>");
    }

    #[tokio::test]
    async fn nobody_listening_says_how_to_start_an_engine() {
        let client = EngineClient::new("/nowhere/engine.sock");
        let error = client.get::<Vec<u8>>("/plugins").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.message().contains("mobula engine"), "{error}");
    }
}
