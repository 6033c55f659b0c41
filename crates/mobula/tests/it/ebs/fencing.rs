//! Agents that lose a volume while somebody writes to it: cut off from AWS, stopped by a signal, or
//! killed. What chance does to them a hundred times is in crates/volume/tests/ebs/fencing.rs; here
//! they are the real ones.

use super::machine::Machine;
use crate::fixture::{Agent, Home, PATIENCE, eventually, is_root};
use ebs_sim::{Config, Disks, InstanceConfig, Simulator};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const OLD: &str = "i-old";
const NEW: &str = "i-new";
/// In seconds. Agents look after claims every 5 s, and so have stopped their writes after 15 s at
/// most; after 18.75 s the volume may be taken.
const LEASE: u32 = 15;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    CutOff,
    Stopped,
    Killed,
}

/// What runs on a machine.
struct Booted {
    agent: Option<Agent>,
    home: Home,
}

fn boot(endpoint: &str) -> Machine<Booted> {
    let config = format!(
        "services: {{mobula: {{driver: ebs, options: {{simulator: {endpoint}, lease: \"{LEASE}\"}}, \
         volume: {{size: 1GiB}}}}}}\n"
    );
    Machine::with(move || {
        let home = Home::with(&config);
        Booted { agent: Some(home.start()), home }
    })
}

/// What was written to a volume.
#[derive(Default)]
struct Written {
    /// The numbers of the records that are on the disk for sure.
    synced: Vec<u32>,
    /// When each was begun.
    begun: Vec<Instant>,
    /// Whether AWS had the volume at this machine when it failed for the first time.
    refused: Option<bool>,
}

/// Appends numbers to a file of the volume until it is told to end.
struct Writer {
    written: Arc<Mutex<Written>>,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// One on the machine of this thread.
    fn start(path: PathBuf, sim: Arc<Simulator>) -> Self {
        let (written, ends) = (Arc::<Mutex<Written>>::default(), Arc::<AtomicBool>::default());
        let (kept, ended) = (written.clone(), ends.clone());
        let thread = std::thread::spawn(move || {
            for number in 0.. {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                kept.lock().unwrap().begun.push(Instant::now());
                let appended =
                    File::options().create(true).append(true).open(&path).and_then(|mut file| {
                        file.write_all(format!("\n{number}\n").as_bytes())?;
                        file.sync_all()
                    });
                let mut written = kept.lock().unwrap();
                if appended.is_ok() {
                    written.synced.push(number);
                } else if written.refused.is_none() {
                    let volumes = sim.volumes();
                    let mut holders = volumes[0].attachments.iter();
                    written.refused = Some(holders.any(|there| there.instance == OLD));
                }
                drop(written);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { written, ends, thread }
    }

    fn is_refused(&self) -> bool {
        self.written.lock().unwrap().refused.is_some()
    }

    fn end(self) -> Written {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        std::mem::take(&mut self.written.lock().unwrap())
    }
}

fn numbers(home: &Home) -> Vec<u32> {
    let log = std::fs::read_to_string(home.target("v").join("log")).unwrap();
    log.lines().filter_map(|line| line.parse().ok()).collect()
}

fn loses(trouble: Trouble, by_order: bool) {
    let what = format!("{trouble:?}, by order: {by_order}");
    let dir = tempfile::Builder::new().prefix("mobula-fencing-").tempdir().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = Config {
        instances: [OLD, NEW].map(InstanceConfig::new).to_vec(),
        disks: Some(Disks {
            images: dir.path().join("images"),
            devices: dir.path().join("devices"),
        }),
        ..Config::default()
    };
    let sim = Arc::new(runtime.block_on(Simulator::start(config)).unwrap());
    let (old, new) = (boot(&sim.endpoint(OLD)), boot(&sim.endpoint(NEW)));
    let shared = sim.clone();
    let writer = old.run(move |machine| {
        machine.home.ok(&["volume", "create", "v"]);
        machine.home.ok(&["volume", "mount", "v"]);
        Writer::start(machine.home.target("v").join("log"), shared)
    });
    eventually("it writes", PATIENCE, || !writer.written.lock().unwrap().synced.is_empty());

    match trouble {
        Trouble::CutOff => sim.partition(OLD, true),
        Trouble::Stopped => old.run(|machine| machine.agent.as_ref().unwrap().signal("-STOP")),
        Trouble::Killed => old.run(|machine| machine.agent.take().unwrap().kill()),
    }
    let found = new.run(move |machine| {
        if by_order {
            machine.home.ok(&["ebs", "take", "v", "--force", "true"]);
        }
        machine.home.ok(&["volume", "mount", "v"]);
        numbers(&machine.home)
    });
    let taken = Instant::now();
    sim.heal(OLD);
    old.run(move |machine| match trouble {
        Trouble::CutOff => {}
        Trouble::Stopped => machine.agent.as_ref().unwrap().signal("-CONT"),
        Trouble::Killed => machine.agent = Some(machine.home.start()),
    });
    eventually("its writes fail", PATIENCE, || writer.is_refused());
    old.run(|machine| {
        let told = || machine.home.log().contains("writes to the volume are stopped");
        eventually("its agent has heard of it", PATIENCE, told);
    });
    let written = writer.end();
    let later = new.run(|machine| numbers(&machine.home));
    for number in &written.synced {
        assert!(found.contains(number), "{what}: lost: {number}");
        let begun = written.begun[*number as usize];
        assert!(begun < taken, "{what}: {number} was written when it was another's");
    }
    assert_eq!(found, later, "{what}: the old one writes on");
    if trouble == Trouble::CutOff && !by_order {
        assert_eq!(written.refused, Some(true), "it wrote until AWS took the disk away");
    }
    old.run(|machine| machine.home.ok(&["volume", "unmount", "--all", "v"]));
    new.run(|machine| {
        machine.home.ok(&["volume", "unmount", "v"]);
        machine.home.ok(&["volume", "rm", "v"]);
    });
    drop((old, new));
    let sim = Arc::into_inner(sim).expect("nobody else has it");
    runtime.block_on(sim.shutdown()).unwrap();
}

#[test]
fn an_agent_that_loses_a_volume_ends_its_writes() {
    if !is_root() {
        return;
    }
    let troubles = [Trouble::CutOff, Trouble::Stopped, Trouble::Killed];
    std::thread::scope(|scope| {
        for (trouble, by_order) in troubles.iter().flat_map(|one| [(*one, false), (*one, true)]) {
            scope.spawn(move || loses(trouble, by_order));
        }
    });
}
