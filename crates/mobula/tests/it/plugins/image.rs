//! Plugins to be installed: the probe of crate `testkit` with a configuration.

use crate::engine::fixture::ok;
use crate::fixture::Home;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A plugin's configuration and the files beside the program.
#[derive(Debug, Clone)]
pub struct Image {
    pub config: Value,
    pub files: Vec<(&'static str, String)>,
}

/// The probe, with a propagated mount and the right to mount.
pub fn probe() -> Image {
    Image {
        config: json!({
            "description": "A probe of engines",
            "documentation": "",
            "interface": { "types": ["docker.volumedriver/1.0"], "socket": "probe.sock" },
            "entrypoint": ["/probe"],
            "workdir": "/",
            "network": { "type": "" },
            "linux": { "capabilities": ["CAP_SYS_ADMIN"] },
            "propagatedMount": "/mnt/probe",
            "mounts": [],
            "env": [
                { "name": "PROBE_MODE", "description": "", "value": "", "settable": ["value"] },
                { "name": "PROBE_FS", "description": "", "value": "bind", "settable": ["value"] },
                { "name": "DEBUG", "description": "", "value": null, "settable": ["value"] },
            ],
            "args": { "name": "args", "description": "", "value": [], "settable": ["value"] },
        }),
        files: vec![("version", "v1".to_owned())],
    }
}

impl Image {
    /// With another value of one key of the configuration.
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    /// With another file.
    pub fn and_file(mut self, path: &'static str, content: &str) -> Self {
        self.files.push((path, content.to_owned()));
        self
    }

    /// In this mode of the probe.
    pub fn in_mode(mut self, mode: &str) -> Self {
        self.config["env"][0]["value"] = mode.into();
        self
    }

    /// The directory that `docker plugin create` takes: `config.json` and `rootfs`.
    pub fn write(&self, home: &Home) -> PathBuf {
        let dir = tempfile::Builder::new().prefix("image").tempdir_in(home.dir()).unwrap().keep();
        let rootfs = dir.join("rootfs");
        std::fs::create_dir_all(&rootfs).unwrap();
        std::fs::write(dir.join("config.json"), self.config.to_string()).unwrap();
        std::fs::hard_link(program(home), rootfs.join("probe")).unwrap();
        for (path, content) in &self.files {
            let path = rootfs.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        dir
    }
}

/// What `mobula plugin init` writes for this name.
pub fn skeleton(home: &Home, name: &str) -> PathBuf {
    let dir = home.path("skeleton");
    // It copies the program that runs it.
    let mut init = Command::new(stripped(home, Path::new(env!("CARGO_BIN_EXE_mobula"))));
    ok(init.args(["plugin", "init", name, "--path"]).arg(&dir).env("MOBULA_HOME", home.dir()));
    dir
}

/// The probe, in this home.
pub fn program(home: &Home) -> PathBuf {
    stripped(home, built())
}

/// A program without its debugging information, in this home.
fn stripped(home: &Home, program: &Path) -> PathBuf {
    let stripped = home.path("programs").join(program.file_name().unwrap());
    if !stripped.exists() {
        std::fs::create_dir_all(stripped.parent().unwrap()).unwrap();
        ok(Command::new("strip").arg("-o").arg(&stripped).arg(program));
    }
    stripped
}

/// The probe that Cargo has built beside this program. Tests of the whole workspace have built it;
/// for those of this package alone it is done here.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let probe = Path::new(env!("CARGO_BIN_EXE_mobula")).with_file_name("probe");
        if !is_newer(&probe) {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
            let mut cargo = Command::new(env!("CARGO"));
            cargo.current_dir(root).args(["build", "--quiet", "--locked", "-p", "testkit"]);
            cargo.args(["--bin", "probe"]).args(is_release(&probe).then_some("--release"));
            ok(&mut cargo);
        }
        probe
    })
}

fn is_release(program: &Path) -> bool {
    program.parent().is_some_and(|dir| dir.ends_with("release"))
}

/// Whether the program is newer than its sources.
fn is_newer(program: &Path) -> bool {
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/src/bin/probe");
    let mut sources = std::fs::read_dir(sources).unwrap().flatten();
    changed(program).is_some() && sources.all(|file| changed(&file.path()) <= changed(program))
}
