//! `mobula migrate rexray`: reads what there is of REX-Ray on this machine, and writes what it
//! became. What becomes of what is decided in [`crate::migrate::rexray`].

use super::show;
use crate::cli::Global;
use crate::cli::failure::Outcome;
use crate::cli::output::Output;
use crate::cli::terminal::note;
use crate::migrate::rexray::{File, Migration, Sources, migrate};
use crate::paths::Paths;
use clap::Args;
use error::{Error, IoContext, Result};
use host::file::{self, Durability};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  mobula migrate rexray --dry-run
  mobula migrate rexray --config rexray.yml --env rexray.env --output mobula.yml
  docker plugin inspect rexray/ebs | mobula migrate rexray --plugin-inspect -

Without --config, /etc/rexray/rexray.yml (else config.yml) is read, and what ~/.rexray has of the
same names over it; without --env, /etc/rexray/rexray.env and this process's environment.
Secrets are written to files of their own, /etc/mobula/secrets/SERVICE-KEY, and never shown.";

/// From REX-Ray: its YAML, its environment, and the settings of its managed plugins.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Rexray {
    /// REX-Ray's configuration file, instead of the usual ones.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// File of REX-Ray's variables, instead of rexray.env and the environment.
    #[arg(long, value_name = "FILE")]
    env: Option<PathBuf>,

    /// What docker plugin inspect printed; - reads standard input (repeatable).
    #[arg(long, value_name = "FILE")]
    plugin_inspect: Vec<PathBuf>,

    /// File to write, instead of /etc/mobula/mobula.yml.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace files that are there.
    #[arg(long)]
    force: bool,

    /// Show everything, and write nothing.
    #[arg(short = 'n', long, alias = "dryRun")]
    dry_run: bool,
}

impl Rexray {
    /// Reads, writes and tells.
    pub(super) fn run(&self, _global: &Global, output: &Output) -> Outcome {
        let format = output.format()?;
        let paths = Paths::from_env();
        let sources = self.sources(&paths)?;
        let migration = migrate(&sources)?;
        if migration.config.is_none() && migration.plugins.is_empty() {
            return Err(Error::not_found(format!(
                "there is nothing of REX-Ray in {}, in ~/.rexray or in the environment; name its \
                 file with --config, or give --plugin-inspect",
                usual(&paths).display()
            ))
            .into());
        }
        let target = self.output.clone().unwrap_or_else(|| paths.config());
        let written = !self.dry_run && migration.config.is_some();
        if written {
            self.write(&migration, &target)?;
        }
        show::migration(output, &format, &migration, &target, written)?;
        for what in &migration.left_out {
            note(&format!("not there yet, and left out: {what}"));
        }
        for row in migration.rows.iter().filter(|row| row.attention) {
            note(&format!("{} ({}): {}", row.key, row.from, row.change));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn sources(&self, paths: &Paths) -> Result<Sources> {
        let secrets = paths.config().with_file_name("secrets");
        let mut sources =
            Sources { secrets: secrets.to_string_lossy().into_owned(), ..Sources::default() };
        match &self.config {
            Some(path) => sources.files.push(read(path)?),
            None => sources.files = usual_files(paths)?,
        }
        match &self.env {
            Some(path) => sources.environment.push(read(path)?),
            None => {
                let path = usual(paths).join("rexray.env");
                sources.environment.extend(find(&path)?);
                sources.process = environment();
            }
        }
        for path in &self.plugin_inspect {
            sources.plugins.push(if path.as_os_str() == "-" { stdin()? } else { read(path)? });
        }
        Ok(sources)
    }

    /// Secrets first: a configuration never refers to files that are not there.
    fn write(&self, migration: &Migration, target: &Path) -> Result<()> {
        let secrets = migration.secrets.iter();
        let secrets: Vec<_> =
            secrets.map(|secret| (PathBuf::from(&secret.path), secret.value.as_bytes())).collect();
        for (path, bytes) in &secrets {
            self.ensure_free(path, bytes)?;
        }
        self.ensure_free(target, migration.text.as_bytes())?;
        for (path, bytes) in &secrets {
            put(path, bytes)?;
        }
        put(target, migration.text.as_bytes())
    }

    /// Nothing is in the way, or just what would be written.
    fn ensure_free(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        if self.force || path.symlink_metadata().is_err() {
            return Ok(());
        }
        if path.is_file() && file::read_optional(path)?.is_some_and(|there| there == bytes) {
            return Ok(());
        }
        Err(Error::already_exists(format!(
            "{} is there already; nothing was written. --force replaces it, --output writes \
             another file, --dry-run only shows",
            path.display()
        )))
    }
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        file::make_dir(dir, if dir.ends_with("secrets") { 0o700 } else { 0o755 })?;
    }
    file::write_atomic(path, bytes, Durability::Synced)
}

/// REX-Ray's directory of configuration.
fn usual(paths: &Paths) -> PathBuf {
    paths.home().join("etc/rexray")
}

/// The global file, and the user's over it.
fn usual_files(paths: &Paths) -> Result<Vec<File>> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let own = home.map(|home| home.join(".rexray"));
    let mut files = Vec::new();
    for dir in std::iter::once(usual(paths)).chain(own) {
        for name in ["rexray.yml", "config.yml"] {
            if let Some(found) = find(&dir.join(name))? {
                files.push(found);
                break;
            }
        }
    }
    Ok(files)
}

fn find(path: &Path) -> Result<Option<File>> {
    let bytes = file::read_optional(path)?;
    Ok(bytes.map(|bytes| File { name: path.display().to_string(), bytes }))
}

fn read(path: &Path) -> Result<File> {
    find(path)?.ok_or_else(|| {
        Error::not_found(format!("{} does not exist; name REX-Ray's own file", path.display()))
    })
}

fn stdin() -> Result<File> {
    let mut bytes = Vec::new();
    let limit = file::READ_LIMIT;
    let mut input = std::io::stdin().lock().take(limit + 1);
    input.read_to_end(&mut bytes).doing(|| "read standard input")?;
    if bytes.len() as u64 > limit {
        return Err(Error::out_of_range(format!("more than {limit} bytes on standard input")));
    }
    Ok(File { name: "standard input".to_owned(), bytes })
}

fn environment() -> Vec<(String, String)> {
    let variables = std::env::vars_os();
    variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
