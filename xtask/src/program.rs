//! Running programs: cargo, rustfmt, mkfs, and the daemons that are measured.
#![allow(clippy::disallowed_methods)] // A build job needs cargo, and a benchmark its own processes.

use error::{Error, IoContext, Result};
use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where system programs are, whatever the caller's PATH.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command that is yet to be run.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// The system program of this name, if it is installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    std::env::split_paths(PATH).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// The system program of this name; missing → `FailedPrecondition`.
pub(crate) fn get(name: &str) -> Result<PathBuf> {
    find(name).ok_or_else(|| {
        Error::failed_precondition(format!("{name} is not installed; install it and try again"))
    })
}

/// Runs it to its end with `input`; answers its output, or fails with what it said.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let doing = || format!("run {name}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().doing(doing)?;
    if let Some(mut stdin) = child.stdin.take() {
        // Who ends without reading says why on standard error.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output().doing(doing)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::internal(format!("{name} failed ({}): {}", output.status, said.trim())))
}

/// Runs it to its end, its standard error being ours; answers its output.
pub(crate) fn read(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.doing(|| format!("run {name}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(Error::internal(format!("{name} failed ({}); it said why above", output.status)))
}

/// Runs it to its end on our terminal, where it may ask.
pub(crate) fn attend(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.stdout(Stdio::null()).status().doing(|| format!("run {name}"))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::internal(format!("{name} failed ({status}); it said why above")))
}
