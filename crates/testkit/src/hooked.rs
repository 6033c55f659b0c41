//! A driver with something done before and after each call: what the failing driver and the crash
//! have in common.

use async_trait::async_trait;
use error::Result;
use std::sync::Arc;
use volume::driver::{ActionRequest, Attach, Listed, Lost, Page, Report, Told};
use volume::{
    Capabilities, Create, Driver, Filesystem, NodeId, Outcome, Size, Snapshot, SnapshotName,
    Source, Spec, Volume, VolumeId, VolumeName,
};

/// What is done around each call of a driver, by the name of the method.
#[async_trait]
pub trait Hook: Send + Sync {
    /// Before the driver is called; an error is the answer, and the driver is not called.
    async fn before(&self, operation: &'static str) -> Result<()>;

    /// After the driver has succeeded; an error takes the place of its answer.
    async fn after(&self, operation: &'static str) -> Result<()>;
}

/// A driver with a hook around it.
pub struct Hooked<H> {
    driver: Arc<dyn Driver>,
    hook: H,
}

impl<H: Hook> Hooked<H> {
    /// Puts `hook` around `driver`.
    pub fn new(driver: Arc<dyn Driver>, hook: H) -> Self {
        Self { driver, hook }
    }

    async fn call<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.hook.before(operation).await?;
        let answer = work.await?;
        self.hook.after(operation).await?;
        Ok(answer)
    }
}

#[async_trait]
impl<H: Hook> Driver for Hooked<H> {
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
        self.call("node", self.driver.node()).await
    }

    async fn create(&self, request: &Create) -> Result<Outcome<Volume>> {
        self.call("create", self.driver.create(request)).await
    }

    async fn delete(&self, id: &VolumeId) -> Result<Outcome> {
        self.call("delete", self.driver.delete(id)).await
    }

    async fn get(&self, id: &VolumeId) -> Result<Volume> {
        self.call("get", self.driver.get(id)).await
    }

    async fn find(&self, name: &VolumeName) -> Result<Option<Volume>> {
        self.call("find", self.driver.find(name)).await
    }

    async fn list(&self, page: &Page) -> Result<Listed<Volume>> {
        self.call("list", self.driver.list(page)).await
    }

    async fn attach(&self, id: &VolumeId, attach: &Attach) -> Result<Outcome<Source>> {
        self.call("attach", self.driver.attach(id, attach)).await
    }

    async fn detach(&self, id: &VolumeId, node: &NodeId) -> Result<Outcome> {
        self.call("detach", self.driver.detach(id, node)).await
    }

    async fn expand(&self, id: &VolumeId, size: Size) -> Result<Outcome<Volume>> {
        self.call("expand", self.driver.expand(id, size)).await
    }

    async fn record_filesystem(&self, id: &VolumeId, now: &Filesystem) -> Result<()> {
        self.call("record_filesystem", self.driver.record_filesystem(id, now)).await
    }

    async fn adopt(&self, volume: &Volume) -> Result<()> {
        self.call("adopt", self.driver.adopt(volume)).await
    }

    async fn snapshot(&self, id: &VolumeId, name: &SnapshotName) -> Result<Outcome<Snapshot>> {
        self.call("snapshot", self.driver.snapshot(id, name)).await
    }

    async fn delete_snapshot(&self, name: &SnapshotName) -> Result<Outcome> {
        self.call("delete_snapshot", self.driver.delete_snapshot(name)).await
    }

    async fn list_snapshots(&self, page: &Page) -> Result<Listed<Snapshot>> {
        self.call("list_snapshots", self.driver.list_snapshots(page)).await
    }

    async fn relocate(&self, volume: &Volume) -> Result<Option<Volume>> {
        self.call("relocate", self.driver.relocate(volume)).await
    }

    async fn attached(&self) -> Result<Vec<Volume>> {
        self.call("attached", self.driver.attached()).await
    }

    async fn renew(&self, held: &[VolumeId]) -> Result<Vec<Lost>> {
        self.call("renew", self.driver.renew(held)).await
    }

    async fn act(&self, request: &ActionRequest, told: &Told) -> Result<Report> {
        self.call("act", self.driver.act(request, told)).await
    }
}
