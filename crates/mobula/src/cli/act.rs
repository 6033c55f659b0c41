//! `mobula <driver> <action>`: what only some drivers do. The commands are made of the drivers'
//! descriptions; what an action means is the driver's own business.

mod show;
mod spelling;

use super::Global;
use crate::api::{ActionReport, AskAction, ServiceInfo, VolumeInfo};
use crate::cli::confirm::confirm;
use crate::cli::failure::Outcome;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::table::Cell;
use crate::cli::terminal::note;
use crate::cli::volume::title;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand};
use error::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use volume::driver::{Action, Spec, Subject};
use volume::options::parse_bool;
use volume::{OptionSpec, Unit, drivers};

pub(crate) use spelling::spelled;

/// The flag that answers the question before it is asked.
const YES: &str = "yes";

/// An action of a driver, as the command line asks for it.
#[derive(Debug)]
pub(crate) struct Act {
    driver: &'static str,
    action: &'static Action,
    asked: AskAction,
    /// Whoever asks at a terminal need not say yes once more.
    yes: bool,
    pub(crate) output: Output,
}

/// The drivers that have actions.
fn acting() -> impl Iterator<Item = &'static Spec> {
    drivers::ALL.into_iter().filter(|spec| !spec.actions.is_empty())
}

fn group(spec: &'static Spec) -> Command {
    let names: Vec<_> = spec.actions.iter().map(|action| action.name).collect();
    Output::augment_args(Command::new(spec.name))
        .about(format!("Do what only driver {} can: {}", spec.name, names.join(", ")))
        .after_help(format!(
            "Services with driver {} are meant; --service chooses one of several.\n\
             Progress is told on standard error.",
            spec.name
        ))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(spec.actions.iter().map(command))
}

fn command(action: &'static Action) -> Command {
    let about = action.help.trim_end_matches('.');
    let command = Command::new(action.name).about(about);
    let subject = |name: &'static str, help: &'static str| {
        Arg::new("subject").value_name(name).required(true).help(help)
    };
    let command = match action.subject {
        Subject::Service => command,
        Subject::Volume => command.arg(subject("VOLUME", "Name of the volume")),
        Subject::Snapshot => command.arg(subject("SNAPSHOT", "Name of the snapshot")),
    };
    let yes = action.order.map(|order| {
        let help = format!("With --{order}: do not ask at a terminal what it may cost");
        Arg::new(YES).long(YES).short('y').action(ArgAction::SetTrue).help(help)
    });
    command.args(action.options.iter().map(flag)).args(yes)
}

/// The flag of an option: by its own name, and in the spelling of other flags.
fn flag(option: &'static OptionSpec) -> Arg {
    let help = option.help.trim_end_matches('.');
    let default = option.default.map(|default| format!(" [default: {default}]"));
    let flag = Arg::new(option.name)
        .long(option.name)
        .value_name(value_name(option.unit))
        .help(format!("{help}{}", default.unwrap_or_default()));
    let flag = match option.unit {
        // A word behind it is its value only if it can be; see `spelled`.
        Unit::Bool => flag.num_args(0..=1).require_equals(true).default_missing_value("true"),
        _ => flag,
    };
    let kebab = spelling::kebab(option.name);
    if kebab == option.name { flag } else { flag.visible_alias(kebab) }
}

fn value_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Text => "TEXT",
        Unit::Size => "SIZE",
        Unit::Number => "NUMBER",
        Unit::Mode => "MODE",
        Unit::Bool => "BOOL",
        Unit::Path => "PATH",
        Unit::Choice(_) => "WORD",
        Unit::Words => "WORDS",
        Unit::List => "LIST",
    }
}

impl Subcommand for Act {
    fn augment_subcommands(root: Command) -> Command {
        root.subcommands(acting().map(group))
    }

    fn augment_subcommands_for_update(root: Command) -> Command {
        Self::augment_subcommands(root)
    }

    fn has_subcommand(name: &str) -> bool {
        acting().any(|spec| spec.name == name)
    }
}

impl FromArgMatches for Act {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let missing = || clap::Error::new(clap::error::ErrorKind::MissingSubcommand);
        let (driver, matches) = matches.subcommand().ok_or_else(missing)?;
        let spec = acting().find(|spec| spec.name == driver).ok_or_else(missing)?;
        let output = Output::from_arg_matches(matches)?;
        let (name, matches) = matches.subcommand().ok_or_else(missing)?;
        let action = spec.actions.iter().find(|action| action.name == name).ok_or_else(missing)?;
        let yes = action.order.is_some() && matches.get_flag(YES);
        let asked = asked(action, matches);
        Ok(Self { driver: spec.name, action, asked, yes, output })
    }

    fn update_from_arg_matches(
        &mut self,
        matches: &ArgMatches,
    ) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn asked(action: &Action, matches: &ArgMatches) -> AskAction {
    let subject = match action.subject {
        Subject::Service => None,
        Subject::Volume | Subject::Snapshot => matches.get_one::<String>("subject").cloned(),
    };
    let given = |option: &OptionSpec| {
        let value = matches.get_one::<String>(option.name)?;
        Some((option.name.to_owned(), value.clone()))
    };
    AskAction { subject, options: action.options.iter().filter_map(given).collect() }
}

impl Act {
    /// Has the action done, and shows its report.
    pub(crate) async fn run(&self, global: &Global, output: &Output) -> Outcome {
        let session = global.open(output).await?;
        let services: Vec<ServiceInfo> = session.get("listing services", "/v1/services").await?;
        let service = choose(&services, self.driver, session.service.as_deref())?;
        let report = match self.order() {
            Some(order) => self.act_by_order(order, &session, service).await?,
            None => session.act(service, self.action.name, &self.asked).await?,
        };
        show::report(output, &report)?;
        Ok(ExitCode::SUCCESS)
    }

    /// The option by which it is ordered whatever it costs, where somebody can be asked about that.
    fn order(&self) -> Option<&'static str> {
        let order = self.action.order?;
        let is_on = self.asked.options.get(order).and_then(|value| parse_bool(value))?;
        (is_on && !self.yes && std::io::stdin().is_terminal()).then_some(order)
    }

    /// Tries it without the order. What then stands in its way is what it may cost: the question.
    async fn act_by_order(
        &self,
        order: &str,
        session: &Session,
        service: &str,
    ) -> Result<ActionReport> {
        let mut careful = self.asked.clone();
        careful.options.remove(order);
        match session.act(service, self.action.name, &careful).await {
            Err(error) if error.kind() == Kind::FailedPrecondition => {
                note(&Cell::new(error.message(), None).shown(false));
            }
            done_or_failed => return done_or_failed,
        }
        if !confirm("Do it all the same?").await? {
            return Err(Error::aborted("not confirmed; nothing was done"));
        }
        session.act(service, self.action.name, &self.asked).await
    }
}

/// The service that is meant: the one that is `wanted`, or the only one of this driver.
fn choose<'a>(services: &'a [ServiceInfo], driver: &str, wanted: Option<&str>) -> Result<&'a str> {
    let own = services.iter().filter(|service| service.driver == driver);
    let own: Vec<&str> = own.map(|service| service.name.as_str()).collect();
    if own.is_empty() {
        return Err(Error::not_found(format!(
            "no service has driver {driver}; add one to the configuration, such as `services: \
             {{{driver}: {{driver: {driver}}}}}`, and have the agent read it: systemctl reload mobula"
        )));
    }
    let names = own.join(", ");
    match (wanted, own.as_slice()) {
        (Some(wanted), own) => own.iter().copied().find(|name| *name == wanted).ok_or_else(|| {
            let shown = wanted.escape_debug();
            Error::invalid_argument(format!(
                "\"{shown}\" is no service with driver {driver}; those are {names}"
            ))
        }),
        (None, [only]) => Ok(only),
        (None, _) => Err(Error::invalid_argument(format!(
            "several services have driver {driver}; choose one with --service: {names}"
        ))),
    }
}

/// Has the volume's driver move it to where this machine can reach it.
pub(crate) async fn move_here(session: &Session, volume: &VolumeInfo) -> Result<()> {
    let asked = AskAction { subject: Some(volume.name.clone()), options: BTreeMap::new() };
    let report = session.act(&volume.service, "move", &asked).await.map_err(|error| {
        if error.kind() != Kind::Unimplemented {
            return error;
        }
        Error::unimplemented(format!(
            "{} cannot be moved ({error}); leave out --move",
            title(volume)
        ))
    })?;
    for text in &report.notes {
        session.tell(&format!("{}: {text}", volume.name));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
