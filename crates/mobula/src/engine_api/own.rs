//! What Docker's API has no room for, below `/mobula`: the calls of our own command line.

use super::answer::{Answer, json_of, nothing, typed};
use super::route::Own;
use super::stream::{self, Writer};
use super::{Call, body, detached, logs};
use axum::body::Body;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use error::{Error, Result};
use plugin::engine::Choices;
use plugin::privileges::Privilege;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;

/// The header that has the privileges granted to what is loaded: base64 of their JSON.
const PRIVILEGES: &str = "x-mobula-privileges";
/// How many hits a search has when nothing is said.
const HITS: usize = 25;

/// The body of an execution.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Execute {
    cmd: Vec<String>,
}

pub(super) async fn dispatch(route: Own, call: &Call, body: Body) -> Answer {
    let engine = &call.api.engine;
    match route {
        Own::DescribeAll => Ok(json_of(&engine.describe_all().await?)),
        Own::Describe(name) => Ok(json_of(&engine.describe(&name).await?)),
        Own::Choose(name) => choose(call, body, name).await,
        Own::Logs(name) => logs::read(call, &name).await,
        Own::Top(name) => Ok(json_of(&engine.top(&name).await?)),
        Own::Exec(name) => execute(call, body, name).await,
        Own::Save(name) => save(call, name).await,
        Own::Load => load(call, body).await,
        Own::Collect => collect(call).await,
        Own::Search => search(call).await,
        Own::Podman => {
            let text = engine.podman_configuration()?;
            Ok(typed(StatusCode::OK, "text/plain; charset=utf-8", text))
        }
    }
}

async fn choose(call: &Call, body: Body, name: String) -> Answer {
    let choices: Choices = body::json(call, body).await?;
    let engine = Arc::clone(&call.api.engine);
    detached(async move { engine.choose(&name, choices).await }).await?;
    Ok(nothing())
}

async fn execute(call: &Call, body: Body, name: String) -> Answer {
    let Execute { cmd } = body::json(call, body).await?;
    if cmd.is_empty() {
        return Err(Error::invalid_argument("there is no command; give it as Cmd").into());
    }
    Ok(json_of(&call.api.engine.exec(&name, cmd).await?))
}

async fn save(call: &Call, name: String) -> Answer {
    let (sender, pieces) = mpsc::channel(8);
    let (engine, writer) = (Arc::clone(&call.api.engine), Box::new(Writer(sender.clone())));
    tokio::spawn(async move {
        if let Err(error) = detached(async move { engine.save(&name, writer).await }).await {
            let _ = sender.send(Err(error)).await;
        }
    });
    stream::after_first(pieces, "application/x-tar").await
}

async fn load(call: &Call, body: Body) -> Answer {
    let privileges = granted(call)?;
    let name = call.query.find("name").map(str::to_owned);
    let (engine, tar) = (Arc::clone(&call.api.engine), body::reader(body));
    let names = detached(async move { engine.load(tar, name, privileges).await }).await?;
    Ok(json_of(&names))
}

fn granted(call: &Call) -> Result<Option<Vec<Privilege>>> {
    let Some(header) = call.headers.get(PRIVILEGES) else { return Ok(None) };
    let json = BASE64_STANDARD.decode(header.as_bytes()).ok();
    json.and_then(|json| serde_json::from_slice(&json).ok()).map(Some).ok_or_else(|| {
        Error::invalid_argument(format!(
            "header {PRIVILEGES} is not base64 of a list of privileges"
        ))
    })
}

async fn collect(call: &Call) -> Answer {
    let (engine, dry_run) = (Arc::clone(&call.api.engine), call.query.flag("dry_run"));
    let garbage = detached(async move { engine.collect(dry_run).await }).await?;
    let shown = garbage.iter().map(|it| json!({ "path": it.path, "bytes": it.bytes }));
    Ok(json_of(&shown.collect::<Vec<Value>>()))
}

async fn search(call: &Call) -> Answer {
    let term = call.query.find("term").unwrap_or_default();
    let limit = call.query.find("limit").map_or(Ok(HITS), |text| {
        text.parse()
            .map_err(|_| Error::invalid_argument(format!("limit {text:?} is not a number of hits")))
    })?;
    Ok(json_of(&call.api.engine.search(term, limit).await?))
}
