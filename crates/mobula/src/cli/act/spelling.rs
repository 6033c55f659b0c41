//! How the flags of actions may be written: in any case of letters and with hyphens, and a switch
//! with its value behind it. The command line itself knows one spelling.

use super::acting;
use crate::cli::command;
use crate::cli::complete::flag_with_value;
use clap::{Arg, Command};
use std::ffi::OsString;
use volume::options::parse_bool;

/// `pricePerGiB` → `price-per-gib`.
pub(super) fn kebab(name: &str) -> String {
    let mut kebab = String::with_capacity(name.len() + 4);
    let (mut before, mut rest) = (None::<char>, name.chars().peekable());
    while let Some(letter) = rest.next() {
        // A single capital at the end belongs to the word before it.
        let begins = letter.is_ascii_uppercase() && rest.peek().is_some();
        if begins && before.is_some_and(|before| before.is_ascii_lowercase()) {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
        before = Some(letter);
    }
    kebab
}

/// The arguments of the program, flags of actions in the spelling that the command line knows.
pub(crate) fn spelled(arguments: Vec<OsString>) -> Vec<OsString> {
    let is_driver = |word: &OsString| acting().any(|spec| *word == *spec.name);
    if !arguments.iter().any(is_driver) {
        return arguments;
    }
    let mut root = command();
    root.build();
    let Some((action, at)) = find_action(&root, &arguments) else { return arguments };
    let (before, after) = arguments.split_at(at);
    let mut spelled = before.to_vec();
    let mut words = after.iter().peekable();
    while let Some(word) = words.next() {
        let Some(flag) = word.to_str().and_then(|word| flag(action, word)) else {
            spelled.push(word.clone());
            if word == "--" {
                break;
            }
            continue;
        };
        let next = words.next_if(|next| flag.is_switch && is_bool(next));
        spelled.push(flag.text.into());
        if let (Some(value), Some(text)) = (next, spelled.last_mut()) {
            text.push("=");
            text.push(value);
        }
    }
    spelled.extend(words.cloned());
    spelled
}

fn is_bool(word: &OsString) -> bool {
    word.to_str().is_some_and(|word| parse_bool(word).is_some())
}

/// The action that the arguments name, and where what belongs to it begins.
fn find_action<'a>(root: &'a Command, arguments: &[OsString]) -> Option<(&'a Command, usize)> {
    let mut command = root;
    let mut at = 1;
    while let Some(word) = arguments.get(at).and_then(|word| word.to_str()) {
        at += 1;
        if word.starts_with('-') && word.len() > 1 {
            at += usize::from(flag_with_value(command, word).is_some());
            continue;
        }
        let is_root = std::ptr::eq(command, root);
        if is_root && !acting().any(|spec| spec.name == word) {
            return None;
        }
        command = command.find_subcommand(word)?;
        if !is_root {
            return Some((command, at));
        }
    }
    None
}

struct Flag {
    /// As the command line knows it, with its value when that is in the same word.
    text: String,
    /// Its value may be left out.
    is_switch: bool,
}

/// The option of `action` that `word` means.
fn flag(action: &Command, word: &str) -> Option<Flag> {
    let word = word.strip_prefix("--")?;
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let plain = |name: &str| name.replace('-', "").to_ascii_lowercase();
    let long = |argument: &&Arg| argument.get_long().is_some_and(|long| plain(long) == plain(name));
    let argument =
        action.get_arguments().filter(|argument| !argument.is_global_set()).find(long)?;
    let long = argument.get_long()?;
    if long == "help" || long == "version" {
        return None;
    }
    let text = value.map_or_else(|| format!("--{long}"), |value| format!("--{long}={value}"));
    let is_switch = value.is_none() && argument.is_require_equals_set();
    Some(Flag { text, is_switch })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn respelled(line: &str) -> String {
        let words = spelled(line.split(' ').map(OsString::from).collect());
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn names_become_words_with_hyphens() {
        for (name, expected) in [
            ("pricePerGiB", "price-per-gib"),
            ("snapshotPricePerGiB", "snapshot-price-per-gib"),
            ("encryptionKey", "encryption-key"),
            ("snapshotID", "snapshot-id"),
            ("zone", "zone"),
        ] {
            assert_eq!(kebab(name), expected);
        }
    }

    #[test]
    fn flags_of_actions_mind_neither_case_nor_hyphens() {
        for (line, expected) in [
            ("m ebs orphans --Days 3", "m ebs orphans --days 3"),
            ("m ebs orphans --pricepergib=1", "m ebs orphans --pricePerGiB=1"),
            ("m ebs orphans --price-per-gi-b 1", "m ebs orphans --pricePerGiB 1"),
            ("m -s x ebs --json orphans --DAYS 3", "m -s x ebs --json orphans --days 3"),
            (
                "m --set a=b ebs modify pg --VolumeType gp3",
                "m --set a=b ebs modify pg --volumeType gp3",
            ),
        ] {
            assert_eq!(respelled(line), expected, "{line}");
        }
    }

    #[test]
    fn a_switch_takes_the_word_behind_it_only_when_that_says_yes_or_no() {
        for (line, expected) in [
            ("m ebs take pg --force true", "m ebs take pg --force=true"),
            ("m ebs take --FORCE no pg", "m ebs take --force=no pg"),
            ("m ebs take --force pg", "m ebs take --force pg"),
            ("m ebs take pg --force=true", "m ebs take pg --force=true"),
        ] {
            assert_eq!(respelled(line), expected, "{line}");
        }
    }

    #[test]
    fn nothing_else_is_respelled() {
        for line in [
            "m volume create ebs --FsType xfs",
            "m volume ls ebs orphans --Days",
            "m ebs take -- --FORCE",
            "m ebs --Json orphans",
            "m ebs",
            "m",
        ] {
            assert_eq!(respelled(line), line);
        }
    }
}
