//! Docker's volumes over all plugins: names, drivers, labels and options of what was made through
//! the engine, and the calls to the plugins.
//!
//! The plugin is the truth about which volumes exist; the records only add what plugins are not
//! told, and say whose a name is. Who has a volume mounted is the ledger's business.

mod breaker;
mod calls;
mod instances;
mod listing;
mod matching;
mod names;
mod records;

#[cfg(test)]
mod tests;

pub(crate) use calls::on_host;

use crate::id::PluginId;
use crate::ledger::Ledger;
use crate::rpc::Client;
use crate::scope::Scope;
use breaker::Breaker;
use calls::Found;
use error::{Error, Kind, Result};
use futures_util::future::{BoxFuture, join_all};
use instances::Instances;
use names::Names;
use records::{Record, Records};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The label of a volume whose name was made up.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// A plugin as a volume driver.
#[derive(Debug, Clone)]
pub struct Driver {
    /// The canonical name: `name:tag` of managed ones, the file name of legacy ones.
    pub name: String,
    /// The managed plugin; `None` for a legacy one.
    pub id: Option<PluginId>,
    /// How to call it.
    pub client: Client,
    /// How to read its paths.
    pub scope: Scope,
    /// The main process of a managed one, to look at its mount namespace.
    pub pid: Option<i32>,
    /// How long a Create or Mount may take.
    pub long: Duration,
    /// How long anything else may take.
    pub short: Duration,
}

/// Where drivers come from; the engine is one.
pub trait Drivers: Send + Sync {
    /// The driver of this name (`name`, `name:tag`, ID); waits for one that is being (re)started.
    /// Managed ones go first; a disabled one is `FailedPrecondition`, never a legacy one instead.
    fn driver<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<Driver>>>;

    /// All volume drivers that run now. None is waited for.
    fn drivers(&self) -> BoxFuture<'_, Running>;
}

/// The volume drivers that run now.
#[derive(Debug, Default)]
pub struct Running {
    /// Those that can be asked.
    pub drivers: Vec<Arc<Driver>>,
    /// The names of those that may be drivers and do not answer, and why.
    pub silent: Vec<(String, Error)>,
}

/// A volume in Docker's API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    /// RFC 3339, if the driver tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// The driver's canonical name.
    pub driver: String,
    /// Labels given at creation.
    pub labels: Option<BTreeMap<String, String>>,
    /// Where it is mounted on the host; empty when it is not.
    pub mountpoint: String,
    /// The name.
    pub name: String,
    /// Options given at creation.
    pub options: Option<BTreeMap<String, String>>,
    /// `local` or `global`.
    pub scope: String,
    /// What the driver tells about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
}

/// A wish for a volume (`POST /volumes/create`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Create {
    /// The name; empty: one is made up, with the label of anonymous volumes.
    pub name: String,
    /// The driver.
    pub driver: String,
    /// Options for the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// What volumes to list: a filter's values are alternatives, filters add up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Parts of names.
    pub names: Vec<String>,
    /// Drivers, exact (with or without `:latest`).
    pub drivers: Vec<String>,
    /// `key` or `key=value`.
    pub labels: Vec<String>,
    /// Nobody has it mounted / somebody has.
    pub dangling: Option<bool>,
}

/// The volumes of all plugins.
#[derive(Debug)]
pub struct Volumes {
    records: Records,
    names: Names,
    instances: Instances,
    breaker: Breaker,
}

impl Volumes {
    /// Opens the records in `dir`. A damaged one is set aside with a warning.
    pub fn open(dir: &Path) -> Result<Self> {
        Ok(Self {
            records: Records::open(dir)?,
            names: Names::default(),
            instances: Instances::default(),
            breaker: Breaker::default(),
        })
    }

    /// The names of the volumes that were made of this driver through the engine.
    #[must_use]
    pub fn of_driver(&self, driver: &str) -> Vec<String> {
        let records = self.records.all().into_iter();
        records.filter(|record| record.driver == driver).map(|record| record.name).collect()
    }

    /// Makes a volume, or answers the one that is there with the same driver (`AlreadyExists` with
    /// "volume name must be unique" when another driver has it).
    pub async fn create(&self, drivers: &dyn Drivers, wish: Create) -> Result<Volume> {
        let wish = complete(wish)?;
        let _alone = self.names.lock(&wish.name).await;
        let driver = drivers.driver(&wish.driver).await?;
        let record = self.refuse_conflict(drivers, &wish.name, &driver).await?;
        let found = calls::get(&driver, &wish.name).await.map_err(|error| {
            let (name, driver) = (&wish.name, &driver.name);
            let what =
                format!("error while checking if volume {name:?} exists in driver {driver:?}");
            Error::new(error.kind(), what).because(error)
        })?;
        let record = match (found.is_some(), record) {
            (true, Some(record)) => record,
            (exists, _) => {
                if !exists {
                    calls::create(&driver, &wish.name, &wish.options).await?;
                }
                let record = Record::new(wish, &driver.name);
                self.records.put(record.clone()).await?;
                record
            }
        };
        let found = found.unwrap_or_else(|| Found::named(&record.name));
        Ok(self.show(&driver, found, Some(&record)).await)
    }

    /// One volume with its status; `NotFound` is `get <name>: no such volume`. A driver that cannot
    /// be asked is an error, never "no such volume".
    pub async fn get(&self, drivers: &dyn Drivers, name: &str) -> Result<Volume> {
        let _alone = self.names.lock(name).await;
        let failed = |error: Error| Error::new(error.kind(), format!("get {name}")).because(error);
        let (driver, found, record) =
            self.find(drivers, name).await.map_err(failed)?.ok_or_else(|| no_such("get", name))?;
        Ok(self.show(&driver, found, record.as_ref()).await)
    }

    /// The volumes of all drivers by name, and warnings: of drivers that did not answer, recorded
    /// volumes are shown all the same. Drivers are asked side by side; a hanging one costs its short
    /// deadline, not more. The ledger tells which volumes are in use.
    pub async fn list(
        &self,
        drivers: &dyn Drivers,
        ledger: &Ledger,
        filter: &Filter,
    ) -> Result<(Vec<Volume>, Vec<String>)> {
        let Running { drivers, silent } = drivers.drivers().await;
        let matching = matching::Matching::new(filter);
        let asked = drivers.iter().filter(|driver| matching.driver(&driver.name));
        let answers = join_all(asked.map(|driver| self.list_one(driver))).await;
        let mut listing = listing::Listing::new(self.records.all());
        for (driver, answer) in answers {
            listing.add(driver, answer);
        }
        for (_, error) in silent.iter().filter(|(name, _)| matching.driver(name)) {
            listing.warn(error);
        }
        listing.add_orphans(|driver| matching.driver(driver));
        let (mut entries, warnings) = listing.finish();
        entries.retain(|entry| matching.volume(&entry.volume));
        if let Some(dangling) = filter.dangling {
            entries = listing::retain_dangling(entries, ledger.clone(), dangling).await?;
        }
        Ok((entries.into_iter().map(|entry| entry.volume).collect(), warnings))
    }

    /// Removes a volume. `force`: one that the driver does not know (or whose driver is gone) is
    /// forgotten all the same. Whether somebody has it mounted is the caller's to ask.
    pub async fn remove(&self, drivers: &dyn Drivers, name: &str, force: bool) -> Result<()> {
        let _alone = self.names.lock(name).await;
        let failed =
            |error: Error| Error::new(error.kind(), format!("remove {name}")).because(error);
        if let Some(record) = self.records.find(name)
            && force
            && let Err(error) = drivers.driver(&record.driver).await
            && error.kind() == Kind::NotFound
        {
            tracing::warn!(volume = name, driver = record.driver, %error, "forgotten by force");
            return self.records.remove(name).await;
        }
        match self.find(drivers, name).await.map_err(failed)? {
            Some((driver, ..)) => {
                calls::remove(&driver, name).await.map_err(failed)?;
                self.records.remove(name).await
            }
            None if force => Ok(()),
            None => Err(no_such("get", name)),
        }
    }

    /// The driver that a volume's record names, if there is a record.
    #[must_use]
    pub fn recorded_driver(&self, name: &str) -> Option<String> {
        self.records.find(name).map(|record| record.driver)
    }

    /// The record of `name`, if it is this driver's. One of another driver's is a conflict, unless
    /// that driver says that its volume is no more.
    async fn refuse_conflict(
        &self,
        drivers: &dyn Drivers,
        name: &str,
        driver: &Driver,
    ) -> Result<Option<Record>> {
        let Some(record) = self.records.find(name).filter(|record| record.driver != driver.name)
        else {
            return Ok(self.records.find(name));
        };
        let conflict = || {
            format!(
                "A volume named {name} already exists with the {} driver. Choose a different \
                 volume name.: conflict: volume name must be unique",
                record.driver
            )
        };
        let other = match drivers.driver(&record.driver).await {
            Err(error) if error.kind() == Kind::NotFound => {
                return Err(Error::already_exists(format!(
                    "{}; that driver is gone: to forget its volume, remove it by force",
                    conflict()
                )));
            }
            other => other?,
        };
        match calls::get(&other, name).await? {
            Some(_) => Err(Error::already_exists(conflict())),
            None => self.records.remove(name).await.map(|()| None),
        }
    }

    /// The driver that has the volume, and what it says of it: the recorded driver or else the
    /// first that knows it. A record of what is no more is dropped.
    async fn find(
        &self,
        drivers: &dyn Drivers,
        name: &str,
    ) -> Result<Option<(Arc<Driver>, Found, Option<Record>)>> {
        if let Some(record) = self.records.find(name) {
            let driver =
                drivers.driver(&record.driver).await.map_err(|error| gone(&record, error))?;
            if let Some(found) = calls::get(&driver, name).await? {
                return Ok(Some((driver, found, Some(record))));
            }
            self.records.remove(name).await?;
        }
        // One that does not even say that it is a driver says nothing of a volume.
        let running = drivers.drivers().await.drivers;
        let answers = join_all(
            running
                .iter()
                .map(|driver| self.breaker.guard(&driver.name, calls::get_now(driver, name))),
        )
        .await;
        let mut failed = None;
        for (driver, answer) in running.into_iter().zip(answers) {
            match answer {
                Ok(Some(found)) => return Ok(Some((driver, found, None))),
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error.with("driver", &driver.name))),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    async fn list_one<'a>(&self, driver: &'a Arc<Driver>) -> (&'a Driver, listing::Answer) {
        let answer = match self.breaker.guard(&driver.name, calls::list(driver)).await {
            Ok(found) => Ok((found, self.instances.scope(driver).await)),
            Err(error) => Err((error, self.instances.known_scope(driver))),
        };
        (driver, answer)
    }

    async fn show(&self, driver: &Driver, found: Found, record: Option<&Record>) -> Volume {
        found.show(driver, record, self.instances.scope(driver).await)
    }
}

/// Checks the wish, and makes up a name if there is none.
fn complete(mut wish: Create) -> Result<Create> {
    if wish.driver.is_empty() {
        return Err(Error::invalid_argument(
            "the volume has no driver; name the plugin that is to make it",
        ));
    }
    if wish.name.is_empty() {
        wish.name = PluginId::random().to_string();
        wish.labels.insert(ANONYMOUS.to_owned(), String::new());
    }
    if wish.name.len() > 4096 || wish.name.chars().any(char::is_control) {
        return Err(Error::invalid_argument(
            "the volume's name has control characters or more than 4096 bytes",
        ));
    }
    Ok(wish)
}

/// A volume is not missing because its driver is.
fn gone(record: &Record, error: Error) -> Error {
    if error.kind() != Kind::NotFound {
        return error;
    }
    Error::failed_precondition(format!(
        "its driver {} is gone; install it again, or forget the volume with rm --force",
        record.driver
    ))
    .because(error)
}

fn no_such(what: &str, name: &str) -> Error {
    Error::not_found(format!("{what} {name}: no such volume"))
}
