//! `cargo xtask docs`: what can be generated is. `--check` compares, and looks whether every sentence
//! of the semantics names a test that exists.

mod config;
mod drivers;
mod semantics;

use crate::workspace;
use clap::Args;
use error::{Error, IoContext, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use utoipa::OpenApi;

/// Write the generated documents.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Write nothing: fail when a document is not what the program says now.
    #[arg(long)]
    check: bool,
}

impl Arguments {
    /// Writes or checks.
    pub(crate) fn run(&self) -> Result<()> {
        let root = workspace::root();
        if !self.check {
            return write(&root);
        }
        let problems: Vec<String> =
            [check_pages(&root), semantics::check(&root)].into_iter().filter_map(told).collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::failed_precondition(problems.join("\n")))
    }
}

fn told(checked: Result<()>) -> Option<String> {
    checked.err().map(|error| error.to_string())
}

/// The generated pages, by path within the workspace.
fn pages() -> Result<BTreeMap<PathBuf, String>> {
    let mut pages = drivers::pages();
    let interface = mobula::rest::Description::openapi().to_pretty_json();
    let interface =
        interface.map_err(|source| Error::internal("encode the API").because(source))? + "\n";
    pages.insert("docs/openapi.json".into(), interface);
    pages.insert("docs/cli.md".into(), mobula::cli::reference::reference());
    pages.insert("docs/config.md".into(), config::page());
    pages.insert("docs/mobula.schema.json".into(), config::schema()?);
    Ok(pages)
}

fn write(root: &Path) -> Result<()> {
    for (path, text) in pages()? {
        if std::fs::read_to_string(root.join(&path)).is_ok_and(|old| old == text) {
            continue;
        }
        workspace::write(&root.join(&path), &text)?;
        println!("wrote {}", path.display());
    }
    for path in orphans(root)? {
        let whole = root.join(&path);
        std::fs::remove_file(&whole).doing(|| format!("remove {}", whole.display()))?;
        println!("removed {}", path.display());
    }
    Ok(())
}

/// Fails with the names of the pages that are not what the program says.
fn check_pages(root: &Path) -> Result<()> {
    let pages = pages()?.into_iter();
    let is_stale = |(path, text): &(PathBuf, String)| {
        std::fs::read_to_string(root.join(path)).ok().as_ref() != Some(text)
    };
    let mut stale: Vec<PathBuf> = pages.filter(is_stale).map(|(path, _)| path).collect();
    stale.extend(orphans(root)?);
    if stale.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = stale.iter().map(|path| path.display().to_string()).collect();
    Err(Error::failed_precondition(format!(
        "out of date: {}; run `cargo xtask docs` and commit the result",
        names.join(", ")
    )))
}

/// Pages of drivers that there are no more.
fn orphans(root: &Path) -> Result<Vec<PathBuf>> {
    let (dir, known) = (Path::new(drivers::DIR), drivers::pages());
    let Ok(entries) = std::fs::read_dir(root.join(dir)) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries {
        let path = dir.join(entry.doing(|| format!("list {}", dir.display()))?.file_name());
        if !known.contains_key(&path) {
            found.push(path);
        }
    }
    Ok(found)
}

/// A cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ")
}

/// The same as code; nothing stays nothing.
fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", text.replace('|', "\\|")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_docs_are_fresh() {
        check_pages(&workspace::root()).unwrap();
    }

    #[test]
    fn a_stale_a_missing_and_an_orphaned_page_are_named() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in pages().unwrap() {
            workspace::write(&root.path().join(path), &text).unwrap();
        }
        check_pages(root.path()).expect("fresh");
        let page = |name: &str| root.path().join("docs").join(name);
        std::fs::write(page("cli.md"), "old").unwrap();
        std::fs::remove_file(page("config.md")).unwrap();
        std::fs::write(page("drivers/gone.md"), "old").unwrap();
        let error = check_pages(root.path()).expect_err("stale").to_string();
        for name in ["docs/cli.md", "docs/config.md", "docs/drivers/gone.md", "cargo xtask docs"] {
            assert!(error.contains(name), "{name}: {error}");
        }
        assert!(!error.contains("openapi.json"), "{error}");
        write(root.path()).unwrap();
        check_pages(root.path()).expect("mended");
    }
}
