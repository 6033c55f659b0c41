//! Samples of REX-Ray's configuration, each with the table and the mobula.yml that it becomes. The
//! expected files are written anew with `GOLDEN=write cargo test -p mobula golden`.

use super::show::table;
use crate::config::{self, Overrides};
use crate::migrate::rexray::{File, Migration, Sources, migrate};
use crate::paths::Paths;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What every secret of the samples has in it.
const SECRET: &str = "hunter2";

const SECRETS: &str = "/etc/mobula/secrets";

fn samples() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rexray");
    let mut samples: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    samples.sort();
    samples
}

fn files(sample: &Path, names: &[&str]) -> Vec<File> {
    let file = |name: &&str| {
        let bytes = fs::read(sample.join(name)).ok()?;
        Some(File { name: (*name).to_owned(), bytes })
    };
    names.iter().filter_map(file).collect()
}

fn migrated(sample: &Path) -> Migration {
    let sources = Sources {
        files: files(sample, &["rexray.yml", "user.yml"]),
        environment: files(sample, &["rexray.env"]),
        process: Vec::new(),
        plugins: files(sample, &["plugin.json"]),
        secrets: SECRETS.to_owned(),
    };
    migrate(&sources).unwrap_or_else(|error| panic!("{}: {error}", sample.display()))
}

/// The table with its notes and the commands.
fn report(migration: &Migration) -> String {
    let (table, notes) = table(&migration.rows);
    let commands = migration.plugins.iter().map(|plugin| {
        let driver = plugin.driver.as_deref().unwrap_or("not there yet");
        format!("\nplugin {}: {driver}\n{}", plugin.name, plugin.commands)
    });
    table.render(None, false) + &notes + &commands.collect::<String>()
}

fn compare(path: &Path, text: &str) {
    if std::env::var_os("GOLDEN").is_some_and(|how| how == "write") {
        fs::write(path, text).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs; see CONTRIBUTING.md", path.display());
}

#[test]
fn golden_samples_become_what_is_expected_and_is_accepted() {
    let samples = samples();
    assert!(samples.len() >= 15, "{} samples", samples.len());
    for sample in samples {
        let migration = migrated(&sample);
        let report = report(&migration);
        assert!(!report.contains(SECRET), "{}: {report}", sample.display());
        compare(&sample.join("report.txt"), &report);
        if migration.config.is_some() {
            assert!(!migration.text.contains(SECRET), "{}", sample.display());
            compare(&sample.join("mobula.yml"), &migration.text);
            accepted(&migration);
        }
    }
}

/// As `mobula config check` does it.
fn accepted(migration: &Migration) {
    let home = tempfile::tempdir().unwrap();
    let paths = Paths::at(home.path());
    fs::create_dir_all(paths.config().parent().unwrap()).unwrap();
    let read = |text: &str| {
        fs::write(paths.config(), text).unwrap();
        config::load(&paths, &Overrides::default()).unwrap()
    };
    let made = migration.config.as_ref().unwrap();
    if !made.services.is_empty() {
        let services = read(&migration.text).services;
        assert_eq!(&services, &made.services, "written and read again");
    }
    let here = |path: &str| path.replace(SECRETS, &home.path().to_string_lossy());
    for secret in &migration.secrets {
        let file = here(&secret.path);
        fs::write(&file, &secret.value).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(read(&here(&migration.text)).problems(), Vec::<String>::new());
}

/// How many values YAML has, aliases followed; a list is one.
fn leaves(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Object(entries) => entries.values().map(leaves).sum(),
        _ => 1,
    }
}

#[test]
fn golden_samples_lose_no_setting() {
    for sample in samples() {
        let migration = migrated(&sample);
        for file in files(&sample, &["rexray.yml", "user.yml"]) {
            let yaml: Value = serde_saphyr::from_slice(&file.bytes).unwrap();
            let of_file = format!("{}:", file.name);
            let rows = migration.rows.iter().filter(|row| row.from.starts_with(&of_file)).count();
            assert_eq!(rows, leaves(&yaml), "{}", sample.display());
        }
        for file in files(&sample, &["rexray.env"]) {
            let text = String::from_utf8(file.bytes).unwrap();
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            let said = lines.filter_map(|line| line.split_once('=')).filter(|(_, v)| !v.is_empty());
            for (name, _) in said {
                assert!(migration.rows.iter().any(|row| row.key == name), "{name}");
            }
        }
    }
}
