//! Independent judges of what is spoken on the wire: AWS's own SDK for Python, and a simulator of
//! AWS that others have written. They live in a Python environment that is made once below the
//! directory of a build and used again as long as it holds these versions. What they judge is in the
//! tests that use it.
#![allow(clippy::disallowed_methods)] // Only tests run this, and it is no part of the program.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// What is installed, and in which version.
const PACKAGES: [&str; 2] = ["boto3==1.44.8", "moto[ec2,server]==5.2.5"];
/// Why there is no environment.
type Absent = String;

/// The interpreter of the environment in the directory `parent`, which must exist. `None` where it
/// cannot be made, without Python or without network: then it says that the test is skipped.
///
/// # Panics
/// When it cannot be made though `CI` is set: there every test must run.
#[must_use]
pub fn python(parent: &Path) -> Option<PathBuf> {
    static MADE: OnceLock<Result<PathBuf, Absent>> = OnceLock::new();
    match MADE.get_or_init(|| environment(&parent.join("judges"))) {
        Ok(python) => Some(python.clone()),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "CI has Python and network: {why}");
            println!("skipped: {why}");
            None
        }
    }
}

/// The environment in `dir`, made if it is not complete. Other tests may be about to make it.
fn environment(dir: &Path) -> Result<PathBuf, Absent> {
    let failed = |error: io::Error| format!("{}: {error}", dir.display());
    let lock = File::create(dir.with_extension("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let (complete, wanted) = (dir.join("complete"), PACKAGES.join("\n"));
    let python = dir.join("bin/python");
    if fs::read_to_string(&complete).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(failed)?;
    }
    let found = host::command::find("python3").map_err(|error| error.to_string())?;
    run(Command::new(found).args(["-m", "venv"]).arg(dir))?;
    let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--retries", "2"];
    run(Command::new(&python).args(pip).args(PACKAGES))?;
    fs::write(complete, wanted).map_err(failed)?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), Absent> {
    let program = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<_> = said.lines().rev().take(3).collect();
    Err(format!("{program} cannot make an environment ({}): {last:?}", output.status))
}

/// A script in the environment, with nothing of this process's own environment but these variables.
#[must_use]
pub fn script(python: &Path, script: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(python);
    // -B: no compiled modules are left beside the script.
    command.arg("-B").arg(script).env_clear().envs(variables.iter().copied());
    // Whatever keys and settings the caller has are none of the account that is judged.
    for file in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
        command.env(file, "/dev/null");
    }
    command.env("HOME", "/nonexistent");
    command
}

/// Fails unless the script ended well and said nothing.
///
/// # Panics
/// When it did not.
#[track_caller]
pub fn assert_content(output: io::Result<Output>) {
    let output = output.expect("Python runs");
    let said = String::from_utf8_lossy(&output.stderr);
    // Whole, with the Python lines that it is about.
    let _ = io::stderr().write_all(&output.stdout);
    assert!(output.status.success(), "{said}");
}
