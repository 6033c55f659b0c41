//! The processes that are measured: our agent, and a Docker engine with everything of its own.

use super::http::{Client, Request};
use super::kernel;
use super::stats::Unit;
use crate::program;
use error::{Error, IoContext, Result};
use mobula::paths::Paths;
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a daemon may take until it answers.
const START: Duration = Duration::from_secs(60);
/// How long it may take to end when asked to.
const STOP: Duration = Duration::from_secs(15);
/// How often a daemon that starts is tried.
const TRY: Duration = Duration::from_micros(100);

/// A process that ends when this is dropped.
pub(super) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it; what it says goes to `log`.
    pub(super) fn spawn(command: &mut Command, log: PathBuf) -> Result<Self> {
        let file = File::create(&log).doing(|| format!("make {}", log.display()))?;
        kernel::die_with_parent(command);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let name = command.get_program().to_string_lossy().into_owned();
        Ok(Self { child: command.spawn().doing(|| format!("run {name}"))?, log })
    }

    /// Waits until `ready` says so.
    pub(super) fn wait(&mut self, ready: impl Fn() -> bool) -> Result<()> {
        let until = Instant::now() + START;
        while !ready() {
            let ended = self.child.try_wait().doing(|| "wait for a daemon")?.is_some();
            if ended || Instant::now() > until {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                return Err(Error::internal(format!("a daemon did not start: {last:?}")));
            }
            std::thread::sleep(TRY);
        }
        Ok(())
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn end(&mut self) {
        kernel::terminate(&self.child);
        let until = Instant::now() + STOP;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

/// A running `mobula start`.
pub(super) struct Agent {
    daemon: Daemon,
    paths: Paths,
    /// From its start until its plugin socket took a connection.
    pub(super) connected: Duration,
    /// From its start until it answered.
    pub(super) answered: Duration,
}

impl Agent {
    /// Starts one on `home`, with a service for each of the drivers `local` and `loop`.
    pub(super) fn start(program: &Path, home: &Path) -> Result<Self> {
        let services = "{local: {driver: local}, loop: {driver: loop}}";
        Self::serving(program, home, "local", services)
    }

    /// Starts one on `home` with these `services`, in YAML; it is up when `first` of them is.
    pub(super) fn serving(
        program: &Path,
        home: &Path,
        first: &str,
        services: &str,
    ) -> Result<Self> {
        let paths = Paths::at(home);
        let config = format!("log: {{level: error}}\nservices: {services}\n");
        crate::workspace::write(&paths.config(), &config)?;
        mount_run(home)?;
        let mut command = program::command(program);
        command.arg("start").env_clear().env("PATH", program::PATH).env("MOBULA_HOME", home);
        let socket = plugin_of(&paths, first);
        let start = Instant::now();
        let mut daemon = Daemon::spawn(&mut command, home.join("agent.log"))?;
        daemon.wait(|| UnixStream::connect(&socket).is_ok())?;
        let connected = start.elapsed();
        Client::connect(&socket)?.send(&Request::new("POST", "/VolumeDriver.Capabilities", ""))?;
        Ok(Self { daemon, paths, connected, answered: start.elapsed() })
    }

    /// The Docker plugin socket of a service.
    pub(super) fn plugin(&self, service: &str) -> PathBuf {
        plugin_of(&self.paths, service)
    }

    /// The control API's socket.
    pub(super) fn control(&self) -> PathBuf {
        self.paths.socket()
    }

    /// Where the volumes of a service lie.
    pub(super) fn volumes(&self, service: &str) -> PathBuf {
        self.paths.volumes().join(service)
    }

    /// Its resident memory (proc_pid_status(5), VmRSS).
    pub(super) fn memory(&self, unit: Unit) -> Result<f64> {
        let path = format!("/proc/{}/status", self.daemon.child.id());
        let status = std::fs::read_to_string(&path).doing(|| format!("read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes =
            line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok());
        let kibibytes: u64 =
            kibibytes.ok_or_else(|| Error::internal(format!("{path} has no VmRSS")))?;
        Ok(unit.of_bytes(kibibytes << 10))
    }
}

/// `/run` is in memory on every machine; below a home it shall be so, too.
fn mount_run(home: &Path) -> Result<()> {
    let run = home.join("run");
    if run.exists() {
        return Ok(());
    }
    std::fs::create_dir(&run).doing(|| format!("make {}", run.display()))?;
    kernel::mount(Path::new("tmpfs"), &run, "tmpfs")
}

fn plugin_of(paths: &Paths, service: &str) -> PathBuf {
    paths.docker_sockets().join(format!("{service}.sock"))
}

/// A running Docker engine, without network, with its data in a directory of its own.
pub(super) struct Engine {
    daemon: Daemon,
    pub(super) socket: PathBuf,
    /// From its start until it answered.
    pub(super) answered: Duration,
    volumes: usize,
}

impl Engine {
    /// Starts one in `dir`, with what it needs only while it runs in `run`; `None` if no engine is
    /// installed.
    pub(super) fn start(dir: &Path, run: &Path) -> Result<Option<Self>> {
        let Some(program) = program::find("dockerd") else { return Ok(None) };
        let socket = dir.join("docker.sock");
        crate::workspace::write(&dir.join("daemon.json"), "{}")?;
        let mut command = program::command(program);
        command.env_clear().env("PATH", program::PATH).current_dir(dir);
        command.arg("--config-file").arg(dir.join("daemon.json"));
        command.arg("--data-root").arg(dir.join("data")).arg("--exec-root").arg(run.join("exec"));
        command.arg("--pidfile").arg(dir.join("pid"));
        command.arg("-H").arg(format!("unix://{}", socket.display()));
        command.args(["--bridge=none", "--iptables=false", "--ip-masq=false"]);
        let start = Instant::now();
        let mut daemon = Daemon::spawn(&mut command, dir.join("log"))?;
        let ping = Request::new("GET", "/_ping", "");
        daemon
            .wait(|| Client::connect(&socket).and_then(|mut c| c.send(&ping).map(drop)).is_ok())?;
        Ok(Some(Self { daemon, socket, answered: start.elapsed(), volumes: 0 }))
    }

    pub(super) fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Makes local volumes `v0`, `v1` … until there are `wanted`.
    pub(super) fn grow_to(&mut self, wanted: usize) -> Result<()> {
        let missing = self.volumes..wanted;
        super::fleet::create(&self.socket, missing, |name| {
            let body = format!(r#"{{"Name":"{name}","Driver":"local"}}"#);
            Request::new("POST", "/volumes/create", &body)
        })?;
        self.volumes = self.volumes.max(wanted);
        Ok(())
    }
}
