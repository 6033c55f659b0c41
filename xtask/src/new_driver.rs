//! `cargo xtask new-driver NAME`: a copy of the smallest driver under another name, and its two lines
//! in the list of drivers.

use crate::{program, workspace};
use clap::Args;
use error::{Error, Result};
use std::path::{Path, PathBuf};

/// Begin a driver: a copy of the smallest one, and its two lines in the list.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What users will call it: small letters, digits and _, a letter first.
    name: String,
}

/// Where drivers are, within the workspace.
const DIR: &str = "crates/volume/src/drivers";
/// The driver that is copied.
const TEMPLATE: &str = "memory";
/// Rust's keywords that such a name could be; `loop` is taken anyway.
const KEYWORDS: [&str; 40] = [
    "as", "async", "await", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "pub", "ref", "return", "self", "static", "struct", "super",
    "trait", "try", "type", "use", "where", "while",
];

impl Arguments {
    /// Makes the driver and says what to do next.
    pub(crate) fn run(&self) -> Result<()> {
        let path = make(&workspace::root(), &self.name)?;
        println!(
            "made {path}, listed in {DIR}/mod.rs\n\n\
             next:\n  \
             1. say in SPEC what its volumes are, and which options they have\n  \
             2. replace what the methods do; a cloud gets a fake server in crates/testkit\n  \
             3. cargo test --workspace runs the conformance suite over it\n  \
             4. cargo xtask docs writes its page",
            path = path.display()
        );
        Ok(())
    }
}

/// Adds driver `name` to the workspace at `root`; answers its file within it.
fn make(root: &Path, name: &str) -> Result<PathBuf> {
    check_name(name)?;
    let dir = root.join(DIR);
    let (path, list) = (dir.join(format!("{name}.rs")), dir.join("mod.rs"));
    let listed = workspace::read(&list)?;
    if path.exists() || modules(&listed).any(|module| module == name) {
        return Err(Error::already_exists(format!(
            "there is a driver {name} already; choose another name, or edit {DIR}/{name}.rs"
        )));
    }
    let template = workspace::read(&dir.join(format!("{TEMPLATE}.rs")))?;
    let driver = formatted(&renamed(&template, name)?)?;
    let listed = formatted(&enlisted(&listed, name)?)?;
    workspace::write(&path, &driver)?;
    workspace::write(&list, &listed)?;
    Ok(Path::new(DIR).join(format!("{name}.rs")))
}

fn check_name(name: &str) -> Result<()> {
    let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins || !name.chars().all(is_fine) || name.ends_with('_') || name.contains("__") {
        return Err(Error::invalid_argument(format!(
            "{name:?} cannot be a driver's name: give small letters, digits and single _ between \
             them, a letter first"
        )));
    }
    if KEYWORDS.contains(&name) {
        return Err(Error::invalid_argument(format!(
            "{name} is a word of the Rust language; choose another name"
        )));
    }
    Ok(())
}

/// The names of the modules in the list of drivers.
fn modules(list: &str) -> impl Iterator<Item = &str> {
    let lines = list.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    lines.map(|module| module.trim_start_matches("r#"))
}

/// The template's text under the name of the new driver.
fn renamed(template: &str, name: &str) -> Result<String> {
    let code_begins = template.find("\nuse ").ok_or_else(|| unknown("its first `use`"))?;
    let head =
        format!("//! Driver `{name}`: say here what its volumes are, and where they live.\n");
    let mut text = head + &template[code_begins..];
    let (old, new) = (camel_case(TEMPLATE), camel_case(name));
    text = replaced(&text, &format!("name: \"{TEMPLATE}\""), &format!("name: \"{name}\""))?;
    text = replaced(&text, &format!("struct {old} "), &format!("struct {new} "))?;
    text = replace_words(&text, &old, &new);
    text = with_field(&text, "summary", "what its volumes are, on one line")?;
    with_field(&text, "description", "What a user must know before choosing it.")
}

fn replaced(text: &str, old: &str, new: &str) -> Result<String> {
    if text.contains(old) { Ok(text.replace(old, new)) } else { Err(unknown(&format!("`{old}`"))) }
}

fn unknown(what: &str) -> Error {
    Error::failed_precondition(format!(
        "{DIR}/{TEMPLATE}.rs does not have {what} any more; mend xtask/src/new_driver.rs"
    ))
}

/// Replaces `old` where it is a whole identifier.
fn replace_words(text: &str, old: &str, new: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(old) {
        let (before, after) = (&rest[..at], &rest[at + old.len()..]);
        let whole = !before.ends_with(is_word) && !after.starts_with(is_word);
        result.push_str(before);
        result.push_str(if whole { new } else { old });
        rest = after;
    }
    result + rest
}

/// Gives the string field `name` of the description another value.
fn with_field(text: &str, name: &str, value: &str) -> Result<String> {
    let begin = format!("    {name}: \"");
    let missing = || unknown(&format!("a field {name}"));
    let (before, rest) = text.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once("\",\n").ok_or_else(missing)?;
    Ok(format!("{before}{begin}{value}\",\n{after}"))
}

/// `gce_disk` → `GceDisk`.
fn camel_case(name: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    name.split('_').map(capital).collect()
}

/// The list of drivers with one more: its module and its entry, both in order.
fn enlisted(list: &str, name: &str) -> Result<String> {
    let malformed = || {
        Error::failed_precondition(format!(
            "{DIR}/mod.rs has no list `pub const ALL: [&Spec; N] = [&…::SPEC, …];` any more; mend \
             xtask/src/new_driver.rs"
        ))
    };
    let mut names: Vec<&str> = modules(list).chain([name]).collect();
    names.sort_unstable();
    let raw = |name: &str| {
        if KEYWORDS.contains(&name) { format!("r#{name}") } else { name.to_owned() }
    };
    let first = list.find("pub mod ").ok_or_else(malformed)?;
    let after = list.rfind("pub mod ").and_then(|at| Some(at + list[at..].find('\n')? + 1));
    let after = after.ok_or_else(malformed)?;
    let lines: String = names.iter().map(|name| format!("pub mod {};\n", raw(name))).collect();

    let (between, rest) = list[after..].split_once("pub const ALL: [").ok_or_else(malformed)?;
    let (_, end) = rest.split_once("];\n").ok_or_else(malformed)?;
    let entries: Vec<_> = names.iter().map(|name| format!("&{}::SPEC", raw(name))).collect();
    let (head, count) = (&list[..first], names.len());
    Ok(format!(
        "{head}{lines}{between}pub const ALL: [&Spec; {count}] = [{}];\n{end}",
        entries.join(", ")
    ))
}

/// The text as rustfmt writes it.
fn formatted(text: &str) -> Result<String> {
    let mut rustfmt = program::command("rustfmt");
    rustfmt.current_dir(workspace::root()).args(["--edition", "2024", "--emit", "stdout"]);
    let text = program::run(&mut rustfmt, text.as_bytes())?;
    String::from_utf8(text).map_err(|source| Error::internal("run rustfmt").because(source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use error::Kind;
    use std::fs;

    fn copy() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join(DIR)).unwrap();
        for file in ["memory.rs", "mod.rs"] {
            let path = Path::new(DIR).join(file);
            fs::copy(workspace::root().join(&path), root.path().join(&path)).unwrap();
        }
        root
    }

    fn read(root: &tempfile::TempDir, file: &str) -> String {
        fs::read_to_string(root.path().join(DIR).join(file)).unwrap()
    }

    #[test]
    fn a_new_driver_is_the_template_under_its_own_name() {
        let root = copy();
        make(root.path(), "gce_disk").unwrap();
        let driver = read(&root, "gce_disk.rs");
        assert!(driver.starts_with("//! Driver `gce_disk`: "), "{driver}");
        for line in ["    name: \"gce_disk\",", "struct GceDisk {", "impl Driver for GceDisk {"] {
            assert!(driver.lines().any(|found| found == line), "{line}\n{driver}");
        }
        assert!(!replace_words(&driver, "Memory", "").ne(&driver), "{driver}");
        assert_eq!(formatted(&driver).unwrap(), driver, "formatted, so it is Rust");
    }

    #[test]
    fn a_new_driver_is_listed_in_order_and_nothing_else_changes() {
        let root = copy();
        let before = read(&root, "mod.rs");
        make(root.path(), "aaa").unwrap();
        make(root.path(), "zfs").unwrap();
        let after = read(&root, "mod.rs");
        let count = modules(&before).count() + 2;
        let all = after.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(all.contains(&format!("ALL: [&Spec; {count}] = [&aaa::SPEC, &")), "{after}");
        assert!(all.contains(", &zfs::SPEC];") || all.contains(" &zfs::SPEC, ];"), "{after}");
        for line in before.lines().filter(|line| !line.contains("::SPEC")) {
            assert!(after.contains(line), "{line}");
        }
        for line in ["pub mod aaa;", "pub mod zfs;"] {
            assert!(after.lines().any(|found| found == line), "{after}");
        }
        assert_eq!(formatted(&after).unwrap(), after);
    }

    #[test]
    fn a_driver_that_exists_is_refused_and_nothing_is_written() {
        let root = copy();
        let before = read(&root, "mod.rs");
        for name in ["memory", "local"] {
            let error = make(root.path(), name).expect_err(name);
            assert_eq!(error.kind(), Kind::AlreadyExists, "{error}");
        }
        assert_eq!(read(&root, "mod.rs"), before);
    }

    #[test]
    fn a_name_that_is_no_module_is_refused() {
        let root = copy();
        for name in ["", "Ebs", "1st", "a-b", "../x", "a__b", "a_", "mod", "self", "é"] {
            let error = make(root.path(), name).expect_err(name);
            assert_eq!(error.kind(), Kind::InvalidArgument, "{name}: {error}");
        }
    }

    #[test]
    fn only_whole_words_are_replaced() {
        assert_eq!(replace_words("Memory MemoryX a(Memory)", "Memory", "X"), "X MemoryX a(X)");
    }
}
