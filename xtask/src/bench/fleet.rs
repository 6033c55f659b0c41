//! Many local volumes, `v0`, `v1` …: a home that grows as the figures want it to.

use super::contest::run_scripts;
use super::daemon::Agent;
use super::http::Request;
use error::Result;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How many connections create volumes at once.
const CLIENTS: usize = 16;

/// An agent with many volumes.
pub(super) struct Fleet {
    program: PathBuf,
    home: PathBuf,
    agent: Option<Agent>,
    volumes: usize,
}

impl Fleet {
    pub(super) fn new(program: &Path, home: PathBuf) -> Self {
        Self { program: program.to_owned(), home, agent: None, volumes: 0 }
    }

    /// The agent, started if it does not run, with at least `wanted` local volumes.
    pub(super) fn with(&mut self, wanted: usize) -> Result<&Agent> {
        let agent = match self.agent.take() {
            Some(agent) => agent,
            None => Agent::start(&self.program, &self.home)?,
        };
        let agent = self.agent.insert(agent);
        create(&agent.plugin("local"), self.volumes..wanted, |name| {
            Request::plugin("Create", &format!(r#"{{"Name":"{name}"}}"#))
        })?;
        self.volumes = self.volumes.max(wanted);
        Ok(agent)
    }

    /// Ends the agent and starts it again.
    pub(super) fn restart(&mut self) -> Result<&Agent> {
        self.agent = None;
        self.with(0)
    }
}

/// Sends the requests that create the volumes with these numbers.
pub(super) fn create(
    socket: &Path,
    numbers: Range<usize>,
    request: impl Fn(&str) -> Request,
) -> Result<()> {
    let script = |client: usize| -> Vec<Request> {
        let own = numbers.clone().skip(client).step_by(CLIENTS);
        own.map(|number| request(&name(number))).collect()
    };
    let scripts: Vec<_> = (0..CLIENTS).map(script).collect();
    if numbers.is_empty() { Ok(()) } else { run_scripts(socket, &scripts).map(drop) }
}

/// The name of a volume.
pub(super) fn name(number: usize) -> String {
    format!("v{number}")
}
