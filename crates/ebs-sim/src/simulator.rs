//! The simulator as a thing to be started, asked, disturbed and stopped.

use crate::config::{Config, Delays, InstanceConfig};
use crate::core::{Core, Partition};
use crate::fault::Fault;
use crate::server::Server;
use crate::state::{Instance, Snapshot, State, Volume};
use crate::world::instance::Change;
use error::{Error, Result};
use std::collections::BTreeMap;

/// A running simulator. Dropping it ends its listeners and lets go of its disks;
/// [`shutdown`](Self::shutdown) also waits, and tells what went wrong.
pub struct Simulator {
    server: Server,
}

impl Simulator {
    /// Starts the simulator: what its images keep, or a new account. Needs a tokio runtime, and root
    /// if it has disks.
    ///
    /// No instance, two of one ID, an ID that can't be a name of a directory, an unknown type or zone
    /// → `InvalidArgument`. Its images in use by another simulator → `FailedPrecondition`.
    pub async fn start(config: Config) -> Result<Self> {
        check(&config)?;
        let opening = tokio::task::spawn_blocking(move || Core::open(config));
        let core = opening.await.map_err(|panic| Error::internal(panic.to_string()))??;
        Ok(Self { server: Server::start(core).await? })
    }

    /// The base URL of an instance's listener: `http://127.0.0.1:PORT`. It serves the EC2 API and STS
    /// at `/`, the instance's metadata at `/latest/`, and the admin API at `/_sim/`.
    ///
    /// # Panics
    /// When there is no such instance.
    #[must_use]
    pub fn endpoint(&self, instance: &str) -> String {
        let found = self.server.endpoint(instance);
        found.unwrap_or_else(|| panic!("there is no instance {instance} in this simulator"))
    }

    /// The base URLs of all instances, by ID.
    #[must_use]
    pub fn endpoints(&self) -> BTreeMap<String, String> {
        self.server.endpoints()
    }

    /// Adds an instance; answers its endpoint.
    pub async fn add_instance(&self, instance: InstanceConfig) -> Result<String> {
        self.server.add_instance(instance).await
    }

    /// Everything in the account.
    #[must_use]
    pub fn world(&self) -> State {
        let mut core = self.server.core();
        report(core.tick());
        State::of(&core.world)
    }

    /// The volumes of all regions, without root volumes.
    #[must_use]
    pub fn volumes(&self) -> Vec<Volume> {
        self.world().volumes
    }

    /// The snapshots of all regions.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.world().snapshots
    }

    /// The instances.
    #[must_use]
    pub fn instances(&self) -> Vec<Instance> {
        self.world().instances
    }

    /// How many calls of each action came since the start or the last reset, whatever became of them.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.server.core().calls.clone()
    }

    /// Counts calls from 0 again.
    pub fn reset_calls(&self) {
        self.server.core().calls.clear();
    }

    /// Sets a fault, besides those that are set.
    pub fn inject(&self, fault: Fault) {
        self.server.core().inject(fault);
    }

    /// Clears all faults; what was stuck goes on.
    pub fn clear_faults(&self) {
        report(self.server.core().clear_faults());
    }

    /// Changes how long things take that begin from now on.
    pub fn set_delays(&self, delays: Delays) {
        self.server.core().set_delays(delays);
    }

    /// Lets time pass at once, in milliseconds: delays, cooldowns, tokens. Not the clock that
    /// signatures are checked with.
    pub fn advance(&self, milliseconds: u64) {
        report(self.server.core().go_ahead(milliseconds));
    }

    /// Ends an instance, as TerminateInstances does.
    pub fn terminate(&self, instance: &str) -> Result<()> {
        change(&mut self.server.core(), instance, Change::Terminate)
    }

    /// Stops an instance, as StopInstances does: whatever it had mounted is cut off, its volumes stay
    /// attached.
    pub fn stop(&self, instance: &str) -> Result<()> {
        change(&mut self.server.core(), instance, Change::Stop)
    }

    /// Starts a stopped instance: its disks appear again.
    pub fn start_instance(&self, instance: &str) -> Result<()> {
        change(&mut self.server.core(), instance, Change::Start)
    }

    /// Cuts an instance off from the network: its listener accepts and never answers, or closes each
    /// connection if `reset`.
    pub fn partition(&self, instance: &str, reset: bool) {
        let partition = if reset { Partition::Reset } else { Partition::Silent };
        self.server.core().partitions.insert(instance.to_owned(), partition);
    }

    /// Ends a partition.
    pub fn heal(&self, instance: &str) {
        self.server.core().partitions.remove(instance);
    }

    /// Ends the listeners and takes the disks out. What is still mounted stays usable until it is
    /// unmounted; volumes, snapshots and attachments are there again when a simulator is started on
    /// the same images.
    pub async fn shutdown(self) -> Result<()> {
        self.server.stop().await
    }
}

/// Changes the state of an instance.
pub(crate) fn change(core: &mut Core, instance: &str, change: Change) -> Result<()> {
    let (now, region) = (core.now(), core.config.region.clone());
    let (world, step) = core.step(now);
    world.change_instance(instance, &region, change, &step).map_err(|refusal| {
        Error::failed_precondition(format!("{}: {}", refusal.code, refusal.message))
    })?;
    core.tick()?;
    core.changed()
}

fn report(result: Result<()>) {
    if let Err(error) = result {
        tracing::error!(%error, "the simulator's state was not kept");
    }
}

fn check(config: &Config) -> Result<()> {
    let wrong = |what: String| Err(Error::invalid_argument(what));
    if config.instances.is_empty() {
        return wrong("a simulator needs an instance; add one to `instances`".to_owned());
    }
    if config.account.len() != 12 || !config.account.chars().all(|c| c.is_ascii_digit()) {
        return wrong(format!("\"{}\" is no account; give 12 digits", config.account));
    }
    for (index, instance) in config.instances.iter().enumerate() {
        check_instance(config, instance)?;
        if config.instances[..index].iter().any(|other| other.id == instance.id) {
            return wrong(format!("there are two instances {}; rename one", instance.id));
        }
    }
    Ok(())
}

/// Whether there can be such an instance.
pub(crate) fn check_instance(config: &Config, instance: &InstanceConfig) -> Result<()> {
    let InstanceConfig { id, zone, kind, .. } = instance;
    let wrong = |what: String| Err(Error::invalid_argument(what));
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if id.is_empty() || id.len() > 64 || !id.chars().all(is_word) {
        let id = id.escape_debug();
        return wrong(format!("\"{id}\" is no instance ID; give letters, digits, - and _"));
    }
    if crate::world::limits::find(kind).is_none() {
        let kind = kind.escape_debug();
        return wrong(format!("\"{kind}\" of {id} is no instance type; give one like m5.large"));
    }
    let zones = config.zones_of(&config.region);
    match zone.as_ref().filter(|zone| !zones.contains(zone)) {
        None => Ok(()),
        Some(zone) => wrong(format!(
            "{id} is in zone \"{}\", which is none of {}",
            zone.escape_debug(),
            zones.join(", ")
        )),
    }
}
