//! The one wrapper around every driver: a deadline for each call, the context of each error,
//! metrics, a trace, and the per-volume lock. A driver behind it stays bare.

use crate::driver::{
    ActionRequest, Attach, Capabilities, Driver, Listed, Lost, Page, Report, Source, Spec, Told,
};
use crate::metrics::Metrics;
use crate::name::{NodeId, ServiceName, SnapshotName, VolumeId, VolumeName};
use crate::size::Size;
use crate::volume::{Create, Filesystem, Snapshot, Volume};
use async_trait::async_trait;
use error::{Error, Result};
use host::Outcome;
use std::collections::HashMap;
use std::fmt::Display;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

/// How long a driver may take to look something up.
const LOOK: Option<Duration> = Some(Duration::from_secs(50));
/// A change has no deadline here: work on a blocking thread cannot be taken back, and whoever gave
/// it up would let the next call, or a frozen file system's writers, loose on half of it. Callers
/// wait as long as they like; the lock is held until the work has really ended.
const CHANGE: Option<Duration> = None;

/// A driver, guarded.
pub struct Guard {
    driver: Arc<dyn Driver>,
    service: ServiceName,
    metrics: Metrics,
    locks: Locks,
}

impl Guard {
    /// Guards `driver` for `service`.
    pub fn new(driver: Arc<dyn Driver>, service: ServiceName, metrics: Metrics) -> Self {
        Self { driver, service, metrics, locks: Locks::default() }
    }

    /// Waits until no other operation on `name` goes on. Only this name waits.
    pub async fn lock(&self, name: &str) -> OwnedRwLockWriteGuard<()> {
        self.locks.get(name).write_owned().await
    }

    /// As [`lock`](Self::lock), but those whose `operation` the driver joins do not wait for each
    /// other.
    pub async fn lock_for(&self, name: &str, operation: &str) -> Box<dyn Send + Sync> {
        match self.driver.joins(operation) {
            true => Box::new(self.locks.get(name).read_owned().await),
            false => Box::new(self.lock(name).await),
        }
    }

    /// The lock of `name` if no operation on it goes on.
    pub fn try_lock(&self, name: &str) -> Option<OwnedRwLockWriteGuard<()>> {
        self.locks.get(name).try_write_owned().ok()
    }

    async fn call<T>(
        &self,
        operation: &'static str,
        about: &impl Display,
        deadline: Option<Duration>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let began = Instant::now();
        let result = match deadline {
            None => work.await,
            Some(deadline) => tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| {
                Err(Error::deadline_exceeded(format!(
                    "driver {} did not finish {operation} of {about} within {} s; try again \
                         when its back end answers",
                    self.driver.spec().name,
                    deadline.as_secs()
                )))
            }),
        };
        self.metrics.count(self.service.as_str(), operation, &result, began.elapsed());
        tracing::debug!(service = %self.service, operation, volume = %about, ok = result.is_ok());
        result.map_err(|error| {
            error
                .with("driver", self.driver.spec().name)
                .with("operation", operation)
                .with("volume", about)
        })
    }
}

#[async_trait]
impl Driver for Guard {
    fn spec(&self) -> &'static Spec {
        self.driver.spec()
    }

    fn capabilities(&self) -> Capabilities {
        self.driver.capabilities()
    }

    fn joins(&self, operation: &str) -> bool {
        self.driver.joins(operation)
    }

    async fn node(&self) -> Result<NodeId> {
        self.call("node", &"this machine", LOOK, self.driver.node()).await
    }

    async fn create(&self, request: &Create) -> Result<Outcome<Volume>> {
        self.call("create", &request.name, CHANGE, self.driver.create(request)).await
    }

    async fn import(&self, request: &Create, from: &Path) -> Result<Outcome<Volume>> {
        self.call("import", &request.name, CHANGE, self.driver.import(request, from)).await
    }

    async fn delete(&self, id: &VolumeId) -> Result<Outcome> {
        self.call("delete", id, CHANGE, self.driver.delete(id)).await
    }

    async fn get(&self, id: &VolumeId) -> Result<Volume> {
        self.call("get", id, LOOK, self.driver.get(id)).await
    }

    async fn find(&self, name: &VolumeName) -> Result<Option<Volume>> {
        self.call("find", name, LOOK, self.driver.find(name)).await
    }

    async fn list(&self, page: &Page) -> Result<Listed<Volume>> {
        self.call("list", &"all volumes", LOOK, self.driver.list(page)).await
    }

    async fn attach(&self, id: &VolumeId, attach: &Attach) -> Result<Outcome<Source>> {
        self.call("attach", id, CHANGE, self.driver.attach(id, attach)).await
    }

    async fn detach(&self, id: &VolumeId, node: &NodeId) -> Result<Outcome> {
        self.call("detach", id, CHANGE, self.driver.detach(id, node)).await
    }

    async fn expand(&self, id: &VolumeId, size: Size) -> Result<Outcome<Volume>> {
        self.call("expand", id, CHANGE, self.driver.expand(id, size)).await
    }

    async fn record_filesystem(&self, id: &VolumeId, now: &Filesystem) -> Result<()> {
        let work = self.driver.record_filesystem(id, now);
        self.call("record_filesystem", id, CHANGE, work).await
    }

    async fn adopt(&self, volume: &Volume) -> Result<()> {
        self.call("adopt", &volume.id, CHANGE, self.driver.adopt(volume)).await
    }

    async fn snapshot(&self, id: &VolumeId, name: &SnapshotName) -> Result<Outcome<Snapshot>> {
        self.call("snapshot", id, CHANGE, self.driver.snapshot(id, name)).await
    }

    async fn delete_snapshot(&self, name: &SnapshotName) -> Result<Outcome> {
        self.call("delete_snapshot", name, CHANGE, self.driver.delete_snapshot(name)).await
    }

    async fn list_snapshots(&self, page: &Page) -> Result<Listed<Snapshot>> {
        self.call("list_snapshots", &"all", LOOK, self.driver.list_snapshots(page)).await
    }

    async fn relocate(&self, volume: &Volume) -> Result<Option<Volume>> {
        self.call("relocate", &volume.id, CHANGE, self.driver.relocate(volume)).await
    }

    async fn attached(&self) -> Result<Vec<Volume>> {
        self.call("attached", &"all volumes", LOOK, self.driver.attached()).await
    }

    async fn renew(&self, held: &[VolumeId]) -> Result<Vec<Lost>> {
        self.call("renew", &"volumes in use", CHANGE, self.driver.renew(held)).await
    }

    async fn act(&self, request: &ActionRequest, told: &Told) -> Result<Report> {
        let about = request.subject.as_deref().unwrap_or("the service");
        self.call("act", &about, CHANGE, self.driver.act(request, told)).await
    }
}

/// A lock per name, kept only while somebody has it or waits for it.
#[derive(Default)]
struct Locks(Mutex<HashMap<Box<str>, Weak<RwLock<()>>>>);

impl Locks {
    fn get(&self, name: &str) -> Arc<RwLock<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        if locks.len() > 64 {
            locks.retain(|_, lock| lock.strong_count() > 0);
        }
        let lock = Arc::default();
        locks.insert(name.into(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_locked_name_delays_only_itself() {
        let locks = Locks::default();
        let held = locks.get("a").write_owned().await;
        assert!(locks.get("a").try_write_owned().is_err());
        assert!(locks.get("b").try_write_owned().is_ok());
        drop(held);
        assert!(locks.get("a").try_write_owned().is_ok());
    }

    #[tokio::test]
    async fn locks_of_names_that_nobody_uses_are_forgotten() {
        let locks = Locks::default();
        let held = locks.get("held").write_owned().await;
        for n in 0..1000 {
            drop(locks.get(&n.to_string()));
        }
        assert!(locks.0.lock().unwrap().len() <= 66);
        assert!(locks.get("held").try_write_owned().is_err());
        drop(held);
    }
}
