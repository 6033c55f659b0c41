//! What the figures are measured on: a simulated account, and an agent on an instance of it.

use super::account::Account;
use crate::bench::daemon::{Agent, Daemon};
use crate::program;
use error::{IoContext, Result};
use serde_json::json;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// The instance that the agent is on.
pub(super) const INSTANCE: &str = "i-0a";
/// The one service.
const SERVICE: &str = "ebs";
/// Disks that the instance takes: more than any group attaches.
const MOST: usize = 250;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(in crate::bench) struct Scale {
    /// Rounds of what takes milliseconds.
    pub(super) rounds: usize,
    /// Rounds of what takes seconds.
    pub(super) slow: usize,
    /// Volumes that are attached at once.
    pub(super) crowd: usize,
    /// Volumes that are listed.
    pub(super) listed: usize,
}

impl Scale {
    /// For figures.
    pub(in crate::bench) const FULL: Self =
        Self { rounds: 100, slow: 5, crowd: 100, listed: 5_000 };
    /// To see that it works.
    pub(in crate::bench) const QUICK: Self = Self { rounds: 5, slow: 2, crowd: 20, listed: 600 };
}

/// The bed.
pub(in crate::bench) struct Bed {
    program: PathBuf,
    dir: PathBuf,
    pub(super) scale: Scale,
}

/// An account and an agent, both running. The agent ends first.
pub(super) struct Cloud {
    pub(super) agent: Agent,
    pub(super) address: SocketAddr,
    program: PathBuf,
    home: PathBuf,
    _simulator: Daemon,
}

impl Bed {
    pub(in crate::bench) fn new(program: PathBuf, dir: PathBuf, scale: Scale) -> Self {
        Self { program, dir, scale }
    }

    /// A new account, with or without disks, and a new agent.
    pub(super) fn cloud(&self, name: &str, disks: bool) -> Result<Cloud> {
        let (dir, program) = (self.make_dir(name)?, self.program.clone());
        let (simulator, address) = simulate(&program, &dir, disks)?;
        let home = self.make_dir(&format!("{name}/home"))?;
        let agent = start(&program, &home, address)?;
        Ok(Cloud { agent, address, program, home, _simulator: simulator })
    }

    /// A directory of this run.
    pub(super) fn make_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir).doing(|| format!("make {}", dir.display()))?;
        Ok(dir)
    }
}

impl Cloud {
    /// The Docker plugin socket.
    pub(super) fn plugin(&self) -> PathBuf {
        self.agent.plugin(SERVICE)
    }

    /// A connection to the account.
    pub(super) fn account(&self) -> Result<Account> {
        Account::connect(self.address)
    }

    /// The same account with an agent that knows nothing yet.
    pub(super) fn restart(self) -> Result<Self> {
        let Self { agent, address, program, home, _simulator } = self;
        drop(agent);
        let agent = start(&program, &home, address)?;
        Ok(Self { agent, address, program, home, _simulator })
    }
}

fn start(program: &Path, home: &Path, address: SocketAddr) -> Result<Agent> {
    let services = json!({ SERVICE: {
        "driver": "ebs",
        "options": { "simulator": format!("http://{address}"), "maxVolumes": MOST.to_string() },
        "volume": { "size": "1GiB" },
    }});
    // JSON is YAML.
    Agent::serving(program, home, SERVICE, &services.to_string())
}

fn simulate(program: &Path, dir: &Path, disks: bool) -> Result<(Daemon, SocketAddr)> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let address = free.doing(|| "find a free port")?;
    let scenario = json!({
        "listen": address,
        "instances": [{ "id": INSTANCE, "max-volumes": MOST }],
        "cooldown": 0,
    });
    let file = dir.join("scenario.json");
    crate::workspace::write(&file, &scenario.to_string())?;
    let mut command = program::command(program);
    command.env_clear().env("PATH", program::PATH).arg("ebs-sim").arg("--scenario").arg(&file);
    match disks {
        true => command.arg("--images").arg(dir.join("images")),
        false => command.arg("--no-disks"),
    };
    command.arg("--devices").arg(dir.join("devices"));
    let mut simulator = Daemon::spawn(&mut command, dir.join("simulator.log"))?;
    simulator.wait(|| TcpStream::connect(address).is_ok())?;
    Ok((simulator, address))
}
