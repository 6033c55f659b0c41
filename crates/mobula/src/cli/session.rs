//! A command's connection to the volumes: the client with the flags that every command has.

use crate::api::{ActionReport, AskAction, SnapshotInfo, SnapshotList, VolumeInfo, VolumeList};
use crate::cli::progress;
use crate::cli::table::Cell;
use crate::cli::terminal::note;
use crate::client::{Client, encode};
use crate::config::{self, Overrides};
use crate::paths::Paths;
use error::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Write;

const PART: usize = 500;

/// An open connection.
pub(crate) struct Session {
    client: Client,
    /// The service that `--service` names.
    pub(crate) service: Option<String>,
    quiet: bool,
}

/// What a listing found, and whether that is all there is.
pub(crate) struct Found<T> {
    /// The entries.
    pub(crate) entries: Vec<T>,
    /// Whether every service could be listed.
    pub(crate) complete: bool,
}

impl Session {
    /// Connects; `quiet` keeps the spinner away.
    pub(crate) async fn open(
        overrides: &Overrides,
        service: Option<String>,
        quiet: bool,
    ) -> Result<Self> {
        let paths = Paths::from_env();
        let client = Client::open(&paths, || config::load(&paths, overrides)).await?;
        Ok(Self { client, service, quiet })
    }

    /// GET, under the spinner `what`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, what: &str, path: &str) -> Result<T> {
        progress::during(|| what.to_owned(), self.quiet, self.client.get(path)).await
    }

    /// POST, under the spinner `what`.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        progress::during(|| what.to_owned(), self.quiet, self.client.post(path, body)).await
    }

    /// DELETE, under the spinner `what`.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, what: &str, path: &str) -> Result<T> {
        progress::during(|| what.to_owned(), self.quiet, self.client.delete(path)).await
    }

    /// Has a driver do one of its own actions, and tells its progress.
    pub(crate) async fn act(
        &self,
        service: &str,
        action: &str,
        asked: &AskAction,
    ) -> Result<ActionReport> {
        self.client.act(service, action, asked, |text| self.tell(text)).await
    }

    /// Tells people something on standard error, unless they want names only.
    pub(crate) fn tell(&self, text: &str) {
        if !self.quiet {
            note(&Cell::new(text, None).shown(false));
        }
    }

    /// Every volume of the chosen services. Services that cannot be listed are noted.
    pub(crate) async fn volumes(&self) -> Result<Found<VolumeInfo>> {
        let mut found = Found { entries: Vec::new(), complete: true };
        let mut token = None;
        loop {
            let path = self.listing_path(token.as_deref());
            let part: VolumeList = self.get("listing volumes", &path).await?;
            found.entries.extend(part.volumes);
            found.complete &= part.failed.is_empty();
            note_failed(&part.failed);
            token = part.next;
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    /// Every snapshot of the chosen services, likewise.
    pub(crate) async fn snapshots(&self) -> Result<Found<SnapshotInfo>> {
        let mut path = "/v1/snapshots".to_owned();
        if let Some(service) = &self.service {
            let _ = write!(path, "?service={}", encode(service));
        }
        let list: SnapshotList = self.get("listing snapshots", &path).await?;
        note_failed(&list.failed);
        Ok(Found { entries: list.snapshots, complete: list.failed.is_empty() })
    }

    fn listing_path(&self, token: Option<&str>) -> String {
        let mut path = format!("/v1/volumes?limit={PART}");
        if let Some(service) = &self.service {
            let _ = write!(path, "&service={}", encode(service));
        }
        if let Some(token) = token {
            let _ = write!(path, "&token={}", encode(token));
        }
        path
    }
}

fn note_failed(failed: &BTreeMap<String, String>) {
    for (service, reason) in failed {
        note(&format!("service {service} cannot be listed: {reason}"));
    }
}

/// The path of a volume in the API.
pub(crate) fn volume_path(volume: &VolumeInfo) -> String {
    format!("/v1/services/{}/volumes/{}", encode(&volume.service), encode(&volume.name))
}

/// The path of a snapshot in the API.
pub(crate) fn snapshot_path(snapshot: &SnapshotInfo) -> String {
    format!("/v1/services/{}/snapshots/{}", encode(&snapshot.service), encode(&snapshot.name))
}
