//! `cargo xtask bench`: our figures beside a peer's and the kernel's, measured in alternation.
//!
//! ```text
//! cargo xtask bench ─▶ build in release ─▶ the same program, in a mount namespace of its own
//!   owns the directory                       owns daemons and mounts, measures, reports
//! ```
//!
//! What the second process leaves, however it ends, goes with its namespace; the first removes the
//! directory.

mod build;
mod cases;
mod contest;
mod daemon;
mod fleet;
mod http;
mod kernel;
mod lab;
mod report;
mod stats;

use crate::{program, workspace};
use clap::Args;
use error::{Error, IoContext, Result};
use lab::{Lab, Scale};
use report::{Machine, Report};
use std::path::{Path, PathBuf};

/// Measure our figures beside a peer's and the kernel's; needs root.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Write the rows as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Put the rows into docs/benchmarks.md.
    #[arg(long, conflicts_with_all = ["quick", "only"])]
    publish: bool,

    /// Small counts: shows that everything works, not how fast it is.
    #[arg(long)]
    quick: bool,

    /// Only this group of figures (repeatable): create, get, list, agent, mount, mkfs, template,
    /// snapshot.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// Directory to work in; its file system is part of what is measured.
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    dir: PathBuf,

    /// The program to measure; only within the namespace of a run.
    #[arg(long, value_name = "FILE", hide = true)]
    program: Option<PathBuf>,
}

impl Arguments {
    /// Runs the benchmarks.
    pub(crate) fn run(self) -> Result<()> {
        match self.program.clone() {
            Some(program) => self.measure(program),
            None => self.supervise(),
        }
    }

    fn supervise(&self) -> Result<()> {
        cases::chosen(&self.only)?;
        if !kernel::is_root() {
            return Err(Error::permission_denied(
                "benchmarks mount file systems and need root; run them as root",
            ));
        }
        let built = build::build()?;
        let scratch = Scratch::make(&self.dir)?;
        let mut command = program::command(&built.xtask);
        command.args(["bench", "--program"]).arg(&built.mobula).arg("--dir").arg(&scratch.0);
        command.args(self.quick.then_some("--quick")).args(self.publish.then_some("--publish"));
        for name in &self.only {
            command.args(["--only", name]);
        }
        if let Some(json) = &self.json {
            command.arg("--json").arg(json);
        }
        kernel::isolate(&mut command);
        kernel::ignore_interrupts();
        let status = command.status().doing(|| "run the benchmarks")?;
        if status.success() {
            return Ok(());
        }
        Err(Error::aborted(format!("the benchmarks did not end well: {status}")))
    }

    fn measure(self, program: PathBuf) -> Result<()> {
        hide_run()?;
        let scale = if self.quick { Scale::QUICK } else { Scale::FULL };
        let mut lab = Lab::new(program, self.dir, scale);
        let mut report = Report::new(Machine::this());
        for (name, case) in cases::chosen(&self.only)? {
            eprintln!("measuring {name}");
            case(&mut lab, &mut report)?;
        }
        print!("{}", report.table());
        if self.publish {
            report.publish(&workspace::root().join("docs/benchmarks.md"))?;
        }
        self.json.map_or(Ok(()), |json| report.write(&json))
    }
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
