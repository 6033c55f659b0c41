//! `/v1/volumes` and `/v1/services/{service}/volumes/{name}`.

use super::{Answer, PATIENCE, decode, describe, json};
use crate::api::{Changed, CreateVolume, ExpandVolume, MountVolume, VolumeInfo, VolumeList};
use crate::app::App;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use error::{Error, Kind, Result};
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use volume::driver::Page;
use volume::ledger::{Consumer, ConsumerKind};
use volume::options::parse_volume_options;
use volume::orchestrator::Request;
use volume::{Orchestrator, Outcome, ServiceName, Size, VolumeName};

/// The mount ID of people who do not give one.
const CLI: &str = "cli";

/// How to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    /// Only this service.
    service: Option<String>,
    /// At most so many.
    limit: Option<usize>,
    /// The `next` of the part before.
    token: Option<String>,
}

/// How to remove.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Removal {
    /// Also when callers have not given it back; what a container still holds stays.
    #[serde(default)]
    force: bool,
}

/// The names in a volume's path.
type Place = Path<(String, String)>;

fn find(app: &App, Path((service, name)): Place) -> Result<(Arc<Orchestrator>, VolumeName)> {
    let service = app.services().get(&ServiceName::parse(&service)?)?;
    Ok((service, VolumeName::parse(&name)?))
}

/// List volumes.
#[utoipa::path(get, path = "/v1/volumes", params(Listing),
    responses((status = 200, body = VolumeList)))]
pub(super) async fn list(State(app): State<Arc<App>>, Query(listing): Query<Listing>) -> Answer {
    let mut answer = VolumeList { volumes: Vec::new(), next: None, failed: BTreeMap::new() };
    let (first, mut token) = begin(listing.token)?;
    if let Some(service) = &listing.service {
        // One that cannot be listed is an error when it was asked for by name.
        app.services().choose(Some(service))?;
    }
    for (name, _, service) in app.services().list() {
        let asked_for = listing.service.as_ref().is_none_or(|wanted| wanted == name.as_str());
        if !asked_for || first.as_ref().is_some_and(|first| name < first) {
            continue;
        }
        let left = listing.limit.map(|limit| limit.saturating_sub(answer.volumes.len()));
        if left == Some(0) {
            answer.next = Some(format!("{name}/"));
            break;
        }
        let resumed = token.take().filter(|_| first.as_ref() == Some(name));
        let page = Page { limit: left.unwrap_or(0), token: resumed };
        match list_one(service, &page).await {
            Ok((volumes, next)) => {
                answer.volumes.extend(volumes);
                answer.next = next.map(|token| format!("{name}/{token}"));
            }
            // One back end that does not answer must not hide the others.
            Err(error) if listing.service.is_none() && error.kind() != Kind::Aborted => {
                answer.failed.insert(name.to_string(), error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
        if answer.next.is_some() {
            break;
        }
    }
    Ok(json(&answer))
}

/// A token names the service it stopped in, and where in there.
fn begin(token: Option<String>) -> Result<(Option<ServiceName>, Option<String>)> {
    let Some(token) = token else { return Ok((None, None)) };
    let wrong =
        || Error::aborted("the page token is not one of this listing; begin again without it");
    let (service, rest) = token.split_once('/').ok_or_else(wrong)?;
    let service = ServiceName::parse(service).map_err(|_| wrong())?;
    Ok((Some(service), (!rest.is_empty()).then(|| rest.to_owned())))
}

async fn list_one(
    service: Result<Arc<Orchestrator>>,
    page: &Page,
) -> Result<(Vec<VolumeInfo>, Option<String>)> {
    let service = service?;
    let listed = service.list(page).await?;
    let volumes = listed.entries.into_iter().map(|view| describe::volume(&service, view));
    let mut volumes: Vec<_> = volumes.collect();
    if page.token.is_none() && listed.next.is_none() {
        volumes.extend(describe::vanished(&service, &volumes));
    }
    Ok((volumes, listed.next))
}

/// Create a volume; the same request again changes nothing.
#[utoipa::path(post, path = "/v1/volumes", request_body = CreateVolume,
    responses((status = 200, body = Changed)))]
pub(super) async fn create(State(app): State<Arc<App>>, body: Body) -> Answer {
    let asked: CreateVolume = decode(body).await?;
    let service = app.services().choose(asked.service.as_deref())?;
    let given = asked.options.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let (parameters, origin) = parse_volume_options(service.spec(), given)?;
    let name = VolumeName::parse(&asked.name)?;
    let request = Request { name: name.clone(), asked: parameters, labels: asked.labels, origin };
    let work = |service: Arc<Orchestrator>| async move {
        match asked.from {
            Some(from) => service.import(request, &from).await,
            None => service.create(request).await,
        }
    };
    let outcome = app.operate(Arc::clone(&service), PATIENCE, work).await?;
    Ok(json(&changed(&service, &name, outcome.is_done(), None).await?))
}

async fn changed(
    service: &Arc<Orchestrator>,
    name: &VolumeName,
    changed: bool,
    note: Option<String>,
) -> Result<Changed> {
    let volume = service.find(name).await?.map(|view| describe::volume(service, view));
    Ok(Changed { changed, volume, note })
}

/// Inspect a volume.
#[utoipa::path(get, path = "/v1/services/{service}/volumes/{name}",
    params(("service" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = VolumeInfo), (status = 404, body = crate::api::Failure)))]
pub(super) async fn inspect(State(app): State<Arc<App>>, place: Place) -> Answer {
    let (service, name) = find(&app, place)?;
    let view = service.get(&name).await?;
    Ok(json(&describe::volume(&service, view)))
}

/// Remove a volume and its data.
#[utoipa::path(delete, path = "/v1/services/{service}/volumes/{name}",
    params(("service" = String, Path), ("name" = String, Path), Removal),
    responses((status = 200, body = Changed), (status = 412, body = crate::api::Failure)))]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    place: Place,
    Query(Removal { force }): Query<Removal>,
) -> Answer {
    let (service, name) = find(&app, place)?;
    let work = |service: Arc<Orchestrator>| async move { service.remove(&name, force).await };
    let outcome = app.operate(service, PATIENCE, work).await?;
    Ok(json(&Changed { changed: outcome.is_done(), volume: None, note: None }))
}

/// Runs `work` on the volume of `place` and answers with the volume afterwards.
async fn change<W>(
    app: &App,
    place: Place,
    work: impl FnOnce(Arc<Orchestrator>, VolumeName) -> W,
) -> Answer
where
    W: Future<Output = Result<(bool, Option<String>)>> + Send + 'static,
{
    let (service, name) = find(app, place)?;
    let subject = name.clone();
    let (done, note) =
        app.operate(Arc::clone(&service), PATIENCE, |service| work(service, subject)).await?;
    Ok(json(&changed(&service, &name, done, note).await?))
}

/// Attach a volume to this machine until it is detached, mounted or not.
#[utoipa::path(post, path = "/v1/services/{service}/volumes/{name}/attach",
    params(("service" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Changed)))]
pub(super) async fn attach(State(app): State<Arc<App>>, place: Place) -> Answer {
    let work = |service: Arc<Orchestrator>, name| async move {
        let outcome = service.attach(&name).await?;
        let done = outcome.is_done();
        let note = outcome.into_inner().is_none().then(|| {
            format!("driver {} has nothing to attach; mount the volume", service.spec().name)
        });
        Ok((done, note))
    };
    change(&app, place, work).await
}

/// Detach a volume that nobody has mounted.
#[utoipa::path(post, path = "/v1/services/{service}/volumes/{name}/detach",
    params(("service" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Changed)))]
pub(super) async fn detach(State(app): State<Arc<App>>, place: Place) -> Answer {
    let work = |service: Arc<Orchestrator>, name| async move {
        Ok((service.detach(&name).await?.is_done(), None))
    };
    change(&app, place, work).await
}

/// Mount a volume.
#[utoipa::path(post, path = "/v1/services/{service}/volumes/{name}/mount",
    params(("service" = String, Path), ("name" = String, Path)),
    request_body = MountVolume, responses((status = 200, body = Changed)))]
pub(super) async fn mount(State(app): State<Arc<App>>, place: Place, body: Body) -> Answer {
    let asked: MountVolume = decode(body).await?;
    let consumer = Consumer {
        id: mount_id(asked.id)?,
        since: Timestamp::now(),
        kind: ConsumerKind::Standing,
        caller: None,
    };
    let work = |service: Arc<Orchestrator>, name| async move {
        let entry = service.find(&name).await?.and_then(|view| view.entry);
        let had = entry.is_some_and(|entry| entry.has(&consumer.id));
        service.mount(&name, consumer).await?;
        Ok((!had, None))
    };
    change(&app, place, work).await
}

/// Give a mount back; the last one unmounts the volume.
#[utoipa::path(post, path = "/v1/services/{service}/volumes/{name}/unmount",
    params(("service" = String, Path), ("name" = String, Path)),
    request_body = MountVolume, responses((status = 200, body = Changed)))]
pub(super) async fn unmount(State(app): State<Arc<App>>, place: Place, body: Body) -> Answer {
    let asked: MountVolume = decode(body).await?;
    let work = |service: Arc<Orchestrator>, name: VolumeName| async move {
        // One that was removed by somebody else while it is in use can still be let go of.
        if !service.in_use().iter().any(|entry| entry.name == name) {
            service.get(&name).await?;
        }
        let outcome: Outcome = match asked.all {
            true => service.unmount_all(&name).await?,
            false => service.unmount(&name, &mount_id(asked.id)?).await?,
        };
        let entries = service.in_use();
        let left = entries.iter().find(|entry| entry.name == name);
        let left = left.map_or(0, |entry| entry.consumers.len());
        let note = match left {
            0 => None,
            1 => Some("one other user has it mounted".to_owned()),
            more => Some(format!("{more} other users have it mounted")),
        };
        Ok((outcome.is_done(), note))
    };
    change(&app, place, work).await
}

fn mount_id(id: Option<String>) -> Result<String> {
    let id = id.unwrap_or_else(|| CLI.to_owned());
    if id.is_empty() || id.len() > 256 || id.chars().any(char::is_control) {
        return Err(Error::invalid_argument(
            "a mount ID has 1 to 256 bytes without control characters",
        ));
    }
    Ok(id)
}

/// Grow a volume.
#[utoipa::path(post, path = "/v1/services/{service}/volumes/{name}/expand",
    params(("service" = String, Path), ("name" = String, Path)),
    request_body = ExpandVolume, responses((status = 200, body = Changed)))]
pub(super) async fn expand(State(app): State<Arc<App>>, place: Place, body: Body) -> Answer {
    let asked: ExpandVolume = decode(body).await?;
    let size = Size::parse(&asked.size)?;
    let work = move |service: Arc<Orchestrator>, name| async move {
        let outcome = service.expand(&name, size).await?;
        let done = outcome.is_done();
        let note = (!outcome.into_inner().in_effect)
            .then(|| "the file system grows with the next mount".to_owned());
        Ok((done, note))
    };
    change(&app, place, work).await
}
