//! The calls of the volume plugin protocol, and what their answers say.

use super::records::Record;
use super::{Driver, Volume};
use crate::rpc::fields;
use error::{Error, Kind, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// A volume as its plugin tells of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) name: String,
    /// As the plugin sees it; empty when it is not mounted.
    mountpoint: String,
    created: Option<String>,
    status: Option<Value>,
}

impl Found {
    /// One of which nothing but the name is known.
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), mountpoint: String::new(), created: None, status: None }
    }

    fn read(volume: &Value) -> Self {
        let text = |key| fields::text(volume, key).to_owned();
        Self {
            name: text("Name"),
            mountpoint: text("Mountpoint"),
            created: Some(text("CreatedAt")).filter(|created| !created.is_empty()),
            status: fields::get(volume, "Status").cloned(),
        }
    }

    /// As Docker's API shows it.
    pub(super) fn show(self, driver: &Driver, record: Option<&Record>, scope: String) -> Volume {
        Volume {
            created_at: self.created,
            driver: driver.name.clone(),
            labels: record.map(|record| record.labels.clone()),
            mountpoint: on_host(driver, &self.mountpoint),
            name: self.name,
            options: record.map(|record| record.options.clone()),
            scope,
            status: self.status,
        }
    }
}

/// The host path of a plugin's; empty when nothing is mounted, or the path means nothing here.
pub(crate) fn on_host(driver: &Driver, inside: &str) -> String {
    if inside.is_empty() {
        return String::new();
    }
    match driver.scope.on_host(Path::new(inside)) {
        Ok(path) => path.to_string_lossy().into_owned(),
        Err(error) => {
            tracing::debug!(driver = driver.name, %error, "mount point not shown");
            String::new()
        }
    }
}

/// One volume. The plugin's own error, and an answer without a volume, mean that there is none.
pub(super) async fn get(driver: &Driver, name: &str) -> Result<Option<Found>> {
    let wish = json!({ "Name": name });
    let answer = driver.client.call("VolumeDriver.Get", &wish, driver.short).await;
    volume_of(driver, name, answer)
}

/// As [`get`], but a plugin that does not listen is not waited for.
pub(super) async fn get_now(driver: &Driver, name: &str) -> Result<Option<Found>> {
    let wish = json!({ "Name": name });
    let answer = driver.client.call_now("VolumeDriver.Get", &wish, driver.short).await;
    volume_of(driver, name, answer)
}

fn volume_of(driver: &Driver, name: &str, answer: Result<Value>) -> Result<Option<Found>> {
    match answer {
        Ok(answer) => Ok(fields::get(&answer, "Volume").filter(|v| v.is_object()).map(|volume| {
            let found = Found::read(volume);
            Found { name: name.to_owned(), ..found }
        })),
        Err(error) if is_plugins_own(&error) => {
            tracing::debug!(driver = driver.name, name, %error, "taken for: no such volume");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// All volumes of a plugin, at once or not at all.
pub(super) async fn list(driver: &Driver) -> Result<Vec<Found>> {
    let answer = driver.client.call_now("VolumeDriver.List", &json!({}), driver.short).await?;
    let volumes = fields::get(&answer, "Volumes").and_then(Value::as_array);
    let found = volumes.into_iter().flatten().map(Found::read);
    Ok(found.filter(|found| !found.name.is_empty()).collect())
}

/// Makes a volume.
pub(super) async fn create(
    driver: &Driver,
    name: &str,
    options: &BTreeMap<String, String>,
) -> Result<()> {
    let wish = json!({ "Name": name, "Opts": options });
    let made = driver.client.call("VolumeDriver.Create", &wish, driver.long).await;
    made.map(drop)
        .map_err(|error| Error::new(error.kind(), format!("create {name}")).because(error))
}

/// Removes a volume.
pub(super) async fn remove(driver: &Driver, name: &str) -> Result<()> {
    let wish = json!({ "Name": name });
    driver.client.call("VolumeDriver.Remove", &wish, driver.short).await.map(drop)
}

/// `local` or `global`; what else a plugin says, and a plugin that knows no such call, is `local`.
pub(super) async fn scope(driver: &Driver) -> Result<String> {
    const METHOD: &str = "VolumeDriver.Capabilities";
    let answer = match driver.client.call_now(METHOD, &json!({}), driver.short).await {
        Err(error) if is_plugins_own(&error) => json!({}),
        answer => answer?,
    };
    let capabilities = fields::get(&answer, "Capabilities");
    let scope = capabilities.map_or("", |capabilities| fields::text(capabilities, "Scope"));
    let is_global = scope.eq_ignore_ascii_case("global");
    if !is_global && !scope.is_empty() && !scope.eq_ignore_ascii_case("local") {
        tracing::warn!(driver = driver.name, scope, "unknown scope taken for local");
    }
    Ok(if is_global { "global" } else { "local" }.to_owned())
}

/// Whether the plugin answered, and this is what it said.
fn is_plugins_own(error: &Error) -> bool {
    error.kind() == Kind::Internal
}
