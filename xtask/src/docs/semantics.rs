//! The promises of `docs/semantics.md`: each list item names, in backticks, a test that exists, as
//! `test_name` or `path::to::test_name`. Whatever looks like the name of a test must be one. What the
//! page says that it does not promise needs no test.

use crate::workspace;
use error::{Error, Result};
use std::collections::BTreeSet;
use std::path::Path;

const PAGE: &str = "docs/semantics.md";
/// The heading of what needs no test.
const NOT_PROMISED: &str = "What is not promised";
/// Where functions are looked for.
const SOURCES: [&str; 2] = ["crates", "xtask"];
/// Identifiers of so many words are sentences, and sentences are tests.
const SENTENCE: usize = 4;

/// Fails with every list item that names no test, and every test that does not exist.
pub(super) fn check(root: &Path) -> Result<()> {
    let functions = functions(root)?;
    let problems = problems(&workspace::read(&root.join(PAGE))?, &functions);
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::failed_precondition(format!("{PAGE}:\n{}", problems.join("\n"))))
}

/// The names of all functions of the workspace.
fn functions(root: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for dir in SOURCES {
        for path in workspace::sources(&root.join(dir))? {
            found.extend(functions_in(&workspace::read(&path)?).map(str::to_owned));
        }
    }
    Ok(found)
}

fn functions_in(text: &str) -> impl Iterator<Item = &str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let names = code.flat_map(|line| line.split("fn ").skip(1));
    names.map(|rest| rest.split(|c: char| !is_word(c)).next().unwrap_or_default())
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn problems(text: &str, functions: &BTreeSet<String>) -> Vec<String> {
    let items = items(text);
    if !items.iter().any(|item| item.is_promise) {
        return vec!["it has no list item that promises something".to_owned()];
    }
    items.iter().flat_map(|item| problems_of(item, functions)).collect()
}

fn problems_of(item: &Item, functions: &BTreeSet<String>) -> Vec<String> {
    let Item { line, text, is_promise } = item;
    let names: Vec<&str> = text.split('`').skip(1).step_by(2).filter_map(identifier).collect();
    let lost = |name: &&&str| name.split('_').count() >= SENTENCE && !functions.contains(**name);
    let mut problems: Vec<String> =
        names.iter().filter(lost).map(|name| format!("line {line}: no test `{name}`")).collect();
    if *is_promise && problems.is_empty() && !names.iter().any(|name| functions.contains(*name)) {
        let begin: String = text.chars().take(60).collect();
        problems.push(format!("line {line}: names no test that exists: {begin}"));
    }
    problems
}

/// The last part of a path of words.
fn identifier(code: &str) -> Option<&str> {
    let name = code.rsplit("::").next()?;
    (!name.is_empty() && name.chars().all(is_word)).then_some(name)
}

/// A list item, on one line.
struct Item {
    /// Where it begins.
    line: usize,
    text: String,
    is_promise: bool,
}

/// The list items of a Markdown text.
fn items(text: &str) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let (mut is_open, mut is_code, mut is_promise) = (false, false, true);
    for (line, text) in (1..).zip(text.lines().map(str::trim)) {
        if text.starts_with("```") {
            is_code = !is_code;
        } else if is_code {
            continue;
        } else if let Some(text) = item_start(text) {
            items.push(Item { line, text: text.to_owned(), is_promise });
            is_open = true;
        } else if text.starts_with('#') {
            is_promise = text.trim_start_matches(['#', ' ']) != NOT_PROMISED;
            is_open = false;
        } else if text.is_empty() {
            is_open = false;
        } else if is_open && let Some(item) = items.last_mut() {
            item.text.push(' ');
            item.text.push_str(text);
        }
    }
    items
}

/// What follows `- `, `* ` or `1. `.
fn item_start(line: &str) -> Option<&str> {
    let numbered = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = (numbered.len() < line.len()).then(|| numbered.strip_prefix(". ")).flatten();
    line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")).or(numbered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_in(text: &str) -> Vec<String> {
        let known = ["is_found", "a_lost_volume_is_found_again"].map(str::to_owned);
        problems(text, &BTreeSet::from(known))
    }

    #[test]
    fn every_sentence_of_the_semantics_names_a_test_that_exists() {
        check(&workspace::root()).unwrap();
    }

    #[test]
    fn a_test_is_named_alone_or_with_its_path() {
        let text =
            "# Head\n\n- It is found: `is_found`.\n1. So is\n   this: `a::b::is_found`, `size`.\n";
        assert_eq!(problems_in(text), [""; 0]);
    }

    #[test]
    fn an_item_without_a_test_is_told_with_its_line() {
        let problems = problems_in("- Fine: `is_found`.\n- It never\n  fails, with `size`.\n");
        assert_eq!(problems, ["line 2: names no test that exists: It never fails, with `size`."]);
    }

    #[test]
    fn a_test_that_was_renamed_is_told_even_beside_another() {
        let problems = problems_in("- Fine: `is_found`, `a_volume_is_never_lost`.\n");
        assert_eq!(problems, ["line 1: no test `a_volume_is_never_lost`"]);
    }

    #[test]
    fn what_is_not_promised_needs_no_test_but_names_none_that_is_lost() {
        let text =
            "## What is not promised\n\n- Luck.\n- `a_volume_is_never_lost`\n\n## More\n- Luck.\n";
        let problems = problems_in(text);
        assert_eq!(problems[0], "line 4: no test `a_volume_is_never_lost`");
        assert_eq!(problems[1..], ["line 7: names no test that exists: Luck."]);
    }

    #[test]
    fn a_page_without_promises_is_refused() {
        assert_eq!(problems_in("Just words.\n\n```sh\n- x\n```\n").len(), 1);
    }

    #[test]
    fn a_page_that_is_not_there_is_refused() {
        let root = tempfile::tempdir().unwrap();
        for dir in SOURCES {
            std::fs::create_dir(root.path().join(dir)).unwrap();
        }
        assert_eq!(check(root.path()).expect_err("missing").kind(), error::Kind::NotFound);
    }

    #[test]
    fn functions_are_found_in_code_only() {
        let text = "// fn not_me()\n    async fn one<T>() {}\nfn two() -> fn() {}\n";
        let found: Vec<_> = functions_in(text).filter(|name| !name.is_empty()).collect();
        assert_eq!(found, ["one", "two"]);
    }
}
