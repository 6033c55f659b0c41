//! What a container runtime must do for us. Killing and waiting are not its business: those are
//! done by process and by control group, whoever made them.

use super::Runtime;
use super::builtin::BuiltIn;
use super::program::Program;
use super::records::{Files, Order};
use error::Result;
use std::path::Path;

/// What the file that a command's runtime logs to ends with; two commands may run at once.
pub(super) const EXEC_LOG: &str = "log";

/// One container, made by one of the runtimes. `create`, `start` and `exec` run in a helper process
/// of one thread.
pub(super) trait Containers {
    /// Makes the container of the bundle: its process waits for [`start`](Self::start), has our
    /// standard output and error, and its PID is in the PID file.
    fn create(&mut self) -> Result<()>;

    /// Lets the program begin; whatever keeps it from being executed is an error, as far as the
    /// runtime tells.
    fn start(&mut self) -> Result<()>;

    /// Runs a further process (JSON of the OCI spec's `process`) in it, with our standard output
    /// and error, and returns its exit code; 128 + n when killed by signal n.
    fn exec(&mut self, process: &Path) -> Result<i32>;

    /// Forgets the container, whose processes have ended; also one that was never finished.
    fn delete(&mut self) -> Result<()>;
}

/// The runtime that `order` asks for.
pub(super) fn of(order: &Order, files: &Files) -> Box<dyn Containers> {
    match &order.runtime {
        Runtime::BuiltIn => Box::new(BuiltIn::new(&order.id, files)),
        Runtime::Program(path) => Box::new(Program::new(path, &order.id, files)),
    }
}
