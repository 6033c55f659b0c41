//! The command line. Commands decode their arguments, call the control API and show the answer;
//! what is decided is decided by the server.

mod act;
mod adapter;
mod change;
mod complete;
pub mod completion;
mod config;
mod confirm;
mod doctor;
mod driver;
mod ebs_sim;
mod engine;
mod failure;
pub mod man;
mod migrate;
mod mounts;
mod output;
mod plugin;
mod progress;
pub mod reference;
mod select;
mod service;
mod session;
mod snapshot;
mod start;
mod table;
mod template;
mod terminal;
mod tree;
mod version;
mod volume;

use crate::config::Overrides;
use clap::{Args, CommandFactory, Parser, Subcommand};
use error::{Error, IoContext, Result};
use failure::Outcome;
use output::Output;
use session::Session;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use terminal::{Color, note, variable};
use tokio::runtime::{Builder, Runtime};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failure
  2  wrong usage
  3  not found
  4  conflict with the present state
  5  timed out
  6  not permitted

Environment:
  MOBULA_HOME     directory that all paths of mobula are below
  MOBULA_CONFIG   as --config
  MOBULA_SERVICE  as --service
  MOBULA_ENGINE   as --host of mobula plugin
  MOBULA_FORMAT   as --format
  MOBULA_…        configuration keys, such as MOBULA_LOG_LEVEL
  NO_COLOR        no colours, unless --color says otherwise";

/// Storage that outlives containers: volumes for Docker and friends, by one static binary.
#[derive(Debug, Parser)]
#[command(name = "mobula", version = crate::VERSION, after_help = EXIT_CODES)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The flags of every command.
#[derive(Debug, Args)]
struct Global {
    /// Configuration file instead of /etc/mobula/mobula.yml.
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Service to work with.
    #[arg(short, long, global = true, value_name = "SERVICE")]
    service: Option<String>,

    /// Set a configuration key, such as log.level=debug (repeatable).
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,

    /// When to use colours.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    color: Color,
}

#[derive(Debug, Subcommand)]
enum Command {
    Start(start::Start),
    Engine(engine::Engine),
    #[command(visible_alias = "vol")]
    Volume(volume::VolumeGroup),
    Snapshot(snapshot::SnapshotGroup),
    Driver(driver::DriverGroup),
    Plugin(plugin::PluginGroup),
    #[command(flatten)]
    Act(act::Act),
    #[command(hide = true)]
    Adapter(adapter::AdapterGroup),
    Mounts(mounts::Mounts),
    Config(config::ConfigGroup),
    Doctor(doctor::Doctor),
    EbsSim(ebs_sim::EbsSim),
    Migrate(migrate::MigrateGroup),
    Service(service::ServiceGroup),
    /// The same as `mobula service install`.
    #[command(hide = true)]
    Install(service::Install),
    /// The same as `mobula service uninstall`.
    #[command(hide = true)]
    Uninstall(service::Uninstall),
    /// The same as `mobula service stop`.
    #[command(hide = true)]
    Stop(service::Which),
    /// The same as `mobula service restart`.
    #[command(hide = true)]
    Restart(service::Which),
    /// The same as `mobula service status`.
    #[command(hide = true)]
    Status(service::Which),
    Version(version::Version),
    Completion(completion::Completion),
    /// Show on this machine, within a sandbox, that a volume outlives its containers.
    Demo,
}

/// The command line as data, for documentation and completion.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    match arguments.get(1).map(String::as_str) {
        Some("__sandbox") => sandbox(&arguments[2..]),
        Some("__shim") => exit_code(::plugin::runtime::shim(&arguments[2..])),
        Some("__exec") => exit_code(::plugin::runtime::exec(&arguments[2..])),
        Some("__mounts") => exit_code(::plugin::runtime::mounts(&arguments[2..])),
        Some("__demo") => crate::demo::inside(&arguments[2..]),
        Some("__sample") => crate::sample::main(),
        Some(crate::managed::VERB) => crate::managed::main(&arguments[2..]),
        Some("__complete") => complete::answer(&arguments[2..]),
        _ => parse_and_run(),
    }
}

/// Becomes a container: nothing may have started a thread before.
fn sandbox(arguments: &[String]) -> ExitCode {
    let result = match arguments {
        [json] => host::sandbox::enter(json),
        _ => Err(Error::invalid_argument("__sandbox takes one argument")),
    };
    match result {
        Ok(code) => exit_code(code),
        Err(error) => {
            note(&error.chain());
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// Tells an error that ends the program.
pub(crate) fn complain(error: &Error) {
    note(&error.chain());
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn parse_and_run() -> ExitCode {
    let arguments = std::env::args_os().map(|argument| {
        // The spelling of help that REX-Ray's users know.
        if argument == "-?" { "--help".into() } else { argument }
    });
    match Cli::try_parse_from(act::spelled(arguments.collect())) {
        Ok(cli) => cli.run(),
        Err(error) => {
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

impl Cli {
    fn run(self) -> ExitCode {
        let output = self.command.output().resolved(self.global.color);
        // A format that makes no sense is refused before anything is done.
        let done = output.format().map_err(Into::into);
        match done.and_then(|_| self.command.run(&self.global, &output)) {
            Ok(code) => code,
            Err(failure) => {
                output.fail(&failure);
                ExitCode::from(failure.exit_code())
            }
        }
    }
}

impl Command {
    fn output(&self) -> Output {
        match self {
            Self::Volume(group) => group.output.clone(),
            Self::Snapshot(group) => group.output.clone(),
            Self::Driver(group) => group.output.clone(),
            Self::Plugin(group) => group.output(),
            Self::Act(act) => act.output.clone(),
            Self::Adapter(group) => group.output.clone(),
            Self::Version(version) => version.output.clone(),
            Self::Mounts(mounts) => mounts.output.clone(),
            Self::Config(group) => group.output.clone(),
            Self::Migrate(group) => group.output.clone(),
            Self::Doctor(doctor) => doctor.output.clone(),
            _ => Output::default(),
        }
    }

    fn run(&self, global: &Global, output: &Output) -> Outcome {
        match self {
            Self::Start(start) => start.run(global),
            Self::Engine(engine) => engine.run(global),
            Self::Volume(group) => block_on(group.run(global, output)),
            Self::Snapshot(group) => block_on(group.run(global, output)),
            Self::Driver(group) => block_on(group.run(global, output)),
            Self::Plugin(group) => block_on(group.run(output)),
            Self::Act(act) => block_on(act.run(global, output)),
            Self::Adapter(group) => block_on(group.run(global, output)),
            Self::Mounts(mounts) => block_on(mounts.run(global, output)),
            Self::Config(group) => group.run(global, output),
            Self::Doctor(doctor) => doctor.run(global, output),
            Self::EbsSim(sim) => sim.run(),
            Self::Migrate(group) => group.run(global, output),
            Self::Service(group) => group.run(),
            Self::Install(install) => install.run(),
            Self::Uninstall(uninstall) => uninstall.run(),
            Self::Stop(which) => which.stop(),
            Self::Restart(which) => which.restart(),
            Self::Status(which) => which.status(),
            Self::Version(version) => version.run(output),
            Self::Completion(completion) => completion.run(),
            Self::Demo => Ok(crate::demo::run().map(|()| ExitCode::SUCCESS)?),
        }
    }
}

impl Global {
    fn overrides(&self) -> Overrides {
        let file = self.config.clone();
        let file = file.or_else(|| variable("MOBULA_CONFIG").map(PathBuf::from));
        Overrides { file, set: self.set.clone() }
    }

    async fn open(&self, output: &Output) -> Result<Session> {
        let service = self.service.clone().or_else(|| variable("MOBULA_SERVICE"));
        Session::open(&self.overrides(), service, output.quiet).await
    }
}

pub(crate) fn runtime(threads: Option<usize>) -> Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().doing(|| "start the threads of this program")
}

fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    runtime(Some(2))?.block_on(work)
}

/// Reads `KEY=VALUE`.
fn pair(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> std::result::Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn global_flags_may_stand_anywhere() {
        for line in ["mobula -s x volume ls", "mobula volume -s x ls", "mobula volume ls -s x"] {
            assert_eq!(parse(line).unwrap().global.service.as_deref(), Some("x"), "{line}");
        }
    }

    #[test]
    fn the_words_of_rexray_are_understood() {
        for line in [
            "mobula volume l",
            "mobula volume list --attached",
            "mobula volume get --available --path",
            "mobula volume c a b --size 10 --fsType xfs --volumeType gp2 --iops 100",
            "mobula volume n a --availabilityZone x --encrypted --encryptionKey k",
            "mobula volume new a --snapshotID s --attach",
            "mobula volume create a --amount --continueOnError --dryRun",
            "mobula volume r a --force",
            "mobula volume remove a",
            "mobula volume delete a",
            "mobula volume del a",
            "mobula volume a a -i",
            "mobula volume d a -i",
            "mobula volume m a -i -f json",
            "mobula volume u a",
            "mobula volume umount a -n",
            "mobula adapter types",
            "mobula adapter ls",
            "mobula adapter list",
            "mobula install",
            "mobula uninstall",
            "mobula stop",
            "mobula restart",
            "mobula status",
            "mobula service install",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
    }

    #[test]
    fn a_pair_needs_a_key() {
        assert_eq!(pair("a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        assert!(pair("=x").is_err());
        assert!(pair("x").is_err());
    }

    #[test]
    fn every_command_says_what_it_is_for() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                let id = argument.get_id();
                assert!(argument.get_help().is_some(), "{} {id}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&command());
    }
}
