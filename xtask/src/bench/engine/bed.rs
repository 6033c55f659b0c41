//! What the figures are measured on: both engines, and a registry that both install from.

use super::contender::{Contender, Disk};
use super::image;
use crate::bench::contest::{Contest, Measured, Turn};
use crate::bench::daemon::Daemon;
use crate::program;
use error::{IoContext, Result};
use serde_json::json;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(in crate::bench) struct Scale {
    /// Rounds of what takes up to a second.
    pub(super) rounds: usize,
    /// Rounds of what takes seconds.
    pub(super) slow: usize,
    /// Rounds of what takes tens of seconds.
    pub(super) heavy: usize,
    /// Megabytes of the plugins that are installed; the last one is created, too.
    pub(super) sizes: [usize; 2],
    /// Plugins of the group `many`.
    pub(super) plugins: usize,
    /// Requests of one turn.
    pub(super) requests: usize,
    /// Mounts of the group `mounts`.
    pub(super) mounts: usize,
}

impl Scale {
    /// For the published figures.
    pub(in crate::bench) const PUBLISHED: Self = Self {
        rounds: 21,
        slow: 5,
        heavy: 3,
        sizes: [60, 300],
        plugins: 50,
        requests: 100,
        mounts: 10_000,
    };
    /// For figures, in less than four minutes.
    pub(in crate::bench) const USUAL: Self =
        Self { rounds: 9, slow: 3, heavy: 1, ..Self::PUBLISHED };
    /// To see that it works.
    pub(in crate::bench) const QUICK: Self =
        Self { rounds: 2, slow: 1, heavy: 1, sizes: [2, 5], plugins: 4, requests: 10, mounts: 100 };
}

/// The bed.
pub(in crate::bench) struct Bed {
    pub(super) program: PathBuf,
    pub(super) scale: Scale,
    /// The program of every plugin.
    plugin: PathBuf,
    dir: PathBuf,
    registry: Option<Registry>,
    disks: Option<(Disk, Option<Disk>)>,
}

/// Both engines, running.
pub(super) struct Pair {
    pub(super) ours: Contender,
    pub(super) peer: Option<Contender>,
}

struct Registry {
    _daemon: Daemon,
    /// `host:port`.
    address: String,
}

impl Bed {
    pub(in crate::bench) fn new(
        program: PathBuf,
        plugin: PathBuf,
        dir: PathBuf,
        scale: Scale,
    ) -> Self {
        Self { program, scale, plugin, dir, registry: None, disks: None }
    }

    /// Starts both engines, does `work`, and ends them: what an engine did for one group of figures
    /// must not weigh on another.
    pub(super) fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Self, &Pair) -> Result<T>,
    ) -> Result<T> {
        let (ours, peer) = match self.disks.take() {
            Some(disks) => disks,
            None => (Disk::make(&self.dir, "ours")?, Some(Disk::make(&self.dir, "docker")?)),
        };
        let ours = Contender::ours(&self.program, ours)?;
        let peer = peer.map(Contender::docker).transpose()?.flatten();
        let pair = Pair { ours, peer };
        let done = work(self, &pair);
        let (ours, peer) = (pair.ours.end()?, pair.peer.map(Contender::end).transpose()?);
        self.disks = Some((ours, peer));
        done
    }

    /// Makes a plugin's directory.
    pub(super) fn image(&self, label: &str, megabytes: usize) -> Result<PathBuf> {
        let dir = self.dir.join("images").join(label);
        if dir.exists() {
            return Ok(dir);
        }
        image::make(&dir, &self.plugin, megabytes, label)
    }

    /// Puts a plugin into the registry by means of `engine`; its reference.
    pub(super) fn publish(
        &mut self,
        engine: &Contender,
        label: &str,
        dir: &Path,
    ) -> Result<String> {
        let registry = match self.registry.take() {
            Some(registry) => registry,
            None => Registry::start(&self.dir)?,
        };
        let name = format!("{}/bench/{label}:latest", self.registry.insert(registry).address);
        engine.create(&name, dir)?;
        engine.cli(&["push", &name])?;
        engine.remove(&name)?;
        Ok(name)
    }
}

impl Pair {
    pub(super) fn both(&self) -> impl Iterator<Item = &Contender> {
        std::iter::once(&self.ours).chain(&self.peer)
    }

    /// Lets both take turns: `ignored` that do not count, then `rounds`.
    pub(super) fn measure(
        &self,
        ignored: usize,
        rounds: usize,
        turn: impl Fn(&Contender) -> Result<f64>,
    ) -> Result<Measured> {
        let turn = &turn;
        let of = |one| -> Turn<'_> {
            Box::new(move || {
                let value = turn(one)?;
                Ok(vec![value])
            })
        };
        let contest = Contest { ours: of(&self.ours), peer: self.peer.as_ref().map(of), raw: None };
        contest.run_after(ignored, rounds)
    }
}

impl Registry {
    fn start(dir: &Path) -> Result<Self> {
        let dir = dir.join("registry");
        let listener = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = listener.doing(|| "find a free port")?.to_string();
        let config = json!({
            "version": 0.1,
            "log": { "level": "error", "accesslog": { "disabled": true } },
            "storage": { "filesystem": { "rootdirectory": dir.join("data") } },
            "http": { "addr": address },
        });
        // JSON is YAML.
        crate::workspace::write(&dir.join("config.yml"), &config.to_string())?;
        let mut command = program::command(program::get("docker-registry")?);
        command.env_clear().arg("serve").arg(dir.join("config.yml"));
        let mut daemon = Daemon::spawn(&mut command, dir.join("log"))?;
        daemon.wait(|| TcpStream::connect(&address).is_ok())?;
        Ok(Self { _daemon: daemon, address })
    }
}
