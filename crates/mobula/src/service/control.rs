//! Starting, stopping and asking: by the init system, whose word counts.

use super::{Changes, Init, Service};
use crate::paths::Paths;
use error::{Error, Result};
use host::command::{self, Finished};
use std::os::unix::net::UnixStream;

/// What the init system says of a service, with LSB's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It runs.
    Running,
    /// It ended without being told to.
    Dead,
    /// It does not run.
    Stopped,
    /// There is no such service.
    Absent,
}

impl Status {
    /// The exit code of `status` (Linux Standard Base, "Init Script Actions").
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Running => 0,
            Self::Dead => 1,
            Self::Stopped => 3,
            Self::Absent => 4,
        }
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Running => "runs",
            Self::Dead => "ended without being told to",
            Self::Stopped => "does not run",
            Self::Absent => "is not installed",
        }
    }
}

impl Service {
    /// What the init system says.
    pub fn status(&self) -> Result<Status> {
        if !self.is_installed() {
            return Ok(Status::Absent);
        }
        let verb = if self.init == Init::Systemd { "is-active" } else { "status" };
        let told = self.tell(verb)?;
        Ok(match told.code {
            0 => Status::Running,
            // systemd's word; OpenRC says 32 of what crashed, SysV 1 and 2.
            _ if told.stdout.trim() == "failed" => Status::Dead,
            1 | 2 | 32 => Status::Dead,
            _ => Status::Stopped,
        })
    }

    /// Starts it and waits until it listens; whether it did not run before.
    pub fn start(&self) -> Result<bool> {
        self.permitted("start")?;
        if self.known()? == Status::Running {
            return Ok(false);
        }
        let socket = self.part.socket(&Paths::at("/"));
        if UnixStream::connect(&socket).is_ok() {
            return Err(Error::failed_precondition(format!(
                "somebody started it by hand: {} is listened at; end that process, then \
                 `mobula service start`",
                socket.display()
            )));
        }
        self.act("start")?;
        Ok(true)
    }

    /// Stops it; whether it ran. Mounts and plugins stay.
    pub fn stop(&self) -> Result<bool> {
        self.permitted("stop")?;
        if self.known()? != Status::Running {
            return Ok(false);
        }
        self.act("stop")?;
        Ok(true)
    }

    /// Stops and starts it.
    pub fn restart(&self) -> Result<Changes> {
        self.permitted("restart")?;
        if self.known()? == Status::Running {
            self.act("restart")?;
        } else {
            self.start()?;
        }
        Ok(vec![format!("{} is started again", self.name())])
    }

    /// Makes the init system read its files again.
    pub(super) fn reread(&self) -> Result<()> {
        if self.init == Init::Systemd && self.is_live() {
            command::run_ok("systemctl", &["daemon-reload"], command::DEADLINE)?;
        }
        Ok(())
    }

    /// The status of a service that there is.
    fn known(&self) -> Result<Status> {
        match self.status()? {
            Status::Absent => Err(Error::not_found(format!(
                "there is no service {} yet; `mobula service install` makes it",
                self.name()
            ))),
            status => Ok(status),
        }
    }

    fn act(&self, verb: &str) -> Result<()> {
        let finished = self.tell(verb)?;
        if finished.code == 0 {
            return Ok(());
        }
        let failure = command::failure(self.name(), &finished);
        Err(Error::internal(format!("{verb} ({}): {}", self.init, failure.message())))
    }

    fn tell(&self, verb: &str) -> Result<Finished> {
        let name = self.name();
        let unit = format!("{name}.service");
        let script = self.file();
        let script = script.to_string_lossy();
        let (program, args) = match self.init {
            Init::Systemd => ("systemctl", [verb, unit.as_str()]),
            Init::OpenRc => ("rc-service", [name, verb]),
            Init::SysV => ("sh", [&*script, verb]),
        };
        command::run(program, &args, command::DEADLINE)
    }
}
