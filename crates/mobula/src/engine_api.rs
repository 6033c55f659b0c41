//! Docker's API for plugins and their volumes, and what it has no room for below `/mobula`, on the
//! engine's socket. Decodes, calls [`plugin::Engine`], maps the answer; decides nothing.
//!
//! ```text
//! request ─▶ head small enough? ─▶ version ─▶ route ─▶ call ─▶ answer, with Docker's headers
//! ```

mod answer;
mod body;
mod events;
mod logs;
mod own;
mod plugins;
mod progress;
mod query;
mod route;
mod stream;
mod system;
mod version;
mod volumes;

use answer::{Answer, Failed};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use error::{Error, Result};
use plugin::Engine;
use plugin::registry::{Auth, Registry};
use query::Query;
use route::Route;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 8 << 10;

/// What the handlers share.
pub struct Api {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Where it keeps its state, for `docker info`.
    pub root: PathBuf,
    /// Turns true when the program ends: endless answers end too.
    pub stop: watch::Receiver<bool>,
}

/// The routes.
pub fn router(api: Arc<Api>) -> Router {
    Router::new().fallback(serve).with_state(api)
}

/// A request whose route is known.
struct Call {
    api: Arc<Api>,
    query: Query,
    headers: HeaderMap,
}

impl Call {
    /// The credentials that came along; `None`: none were sent, so stored ones are looked for.
    fn auth(&self) -> Option<Auth> {
        let header = self.headers.get("x-registry-auth").filter(|value| !value.is_empty())?;
        Some(Registry::auth_header(header.to_str().ok()))
    }
}

async fn serve(State(api): State<Arc<Api>>, request: Request) -> Response {
    let mut response = admit(api, request).await.unwrap_or_else(IntoResponse::into_response);
    let headers = response.headers_mut();
    for (name, value) in [
        ("api-version", version::MAX),
        ("docker-experimental", "false"),
        ("ostype", "linux"),
        ("server", concat!("Mobula/", env!("CARGO_PKG_VERSION"), " (linux)")),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn admit(api: Arc<Api>, request: Request) -> Answer {
    let (head, body) = request.into_parts();
    let lines = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    if lines.sum::<usize>() + head.uri.to_string().len() > MAX_HEAD {
        let error = Error::invalid_argument(format!(
            "the head of the request is larger than {MAX_HEAD} bytes"
        ));
        return Err(Failed::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, error));
    }
    let path = query::decode(head.uri.path())?;
    let (path, is_versioned) = version::strip(&path)?;
    let route = Route::find(head.method.as_str(), path)
        .filter(|route| !(is_versioned && matches!(route, Route::Own(_))))
        .ok_or_else(|| Error::not_found("page not found"))?;
    let query = Query::of(&head.uri)?;
    let is_head = head.method == axum::http::Method::HEAD;
    dispatch(route, Call { api, query, headers: head.headers }, body, is_head).await
}

async fn dispatch(route: Route, call: Call, body: Body, is_head: bool) -> Answer {
    match route {
        Route::Ping => Ok(system::ping(is_head)),
        Route::Version => Ok(system::version()),
        Route::Info => Ok(system::info(&call.api).await),
        Route::Events => events::follow(&call),
        Route::Plugins => plugins::list(&call),
        Route::Inspect(name) => plugins::inspect(&call, &name),
        Route::Privileges => plugins::privileges(&call).await,
        Route::Pull => plugins::pull(&call, body).await,
        Route::Create => plugins::create(&call, body).await,
        Route::Enable(name) => plugins::enable(&call, name).await,
        Route::Disable(name) => plugins::disable(&call, name).await,
        Route::Remove(name) => plugins::remove(&call, name).await,
        Route::Set(name) => plugins::set(&call, body, name).await,
        Route::Upgrade(name) => plugins::upgrade(&call, body, name).await,
        Route::Push(name) => plugins::push(&call, name).await,
        Route::Volumes => volumes::list(&call).await,
        Route::CreateVolume => volumes::create(&call, body).await,
        Route::Volume(name) => volumes::inspect(&call, &name).await,
        Route::UpdateVolume => Err(volumes::no_cluster()),
        Route::RemoveVolume(name) => volumes::remove(&call, name).await,
        Route::Prune => volumes::prune(&call).await,
        Route::Own(route) => own::dispatch(route, &call, body).await,
    }
}

/// Runs `work` to its end, whatever becomes of the client; a panic of it is an error.
async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|broken| {
        Err(Error::internal("the operation broke off; the engine's log says why").because(broken))
    })
}

/// Waits until an endless answer has to end: its client is gone, or the program ends.
async fn stream_ends(api: &Api, sender: &mpsc::Sender<Result<Bytes>>) {
    let mut stop = api.stop.clone();
    tokio::select! {
        () = sender.closed() => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

#[cfg(test)]
mod tests;
