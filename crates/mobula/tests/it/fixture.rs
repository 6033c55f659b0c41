//! A private home with an agent in it, and the clients that tests talk to it with.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Long enough for a loaded machine, short enough to fail within a test run.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the test may do what only root may. In CI a skip is a failure.
pub fn is_root() -> bool {
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !root {
        assert!(std::env::var_os("CI").is_none(), "CI runs as root");
        println!("skipped: needs root");
    }
    root
}

/// Polls `condition` until it holds.
pub fn eventually(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + within;
    while !condition() {
        assert!(Instant::now() < until, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A directory that stands for the machine, in a mount namespace of this thread.
pub struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    /// A home without any configuration.
    pub fn new() -> Self {
        host::sandbox::private_mounts().unwrap();
        Self { dir: tempfile::Builder::new().prefix("mobula-it-").tempdir().unwrap() }
    }

    /// A home with this configuration file.
    pub fn with(config: &str) -> Self {
        let home = Self::new();
        home.configure(config);
        home
    }

    pub fn configure(&self, config: &str) {
        let path = self.path("etc/mobula/mobula.yml");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, config).unwrap();
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub fn plugin(&self) -> PathBuf {
        self.path("run/docker/plugins/mobula.sock")
    }

    pub fn control(&self) -> PathBuf {
        self.path("run/mobula/mobula.sock")
    }

    /// Where the volume is mounted when it is.
    pub fn target(&self, name: &str) -> PathBuf {
        self.path("run/mobula/mounts/mobula").join(name)
    }

    pub fn volume_dir(&self, name: &str) -> PathBuf {
        self.path("var/lib/mobula/volumes/mobula").join(name)
    }

    /// The program, with this home.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mobula"));
        command.args(args).env("MOBULA_HOME", self.dir()).env_remove("NO_COLOR");
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs the program, which must succeed, and answers what it printed.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "mobula {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Runs the program, which must fail, and answers its exit code and what it said.
    pub fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        assert!(!output.status.success(), "mobula {args:?} succeeds: {output:?}");
        (output.status.code().unwrap_or(-1), String::from_utf8(output.stderr).unwrap())
    }

    pub fn start(&self) -> Agent {
        self.start_with(&["start", "--log-level", "debug"], &[])
    }

    pub fn start_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Agent {
        let log = std::fs::File::options()
            .append(true)
            .create(true)
            .open(self.path("agent.log"))
            .unwrap();
        let mut command = self.command(args);
        command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(log);
        let agent = Agent { child: Some(command.spawn().unwrap()), log: self.path("agent.log") };
        eventually("the agent listens", PATIENCE, || UnixStream::connect(self.control()).is_ok());
        agent
    }

    /// A call of Docker's protocol; the status and the body.
    pub fn docker(&self, method: &str, body: &Value) -> (u16, Value) {
        call(&self.plugin(), &format!("/VolumeDriver.{method}"), &body.to_string())
    }

    /// A call of Docker's protocol that must succeed.
    pub fn docker_ok(&self, method: &str, body: &Value) -> Value {
        let (status, answer) = self.docker(method, body);
        assert_eq!(status, 200, "{method} {body}: {answer}\n{}", self.log_tail());
        assert!(answer["Err"].as_str().unwrap_or("").is_empty(), "{answer}");
        answer
    }

    /// A call of Docker's protocol that must fail; its status and its reason.
    pub fn docker_err(&self, method: &str, body: &Value) -> (u16, String) {
        let (status, answer) = self.docker(method, body);
        assert_ne!(status, 200, "{method} {body} succeeds: {answer}");
        let reason = answer["Err"].as_str().unwrap_or_else(|| panic!("no Err in {answer}"));
        assert!(!reason.is_empty());
        (status, reason.to_owned())
    }

    pub fn create(&self, name: &str, opts: Value) {
        self.docker_ok("Create", &json!({ "Name": name, "Opts": opts }));
    }

    pub fn mount(&self, name: &str, id: &str) -> PathBuf {
        let answer = self.docker_ok("Mount", &json!({ "Name": name, "ID": id }));
        PathBuf::from(answer["Mountpoint"].as_str().unwrap())
    }

    pub fn unmount(&self, name: &str, id: &str) {
        self.docker_ok("Unmount", &json!({ "Name": name, "ID": id }));
    }

    pub fn remove(&self, name: &str) {
        self.docker_ok("Remove", &json!({ "Name": name }));
    }

    pub fn is_mounted(&self, name: &str) -> bool {
        host::mountinfo::at(&self.target(name)).unwrap().is_some()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    /// The end of the agent's log, for the message of a failing test.
    pub fn log_tail(&self) -> String {
        tail(&self.path("agent.log"))
    }

    /// Mounts below this home, but for the shared directory that volumes are mounted in.
    pub fn mounts(&self) -> Vec<PathBuf> {
        let mounts = host::mountinfo::table().unwrap();
        let root = self.path("run/mobula/mounts");
        let targets = mounts.into_iter().map(|mount| mount.target);
        targets.filter(|target| target.starts_with(self.dir()) && *target != root).collect()
    }

    /// Loop devices attached to files of this home.
    pub fn loops(&self) -> Vec<PathBuf> {
        let files = host::loopdev::backing_files().unwrap();
        files.into_iter().filter(|file| file.starts_with(self.dir())).collect()
    }

    /// Nothing is mounted or attached any more.
    pub fn assert_clean(&self) {
        self.assert_clean_but(Path::new("/"));
    }

    /// Nothing but what the test itself mounted at `own` is mounted or attached any more.
    pub fn assert_clean_but(&self, own: &Path) {
        let mut mounts = self.mounts();
        mounts.retain(|mount| mount != own);
        assert_eq!(mounts, Vec::<PathBuf>::new(), "{}", self.log_tail());
        eventually("loop devices are gone", Duration::from_secs(10), || self.loops().is_empty());
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Deepest first; what a failed test left must not stay on the machine.
        let mounts = host::mountinfo::table().unwrap_or_default();
        let targets = mounts.iter().map(|mount| &mount.target);
        let mut targets: Vec<_> = targets.filter(|t| t.starts_with(self.dir())).collect();
        targets.sort();
        for target in targets.into_iter().rev() {
            // Frozen by what a test killed, it would outlive its last mount, with its device.
            if target.starts_with(self.path("run/mobula/mounts")) {
                let _ = Command::new("fsfreeze").arg("--unfreeze").arg(target).output();
            }
            let _ = Command::new("umount").arg("-l").arg(target).output();
        }
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// A running agent; killed when dropped.
pub struct Agent {
    child: Option<Child>,
    log: PathBuf,
}

impl Agent {
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// SIGTERM; the agent must end well.
    pub fn stop(mut self) {
        self.signal("-TERM");
        let status = self.child.take().unwrap().wait().unwrap();
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        assert!(status.success(), "{status}\n{log}");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", tail(&self.log));
        }
    }
}

/// One POST on a connection of its own; the status and the body as JSON.
pub fn call(socket: &Path, path: &str, body: &str) -> (u16, Value) {
    request(socket, "POST", path, body)
}

/// One request on a connection of its own; the status and the body as JSON.
pub fn request(socket: &Path, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, body) = exchange(
        &mut UnixStream::connect(socket).unwrap(),
        format!(
            "{method} {path} HTTP/1.1\r\nHost: plugin\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    let value = serde_json::from_slice(&body)
        .unwrap_or_else(|_| json!({ "text": String::from_utf8_lossy(&body) }));
    (status, value)
}

/// Sends bytes and reads one answer.
pub fn exchange(stream: &mut UnixStream, bytes: &[u8]) -> (u16, Vec<u8>) {
    stream.set_read_timeout(Some(Duration::from_secs(130))).unwrap();
    // The server may answer, and close, before it has read everything.
    let _ = stream.write_all(bytes);
    read_answer(stream)
}

/// Reads one answer; its status and its body.
pub fn read_answer(stream: &mut UnixStream) -> (u16, Vec<u8>) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no HTTP answer: {line:?}"));
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (status, body)
}
