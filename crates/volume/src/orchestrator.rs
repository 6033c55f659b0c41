//! Lock the volume, observe, plan, run the steps, record: every operation of every front end goes
//! through here. Front ends decode and map answers; this decides.

mod acting;
mod copying;
mod judging;
mod mounting;
mod recovery;

use crate::driver::{Capabilities, Driver, Listed, Page, Spec};
use crate::guard::Guard;
use crate::ledger::{Entry, Ledger, Loss, State};
use crate::metrics::Metrics;
use crate::name::{NodeId, ServiceName, VolumeName};
use crate::volume::{Create, Origin, Parameters, Volume};
use error::{Error, Result};
use host::{Host, Outcome};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::OwnedRwLockReadGuard;

pub use copying::Expanded;
pub use mounting::Detached;

/// A service: a driver with its settings, and the volumes it has in use on this machine.
pub struct Orchestrator {
    service: ServiceName,
    driver: Guard,
    host: Arc<dyn Host>,
    ledger: Ledger,
    /// Where its volumes are mounted: `…/mounts/<service>`.
    mounts: PathBuf,
    defaults: Parameters,
    metrics: Metrics,
    /// Held for reading by every operation; `true` once another took over its volumes.
    operations: Arc<tokio::sync::RwLock<bool>>,
    /// What the last look at the mount table found wrong, by volume.
    faults: RwLock<HashMap<VolumeName, String>>,
    /// Claims that were lost on what is mounted; the ledger has them too, as soon as nothing else
    /// goes on with the volume.
    losses: RwLock<HashMap<VolumeName, Loss>>,
}

/// What a service is opened with.
pub struct Opening {
    /// Its name.
    pub service: ServiceName,
    /// Its driver, open.
    pub driver: Arc<dyn Driver>,
    /// The machine.
    pub host: Arc<dyn Host>,
    /// Where its ledger is kept: `…/ledger/<service>`.
    pub ledger: PathBuf,
    /// Where its volumes are mounted: `…/mounts/<service>`.
    pub mounts: PathBuf,
    /// The configuration's volume parameters.
    pub defaults: Parameters,
    /// The boot ID of the machine.
    pub boot: String,
    /// Shared counters.
    pub metrics: Metrics,
}

/// A request for a volume, as a front end decoded it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The name.
    pub name: VolumeName,
    /// What the user said about it.
    pub asked: Parameters,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What to copy.
    pub origin: Option<Origin>,
}

/// A volume with its place on this machine.
#[derive(Debug, Clone)]
pub struct View {
    /// What the driver knows.
    pub volume: Volume,
    /// What the ledger knows; `None` when it is not in use here.
    pub entry: Option<Arc<Entry>>,
    /// Where it is mounted.
    pub mountpoint: Option<PathBuf>,
    /// What is wrong with it or its mount, and the way out.
    pub fault: Option<String>,
    /// The other machines that it is attached to.
    pub elsewhere: Vec<NodeId>,
}

impl Orchestrator {
    /// Opens a service. Touches only its own ledger; no device, no cloud.
    pub fn open(opening: Opening) -> Result<Arc<Self>> {
        let Opening { service, driver, host, ledger, mounts, defaults, boot, metrics } = opening;
        let ledger = Ledger::open(ledger, &service, boot)?;
        let driver = Guard::new(driver, service.clone(), metrics.clone());
        let losses = ledger.list().into_iter();
        let losses = losses.filter_map(|entry| Some((entry.name.clone(), entry.loss.clone()?)));
        let losses = RwLock::new(losses.collect());
        let this = Self {
            service,
            driver,
            host,
            ledger,
            mounts,
            defaults,
            metrics,
            operations: Arc::default(),
            faults: RwLock::default(),
            losses,
        };
        this.count_mounted();
        Ok(Arc::new(this))
    }

    /// Marks the beginning of an operation; it lasts as long as what is answered.
    ///
    /// Another orchestrator has taken over the service → `Aborted`: repeat the call there.
    pub async fn begin(&self) -> Result<OwnedRwLockReadGuard<bool>> {
        let under_way = Arc::clone(&self.operations).read_owned().await;
        if *under_way {
            return Err(Error::aborted(format!(
                "service {} has just been reconfigured; repeat the call",
                self.service
            )));
        }
        Ok(under_way)
    }

    /// Waits until no operation is under way, and lets none begin any more.
    ///
    /// Not within `patience` → `DeadlineExceeded`, and everything stays as it was.
    pub async fn retire(&self, patience: Duration) -> Result<()> {
        let quiet = tokio::time::timeout(patience, self.operations.write()).await;
        let mut retired = quiet.map_err(|_| {
            Error::deadline_exceeded(format!(
                "operations of service {} are still under way after {} s",
                self.service,
                patience.as_secs()
            ))
        })?;
        *retired = true;
        Ok(())
    }

    /// Whether another orchestrator has taken over the service. Never waits: while one is about to,
    /// it has not.
    pub fn is_retired(&self) -> bool {
        self.operations.try_read().is_ok_and(|retired| *retired)
    }

    /// The service's name.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Its driver's description.
    pub fn spec(&self) -> &'static Spec {
        self.driver.spec()
    }

    /// What its driver can do.
    pub fn capabilities(&self) -> Capabilities {
        self.driver.capabilities()
    }

    /// How many volumes it has mounted.
    pub fn mounted(&self) -> usize {
        self.ledger.list().iter().filter(|entry| entry.state == State::Mounted).count()
    }

    /// The ledger's entries: the volumes in use on this machine.
    pub fn in_use(&self) -> Vec<Arc<Entry>> {
        self.ledger.list()
    }

    /// Creates a volume, or finds the one that answers the request. Options with which it could not
    /// be mounted → `InvalidArgument`.
    pub async fn create(&self, request: Request) -> Result<Outcome<Volume>> {
        let create = self.complete(request)?;
        self.refuse_wrong_options(&create, create.origin.is_none()).await?;
        let Some(Origin::Volume(source)) = create.origin.clone() else {
            let _lock = self.driver.lock(create.name.as_str()).await;
            self.refuse_a_twin(&create.name).await?;
            return self.created(self.driver.create(&create).await?);
        };
        if source == create.name {
            return Err(Error::invalid_argument(format!("volume {source} cannot be its own copy")));
        }
        // Always in the same order, so that two copies in opposite directions do not wait for ever.
        let (first, second) =
            (source.clone().min(create.name.clone()), source.clone().max(create.name.clone()));
        let _first = self.driver.lock(first.as_str()).await;
        let _second = self.driver.lock(second.as_str()).await;
        self.refuse_a_twin(&create.name).await?;
        // One that is there answers the request, whatever has become of what it was made of.
        let copied = match self.driver.find(&create.name).await? {
            Some(_) => None,
            None => Some(self.require(&source).await?),
        };
        let still = self.freeze(copied.as_ref()).await?;
        let created = self.driver.create(&create).await;
        still.end().await;
        self.created(created?)
    }

    /// Makes a volume of the disk image or block device `from`, which stays as it is. The service's
    /// defaults hold for everything but size and file system.
    pub async fn import(&self, request: Request, from: &Path) -> Result<Outcome<Volume>> {
        if request.origin.is_some() {
            return Err(Error::invalid_argument(
                "a volume is imported or copied from another one, not both; give one of them",
            ));
        }
        let create = self.complete(request)?;
        self.refuse_wrong_options(&create, false).await?;
        let _lock = self.driver.lock(create.name.as_str()).await;
        self.refuse_a_twin(&create.name).await?;
        self.created(self.driver.import(&create, from).await?)
    }

    /// A volume that vanished while it is in use here must not lend its mount to a new one of its
    /// name.
    async fn refuse_a_twin(&self, name: &VolumeName) -> Result<()> {
        if self.ledger.find(name).is_none() || self.driver.find(name).await?.is_some() {
            return Ok(());
        }
        Err(Error::failed_precondition(format!(
            "a volume {name} was removed by somebody else while it is in use here; let go of it \
             first (`mobula volume unmount --all {name}`)"
        )))
    }

    fn created(&self, outcome: Outcome<Volume>) -> Result<Outcome<Volume>> {
        if let Outcome::Done(volume) = &outcome {
            let size = volume.size.map(|size| size.to_string());
            tracing::info!(service = %self.service, volume = %volume.name, size, "created");
        }
        Ok(outcome)
    }

    fn complete(&self, request: Request) -> Result<Create> {
        let Request { name, asked, labels, origin } = request;
        let spec = self.driver.spec();
        let defaults = spec.defaults.iter().copied();
        let (builtin, _) = crate::options::parse_volume_options(spec, defaults)?;
        let mut parameters = asked.or(&self.defaults).or(&builtin);
        if origin.is_some() {
            // A copy has the size and type of its source unless something else was asked for.
            (parameters.size, parameters.fs_type) = (asked.size, asked.fs_type);
        }
        Ok(Create { name, asked, parameters, labels, origin })
    }

    /// Removes a volume and its data. In use → `FailedPrecondition` naming who uses it.
    ///
    /// `force` ignores callers that have not given it back, never the kernel: what a container
    /// still holds is not removed.
    pub async fn remove(&self, name: &VolumeName, force: bool) -> Result<Outcome> {
        let _lock = self.driver.lock(name.as_str()).await;
        if let Some(entry) = self.ledger.find(name) {
            if !force {
                refuse_if_used(&entry)?;
                refuse_if_kept(&entry)?;
            }
            if self.release(Entry::clone(&entry), true).await? == Detached::Held {
                return Err(self.held(&entry).await);
            }
        }
        match self.driver.find(name).await? {
            None => Ok(Outcome::AlreadyDone(())),
            Some(volume) => {
                let outcome = self.driver.delete(&volume.id).await?;
                tracing::info!(service = %self.service, volume = %name, "removed");
                Ok(outcome)
            }
        }
    }

    /// The volume and its place here. Never touches its mount.
    pub async fn find(&self, name: &VolumeName) -> Result<Option<View>> {
        let Some(volume) = self.driver.find(name).await? else { return Ok(None) };
        let here = self.node_for([&volume]).await;
        Ok(Some(self.view(volume, here.as_ref())))
    }

    /// As [`find`](Self::find); missing → `NotFound`.
    pub async fn get(&self, name: &VolumeName) -> Result<View> {
        self.find(name).await?.ok_or_else(|| self.no_such(name))
    }

    /// Volumes and their places here, by name. Never touches a mount.
    pub async fn list(&self, page: &Page) -> Result<Listed<View>> {
        let listed = self.driver.list(page).await?;
        let here = self.node_for(&listed.entries).await;
        let entries = listed.entries.into_iter();
        let entries = entries.map(|volume| self.view(volume, here.as_ref())).collect();
        Ok(Listed { entries, next: listed.next })
    }

    /// This machine, if it is known, where that tells at which one these volumes are.
    async fn node_for(&self, volumes: impl IntoIterator<Item = &Volume>) -> Option<NodeId> {
        let is_at_any = volumes.into_iter().any(|volume| !volume.attached.is_empty());
        if is_at_any { self.driver.node().await.ok() } else { None }
    }

    fn view(&self, mut volume: Volume, here: Option<&NodeId>) -> View {
        let mut elsewhere = std::mem::take(&mut volume.attached);
        elsewhere.retain(|node| Some(node) != here);
        let entry = self.ledger.find(&volume.name);
        let is_mounted = entry.as_ref().is_some_and(|entry| entry.state == State::Mounted);
        let mut mountpoint = is_mounted.then(|| self.target(&volume.name));
        let known = || {
            let faults = self.faults.read().unwrap_or_else(PoisonError::into_inner);
            faults.get(&volume.name).cloned()
        };
        let lost = self.lost(&volume.name).map(|lost| match elsewhere.first() {
            Some(node) if !lost.contains(node.as_str()) => {
                format!("{lost}; it is attached to {node} now")
            }
            _ => lost,
        });
        let mut fault = lost.or_else(|| volume.fault.clone()).or_else(known);
        // Asks the kernel's mount table only: a path that is no mount point is not given out.
        if mountpoint.as_deref().is_some_and(|target| matches!(self.host.at(target), Ok(None))) {
            mountpoint = None;
            fault.get_or_insert_with(|| recovery::UNDONE.to_owned());
        }
        View { volume, entry, mountpoint, fault, elsewhere }
    }

    /// Where the volume of this name is or would be mounted.
    pub fn target(&self, name: &VolumeName) -> PathBuf {
        self.mounts.join(name.as_str())
    }

    /// The volume, if it is there and nothing is wrong with it.
    async fn require(&self, name: &VolumeName) -> Result<Volume> {
        let volume = self.driver.find(name).await?.ok_or_else(|| self.no_such(name))?;
        volume.ensure_sound()?;
        Ok(volume)
    }

    fn no_such(&self, name: &VolumeName) -> Error {
        Error::not_found(format!(
            "there is no volume {name} in service {}; `mobula volume ls` shows those there are",
            self.service
        ))
    }

    fn count_mounted(&self) {
        self.metrics.set_mounted(self.service.as_str(), self.mounted());
    }
}

/// The error of an operation that needs a volume which nobody uses.
fn refuse_if_used(entry: &Entry) -> Result<()> {
    if entry.consumers.is_empty() {
        return Ok(());
    }
    let shown = |id: &str| -> String { id.chars().take(12).collect() };
    let ids: Vec<_> = entry.consumers.iter().take(5).map(|consumer| shown(&consumer.id)).collect();
    let count = entry.consumers.len();
    Err(Error::failed_precondition(format!(
        "volume {} is mounted by {count} {} ({}); stop them, or unmount it with `mobula volume \
         unmount --all`",
        entry.name,
        if count == 1 { "user" } else { "users" },
        ids.join(", ")
    )))
}

/// The error of removing a volume that somebody attached by hand.
fn refuse_if_kept(entry: &Entry) -> Result<()> {
    if !entry.kept {
        return Ok(());
    }
    Err(Error::failed_precondition(format!(
        "volume {0} is attached to this machine; detach it first (`mobula volume detach {0}`)",
        entry.name
    )))
}

/// Runs `work` to its end whatever becomes of the caller, and waits for it no longer than `within`.
pub async fn detached<T: Send + 'static>(
    within: Duration,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let task = tokio::spawn(work);
    match tokio::time::timeout(within, task).await {
        Ok(Ok(result)) => result,
        Ok(Err(failure)) => {
            Err(Error::internal("the operation ended without an answer").because(failure))
        }
        Err(_) => Err(Error::deadline_exceeded(format!(
            "not done within {} s; it is still going on, and repeating the call joins it",
            within.as_secs()
        ))),
    }
}
