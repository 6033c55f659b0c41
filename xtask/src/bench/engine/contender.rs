//! One of the two engines, as its users see it: the API, the command line, the sockets of plugins.

use super::image::SOCKET;
use super::process;
use crate::bench::daemon::{Daemon, Engine};
use crate::bench::http::{Client, Request};
use crate::bench::kernel::{self, Mounted};
use crate::bench::lab::make_image;
use crate::program;
use error::{Error, IoContext, Result};
use mobula::paths::Paths;
use std::path::{Path, PathBuf};

/// The version of the API that both speak.
const API: &str = "/v1.41";
/// Bytes of a file system; only what is used takes space.
const DISK: u64 = 16 << 30;

/// Leads to our plugins: addresses of sockets must be short.
const PLUGINS: &str = "/run/ours";

/// A running engine. It ends before its file system does: the order of the fields.
pub(super) struct Contender {
    engine: Running,
    /// Where its API listens.
    pub(super) socket: PathBuf,
    disk: Disk,
}

enum Running {
    Ours(Daemon),
    Docker(Engine),
}

/// A fresh ext4 file system with `/run` of its own in memory; kept between starts of an engine.
pub(super) struct Disk(Mounted);

impl Disk {
    /// Makes one in `dir`, called `name`.
    pub(super) fn make(dir: &Path, name: &str) -> Result<Self> {
        let (image, target) = (dir.join(format!("{name}.image")), dir.join(name));
        make_image(&image, DISK)?;
        let mkfs = program::get("mkfs.ext4")?;
        program::run(program::command(mkfs).args(["-q", "-F"]).arg(&image), b"")?;
        std::fs::create_dir(&target).doing(|| format!("make {}", target.display()))?;
        let disk = Self(Mounted::image(&image, &target, "ext4")?);
        let run = disk.path().join("run");
        std::fs::create_dir(&run).doing(|| format!("make {}", run.display()))?;
        kernel::mount(Path::new("tmpfs"), &run, "tmpfs")?;
        Ok(disk)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0.target
    }
}

impl Contender {
    /// Starts `mobula engine`.
    pub(super) fn ours(program: &Path, disk: Disk) -> Result<Self> {
        let paths = Paths::at(disk.path());
        crate::workspace::write(&paths.config(), "log: {level: error}\n")?;
        let mut command = program::command(program);
        command.arg("engine").env_clear().env("PATH", program::PATH);
        command.env("MOBULA_HOME", disk.path()).env("DOCKER_CONFIG", disk.path());
        let socket = paths.engine_socket();
        let mut daemon = Daemon::spawn(&mut command, disk.path().join("engine.log"))?;
        let ping = Request::new("GET", "/_ping", "");
        daemon
            .wait(|| Client::connect(&socket).and_then(|mut c| c.send(&ping).map(drop)).is_ok())?;
        lead(PLUGINS, &paths.run().join("plugins"))?;
        Ok(Self { engine: Running::Ours(daemon), socket, disk })
    }

    /// Starts dockerd; `None` if it is not installed.
    pub(super) fn docker(disk: Disk) -> Result<Option<Self>> {
        let Some(engine) = Engine::start(disk.path(), &disk.path().join("run"))? else {
            return Ok(None);
        };
        let socket = engine.socket.clone();
        Ok(Some(Self { engine: Running::Docker(engine), socket, disk }))
    }

    /// Ends it and its plugins; what is left is its file system.
    pub(super) fn end(self) -> Result<Disk> {
        for name in self.plugins()? {
            self.remove(&name)?;
        }
        drop(self.engine);
        Ok(self.disk)
    }

    /// The process.
    pub(super) fn pid(&self) -> u32 {
        match &self.engine {
            Running::Ours(daemon) => daemon.pid(),
            Running::Docker(engine) => engine.pid(),
        }
    }

    /// The process and those that it needs for itself and its plugins.
    pub(super) fn processes(&self) -> Result<Vec<u32>> {
        let mut all = process::below(self.disk.path())?;
        all.push(self.pid());
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    /// Where a plugin with this ID listens.
    pub(super) fn plugin(&self, id: &str) -> PathBuf {
        match self.engine {
            Running::Ours(_) => Path::new(PLUGINS).join(id).join("sockets").join(SOCKET),
            Running::Docker(_) => Path::new("/run/docker/plugins").join(id).join(SOCKET),
        }
    }

    /// The directory that it is in.
    pub(super) fn home(&self) -> &Path {
        self.disk.path()
    }

    /// Writes what is not yet on the disk, so that nobody has to wait for it later.
    pub(super) fn settle(&self) -> Result<()> {
        kernel::sync(self.disk.path())
    }

    fn api(&self, method: &str, path: &str) -> Result<Vec<u8>> {
        let request = Request::new(method, &format!("{API}{path}"), "");
        Client::connect(&self.socket)?.send(&request).map(<[u8]>::to_vec)
    }

    /// Enables a plugin; it is known to answer afterwards.
    pub(super) fn enable(&self, name: &str) -> Result<()> {
        self.api("POST", &format!("/plugins/{name}/enable?timeout=30")).map(drop)
    }

    pub(super) fn disable(&self, name: &str) -> Result<()> {
        self.api("POST", &format!("/plugins/{name}/disable?force=1")).map(drop)
    }

    pub(super) fn remove(&self, name: &str) -> Result<()> {
        self.api("DELETE", &format!("/plugins/{name}?force=1")).map(drop)
    }

    pub(super) fn id(&self, name: &str) -> Result<String> {
        let plugin = json(&self.api("GET", &format!("/plugins/{name}/json"))?)?;
        let id = plugin["Id"].as_str().map(str::to_owned);
        id.ok_or_else(|| Error::internal(format!("plugin {name} has no ID")))
    }

    /// The names of all plugins.
    fn plugins(&self) -> Result<Vec<String>> {
        let plugins = json(&self.api("GET", "/plugins")?)?;
        let plugins = plugins.as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(plugins.iter().filter_map(|plugin| plugin["Name"].as_str().map(str::to_owned)).collect())
    }

    /// `docker plugin` with these words.
    pub(super) fn cli(&self, words: &[&str]) -> Result<()> {
        let mut command = program::command(program::get("docker")?);
        command.env_clear().env("PATH", program::PATH).env("DOCKER_CONFIG", self.disk.path());
        command.env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        program::run(command.arg("plugin").args(words), b"").map(drop)
    }

    /// `docker plugin create`.
    pub(super) fn create(&self, name: &str, dir: &Path) -> Result<()> {
        self.cli(&["create", name, &dir.to_string_lossy()])
    }
}

fn lead(from: &str, to: &Path) -> Result<()> {
    match std::os::unix::fs::symlink(to, from) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::io(format!("make {from}"), error))
        }
        _ => Ok(()),
    }
}

fn json(bytes: &[u8]) -> Result<serde_json::Value> {
    serde_json::from_slice(bytes)
        .map_err(|source| Error::internal("the engine's answer is not JSON").because(source))
}
