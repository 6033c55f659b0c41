//! What the figures are measured with, each part made when it is first needed: the programs, a
//! directory, the fleet, the peer, and an xfs file system.

use super::daemon::{Agent, Engine};
use super::fleet::Fleet;
use super::kernel::Mounted;
use crate::program;
use error::{IoContext, Result};
use std::fs::File;
use std::path::{Path, PathBuf};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// Volumes at the three sizes of a fleet.
    pub(super) volumes: [usize; 3],
    /// Rounds of a contest.
    pub(super) rounds: usize,
    /// Requests of one turn.
    pub(super) requests: usize,
    /// Rounds of what takes milliseconds to seconds.
    pub(super) slow: usize,
    /// Bytes written to a volume before its snapshots.
    pub(super) written: usize,
}

impl Scale {
    /// For figures.
    pub(super) const FULL: Self = Self {
        volumes: [10, 1_000, 10_000],
        rounds: 20,
        requests: 500,
        slow: 60,
        written: 500_000_000,
    };
    /// To see that it works.
    pub(super) const QUICK: Self =
        Self { volumes: [10, 100, 500], rounds: 3, requests: 50, slow: 5, written: 50_000_000 };
    /// The peer's List grows steeply: more volumes than this would only take time.
    pub(super) const MOST_OF_PEER: usize = 1_000;
}

/// The laboratory. Parts end before the directories they lie in: the order of the fields.
pub(super) struct Lab {
    pub(super) program: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) scale: Scale,
    fleet: Fleet,
    engine: Option<Engine>,
    engine_was_started: bool,
    xfs: Option<Xfs>,
}

struct Xfs {
    agent: Agent,
    mounted: Mounted,
}

impl Lab {
    pub(super) fn new(program: PathBuf, dir: PathBuf, scale: Scale) -> Self {
        let fleet = Fleet::new(&program, dir.join("fleet"));
        Self { program, dir, scale, fleet, engine: None, engine_was_started: false, xfs: None }
    }

    /// The agent that has many volumes.
    pub(super) fn fleet(&mut self) -> &mut Fleet {
        &mut self.fleet
    }

    /// The peer, unless it is not installed.
    pub(super) fn engine(&mut self) -> Result<Option<&mut Engine>> {
        if !self.engine_was_started {
            let dir = self.make_dir("engine")?;
            self.engine = Engine::start(&dir, &dir)?;
            self.engine_was_started = true;
        }
        Ok(self.engine.as_mut())
    }

    /// The socket of the peer with at least so many volumes, and at most [`Scale::MOST_OF_PEER`].
    pub(super) fn peer(&mut self, volumes: usize) -> Result<Option<PathBuf>> {
        let Some(engine) = self.engine()? else { return Ok(None) };
        engine.grow_to(volumes.min(Scale::MOST_OF_PEER))?;
        Ok(Some(engine.socket.clone()))
    }

    /// An agent whose state directory lies on xfs, and a directory beside it.
    pub(super) fn xfs(&mut self) -> Result<(&Agent, &Path)> {
        let xfs = match self.xfs.take() {
            Some(xfs) => xfs,
            None => self.make_xfs()?,
        };
        let xfs = self.xfs.insert(xfs);
        Ok((&xfs.agent, &xfs.mounted.target))
    }

    fn make_xfs(&self) -> Result<Xfs> {
        let (image, target) = (self.dir.join("xfs.image"), self.make_dir("xfs")?);
        make_image(&image, 40 << 30)?;
        program::run(
            program::command(program::get("mkfs.xfs")?).args(["-q", "-K"]).arg(&image),
            b"",
        )?;
        let mounted = Mounted::image(&image, &target, "xfs")?;
        let agent = Agent::start(&self.program, &target.join("home"))?;
        Ok(Xfs { agent, mounted })
    }

    /// A directory of this run.
    pub(super) fn make_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir).doing(|| format!("make {}", dir.display()))?;
        Ok(dir)
    }
}

/// A sparse file of `bytes`.
pub(super) fn make_image(path: &Path, bytes: u64) -> Result<()> {
    let made = File::create_new(path).and_then(|file| file.set_len(bytes));
    made.doing(|| format!("make {}", path.display()))
}
