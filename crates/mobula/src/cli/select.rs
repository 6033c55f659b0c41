//! Which volumes or snapshots an argument means: ID, name, name in any case, the beginning of a
//! name, or `/regex/`.

use crate::api::{SnapshotInfo, VolumeInfo};
use error::{Error, Kind, Result};
use regex_lite::Regex;
use std::collections::HashSet;

/// Something that can be selected.
pub(crate) trait Candidate {
    /// What it is called in messages.
    const WHAT: &'static str;
    /// Its name.
    fn name(&self) -> &str;
    /// Its service.
    fn service(&self) -> &str;
    /// What else it is known by.
    fn id(&self) -> &str;
}

impl Candidate for VolumeInfo {
    const WHAT: &'static str = "volume";
    fn name(&self) -> &str {
        &self.name
    }
    fn service(&self) -> &str {
        &self.service
    }
    fn id(&self) -> &str {
        &self.id
    }
}

impl Candidate for SnapshotInfo {
    const WHAT: &'static str = "snapshot";
    fn name(&self) -> &str {
        &self.name
    }
    fn service(&self) -> &str {
        &self.service
    }
    fn id(&self) -> &str {
        &self.name
    }
}

/// How far an argument may be from a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The very name or ID.
    Exact,
    /// The whole name in any case; what destroys data never acts on less.
    Whole {
        /// Whether `/regex/` is accepted.
        regex: bool,
    },
    /// The beginning of a name, or `/regex/`.
    Partial,
}

type Rule = fn(&str, &str) -> bool;

const EXACT: Rule = |known, word| known == word;
const ANY_CASE: Rule = |known, word| known.eq_ignore_ascii_case(word);
const PREFIX: Rule = |known, word| known.starts_with(word);

/// What `word` means among `all`: one, except for a regex; none → `NotFound`.
pub(crate) fn select<'a, T: Candidate>(
    all: &'a [T],
    word: &str,
    reach: Reach,
) -> Result<Vec<&'a T>> {
    if let Some(pattern) = pattern(word) {
        return select_regex(all, word, pattern, reach);
    }
    let rules: &[Rule] = match reach {
        Reach::Exact => &[EXACT],
        Reach::Whole { .. } => &[EXACT, ANY_CASE],
        Reach::Partial => &[EXACT, ANY_CASE, PREFIX],
    };
    for rule in rules {
        let matches = matching(all, word, *rule);
        match matches.len() {
            0 => {}
            1 => return Ok(matches),
            _ => return Err(ambiguous(word, &matches)),
        }
    }
    Err(not_found(all, word))
}

/// What each of `words` means, every entry once, with the errors in their places; `forgives` words
/// that mean nothing.
pub(crate) fn select_each<'a, T: Candidate>(
    all: &'a [T],
    words: &[String],
    reach: Reach,
    forgives: bool,
) -> Vec<Result<&'a T>> {
    let mut selected: Vec<Result<&T>> = Vec::new();
    let mut seen = HashSet::new();
    for word in words {
        match select(all, word, reach) {
            Ok(entries) => {
                let fresh = entries
                    .into_iter()
                    .filter(|entry| seen.insert((entry.service(), entry.name())));
                selected.extend(fresh.map(Ok));
            }
            Err(error) if forgives && error.kind() == Kind::NotFound => {}
            Err(error) => selected.push(Err(error)),
        }
    }
    selected
}

/// The same entries, or the first error.
pub(crate) fn all_or_none<T>(selected: Vec<Result<&T>>) -> Result<Vec<Result<&T>>> {
    let entries: Vec<&T> = selected.into_iter().collect::<Result<_>>()?;
    Ok(entries.into_iter().map(Ok).collect())
}

fn pattern(word: &str) -> Option<&str> {
    word.strip_prefix('/')?.strip_suffix('/').filter(|pattern| !pattern.is_empty())
}

fn matching<'a, T: Candidate>(all: &'a [T], word: &str, rule: Rule) -> Vec<&'a T> {
    if word.is_empty() {
        return Vec::new();
    }
    let by_id: Vec<_> = all.iter().filter(|entry| rule(entry.id(), word)).collect();
    if by_id.len() == 1 {
        return by_id;
    }
    all.iter().filter(|entry| rule(entry.name(), word) || rule(entry.id(), word)).collect()
}

fn select_regex<'a, T: Candidate>(
    all: &'a [T],
    word: &str,
    pattern: &str,
    reach: Reach,
) -> Result<Vec<&'a T>> {
    if matches!(reach, Reach::Exact | Reach::Whole { regex: false }) {
        return Err(Error::invalid_argument(format!(
            "\"{}\" may match more than is meant; see what it matches with --dry-run, then give \
             names, or --force",
            shown(word)
        )));
    }
    let regex = Regex::new(pattern).map_err(|error| {
        Error::invalid_argument(format!("\"{}\" is no regular expression", shown(word)))
            .because(error)
    })?;
    let fits = |entry: &&T| regex.is_match(entry.name()) || regex.is_match(entry.id());
    let matches: Vec<_> = all.iter().filter(fits).collect();
    if matches.is_empty() { Err(not_found(all, word)) } else { Ok(matches) }
}

fn ambiguous<T: Candidate>(word: &str, matches: &[&T]) -> Error {
    let word = shown(word);
    let same_name = matches.iter().all(|entry| entry.name() == matches[0].name());
    if same_name {
        let services: Vec<_> = matches.iter().map(|entry| entry.service()).collect();
        return Error::invalid_argument(format!(
            "\"{word}\" is a {} of each of the services {}; choose one with --service",
            T::WHAT,
            enumerate(&services)
        ));
    }
    let names: Vec<_> = matches.iter().map(|entry| entry.name()).collect();
    Error::invalid_argument(format!(
        "\"{word}\" could be {}; give more of the name",
        enumerate(&names)
    ))
}

fn not_found<T: Candidate>(all: &[T], word: &str) -> Error {
    let (what, word) = (T::WHAT, shown(word));
    let longer = matching(all, &word, PREFIX);
    if longer.is_empty() {
        return Error::not_found(format!(
            "no {what} matches \"{word}\"; `mobula {what} ls` shows those there are"
        ));
    }
    let names: Vec<_> = longer.iter().map(|entry| entry.name()).collect();
    Error::not_found(format!(
        "no {what} is called \"{word}\", and only whole names are accepted here; {} \
         would be the longer name",
        enumerate(&names)
    ))
}

fn enumerate(words: &[&str]) -> String {
    const MOST: usize = 10;
    let mut text = words.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    if words.len() > MOST {
        text.push_str(&format!(" and {} more", words.len() - MOST));
    }
    text
}

fn shown(word: &str) -> String {
    word.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(&'static str, &'static str, &'static str);

    impl Candidate for Thing {
        const WHAT: &'static str = "volume";
        fn name(&self) -> &str {
            self.0
        }
        fn service(&self) -> &str {
            self.1
        }
        fn id(&self) -> &str {
            self.2
        }
    }

    const THINGS: [Thing; 6] = [
        Thing("pgdata", "s", "vol-1"),
        Thing("pgdata-2", "s", "vol-2"),
        Thing("Logs", "s", "vol-3"),
        Thing("media", "s", "vol-4"),
        Thing("twin", "s", "twin"),
        Thing("twin", "t", "twin"),
    ];

    fn names(word: &str, reach: Reach) -> Result<Vec<&'static str>> {
        select(&THINGS, word, reach).map(|found| found.iter().map(|thing| thing.0).collect())
    }

    #[test]
    fn an_exact_name_wins_over_longer_ones() {
        assert_eq!(names("pgdata", Reach::Partial).unwrap(), ["pgdata"]);
    }

    #[test]
    fn an_id_is_as_good_as_a_name() {
        assert_eq!(names("vol-4", Reach::Exact).unwrap(), ["media"]);
    }

    #[test]
    fn case_does_not_matter_when_nothing_matches_exactly() {
        assert_eq!(names("logs", Reach::Whole { regex: false }).unwrap(), ["Logs"]);
        assert_eq!(names("logs", Reach::Exact).unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn a_unique_beginning_is_enough() {
        assert_eq!(names("me", Reach::Partial).unwrap(), ["media"]);
    }

    #[test]
    fn an_ambiguous_beginning_lists_what_it_could_be() {
        let error = names("pg", Reach::Partial).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert_eq!(error.message(), "\"pg\" could be pgdata, pgdata-2; give more of the name");
    }

    #[test]
    fn a_beginning_is_no_whole_name() {
        let error = names("med", Reach::Whole { regex: true }).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.message().contains("media"), "{error}");
    }

    #[test]
    fn the_same_name_in_two_services_asks_for_the_service() {
        let error = names("twin", Reach::Partial).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert!(error.message().contains("--service"), "{error}");
    }

    #[test]
    fn a_regex_selects_all_that_it_matches() {
        assert_eq!(names("/^pg.*/", Reach::Partial).unwrap(), ["pgdata", "pgdata-2"]);
        assert_eq!(names("/^x/", Reach::Partial).unwrap_err().kind(), Kind::NotFound);
        assert_eq!(names("/(/", Reach::Partial).unwrap_err().kind(), Kind::InvalidArgument);
    }

    #[test]
    fn a_regex_is_refused_where_only_whole_names_are_accepted() {
        let error = names("/pg/", Reach::Whole { regex: false }).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert!(error.message().contains("--dry-run"), "{error}");
    }

    #[test]
    fn nothing_that_matches_says_where_to_look() {
        let error = names("x", Reach::Partial).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(
            error.message(),
            "no volume matches \"x\"; `mobula volume ls` shows those there are"
        );
        assert!(names("", Reach::Partial).is_err());
    }

    fn each(words: &[&str], forgives: bool) -> Vec<Result<&'static str>> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let selected = select_each(&THINGS, &words, Reach::Partial, forgives);
        selected.into_iter().map(|found| found.map(|thing| thing.0)).collect()
    }

    #[test]
    fn an_entry_is_selected_once_however_often_it_is_meant() {
        let names: Vec<_> = each(&["media", "/^[lm]/", "MEDIA", "logs"], false)
            .into_iter()
            .collect::<Result<_>>()
            .unwrap();
        assert_eq!(names, ["media", "Logs"]);
    }

    #[test]
    fn a_missing_entry_is_forgiven_only_on_demand() {
        assert_eq!(each(&["x", "media"], true).len(), 1);
        let strict = each(&["x", "media"], false);
        assert_eq!(strict[0].as_ref().unwrap_err().kind(), Kind::NotFound);
        assert_eq!(strict[1].as_ref().unwrap(), &"media");
    }
}
