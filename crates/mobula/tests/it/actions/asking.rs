//! Asking for actions on the command line.

use super::account::{Account, NEAR};
use crate::fixture::{PATIENCE, eventually};
use ebs_sim::Delays;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn an_action_reports_in_every_format() {
    let Some(account) = Account::new(Delays::default()) else { return };
    account.both(|account, name| {
        account.ok(&["volume", "create", name, "-s", "here", "--size", "2"]);
        let look = || account.ok(&["ebs", "orphans", "--DAYS", "0", "-s", "here"]);
        eventually("it is some seconds old", PATIENCE, || look().contains(name));
        let table = look();
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].starts_with("KIND") && lines[1].contains(name), "{table}");
        assert!(lines.contains(&""), "notes stand apart: {table}");
        assert!(table.contains("1 thing was not used for 0 days"), "{table}");
        let args = ["ebs", "orphans", "-s", "here", "--days=0", "--price-per-gib", "0.1", "--json"];
        let report: Value = serde_json::from_str(&account.ok(&args)).unwrap();
        let row = &report["rows"][0];
        assert_eq!((&row["name"], &row["size"]), (&name.into(), &"2GiB".into()), "{report}");
        assert!(report["notes"][0].is_string(), "{report}");
        let names = ["ebs", "orphans", "-s", "here", "--days", "0", "--format", "{{.Name}}"];
        assert_eq!(account.ok(&names), name);
        account.ok(&["volume", "rm", name, "-s", "here"]);
    });
}

#[test]
fn what_is_asked_wrongly_is_refused_with_the_way_out() {
    let Some(account) = Account::new(Delays::default()) else { return };
    account.both(|account, _| {
        for (args, code, told) in [
            (&["ebs", "orphans"][..], 2, "choose one with --service: far, here"),
            (&["ebs", "orphans", "-s", "mobula"], 2, "is no service with driver ebs"),
            (&["ebs", "orphans", "-s", "here", "--days", "many"], 2, "give number"),
            (&["ebs", "orphans", "-s", "here", "--dais", "1"], 2, "--days"),
            (&["ebs", "modify", "-s", "here"], 2, "VOLUME"),
            (&["ebs", "modify", "pg", "-s", "here"], 2, "say what is to be changed"),
            (&["ebs", "modify", "pg", "-s", "here", "--iops", "3000"], 3, "there is no volume pg"),
            (&["ebs", "modify", "a/b", "-s", "here", "--iops", "3000"], 2, "a name has"),
        ] {
            let (exit, said) = account.fails(args);
            assert!(exit == code && said.contains(told), "{args:?}: {exit} {said}");
        }
    });
    account.configure("services: {mobula: {driver: loop}}\n");
    let (exit, said) = account.fails(&["ebs", "orphans"]);
    assert!(exit == 3 && said.contains("services: {ebs: {driver: ebs}}"), "{exit} {said}");
    assert_eq!(account.fails(&["loop", "orphans"]).0, 2, "a driver without actions is no command");
}

/// `mobula` with these words at a terminal, which script(1) makes, where `keys` are typed.
fn at_terminal(account: &Account, words: &str, keys: &str) -> (i32, String) {
    let program = account.command(&[]);
    let line = format!("exec {} {words}", program.get_program().to_str().unwrap());
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
    command.env("MOBULA_HOME", account.dir()).env("TERM", "dumb");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Open until it has ended: the end of this one would be the end of the terminal.
    let mut typed = child.stdin.take().unwrap();
    typed.write_all(keys.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(typed);
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn whoever_takes_a_volume_without_proof_is_told_what_it_may_cost_and_asked() {
    let Some(account) = Account::new(Delays::default()) else { return };
    let agent = account.start();
    let hold = || {
        let id = account.volume("pg").unwrap().id;
        account.attach(&id, NEAR);
    };
    let is_held = || !account.volume("pg").unwrap().attachments.is_empty();
    account.ok(&["volume", "create", "pg", "-s", "here", "--size", "1"]);
    hold();
    let (code, said) = at_terminal(&account, "ebs take pg --force -s here", "n\n");
    for word in ["not synced is lost", NEAR, "Do it all the same? [y/N]", "nothing was done"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(code != 0 && is_held(), "{code} {said}");
    let (code, said) = at_terminal(&account, "ebs take pg --force -s here", "y\n");
    assert!(code == 0 && !is_held() && said.contains("taken from"), "{code} {said}");
    for (words, code) in [("--force --yes", 0), ("-y", 4)] {
        hold();
        let (ended, said) = at_terminal(&account, &format!("ebs take pg {words} -s here"), "");
        assert_eq!(ended, code, "{said}");
        assert!(said.contains("not synced is lost") && !said.contains("[y/N]"), "{said}");
    }
    // Where nobody can be asked, the order is enough, and the warning is there all the same.
    let output = account.run(&["ebs", "take", "pg", "--force", "-s", "here"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && told.contains("not synced is lost"), "{told}");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        table.starts_with("ID")
            && table.contains("NAME")
            && table.contains("pg")
            && table.contains("vol-"),
        "{table}"
    );
    agent.stop();
}

#[test]
fn a_volume_that_another_machine_has_is_not_available() {
    let Some(account) = Account::new(Delays::default()) else { return };
    account.both(|account, name| {
        account.ok(&["volume", "create", name, "-s", "here", "--size", "1"]);
        let id = account.volume(name).unwrap().id;
        account.attach(&id, NEAR);
        let table = account.ok(&["volume", "ls", "-s", "here"]);
        let shown = format!("elsewhere ({NEAR})");
        assert!(table.lines().any(|line| line.contains(name) && line.contains(&shown)), "{table}");
        let rows = account.ok(&["volume", "ls", "-s", "here", name, "--json"]);
        let rows: Value = serde_json::from_str(&rows).unwrap();
        assert_eq!(rows[0]["attachedTo"], json!([NEAR]), "{rows}");
        assert_eq!(account.ok(&["volume", "ls", "-s", "here", "--available", name, "-q"]), "");
        account.ok(&["ebs", "take", name, "--force", "-s", "here"]);
        assert!(account.ok(&["volume", "ls", "-s", "here", name]).contains("available"));
        account.ok(&["volume", "rm", name, "-s", "here"]);
    });
}

#[test]
fn a_driver_says_which_actions_it_has() {
    let Some(account) = Account::new(Delays::default()) else { return };
    let shown = account.ok(&["driver", "inspect", "ebs"]);
    assert!(shown.contains("Actions") && shown.contains("fast-restore"), "{shown}");
    assert!(!account.ok(&["driver", "inspect", "loop"]).contains("Actions"));
    let row = account.ok(&["driver", "inspect", "ebs", "-f", "json"]);
    let row: Value = serde_json::from_str(&row).unwrap();
    assert_eq!(row[0]["actions"][0]["name"], "orphans");
    assert_eq!(row[0]["actions"][0]["options"][0]["default"], "30");
}
