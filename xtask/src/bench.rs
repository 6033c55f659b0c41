//! `cargo xtask bench`: our figures beside a peer's and the kernel's, measured in alternation.
//!
//! ```text
//! cargo xtask bench ─▶ build in release ─▶ the same program, in a mount namespace of its own
//!   owns the directory                       owns daemons and mounts, measures, reports
//! ```
//!
//! What the second process leaves, however it ends, goes with its namespace, or is ended by the first,
//! which removes the directory.

mod cases;
mod contest;
mod daemon;
mod ebs;
mod engine;
mod fleet;
mod http;
mod kernel;
mod lab;
mod orphans;
mod report;
mod stats;

use crate::{program, release, workspace};
use cases::Case;
use clap::{Args, ValueEnum};
use error::{Error, IoContext, Result};
use lab::{Lab, Scale};
use report::{Layout, Machine, Report};
use std::path::{Path, PathBuf};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Volumes and their drivers.
    Agent,
    /// Managed plugins.
    Engine,
    /// Volumes of Amazon EBS, on the simulator.
    Ebs,
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Engine => "engine",
            Self::Ebs => "ebs",
        }
    }
}

/// Measure our figures beside a peer's and the kernel's; needs root.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What is measured.
    #[arg(default_value = "agent")]
    subject: Subject,

    /// Write the rows as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Put the rows into docs/benchmarks.md.
    #[arg(long, conflicts_with_all = ["quick", "only"])]
    publish: bool,

    /// Small counts: shows that everything works, not how fast it is.
    #[arg(long)]
    quick: bool,

    /// Only this group of figures (repeatable). Of the agent: create, get, list, agent, mount, mkfs,
    /// template, snapshot; of the engine: idle, life, many, install, create, mounts, program; of EBS:
    /// mount, many, calls, list.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// Directory to work in; its file system is part of what is measured.
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    dir: PathBuf,

    /// The program to measure; only within the namespace of a run.
    #[arg(long, value_name = "FILE", hide = true)]
    program: Option<PathBuf>,

    /// The program of plugins; only within the namespace of a run.
    #[arg(long, value_name = "FILE", hide = true, requires = "program")]
    plugin: Option<PathBuf>,
}

impl Arguments {
    /// Runs the benchmarks.
    pub(crate) fn run(self) -> Result<()> {
        match (self.program.clone(), self.plugin.clone()) {
            (Some(program), Some(plugin)) => self.measure(program, plugin),
            _ => self.supervise(),
        }
    }

    fn supervise(&self) -> Result<()> {
        match self.subject {
            Subject::Agent => cases::chosen(&cases::ALL, &self.only).map(drop)?,
            Subject::Engine => cases::chosen(&engine::ALL, &self.only).map(drop)?,
            Subject::Ebs => cases::chosen(&ebs::ALL, &self.only).map(drop)?,
        }
        if !kernel::is_root() {
            return Err(Error::permission_denied(
                "benchmarks mount file systems and need root; run them as root",
            ));
        }
        let built = release::build(&["mobula", "xtask", "testkit"])?;
        let scratch = Scratch::make(&self.dir)?;
        let mut command = program::command(built.program("xtask")?);
        command.args(["bench", self.subject.name(), "--program"]).arg(built.program("mobula")?);
        command.arg("--plugin").arg(built.program("probe")?).arg("--dir").arg(&scratch.0);
        command.args(self.quick.then_some("--quick")).args(self.publish.then_some("--publish"));
        for name in &self.only {
            command.args(["--only", name]);
        }
        if let Some(json) = &self.json {
            command.arg("--json").arg(json);
        }
        kernel::isolate(&mut command);
        kernel::ignore_interrupts();
        let status = orphans::run(&mut command)?;
        if status.success() {
            return Ok(());
        }
        Err(Error::aborted(format!("the benchmarks did not end well: {status}")))
    }

    fn measure(self, program: PathBuf, plugin: PathBuf) -> Result<()> {
        hide_run()?;
        let dir = self.dir.clone();
        let report = match self.subject {
            Subject::Agent => {
                let scale = if self.quick { Scale::QUICK } else { Scale::FULL };
                run(&cases::ALL, &self.only, Lab::new(program, dir, scale), report::SAMPLES)?
            }
            Subject::Engine => {
                let bed = engine::Bed::new(program, plugin, dir, self.engine_scale());
                run(&engine::ALL, &self.only, bed, engine::LAYOUT)?
            }
            Subject::Ebs => {
                let scale = if self.quick { ebs::Scale::QUICK } else { ebs::Scale::FULL };
                run(&ebs::ALL, &self.only, ebs::Bed::new(program, dir, scale), ebs::LAYOUT)?
            }
        };
        print!("{}", report.table());
        if self.publish {
            report.publish(&workspace::root().join("docs/benchmarks.md"))?;
        }
        self.json.map_or(Ok(()), |json| report.write(&json))
    }

    fn engine_scale(&self) -> engine::Scale {
        match (self.quick, self.publish) {
            (true, _) => engine::Scale::QUICK,
            (_, true) => engine::Scale::PUBLISHED,
            _ => engine::Scale::USUAL,
        }
    }
}

/// Measures the groups called `only`, or all, in `lab`.
fn run<L>(all: &[Case<L>], only: &[String], mut lab: L, layout: Layout) -> Result<Report> {
    let mut report = Report::new(Machine::this(), layout);
    for (name, case) in cases::chosen(all, only)? {
        eprintln!("measuring {name}");
        case(&mut lab, &mut report)?;
    }
    Ok(report)
}

/// Other engines' sockets and plugins are none of this run's.
fn hide_run() -> Result<()> {
    kernel::mount(Path::new("tmpfs"), Path::new("/run"), "tmpfs")
}

/// A directory that is removed when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    /// Makes one in `parent`. Short, since sockets have short paths.
    fn make(parent: &Path) -> Result<Self> {
        let parent = std::path::absolute(parent).doing(|| "find the working directory")?;
        let dir = parent.join(format!("mobula-bench-{}", std::process::id()));
        std::fs::create_dir(&dir).doing(|| format!("make {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_goes_with_its_owner() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::make(parent.path()).unwrap();
        std::fs::write(scratch.0.join("file"), "x").unwrap();
        drop(scratch);
        assert_eq!(parent.path().read_dir().unwrap().count(), 0);
    }
}
