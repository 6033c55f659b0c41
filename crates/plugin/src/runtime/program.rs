//! Containers made by a program with runc's command line.

use super::complaints;
use super::containers::{Containers, EXEC_LOG};
use super::records::Files;
use crate::id::PluginId;
use error::{Error, IoContext, Result};
use host::exec::Streams;
use host::record::remove;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// One container of such a program.
pub(super) struct Program {
    path: PathBuf,
    id: PluginId,
    files: Files,
}

impl Program {
    pub(super) fn new(path: &Path, id: &PluginId, files: &Files) -> Self {
        Self { path: path.to_owned(), id: id.clone(), files: files.clone() }
    }

    /// Runs the program; its exit code.
    fn run(&self, args: &[&OsStr], log: &Path, streams: Streams) -> Result<i32> {
        let mut all: Vec<OsString> = vec!["--root".into(), self.files.containers().into()];
        all.extend(["--log".into(), log.into()]);
        all.extend(["--log-format".into(), "json".into()]);
        all.extend(args.iter().map(OsString::from));
        let child = host::exec::spawn(&self.path, &all, streams)?;
        Ok(host::reaper::wait_for(child.id().cast_signed())?.shell_code())
    }

    fn run_ok(&self, what: &str, args: &[&OsStr], streams: Streams) -> Result<()> {
        let log = self.files.runtime_log();
        remove(&log)?;
        let code = self.run(args, &log, streams)?;
        if code == 0 { Ok(()) } else { Err(self.failure(what, code, &log)) }
    }

    fn failure(&self, what: &str, code: i32, log: &Path) -> Error {
        let text = format!("{} {what} failed with code {code}", self.path.display());
        complaints::add(Error::internal(text), log)
    }
}

/// Our own, which become the plugin's.
fn own_streams() -> Result<Streams> {
    let copying = || "copy a stream";
    Ok(Streams {
        input: None,
        output: Some(std::io::stdout().as_fd().try_clone_to_owned().doing(copying)?),
        error: Some(std::io::stderr().as_fd().try_clone_to_owned().doing(copying)?),
    })
}

impl Containers for Program {
    fn create(&mut self) -> Result<()> {
        let (bundle, pid) = (self.files.bundle(), self.files.pid());
        let args = [
            "create".as_ref(),
            "--bundle".as_ref(),
            bundle.as_os_str(),
            "--pid-file".as_ref(),
            pid.as_os_str(),
            self.id.as_str().as_ref(),
        ];
        self.run_ok("create", &args, own_streams()?)
    }

    fn start(&mut self) -> Result<()> {
        let args = ["start".as_ref(), self.id.as_str().as_ref()];
        self.run_ok("start", &args, Streams::default())
    }

    fn exec(&mut self, process: &Path) -> Result<i32> {
        let log = process.with_extension(EXEC_LOG);
        let flag = "--process".as_ref();
        let args = ["exec".as_ref(), flag, process.as_os_str(), self.id.as_str().as_ref()];
        let code = self.run(&args, &log, own_streams()?)?;
        // The command's own codes look the same; only the program's failures are logged.
        match host::file::read_optional(&log)? {
            Some(said) if code != 0 && !said.is_empty() => Err(self.failure("exec", code, &log)),
            _ => Ok(code),
        }
    }

    fn delete(&mut self) -> Result<()> {
        if self.files.containers().join(self.id.as_str()).exists() {
            let args = ["delete".as_ref(), "--force".as_ref(), self.id.as_str().as_ref()];
            self.run_ok("delete", &args, Streams::default())?;
        }
        host::file::remove_tree(&self.files.containers()).map(drop)
    }
}
