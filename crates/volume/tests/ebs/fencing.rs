//! A hundred times a machine loses its volume while it writes: it is cut off from AWS, hears half of
//! what that answers, is frozen, slow, or its agent is killed, and another machine takes the volume,
//! because the claim has expired or by order. At every moment one machine at most writes, what was
//! acknowledged is there, and nothing of what the old one wrote later is.
//!
//! `SEED=n` repeats one round.

use crate::lab::{Chance, Lab, act, named, open};
use ebs_sim::{Delays, Effect, Fault, InstanceConfig};
use error::Kind;
use host::linux::Linux;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use testkit::root::is_root;
use testkit::service::{Service, sized, standing};
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;
use volume::metrics::Calls;
use volume::{Driver, Orchestrator, Size};

const ROUNDS: u64 = 100;
/// So many rounds go on at once; most of their time is waiting for a claim to expire.
const AT_ONCE: usize = 12;
const MACHINES: [&str; 3] = ["i-a", "i-b", "i-c"];
/// A claim lasts for 3 s, and AWS gets a tenth of its usual time.
const OPTIONS: [(&str, &str); 2] = [("lease", "3"), ("waitTimeout", "12")];
/// How often an agent looks after its claims: as often for a claim of 30 s as agents do.
const EVERY: Duration = Duration::from_millis(500);
/// More calls than a round makes, polling included; more are retries without end.
const CALLS: u64 = 600;
/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn pause(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

#[track_caller]
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "never: {what}");
        pause(5);
    }
}

/// What goes wrong with the machine that has the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Its calls get lost: unanswered, or refused.
    Cut { reset: bool },
    /// Most of its calls fail, after or before AWS has done them.
    Lossy,
    /// Its agent gets no processor, and if `whole` its containers don't either.
    Frozen { whole: bool },
    /// Its agent looks after claims as rarely as this, in milliseconds.
    Slow { every: u64 },
    /// Its agent is killed; its containers go on.
    Killed,
}

impl Trouble {
    fn any(chance: &mut Chance) -> Self {
        match chance.below(7) {
            0 => Self::Cut { reset: false },
            1 => Self::Cut { reset: true },
            2 => Self::Lossy,
            3 => Self::Frozen { whole: false },
            4 => Self::Frozen { whole: true },
            5 => Self::Slow { every: 600 + chance.below(4_000) },
            _ => Self::Killed,
        }
    }

    /// Whether the machine renews nothing while this lasts.
    fn silences(self) -> bool {
        !matches!(self, Self::Lossy | Self::Slow { .. })
    }
}

/// A running agent.
struct Agent {
    service: Arc<Orchestrator>,
    driver: Arc<dyn Driver>,
    keeper: AbortHandle,
}

/// A machine with an agent, on a processor of its own.
struct Machine {
    instance: &'static str,
    root: PathBuf,
    linux: Arc<Linux>,
    /// One thread: who blocks that freezes the whole agent, in the middle of its calls.
    processor: Runtime,
    every: Arc<AtomicU64>,
    agent: Mutex<Option<Agent>>,
}

impl Machine {
    fn new(lab: &Lab, instance: &'static str) -> Self {
        let root = lab.dir.path().join(instance);
        fs::create_dir_all(&root).unwrap();
        let processor = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let every = Arc::new(AtomicU64::new(0));
        let machine = Self {
            instance,
            root,
            linux: Arc::default(),
            processor,
            every,
            agent: Mutex::default(),
        };
        machine.start(lab);
        machine
    }

    /// Starts an agent on what the one before has left.
    fn start(&self, lab: &Lab) {
        self.every.store(EVERY.as_millis() as u64, Ordering::Relaxed);
        let driver = open(&self.root, &lab.sim, self.instance, &OPTIONS, Calls::default()).unwrap();
        let service = Service::new(&self.root, driver.clone(), self.linux.clone()).open();
        let (kept, every) = (service.clone(), self.every.clone());
        let keeper = self.processor.spawn(async move {
            kept.recover().await;
            loop {
                kept.keep_up().await;
                kept.sweep().await;
                tokio::time::sleep(Duration::from_millis(every.load(Ordering::Relaxed))).await;
            }
        });
        let keeper = keeper.abort_handle();
        *self.agent.lock().unwrap() = Some(Agent { service, driver, keeper });
    }

    fn kill(&self) {
        let agent = self.agent.lock().unwrap().take().unwrap();
        agent.keeper.abort();
    }

    /// The agent stands still until what is answered is dropped.
    fn freeze(&self) -> mpsc::Sender<()> {
        let (thaw, thawed) = mpsc::channel::<()>();
        let (frozen, is_frozen) = mpsc::channel();
        self.processor.spawn(async move {
            let _ = frozen.send(());
            let _ = thawed.recv();
        });
        is_frozen.recv().unwrap();
        thaw
    }

    /// Has the agent do something, and waits until it is done.
    fn run<T: Send + 'static, W: Future<Output = T> + Send + 'static>(
        &self,
        work: impl FnOnce(Arc<Orchestrator>, Arc<dyn Driver>) -> W,
    ) -> T {
        let work = {
            let agent = self.agent.lock().unwrap();
            let agent = agent.as_ref().unwrap();
            work(agent.service.clone(), agent.driver.clone())
        };
        let (done, result) = mpsc::channel();
        self.processor.spawn(async move { drop(done.send(work.await)) });
        result.recv_timeout(PATIENCE * 2).expect("it ends")
    }

    fn mount(&self) -> error::Result<PathBuf> {
        self.run(|service, _| async move { service.mount(&named("pg"), standing("1")).await })
    }

    fn unmount(&self) -> error::Result<()> {
        self.run(|service, _| async move { service.unmount(&named("pg"), "1").await.map(drop) })
    }

    fn take(&self) -> error::Result<()> {
        let force = [("force", "true"), ("by", "a person")];
        self.run(|_, driver| async move { act(&driver, "take", "pg", &force).await.map(drop) })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.lock().unwrap().take() {
            agent.keeper.abort();
        }
        for mount in host::Mounts::table(&*self.linux).unwrap().iter().rev() {
            if mount.target.starts_with(&self.root) {
                let _ = Command::new("umount").arg("-l").arg(&mount.target).status();
            }
        }
    }
}

/// What a container has tried to write, and what became of it.
#[derive(Default)]
struct Written {
    /// Each record, and when it was begun.
    tried: Vec<(String, Instant)>,
    /// Those that were synced, and when that was told.
    acknowledged: Vec<(String, Instant)>,
    /// When a write failed for the first time; whether AWS had the volume here then.
    refused: Option<(Instant, bool)>,
}

/// A container that appends numbered records to a file of the volume, and syncs each.
struct Writer {
    written: Arc<Mutex<Written>>,
    /// It stands still while this is locked.
    processor: Arc<Mutex<()>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(target: &Path, name: &str, is_here: impl Fn() -> bool + Send + 'static) -> Self {
        let (written, processor) = (Arc::<Mutex<Written>>::default(), Arc::<Mutex<()>>::default());
        let (kept, runs, ends) = (written.clone(), processor.clone(), Arc::<AtomicBool>::default());
        let (ended, path, name) = (ends.clone(), target.join("log"), name.to_owned());
        let thread = thread::spawn(move || {
            let mut file = None;
            for number in 0.. {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let turn = runs.lock().unwrap();
                let record = format!("{name} {number}");
                kept.lock().unwrap().tried.push((record.clone(), Instant::now()));
                match append(&mut file, &path, &record) {
                    Ok(()) => {
                        kept.lock().unwrap().acknowledged.push((record, Instant::now()));
                    }
                    Err(_) => {
                        file = None;
                        let mut written = kept.lock().unwrap();
                        if written.refused.is_none() {
                            written.refused = Some((Instant::now(), is_here()));
                        }
                    }
                }
                drop(turn);
                pause(8);
            }
        });
        Self { written, processor, ends, thread: Some(thread) }
    }

    fn has_written(&self) -> bool {
        !self.written.lock().unwrap().acknowledged.is_empty()
    }

    fn is_refused(&self) -> bool {
        self.written.lock().unwrap().refused.is_some()
    }

    fn end(mut self) -> Written {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        std::mem::take(&mut self.written.lock().unwrap())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

fn append(file: &mut Option<File>, path: &Path, record: &str) -> std::io::Result<()> {
    if file.is_none() {
        *file = Some(File::options().create(true).append(true).open(path)?);
    }
    let file = file.as_mut().unwrap();
    file.write_all(format!("\n{record}\n").as_bytes())?;
    file.sync_all()
}

/// The records in the volume at `target`.
fn records(target: &Path) -> HashSet<String> {
    let log = fs::read_to_string(target.join("log")).unwrap_or_default();
    log.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// An account with a volume, and three machines that want it.
struct Round {
    seed: u64,
    chance: Chance,
    lab: Arc<Lab>,
    machines: Vec<Machine>,
    told: Vec<String>,
    /// Last: the simulator runs here.
    _runtime: Runtime,
}

impl Round {
    fn new(seed: u64) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let lab = runtime.block_on(Lab::with(|config| {
            config.seed = seed;
            config.instances = MACHINES.map(InstanceConfig::new).to_vec();
        }));
        let mut chance = Chance::new(seed);
        lab.sim.set_delays(Delays {
            attach: chance.below(60),
            detach: chance.below(60),
            visibility: chance.below(2) * 60,
            ..Delays::default()
        });
        let machines = MACHINES.map(|instance| Machine::new(&lab, instance)).into();
        let (lab, told) = (Arc::new(lab), Vec::new());
        Self { seed, chance, lab, machines, told, _runtime: runtime }
    }

    fn note(&mut self, what: String) {
        if std::env::var_os("SEED").is_some() {
            println!("{what}");
        }
        self.told.push(what);
    }

    #[track_caller]
    fn check(&self, holds: bool, what: &str) {
        let (told, volumes) = (self.told.join("\n"), self.lab.sim.volumes());
        assert!(holds, "SEED={}: {what}\n{told}\n{volumes:?}", self.seed);
    }

    /// A container on the machine that has just mounted the volume at `target`.
    fn writer(&self, index: usize, target: &Path) -> Writer {
        let (lab, instance) = (self.lab.clone(), MACHINES[index]);
        let is_here = move || {
            let volumes = lab.sim.volumes();
            volumes[0].attachments.iter().any(|there| there.instance == instance)
        };
        Writer::start(target, instance, is_here)
    }

    /// Another machine gets the volume, by the claim that expires or by order; answers where it is
    /// mounted there.
    fn taken(&mut self, old: usize, new: usize, trouble: Trouble, by_order: bool) -> PathBuf {
        for attempt in 0..3 {
            if by_order || attempt == 2 {
                // What is lost of calls about the machine hits those of the other one too.
                self.lab.sim.clear_faults();
                let taken = self.machines[new].take();
                self.note(format!("{} takes it: {taken:?}", MACHINES[new]));
                self.check(taken.is_ok(), "it is taken by order");
            }
            let mounted = self.machines[new].mount();
            self.note(format!("{} mounts: {mounted:?}", MACHINES[new]));
            match mounted {
                Ok(target) => return target,
                Err(error) => {
                    self.check(!by_order, "what was taken is mounted");
                    self.check(!trouble.silences(), "a claim that nobody renews expires");
                    if error.kind() == Kind::FailedPrecondition {
                        let named = error.message().contains(MACHINES[old]);
                        self.check(named, "the holder is named");
                    }
                }
            }
        }
        unreachable!("it was taken by order")
    }

    fn run(mut self) {
        let (old, other) = (self.chance.below(3) as usize, 1 + self.chance.below(2) as usize);
        let (new, last) = ((old + other) % 3, (old + 3 - other) % 3);
        let trouble = Trouble::any(&mut self.chance);
        let by_order = self.chance.below(3) == 0;
        self.note(format!("{} in trouble: {trouble:?}, by order: {by_order}", MACHINES[old]));
        let request = sized("pg", Size::gib(1));
        self.machines[old].run(|service, _| async move { service.create(request).await }).unwrap();
        let target = self.machines[old].mount().unwrap();
        let writer = self.writer(old, &target);
        eventually("it writes", || writer.has_written());
        pause(self.chance.below(800));

        let mut thaw = None;
        let mut still = None;
        match trouble {
            Trouble::Cut { reset } => self.lab.sim.partition(MACHINES[old], reset),
            Trouble::Lossy => {
                let effects = [Effect::DropAnswer, Effect::Reset, Effect::Throttle];
                for effect in effects {
                    self.lab.sim.inject(Fault::new(effect).of(MACHINES[old]).probability(0.4));
                }
            }
            Trouble::Frozen { whole } => {
                thaw = Some(self.machines[old].freeze());
                still = whole.then(|| writer.processor.clone());
            }
            Trouble::Slow { every } => self.machines[old].every.store(every, Ordering::Relaxed),
            Trouble::Killed => self.machines[old].kill(),
        }
        let still = still.as_ref().map(|processor| processor.lock().unwrap());
        pause(self.chance.below(1_000));
        let at = self.taken(old, new, trouble, by_order);
        let since = Instant::now();
        let found = records(&at);
        let next = self.writer(new, &at);
        eventually("the new one writes", || next.has_written());
        pause(self.chance.below(300));

        drop((thaw, still));
        self.lab.sim.heal(MACHINES[old]);
        self.lab.sim.clear_faults();
        if trouble == Trouble::Killed {
            self.machines[old].start(&self.lab);
        }
        eventually("the old one's writes fail", || writer.is_refused());
        pause(EVERY.as_millis() as u64 + self.chance.below(500));
        let (before, after) = (writer.end(), next.end());
        self.judge(&before, since, &found);
        if matches!(trouble, Trouble::Cut { .. }) && !by_order {
            // Not by AWS, which may be slow to: by its own agent, which knows that it is cut off.
            let (_, was_here) = before.refused.unwrap();
            self.check(was_here, "it went on writing until AWS took the disk away");
        }
        self.check(after.refused.is_none(), "the new one writes on");

        // Whoever has it gives it back, and the third finds all of it.
        let given_back = self.machines[old].unmount();
        self.note(format!("{} unmounts: {given_back:?}", MACHINES[old]));
        self.check(given_back.is_ok(), "what was lost is given back");
        let holders: Vec<_> = self.lab.sim.volumes()[0].attachments.clone();
        self.check(holders.iter().all(|one| one.instance == MACHINES[new]), "the new one has it");
        self.machines[new].unmount().unwrap();
        let at = self.machines[last].mount().unwrap();
        let found = records(&at);
        self.judge(&before, since, &found);
        self.judge(&after, Instant::now(), &found);
        self.machines[last].unmount().unwrap();
        let calls = self.lab.sim.calls();
        self.check(calls.values().sum::<u64>() < CALLS, &format!("{calls:?}"));
    }

    /// What one machine wrote, when another has had the volume `since` then, and `found` these.
    fn judge(&self, written: &Written, since: Instant, found: &HashSet<String>) {
        for (record, told) in &written.acknowledged {
            self.check(found.contains(record), &format!("lost: {record}"));
            self.check(*told < since, &format!("two write: {record}"));
        }
        for (record, begun) in &written.tried {
            let late = *begun > since && found.contains(record);
            self.check(!late, &format!("written when it was another's: {record}"));
        }
    }
}

#[test]
fn a_machine_that_loses_its_volume_writes_nothing_after_another_does() {
    if !is_root() {
        return;
    }
    if let Ok(seed) = std::env::var("SEED") {
        return Round::new(seed.parse().unwrap()).run();
    }
    let base = u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_micros()) << 8;
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= ROUNDS {
                        return;
                    }
                    Round::new(base + number).run();
                }
            });
        }
    });
}
