//! The reference of the command line, as Markdown.

use super::command;
use clap::builder::StyledStr;
use clap::{Arg, Command};
use std::fmt::Write;

const PREFACE: &str = "\
# Command line

Generated from the program. Every command also explains itself: `mobula COMMAND --help`.
";

/// Every command with its arguments and flags.
pub fn reference() -> String {
    let mut root = command().term_width(0).disable_help_subcommand(true);
    root.build();
    let mut text = PREFACE.to_owned();
    section(&mut text, &root, None, 2);
    text
}

fn section(text: &mut String, command: &Command, parent: Option<&Command>, level: usize) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let _ = writeln!(text, "\n{} {name}\n", "#".repeat(level));
    if let Some(about) = command.get_about() {
        let _ = writeln!(text, "{}\n", sentence(about));
    }
    let usage = command.clone().render_usage().to_string();
    let _ = writeln!(text, "```text\n{}\n```", usage.trim_start_matches("Usage: ").trim());
    aliases(text, command);
    arguments(text, command, parent);
    if let Some(after) = command.get_after_help() {
        let _ = writeln!(text, "\n```text\n{after}\n```");
    }
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        section(text, verb, Some(command), (level + 1).min(3));
    }
}

fn aliases(text: &mut String, command: &Command) {
    let aliases: Vec<_> = command.get_visible_aliases().map(|alias| format!("`{alias}`")).collect();
    if !aliases.is_empty() {
        let _ = writeln!(text, "\nAlso called {}.", aliases.join(", "));
    }
}

fn arguments(text: &mut String, command: &Command, parent: Option<&Command>) {
    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && !is_inherited(argument, parent))
        .collect();
    if own.is_empty() {
        return;
    }
    text.push_str("\n| argument | meaning |\n|---|---|\n");
    for argument in own {
        let help = argument.get_help().map(sentence).unwrap_or_default();
        let choices = choices(argument);
        let _ = writeln!(text, "| {} | {}{choices} |", cell(&spelling(argument)), escape(&help));
    }
}

/// A help text with the full stop that it does not have on a terminal.
fn sentence(help: &StyledStr) -> String {
    format!("{}.", help.to_string().trim_end_matches('.'))
}

/// A flag of every command is explained where it is defined; `--help` and `--version` nowhere.
fn is_inherited(argument: &Arg, parent: Option<&Command>) -> bool {
    let id = argument.get_id();
    let is_everywhere = id == "help" || id == "version";
    let of_parent = |parent: &Command| {
        argument.is_global_set() && parent.get_arguments().any(|known| known.get_id() == id)
    };
    is_everywhere || parent.is_some_and(of_parent)
}

fn choices(argument: &Arg) -> String {
    if !argument.get_action().takes_values() {
        return String::new();
    }
    let values = argument.get_possible_values();
    let names: Vec<_> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
    if names.is_empty() { String::new() } else { format!(" One of {}.", names.join(", ")) }
}

/// `-f, --format FORMAT`.
fn spelling(argument: &Arg) -> String {
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let aliases = argument.get_visible_aliases().unwrap_or_default();
    let aliases = aliases.into_iter().map(|alias| format!("--{alias}"));
    let flags: Vec<String> = short.into_iter().chain(long).chain(aliases).collect();
    let value = argument.get_value_names().and_then(|names| names.first());
    let value = value.filter(|_| argument.get_action().takes_values());
    let value = value.map(ToString::to_string).unwrap_or_default();
    format!("{} {value}", flags.join(", ")).trim().to_owned()
}

fn cell(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_visible_command_has_a_section() {
        let text = reference();
        for heading in ["## mobula", "### mobula volume create", "### mobula mounts"] {
            assert!(text.contains(&format!("\n{heading}\n")), "{heading}\n{text}");
        }
        assert!(!text.contains("adapter"), "hidden commands stay hidden");
    }

    #[test]
    fn a_global_flag_is_explained_once() {
        assert_eq!(reference().matches("| `-s, --service SERVICE`").count(), 1);
    }
}
