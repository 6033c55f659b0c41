//! The second act: the same program as a managed plugin, run by the plugin engine.

use super::{Demo, FIRST, PATIENCE, check, say};
use error::{Error, IoContext, Result};
use host::Mounts;
use host::command::Background;
use plugin::home::Home;
use plugin::id::PluginId;
use plugin::runtime::{Instance, Runtime};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the plugin is called, and so the driver.
const NAME: &str = "inside";
/// The plugin's image: this program, which keeps its volumes below its propagated mount.
const CONFIG: &str = r#"{
  "description": "Mobula as a managed plugin",
  "interface": { "types": ["docker.volumedriver/1.0"], "socket": "mobula.sock" },
  "entrypoint": ["/mobula", "start"],
  "env": [
    { "name": "MOBULA_HOME", "value": "/data" },
    { "name": "MOBULA_SERVICES_MOBULA_DRIVER", "value": "local" },
    { "name": "MOBULA_DOCKER_MOBULA_LISTEN", "value": "unix:///run/docker/plugins/mobula.sock" }
  ],
  "network": { "type": "none" },
  "linux": { "capabilities": ["CAP_SYS_ADMIN"] },
  "propagatedMount": "/data"
}
"#;

/// Ends plugins that still run after a failure: they outlive their engine.
pub(super) fn end(home: &Path) -> Result<()> {
    let home = Home::below(home);
    let Ok(plugins) = std::fs::read_dir(home.run.join("plugins")) else { return Ok(()) };
    for plugin in plugins.flatten() {
        let id = PluginId::parse(&plugin.file_name().to_string_lossy())?;
        Instance::clean(&plugin.path(), &id, &Runtime::BuiltIn)?;
    }
    Ok(())
}

impl Demo {
    pub(super) fn run_as_a_plugin(&mut self) -> Result<()> {
        self.plugin = self.paths.docker_sockets().join(format!("{NAME}.sock"));
        self.step("build a plugin image of this very program", |demo| demo.build())?;
        self.step("start the plugin engine; no dockerd anywhere", Self::start_engine)?;
        self.step("install the image as a managed plugin", |demo| {
            let image = demo.image();
            demo.mobula(&["plugin", "create", NAME, &image.to_string_lossy()]).map(drop)
        })?;
        self.step("enable it: it is ready when its socket accepts", |demo| {
            demo.mobula(&["plugin", "enable", NAME]).map(drop)
        })?;
        self.step("create a volume inside the plugin, and mount it", |demo| {
            demo.docker("Create", &json!({ "Name": "kept" }))?;
            demo.mount_inside()
        })?;
        self.step("a container writes to it, through the propagated mount", |demo| {
            demo.contain(&demo.inside()?, &["write", FIRST]).map(drop)
        })?;
        self.show(&["plugin", "ls"], NAME)?;
        self.outlive()
    }

    fn outlive(&mut self) -> Result<()> {
        self.step("kill the engine with SIGKILL: plugin and mount stay", |demo| {
            demo.agent.take().map_or(Ok(()), Background::kill)?;
            check(demo.is_mounted_inside()?, "the volume is still mounted")
        })?;
        self.step("start the engine again: it finds its plugin running", |demo| {
            let socket = demo.plugin.clone();
            demo.start_as("engine", &socket)?;
            demo.docker("Get", &json!({ "Name": "kept" })).map(drop)
        })?;
        self.step("another container reads what was written", |demo| {
            let read = demo.contain(&demo.inside()?, &["read"])?;
            check(read == FIRST, &format!("it reads \"{FIRST}\", not \"{read}\""))
        })?;
        self.step("unmount, remove volume and plugin, stop the engine", |demo| {
            demo.docker("Unmount", &json!({ "Name": "kept", "ID": "container-3" }))?;
            demo.docker("Remove", &json!({ "Name": "kept" }))?;
            demo.mobula(&["plugin", "disable", NAME])?;
            demo.mobula(&["plugin", "rm", NAME])?;
            if let Some(engine) = demo.agent.take() {
                check(engine.stop(PATIENCE)? == 0, "the engine ends well")?;
            }
            let mut mounts = demo.machine.table()?;
            mounts.retain(|mount| mount.target.starts_with(demo.paths.home()));
            check(mounts.is_empty(), &format!("left mounted: {mounts:?}"))
        })
    }

    fn image(&self) -> PathBuf {
        self.paths.home().join("image")
    }

    fn build(&self) -> Result<()> {
        let root = self.image().join("rootfs");
        std::fs::create_dir_all(&root).doing(|| "make the image's directory")?;
        let binary = std::env::current_exe().doing(|| "find this program")?;
        std::fs::copy(&binary, root.join("mobula")).doing(|| "copy this program")?;
        std::fs::write(self.image().join("config.json"), CONFIG).doing(|| "write config.json")
    }

    fn start_engine(&mut self) -> Result<()> {
        let socket = self.paths.engine_socket();
        self.start_as("engine", &socket)
    }

    fn mount_inside(&self) -> Result<()> {
        let request = json!({ "Name": "kept", "ID": "container-3" });
        let answer = self.docker("Mount", &request)?;
        let target = answer["Mountpoint"].as_str().unwrap_or_default();
        check(Path::new(target) == self.inside()?, "the engine tells the path on the host")?;
        check(self.is_mounted_inside()?, "it is a shared mount of the host")
    }

    /// Where the volume is on the host.
    fn inside(&self) -> Result<PathBuf> {
        let volume = self.docker("Get", &json!({ "Name": "kept" }))?;
        let target = volume["Volume"]["Mountpoint"].as_str().unwrap_or_default();
        let below = self.paths.state().join("plugins");
        check(Path::new(target).starts_with(&below), "it is below the propagated mount")?;
        Ok(target.into())
    }

    fn is_mounted_inside(&self) -> Result<bool> {
        let below = self.paths.state().join("plugins");
        let is_volume =
            |target: &Path| target.starts_with(&below) && target.ends_with("mobula/kept");
        let table = self.machine.table()?;
        let found: Vec<_> = table.iter().filter(|mount| is_volume(&mount.target)).collect();
        Ok(found.len() == 1 && found[0].shared.is_some())
    }

    /// Runs one of our own commands, and returns what it prints.
    pub(super) fn mobula(&self, args: &[&str]) -> Result<String> {
        let home = [("MOBULA_HOME", self.paths.home().as_os_str())];
        let output = self.paths.home().join("output.txt");
        let _ = std::fs::remove_file(&output);
        let mut command = Background::start(args, &home, &output)?;
        let until = Instant::now() + PATIENCE;
        let code = loop {
            match command.ended()? {
                Some(code) => break code,
                None if Instant::now() > until => break -1,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let said = std::fs::read_to_string(&output).doing(|| "read what a command printed")?;
        let failed = || Error::internal(format!("mobula {}: {}", args.join(" "), said.trim()));
        if code == 0 { Ok(said) } else { Err(failed()) }
    }

    /// Shows a command and what it prints, which has to contain `word`.
    pub(super) fn show(&self, args: &[&str], word: &str) -> Result<()> {
        let printed = self.mobula(args)?;
        say(&format!("\n     $ mobula {}\n", args.join(" ")));
        for line in printed.lines() {
            say(&format!("     {line}\n"));
        }
        say("\n");
        check(printed.contains(word), &format!("mobula {} shows {word}", args.join(" ")))
    }
}
