//! Docker's volume plugin protocol (<https://docs.docker.com/engine/extend/plugins_volume/>): the
//! activation and the eight `VolumeDriver` calls, for dockerd and for Podman. Decodes, calls, maps.
//!
//! Every failure is an HTTP error with a JSON `Err`: Podman takes any 200 for success.

use crate::app::App;
use crate::listen::Peer;
use crate::rest::read_body;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use error::{Error, Kind, Result};
use host::process::Identity;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use volume::driver::Page;
use volume::ledger::{Consumer, ConsumerKind};
use volume::options::parse_volume_options;
use volume::orchestrator::{Request as VolumeRequest, View};
use volume::{Orchestrator, ServiceName, VolumeName};

/// dockerd waits two minutes for Create and Mount; an answer shortly before says more than none.
const LONG: Duration = Duration::from_secs(115);
/// It waits one minute for everything else.
const SHORT: Duration = Duration::from_secs(55);
/// What answers are labelled as.
const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";
/// The mount ID that Podman gives for every container of every machine: it is given back by whoever
/// stops last, not by the process that asked.
const PODMAN_ID: &str = "2f73349cfc4630255319c6c8dfc1b46a8996ace9d14d8e07563b165915918ec2";

/// A plugin socket: one service under Docker's protocol.
struct Module {
    app: Arc<App>,
    service: ServiceName,
}

/// Any request of the protocol; which fields are needed depends on the call.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Call {
    #[serde(rename = "Name", alias = "name")]
    name: Option<String>,
    #[serde(rename = "ID", alias = "Id", alias = "id")]
    id: Option<String>,
    #[serde(rename = "Opts", alias = "opts")]
    opts: Option<BTreeMap<String, Option<String>>>,
}

/// The routes of a plugin that offers `service`.
pub fn router(app: Arc<App>, service: ServiceName) -> Router {
    Router::new().fallback(answer).with_state(Arc::new(Module { app, service }))
}

async fn answer(State(module): State<Arc<Module>>, request: Request) -> Response {
    let method = request.uri().path().trim_start_matches('/').to_owned();
    let peer = request.extensions().get::<Peer>().copied().unwrap_or(Peer(None));
    match module.call(&method, peer, request.into_body()).await {
        Ok(body) => respond(StatusCode::OK, body),
        Err(error) => {
            let quiet = matches!(error.kind(), Kind::NotFound | Kind::Unimplemented);
            if quiet {
                tracing::debug!(method, ?error, "refused");
            } else {
                tracing::warn!(method, ?error, "failed");
            }
            let status = StatusCode::from_u16(error.kind().http());
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            respond(status, encode(&json!({ "Err": error.to_string() })).unwrap_or_default())
        }
    }
}

fn encode(body: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(body).map_err(|source| Error::internal("encode the answer").because(source))
}

fn respond(status: StatusCode, text: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))], text).into_response()
}

impl Module {
    async fn call(&self, method: &str, peer: Peer, body: Body) -> Result<Vec<u8>> {
        let body = read_body(body).await?;
        match method {
            "Plugin.Activate" => return encode(&json!({ "Implements": ["VolumeDriver"] })),
            "VolumeDriver.Capabilities" => return encode(&self.capabilities()?),
            // Podman sends no body at all with this one.
            "VolumeDriver.List" => return self.list().await,
            _ => {}
        }
        let call: Call = decode(&body)?;
        let answer = match method {
            "VolumeDriver.Create" => self.create(call).await,
            "VolumeDriver.Get" => self.get(&name(&call)?).await,
            "VolumeDriver.Path" => self.path(&name(&call)?).await,
            "VolumeDriver.Mount" => self.mount(&call, peer).await,
            "VolumeDriver.Unmount" => self.unmount(&call).await,
            "VolumeDriver.Remove" => self.remove(&call).await,
            other => Err(Error::unimplemented(format!(
                "method \"{}\" is not part of Docker's volume plugin protocol",
                other.escape_debug().take(60).collect::<String>()
            ))),
        };
        encode(&answer?)
    }

    fn service(&self) -> Result<Arc<Orchestrator>> {
        self.app.services().get(&self.service)
    }

    fn capabilities(&self) -> Result<Value> {
        let scope = if self.service()?.capabilities().shared { "global" } else { "local" };
        Ok(json!({ "Capabilities": { "Scope": scope } }))
    }

    async fn list(&self) -> Result<Vec<u8>> {
        let listed = self.service()?.list(&Page::default()).await?;
        let volumes: Vec<Listed<'_>> = listed.entries.iter().map(listed_volume).collect();
        encode(&Volumes { volumes, err: "" })
    }

    async fn create(&self, call: Call) -> Result<Value> {
        let name = name(&call)?;
        let service = self.service()?;
        let opts = call.opts.unwrap_or_default();
        let given =
            opts.iter().map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or("")));
        let (asked, origin) = parse_volume_options(service.spec(), given)?;
        let request = VolumeRequest { name, asked, labels: BTreeMap::new(), origin };
        let work = |service: Arc<Orchestrator>| async move { service.create(request).await };
        self.app.operate(service, LONG, work).await?;
        Ok(done())
    }

    async fn get(&self, name: &VolumeName) -> Result<Value> {
        let view = self.app.services().look(&self.service)?.get(name).await?;
        let status = status(&self.service, &view);
        let View { volume, mountpoint, .. } = view;
        Ok(json!({
            "Volume": {
                "Name": volume.name,
                "Mountpoint": mountpoint.unwrap_or_default(),
                "CreatedAt": created(volume.created),
                "Status": status,
            },
            "Err": "",
        }))
    }

    async fn path(&self, name: &VolumeName) -> Result<Value> {
        let mountpoint = self.service()?.get(name).await?.mountpoint.unwrap_or_default();
        Ok(json!({ "Mountpoint": mountpoint, "Err": "" }))
    }

    async fn mount(&self, call: &Call, peer: Peer) -> Result<Value> {
        let (name, id) = (name(call)?, id(call)?);
        let consumer = consumer(id, peer);
        // Dropped with this call's future, also when its connection breaks.
        let waiting = Arc::new(());
        let waits = Arc::downgrade(&waiting);
        let work = |service: Arc<Orchestrator>| async move {
            service.mount_while(&name, consumer, || waits.strong_count() > 0).await
        };
        let mountpoint: PathBuf = self.app.operate(self.service()?, LONG, work).await?;
        drop(waiting);
        Ok(json!({ "Mountpoint": mountpoint, "Err": "" }))
    }

    async fn unmount(&self, call: &Call) -> Result<Value> {
        let (name, id) = (name(call)?, id(call)?);
        let work = |service: Arc<Orchestrator>| async move { service.unmount(&name, &id).await };
        self.app.operate(self.service()?, SHORT, work).await?;
        Ok(done())
    }

    async fn remove(&self, call: &Call) -> Result<Value> {
        let name = name(call)?;
        let work = |service: Arc<Orchestrator>| async move { service.remove(&name, false).await };
        self.app.operate(self.service()?, SHORT, work).await?;
        Ok(done())
    }
}

fn done() -> Value {
    json!({ "Err": "" })
}

/// dockerd's client repeats a call whose connection broke with an empty body: that must not pass
/// for a request.
fn decode(body: &[u8]) -> Result<Call> {
    if body.is_empty() {
        return Err(Error::invalid_argument("the request is empty; it needs at least a Name"));
    }
    let call: Option<Call> = serde_json::from_slice(body).map_err(|source| {
        Error::invalid_argument("the request is not the JSON of this protocol").because(source)
    })?;
    Ok(call.unwrap_or_default())
}

fn name(call: &Call) -> Result<VolumeName> {
    match call.name.as_deref() {
        None | Some("") => {
            Err(Error::invalid_argument("the request has no Name; every volume has one"))
        }
        Some(name) => VolumeName::parse(name),
    }
}

fn id(call: &Call) -> Result<String> {
    let id = call.id.clone().unwrap_or_default();
    if id.is_empty() || id.len() > 256 || id.chars().any(char::is_control) {
        return Err(Error::invalid_argument(
            "the request has no proper ID; mounts are counted by it, 1 to 256 bytes",
        ));
    }
    Ok(id)
}

fn consumer(id: String, Peer(pid): Peer) -> Consumer {
    let caller = pid.and_then(|pid| Identity::of(pid).ok().flatten());
    let kind = if id == PODMAN_ID { ConsumerKind::Standing } else { ConsumerKind::Engine };
    Consumer { id, since: Timestamp::now(), kind, caller }
}

/// RFC 3339 without fractions; a malformed one makes dockerd drop the whole answer.
fn created(created: Timestamp) -> String {
    created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The answer to List, encoded without a detour since it may be long.
#[derive(Serialize)]
struct Volumes<'a> {
    #[serde(rename = "Volumes")]
    volumes: Vec<Listed<'a>>,
    #[serde(rename = "Err")]
    err: &'static str,
}

#[derive(Serialize)]
struct Listed<'a> {
    #[serde(rename = "Name")]
    name: &'a str,
    #[serde(rename = "Mountpoint", skip_serializing_if = "Option::is_none")]
    mountpoint: Option<&'a PathBuf>,
    #[serde(rename = "CreatedAt")]
    created: String,
}

fn listed_volume(view: &View) -> Listed<'_> {
    Listed {
        name: view.volume.name.as_str(),
        mountpoint: view.mountpoint.as_ref(),
        created: created(view.volume.created),
    }
}

/// What `docker volume inspect` shows under `Status`.
fn status(service: &ServiceName, view: &View) -> Value {
    let mut status = serde_json::Map::new();
    status.insert("service".to_owned(), service.as_str().into());
    if let Some(size) = view.volume.size {
        status.insert("size".to_owned(), size.to_string().into());
    }
    if let Some(filesystem) = &view.volume.filesystem {
        status.insert("fsType".to_owned(), filesystem.fstype.name().into());
    }
    let consumers = view.entry.as_ref().map_or(0, |entry| entry.consumers.len());
    status.insert("mounts".to_owned(), consumers.into());
    if !view.elsewhere.is_empty() {
        let nodes: Vec<_> = view.elsewhere.iter().map(ToString::to_string).collect();
        status.insert("attachedTo".to_owned(), nodes.into());
    }
    if let Some(fault) = &view.fault {
        status.insert("fault".to_owned(), fault.as_str().into());
    }
    Value::Object(status)
}
