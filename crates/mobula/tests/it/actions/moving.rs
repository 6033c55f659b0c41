//! A long action: a volume moves to another zone.

use super::account::Account;
use crate::fixture::{PATIENCE, eventually, request};
use ebs_sim::Delays;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

/// Long enough for progress to be told.
const SLOW: u64 = 1500;

#[test]
fn a_move_tells_its_progress_on_standard_error_and_its_report_on_standard_output() {
    let Some(account) = Account::new(Delays { snapshot: SLOW, ..Delays::default() }) else {
        return;
    };
    account.both(|account, name| {
        account.ok(&["volume", "create", name, "-s", "far", "--size", "1"]);
        let original = account.volume(name).unwrap().id;
        let output = account.run(&["ebs", "move", name, "--service", "here"]);
        let told = String::from_utf8(output.stderr).unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{told}");
        assert!(told.contains("mobula: snapshot snap-"), "{told}");
        assert!(shown.starts_with("ID") && shown.contains("us-east-1a"), "{shown}");
        assert!(shown.contains("the original is kept in us-east-1b as"), "{shown}");
        assert!(shown.contains(&format!("--volume-id {original}")), "{shown}");
        assert_eq!(account.zone(name), "us-east-1a");
        let quiet = account.run(&["ebs", "move", name, "-s", "here", "-q"]);
        let id = account.volume(name).unwrap().id;
        assert_eq!(String::from_utf8(quiet.stdout).unwrap().trim(), id);
        account.ok(&["volume", "rm", name, "-s", "here"]);
    });
}

#[test]
fn an_answer_is_lines_of_json_and_an_action_outlives_its_client() {
    let Some(account) = Account::new(Delays { snapshot: SLOW, ..Delays::default() }) else {
        return;
    };
    let agent = account.start();
    account.ok(&["volume", "create", "pg", "-s", "far", "--size", "1"]);
    let path = "/v1/services/here/actions/move";
    let mut client = UnixStream::connect(account.control()).unwrap();
    let body = "{\"subject\":\"pg\"}";
    let length = body.len();
    write!(client, "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
        .unwrap();
    let mut reader = BufReader::new(client);
    let mut head = String::new();
    while !head.contains("\"progress\"") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
    }
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/x-ndjson"), "{head}");
    assert_eq!(account.zone("pg"), "us-east-1b", "it has only begun");
    drop(reader);
    eventually("it is moved nevertheless", PATIENCE, || account.zone("pg") == "us-east-1a");
    let mut again = UnixStream::connect(account.control()).unwrap();
    write!(again, "POST {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let lines: Vec<String> = BufReader::new(again).lines().map(Result::unwrap).collect();
    let last: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert_eq!(last["report"]["columns"][2], "ZONE", "{lines:?}");
    assert_eq!(last["report"]["rows"][0][1], "pg", "{lines:?}");
    assert_eq!(last["report"]["rows"][0][2], "us-east-1a", "{lines:?}");
    agent.stop();
}

#[test]
fn what_cannot_be_done_is_an_ordinary_error_of_the_api() {
    let Some(account) = Account::new(Delays::default()) else { return };
    let agent = account.start();
    for (path, body, status, kind) in [
        ("here/actions/fly", "{}", 501, "unimplemented"),
        ("mobula/actions/move", "{\"subject\":\"a\"}", 501, "unimplemented"),
        ("nosuch/actions/move", "{}", 404, "not_found"),
        ("here/actions/move", "{}", 400, "invalid_argument"),
        ("here/actions/move", "{\"subject\":\"pg\"}", 404, "not_found"),
        ("here/actions/orphans", "{\"options\":{\"dais\":\"1\"}}", 400, "invalid_argument"),
        ("here/actions/orphans", "{\"option\":{}}", 400, "invalid_argument"),
    ] {
        let path = format!("/v1/services/{path}");
        let (got, answer) = request(&account.control(), "POST", &path, body);
        assert_eq!(
            (got, answer["error"]["kind"].as_str()),
            (status, Some(kind)),
            "{path} {answer}"
        );
        assert!(!answer["error"]["message"].as_str().unwrap().is_empty());
    }
    agent.stop();
}

#[test]
fn mount_and_attach_move_a_volume_before_if_they_are_told_to() {
    let Some(account) = Account::new(Delays::default()) else { return };
    account.both(|account, name| {
        account.ok(&["volume", "create", name, "-s", "far", "--size", "1"]);
        let (exit, said) = account.fails(&["volume", "mount", name, "-s", "here"]);
        assert!(exit == 4 && said.contains("us-east-1b"), "{exit} {said}");
        let dry = account.ok(&["volume", "mount", name, "--move", "-n", "-s", "here"]);
        assert_eq!(dry, format!("would move here and mount volume {name} of service here"));
        assert_eq!(account.zone(name), "us-east-1b");
        let target = account.ok(&["volume", "mount", name, "--move", "-s", "here"]);
        assert_eq!(account.zone(name), "us-east-1a");
        std::fs::write(format!("{target}/kept"), "data").unwrap();
        account.ok(&["volume", "unmount", name, "-s", "here"]);
        account.ok(&["volume", "attach", name, "--move", "-s", "here"]);
        account.ok(&["volume", "detach", name, "-s", "here"]);
        account.ok(&["volume", "rm", name, "-s", "here"]);
        account.ok(&["volume", "create", "local", "-s", "mobula"]);
        let (exit, said) = account.fails(&["volume", "attach", "local", "--move", "-s", "mobula"]);
        assert!(exit != 0 && said.contains("leave out --move"), "{exit} {said}");
        account.ok(&["volume", "rm", "local", "-s", "mobula"]);
    });
}
