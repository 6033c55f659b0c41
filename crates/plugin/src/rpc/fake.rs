//! A plugin for tests: a server on a UNIX socket that notes every call and answers as it is told.

use super::{Address, Client};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

/// A call that came in.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Call {
    pub(crate) fn body(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub(crate) fn name(&self) -> String {
        super::fields::text(&self.body(), "Name").to_owned()
    }
}

/// A status and a body. Status 0 breaks the connection instead.
pub(crate) type Said = (u16, String);

/// An answer of status 200.
#[allow(clippy::needless_pass_by_value, reason = "so that json!() can be handed over")]
pub(crate) fn ok(body: Value) -> Said {
    (200, body.to_string())
}

type Handler = dyn Fn(Call) -> BoxFuture<'static, Said> + Send + Sync;

/// The plugin; ends when dropped.
pub(crate) struct Fake {
    dir: TempDir,
    calls: Arc<Mutex<Vec<Call>>>,
    _server: JoinSet<()>,
}

impl Fake {
    /// A plugin that answers at once.
    pub(crate) fn start(answer: impl Fn(Call) -> Said + Send + Sync + 'static) -> Self {
        Self::start_slow(move |call| std::future::ready(answer(call)).boxed())
    }

    /// A plugin that may take its time.
    pub(crate) fn start_slow(
        answer: impl Fn(Call) -> BoxFuture<'static, Said> + Send + Sync + 'static,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut fake = Self { dir, calls: Arc::default(), _server: JoinSet::new() };
        let listener = UnixListener::bind(fake.socket()).unwrap();
        fake._server.spawn(serve(listener, Arc::new(answer), Arc::clone(&fake.calls)));
        fake
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("plugin.sock")
    }

    pub(crate) fn client(&self) -> Client {
        Client { address: Address::Unix(self.socket()) }
    }

    /// All calls so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// The methods called so far, without the interface's name.
    pub(crate) fn methods(&self) -> Vec<String> {
        let last = |call: Call| call.method.rsplit('.').next().unwrap_or_default().to_owned();
        self.calls().into_iter().map(last).collect()
    }

    /// How often a method was called.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.methods().iter().filter(|called| *called == method).count()
    }
}

async fn serve(listener: UnixListener, handler: Arc<Handler>, calls: Arc<Mutex<Vec<Call>>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (handler, calls) = (Arc::clone(&handler), Arc::clone(&calls));
        connections.spawn(async move {
            let service =
                service_fn(move |request| answer(request, handler.clone(), calls.clone()));
            let io = TokioIo::new(stream);
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
        });
    }
}

async fn answer(
    request: http::Request<Incoming>,
    handler: Arc<Handler>,
    calls: Arc<Mutex<Vec<Call>>>,
) -> Result<http::Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    let call = Call {
        method: head.uri.path().trim_start_matches('/').to_owned(),
        headers: head.headers.iter().map(header).collect(),
        text: String::from_utf8(body.to_vec()).unwrap(),
    };
    calls.lock().unwrap().push(call.clone());
    match handler(call).await {
        (0, _) => Err(std::io::Error::other("told to break off")),
        (status, body) => {
            let answer = http::Response::builder().status(status).body(Full::from(body));
            Ok(answer.map_err(std::io::Error::other)?)
        }
    }
}

/// What never answers.
pub(crate) fn never() -> BoxFuture<'static, Said> {
    std::future::pending::<Infallible>().map(|never| match never {}).boxed()
}
