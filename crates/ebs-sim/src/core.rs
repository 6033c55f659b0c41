//! The one state behind all listeners: the account, its clock, faults, credentials and counters.
//! What a call does is in `api`; nothing here waits.

use crate::config::{Config, Delays};
use crate::credentials::Issued;
use crate::disks::{self, Disks};
use crate::fault::{Effect, Fault, Faults};
use crate::hardware::{Hardware, NoHardware};
use crate::imds::Tokens;
use crate::store::Store;
use crate::throttle::Throttle;
use crate::timestamp;
use crate::world::{Step, World};
use error::Result;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

/// What a partitioned instance sees of its listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Partition {
    /// It accepts and never answers.
    Silent,
    /// It closes every connection.
    Reset,
}

/// Everything.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) world: World,
    pub(crate) delays: Delays,
    pub(crate) faults: Faults,
    pub(crate) throttle: Throttle,
    pub(crate) issued: Issued,
    pub(crate) tokens: Tokens,
    pub(crate) calls: BTreeMap<String, u64>,
    pub(crate) partitions: BTreeMap<String, Partition>,
    /// How far the API's clock is ahead when it looks at signatures, in milliseconds.
    pub(crate) skew: i64,
    /// The world as it was when a lie was set, by the number of that fault.
    pub(crate) stale: BTreeMap<u64, World>,
    /// What was true when, if Describe* lags.
    history: VecDeque<(u64, World)>,
    /// How far the account's clock is ahead of this machine's, in milliseconds.
    ahead: u64,
    closed: bool,
    hardware: Box<dyn Hardware>,
    store: Option<Store>,
}

impl Core {
    /// The account of `config`: as its images keep it, or new.
    pub(crate) fn open(config: Config) -> Result<Self> {
        let mut core = Self {
            world: World::default(),
            delays: config.delays,
            faults: Faults::new(config.seed),
            throttle: Throttle::default(),
            issued: Issued::default(),
            tokens: Tokens::default(),
            calls: BTreeMap::new(),
            partitions: BTreeMap::new(),
            skew: 0,
            stale: BTreeMap::new(),
            history: VecDeque::new(),
            ahead: 0,
            closed: false,
            hardware: Box::new(NoHardware),
            store: None,
            config,
        };
        if let Some(directories) = core.config.disks.clone() {
            let (store, kept) = Store::open(&directories.images)?;
            (core.world, core.ahead) = (kept.world, kept.ahead);
            let disks = Disks::open(&directories)?;
            core.config.disks = Some(disks.directories());
            core.take_over(&disks)?;
            core.hardware = Box::new(disks);
            core.store = Some(store);
        }
        core.world.add_instances(&core.config, core.now());
        for fault in core.config.scenario.clone() {
            core.inject(fault);
        }
        core.remember();
        core.changed()?;
        Ok(core)
    }

    /// Finds the disks of the simulator before this one; those that are gone appear anew later.
    fn take_over(&mut self, disks: &Disks) -> Result<()> {
        let mut known = BTreeSet::new();
        let mut nodes = BTreeSet::new();
        for volume in self.world.volumes.values_mut() {
            for attachment in &mut volume.attachments {
                let Some(plug) = attachment.plug.take() else { continue };
                if disks.is_plugged(&volume.id, &attachment.instance, &plug)? {
                    known.insert(plug.device.clone());
                    nodes.insert(plug.node.clone());
                    attachment.plug = Some(plug);
                } else {
                    disks.hide(&volume.id, &attachment.instance, &plug)?;
                    let adopted = disks.adopt(&volume.id, &attachment.instance, &known)?;
                    known.extend(adopted.iter().map(|plug| plug.device.clone()));
                    nodes.extend(adopted.iter().map(|plug| plug.node.clone()));
                    attachment.plug = adopted;
                }
            }
        }
        let volumes = self.world.volumes.values().map(|volume| &volume.id);
        let ids = volumes.chain(self.world.snapshots.keys()).cloned().collect();
        disks.clear(&known, &nodes, &ids)
    }

    /// The account's clock; milliseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        timestamp::wall() + self.ahead
    }

    /// The clock that signatures are checked with.
    pub(crate) fn signing_clock(&self, skew: i64) -> u64 {
        timestamp::wall().saturating_add_signed(self.skew.saturating_add(skew))
    }

    /// Time passes at once.
    pub(crate) fn go_ahead(&mut self, milliseconds: u64) -> Result<()> {
        self.ahead += milliseconds;
        self.tick()?;
        self.changed()
    }

    /// What is due happens.
    pub(crate) fn tick(&mut self) -> Result<()> {
        let now = self.now();
        let (world, mut step) = self.step(now);
        if world.advance(&mut step) { self.changed() } else { Ok(()) }
    }

    /// The account and what is needed to change it.
    pub(crate) fn step(&mut self, now: u64) -> (&mut World, Step<'_>) {
        let step = Step { now, delays: self.delays, hardware: self.hardware.as_mut() };
        (&mut self.world, step)
    }

    /// Keeps what has become of the account. To be called after each change.
    pub(crate) fn changed(&mut self) -> Result<()> {
        self.remember();
        match &self.store {
            Some(store) => store.save(&self.world, self.ahead),
            None => Ok(()),
        }
    }

    fn remember(&mut self) {
        if self.delays.visibility == 0 {
            self.history.clear();
            return;
        }
        let now = self.now();
        self.history.push_back((now, self.world.clone()));
        let old = now.saturating_sub(self.delays.visibility);
        while self.history.get(1).is_some_and(|(at, _)| *at <= old) {
            self.history.pop_front();
        }
    }

    /// What Describe* shows now, if that isn't the present.
    pub(crate) fn view(&self, now: u64) -> Option<World> {
        let seen = now.saturating_sub(self.delays.visibility);
        let latest = self.history.iter().rev().find(|(at, _)| *at <= seen);
        latest.or(self.history.front()).map(|(_, world)| world.clone())
    }

    pub(crate) fn set_delays(&mut self, delays: Delays) {
        self.delays = delays;
        self.remember();
    }

    /// Sets a fault.
    pub(crate) fn inject(&mut self, fault: Fault) {
        if let Effect::Partition { reset } = fault.effect {
            let partition = if reset { Partition::Reset } else { Partition::Silent };
            let all = self.world.instances.keys();
            let meant = all.filter(|id| fault.instance.as_ref().is_none_or(|wanted| wanted == *id));
            self.partitions.extend(meant.map(|id| (id.clone(), partition)));
            return;
        }
        let lies = fault.effect == Effect::Lie;
        let number = self.faults.inject(fault);
        if lies {
            self.stale.insert(number, self.world.clone());
        }
    }

    /// Clears all faults; what is stuck goes on, what was partitioned hears again.
    pub(crate) fn clear_faults(&mut self) -> Result<()> {
        self.partitions.clear();
        self.faults.clear();
        self.stale.clear();
        self.world.release();
        self.tick()?;
        self.changed()
    }

    /// Where the links to an instance's disks are. The directory is made, so that it can be watched
    /// before there is any.
    pub(crate) fn links(&self, instance: &str) -> Result<Option<PathBuf>> {
        match &self.config.disks {
            Some(directories) => disks::make_links(&directories.devices, instance).map(Some),
            None => Ok(None),
        }
    }

    /// Takes the disks of all instances out; the attachments stay for the next start. What is still
    /// called afterwards has no effect on them.
    pub(crate) fn close(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        let mut hardware = std::mem::replace(&mut self.hardware, Box::new(NoHardware));
        let mut failed = None;
        for volume in self.world.volumes.values() {
            for attachment in &volume.attachments {
                let Some(plug) = &attachment.plug else { continue };
                let let_go = hardware.let_go(&volume.id, &attachment.instance, plug);
                failed = failed.or(let_go.err());
            }
        }
        // The next one may have the directories.
        self.store = None;
        failed.map_or(Ok(()), Err)
    }
}
