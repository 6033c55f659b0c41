//! What a published socket answers: `Plugin.Activate` by itself, mount
//! points as host paths, errors as non-200 JSON, mounts noted in the ledger.
//!
//! Decides nothing about volumes; what it does not know is passed on as it came.

mod mounting;
mod podman;
mod request;

#[cfg(test)]
mod tests;

pub use podman::podman_configuration;

use crate::ledger::Ledger;
use crate::rpc::fields;
use crate::volumes::{Driver, on_host};
use error::{Error, Kind, Result};
use host::process::Identity;
use request::Request;
use serde_json::{Value, json};
use std::time::Duration;

/// The interface type of volume plugins.
const VOLUME_DRIVER: &str = "docker.volumedriver/1.0";

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// JSON.
    pub body: Vec<u8>,
}

impl Answer {
    fn ok(body: &Value) -> Self {
        Self { status: 200, body: body.to_string().into_bytes() }
    }

    /// Podman takes any 200 for a success, so an error has another status, and its body is JSON.
    pub(crate) fn failure(error: &Error) -> Self {
        let body = json!({ "Err": error.to_string() }).to_string().into_bytes();
        Self { status: error.kind().http(), body }
    }
}

impl From<Result<Value>> for Answer {
    fn from(result: Result<Value>) -> Self {
        result.map_or_else(|error| Self::failure(&error), |body| Self::ok(&body))
    }
}

/// What `Plugin.Activate` answers for these interface types.
#[must_use]
pub fn activation(types: &[String]) -> Answer {
    let implements: Vec<&str> = types.iter().filter_map(|kind| interface(kind)).collect();
    Answer::ok(&json!({ "Implements": implements }))
}

/// The old name of an interface type.
fn interface(kind: &str) -> Option<&'static str> {
    let name = kind.split('/').next()?.strip_prefix("docker.")?;
    Some(match name.to_ascii_lowercase().as_str() {
        "volumedriver" => "VolumeDriver",
        "networkdriver" => "NetworkDriver",
        "ipamdriver" => "IpamDriver",
        "authz" => "authz",
        "logdriver" => "LogDriver",
        "metricscollector" => "MetricsCollector",
        "graphdriver" => "GraphDriver",
        _ => return None,
    })
}

/// Answers one call to a volume plugin. `method` is `VolumeDriver.Mount` and so on, `body` as it
/// came (Podman sends none for List; an empty one is refused where a name is needed). What changes
/// something goes on when the caller is gone, and the same Mount again joins it.
pub async fn answer(
    driver: &Driver,
    ledger: &Ledger,
    method: &str,
    body: &[u8],
    caller: Option<Identity>,
) -> Answer {
    let answer = match method {
        "Plugin.Activate" => return activation(&[VOLUME_DRIVER.to_owned()]),
        "VolumeDriver.List" | "VolumeDriver.Capabilities" => {
            Request::read_nameless(body).map(|request| request.call(driver, method, driver.short))
        }
        "VolumeDriver.Get" | "VolumeDriver.Path" => {
            Request::read(body).map(|request| request.call(driver, method, driver.short))
        }
        "VolumeDriver.Create"
        | "VolumeDriver.Remove"
        | "VolumeDriver.Mount"
        | "VolumeDriver.Unmount" => {
            return mounting::change(driver, ledger, method, body, caller).await;
        }
        _ => return forward(driver, method, body).await,
    };
    match answer {
        Ok(answer) => answer.await.and_then(|answer| shown(driver, method, answer)).into(),
        Err(error) => Answer::failure(&error),
    }
}

/// Interfaces other than that of volumes are none of our business.
async fn forward(driver: &Driver, method: &str, body: &[u8]) -> Answer {
    match driver.client.forward(method, body, driver.long).await {
        Ok(reply) => Answer { status: reply.status, body: reply.body.to_vec() },
        Err(error) => Answer::failure(&error),
    }
}

/// The answer with the plugin's paths turned into the host's. In a description a path that means
/// nothing on the host is left empty; one that was asked for is an error.
fn shown(driver: &Driver, method: &str, mut answer: Value) -> Result<Value> {
    match method {
        "VolumeDriver.Get" => fields::get_mut(&mut answer, "Volume").map_or((), |volume| {
            describe(driver, volume);
        }),
        "VolumeDriver.List" => {
            let volumes = fields::get_mut(&mut answer, "Volumes").and_then(Value::as_array_mut);
            volumes.into_iter().flatten().for_each(|volume| describe(driver, volume));
        }
        "VolumeDriver.Path" => {
            let inside = fields::text(&answer, "Mountpoint").to_owned();
            if !inside.is_empty() {
                let path = driver.scope.on_host(inside.as_ref())?;
                mounting::put_mountpoint(&mut answer, &path);
            }
        }
        _ => {}
    }
    Ok(answer)
}

fn describe(driver: &Driver, volume: &mut Value) {
    if let Some(mountpoint) = fields::get_mut(volume, "Mountpoint") {
        *mountpoint = on_host(driver, mountpoint.as_str().unwrap_or_default()).into();
    }
}

impl Request {
    /// Calls the plugin. Its own words become an error of status 500.
    async fn call(self, driver: &Driver, method: &str, within: Duration) -> Result<Value> {
        driver.client.call(method, &self.body, within).await.map_err(|error| match error.kind() {
            Kind::Internal => error,
            kind => Error::new(kind, format!("plugin {}", driver.name)).because(error),
        })
    }
}
