//! Running a command in a plugin: the engine's side, and the helper's.

use super::containers::{self, EXEC_LOG};
use super::records::{Files, Order, encode};
use error::{Error, IoContext, Result};
use host::exec::{OWN, Program, Streams};
use host::file::{Durability, write_atomic};
use host::record::remove;
use oci_spec::runtime::Spec;
use std::ffi::OsStr;
use std::path::Path;

/// Runs `command` and waits for it.
pub(super) fn run(
    files: &Files,
    order: &Order,
    command: Vec<String>,
    limit: usize,
) -> Result<(i32, Vec<u8>, Vec<u8>)> {
    if command.is_empty() {
        return Err(Error::invalid_argument("no command to run in the plugin"));
    }
    let name = format!("exec-{}", uuid::Uuid::new_v4());
    let process = files.run().join(format!("{name}.process"));
    let failure = files.run().join(format!("{name}.json"));
    write_process(files, &process, command)?;
    let collected = spawn(files, order, &name, limit);
    let failed = files.failure(&name);
    for path in [&process, &process.with_extension(EXEC_LOG), &failure] {
        remove(path)?;
    }
    let output = collected?;
    match failed? {
        Some(error) => Err(error),
        None => Ok((output.code, output.stdout, output.stderr)),
    }
}

/// The plugin's own process, with another command.
fn write_process(files: &Files, path: &Path, command: Vec<String>) -> Result<()> {
    let config = files.bundle().join("config.json");
    let spec = Spec::load(&config)
        .map_err(|error| Error::internal(format!("read {}", config.display())).because(error))?;
    let process = spec.process().clone();
    let mut process = process.ok_or_else(|| Error::internal("the plugin's spec has no process"))?;
    process.set_args(Some(command));
    write_atomic(path, &encode(&process)?, Durability::Volatile)
}

fn spawn(files: &Files, order: &Order, name: &str, limit: usize) -> Result<host::exec::Output> {
    let program = Program::protect(order.shim.as_deref().unwrap_or(Path::new(OWN)))?;
    let (output, output_end) = std::io::pipe().doing(|| "make a pipe")?;
    let (error, error_end) = std::io::pipe().doing(|| "make a pipe")?;
    for end in [&output_end, &error_end] {
        let giving = || "give a pipe to the plugin";
        std::os::unix::fs::fchown(end, Some(order.uid), None).doing(giving)?;
    }
    let streams =
        Streams { input: None, output: Some(output_end.into()), error: Some(error_end.into()) };
    let args = [OsStr::new("__exec"), files.run().as_os_str(), OsStr::new(name)];
    let child = program.spawn(&args, streams)?;
    host::exec::collect(child, [output.into(), error.into()], limit, host::command::DEADLINE)
}

/// The helper: runs the process that `name` describes in the plugin of `run`.
pub(super) fn main(run: &Path, name: &str) -> i32 {
    let files = Files::new(run);
    let done = files.order().and_then(|order| {
        let order = order.ok_or_else(|| Error::failed_precondition("the plugin does not run"))?;
        containers::of(&order, &files).exec(&run.join(format!("{name}.process")))
    });
    match done {
        Ok(code) => code,
        Err(error) => {
            let _ = files.write_failure(name, &error);
            1
        }
    }
}
