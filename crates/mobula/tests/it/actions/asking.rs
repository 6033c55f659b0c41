//! Asking for actions on the command line.

use super::account::Account;
use crate::fixture::{PATIENCE, eventually};
use ebs_sim::Delays;
use serde_json::Value;

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
