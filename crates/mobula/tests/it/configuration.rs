//! `mobula config`: begun, checked, shown, and its schema, as a user and an editor meet them.

use crate::fixture::Home;
use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// A validator of JSON schemas that is not ours: Debian's python3-jsonschema.
const VALIDATE: &str = "\
import json, sys
import jsonschema
schema, document = json.load(sys.stdin)
jsonschema.Draft202012Validator.check_schema(schema)
for error in jsonschema.Draft202012Validator(schema).iter_errors(document):
    print('/'.join(map(str, error.absolute_path)), error.message)
";

fn home() -> Option<Home> {
    crate::fixture::is_root().then(Home::new)
}

/// What the validator has against the YAML `text`.
fn against(schema: &Value, text: &str) -> String {
    // As an editor reads it: the file is data without a type.
    let document: Value = serde_saphyr::from_str(text).unwrap();
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", VALIDATE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = serde_json::to_vec(&(schema, document)).unwrap();
    python.stdin.take().unwrap().write_all(&input).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The YAML blocks of the README that are configurations.
fn in_readme() -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let blocks = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.starts_with("services:")).map(str::to_owned).collect()
}

#[test]
fn a_begun_configuration_is_accepted_and_never_replaced_unasked() {
    let Some(home) = home() else { return };
    let path = home.path("etc/mobula/mobula.yml");
    assert_eq!(home.ok(&["config", "init"]), path.display().to_string());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(home.ok(&["config", "check"]).ends_with("mobula.yml: ok"));
    std::fs::write(&path, "log: {level: debug}\n").unwrap();
    let (code, said) = home.fails(&["config", "init"]);
    assert!(code == 4 && said.contains("--force"), "{code} {said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "log: {level: debug}\n");
    home.ok(&["config", "init", "--force"]);
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/mobula.yml");
    let packaged = std::fs::read_to_string(packaged).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), packaged);
    assert_eq!(home.ok(&["config", "init", "--output", "-"]), packaged.trim_end());
    let other = home.path("elsewhere/x.yml");
    home.ok(&["config", "init", "--output", other.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&other).unwrap(), packaged);
    let left = std::fs::read_dir(other.parent().unwrap()).unwrap().count();
    assert_eq!(left, 1, "no temporary file is left");
}

#[test]
fn every_line_of_the_example_may_be_used() {
    let Some(home) = home() else { return };
    let example = home.ok(&["config", "init", "--output", "-"]);
    // What is commented out is what begins with "# key:" below a section.
    let lines = example.lines().map(|line| {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        let key = rest.strip_prefix("# ").or_else(|| rest.strip_prefix("#")).unwrap_or(rest);
        let is_key = key.trim_start().split(':').next().is_some_and(|word| {
            word.chars().all(|c| c.is_ascii_alphanumeric()) && !word.is_empty() && key.contains(':')
        });
        let is_prose = !key.starts_with(' ') && indent.is_empty() && !key.starts_with("engine:");
        if rest.starts_with('#') && is_key && !is_prose {
            format!("{indent}{key}")
        } else if rest.starts_with('#') {
            String::new()
        } else {
            line.to_owned()
        }
    });
    let whole: Vec<String> = lines.collect();
    let whole = whole.join("\n");
    for key in ["fsType: xfs", "fast:", "clientCa:", "startTimeout: 10"] {
        let used = whole.lines().any(|line| line.trim_start().starts_with(key));
        assert!(used, "{key}\n{whole}");
    }
    home.configure(
        &whole.replace("unix:///run/docker/plugins/mobula.sock", "tcp://127.0.0.1:7980"),
    );
    let (_, said) = home.fails(&["config", "check"]);
    let files = said.lines().filter(|line| line.contains("does not exist")).count();
    assert_eq!(files, said.lines().count(), "only its files are missing\n{said}\n{whole}");
    let schema: Value = serde_json::from_str(&home.ok(&["config", "schema"])).unwrap();
    assert_eq!(against(&schema, &whole), "", "{whole}");
}

#[test]
fn all_that_is_wrong_is_told_and_where() {
    let Some(home) = home() else { return };
    home.configure("services: {mobula: {driver: loop, volume: {size: lots}}}\n");
    let (code, said) = home.fails(&["config", "check"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("mobula.yml:1: ") && said.contains("is not a size"), "{said}");
    home.configure("servces: {}\nlog:\n  level: loud\n");
    let output = home.command(&["config", "check", "--format", "json", "--set", "log.colour=x"]);
    let output = { output }.env("MOBULA_ENGINE_PUBLISH", "perhaps").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let problems = report["problems"].as_array().unwrap();
    let lines: Vec<_> = problems.iter().map(|p| p["origin"]["line"].as_u64()).collect();
    assert_eq!(lines, [Some(1), Some(3), None, None], "{report}");
    assert!(problems[0]["message"].as_str().unwrap().contains("did you mean services?"));
    assert_eq!(problems[2]["origin"]["name"], "MOBULA_ENGINE_PUBLISH");
    assert_eq!(problems[3]["origin"]["key"], "log.colour");
    assert_eq!(report["ok"], false);
}

#[test]
fn the_origin_of_each_value_is_shown() {
    let Some(home) = home() else { return };
    home.configure("log:\n  level: warn\n");
    let mut command = home.command(&["config", "show", "--origin", "--set", "engine.restarts=7"]);
    let output = command.env("MOBULA_LOG_FORMAT", "json").output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let row = |key: &str| {
        let line = table.lines().find(|line| line.starts_with(key));
        let words: Vec<_> =
            line.unwrap_or_else(|| panic!("{key}: {table}")).split_whitespace().collect();
        words[1..].join(" ")
    };
    assert_eq!(
        row("log.level"),
        format!("warn {}:2", home.path("etc/mobula/mobula.yml").display())
    );
    assert_eq!(row("log.format"), "json variable MOBULA_LOG_FORMAT");
    assert_eq!(row("engine.restarts"), "7 flag --set engine.restarts");
    assert_eq!(row("services.mobula.driver"), "loop default");
    let rows: Value =
        serde_json::from_str(&home.ok(&["config", "show", "--origin", "-f", "json"])).unwrap();
    assert_eq!(rows[0]["key"], "log.format");
    assert_eq!(rows[1]["origin"]["line"], 2, "{rows}");
}

#[test]
fn the_schema_accepts_what_the_program_accepts_and_refuses_what_it_refuses() {
    let Some(home) = home() else { return };
    let schema: Value = serde_json::from_str(&home.ok(&["config", "schema"])).unwrap();
    let readme = in_readme();
    assert_eq!(readme.len(), 2, "the README shows configurations");
    let example = home.ok(&["config", "init", "--output", "-"]);
    for text in readme.into_iter().chain([example]) {
        assert_eq!(against(&schema, &text), "", "{text}");
    }
    for (text, is_fine) in [
        ("services: {a: {driver: loop, volume: {size: 10, fsType: xfs, mode: '0770'}}}", true),
        ("services: {a: {driver: local, options: {path: '@credential:where'}}}", false),
        ("docker: {a: {}, b: {}}\nservices: {a: {driver: loop}, b: {driver: local}}", true),
        ("docker:\n  mobula:\n", false),
        ("engine: {restarts: 0, insecureRegistries: [a], publish: false, logSize: 1MiB}", true),
        ("sevices: {}", false),
        ("services: {a: {driver: lop}}", false),
        ("services: {a: {driver: loop, volume: {fsType: zfs}}}", false),
        ("services: {a: {driver: loop, volume: {snapshot: monday}}}", false),
        ("services: {a: {driver: memory, options: {path: /x}}}", false),
        ("services: {'-a': {driver: loop}}", false),
        ("log: {level: loud}", false),
        ("engine: {startTimeout: 0}", false),
        ("docker: [a]", false),
    ] {
        home.configure(text);
        let checked = home.run(&["config", "check"]).status.success();
        assert_eq!(checked, is_fine, "{text}: {:?}", home.run(&["config", "check"]));
        let said = against(&schema, text);
        // Whether a credential is there no schema knows.
        let may_be = is_fine || text.contains("@credential");
        assert_eq!(said.is_empty(), may_be, "{text}: {said}");
    }
}
