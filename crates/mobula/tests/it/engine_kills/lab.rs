//! `mobula engine` in a home of its own, what it leaves there, and the ways to hurt it.

use crate::engine::fixture::{Machine, kill};
use crate::fixture::{Home, PATIENCE, eventually};
use crate::plugins::image::{Image, probe};
use crate::plugins::wire::{self, Answer};
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// An engine; everything it has started ends with it.
pub struct Lab {
    engine: Option<Child>,
    _machine: Machine,
    pub home: Home,
}

/// How a command ended, in words for a failing test.
pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stderr), text(&output.stdout))
}

impl Lab {
    /// A home without an engine.
    pub fn new() -> Self {
        let home = Home::new();
        let machine = Machine::new(&home);
        Self { engine: None, _machine: machine, home }
    }

    /// With an engine that answers.
    pub fn started() -> Self {
        let mut lab = Self::new();
        lab.start();
        lab
    }

    pub fn socket(&self) -> PathBuf {
        self.home.path("run/mobula/engine.sock")
    }

    /// The command of an engine of this home.
    pub fn engine(&self, words: &[&str]) -> Command {
        let log = self.home.path("engine.log");
        let log = std::fs::File::options().append(true).create(true).open(log).unwrap();
        let mut command = self.home.command(&["engine"]);
        command.args(words).stdout(Stdio::null()).stderr(log);
        command
    }

    pub fn start(&mut self) {
        let command = self.engine(&[]);
        self.start_as(command);
        assert!(self.comes_up(), "the engine has ended\n{}", self.log());
    }

    /// Starts this very engine, without waiting for it.
    pub fn start_as(&mut self, mut command: Command) {
        assert!(self.engine.is_none());
        self.engine = Some(command.spawn().unwrap());
    }

    /// Waits until the engine answers; false if it ends before.
    pub fn comes_up(&mut self) -> bool {
        let mut is_up = false;
        eventually("the engine answers or ends", PATIENCE * 2, || {
            is_up = self.answers();
            is_up || self.has_ended()
        });
        is_up
    }

    pub fn answers(&self) -> bool {
        let answer = wire::unix(&self.socket(), "GET /_ping", &[], &[]);
        answer.is_ok_and(|answer| answer.status == 200)
    }

    pub fn has_ended(&mut self) -> bool {
        self.engine.as_mut().is_none_or(|engine| engine.try_wait().unwrap().is_some())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut engine) = self.engine.take() {
            let _ = engine.kill();
            engine.wait().unwrap();
        }
    }

    /// SIGTERM; waits for its end.
    pub fn stop(&mut self) {
        kill("-TERM", self.pid());
        let mut engine = self.engine.take().unwrap();
        eventually("the engine ends", PATIENCE, || engine.try_wait().unwrap().is_some());
    }

    pub fn restart(&mut self) {
        self.kill();
        self.start();
    }

    pub fn pid(&self) -> u32 {
        self.engine.as_ref().unwrap().id()
    }

    /// The end of the engine's log.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.home.path("engine.log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// `mobula plugin` with these words.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.home.command(&["plugin"]);
        command.args(words);
        command
    }

    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs `mobula plugin`, which must succeed; what it printed.
    pub fn ok(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}\n{}", said(&output), self.log());
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Runs `mobula plugin`, which must fail; what it said.
    pub fn fails(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(!output.status.success(), "{words:?} succeeds: {}", said(&output));
        said(&output)
    }

    pub fn api(&self, line: &str, body: &str) -> Answer {
        let headers = [("Content-Type", "application/json")];
        wire::unix(&self.socket(), line, &headers, body.as_bytes()).unwrap()
    }

    pub fn create(&self, name: &str, image: &Image) {
        let dir = image.write(&self.home);
        self.ok(&["create", name, dir.to_str().unwrap()]);
    }

    /// The plain probe, enabled.
    pub fn probe(&self, name: &str) {
        self.create(name, &probe());
        self.ok(&["enable", name]);
    }

    /// All that the engine tells about a plugin; null if there is none.
    pub fn describe(&self, name: &str) -> Value {
        let answer = self.api(&format!("GET /mobula/plugins/{name}"), "");
        if answer.status == 200 { answer.json() } else { Value::Null }
    }

    pub fn id(&self, name: &str) -> String {
        self.describe(name)["id"].as_str().unwrap().to_owned()
    }

    pub fn state(&self, name: &str) -> String {
        self.describe(name)["state"].as_str().unwrap_or("gone").to_owned()
    }

    pub fn runs(&self, name: &str) {
        eventually("the plugin runs", PATIENCE, || self.state(name) == "running");
    }

    /// The names that Docker's API lists.
    pub fn names(&self) -> Vec<String> {
        let list = self.api("GET /plugins", "").json();
        let names = list.as_array().unwrap().iter();
        names.map(|plugin| plugin["Name"].as_str().unwrap().to_owned()).collect()
    }

    pub fn plugins_dir(&self) -> PathBuf {
        self.home.path("var/lib/mobula/plugins")
    }

    pub fn state_dir(&self, name: &str) -> PathBuf {
        self.plugins_dir().join(self.id(name))
    }

    pub fn published(&self, name: &str) -> PathBuf {
        self.home.path("run/docker/plugins").join(format!("{name}.sock"))
    }

    /// A call at the published socket of a plugin.
    pub fn call(&self, name: &str, method: &str, body: &Value) -> Answer {
        let line = format!("POST /VolumeDriver.{method}");
        wire::unix(&self.published(name), &line, &[], body.to_string().as_bytes()).unwrap()
    }

    /// The process of a plugin's shim.
    pub fn shim(&self, name: &str) -> Option<u32> {
        let run = self.home.path("run/mobula/plugins").join(self.id(name));
        processes_with(run.to_str()?).into_iter().next()
    }

    /// Entries of a directory of the state, half-made ones too.
    pub fn entries(&self, below: &str) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.home.path(below)).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Files that an interrupted write has left anywhere.
    pub fn temporaries(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for root in ["var/lib/mobula/plugins", "var/lib/mobula/plugin-volumes", "run/mobula"] {
            find_temporaries(&self.home.path(root), &mut found);
        }
        found
    }

    /// Mounts, control groups and processes of this home's plugins.
    pub fn leaks(&self, ids: &BTreeSet<String>) -> Vec<String> {
        let mut found = Vec::new();
        let root = self.home.path("var/lib/mobula");
        let mounts = host::mountinfo::table().unwrap().into_iter().map(|mount| mount.target);
        found.extend(mounts.filter(|at| at.starts_with(&root)).map(|at| at.display().to_string()));
        for id in ids {
            found.extend(groups(Path::new("/sys/fs/cgroup"), id, 4));
            let run = self.home.path("run/mobula/plugins").join(id);
            found.extend(
                processes_with(run.to_str().unwrap()).iter().map(|pid| format!("pid {pid}")),
            );
            found.extend(run.exists().then(|| run.display().to_string()));
        }
        found
    }

    /// No plugin is left, nor anything of those that were.
    pub fn assert_nothing_left(&self, ids: &BTreeSet<String>) {
        eventually("nothing is left", PATIENCE, || self.leaks(ids).is_empty());
        assert_eq!(self.names(), Vec::<String>::new());
        assert_eq!(self.entries("var/lib/mobula/plugins"), BTreeSet::new());
        assert_eq!(self.entries("run/docker/plugins"), BTreeSet::new());
        eventually("there is no garbage", PATIENCE, || self.garbage() == "[]");
        assert_eq!(self.temporaries(), Vec::<PathBuf>::new());
    }

    /// What `gc --dry-run` finds.
    pub fn garbage(&self) -> String {
        self.api("POST /mobula/gc?dry_run=1", "").text()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

fn find_temporaries(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') && name.contains(".tmp-") {
            found.push(entry.path());
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) && name != "rootfs" {
            find_temporaries(&entry.path(), found);
        }
    }
}

/// Control groups of this name, of whatever controller.
pub fn groups(dir: &Path, name: &str, depth: u32) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name() == name {
            found.push(entry.path().display().to_string());
        } else if depth > 0 {
            found.extend(groups(&entry.path(), name, depth - 1));
        }
    }
    found
}

/// Processes of which an argument is this text.
fn processes_with(argument: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())
    };
    pids.filter(has).collect()
}

/// With at most this many open files.
pub fn limited(command: &mut Command, files: u32) -> Command {
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--nofile={files}:{files}")).arg(command.get_program());
    limited.args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(key, value),
            None => limited.env_remove(key),
        };
    }
    limited.process_group(0);
    limited.stdin(Stdio::null());
    limited
}

/// What is mounted at this very place, and whether it is shared; one entry per mount.
pub fn mounts_at(path: &Path) -> usize {
    let table = host::mountinfo::table().unwrap();
    table.iter().filter(|mount| mount.target == path).count()
}
