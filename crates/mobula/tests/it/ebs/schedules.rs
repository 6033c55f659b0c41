//! Three machines, one volume, and everything that can happen in between, by chance: commands that
//! are killed at any moment, machines that stop with the volume mounted, answers that are lost. At
//! every moment one machine at most writes, and in the end every line that was acknowledged is there.
//!
//! `SEED=n` repeats one schedule.

use crate::fixture::{Home, is_root};
use ebs_sim::{Config, Delays, Disks, Effect, Fault, InstanceConfig, Simulator};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

const SCHEDULES: u64 = 200;
const STEPS: usize = 10;
const MACHINES: usize = 3;
/// So many schedules go on at once; most of their time is waiting.
const AT_ONCE: usize = 4;
/// More calls than a schedule makes, polling included; more are retries without end.
const CALLS: u64 = 4_000;

/// xorshift64*: reproducible from its seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}

type Work = Box<dyn FnOnce(&Home) + Send>;

/// A machine: a mount namespace with this program's home.
struct Machine {
    work: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Machine {
    fn boot(endpoint: &str) -> Self {
        let (work, jobs) = mpsc::channel::<Work>();
        let config = format!(
            "services: {{mobula: {{driver: ebs, options: {{simulator: {endpoint}}}, volume: {{size: \
             1GiB}}}}}}\n"
        );
        let thread = std::thread::spawn(move || {
            let home = Home::with(&config);
            jobs.into_iter().for_each(|job| job(&home));
        });
        Self { work: Some(work), thread: Some(thread) }
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce(&Home) -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let job = move |home: &Home| drop(done.send(job(home)));
        self.work.as_ref().unwrap().send(Box::new(job)).unwrap();
        result.recv().expect("the machine is up")
    }

    /// `mobula` with these words; killed after so many milliseconds if it is not done by then.
    fn mobula(&self, words: &'static [&'static str], killed_after: Option<u64>) -> Output {
        self.run(move |home| {
            let mut command = home.command(words);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            let mut child = command.spawn().unwrap();
            if let Some(milliseconds) = killed_after {
                std::thread::sleep(Duration::from_millis(milliseconds));
                let _ = child.kill();
            }
            child.wait_with_output().unwrap()
        })
    }

    /// Appends a line to a file of the volume; whether it is on the disk for sure.
    fn append(&self, line: String) -> bool {
        self.run(move |home| {
            if !home.is_mounted("v") {
                return false;
            }
            let file =
                OpenOptions::new().create(true).append(true).open(home.target("v").join("log"));
            let Ok(mut file) = file else { return false };
            file.write_all(format!("{line}\n").as_bytes()).is_ok() && file.sync_all().is_ok()
        })
    }

    fn read(&self) -> String {
        self.run(|home| std::fs::read_to_string(home.target("v").join("log")).unwrap_or_default())
    }

    fn has_it(&self) -> bool {
        self.run(|home| home.is_mounted("v"))
    }

    /// What is left after a power cut: nothing that was mounted, nothing below /run.
    fn lose_power(&self) {
        self.run(|home| {
            while home.is_mounted("v") {
                let at = home.target("v");
                assert!(std::process::Command::new("umount").arg(&at).status().unwrap().success());
            }
            let run = home.path("run/mobula");
            let _ = std::process::Command::new("umount").arg(run.join("mounts")).output();
            let _ = std::fs::remove_dir_all(run.join("ledger"));
        });
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.work.take());
        let _ = self.thread.take().unwrap().join();
    }
}

fn instance(index: usize) -> String {
    format!("i-{index}")
}

fn config(dir: &Path, seed: u64) -> Config {
    Config {
        instances: (0..MACHINES).map(|index| InstanceConfig::new(instance(index))).collect(),
        disks: Some(Disks { images: dir.join("images"), devices: dir.join("devices") }),
        seed,
        ..Config::default()
    }
}

/// Something that goes wrong for a while.
fn fault(random: &mut Random) -> Fault {
    let effect = match random.below(5) {
        0 => Effect::Throttle,
        1 => Effect::Reset,
        2 => Effect::DropAnswer,
        3 => {
            Effect::Error { code: "InternalError".to_owned(), status: 500, message: String::new() }
        }
        _ => Effect::Delay { ms: 30 },
    };
    Fault::new(effect).probability(0.3).times(1 + random.below(6))
}

struct Schedule {
    seed: u64,
    random: Random,
    sim: Simulator,
    machines: Vec<Machine>,
    /// Lines that are on the disk for sure.
    acknowledged: Vec<String>,
    told: Vec<String>,
}

impl Schedule {
    fn note(&mut self, what: String) {
        if std::env::var_os("SEED").is_some() {
            println!("{what}");
        }
        self.told.push(what);
    }

    fn check(&self, holds: bool, what: &str) {
        assert!(
            holds,
            "SEED={}: {what}\n{}\n{:?}",
            self.seed,
            self.told.join("\n"),
            self.sim.volumes()
        );
    }

    /// One of the things that happen.
    fn step(&mut self, number: usize) {
        let index = self.random.below(MACHINES as u64) as usize;
        let killed = (self.random.below(3) == 0).then(|| 20 + self.random.below(250));
        match self.random.below(8) {
            0..=2 => self.mount(index, killed),
            3 | 4 => {
                for index in 0..MACHINES {
                    let line = format!("{number} from {index}");
                    if self.machines[index].append(line.clone()) {
                        self.note(format!("{line} acknowledged"));
                        self.acknowledged.push(line);
                    }
                }
            }
            5 => {
                let words = ["volume", "unmount", "--all", "v"].as_slice();
                let output = self.machines[index].mobula(words, killed);
                self.note(format!("{index} unmounts (killed {killed:?}): {}", said(&output)));
            }
            6 => {
                self.note(format!("{index} loses power"));
                self.sim.stop(&instance(index)).unwrap();
                self.machines[index].lose_power();
                self.sim.start_instance(&instance(index)).unwrap();
            }
            _ => {
                let fault = fault(&mut self.random);
                self.note(format!("from now on {fault:?}"));
                self.sim.inject(fault);
            }
        }
        self.one_writer();
    }

    fn mount(&mut self, index: usize, killed: Option<u64>) {
        let others: Vec<_> = (0..MACHINES)
            .filter(|other| *other != index && self.machines[*other].has_it())
            .collect();
        let words = ["volume", "mount", "v", "--idempotent"].as_slice();
        let output = self.machines[index].mobula(words, killed);
        self.note(format!("{index} mounts (killed {killed:?}): {}", said(&output)));
        if !others.is_empty() {
            self.check(!output.status.success(), &format!("{index} has what {others:?} have"));
            if output.status.code() == Some(4) {
                let holder = instance(others[0]);
                self.check(said(&output).contains(&holder), "the holder is named");
            }
        }
    }

    /// Whatever happens, one machine at most has the disk.
    fn one_writer(&self) {
        for volume in self.sim.volumes() {
            self.check(volume.attachments.len() <= 1, "two machines have the disk");
        }
        let mounted = self.machines.iter().filter(|machine| machine.has_it()).count();
        self.check(mounted <= 1, "two machines have it mounted");
    }

    /// When all is well again, any machine gets the volume, with every acknowledged line.
    fn end(&mut self) {
        self.sim.clear_faults();
        let calls: u64 = self.sim.calls().values().sum();
        self.check(calls < CALLS, &format!("{calls} calls"));
        // Each machine puts right what its killed commands left, and gives back what it has.
        for index in 0..MACHINES {
            let output = self.machines[index].mobula(&["volume", "unmount", "--all", "v"], None);
            self.note(format!("{index} gives it back: {}", said(&output)));
            let output =
                self.machines[index].mobula(&["volume", "detach", "v", "--idempotent"], None);
            self.note(format!("{index} lets go of it: {}", said(&output)));
        }
        let last = self.random.below(MACHINES as u64) as usize;
        let output = self.machines[last].mobula(&["volume", "mount", "v"], None);
        self.note(format!("{last} mounts at last: {}", said(&output)));
        self.check(output.status.success(), "the volume can be had again");
        let log = self.machines[last].read();
        let lines: Vec<_> = log.lines().collect();
        let lost: Vec<_> =
            self.acknowledged.iter().filter(|line| !lines.contains(&line.as_str())).collect();
        self.check(lost.is_empty(), &format!("lost: {lost:?}"));
        for words in [&["volume", "unmount", "v"], &["volume", "rm", "v"]] {
            let output = self.machines[last].mobula(words, None);
            self.check(output.status.success(), &format!("{words:?}: {}", said(&output)));
        }
        self.check(self.sim.volumes().is_empty(), "a volume is left");
    }
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    format!("{} {} {}", output.status, text(&output.stdout), text(&output.stderr))
}

fn run(seed: u64) {
    let dir = tempfile::Builder::new().prefix("mobula-schedule-").tempdir().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let sim = runtime.block_on(Simulator::start(config(dir.path(), seed))).unwrap();
    let mut random = Random::new(seed);
    let visibility = random.below(2) * 60;
    sim.set_delays(Delays {
        attach: random.below(60),
        detach: random.below(60),
        visibility,
        ..Delays::default()
    });
    let machines: Vec<_> =
        (0..MACHINES).map(|index| Machine::boot(&sim.endpoint(&instance(index)))).collect();
    let told = vec![format!("seed {seed}, visibility {visibility} ms")];
    let mut schedule = Schedule { seed, random, sim, machines, acknowledged: Vec::new(), told };
    // Created by several at once, some of whom are killed: one volume.
    for index in 0..MACHINES {
        let killed = (index > 0).then(|| 10 + schedule.random.below(300));
        let output =
            schedule.machines[MACHINES - 1 - index].mobula(&["volume", "create", "v"], killed);
        schedule.note(format!("created: {}", said(&output)));
    }
    let count = schedule.sim.volumes().len();
    schedule.check(count == 1, "it is created once");
    for number in 0..STEPS {
        schedule.step(number);
    }
    schedule.end();
    schedule.machines.clear();
    runtime.block_on(schedule.sim.shutdown()).unwrap();
}

#[test]
fn whatever_happens_one_machine_writes_and_nothing_acknowledged_is_lost() {
    if !is_root() {
        return;
    }
    if let Ok(seed) = std::env::var("SEED") {
        return run(seed.parse().unwrap());
    }
    let base = u64::from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_micros()) << 8;
    let next = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let next = Arc::clone(&next);
            std::thread::spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= SCHEDULES {
                        return;
                    }
                    run(base + number);
                }
            })
        })
        .collect();
    let failed: Vec<_> = workers.into_iter().filter_map(|worker| worker.join().err()).collect();
    let failed: BTreeMap<_, _> =
        failed.iter().map(|why| why.downcast_ref::<String>()).enumerate().collect();
    assert!(failed.is_empty(), "{failed:?}");
}
