//! The control API: HTTP and JSON under `/v1`, health, metrics, and its own description at
//! `/v1/openapi.json`. Decodes, calls, maps; decides nothing.

mod actions;
mod describe;
mod snapshots;
mod volumes;

use crate::api::{DriverInfo, Failure, FailureInfo, Health, MountInfo, MountList, ServiceInfo};
use crate::app::App;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use bytes::Bytes;
use error::{Error, Kind, Result};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use utoipa::OpenApi;
use volume::drivers;

/// The largest request body, in bytes.
pub const MAX_BODY: usize = 1 << 20;
/// How long a client may take to send the body of a request.
const BODY: Duration = Duration::from_secs(30);
/// How long a call waits for its operation; the operation itself goes on.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// The description of this API.
#[derive(OpenApi)]
#[openapi(
    info(title = "Mobula control API", description = "Volumes of this machine."),
    paths(
        health,
        metrics,
        list_drivers,
        list_services,
        list_mounts,
        volumes::list,
        volumes::create,
        volumes::inspect,
        volumes::remove,
        volumes::attach,
        volumes::detach,
        volumes::mount,
        volumes::unmount,
        volumes::expand,
        snapshots::list,
        snapshots::create,
        snapshots::remove,
        actions::act,
    ),
    components(schemas(Failure))
)]
pub struct Description;

/// The routes.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/v1/health", get(health))
        .route("/v1/openapi.json", get(|| async { json(&Description::openapi()) }))
        .route("/v1/drivers", get(list_drivers))
        .route("/v1/services", get(list_services))
        .route("/v1/mounts", get(list_mounts))
        .route("/v1/volumes", get(volumes::list).post(volumes::create))
        .route(
            "/v1/services/{service}/volumes/{name}",
            get(volumes::inspect).delete(volumes::remove),
        )
        .route("/v1/services/{service}/volumes/{name}/attach", post(volumes::attach))
        .route("/v1/services/{service}/volumes/{name}/detach", post(volumes::detach))
        .route("/v1/services/{service}/volumes/{name}/mount", post(volumes::mount))
        .route("/v1/services/{service}/volumes/{name}/unmount", post(volumes::unmount))
        .route("/v1/services/{service}/volumes/{name}/expand", post(volumes::expand))
        .route("/v1/snapshots", get(snapshots::list).post(snapshots::create))
        .route("/v1/services/{service}/snapshots/{name}", delete(snapshots::remove))
        .route("/v1/services/{service}/actions/{action}", post(actions::act))
        .fallback(|request: Request| async move {
            Failed(Error::unimplemented(format!(
                "there is no {} {}; the API is described at /v1/openapi.json",
                request.method(),
                request.uri().path()
            )))
        })
        .with_state(app)
}

/// An error on its way to an HTTP answer. Logged here, where its journey ends.
pub struct Failed(Error);

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.kind().http());
        let failure = Failure { error: self.tell() };
        (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), json(&failure)).into_response()
    }
}

impl Failed {
    /// Logs the error, and says it as the API does.
    fn tell(&self) -> FailureInfo {
        let error = &self.0;
        if matches!(error.kind(), Kind::Internal | Kind::Unavailable | Kind::DeadlineExceeded) {
            tracing::error!(?error, "request failed");
        } else {
            tracing::debug!(?error, "request refused");
        }
        let context = error.context().iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        FailureInfo {
            kind: error.kind().name().to_owned(),
            message: error.chain(),
            context: context.collect(),
        }
    }
}

/// The answer of a handler.
type Answer = std::result::Result<Response, Failed>;

fn json(body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(text) => {
            let kind = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The whole body of a request; larger than [`MAX_BODY`] → `InvalidArgument`.
pub async fn read_body(body: Body) -> Result<Bytes> {
    read_body_of(body, MAX_BODY).await
}

/// The whole body of a request; larger than `most` bytes → `InvalidArgument`.
pub async fn read_body_of(body: Body, most: usize) -> Result<Bytes> {
    let collected = tokio::time::timeout(BODY, Limited::new(body, most).collect()).await;
    let collected = collected.map_err(|_| {
        Error::deadline_exceeded(format!("the request did not arrive within {} s", BODY.as_secs()))
    })?;
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::invalid_argument(format!(
            "the request is larger than {most} bytes; no call needs as many"
        ))),
        Err(error) => Err(Error::aborted("the request broke off").because(error)),
    }
}

async fn decode<T: DeserializeOwned>(body: Body) -> Result<T> {
    let bytes = read_body(body).await?;
    let text = if bytes.is_empty() { b"{}".as_slice() } else { &bytes };
    serde_json::from_slice(text).map_err(|source| {
        Error::invalid_argument("the request body is not what this call takes").because(source)
    })
}

/// Whether the agent is well.
#[utoipa::path(get, path = "/v1/health", responses((status = 200, body = Health)))]
async fn health(State(app): State<Arc<App>>) -> Response {
    let services = describe::services(&app);
    let well = services.iter().all(|service| service.error.is_none());
    json(&Health {
        status: if well { "ok" } else { "degraded" }.to_owned(),
        version: crate::VERSION.to_owned(),
        pid: std::process::id(),
        services,
    })
}

/// Counters and timings in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", responses((status = 200, body = String)))]
async fn metrics(State(app): State<Arc<App>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let kind = HeaderValue::from_static(kind);
    ([(header::CONTENT_TYPE, kind)], app.around().metrics.render()).into_response()
}

/// The drivers of this program.
#[utoipa::path(get, path = "/v1/drivers", responses((status = 200, body = Vec<DriverInfo>)))]
async fn list_drivers() -> Response {
    json(&drivers::ALL.into_iter().map(describe::driver).collect::<Vec<_>>())
}

/// The configured services.
#[utoipa::path(get, path = "/v1/services", responses((status = 200, body = Vec<ServiceInfo>)))]
async fn list_services(State(app): State<Arc<App>>) -> Response {
    json(&describe::services(&app))
}

/// The volumes in use on this machine.
#[utoipa::path(get, path = "/v1/mounts", responses((status = 200, body = MountList)))]
async fn list_mounts(State(app): State<Arc<App>>) -> Response {
    let services = app.services();
    let mounts: Vec<MountInfo> = services.ready().flat_map(|s| describe::mounts(&s)).collect();
    json(&MountList { root: app.around().paths.mounts(), mounts })
}
