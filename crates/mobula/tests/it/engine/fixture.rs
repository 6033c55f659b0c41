//! A real dockerd with an agent beside it, both in a home of their own.

use crate::fixture::{Agent, Home, PATIENCE, eventually, is_root};
use serde_json::Value;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Size limited, and quick to make.
pub const LOOP: &str = "services: {mobula: {driver: loop, volume: {size: 64MiB}}}\n";
/// The programs of busybox that containers have.
const APPLETS: [&str; 15] = [
    "sh", "cat", "dd", "df", "du", "echo", "grep", "id", "ls", "mv", "rm", "sleep", "stat", "sync",
    "touch",
];
/// Images and containers have no network: there is none to be had.
const RUN: &str = "run --network none --stop-signal KILL";
/// A volume that nobody uses is released by a sweep, once its callers have been gone for a while.
pub const SWEPT: Duration = Duration::from_secs(90);

/// Whether a test with this engine can run. In CI a skip is a failure.
pub fn can_run(program: &str) -> bool {
    if !is_root() {
        return false;
    }
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        assert!(std::env::var_os("CI").is_none(), "CI has {program}");
        println!("skipped: there is no {program}");
    }
    there
}

/// Runs a program that must succeed; what it printed.
pub fn ok(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    printed(&output)
}

pub fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// The directories that engines share with the whole machine, replaced in this thread's mount
/// namespace. Drop ends whatever processes an engine has left behind.
pub struct Machine {
    home: PathBuf,
    covered: Vec<&'static str>,
}

impl Machine {
    /// dockerd looks for plugins in `/run/docker` and `/etc/docker`, whatever it is told; Podman has
    /// a cache in `/var/lib`.
    pub fn new(home: &Home) -> Self {
        let mut machine = Self { home: home.dir().to_owned(), covered: Vec::new() };
        for target in ["/run", "/var/lib"] {
            mount(&["-t", "tmpfs", "tmpfs"], target);
            machine.covered.push(target);
        }
        let layers = home.path("layers").display().to_string();
        std::fs::create_dir(&layers).unwrap();
        mount(&["-t", "tmpfs", "tmpfs"], &layers);
        for layer in ["upper", "work"] {
            std::fs::create_dir(home.path("layers").join(layer)).unwrap();
        }
        let options = format!("lowerdir=/etc,upperdir={layers}/upper,workdir={layers}/work");
        mount(&["-t", "overlay", "overlay", "-o", &options], "/etc");
        machine.covered.push("/etc");
        // What a daemon of the machine itself is configured with is none of ours.
        std::fs::create_dir_all("/etc/docker").unwrap();
        mount(&["-t", "tmpfs", "tmpfs"], "/etc/docker");
        for plugins in ["/run/docker/plugins", "/etc/docker/plugins"] {
            let ours = home.path(plugins.trim_start_matches('/'));
            std::fs::create_dir_all(plugins).unwrap();
            std::fs::create_dir_all(&ours).unwrap();
            mount(&["--bind", ours.to_str().unwrap()], plugins);
        }
        machine
    }

    /// The name of control groups that containers of this home are below.
    pub fn cgroup(&self) -> &str {
        self.home.file_name().unwrap().to_str().unwrap()
    }

    /// Processes that were started with a path of this home, and those that see a mount of it:
    /// containers.
    fn processes(&self) -> Vec<u32> {
        let home = self.home.to_str().unwrap().as_bytes();
        let tells = |pid: u32, file: &str| {
            let content = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            content.windows(home.len()).any(|window| window == home)
        };
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| *pid != std::process::id())
            .filter(|pid| tells(*pid, "cmdline") || tells(*pid, "mountinfo"))
            .collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let left = self.processes();
            if left.is_empty() || Instant::now() > until {
                break;
            }
            left.into_iter().for_each(|pid| kill("-KILL", pid));
            std::thread::sleep(Duration::from_millis(20));
        }
        remove_groups("/sys/fs/cgroup".as_ref(), self.cgroup(), false);
        for target in self.covered.iter().rev() {
            let _ = Command::new("umount").args(["-R", "-l", target]).output();
        }
    }
}

fn mount(how: &[&str], target: &str) {
    ok(Command::new("mount").args(how).arg(target));
}

/// Removes the control groups of this name and those below, wherever they are: the group that this
/// process is in is the root of those that engines make.
fn remove_groups(dir: &Path, name: &str, within: bool) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path(), name, within || entry.file_name() == name);
        }
    }
    if within {
        let _ = std::fs::remove_dir(dir);
    }
}

/// Signals one process; it may have ended.
pub fn kill(signal: &str, pid: u32) {
    let _ = Command::new("kill").args([signal, &pid.to_string()]).output();
}

/// The content of an image: one static program of many names, and a directory with a file.
pub fn image(home: &Home) -> PathBuf {
    let root = home.path("image");
    let bin = root.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(root.join("seed")).unwrap();
    std::fs::write(root.join("seed/of-the-image"), "seed").unwrap();
    std::fs::copy("/usr/bin/busybox", bin.join("busybox")).unwrap();
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
    }
    root
}

/// The same as the tar archive that engines import.
pub fn archive(home: &Home) -> PathBuf {
    let archive = home.path("image.tar");
    ok(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(image(home)).arg("."));
    archive
}

/// dockerd with all that it owns below this home; its log is `dockerd.log`.
pub fn dockerd(home: &Home, machine: &Machine, host: &str) -> Command {
    let log = home.path("dockerd.log");
    let log = std::fs::File::options().append(true).create(true).open(log).unwrap();
    let mut command = Command::new("dockerd");
    // Where it finds nothing of a plugin it takes paths for relative ones, and moves things there.
    command.current_dir(home.dir());
    command.arg("--data-root").arg(home.path("docker"));
    command.arg("--exec-root").arg(home.path("x"));
    command.arg("--pidfile").arg(home.path("dockerd.pid"));
    command.args(["--host", host, "--cgroup-parent", machine.cgroup()]);
    command.args(["--exec-opt", "native.cgroupdriver=cgroupfs"]);
    command.args(["--bridge=none", "--iptables=false", "--ip-masq=false"]);
    command.args(["--ip-forward=false"]);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command
}

/// Waits until the containerd of a dockerd that was killed is gone: it is killed with it, and while
/// it is dying, a new dockerd takes it for a living one, waits for it in vain, and gives up.
pub fn containerd_ends(home: &Home) {
    let pid = home.path("x/containerd/containerd.pid");
    let pid = std::fs::read_to_string(pid).unwrap_or_default();
    let process = Path::new("/proc").join(pid.trim());
    eventually("containerd is gone", PATIENCE, || pid.is_empty() || !process.exists());
}

/// A client of the Docker API at `host`.
pub fn client(home: &Home, program: &str, host: &str) -> Command {
    let mut command = Command::new(program);
    for variable in ["DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_API_VERSION"] {
        command.env_remove(variable);
    }
    command.env("DOCKER_HOST", host).env("DOCKER_CONFIG", home.path("client"));
    command.stdin(Stdio::null());
    command
}

/// dockerd and an agent. Image `box` is there.
pub struct Engine {
    pub agent: Option<Agent>,
    daemon: Option<Child>,
    options: &'static [&'static str],
    machine: Machine,
    pub home: Home,
}

impl Engine {
    /// Driver `mobula` with volumes in loop devices.
    pub fn start() -> Self {
        Self::with(LOOP, &[])
    }

    /// With this configuration of the agent and these options of dockerd.
    pub fn with(config: &str, options: &'static [&'static str]) -> Self {
        let mut engine = Self::without_agent(config, options);
        engine.start_agent();
        engine
    }

    pub fn without_agent(config: &str, options: &'static [&'static str]) -> Self {
        let home = Home::with(config);
        let machine = Machine::new(&home);
        let mut engine = Self { agent: None, daemon: None, options, machine, home };
        engine.start_daemon();
        let archive = archive(&engine.home);
        engine.ok(&format!("import {} box", archive.display()));
        engine
    }

    pub fn start_agent(&mut self) {
        self.agent = Some(self.home.start());
        let socket = self.home.plugin();
        if socket.exists() {
            eventually("the plugin answers", PATIENCE, || UnixStream::connect(&socket).is_ok());
        }
    }

    pub fn kill_agent(&mut self) {
        self.agent.take().unwrap().kill();
    }

    pub fn stop_agent(&mut self) {
        self.agent.take().unwrap().stop();
    }

    pub fn start_daemon(&mut self) {
        let mut command = dockerd(&self.home, &self.machine, &self.host());
        command.args(self.options);
        self.daemon = Some(command.spawn().unwrap());
        eventually("dockerd answers", PATIENCE * 2, || {
            let ended = self.daemon.as_mut().unwrap().try_wait().unwrap();
            assert_eq!(ended, None, "dockerd has ended");
            self.docker("version").output().unwrap().status.success()
        });
    }

    /// SIGTERM: containers are stopped, unless they are restored later.
    pub fn stop_daemon(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        kill("-TERM", daemon.id());
        eventually("dockerd ends", PATIENCE * 2, || daemon.try_wait().unwrap().is_some());
    }

    /// SIGKILL: containers go on.
    pub fn kill_daemon(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        containerd_ends(&self.home);
    }

    fn host(&self) -> String {
        format!("unix://{}", self.home.path("d.sock").display())
    }

    /// A client of this daemon.
    pub fn client(&self, program: &str) -> Command {
        client(&self.home, program, &self.host())
    }

    /// `docker` with these words.
    pub fn docker(&self, words: &str) -> Command {
        let mut command = self.client("docker");
        command.args(words.split_whitespace());
        command
    }

    /// `docker` with these words, which must succeed; what it printed.
    pub fn ok(&self, words: &str) -> String {
        ok(&mut self.docker(words))
    }

    /// `docker` with these words, which must fail; what it said.
    pub fn fails(&self, words: &str) -> String {
        let output = self.docker(words).output().unwrap();
        assert!(!output.status.success(), "docker {words} succeeds: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// The first of the things that `docker … inspect` shows.
    pub fn inspect(&self, words: &str) -> Value {
        let shown: Value = serde_json::from_str(&self.ok(words)).unwrap();
        shown[0].clone()
    }

    pub fn create(&self, words: &str) {
        self.ok(&format!("volume create -d mobula {words}"));
    }

    /// `docker run` of a shell script, with these options.
    pub fn script(&self, options: &str, script: &str) -> Command {
        let mut command = self.docker(&format!("{RUN} {options} box sh -c"));
        command.arg(script);
        command
    }

    /// Runs a shell script in a container that is gone afterwards; what it printed.
    pub fn run(&self, options: &str, script: &str) -> String {
        ok(&mut self.script(&format!("--rm {options}"), script))
    }

    /// Runs a shell script in a container that must fail; what it, or dockerd, said.
    pub fn run_fails(&self, options: &str, script: &str) -> String {
        let output = self.script(&format!("--rm {options}"), script).output().unwrap();
        assert!(!output.status.success(), "{script} succeeds: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Starts a container that runs a shell script until it is stopped.
    pub fn start_container(&self, name: &str, options: &str, script: &str) {
        ok(&mut self.script(&format!("-d --name {name} {options}"), script));
    }

    pub fn exec(&self, container: &str, script: &str) -> String {
        ok(self.docker(&format!("exec {container} sh -c")).arg(script))
    }

    /// The process that a running container consists of.
    pub fn pid(&self, container: &str) -> u32 {
        self.ok(&format!("inspect -f {{{{.State.Pid}}}} {container}")).parse().unwrap()
    }

    /// The volume is neither mounted nor attached any more.
    pub fn released(&self, volume: &str) {
        let image = self.home.volume_dir(volume).join("image");
        let is_attached = || self.home.loops().contains(&image);
        eventually("the volume is released", Duration::from_secs(20), || {
            !self.home.is_mounted(volume) && !is_attached()
        });
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.home.path("dockerd.log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}
