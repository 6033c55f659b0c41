//! Containers made by libcontainer. Its errors lose their causes between its processes, so what it
//! logs on the way goes to a file, which becomes part of the error.

use super::complaints;
use super::containers::{Containers, EXEC_LOG};
use super::mounts;
use super::records::Files;
use crate::id::PluginId;
use error::{Error, IoContext, Result};
use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::error::LibcontainerError;
use libcontainer::syscall::syscall::SyscallType;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use oci_spec::runtime::Spec;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::path::Path;
use std::rc::Rc;

/// One container of libcontainer's.
pub(super) struct BuiltIn {
    id: PluginId,
    files: Files,
    /// Closed by the execution of the program; says why when that fails.
    execution: Option<PipeReader>,
}

impl BuiltIn {
    pub(super) fn new(id: &PluginId, files: &Files) -> Self {
        Self { id: id.clone(), files: files.clone(), execution: None }
    }

    fn builder(&self, executor: Execute) -> Result<ContainerBuilder> {
        let null = File::open("/dev/null").doing(|| "open /dev/null")?;
        ContainerBuilder::new(self.id.to_string(), SyscallType::Linux)
            .with_executor(executor)
            .with_stdin(null)
            .with_root_path(self.files.containers())
            .map_err(|error| self.failure("prepare the container", &error))
    }

    fn failure(&self, what: &str, error: &LibcontainerError) -> Error {
        failure(what, error, &self.files.runtime_log())
    }

    /// Of a hook libcontainer knows no more than that it failed.
    fn creation_failure(&self, error: &LibcontainerError) -> Error {
        match self.files.failure(mounts::FAILURE) {
            Ok(Some(reason)) => reason,
            _ => self.failure("create the container", error),
        }
    }

    fn execute(&self, failure: PipeWriter, is_command: bool) -> Result<Execute> {
        let filter = self.files.filter()?.map(Rc::from);
        Ok(Execute { failure: Rc::new(failure), filter, is_command })
    }
}

/// The error with its causes and what was logged.
fn failure(what: &str, error: &LibcontainerError, log: &Path) -> Error {
    let mut text = format!("{what}: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    complaints::add(Error::internal(text), log)
}

impl Containers for BuiltIn {
    fn create(&mut self) -> Result<()> {
        complaints::record(&self.files.runtime_log())?;
        let (read, write) = std::io::pipe().doing(|| "make a pipe")?;
        self.builder(self.execute(write, false)?)?
            .with_pid_file(Some(self.files.pid()))
            .map_err(|error| self.failure("prepare the container", &error))?
            .as_init(self.files.bundle())
            .with_systemd(false)
            .with_detach(true)
            .build()
            .map_err(|error| self.creation_failure(&error))?;
        self.execution = Some(read);
        Ok(())
    }

    fn start(&mut self) -> Result<()> {
        let directory = self.files.containers().join(self.id.as_str());
        Container::load(directory)
            .and_then(|mut container| container.start())
            .map_err(|error| self.failure("start the container", &error))?;
        let mut said = String::new();
        if let Some(mut execution) = self.execution.take() {
            execution.read_to_string(&mut said).doing(|| "wait for the plugin's program")?;
        }
        if said.is_empty() { Ok(()) } else { Err(Error::failed_precondition(said)) }
    }

    fn exec(&mut self, process: &Path) -> Result<i32> {
        let log = process.with_extension(EXEC_LOG);
        complaints::record(&log)?;
        let (mut read, write) = std::io::pipe().doing(|| "make a pipe")?;
        let built = self
            .builder(self.execute(write, true)?)?
            .as_tenant()
            .with_process(Some(process))
            .with_detach(true)
            .build();
        let mut said = String::new();
        read.read_to_string(&mut said).doing(|| "wait for a command in the plugin")?;
        match built {
            _ if !said.is_empty() => Err(Error::failed_precondition(said)),
            Ok(pid) => Ok(host::reaper::wait_for(pid.as_raw())?.shell_code()),
            Err(error) => Err(failure("run a command in the plugin", &error, &log)),
        }
    }

    fn delete(&mut self) -> Result<()> {
        // Its state is only files: the processes and the control group are ended by who calls.
        host::file::remove_tree(&self.files.containers()).map(drop)
    }
}

/// The last step of the container's process: becoming the program. Unlike libcontainer's own it
/// needs no PATH for absolute names, resets signals, and tells what went wrong.
#[derive(Clone)]
struct Execute {
    failure: Rc<PipeWriter>,
    filter: Option<Rc<[u8]>>,
    /// A further command in the plugin.
    is_command: bool,
}

impl Execute {
    /// What libcontainer leaves to us: always of a further command, and of the plugin's program
    /// unless the spec says it.
    fn confine(&self, spec: &Spec) -> Result<()> {
        let is_in_spec = spec.linux().as_ref().is_some_and(|linux| linux.seccomp().is_some());
        let Some(filter) = &self.filter else { return Ok(()) };
        if self.is_command {
            // Its capabilities are gone by now, so that this is what lets it be restricted.
            host::exec::gain_no_privileges()?;
        } else if is_in_spec {
            return Ok(());
        }
        host::exec::restrict(filter)
    }

    fn fail(&self, text: String) -> ExecutorError {
        let _ = (&*self.failure).write_all(text.as_bytes());
        ExecutorError::Other(text)
    }
}

impl Executor for Execute {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let process = spec.process().as_ref();
        let args = process.and_then(|process| process.args().clone()).unwrap_or_default();
        let program = args.first().ok_or(ExecutorError::InvalidArg)?;
        if self.is_command {
            let _ = host::reaper::end_with_parent();
        }
        if let Err(error) = self.confine(spec) {
            return Err(self.fail(error.chain()));
        }
        let error = host::exec::replace(program, &args);
        let text = format!("{program} can't be executed in the plugin: {error}{}", hint(&error));
        Err(self.fail(text))
    }

    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            "; neither it nor the loader or interpreter that it names may be missing there"
        }
        std::io::ErrorKind::PermissionDenied => {
            "; its user must be allowed to execute it, and its mount must not be noexec"
        }
        _ => "",
    }
}
