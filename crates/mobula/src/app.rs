//! What all front ends of one process share: the services, and the count of operations under way.

use crate::config::Config;
use crate::services::{Services, Surroundings};
use error::{Error, Result};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use volume::Orchestrator;
use volume::orchestrator::detached;

/// The shared state of the front ends.
pub struct App {
    around: Surroundings,
    services: RwLock<Arc<Services>>,
    /// Held for reading by every operation, for writing by whoever waits for them to end.
    operations: Arc<tokio::sync::RwLock<()>>,
}

impl App {
    /// An application whose services are not open yet.
    pub fn new(around: Surroundings) -> Arc<Self> {
        let (services, operations) = (RwLock::default(), Arc::default());
        Arc::new(Self { around, services, operations })
    }

    /// Where it runs.
    pub fn around(&self) -> &Surroundings {
        &self.around
    }

    /// The services of now.
    pub fn services(&self) -> Arc<Services> {
        Arc::clone(&self.services.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens the services of `config`, keeping those whose configuration is unchanged, and puts
    /// right what an earlier run left. Operations under way are waited for first.
    pub async fn configure(&self, config: &Config) {
        let quiet = self.operations.write().await;
        let before = self.services();
        let (around, config) = (self.around.clone(), config.clone());
        let opened =
            volume::driver::blocking(move || Ok(Services::open(&around, &config, &before)));
        match opened.await {
            Ok(services) => {
                *self.services.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(services);
            }
            Err(error) => tracing::error!(%error, "the configuration is not in effect"),
        }
        drop(quiet);
    }

    /// Makes the place where volumes are mounted visible to every mount namespace, before the first
    /// container looks at it.
    pub async fn share_mounts(&self) {
        let (host, mounts) = (Arc::clone(&self.around.host), self.around.paths.mounts());
        if let Err(error) = volume::driver::blocking(move || host.ensure_shared(&mounts)).await {
            tracing::error!(%error, "volumes mounted here may not be seen by containers");
        }
    }

    /// Puts right what an earlier run left behind, service by service.
    pub async fn recover(&self) {
        for service in self.services().ready() {
            service.recover().await;
        }
    }

    /// Looks after every service once.
    pub async fn sweep(&self) {
        for service in self.services().ready() {
            let _under_way = self.operations.read().await;
            service.sweep().await;
        }
    }

    /// Runs `work` on `service` to its end, whatever becomes of the client, and waits for it no
    /// longer than `within`.
    pub async fn operate<T, W>(
        &self,
        service: Arc<Orchestrator>,
        within: Duration,
        work: impl FnOnce(Arc<Orchestrator>) -> W,
    ) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        let under_way = Arc::clone(&self.operations).read_owned().await;
        let work = work(service);
        detached(within, async move {
            let result = work.await;
            drop(under_way);
            result
        })
        .await
    }

    /// Waits until no operation is under way; no new one begins.
    pub async fn drain(&self, patience: Duration) -> Result<()> {
        let quiet =
            tokio::time::timeout(patience, Arc::clone(&self.operations).write_owned()).await;
        let quiet = quiet.map_err(|_| {
            Error::deadline_exceeded(format!(
                "operations are still under way after {} s; the next start puts right what they \
                 leave",
                patience.as_secs()
            ))
        })?;
        // Nothing begins between here and the end of the process.
        std::mem::forget(quiet);
        Ok(())
    }
}
