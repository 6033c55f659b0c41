//! The parts of the command line that need neither an agent nor root.

#![allow(clippy::disallowed_methods)]

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn mobula(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mobula")).args(arguments).output().expect("it runs")
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("text")
}

/// The paths of all commands, hidden ones too.
fn paths(command: &clap::Command, before: &[String]) -> Vec<Vec<String>> {
    let mut all = vec![before.to_vec()];
    for verb in command.get_subcommands() {
        let path = [before, &[verb.get_name().to_owned()]].concat();
        all.extend(paths(verb, &path));
    }
    all
}

#[test]
fn every_command_has_help() {
    for path in paths(&mobula::cli::command(), &[]) {
        for help in ["--help", "-h", "-?"] {
            let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
            arguments.push(help);
            let output = mobula(&arguments);
            assert!(output.status.success(), "{arguments:?}");
            assert!(text(&output.stdout).contains("Usage: mobula"), "{arguments:?}");
        }
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [
        &["--bogus"][..],
        &[],
        &["volume"],
        &["volume", "ls", "--bogus"],
        &["volume", "create"],
        &["volume", "ls", "--format", "bogus"],
        &["volume", "ls", "--format", "{{.Name"],
        &["volume", "ls", "--set", "nonsense"],
        &["completion", "tcsh"],
    ] {
        let output = mobula(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_version_is_shown_in_every_format() {
    let version = mobula::VERSION;
    for (arguments, expected) in [
        (&["--version"][..], format!("mobula {version}\n")),
        (&["version", "-q"], format!("{version}\n")),
        (&["version", "--format", "{{.Version}}"], format!("{version}\n")),
    ] {
        let output = mobula(arguments);
        assert!(output.status.success(), "{arguments:?}");
        assert_eq!(text(&output.stdout), expected, "{arguments:?}");
    }
    let json = mobula(&["version", "--format", "json"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["version"], version);
}

#[test]
fn help_documents_the_exit_codes() {
    let help = mobula(&["--help"]).stdout;
    for line in ["0  done", "3  not found", "6  not permitted"] {
        assert!(text(&help).contains(line), "{line}");
    }
}

#[test]
fn the_completion_script_is_valid_bash() {
    let script = mobula(&["completion", "bash"]).stdout;
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().expect("bash");
    bash.stdin.take().expect("a pipe").write_all(&script).expect("written");
    assert!(bash.wait().expect("it ends").success());
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let program = env!("CARGO_BIN_EXE_mobula");
    let line = format!("{program} completion bash | true; echo ${{PIPESTATUS[0]}}");
    let output = Command::new("bash").args(["-c", &line]).output().expect("bash");
    assert_eq!(text(&output.stdout), "0\n");
    assert_eq!(text(&output.stderr), "");
}
