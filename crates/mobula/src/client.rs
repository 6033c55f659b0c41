//! The command line's way to the volumes: the agent's socket when an agent runs; otherwise the same
//! API within this process, under the lock that an agent would hold.

mod acting;
mod lines;

use crate::api::Failure;
use crate::app::App;
use crate::config::Config;
use crate::paths::Paths;
use crate::rest;
use crate::services::Surroundings;
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response};
use bytes::Bytes;
use error::{Error, IoContext, Result};
use host::lock::HomeLock;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tower::ServiceExt;

/// How long another command may keep this one waiting.
const LOCK: Duration = Duration::from_secs(20);

/// A connection to the control API.
pub struct Client(Way);

enum Way {
    /// An agent listens at this socket.
    Agent(PathBuf),
    /// No agent: the API is served within this process.
    Embedded { router: Router, _lock: HomeLock },
}

impl Client {
    /// Connects to the agent of `paths`, or opens the services of `config` in this process.
    pub async fn open(paths: &Paths, config: impl FnOnce() -> Result<Config>) -> Result<Self> {
        if UnixStream::connect(paths.socket()).await.is_ok() {
            return Ok(Self(Way::Agent(paths.socket())));
        }
        let config = config()?;
        host::file::make_dir(&paths.run(), 0o700)?;
        let path = paths.lock();
        let lock = volume::driver::blocking(move || HomeLock::acquire(&path, LOCK)).await?;
        // An agent may have started while this waited for the lock's former holder.
        if UnixStream::connect(paths.socket()).await.is_ok() {
            return Ok(Self(Way::Agent(paths.socket())));
        }
        let app = App::new(Surroundings::of(paths.clone())?);
        app.configure(&config).await;
        app.recover().await;
        // What an agent would have seen by now: mounts that went bad.
        app.sweep().await;
        let router = rest::router(Arc::clone(&app));
        Ok(Self(Way::Embedded { router, _lock: lock }))
    }

    /// The agent that listens at `socket`; nothing is contacted yet.
    pub fn at(socket: PathBuf) -> Self {
        Self(Way::Agent(socket))
    }

    /// GET `path` (with its query), such as `/v1/volumes?service=mobula`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// POST `body` to `path`.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(body)
            .map_err(|source| Error::internal("encode the request").because(source))?;
        self.call(Method::POST, path, body.into()).await
    }

    /// DELETE `path`.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call(Method::DELETE, path, Bytes::new()).await
    }

    /// POST `body` to `path`, and hand over each line of the answer as it comes.
    pub async fn post_lines<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        each: impl FnMut(T) + Send,
    ) -> Result<()> {
        let body = serde_json::to_vec(body)
            .map_err(|source| Error::internal("encode the request").because(source))?;
        let request = request(Method::POST, path, body.into())?;
        match &self.0 {
            Way::Agent(socket) => {
                let (answer, driving) = send(socket, request).await?;
                let read = lines::read(answer, each).await;
                driving.abort();
                read
            }
            Way::Embedded { router, .. } => {
                let answer = router.clone().oneshot(request.map(Body::new)).await;
                lines::read(answer.unwrap_or_else(|never| match never {}), each).await
            }
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T> {
        let request = request(method, path, body)?;
        let (status, body) = match &self.0 {
            Way::Agent(socket) => ask(socket, request).await?,
            Way::Embedded { router, .. } => {
                let answer = router.clone().oneshot(request.map(Body::new)).await;
                let answer = answer.unwrap_or_else(|never| match never {});
                collect(answer).await?
            }
        };
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|source| {
                Error::internal("the agent's answer cannot be read").because(source)
            });
        }
        Err(failure(&body))
    }
}

fn request(method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>> {
    let request = Request::builder().method(method).uri(path).header("host", "mobula");
    request.body(Full::new(body)).map_err(|source| {
        Error::invalid_argument(format!("\"{path}\" cannot be asked for")).because(source)
    })
}

/// POST `body` to `path` at any UNIX socket; the status and the body of the answer.
pub async fn post_to(socket: &Path, path: &str, body: Bytes) -> Result<(u16, Bytes)> {
    let (status, body) = ask(socket, request(Method::POST, path, body)?).await?;
    Ok((status.as_u16(), body))
}

/// GET `path` at any UNIX socket; the status and the body of the answer.
pub async fn get_from(socket: &Path, path: &str) -> Result<(u16, Bytes)> {
    let (status, body) = ask(socket, request(Method::GET, path, Bytes::new())?).await?;
    Ok((status.as_u16(), body))
}

async fn ask(
    socket: &Path,
    request: Request<Full<Bytes>>,
) -> Result<(axum::http::StatusCode, Bytes)> {
    let (answer, driving) = send(socket, request).await?;
    let answer = collect(answer).await;
    driving.abort();
    answer
}

/// Sends a request; the answer's head is there, its body comes as long as the task runs.
async fn send(
    socket: &Path,
    request: Request<Full<Bytes>>,
) -> Result<(Response<Incoming>, JoinHandle<()>)> {
    let stream = UnixStream::connect(socket)
        .await
        .doing(|| format!("connect to the agent at {}", socket.display()))?;
    let broken = |source: hyper::Error| {
        Error::unavailable("the agent ended before it answered; look at its log and try again")
            .because(source)
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let driving = tokio::spawn(async move {
        // What goes wrong is seen in the answer.
        let _ = connection.await;
    });
    let answer = sender.send_request(request).await.map_err(broken)?;
    Ok((answer, driving))
}

async fn collect<B>(answer: Response<B>) -> Result<(axum::http::StatusCode, Bytes)>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let (head, body) = answer.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|source| Error::unavailable("the agent's answer broke off").because(source))?;
    Ok((head.status, body.to_bytes()))
}

/// The agent's error, as if it had happened here.
fn failure(body: &[u8]) -> Error {
    match serde_json::from_slice::<Failure>(body) {
        Ok(Failure { error }) => error.into_error(),
        Err(_) => Error::internal(format!(
            "the agent answered with something else than its API: {}",
            String::from_utf8_lossy(&body[..body.len().min(200)])
        )),
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_taken_for_syntax_is_encoded() {
        assert_eq!(encode("after:a b+c/é"), "after%3Aa%20b%2Bc%2F%C3%A9");
        assert_eq!(encode("my_app-db.1~"), "my_app-db.1~");
    }
}
