//! `mobula plugin publish podman`: tells Podman of the plugins that have a socket.

use crate::cli::terminal::emit;
use crate::engine_client::{EngineClient, Request};
use crate::paths::Paths;
use clap::{Args, ValueEnum};
use error::{Error, IoContext, Result};
use host::file::{Durability, write_atomic};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Tell another engine where the sockets of the volume plugins are.
#[derive(Debug, Args)]
pub(super) struct Publish {
    /// Whom.
    #[arg(value_name = "ENGINE")]
    engine: Reader,

    /// File to write instead of /etc/containers/containers.conf.d/mobula.conf.
    #[arg(long, value_name = "FILE", conflicts_with = "print")]
    file: Option<PathBuf>,

    /// Print what would be written, and write nothing.
    #[arg(long)]
    print: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Reader {
    /// Podman, by a drop-in of containers.conf.
    Podman,
}

impl Publish {
    /// Writes the file and says what changed in it.
    pub(super) async fn run(&self, engine: &EngineClient) -> Result<()> {
        let path = match self.engine {
            Reader::Podman => "/mobula/podman",
        };
        let text = engine.send(Request::get(path)).await?.text().await?;
        if self.print {
            return emit(&text);
        }
        let file = self.file.clone().unwrap_or_else(|| {
            Paths::from_env().home().join("etc/containers/containers.conf.d/mobula.conf")
        });
        emit(&update(&file, &text)?)
    }
}

/// Puts `text` into `file`; the difference, for people.
fn update(file: &Path, text: &str) -> Result<String> {
    let shown = file.display();
    let old = host::file::read_optional(file)?.unwrap_or_default();
    let old = String::from_utf8_lossy(&old);
    if old == text {
        return Ok(format!("{shown} is up to date\n"));
    }
    if !old.trim().is_empty() && old.lines().next() != text.lines().next() {
        return Err(Error::failed_precondition(format!(
            "{shown} was not written by mobula and stays as it is; move it away, or name another \
             file with --file"
        )));
    }
    write(file, text)?;
    Ok(format!("{}{shown} written\n", difference(&old, text)))
}

/// Readable for everybody from its first moment on: a Podman without root fails over a file of
/// containers.conf.d that it may not read.
fn write(file: &Path, text: &str) -> Result<()> {
    let name = file.file_name().ok_or_else(|| {
        Error::invalid_argument(format!("{} is no path of a file", file.display()))
    })?;
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    host::file::make_dir(dir, 0o755)?;
    let new = dir.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = write_atomic(&new, text.as_bytes(), Durability::Synced)
        .and_then(|()| {
            std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o644))
                .doing(|| format!("set the mode of {}", new.display()))
        })
        .and_then(|()| host::file::rename_synced(&new, file));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}

/// The lines that came and went; comments are none.
fn difference(old: &str, new: &str) -> String {
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().map(str::trim);
        lines.filter(|line| line.contains('=')).map(str::to_owned).collect()
    };
    let (old, new) = (lines(old), lines(new));
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("- {line}\n"));
    let come = new.iter().filter(|line| !old.contains(line)).map(|line| format!("+ {line}\n"));
    gone.chain(come).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "# by mobula\n[engine.volume_plugins]\na = \"/run/a.sock\"\n";
    const NEW: &str = "# by mobula\n[engine.volume_plugins]\nb = \"/run/b.sock\"\n";

    #[test]
    fn what_changed_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("conf.d/mobula.conf");
        let told = update(&file, OLD).unwrap();
        assert_eq!(told, format!("+ a = \"/run/a.sock\"\n{} written\n", file.display()));
        assert_eq!(update(&file, OLD).unwrap(), format!("{} is up to date\n", file.display()));
        let told = update(&file, NEW).unwrap();
        assert!(told.starts_with("- a = \"/run/a.sock\"\n+ b = \"/run/b.sock\"\n"), "{told}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), NEW);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(file.parent().unwrap().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn the_file_of_somebody_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("containers.conf");
        std::fs::write(&file, "[containers]\n").unwrap();
        let error = update(&file, NEW).unwrap_err();
        assert!(error.message().contains("--file"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "[containers]\n");
    }
}
