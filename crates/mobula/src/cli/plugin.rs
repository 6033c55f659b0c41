//! `mobula plugin`: docker's plugin commands, and some more, against the socket of the plugin engine
//! (or of dockerd). Flags and output are docker's where docker has the command.

mod auth;
mod change;
mod configure;
mod consent;
mod context;
mod indent;
mod init;
mod inspect;
mod install;
mod list;
mod load;
mod look;
mod publish;
mod stream;
mod time;
mod upgrade;
mod watch;

#[cfg(test)]
mod tests;

use crate::cli::failure::Outcome;
use crate::cli::output::Output;
use crate::cli::terminal::variable;
use crate::engine_client::EngineClient;
use crate::paths::Paths;
use clap::{Args, Subcommand};
use error::Result;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  mobula plugin install vieux/sshfs DEBUG=1
  mobula plugin ls --filter enabled=true
  mobula plugin disable vieux/sshfs && mobula plugin upgrade vieux/sshfs
  mobula plugin init me/store && mobula plugin create me/store store
  mobula plugin --host unix:///run/docker.sock ls

The engine is \"mobula engine\"; --host, or MOBULA_ENGINE, names another one, dockerd included.";

/// Install, run and look after plugins, as docker plugin does.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct PluginGroup {
    /// Engine to work with: unix:///PATH instead of /run/mobula/engine.sock.
    #[arg(short = 'H', long, global = true, value_name = "ADDRESS")]
    host: Option<String>,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(visible_alias = "list")]
    Ls(list::Ls),
    Install(install::Install),
    Enable(change::Enable),
    Disable(change::Disable),
    Set(change::Set),
    Inspect(inspect::Inspect),
    Create(context::Create),
    Push(install::Push),
    Upgrade(upgrade::Upgrade),
    #[command(visible_alias = "remove")]
    Rm(change::Rm),
    Logs(stream::Logs),
    Events(stream::Events),
    Top(look::Top),
    Exec(look::Exec),
    #[command(visible_alias = "limit")]
    Configure(configure::Configure),
    Publish(publish::Publish),
    Save(load::Save),
    Load(load::Load),
    Search(look::Search),
    Init(init::Init),
    Gc(look::Gc),
}

impl PluginGroup {
    /// What the verb's flags say about the output.
    pub(crate) fn output(&self) -> Output {
        match &self.verb {
            Verb::Ls(ls) => ls.output(),
            Verb::Inspect(inspect) => inspect.output(),
            Verb::Events(events) => events.output(),
            Verb::Search(search) => search.output(),
            _ => Output::default(),
        }
    }

    /// Runs the verb.
    pub(crate) async fn run(&self, output: &Output) -> Outcome {
        if let Verb::Init(init) = &self.verb {
            return init.run().await;
        }
        let engine = engine(self.host.as_deref())?;
        match &self.verb {
            Verb::Inspect(inspect) => return inspect.run(&engine, output).await,
            Verb::Rm(rm) => return rm.run(&engine).await,
            Verb::Exec(exec) => return exec.run(&engine).await,
            Verb::Ls(ls) => ls.run(&engine, output).await,
            Verb::Install(install) => install.run(&engine).await,
            Verb::Enable(enable) => enable.run(&engine).await,
            Verb::Disable(disable) => disable.run(&engine).await,
            Verb::Set(set) => set.run(&engine).await,
            Verb::Create(create) => create.run(&engine).await,
            Verb::Push(push) => push.run(&engine).await,
            Verb::Upgrade(upgrade) => upgrade.run(&engine).await,
            Verb::Logs(logs) => logs.run(&engine).await,
            Verb::Events(events) => events.run(&engine, output).await,
            Verb::Top(top) => top.run(&engine, output).await,
            Verb::Configure(configure) => configure.run(&engine).await,
            Verb::Publish(publish) => publish.run(&engine).await,
            Verb::Save(save) => save.run(&engine).await,
            Verb::Load(load) => load.run(&engine).await,
            Verb::Search(search) => search.run(&engine, output).await,
            Verb::Gc(gc) => gc.run(&engine).await,
            Verb::Init(_) => Ok(()),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The engine that flag, environment or paths name.
pub(crate) fn engine(host: Option<&str>) -> Result<EngineClient> {
    match host.map(str::to_owned).or_else(|| variable("MOBULA_ENGINE")) {
        Some(address) => EngineClient::parse(&address),
        None => Ok(EngineClient::new(Paths::from_env().run().join("engine.sock"))),
    }
}
