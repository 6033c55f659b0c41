//! `mobula service`: the agent and the plugin engine as services of this machine.

use crate::cli::failure::Outcome;
use crate::cli::terminal::emit_line;
use crate::service::{Changes, Init, Part, Service};
use clap::{Args, Subcommand, ValueEnum};
use error::{IoContext, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  mobula service install
  mobula service install engine
  mobula service status
  mobula service install --root /mnt/image --init systemd

systemd, OpenRC and SysV init are known. Stopping a service unmounts nothing.
Exit codes of status: 0 it runs, 1 it died, 3 it does not run, 4 it is not installed.";

/// Have the agent or the plugin engine run as a service of this machine.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct ServiceGroup {
    #[command(subcommand)]
    verb: Verb,
}

/// What can be done with a service.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write the service, start it now and at every boot.
    Install(Install),
    /// Start it.
    Start(Which),
    /// Stop it; mounts and plugins stay.
    Stop(Which),
    /// Stop it and start it again; mounts and plugins stay.
    Restart(Which),
    /// Say whether it runs.
    Status(Which),
    /// Stop it and remove what `install` wrote; refused while volumes are mounted.
    Uninstall(Uninstall),
}

/// Which service, of which init system.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The agent, or the plugin engine.
    #[arg(value_enum, value_name = "PART", default_value_t)]
    part: PartName,

    /// The init system, when it shall not be looked for.
    #[arg(long, value_enum, value_name = "INIT")]
    init: Option<InitName>,
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    #[command(flatten)]
    which: Which,

    /// Leave it as it is now: it starts at the next boot.
    #[arg(long)]
    no_start: bool,

    /// The root directory of the machine: of an image that is being made.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// The path of this program on that machine, when it is not where it is now.
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    #[command(flatten)]
    which: Which,

    /// Also when volumes are mounted; they stay mounted.
    #[arg(long)]
    force: bool,

    /// The root directory of the machine.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum PartName {
    #[default]
    Agent,
    Engine,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum InitName {
    Systemd,
    Openrc,
    Sysv,
}

impl ServiceGroup {
    /// Runs the verb.
    pub(crate) fn run(&self) -> Outcome {
        self.verb.run()
    }
}

impl Verb {
    fn run(&self) -> Outcome {
        match self {
            Self::Install(install) => install.run(),
            Self::Start(which) => which.start(),
            Self::Stop(which) => which.stop(),
            Self::Restart(which) => which.restart(),
            Self::Status(which) => which.status(),
            Self::Uninstall(uninstall) => uninstall.run(),
        }
    }
}

impl Install {
    /// Installs.
    pub(crate) fn run(&self) -> Outcome {
        let root = absolute(&self.root)?;
        let program = match &self.program {
            Some(program) => program.clone(),
            None => own_path(&root)?,
        };
        let service = self.which.find(&root)?;
        let changes = service.install(&program, !self.no_start)?;
        told(&changes, || format!("{} is installed already ({})", service.name(), service.init()))
    }
}

impl Uninstall {
    /// Uninstalls.
    pub(crate) fn run(&self) -> Outcome {
        let service = self.which.find(&absolute(&self.root)?)?;
        let changes = service.uninstall(self.force)?;
        told(&changes, || format!("{} is not installed", service.name()))
    }
}

impl Which {
    fn find(&self, root: &Path) -> Result<Service> {
        Service::find(self.part.into(), root, self.init.map(Into::into))
    }

    fn here(&self) -> Result<Service> {
        self.find(Path::new("/"))
    }

    /// Starts it.
    pub(crate) fn start(&self) -> Outcome {
        let service = self.here()?;
        let changed = service.start()?;
        let word = if changed { "is started" } else { "runs already" };
        line(&format!("{} {word}", service.name()))
    }

    /// Stops it.
    pub(crate) fn stop(&self) -> Outcome {
        let service = self.here()?;
        let changed = service.stop()?;
        let word =
            if changed { "is stopped; what is mounted stays mounted" } else { "does not run" };
        line(&format!("{} {word}", service.name()))
    }

    /// Restarts it.
    pub(crate) fn restart(&self) -> Outcome {
        told(&self.here()?.restart()?, String::new)
    }

    /// Says how it is.
    pub(crate) fn status(&self) -> Outcome {
        let service = self.here()?;
        let status = service.status()?;
        emit_line(&format!("{} {} ({})", service.name(), status.words(), service.init()))?;
        Ok(ExitCode::from(status.code()))
    }
}

impl From<PartName> for Part {
    fn from(name: PartName) -> Self {
        match name {
            PartName::Agent => Self::Agent,
            PartName::Engine => Self::Engine,
        }
    }
}

impl From<InitName> for Init {
    fn from(name: InitName) -> Self {
        match name {
            InitName::Systemd => Self::Systemd,
            InitName::Openrc => Self::OpenRc,
            InitName::Sysv => Self::SysV,
        }
    }
}

fn line(text: &str) -> Outcome {
    emit_line(text)?;
    Ok(ExitCode::SUCCESS)
}

/// Shows what was changed, or what to say when nothing was.
fn told(changes: &Changes, otherwise: impl FnOnce() -> String) -> Outcome {
    if changes.is_empty() {
        return line(&otherwise());
    }
    for change in changes {
        emit_line(change)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).doing(|| format!("find {}", path.display()))
}

/// Where this program is, as seen on the machine whose root directory is `root`.
fn own_path(root: &Path) -> Result<PathBuf> {
    let own = std::env::current_exe().doing(|| "find this program")?;
    Ok(own.strip_prefix(root).map_or_else(|_| own.clone(), |below| Path::new("/").join(below)))
}
