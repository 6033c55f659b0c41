//! A plugin of a few lines of shell: busybox in a directory, and a spec by hand.

use crate::fixture::{PATIENCE, is_root};
use oci_spec::runtime::{
    Capability, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxMemoryBuilder, LinuxNamespaceBuilder,
    LinuxNamespaceType, LinuxPidsBuilder, LinuxResourcesBuilder, Mount, MountBuilder,
    ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};
use plugin::id::PluginId;
use plugin::logs::{Line, LogLimits};
use plugin::runtime::{Exit, Instance, Launch, Runtime};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// What a plugin may be, beyond its script.
#[derive(Clone)]
pub struct Wanted {
    pub args: Vec<String>,
    pub memory: Option<i64>,
    pub pids: Option<i64>,
    pub uid: u32,
    /// Whether it sees the machine's processes.
    pub sees_all: bool,
}

impl Wanted {
    pub fn script(script: &str) -> Self {
        let args = ["/bin/busybox", "sh", "-c", script].map(str::to_owned).to_vec();
        Self { args, memory: None, pids: None, uid: 0, sees_all: false }
    }
}

/// A plugin's directories, in a mount namespace of this thread.
pub struct Plugin {
    dir: tempfile::TempDir,
    pub id: PluginId,
    pub runtime: Runtime,
    pub limits: LogLimits,
    exec: tokio::runtime::Runtime,
}

/// Runs a test with every runtime of this machine.
pub fn with_each_runtime(test: impl Fn(Runtime)) {
    if !is_root() {
        return;
    }
    test(Runtime::BuiltIn);
    match ["/usr/sbin/runc", "/usr/bin/runc"].map(PathBuf::from).into_iter().find(|p| p.exists()) {
        Some(runc) => test(Runtime::Program(runc)),
        None => println!("skipped: no runc"),
    }
}

impl Plugin {
    pub fn new(runtime: Runtime) -> Self {
        host::sandbox::private_mounts().unwrap();
        let dir = tempfile::Builder::new().prefix("mobula-run-").tempdir().unwrap();
        let bin = dir.path().join("rootfs/bin");
        std::fs::create_dir_all(&bin).unwrap();
        for name in ["proc", "dev", "tmp", "sys"] {
            std::fs::create_dir(dir.path().join("rootfs").join(name)).unwrap();
        }
        std::fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        let exec = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (id, limits) = (PluginId::random(), LogLimits::default());
        Self { dir, id, runtime, limits, exec }
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub fn run(&self) -> PathBuf {
        self.path("run")
    }

    pub fn launch_of(&self, wanted: &Wanted) -> Launch {
        Launch {
            id: self.id.clone(),
            runtime: self.runtime.clone(),
            run: self.run(),
            spec: spec(&self.path("rootfs"), wanted),
            log: self.path("log"),
            log_limits: self.limits,
            shim: Some(PathBuf::from(env!("CARGO_BIN_EXE_mobula"))),
        }
    }

    pub fn launch(&self, wanted: &Wanted) -> Instance {
        Instance::launch(&self.launch_of(wanted)).unwrap()
    }

    pub fn start(&self, script: &str) -> Instance {
        self.launch(&Wanted::script(script))
    }

    pub fn ended(&self, instance: &Instance) -> Exit {
        let ended = async { tokio::time::timeout(PATIENCE, instance.ended()).await };
        self.exec.block_on(ended).expect("ends in time")
    }

    pub fn stop(&self, instance: &Instance, grace: std::time::Duration) -> Exit {
        self.exec.block_on(instance.stop(grace)).unwrap()
    }

    pub fn clean(&self) {
        Instance::clean(&self.run(), &self.id, &self.runtime).unwrap();
    }

    pub fn log(&self) -> Vec<Line> {
        plugin::logs::tail(&self.path("log"), 10_000, None).unwrap()
    }

    pub fn said(&self) -> String {
        self.log().iter().map(|line| format!("{}\n", line.line)).collect()
    }

    /// Nothing of it is left: processes, control groups, mounts, files.
    pub fn assert_clean(&self) {
        let cgroup = Path::new("/mobula").join(self.id.as_str());
        let group = host::cgroup::Cgroup::at(&cgroup).unwrap();
        assert!(group.is_gone(), "{group:?}");
        let left: Vec<_> = std::fs::read_dir(self.run())
            .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect())
            .unwrap_or_default();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(self.mounts(), Vec::<PathBuf>::new());
        self.assert_no_process();
    }

    pub fn assert_no_process(&self) {
        assert_eq!(self.processes(), Vec::<String>::new());
    }

    fn mounts(&self) -> Vec<PathBuf> {
        let targets = host::mountinfo::table().unwrap().into_iter().map(|mount| mount.target);
        targets.filter(|target| target.starts_with(self.dir.path())).collect()
    }

    /// Processes that name our directory or our ID in their command line.
    pub fn processes(&self) -> Vec<String> {
        let pids = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let commands = pids.filter_map(host::process::describe).map(|about| about.command);
        let dir = self.dir.path().to_str().unwrap();
        commands.filter(|line| line.contains(dir) || line.contains(self.id.as_str())).collect()
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = Instance::clean(&self.run(), &self.id, &self.runtime);
        if std::thread::panicking() {
            eprintln!("runtime {:?}; it said: {}", self.runtime, self.said());
        }
    }
}

fn mounts() -> Vec<Mount> {
    let mount = |target: &str, typ: &str, options: &[&str]| {
        let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
        let builder = MountBuilder::default().destination(target).typ(typ).source(typ);
        builder.options(options).build().unwrap()
    };
    vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/tmp", "tmpfs", &["nosuid", "nodev"]),
    ]
}

pub fn spec(root: &Path, wanted: &Wanted) -> Spec {
    let some: HashSet<_> = [Capability::Chown, Capability::Kill, Capability::Setuid].into();
    let capabilities = LinuxCapabilitiesBuilder::default()
        .bounding(some.clone())
        .effective(some.clone())
        .permitted(some)
        .inheritable(HashSet::new())
        .ambient(HashSet::new())
        .build()
        .unwrap();
    let process = ProcessBuilder::default()
        .terminal(false)
        .user(UserBuilder::default().uid(wanted.uid).gid(wanted.uid).build().unwrap())
        .args(wanted.args.clone())
        .env(["PATH=/bin".to_owned()])
        .cwd("/")
        .capabilities(capabilities)
        .no_new_privileges(true)
        .rlimits([])
        .build()
        .unwrap();
    let mut resources = LinuxResourcesBuilder::default();
    if let Some(memory) = wanted.memory {
        let limits = LinuxMemoryBuilder::default().limit(memory).build().unwrap();
        resources = resources.memory(limits);
    }
    if let Some(pids) = wanted.pids {
        resources = resources.pids(LinuxPidsBuilder::default().limit(pids).build().unwrap());
    }
    let namespaces = [
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
    ];
    let namespaces =
        namespaces.into_iter().filter(|typ| !wanted.sees_all || *typ != LinuxNamespaceType::Pid);
    let linux = LinuxBuilder::default()
        .namespaces(
            namespaces
                .map(|typ| LinuxNamespaceBuilder::default().typ(typ).build().unwrap())
                .collect::<Vec<_>>(),
        )
        .resources(resources.build().unwrap())
        .build()
        .unwrap();
    let root = RootBuilder::default().path(root).readonly(false).build().unwrap();
    SpecBuilder::default()
        .version("1.0.2")
        .process(process)
        .root(root)
        .hostname("plugin")
        .mounts(mounts())
        .linux(linux)
        .build()
        .unwrap()
}
