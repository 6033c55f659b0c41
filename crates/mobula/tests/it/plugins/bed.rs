//! The engine that is tested, real dockerd or `mobula engine`, with a registry beside it.

use super::image::{Image, probe};
use super::registry::Registry;
use super::wire::{self, Answer};
use crate::engine::fixture::{
    Machine, can_run, client, containerd_ends, dockerd, kill, ok, printed,
};
use crate::fixture::{Home, PATIENCE, eventually};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Dockerd,
    Ours,
}

/// How it is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Setup<'a> {
    /// Plugins outlive the engine. Those of `mobula engine` always do.
    pub live_restore: bool,
    /// A registry that is talked to over plain HTTP.
    pub insecure: Option<&'a str>,
    /// What else the configuration of `mobula engine` says, as YAML within braces.
    pub engine: &'a str,
}

/// Runs a test if the programs it needs are there.
pub fn run(kind: Kind, test: fn(Kind)) {
    let engine = if kind == Kind::Dockerd { "dockerd" } else { "docker" };
    if can_run(engine) && can_run("docker-registry") {
        test(kind);
    }
}

/// An engine; everything it has started ends with it.
pub struct Bed {
    kind: Kind,
    engine: Option<Child>,
    /// A dockerd beside `mobula engine`, for containers.
    neighbour: Option<Child>,
    live_restore: bool,
    insecure: Option<String>,
    settings: String,
    pub registry: Registry,
    pub machine: Machine,
    pub home: Home,
}

impl Bed {
    pub fn start(kind: Kind) -> Self {
        Self::with(kind, Setup::default())
    }

    pub fn with(kind: Kind, setup: Setup<'_>) -> Self {
        let home = Home::new();
        let machine = Machine::new(&home);
        let registry = Registry::start(&home);
        let insecure = setup.insecure.map(str::to_owned);
        let live_restore = setup.live_restore;
        let mut bed = Self {
            kind,
            engine: None,
            neighbour: None,
            live_restore,
            insecure,
            settings: setup.engine.to_owned(),
            registry,
            machine,
            home,
        };
        bed.start_engine();
        bed
    }

    pub fn is_ours(&self) -> bool {
        self.kind == Kind::Ours
    }

    /// Whether plugins go on when the engine is stopped.
    pub fn keeps_plugins(&self) -> bool {
        self.is_ours() || self.live_restore
    }

    fn socket(&self) -> PathBuf {
        match self.kind {
            Kind::Dockerd => self.home.path("d.sock"),
            Kind::Ours => self.home.path("run/mobula/engine.sock"),
        }
    }

    pub fn start_engine(&mut self) {
        let mut command = match self.kind {
            Kind::Dockerd => self.dockerd(),
            Kind::Ours => self.mobula(),
        };
        self.engine = Some(command.spawn().unwrap());
        eventually("the engine answers", PATIENCE * 2, || {
            let ended = self.engine.as_mut().unwrap().try_wait().unwrap();
            assert_eq!(ended, None, "the engine has ended\n{}", self.log());
            let answer = wire::unix(&self.socket(), "GET /_ping", &[], &[]);
            answer.is_ok_and(|answer| answer.status == 200)
        });
    }

    fn dockerd(&self) -> Command {
        let mut command = dockerd(&self.home, &self.machine, &self.host());
        command.args(self.live_restore.then_some("--live-restore"));
        command.args(self.insecure.iter().flat_map(|host| ["--insecure-registry", host]));
        command
    }

    fn mobula(&self) -> Command {
        let log = self.home.path("engine.log");
        let log = std::fs::File::options().append(true).create(true).open(log).unwrap();
        let insecure = self.insecure.iter().map(|host| format!("insecureRegistries: [\"{host}\"]"));
        let own = (!self.settings.is_empty()).then(|| self.settings.clone());
        let settings: Vec<_> = insecure.chain(own).collect();
        self.home.configure(&format!("engine: {{{}}}\n", settings.join(", ")));
        let mut command = self.home.command(&["engine", "--log-level", "debug"]);
        command.env("DOCKER_CONFIG", self.home.path("client"));
        command.stdout(Stdio::null()).stderr(log);
        command
    }

    /// Starts the dockerd beside `mobula engine`; it finds what that one publishes.
    pub fn start_neighbour(&mut self) {
        self.start_neighbour_with(&[]);
    }

    /// The same with further options.
    pub fn start_neighbour_with(&mut self, options: &[&str]) {
        let mut command = dockerd(&self.home, &self.machine, &self.neighbours_host());
        self.neighbour = Some(command.args(options).spawn().unwrap());
        eventually("the neighbour answers", PATIENCE * 2, || {
            self.box_docker("version").output().unwrap().status.success()
        });
    }

    fn neighbours_host(&self) -> String {
        format!("unix://{}", self.home.path("d.sock").display())
    }

    /// `docker` with these words, to the engine that has containers.
    pub fn box_docker(&self, words: &str) -> Command {
        let mut command = client(&self.home, "docker", &self.neighbours_host());
        command.args(words.split_whitespace());
        command
    }

    pub fn box_ok(&self, words: &str) -> String {
        ok(&mut self.box_docker(words))
    }

    /// Where `mobula engine` publishes this plugin.
    pub fn published(&self, name: &str) -> PathBuf {
        assert!(self.is_ours());
        self.home.path("run/docker/plugins").join(format!("{name}.sock"))
    }

    /// A call of Docker's protocol as another engine makes it; the status and the answer.
    pub fn try_call(&self, name: &str, method: &str, body: &str) -> (u16, Value) {
        let socket = if self.is_ours() { self.published(name) } else { self.own_socket(name) };
        eventually("there is a socket", PATIENCE, || wire::connect(&socket).is_ok());
        let line = format!("POST /VolumeDriver.{method}");
        let answer = wire::unix(&socket, &line, &[], body.as_bytes()).unwrap();
        (answer.status, answer.json())
    }

    /// The same, which must succeed.
    pub fn call(&self, name: &str, method: &str, body: &Value) -> Value {
        let (status, answer) = self.try_call(name, method, &body.to_string());
        let error = answer["Err"].as_str().unwrap_or_default();
        assert!(status == 200 && error.is_empty(), "{method} {body}: {status} {answer}");
        answer
    }

    /// SIGTERM.
    pub fn stop_engine(&mut self) {
        let mut engine = self.engine.take().unwrap();
        kill("-TERM", engine.id());
        eventually("the engine ends", PATIENCE * 2, || engine.try_wait().unwrap().is_some());
    }

    /// SIGKILL.
    pub fn kill_engine(&mut self) {
        let mut engine = self.engine.take().unwrap();
        engine.kill().unwrap();
        engine.wait().unwrap();
        if !self.is_ours() {
            containerd_ends(&self.home);
        }
    }

    /// The engine's process.
    pub fn engine_pid(&self) -> u32 {
        self.engine.as_ref().unwrap().id()
    }

    pub fn restart_engine(&mut self) {
        self.stop_engine();
        self.start_engine();
    }

    pub fn log(&self) -> String {
        let log = if self.is_ours() { "engine.log" } else { "dockerd.log" };
        let text = std::fs::read_to_string(self.home.path(log)).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// `docker` with these words.
    pub fn docker(&self, words: &str) -> Command {
        let mut command = client(&self.home, "docker", &self.host());
        command.args(words.split_whitespace());
        command
    }

    pub fn ok(&self, words: &str) -> String {
        ok(&mut self.docker(words))
    }

    /// `docker` with these words, which must fail; what it said.
    pub fn fails(&self, words: &str) -> String {
        let output = self.docker(words).output().unwrap();
        assert!(!output.status.success(), "docker {words} succeeds: {output:?}");
        said(&output)
    }

    /// A raw request to the API.
    pub fn api(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        wire::unix(&self.socket(), line, headers, body.as_bytes()).unwrap()
    }

    /// `docker plugin create`. No two have the same content: dockerd 20.10 refuses the second of two
    /// layers that are made within one second.
    pub fn create(&self, name: &str, image: &Image) {
        let dir = image.clone().and_file("name", name).write(&self.home);
        self.ok(&format!("plugin create {name} {}", dir.display()));
    }

    /// The plain probe, under this name and enabled.
    pub fn probe(&self, name: &str) {
        self.create(name, &probe());
        self.ok(&format!("plugin enable {name}"));
    }

    /// Puts an image into the registry; the name to install it by.
    pub fn publish(&self, name: &str, image: &Image) -> String {
        self.registry.publish(&self.home, name, image);
        self.registry.name(name)
    }

    pub fn install(&self, name: &str, words: &str) -> String {
        self.ok(&format!("plugin install --grant-all-permissions {name} {words}"))
    }

    /// Pushes; what the client said. dockerd 20.10 may die a second later: it is made to at once.
    pub fn push(&mut self, name: &str) -> String {
        let said = self.ok(&format!("plugin push {name}"));
        if !self.is_ours() {
            self.kill_engine();
            self.start_engine();
        }
        said
    }

    /// `docker plugin inspect`.
    pub fn inspect(&self, name: &str) -> Value {
        let shown: Value =
            serde_json::from_str(&self.ok(&format!("plugin inspect {name}"))).unwrap();
        shown[0].clone()
    }

    pub fn id(&self, name: &str) -> String {
        self.inspect(name)["Id"].as_str().unwrap().to_owned()
    }

    pub fn is_enabled(&self, name: &str) -> bool {
        self.inspect(name)["Enabled"].as_bool().unwrap()
    }

    /// The names that `docker plugin ls` shows, with these options.
    pub fn list(&self, words: &str) -> Vec<String> {
        let shown = self.ok(&format!("plugin ls --format {{{{.Name}}}} {words}"));
        shown.lines().map(str::to_owned).collect()
    }

    /// All that `mobula engine` tells about a plugin.
    pub fn state_of(&self, name: &str) -> Value {
        assert!(self.is_ours());
        self.api(&format!("GET /mobula/plugins/{name}"), &[], "").json()
    }

    /// Where the engine has this plugin's own files.
    pub fn state(&self, id: &str) -> PathBuf {
        let plugins = if self.is_ours() { "var/lib/mobula/plugins" } else { "docker/plugins" };
        self.home.path(plugins).join(id)
    }

    /// The propagated mount, as the host sees it.
    pub fn propagated(&self, name: &str) -> PathBuf {
        self.state(&self.id(name)).join("propagated-mount")
    }

    /// The plugin's own socket.
    pub fn own_socket(&self, name: &str) -> PathBuf {
        let shown = self.inspect(name);
        let id = shown["Id"].as_str().unwrap();
        let dir = match self.kind {
            Kind::Dockerd => Path::new("/run/docker/plugins").join(id),
            Kind::Ours => self.home.path("run/mobula/plugins").join(id).join("sockets"),
        };
        dir.join(shown["Config"]["Interface"]["Socket"].as_str().unwrap())
    }

    /// What the probe answers to GET.
    pub fn ask(&self, name: &str, path: &str) -> Answer {
        wire::unix(&self.own_socket(name), &format!("GET {path}"), &[], &[]).unwrap()
    }

    /// The container as the probe sees it.
    pub fn about(&self, name: &str) -> Value {
        self.ask(name, "/about").json()
    }

    /// How often the probe was asked this.
    pub fn count(&self, name: &str, method: &str) -> u64 {
        self.ask(name, "/calls").json()["counts"][method].as_u64().unwrap_or(0)
    }

    /// The plugin's process, as the host sees it; none if nothing listens.
    pub fn pid(&self, name: &str) -> Option<i32> {
        let stream = wire::connect(&self.own_socket(name)).ok()?;
        host::process::peer(&stream).ok()
    }
}

/// What a command said on its standard error.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stderr), printed(output))
}

pub fn runs(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

impl Drop for Bed {
    fn drop(&mut self) {
        for mut engine in [self.engine.take(), self.neighbour.take()].into_iter().flatten() {
            let _ = (engine.kill(), engine.wait());
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}
