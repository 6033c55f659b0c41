//! What all front ends of one process share: the services, and how operations on them are run.

use crate::config::Config;
use crate::services::{Services, Surroundings};
use error::Result;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use volume::Orchestrator;
use volume::orchestrator::detached;

/// How long a sweep is waited for before the next service's begins to count.
const SWEEP: Duration = Duration::from_secs(30);
/// How long operations of a service may keep its new configuration waiting.
const RECONFIGURE: Duration = Duration::from_secs(10);

/// The shared state of the front ends.
pub struct App {
    around: Surroundings,
    services: RwLock<Arc<Services>>,
}

impl App {
    /// An application whose services are not open yet.
    pub fn new(around: Surroundings) -> Arc<Self> {
        Arc::new(Self { around, services: RwLock::default() })
    }

    /// Where it runs.
    pub fn around(&self) -> &Surroundings {
        &self.around
    }

    /// The services of now.
    pub fn services(&self) -> Arc<Services> {
        Arc::clone(&self.services.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens the services of `config`. One whose configuration is unchanged goes on as it is; one
    /// whose operations do not end keeps its old configuration, and holds up no other.
    pub async fn configure(&self, config: &Config) {
        let before = self.services();
        let mut kept = before.unchanged(config);
        for (name, service) in before.changed(config) {
            if let Err(error) = service.retire(RECONFIGURE).await {
                tracing::error!(service = %name, %error, "its old configuration stays");
                kept.push(name);
            }
        }
        let (around, config) = (self.around.clone(), config.clone());
        let opened =
            volume::driver::blocking(move || Ok(Services::open(&around, &config, &before, &kept)));
        match opened.await {
            Ok(services) => {
                *self.services.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(services);
            }
            Err(error) => tracing::error!(%error, "the configuration is not in effect"),
        }
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
            if let Ok(_under_way) = service.begin().await {
                service.recover().await;
            }
        }
    }

    /// Looks after every service once; one that is stuck holds up no other.
    pub async fn sweep(&self) {
        let services = self.services();
        let sweeps = services.ready().map(|service| {
            tokio::spawn(async move {
                if let Ok(_under_way) = service.begin().await {
                    service.sweep().await;
                }
            })
        });
        for sweep in sweeps.collect::<Vec<_>>() {
            let _ = tokio::time::timeout(SWEEP, sweep).await;
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
        let under_way = service.begin().await?;
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
        let until = tokio::time::Instant::now() + patience;
        let mut late = None;
        for service in self.services().ready() {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            late = service.retire(left).await.err().or(late);
        }
        late.map_or(Ok(()), Err)
    }
}
