//! Legacy plugins as volume drivers. What is known of them is in [`heard`](super::heard).

use super::drivers::SHORT;
use super::heard::PATIENCE;
use super::{Engine, blocking};
use crate::discovery::Legacy;
use crate::rpc::Client;
use crate::scope::Scope;
use crate::volumes::Driver;
use error::{Error, Kind, Result};
use futures_util::future::join_all;
use std::time::{Duration, Instant};

/// How long a Create or Mount of a legacy plugin may take.
const LONG: Duration = Duration::from_secs(120);
/// How often it is looked whether a plugin has come.
const PAUSE: Duration = Duration::from_millis(100);
/// The name of the driver that every engine of containers has built in, and this one has not.
const LOCAL: &str = "local";

impl Engine {
    /// A legacy plugin that was named, as a driver.
    pub(super) async fn legacy_driver(&self, legacy: &Legacy) -> Result<Driver> {
        let implements = self.heard.ask(legacy).await?;
        driver(legacy, &implements).ok_or_else(|| {
            Error::failed_precondition(format!(
                "legacy plugin {} is no volume driver, it implements {}",
                legacy.name,
                implements.join(", ")
            ))
        })
    }

    /// All legacy plugins that are volume drivers, and those that do not answer.
    pub(super) async fn legacy_drivers(&self) -> (Vec<Driver>, Vec<(String, Error)>) {
        let found = self.legacy_plugins().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "look for legacy plugins");
            Vec::new()
        });
        self.heard.retain(&found);
        let answers = join_all(found.iter().map(|legacy| self.heard.glance(legacy))).await;
        let (mut drivers, mut silent) = (Vec::new(), Vec::new());
        for (legacy, answer) in found.iter().zip(answers) {
            match answer {
                Ok(implements) => drivers.extend(driver(legacy, &implements)),
                Err(error) => silent.push((legacy.name.clone(), error)),
            }
        }
        (drivers, silent)
    }

    /// Waits a while for a driver of which there is no trace: it may be about to start. Not again
    /// when that was in vain a moment ago.
    pub(super) async fn await_driver(&self, name: &str) {
        let until = Instant::now() + PATIENCE;
        while name != LOCAL && self.heard.is_missed_anew(name) && self.is_nobodys(name).await {
            if Instant::now() > until {
                return self.heard.miss(name);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn is_nobodys(&self, name: &str) -> bool {
        let is_managed = || self.slot(name).map_or_else(|e| e.kind() != Kind::NotFound, |_| true);
        !is_managed() && matches!(self.legacy_plugin(name).await, Ok(None))
    }

    /// The legacy plugins of this machine, without what this engine published itself.
    pub(super) async fn legacy_plugins(&self) -> Result<Vec<Legacy>> {
        let discovery = self.discovery.clone();
        let mut found = blocking(move || discovery.scan()).await?;
        found.retain(|legacy| !self.is_own(legacy));
        Ok(found)
    }

    pub(super) async fn legacy_plugin(&self, name: &str) -> Result<Option<Legacy>> {
        let (discovery, name) = (self.discovery.clone(), name.to_owned());
        let found = blocking(move || discovery.find(&name)).await?;
        Ok(found.filter(|legacy| !self.is_own(legacy)))
    }

    fn is_own(&self, legacy: &Legacy) -> bool {
        self.published.borrow().iter().any(|published| published.path == legacy.file)
    }
}

/// `None`: it is no volume driver.
fn driver(legacy: &Legacy, implements: &[String]) -> Option<Driver> {
    let is_driver = implements.iter().any(|interface| interface == "VolumeDriver");
    is_driver.then(|| Driver {
        name: legacy.name.clone(),
        id: None,
        client: Client { address: legacy.address.clone() },
        scope: Scope::Host,
        pid: None,
        long: LONG,
        short: SHORT,
    })
}
