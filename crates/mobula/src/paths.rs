//! Where things are on this machine. `MOBULA_HOME` re-roots all of it.

use std::path::{Path, PathBuf};

/// The paths of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    home: PathBuf,
}

impl Paths {
    /// The paths below `MOBULA_HOME`, or those of the system when it is unset or empty.
    pub fn from_env() -> Self {
        let home = std::env::var_os("MOBULA_HOME").filter(|home| !home.is_empty());
        Self::at(home.map_or_else(|| PathBuf::from("/"), PathBuf::from))
    }

    /// The paths below `home`.
    pub fn at(home: impl Into<PathBuf>) -> Self {
        let home = home.into();
        Self { home: std::path::absolute(&home).unwrap_or(home) }
    }

    /// The directory that all others are below.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The configuration file: `/etc/mobula/mobula.yml`.
    pub fn config(&self) -> PathBuf {
        self.home.join("etc/mobula/mobula.yml")
    }

    /// State that survives a reboot: `/var/lib/mobula`.
    pub fn state(&self) -> PathBuf {
        self.home.join("var/lib/mobula")
    }

    /// Volumes of the drivers of this machine: `/var/lib/mobula/volumes`.
    pub fn volumes(&self) -> PathBuf {
        self.state().join("volumes")
    }

    /// State that a reboot ends: `/run/mobula`.
    pub fn run(&self) -> PathBuf {
        self.home.join("run/mobula")
    }

    /// The control API's socket: `/run/mobula/mobula.sock`.
    pub fn socket(&self) -> PathBuf {
        self.run().join("mobula.sock")
    }

    /// The plugin engine's socket: `/run/mobula/engine.sock`.
    pub fn engine_socket(&self) -> PathBuf {
        self.run().join("engine.sock")
    }

    /// The lock that only one agent, or one command without an agent, holds: `/run/mobula/lock`.
    pub fn lock(&self) -> PathBuf {
        self.run().join("lock")
    }

    /// The ledgers: `/run/mobula/ledger`.
    pub fn ledger(&self) -> PathBuf {
        self.run().join("ledger")
    }

    /// Where volumes are mounted: `/run/mobula/mounts`.
    pub fn mounts(&self) -> PathBuf {
        self.run().join("mounts")
    }

    /// Where Docker looks for plugin sockets: `/run/docker/plugins`.
    pub fn docker_sockets(&self) -> PathBuf {
        self.home.join("run/docker/plugins")
    }

    /// Where Docker looks for the addresses of plugins: `/etc/docker/plugins`.
    pub fn docker_specs(&self) -> PathBuf {
        self.home.join("etc/docker/plugins")
    }
}
