//! `mobula demo`: the main job on this machine, without Docker and without a trace. A private mount
//! namespace, a private home, a real agent, real volumes, tiny real containers; every step is
//! checked and timed.

mod plugins;

use crate::client::Client;
use crate::config::Config;
use crate::paths::Paths;
use crate::{api, client};
use bytes::Bytes;
use error::{Error, IoContext, Result};
use host::command::Background;
use host::sandbox::{self, Sandbox};
use host::{Disks, Fstype, Mounts, linux::Linux};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The hidden argument under which the containers of the demonstration run this program.
pub const ARGUMENT: &str = "__demo";

const PATIENCE: Duration = Duration::from_secs(20);
const WIDTH: usize = 66;
const FIRST: &str = "written before the agent was killed";
const SECOND: &str = "written after the snapshot was taken";

/// Runs the demonstration. Every check held → `Ok`.
pub fn run() -> Result<()> {
    // Before any other thread exists: mounts made from here on are seen by nobody else.
    sandbox::private_mounts()?;
    let home = tempdir()?;
    let result = Demo::new(&home).and_then(|mut demo| demo.play());
    let removed = remove(&home);
    if result.is_err() {
        say("the demonstration failed; what it made has been removed\n");
    }
    result.and(removed)
}

fn tempdir() -> Result<PathBuf> {
    let home = std::env::temp_dir().join(format!("mobula-demo-{}", std::process::id()));
    std::fs::create_dir(&home).doing(|| format!("make {}", home.display()))?;
    Ok(home)
}

/// Removes the home, after a failure also with what is still mounted in it.
fn remove(home: &Path) -> Result<()> {
    plugins::end(home)?;
    let machine = Linux::default();
    let mut mounts = machine.table()?;
    mounts.retain(|mount| mount.target.starts_with(home));
    for mount in mounts.iter().rev() {
        machine.unmount(&mount.target)?;
    }
    host::file::remove_tree(home).map(drop)
}

struct Demo {
    paths: Paths,
    log: PathBuf,
    plugin: PathBuf,
    agent: Option<Background>,
    machine: Linux,
    runtime: tokio::runtime::Runtime,
    step: usize,
}

impl Demo {
    fn new(home: &Path) -> Result<Self> {
        let paths = Paths::at(home);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .doing(|| "start the runtime")?;
        Ok(Self {
            log: home.join("agent.log"),
            plugin: paths.docker_sockets().join("mobula.sock"),
            paths,
            agent: None,
            machine: Linux::default(),
            runtime,
            step: 0,
        })
    }

    fn play(&mut self) -> Result<()> {
        let began = Instant::now();
        self.keep_data()?;
        self.survive_a_kill()?;
        self.grow()?;
        self.go_back()?;
        self.leave_nothing()?;
        self.run_as_a_plugin()?;
        say(&format!("every check held; {} ms in all\n", began.elapsed().as_millis()));
        Ok(())
    }

    fn keep_data(&mut self) -> Result<()> {
        self.step("start the agent in a private home", Self::start)?;
        self.step("create a 64 MiB ext4 volume over Docker's plugin socket", |demo| {
            let opts = json!({ "size": "64MiB", "fsType": "ext4" });
            demo.docker("Create", &json!({ "Name": "pgdata", "Opts": opts })).map(drop)
        })?;
        self.step("mount it, as dockerd does for a container", |demo| {
            demo.mount("pgdata", "container-1").map(drop)
        })?;
        self.step("a container writes to it", |demo| {
            demo.container("pgdata", &["write", FIRST]).map(drop)
        })
    }

    fn survive_a_kill(&mut self) -> Result<()> {
        self.step("kill the agent with SIGKILL", |demo| {
            demo.agent.take().map_or(Ok(()), Background::kill)?;
            check(demo.is_mounted("pgdata")?, "the volume is still mounted")
        })?;
        self.step("start the agent again: it knows the volume is mounted", |demo| {
            demo.start()?;
            let volume = demo.docker("Get", &json!({ "Name": "pgdata" }))?;
            let mountpoint = volume["Volume"]["Mountpoint"].as_str().unwrap_or_default();
            check(Path::new(mountpoint) == demo.target("pgdata"), "the agent says where")
        })?;
        self.step("another container reads what was written", |demo| {
            let read = demo.container("pgdata", &["read"])?;
            check(read == FIRST, &format!("it reads \"{FIRST}\", not \"{read}\""))
        })?;
        self.show_mounts()
    }

    fn grow(&mut self) -> Result<()> {
        let before = self.machine.usage(&self.target("pgdata"))?.total;
        if self.machine.can_grow(Fstype::Ext4, true) {
            self.step("grow it to 128 MiB while it is mounted", |demo| demo.expand("pgdata"))?;
        } else {
            // Growing a mounted ext4 needs CAP_SYS_RESOURCE, which not every root has.
            self.step("unmount it, grow it to 128 MiB, mount it again", |demo| {
                demo.unmount("pgdata", "container-1")?;
                demo.expand("pgdata")?;
                demo.mount("pgdata", "container-1").map(drop)
            })?;
        }
        let after = self.machine.usage(&self.target("pgdata"))?.total;
        check(after > before + (48 << 20), &format!("it grew from {before} to {after} bytes"))?;
        let read = self.container("pgdata", &["read"])?;
        check(read == FIRST, "the data is there after growing")
    }

    fn go_back(&mut self) -> Result<()> {
        self.step("take a snapshot while it is mounted", |demo| {
            let request = api::CreateSnapshot {
                service: None,
                volume: "pgdata".to_owned(),
                name: "before".to_owned(),
            };
            demo.api(async |client| {
                client.post::<api::SnapshotChanged>("/v1/snapshots", &request).await
            })
            .map(drop)
        })?;
        self.step("a container overwrites the data", |demo| {
            demo.container("pgdata", &["write", SECOND]).map(drop)
        })?;
        self.step("restore the snapshot as another volume, and mount it", |demo| {
            let opts = json!({ "snapshot": "before" });
            demo.docker("Create", &json!({ "Name": "restored", "Opts": opts }))?;
            demo.mount("restored", "container-2").map(drop)
        })?;
        self.step("both have their own data", |demo| {
            let (now, then) =
                (demo.container("pgdata", &["read"])?, demo.container("restored", &["read"])?);
            check(now == SECOND && then == FIRST, &format!("\"{now}\" and \"{then}\""))
        })
    }

    fn leave_nothing(&mut self) -> Result<()> {
        self.step("unmount and remove everything", |demo| {
            demo.unmount("pgdata", "container-1")?;
            demo.unmount("restored", "container-2")?;
            for name in ["pgdata", "restored"] {
                demo.docker("Remove", &json!({ "Name": name }))?;
            }
            demo.api(async |client| {
                let path = "/v1/services/mobula/snapshots/before";
                client.delete::<api::SnapshotChanged>(path).await
            })
            .map(drop)
        })?;
        self.step("stop the agent; no mount, no loop device is left", |demo| {
            if let Some(agent) = demo.agent.take() {
                check(agent.stop(PATIENCE)? == 0, "the agent ends well")?;
            }
            let below = |path: &Path| path.starts_with(demo.paths.home());
            let mut mounts = demo.machine.table()?;
            mounts.retain(|mount| below(&mount.target) && mount.target != demo.paths.mounts());
            check(mounts.is_empty(), &format!("left mounted: {mounts:?}"))?;
            let images = host::loopdev::backing_files()?;
            check(!images.iter().any(|image| below(image)), "no loop device is left")?;
            demo.machine.unmount(&demo.paths.mounts()).map(drop)
        })
    }

    /// Runs one step and prints what it was and how long it took.
    fn step(&mut self, what: &str, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.step += 1;
        let began = Instant::now();
        say(&format!("{:>3}. {what} {} ", self.step, ".".repeat(WIDTH.saturating_sub(what.len()))));
        let result = work(self);
        match &result {
            Ok(()) => say(&format!("{:>6.1} ms\n", began.elapsed().as_secs_f64() * 1000.0)),
            Err(_) => {
                say("FAILED\n");
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                say(&format!("the agent's log:\n{log}"));
            }
        }
        result
    }

    fn start(&mut self) -> Result<()> {
        let socket = self.plugin.clone();
        self.start_as("start", &socket)
    }

    /// Starts this program as a server that listens on `socket`.
    fn start_as(&mut self, command: &str, socket: &Path) -> Result<()> {
        let home = [("MOBULA_HOME", self.paths.home().as_os_str())];
        let mut agent = Background::start(&[command], &home, &self.log)?;
        let until = Instant::now() + PATIENCE;
        while std::os::unix::net::UnixStream::connect(socket).is_err() {
            if let Some(code) = agent.ended()? {
                return Err(Error::internal(format!("mobula {command} ended with code {code}")));
            }
            if Instant::now() > until {
                return Err(Error::deadline_exceeded(format!("mobula {command} does not listen")));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.agent = Some(agent);
        Ok(())
    }

    /// A call of Docker's protocol, as dockerd makes it.
    fn docker(&self, method: &str, body: &Value) -> Result<Value> {
        let path = format!("/VolumeDriver.{method}");
        let body = Bytes::from(body.to_string());
        let (status, answer) = self.runtime.block_on(client::post_to(&self.plugin, &path, body))?;
        let answer: Value = serde_json::from_slice(&answer)
            .map_err(|source| Error::internal("the answer is no JSON").because(source))?;
        match answer["Err"].as_str() {
            Some("") | None if status == 200 => Ok(answer),
            err => Err(Error::internal(format!("{method}: {}", err.unwrap_or("no reason given")))),
        }
    }

    fn api<T>(&self, call: impl AsyncFnOnce(&Client) -> Result<T>) -> Result<T> {
        self.runtime.block_on(async {
            let client = Client::open(&self.paths, || Ok(Config::default())).await?;
            call(&client).await
        })
    }

    fn mount(&self, name: &str, id: &str) -> Result<PathBuf> {
        let answer = self.docker("Mount", &json!({ "Name": name, "ID": id }))?;
        let target = PathBuf::from(answer["Mountpoint"].as_str().unwrap_or_default());
        check(target == self.target(name) && self.is_mounted(name)?, "it is a mount point")?;
        Ok(target)
    }

    fn unmount(&self, name: &str, id: &str) -> Result<()> {
        self.docker("Unmount", &json!({ "Name": name, "ID": id }))?;
        check(!self.is_mounted(name)?, "it is unmounted")
    }

    fn expand(&self, name: &str) -> Result<()> {
        let path = format!("/v1/services/mobula/volumes/{name}/expand");
        let size = api::ExpandVolume { size: "128MiB".to_owned() };
        self.api(async |client| client.post::<api::Changed>(&path, &size).await).map(drop)
    }

    fn target(&self, name: &str) -> PathBuf {
        self.paths.mounts().join("mobula").join(name)
    }

    fn is_mounted(&self, name: &str) -> Result<bool> {
        let mount = self.machine.at(&self.target(name))?;
        Ok(mount.is_some_and(|mount| mount.fstype == "ext4" && mount.shared.is_some()))
    }

    /// Runs this program in a container of its own that has the volume at `/data`.
    fn container(&self, volume: &str, args: &[&str]) -> Result<String> {
        self.contain(&self.target(volume), args)
    }

    /// The same with any directory of the host at `/data`.
    fn contain(&self, directory: &Path, args: &[&str]) -> Result<String> {
        let binary = std::env::current_exe().doing(|| "find this program")?;
        let mut arguments = vec![ARGUMENT.to_owned()];
        arguments.extend(args.iter().map(|&arg| arg.to_owned()));
        let container = sandbox::spawn(&Sandbox {
            binary,
            args: arguments,
            volume: directory.to_owned(),
            at: "/data".into(),
            hostname: "demo".to_owned(),
        })?;
        let ended = container.wait()?;
        check(ended.code == 0, &format!("the container fails: {}", ended.stderr.trim()))?;
        Ok(ended.stdout)
    }

    fn show_mounts(&self) -> Result<()> {
        self.show(&["mounts"], "pgdata")
    }
}

/// What the containers of the demonstration do, on the volume at `/data`.
pub fn inside(args: &[String]) -> ExitCode {
    let file = "/data/note";
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", text] => std::fs::File::create(file)
            .and_then(|mut note| note.write_all(text.as_bytes()).and_then(|()| note.sync_all())),
        ["read"] => std::fs::read_to_string(file).map(|text| say(&text)),
        _ => Err(std::io::Error::other("nothing to do")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{file}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(held: bool, what: &str) -> Result<()> {
    if held { Ok(()) } else { Err(Error::internal(format!("a check failed: {what}"))) }
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever closes the pipe does not want to read on.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
