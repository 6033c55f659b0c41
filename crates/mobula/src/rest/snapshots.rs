//! `/v1/snapshots` and `/v1/services/{service}/snapshots/{name}`.

use super::{Answer, PATIENCE, decode, describe, json};
use crate::api::{CreateSnapshot, SnapshotChanged, SnapshotList};
use crate::app::App;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use error::Error;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use volume::driver::Page;
use volume::{Orchestrator, ServiceName, SnapshotName, VolumeName};

/// How to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    /// Only this service.
    service: Option<String>,
}

/// List snapshots.
#[utoipa::path(get, path = "/v1/snapshots", params(Listing),
    responses((status = 200, body = SnapshotList)))]
pub(super) async fn list(State(app): State<Arc<App>>, Query(listing): Query<Listing>) -> Answer {
    let mut answer = SnapshotList { snapshots: Vec::new(), failed: BTreeMap::new() };
    if let Some(service) = &listing.service {
        app.services().choose(Some(service))?;
    }
    for (name, _, service) in app.services().list() {
        if listing.service.as_ref().is_some_and(|wanted| wanted != name.as_str()) {
            continue;
        }
        let listed = async {
            let service = service?;
            let listed = service.snapshots(&Page::default()).await?;
            Ok::<_, Error>(listed.entries.into_iter().map(move |s| describe::snapshot(&service, s)))
        };
        match listed.await {
            Ok(snapshots) => answer.snapshots.extend(snapshots),
            Err(error) => drop(answer.failed.insert(name.to_string(), error.to_string())),
        }
    }
    Ok(json(&answer))
}

/// Take a snapshot; the same request again changes nothing.
#[utoipa::path(post, path = "/v1/snapshots", request_body = CreateSnapshot,
    responses((status = 200, body = SnapshotChanged)))]
pub(super) async fn create(State(app): State<Arc<App>>, body: Body) -> Answer {
    let asked: CreateSnapshot = decode(body).await?;
    let service = app.services().choose(asked.service.as_deref())?;
    let (volume, name) = (VolumeName::parse(&asked.volume)?, SnapshotName::parse(&asked.name)?);
    let work = |service: Arc<Orchestrator>| async move { service.snapshot(&volume, &name).await };
    let outcome = app.operate(Arc::clone(&service), PATIENCE, work).await?;
    let changed = outcome.is_done();
    let snapshot = Some(describe::snapshot(&service, outcome.into_inner()));
    Ok(json(&SnapshotChanged { changed, snapshot }))
}

/// Delete a snapshot.
#[utoipa::path(delete, path = "/v1/services/{service}/snapshots/{name}",
    params(("service" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = SnapshotChanged)))]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Path((service, name)): Path<(String, String)>,
) -> Answer {
    let service = app.services().get(&ServiceName::parse(&service)?)?;
    let name = SnapshotName::parse(&name)?;
    let work = |service: Arc<Orchestrator>| async move { service.remove_snapshot(&name).await };
    let outcome = app.operate(service, PATIENCE, work).await?;
    Ok(json(&SnapshotChanged { changed: outcome.is_done(), snapshot: None }))
}
