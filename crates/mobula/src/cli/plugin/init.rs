//! `mobula plugin init`: the beginning of a new plugin, which works as it is.

use super::install::local_name;
use crate::cli::failure::Outcome;
use crate::cli::terminal::emit_line;
use crate::sample;
use clap::Args;
use error::{Error, IoContext, Result};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Begin a new volume plugin: a directory that can be created and enabled at once.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// Name that the plugin shall have.
    #[arg(value_name = "NAME")]
    name: String,

    /// Directory to make, instead of the last part of the name.
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

impl Init {
    /// Writes the directory and says what to do next.
    pub(super) async fn run(&self) -> Outcome {
        let name = local_name(&self.name)?;
        let dir = self.path.clone().unwrap_or_else(|| PathBuf::from(directory(&name)));
        let (made, title) = (dir.clone(), name.clone());
        let work = move || write(&made, &title, Path::new("/proc/self/exe"));
        volume::driver::blocking(work).await?;
        emit_line(&format!(
            "{0} is ready; read {0}/README.md, then: mobula plugin create {name} {0}",
            dir.display()
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The last part of a name, without the tag: `store` of `me/store:latest`.
fn directory(name: &str) -> &str {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split(':').next().unwrap_or(last)
}

fn write(dir: &Path, name: &str, program: &Path) -> Result<()> {
    let shown = dir.display();
    host::file::make_dir(dir, 0o755)?;
    let mut entries = dir.read_dir().doing(|| format!("read {shown}"))?;
    if entries.next().is_some() {
        return Err(Error::failed_precondition(format!(
            "{shown} is not empty and stays as it is; name another directory with --path"
        )));
    }
    let bin = dir.join("rootfs/bin");
    host::file::make_dir(&bin, 0o755)?;
    let binary = bin.join("mobula");
    host::file::copy_image(program, &binary)?;
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755))
        .doing(|| format!("set the mode of {}", binary.display()))?;
    let config = serde_json::to_string_pretty(&config())
        .map_err(|source| Error::internal("encode the configuration").because(source))?;
    put(&dir.join("config.json"), &(config + "\n"))?;
    put(&dir.join("README.md"), &readme(name))
}

fn put(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).doing(|| format!("write {}", path.display()))
}

/// The sample's configuration. No network: its program needs none, and nobody is asked for one.
pub(super) fn config() -> Value {
    json!({
        "description": "A volume plugin made by mobula plugin init",
        "documentation": "https://docs.docker.com/engine/extend/config/",
        "entrypoint": ["/bin/mobula", "__sample"],
        "env": [{
            "name": "LOG_LEVEL",
            "description": "debug shows every call in the plugin's log",
            "value": "info",
            "settable": ["value"],
        }],
        "interface": { "types": ["docker.volumedriver/1.0"], "socket": "plugin.sock" },
        "linux": { "capabilities": ["CAP_SYS_ADMIN"] },
        "propagatedMount": sample::ROOT,
    })
}

fn readme(name: &str) -> String {
    README.replace("NAME", name)
}

const README: &str = "\
# NAME

A volume plugin for Docker, Podman and mobula. It works as it is:

    mobula plugin create NAME .
    mobula plugin set NAME LOG_LEVEL=debug    # while it is disabled
    mobula plugin enable NAME
    mobula plugin push NAME

`docker plugin` has the same commands.

## What is here, and what to replace

- `rootfs/` is the plugin's root file system. `rootfs/bin/mobula` is a sample: its volumes are
  directories. Put your own program here, with all that it needs; nothing of the machine is seen.
- `config.json` says how to run it (https://docs.docker.com/engine/extend/config/). Replace
  - `entrypoint`: your program and its arguments;
  - `env`: what the users of your plugin may set (`settable`), with defaults;
  - `linux.capabilities`: mounting needs CAP_SYS_ADMIN; give up what you do not need, since every
    user is asked for it;
  - `description`.

## What the program must do

- Listen at `/run/docker/plugins/plugin.sock` and answer Docker's volume plugin protocol
  (https://docs.docker.com/engine/extend/plugins_volume/).
- Mount volumes below `/volumes` (`propagatedMount`) and answer Mount with that path: what is mounted
  there appears on the machine; anything else stays inside the plugin and is lost.
- Count who has a volume mounted by the ID of Mount and Unmount, and keep the count in a file: the
  plugin may be restarted while containers run.
- Refuse empty names, answer errors with an HTTP status other than 200 and `{\"Err\": \"why\"}`, and
  end on SIGTERM.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_named_after_the_plugin() {
        assert_eq!(directory("me/store:v1"), "store");
        assert_eq!(directory("localhost:5000/store:latest"), "store");
    }

    #[test]
    fn the_skeleton_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (made, program) = (dir.path().join("store"), dir.path().join("program"));
        std::fs::write(&program, "static").unwrap();
        write(&made, "me/store:latest", &program).unwrap();
        let binary = made.join("rootfs/bin/mobula");
        assert_eq!(std::fs::read(&binary).unwrap(), b"static");
        assert_eq!(binary.metadata().unwrap().permissions().mode() & 0o777, 0o755);
        let readme = std::fs::read_to_string(made.join("README.md")).unwrap();
        assert!(readme.contains("mobula plugin create me/store:latest ."), "{readme}");
        let config = std::fs::read(made.join("config.json")).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["propagatedMount"], "/volumes");
        assert!(sample::SOCKET.ends_with(config["interface"]["socket"].as_str().unwrap()));
    }

    #[test]
    fn a_directory_with_something_in_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mine"), "x").unwrap();
        let error = write(dir.path(), "x", Path::new("/proc/self/exe")).unwrap_err();
        assert!(error.message().contains("--path"), "{error}");
        assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    }
}
