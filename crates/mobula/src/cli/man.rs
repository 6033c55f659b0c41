//! Manual pages of every command, for packages.

use super::command;
use clap::Command;
use error::{IoContext, Result};

/// The pages of section 1, by file name: `mobula.1`, `mobula-volume-create.1` …
pub fn pages() -> Result<Vec<(String, Vec<u8>)>> {
    let mut root = command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    page(&root, &mut pages)?;
    Ok(pages)
}

fn page(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let man = clap_mangen::Man::new(command.clone()).manual("Mobula").date("");
    let man = man.source(format!("mobula {}", crate::VERSION));
    let mut text = Vec::new();
    man.render(&mut text).doing(|| format!("write the manual page of {name}"))?;
    pages.push((format!("{name}.1"), text));
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        page(verb, pages)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_visible_command_has_a_page_and_no_hidden_one() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["mobula.1", "mobula-volume.1", "mobula-volume-create.1", "mobula-start.1"] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
        assert!(!names.iter().any(|name| name.contains("adapter")), "{names:?}");
    }

    #[test]
    fn a_page_says_the_same_whenever_it_is_made() {
        let page = String::from_utf8(pages().unwrap().remove(0).1).unwrap();
        let title = page.lines().find(|line| line.starts_with(".TH")).unwrap();
        assert_eq!(title, format!(".TH mobula 1  \"mobula {}\" Mobula", crate::VERSION));
    }
}
