//! The calls of Docker's API about volumes.

use super::answer::{Answer, Failed, json_of, json_with, nothing};
use super::query::Filters;
use super::{Call, body, detached};
use axum::body::Body;
use axum::http::StatusCode;
use error::{Error, Kind};
use plugin::volumes::{Create, Filter, Volume};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What volumes that nobody named are labelled with.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// The body of a creation.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Wish {
    name: Option<String>,
    driver: Option<String>,
    driver_opts: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
    cluster_volume_spec: Option<Value>,
}

pub(super) async fn list(call: &Call) -> Answer {
    let filters = call.query.filters(&["dangling", "name", "driver", "label"])?;
    let filter = Filter {
        names: filters.values("name").to_vec(),
        drivers: filters.values("driver").to_vec(),
        labels: filters.values("label").to_vec(),
        dangling: filters.flag("dangling")?,
    };
    let (volumes, warnings) = call.api.engine.volumes(&filter).await?;
    let warnings = (!warnings.is_empty()).then_some(warnings);
    Ok(json_of(&json!({ "Volumes": volumes, "Warnings": warnings })))
}

pub(super) async fn create(call: &Call, body: Body) -> Answer {
    let wish: Wish = body::json(call, body).await?;
    if wish.cluster_volume_spec.is_some() {
        return Err(no_cluster());
    }
    let create = Create {
        name: wish.name.unwrap_or_default(),
        driver: wish.driver.filter(|driver| !driver.is_empty()).unwrap_or("local".to_owned()),
        options: wish.driver_opts.unwrap_or_default(),
        labels: wish.labels.unwrap_or_default(),
    };
    let engine = Arc::clone(&call.api.engine);
    let volume = detached(async move { engine.create_volume(create).await }).await?;
    Ok(json_with(StatusCode::CREATED, &volume))
}

pub(super) async fn inspect(call: &Call, name: &str) -> Answer {
    Ok(json_of(&call.api.engine.volume(name).await?))
}

pub(super) async fn remove(call: &Call, name: String) -> Answer {
    let (engine, force) = (Arc::clone(&call.api.engine), call.query.flag("force"));
    detached(async move { engine.remove_volume(&name, force).await }).await?;
    Ok(nothing())
}

/// Volumes of a swarm are not served.
pub(super) fn no_cluster() -> Failed {
    Failed::new(
        StatusCode::SERVICE_UNAVAILABLE,
        Error::unavailable("This node is not a swarm manager: there are no cluster volumes here"),
    )
}

/// Removes volumes that nobody named and nobody uses. `all` widens that to named volumes of driver
/// `local` only, in dockerd as here, where there are none: a plugin's volume that is not used on
/// this machine may be in use on another.
pub(super) async fn prune(call: &Call) -> Answer {
    let filters = call.query.filters(&["label", "label!", "all"])?;
    filters.flag("all")?;
    let wanted = Filter {
        labels: filters.values("label").to_vec(),
        dangling: Some(true),
        ..Filter::default()
    };
    let (volumes, _) = call.api.engine.volumes(&wanted).await?;
    let mut deleted = Vec::new();
    for volume in volumes.into_iter().filter(|volume| is_unwanted(volume, &filters)) {
        let (engine, name) = (Arc::clone(&call.api.engine), volume.name.clone());
        match detached(async move { engine.remove_volume(&name, false).await }).await {
            Ok(()) => deleted.push(volume.name),
            // Somebody took it meanwhile.
            Err(error) if matches!(error.kind(), Kind::FailedPrecondition | Kind::NotFound) => {}
            Err(error) => tracing::warn!(%error, volume = volume.name, "not pruned"),
        }
    }
    Ok(json_of(&json!({ "VolumesDeleted": deleted, "SpaceReclaimed": 0 })))
}

fn is_unwanted(volume: &Volume, filters: &Filters) -> bool {
    let Some(labels) = volume.labels.as_ref().filter(|labels| labels.contains_key(ANONYMOUS))
    else {
        return false;
    };
    let is_spared = |spared: &String| match spared.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|it| it == value),
        None => labels.contains_key(spared),
    };
    !filters.values("label!").iter().any(is_spared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine_api::query::Query;

    fn volume(labels: &Value) -> Volume {
        serde_json::from_value(json!({
            "Driver": "d", "Labels": labels, "Mountpoint": "", "Name": "v",
            "Options": null, "Scope": "local",
        }))
        .unwrap()
    }

    #[test]
    fn only_volumes_that_nobody_named_are_pruned() {
        let query = Query::of(&"/x?filters={%22label!%22:[%22keep=yes%22]}".parse().unwrap());
        let filters = query.unwrap().filters(&["label!"]).unwrap();
        assert!(!is_unwanted(&volume(&Value::Null), &filters));
        assert!(!is_unwanted(&volume(&json!({ "a": "b" })), &filters));
        assert!(is_unwanted(&volume(&json!({ ANONYMOUS: "" })), &filters));
        assert!(is_unwanted(&volume(&json!({ ANONYMOUS: "", "keep": "no" })), &filters));
        assert!(!is_unwanted(&volume(&json!({ ANONYMOUS: "", "keep": "yes" })), &filters));
    }

    #[test]
    fn nulls_in_a_wish_are_nothing() {
        let text = r#"{"Name":null,"Driver":"d","DriverOpts":null,"Labels":null}"#;
        let wish: Wish = serde_json::from_str(text).unwrap();
        assert_eq!((wish.name, wish.driver.as_deref()), (None, Some("d")));
    }
}
