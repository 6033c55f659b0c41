//! The calls of Docker's API about plugins.

use super::answer::{Answer, Failed, done, json_of, nothing};
use super::{Call, body, detached, progress};
use axum::body::Body;
use axum::http::StatusCode;
use error::{Error, Kind, Result};
use plugin::Engine;
use plugin::engine::{PluginFilter, Pull};
use plugin::privileges::Privilege;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long the published socket of a plugin that is enabled is waited for; binding takes a moment.
const PUBLISHED: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(1);

pub(super) fn list(call: &Call) -> Answer {
    let filters = call.query.filters(&["enabled", "capability"])?;
    let filter = PluginFilter {
        enabled: filters.flag("enabled")?,
        capabilities: filters.values("capability").to_vec(),
    };
    Ok(json_of(&call.api.engine.list(&filter)))
}

pub(super) fn inspect(call: &Call, name: &str) -> Answer {
    Ok(json_of(&call.api.engine.get(name)?))
}

/// Says why there are none to tell, where dockerd says that there are none.
pub(super) async fn privileges(call: &Call) -> Answer {
    let remote = remote(call)?;
    Ok(json_of(&call.api.engine.privileges(&remote, call.auth()).await?))
}

/// A name that is taken is 400 here, as dockerd has it.
pub(super) async fn pull(call: &Call, body: Body) -> Answer {
    let pull = wish(call, body).await?;
    let engine = Arc::clone(&call.api.engine);
    let taken = |failed: Failed| failed.answering(StatusCode::BAD_REQUEST, &[Kind::AlreadyExists]);
    let name = engine.name_for(&pull.remote, &pull.name).map_err(|error| taken(error.into()))?;
    let work = |progress| async move { engine.pull(pull, progress).await.map(drop) };
    // Somebody else may have taken it meanwhile.
    progress::answer(Some(&name), work).await.map_err(taken)
}

pub(super) async fn upgrade(call: &Call, body: Body, name: String) -> Answer {
    let pull = wish(call, body).await?;
    let engine = Arc::clone(&call.api.engine);
    let local = engine.get(&name)?.name;
    let drain = call.query.flag("drain");
    let work = |progress| async move { engine.upgrade(&name, pull, drain, progress).await };
    progress::answer(Some(&local), work).await
}

pub(super) async fn push(call: &Call, name: String) -> Answer {
    let (engine, auth) = (Arc::clone(&call.api.engine), call.auth());
    let local = engine.get(&name)?.name;
    let work = |progress| async move { engine.push(&name, auth, progress).await };
    progress::answer(Some(&local), work).await
}

/// What both pull and upgrade take. The body is looked at first: whatever else is wrong, a bad one
/// is never taken for an empty one.
async fn wish(call: &Call, body: Body) -> Result<Pull> {
    let privileges: Vec<Privilege> = body::json(call, body).await?;
    let name = call.query.find("name").unwrap_or_default().to_owned();
    Ok(Pull { remote: remote(call)?, name, privileges, auth: call.auth() })
}

fn remote(call: &Call) -> Result<String> {
    let remote = call.query.find("remote").map(str::to_owned);
    remote.ok_or_else(|| {
        Error::invalid_argument("invalid reference format: the parameter remote is missing")
    })
}

pub(super) async fn create(call: &Call, body: Body) -> Answer {
    let name = call.query.find("name").unwrap_or_default().to_owned();
    let (engine, tar) = (Arc::clone(&call.api.engine), body::reader(body));
    detached(async move { engine.create(&name, tar).await }).await?;
    Ok(nothing())
}

pub(super) async fn enable(call: &Call, name: String) -> Answer {
    let within = timeout(call.query.find("timeout").unwrap_or("0"))?;
    let enable = |engine: Arc<Engine>| async move {
        engine.enable(&name, within).await?;
        until_published(&engine, &name).await;
        Ok(())
    };
    operate(call, enable).await
}

/// Waits for the plugin's published socket: whoever enables a plugin uses it at once. A place that is
/// taken by something else is told in the engine's log, and not waited for any longer.
async fn until_published(engine: &Engine, name: &str) {
    let described = engine.describe(name).await.ok();
    let socket = described.and_then(|plugin| plugin.socket).map(PathBuf::from);
    let there = async {
        while socket.as_deref().is_some_and(|socket| !socket.exists()) {
            tokio::time::sleep(POLL).await;
        }
    };
    let _ = tokio::time::timeout(PUBLISHED, there).await;
}

/// Seconds; 0 is as long as configured.
fn timeout(text: &str) -> Result<Option<Duration>> {
    let seconds: i64 = text.parse().map_err(|_| {
        Error::invalid_argument(format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
    })?;
    let seconds = u64::try_from(seconds)
        .map_err(|_| Error::invalid_argument(format!("negative timeout {text} is invalid")))?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
}

pub(super) async fn disable(call: &Call, name: String) -> Answer {
    let force = call.query.flag("force");
    operate(call, |engine| async move { engine.disable(&name, force).await }).await
}

/// Answers with what is gone, as Docker's description of the call has it; dockerd answers nothing.
pub(super) async fn remove(call: &Call, name: String) -> Answer {
    let force = call.query.flag("force");
    let removed = call.api.engine.get(&name)?;
    operate(call, |engine| async move { engine.remove(&name, force).await }).await?;
    Ok(json_of(&removed))
}

async fn operate<W>(call: &Call, work: impl FnOnce(Arc<Engine>) -> W) -> Answer
where
    W: Future<Output = Result<()>> + Send + 'static,
{
    detached(work(Arc::clone(&call.api.engine))).await?;
    Ok(done())
}

/// Settings that cannot be made are 500, as dockerd has it.
pub(super) async fn set(call: &Call, body: Body, name: String) -> Answer {
    let items: Vec<String> = body::json(call, body).await?;
    let engine = Arc::clone(&call.api.engine);
    let kinds = [Kind::InvalidArgument, Kind::OutOfRange, Kind::FailedPrecondition];
    let set = detached(async move { engine.set(&name, &items).await }).await;
    set.map_err(|error| Failed::from(error).answering(StatusCode::INTERNAL_SERVER_ERROR, &kinds))?;
    Ok(nothing())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_of_zero_is_as_configured() {
        assert_eq!(timeout("0").unwrap(), None);
        assert_eq!(timeout("30").unwrap(), Some(Duration::from_secs(30)));
        let error = timeout("x").expect_err("no number").to_string();
        assert_eq!(error, "strconv.Atoi: parsing \"x\": invalid syntax");
        assert!(timeout("-1").is_err());
    }
}
