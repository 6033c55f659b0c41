//! The verbs against an engine of canned answers.

mod fake;

use super::*;
use clap::Parser;
use error::{Error, Kind};
use fake::{Fake, cut, empty, json, text};
use serde_json::{Value, json as value};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    group: PluginGroup,
}

fn parse(words: &[&str]) -> std::result::Result<PluginGroup, clap::Error> {
    Line::try_parse_from([&["plugin"], words].concat()).map(|line| line.group)
}

/// Runs a command against `fake`; the exit code, or the failure as JSON.
async fn run(fake: &Fake, words: &[&str]) -> std::result::Result<u8, Value> {
    let address = fake.address();
    let group = parse(&[&["--host", &address], words].concat()).unwrap();
    match group.run(&group.output()).await {
        Ok(code) if code == ExitCode::SUCCESS => Ok(0),
        Ok(_) => Ok(1),
        Err(failure) => Err(failure.to_json()),
    }
}

fn message(failure: &Value) -> &str {
    failure["error"]["message"].as_str().unwrap()
}

fn plugin(enabled: bool) -> Value {
    value!({
        "Id": "07", "Name": "me/store:latest", "Enabled": enabled,
        "PluginReference": "docker.io/me/store:latest",
    })
}

fn wishes() -> Value {
    value!([{"Name": "network", "Description": "", "Value": ["host"]}])
}

#[test]
fn argument_counts_are_dockers() {
    for (words, fine) in [
        (&["ls", "x"][..], false),
        (&["install"], false),
        (&["install", "a", "B=1", "C=2"], true),
        (&["enable"], false),
        (&["enable", "a", "b"], false),
        (&["disable", "a", "b"], false),
        (&["set", "a"], false),
        (&["inspect"], false),
        (&["inspect", "a", "b", "-f", "{{.Id}}"], true),
        (&["create", "a"], false),
        (&["create", "a", "b", "c"], false),
        (&["push", "a", "b"], false),
        (&["upgrade"], false),
        (&["upgrade", "a", "b", "c"], false),
        (&["rm"], false),
        (&["remove", "-f", "a", "b"], true),
        (&["list", "-q", "--no-trunc", "-f", "enabled=true"], true),
        (&["logs", "-ft", "--tail", "5", "a"], true),
        (&["logs", "--tail", "some", "a"], false),
        (&["exec", "a"], false),
        (&["exec", "a", "ls", "-l"], true),
        (&["limit", "a", "--memory", "1GiB"], true),
        (&["publish", "nobody"], false),
        (&["load"], false),
    ] {
        assert_eq!(parse(words).is_ok(), fine, "{words:?}");
    }
}

#[tokio::test]
async fn a_negative_timeout_is_refused() {
    let fake = Fake::new(vec![]);
    let failure = run(&fake, &["enable", "--timeout", "-1", "a"]).await.unwrap_err();
    assert!(message(&failure).starts_with("negative timeout -1 is invalid"), "{failure}");
    assert!(fake.lines().is_empty());
}

#[tokio::test]
async fn invalid_names_do_not_reach_the_engine() {
    let fake = Fake::new(vec![]);
    let digest = format!("me/store@{DIGEST}");
    for words in [
        &["install", "me/UPPER"][..],
        &["install", "me/store", "--alias", &digest],
        &["install", "me/store", "--alias", "-"],
        &["push", &digest],
        &["create", &digest, "."],
        &["init", "a b"],
    ] {
        let failure = run(&fake, words).await.unwrap_err();
        assert_eq!(failure["error"]["kind"], "invalid_argument", "{words:?} {failure}");
    }
    assert!(fake.lines().is_empty());
}

#[tokio::test]
async fn enable_disable_and_set_use_dockers_routes() {
    let fake = Fake::new(vec![
        ("POST /plugins/a/b:v1/enable", empty(200)),
        ("POST /plugins/a/b:v1/disable", empty(200)),
        ("POST /plugins/a/b:v1/set", empty(204)),
    ]);
    run(&fake, &["enable", "a/b:v1", "--timeout", "7"]).await.unwrap();
    run(&fake, &["disable", "-f", "a/b:v1"]).await.unwrap();
    run(&fake, &["set", "a/b:v1", "A=1", "B=x y"]).await.unwrap();
    let expected = [
        "POST /plugins/a/b:v1/enable?timeout=7",
        "POST /plugins/a/b:v1/disable?force=1",
        "POST /plugins/a/b:v1/set",
    ];
    assert_eq!(fake.lines(), expected);
    let set = &fake.asked()[2];
    assert_eq!(set.headers["content-type"], "application/json");
    assert_eq!(set.body, br#"["A=1","B=x y"]"#);
}

#[tokio::test]
async fn rm_goes_on_after_a_failure() {
    let busy = value!({"message": "plugin b is in use"});
    let fake =
        Fake::new(vec![("DELETE /plugins/b", json(409, &busy)), ("DELETE /plugins/c", empty(200))]);
    let failure = run(&fake, &["rm", "a", "b", "c"]).await.unwrap_err();
    assert_eq!(failure["error"]["kind"], "not_found");
    assert_eq!(failure["errors"][1]["message"], "plugin b is in use");
    assert_eq!(fake.lines(), ["DELETE /plugins/a", "DELETE /plugins/b", "DELETE /plugins/c"]);
}

#[tokio::test]
async fn ls_falls_back_to_dockers_api() {
    let fake = Fake::new(vec![("GET /plugins", json(200, &value!([plugin(true)])))]);
    run(&fake, &["ls", "--filter", "enabled=true"]).await.unwrap();
    let lines = fake.lines();
    assert_eq!(lines[0], "GET /mobula/plugins");
    assert!(lines[1].starts_with("GET /plugins?filters=%7B%22enabled%22"), "{lines:?}");
    let failure = run(&fake, &["ls", "--filter", "foo=bar"]).await.unwrap_err();
    assert!(message(&failure).starts_with("Invalid filter 'foo=bar'"), "{failure}");
}

#[tokio::test]
async fn install_asks_pulls_sets_and_enables() {
    let stream = "{\"status\":\"Pulling from me/store\",\"id\":\"latest\"}\r\n\
                  {\"status\":\"Complete\",\"progressDetail\":{},\"id\":\"bd8e\"}\r\n";
    let fake = Fake::new(vec![
        ("GET /plugins/privileges", json(200, &wishes())),
        ("POST /plugins/pull", text(stream)),
        ("GET /plugins/mine:latest/json", json(200, &plugin(false))),
        ("POST /plugins/mine:latest/set", empty(204)),
        ("POST /plugins/mine:latest/enable", empty(200)),
    ]);
    let line = ["install", "--grant-all-permissions", "--alias", "mine", "me/store", "A=1"];
    run(&fake, &line).await.unwrap();
    let remote = "docker.io%2Fme%2Fstore%3Alatest";
    let expected = [
        format!("GET /plugins/privileges?remote={remote}"),
        format!("POST /plugins/pull?remote={remote}&name=mine%3Alatest"),
        "GET /plugins/mine:latest/json".to_owned(),
        "POST /plugins/mine:latest/set".to_owned(),
        "POST /plugins/mine:latest/enable?timeout=0".to_owned(),
    ];
    assert_eq!(fake.lines(), expected);
    let pull = &fake.asked()[1];
    assert!(pull.headers.contains_key("x-registry-auth"));
    assert_eq!(serde_json::from_slice::<Value>(&pull.body).unwrap(), wishes());
}

#[tokio::test]
async fn without_consent_nothing_is_pulled() {
    let fake = Fake::new(vec![("GET /plugins/privileges", json(200, &wishes()))]);
    let failure = run(&fake, &["install", "me/store"]).await.unwrap_err();
    assert_eq!(failure["error"]["kind"], "failed_precondition");
    assert!(message(&failure).contains("--grant-all-permissions"), "{failure}");
    assert_eq!(fake.lines().len(), 1);
}

#[tokio::test]
async fn a_pull_that_fails_in_whatever_way_is_a_failure() {
    let error = "{\"status\":\"Waiting\",\"id\":\"b\"}\r\n\
                 {\"errorDetail\":{\"message\":\"no space\"},\"error\":\"no space\"}\r\n";
    let begun = "{\"status\":\"Waiting\",\"id\":\"b\"}\r\n";
    for (reply, expected) in [
        (text(error), "no space"),
        (cut(begun), "\"unavailable\""),
        (text(begun), "stopped before plugin me/store:latest was installed"),
        (json(400, &value!({"message": "plugin x already exists"})), "already exists"),
    ] {
        let fake = Fake::new(vec![
            ("GET /plugins/privileges", json(200, &Value::Null)),
            ("POST /plugins/pull", reply),
        ]);
        let failure = run(&fake, &["install", "me/store"]).await.unwrap_err();
        let failure = failure["error"].to_string();
        assert!(failure.contains(expected), "{expected}: {failure}");
    }
}

#[tokio::test]
async fn a_plugin_that_does_not_start_stays_and_it_is_said_how_to_go_on() {
    let fake = Fake::new(vec![
        ("GET /plugins/privileges", json(200, &value!([]))),
        ("POST /plugins/pull", text("")),
        ("GET /plugins/me/store:latest/json", json(200, &plugin(false))),
        ("POST /plugins/me/store:latest/enable", json(500, &value!({"message": "no socket"}))),
    ]);
    let failure = run(&fake, &["install", "me/store"]).await.unwrap_err();
    let message = message(&failure);
    assert!(message.contains("is installed, but could not be enabled (no socket)"), "{message}");
    assert!(message.contains("mobula plugin enable me/store:latest"), "{message}");
    run(&fake, &["install", "--disable", "me/store"]).await.unwrap();
}

#[tokio::test]
async fn upgrade_needs_a_disabled_plugin_and_asks_before_it_takes_another() {
    let fake = Fake::new(vec![
        ("GET /plugins/on/json", json(200, &plugin(true))),
        ("GET /plugins/off/json", json(200, &plugin(false))),
        ("GET /plugins/privileges", json(200, &wishes())),
        ("POST /plugins/off/upgrade", text("")),
    ]);
    let failure = run(&fake, &["upgrade", "on"]).await.unwrap_err();
    assert!(message(&failure).contains("must be disabled before upgrading"), "{failure}");
    let failure = run(&fake, &["upgrade", "off", "me/other"]).await.unwrap_err();
    assert!(message(&failure).contains("--skip-remote-check"), "{failure}");
    let failure = run(&fake, &["upgrade", "off"]).await.unwrap_err();
    assert!(message(&failure).contains("--grant-all-permissions"), "{failure}");
    run(&fake, &["upgrade", "--grant-all-permissions", "off"]).await.unwrap();
    let line = ["upgrade", "--grant-all-permissions", "--skip-remote-check", "off", "me/other"];
    let failure = run(&fake, &line).await.unwrap_err();
    assert!(message(&failure).contains("stopped before"), "{failure}");
}

#[tokio::test]
async fn push_wants_the_registrys_word() {
    let aux = format!(
        "{{\"status\":\"The push refers to repository [r]\"}}\r\n\
         {{\"progressDetail\":{{}},\"aux\":{{\"Tag\":\"v1\",\"Digest\":\"{DIGEST}\",\"Size\":7}}}}\r\n"
    );
    let fake = Fake::new(vec![
        ("POST /plugins/me/store:v1/push", text(&aux)),
        ("POST /plugins/me/store:v2/push", text("")),
    ]);
    run(&fake, &["push", "me/store:v1"]).await.unwrap();
    let failure = run(&fake, &["push", "me/store:v2"]).await.unwrap_err();
    assert_eq!(failure["error"]["kind"], "unavailable", "{failure}");
}

#[tokio::test]
async fn create_sends_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let fake = Fake::new(vec![("POST /plugins/create", empty(204))]);
    assert!(run(&fake, &["create", "a/b", path]).await.is_err());
    std::fs::write(dir.path().join("config.json"), "{}").unwrap();
    let failure = run(&fake, &["create", "a/b", path]).await.unwrap_err();
    assert!(message(&failure).contains("has no directory rootfs"), "{failure}");
    assert!(fake.lines().is_empty());
    std::fs::create_dir(dir.path().join("rootfs")).unwrap();
    run(&fake, &["create", "a/b", path]).await.unwrap();
    run(&fake, &["create", "--compress", "a/b", path]).await.unwrap();
    let asked = fake.asked();
    assert_eq!(asked[0].line, "POST /plugins/create?name=a%2Fb");
    assert_eq!(asked[0].headers["content-type"], "application/x-tar");
    assert!(asked[0].body.windows(11).any(|window| window == b"config.json"));
    assert_eq!(asked[1].body[..2], [0x1f, 0x8b]);
}

#[tokio::test]
async fn without_an_engine_every_verb_says_so() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("rootfs")).unwrap();
    std::fs::write(dir.path().join("config.json"), "{}").unwrap();
    let path = dir.path().to_str().unwrap();
    let input = dir.path().join("config.json");
    for words in [&["create", "a/b", path][..], &["load", "-i", input.to_str().unwrap()], &["ls"]] {
        let words = [&["--host", "unix:///nowhere/engine.sock"], words].concat();
        let group = parse(&words).unwrap();
        let failure = group.run(&group.output()).await.unwrap_err().to_json();
        assert!(message(&failure).contains("start it with"), "{words:?} {failure}");
    }
}

#[tokio::test]
async fn another_engine_that_lacks_a_verb_is_told_of() {
    let fake = Fake::new(vec![]);
    let failure = run(&fake, &["top", "a"]).await.unwrap_err();
    assert!(message(&failure).contains("is not mobula's"), "{failure}");
}

#[tokio::test]
async fn inspect_shows_those_that_there_are() {
    let fake = Fake::new(vec![
        ("GET /plugins/a/json", json(200, &plugin(true))),
        ("GET /mobula/plugins/old", json(200, &value!({"kind": "legacy", "name": "old"}))),
    ]);
    run(&fake, &["inspect", "a", "old"]).await.unwrap();
    let failure = run(&fake, &["inspect", "a", "gone"]).await.unwrap_err();
    assert_eq!(failure["error"]["kind"], "not_found");
    let group = parse(&["inspect", "-f", "{{.Id", "a"]).unwrap();
    let error = group.output().format().map(drop).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
}

#[tokio::test]
async fn save_leaves_no_half_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.tar");
    let fake = Fake::new(vec![
        ("GET /mobula/plugins/a/save", cut("half")),
        ("GET /mobula/plugins/a/save", text("whole")),
    ]);
    let line = ["save", "-o", file.to_str().unwrap(), "a"];
    assert!(run(&fake, &line).await.is_err());
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    run(&fake, &line).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"whole");
}

#[tokio::test]
async fn load_asks_and_sends_what_was_granted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.tar");
    std::fs::write(&file, "archive").unwrap();
    let asks = value!({"message": "not granted", "privileges": wishes()});
    let fake = Fake::new(vec![
        ("POST /mobula/plugins/load", json(403, &asks)),
        ("POST /mobula/plugins/load", json(403, &asks)),
        ("POST /mobula/plugins/load", json(200, &value!(["me/store:latest"]))),
    ]);
    let line = ["load", "-i", file.to_str().unwrap()];
    let failure = run(&fake, &line).await.unwrap_err();
    assert!(message(&failure).contains(" - network: [host]"), "{failure}");
    run(&fake, &[&line[..], &["--grant-all-permissions"]].concat()).await.unwrap();
    let asked = fake.asked();
    assert_eq!((asked.len(), asked[2].body.as_slice()), (3, &b"archive"[..]));
    assert!(!asked[1].headers.contains_key("x-mobula-privileges"));
    use base64::Engine as _;
    let granted = base64::engine::general_purpose::STANDARD
        .decode(&asked[2].headers["x-mobula-privileges"])
        .unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&granted).unwrap(), wishes());
}

#[tokio::test]
async fn exec_passes_the_exit_code_on() {
    let fake = Fake::new(vec![
        (
            "POST /mobula/plugins/a/exec",
            json(200, &value!({"code": 0, "stdout": "", "stderr": ""})),
        ),
        (
            "POST /mobula/plugins/a/exec",
            json(200, &value!({"code": 7, "stdout": "", "stderr": ""})),
        ),
    ]);
    assert_eq!(run(&fake, &["exec", "a", "ls", "-l"]).await.unwrap(), 0);
    assert_eq!(run(&fake, &["exec", "a", "false"]).await.unwrap(), 1);
    assert_eq!(fake.asked()[0].body, br#"{"Cmd":["ls","-l"]}"#);
}

#[tokio::test]
async fn logs_and_events_go_on_until_their_end() {
    let line = r#"{"time":"2026-01-02T03:04:05Z","stream":"stdout","line":"up"}"#;
    let fake = Fake::new(vec![
        ("GET /mobula/plugins/a/logs", text(&format!("{line}\n{line}\n"))),
        ("GET /mobula/plugins/a/logs", cut(&format!("{line}\n"))),
        ("GET /events", text("")),
    ]);
    let words = ["logs", "-f", "--tail", "5", "--since", "2026-01-02T03:04:05Z", "a"];
    run(&fake, &words).await.unwrap();
    let failure = run(&fake, &["logs", "a"]).await.unwrap_err();
    assert_eq!(failure["error"]["kind"], "unavailable", "{failure}");
    run(&fake, &["events", "--since", "7"]).await.unwrap();
    let lines = fake.lines();
    let expected = "GET /mobula/plugins/a/logs?tail=5&since=2026-01-02T03%3A04%3A05Z&follow=1";
    assert_eq!(lines[0], expected);
    assert!(lines[2].ends_with("&since=7.000000000"), "{lines:?}");
}

#[tokio::test]
async fn configure_sends_only_a_change() {
    let choices = value!({
        "confinement": {}, "start_timeout": null, "stop_timeout": null, "call_timeout": 120,
        "publish": null,
    });
    let description = |choices: Value| {
        value!({
            "kind": "managed", "name": "a", "description": "", "types": [], "enabled": true,
            "state": "running", "reference": "", "restarts": 0, "in_use": [], "privileges": [],
            "choices": choices,
        })
    };
    let fake = Fake::new(vec![
        ("GET /mobula/plugins/a", json(200, &description(choices))),
        ("GET /mobula/plugins/old", json(200, &description(Value::Null))),
        ("PUT /mobula/plugins/a/choices", empty(204)),
    ]);
    run(&fake, &["configure", "a"]).await.unwrap();
    assert_eq!(fake.lines().len(), 1);
    run(&fake, &["configure", "a", "--pids", "7"]).await.unwrap();
    let sent: Value = serde_json::from_slice(&fake.asked()[2].body).unwrap();
    assert_eq!(sent["confinement"]["pids"], 7);
    assert_eq!(sent["call_timeout"], 120);
    let failure = run(&fake, &["configure", "old"]).await.unwrap_err();
    assert!(message(&failure).contains("legacy"), "{failure}");
}

#[tokio::test]
async fn gc_search_top_and_podman_ask_our_engine() {
    let process = value!({
        "pid": 7, "parent": 1, "uid": 0, "memory": 1024, "cpu": 10, "command": "x",
    });
    let fake = Fake::new(vec![
        ("POST /mobula/gc", json(200, &value!([{"path": "/b/x", "bytes": 7}]))),
        ("GET /mobula/search", json(200, &value!([{"name": "a", "description": "", "stars": 1}]))),
        ("GET /mobula/plugins/a/top", json(200, &value!([process]))),
        ("GET /mobula/podman", text("# by mobula\n")),
    ]);
    for words in [
        &["gc", "--dry-run"][..],
        &["search", "a b", "--limit", "3"],
        &["top", "a"],
        &["publish", "podman", "--print"],
    ] {
        run(&fake, words).await.unwrap();
    }
    let expected = [
        "POST /mobula/gc?dry_run=1",
        "GET /mobula/search?term=a%20b&limit=3",
        "GET /mobula/plugins/a/top",
        "GET /mobula/podman",
    ];
    assert_eq!(fake.lines(), expected);
}

#[test]
fn an_address_that_is_none_is_refused() {
    let error: Error = engine(Some("tcp://localhost:1")).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
}
