//! The hidden command that completion scripts call: the names that could stand at the cursor. What
//! belongs there is read off the command line itself, by the name of the argument's value.

use super::{Global, command, runtime};
use crate::api::{DriverInfo, ServiceInfo};
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::terminal::{Color, emit};
use clap::{Arg, Command};
use error::{Error, Result};
use std::process::ExitCode;
use std::time::Duration;

/// Nobody waits longer for a completion.
const DEADLINE: Duration = Duration::from_secs(3);

/// Prints the names that complete the last of `words`, the words after the program's name. Whatever
/// goes wrong, a shell in the middle of a line is no place to say so.
pub(crate) fn answer(words: &[String]) -> ExitCode {
    let mut command = command();
    command.build();
    let Some((value, words)) = sought(&command, words).zip(words.split_last()) else {
        return ExitCode::SUCCESS;
    };
    let names = names(&value, service(words.1)).unwrap_or_default();
    let fitting = names.into_iter().filter(|name| name.starts_with(words.0.as_str()));
    let _ = emit(&fitting.map(|name| name + "\n").collect::<String>());
    ExitCode::SUCCESS
}

/// The name of the value that the last of `words` is: `VOLUME`.
fn sought(root: &Command, words: &[String]) -> Option<String> {
    let (last, before) = words.split_last()?;
    let mut command = root;
    let mut position = 0;
    let mut before = before.iter();
    while let Some(word) = before.next() {
        if word.starts_with('-') && word.len() > 1 {
            let Some(flag) = flag_with_value(command, word) else { continue };
            if before.next().is_none() {
                return value_name(flag);
            }
        } else if let Some(verb) = command.find_subcommand(word).filter(|_| position == 0) {
            command = verb;
        } else {
            position += 1;
        }
    }
    if last.starts_with('-') {
        return None;
    }
    let positionals: Vec<&Arg> = command.get_positionals().collect();
    let argument = positionals.get(position).or_else(|| {
        let last = positionals.last();
        last.filter(|last| last.get_num_args().is_some_and(|count| count.max_values() > 1))
    });
    value_name(argument?)
}

/// The flag that `word` is, if its value is the next word.
pub(crate) fn flag_with_value<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let mut arguments = command.get_arguments();
    let flag = if let Some(long) = word.strip_prefix("--") {
        arguments.find(|argument| {
            let aliases = argument.get_all_aliases().unwrap_or_default();
            argument.get_long() == Some(long) || aliases.contains(&long)
        })
    } else {
        let short = word.chars().last();
        arguments.find(|argument| argument.get_short() == short)
    };
    flag.filter(|flag| flag.get_action().takes_values())
}

fn value_name(argument: &Arg) -> Option<String> {
    let names = argument.get_value_names()?;
    names.first().map(ToString::to_string)
}

/// The service that the line chooses.
fn service(words: &[String]) -> Option<String> {
    let mut pairs = words.windows(2);
    let chosen = pairs.find(|pair| pair[0] == "-s" || pair[0] == "--service");
    chosen.map(|pair| pair[1].clone())
}

fn names(value: &str, service: Option<String>) -> Result<Vec<String>> {
    if !["VOLUME", "SNAPSHOT", "SERVICE", "DRIVER"].contains(&value) {
        return Ok(Vec::new());
    }
    let global = Global { config: None, service, set: Vec::new(), color: Color::Never };
    let runtime = runtime(Some(1))?;
    let names = runtime.block_on(async {
        let asked = tokio::time::timeout(DEADLINE, ask(value, &global)).await;
        asked.unwrap_or_else(|_| Err(Error::deadline_exceeded("no answer in time")))
    });
    runtime.shutdown_background();
    names
}

async fn ask(value: &str, global: &Global) -> Result<Vec<String>> {
    let session: Session = global.open(&Output::names_only()).await?;
    Ok(match value {
        "VOLUME" => session.volumes().await?.entries.into_iter().map(|v| v.name).collect(),
        "SNAPSHOT" => session.snapshots().await?.entries.into_iter().map(|s| s.name).collect(),
        "SERVICE" => {
            let services: Vec<ServiceInfo> = session.get("", "/v1/services").await?;
            services.into_iter().map(|service| service.name).collect()
        }
        _ => {
            let drivers: Vec<DriverInfo> = session.get("", "/v1/drivers").await?;
            drivers.into_iter().map(|driver| driver.name).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sought_in(line: &str) -> Option<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut command = command();
        command.build();
        sought(&command, &words)
    }

    #[test]
    fn what_stands_at_the_cursor_is_known() {
        for (line, value) in [
            ("volume rm p", Some("VOLUME")),
            ("volume rm a b c", Some("VOLUME")),
            ("-s x volume umount ", Some("VOLUME")),
            ("volume mount --id x p", Some("VOLUME")),
            ("volume rm --force p", Some("VOLUME")),
            ("volume expand p", Some("VOLUME")),
            ("volume expand p 1", Some("SIZE")),
            ("volume ls -s ", Some("SERVICE")),
            ("volume create --snapshotID n", Some("SNAPSHOT")),
            ("snapshot restore n", Some("SNAPSHOT")),
            ("snapshot create p", Some("VOLUME")),
            ("driver inspect l", Some("DRIVER")),
            ("ebs move p", Some("VOLUME")),
            ("ebs move --zone x p", Some("VOLUME")),
            ("ebs fast-restore n", Some("SNAPSHOT")),
            ("volume rm --fo", None),
            ("volume r", None),
            ("", None),
        ] {
            assert_eq!(sought_in(line).as_deref(), value, "{line}");
        }
    }

    #[test]
    fn the_service_of_the_line_is_respected() {
        let words = ["volume", "-s", "x", "rm"].map(str::to_owned);
        assert_eq!(service(&words).as_deref(), Some("x"));
        assert_eq!(service(&words[..2]), None);
    }
}
