//! The API as other clients than Docker's speak it.

use super::bed::{Bed, Kind};
use super::image::probe;
use super::wire::Answer;
use super::{on_both, on_ours};
use serde_json::{Value, json};

on_both!(
    bodies_that_are_no_json_are_refused,
    answers_look_as_clients_expect_them,
    a_plugin_is_shown_in_dockers_own_case,
    privileges_are_listed_in_dockers_order_and_words,
);

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn message(answer: &Answer) -> String {
    answer.json()["message"].as_str().unwrap().to_owned()
}

/// dockerd 20.10 has other statuses, and does not look at content types (5.1).
fn bodies_that_are_no_json_are_refused(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("probe", &probe());
    for path in
        ["/v1.41/plugins/probe/set", "/plugins/probe/upgrade?remote=x", "/plugins/pull?remote=x"]
    {
        let line = format!("POST {path}");
        let answer = bed.api(&line, &[JSON], "{invalid json");
        assert!(answer.status >= 400, "{path}: {answer:?}");
        if !bed.is_ours() {
            continue;
        }
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        assert!(message(&answer).starts_with("invalid JSON: "), "{answer:?}");
        let answer = bed.api(&line, &[("Content-Type", "text/plain")], "[]");
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        assert_eq!(
            message(&answer),
            "unsupported Content-Type header (text/plain): must be 'application/json'"
        );
        let answer = bed.api(&line, &[JSON], "[] trailing content");
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        assert_eq!(message(&answer), "unexpected content after JSON");
        let answer = bed.api(&line, &[JSON], "");
        assert!(answer.status < 500, "{path}: {answer:?}");
    }
}

fn answers_look_as_clients_expect_them(kind: Kind) {
    let bed = Bed::start(kind);
    let ping = bed.api("GET /_ping", &[], "");
    assert_eq!((ping.status, ping.text()), (200, "OK".to_owned()));
    let version = ping.header("Api-Version").unwrap();
    let minor: u32 = version.strip_prefix("1.").unwrap().parse().unwrap();
    assert!(minor >= if bed.is_ours() { 44 } else { 41 }, "{version}");
    assert_eq!(ping.header("Ostype").unwrap(), "linux");
    for line in ["GET /plugins", "GET /v1.41/plugins"] {
        let answer = bed.api(line, &[], "");
        assert_eq!((answer.status, answer.text()), (200, "[]".to_owned()), "{line}");
        assert_eq!(answer.header("Content-Type").unwrap(), "application/json");
    }
    let missing = bed.api("GET /v1.41/plugins/nope/json", &[], "");
    assert_eq!(missing.status, 404);
    assert_eq!(message(&missing), "plugin \"nope\" not found");
    let unknown = bed.api("GET /v1.41/no/such/page", &[], "");
    assert_eq!((unknown.status, message(&unknown)), (404, "page not found".to_owned()));
    let new = bed.api("GET /v1.99/plugins", &[], "");
    assert_eq!(new.status, 400);
    assert!(message(&new).contains("client version 1.99 is too new"), "{new:?}");
    bed.create("probe", &probe());
    let done = bed.api("POST /plugins/probe/set", &[JSON], r#"["DEBUG=1"]"#);
    assert_eq!((done.status, done.text()), (204, String::new()));
    let done = bed.api("POST /plugins/probe/enable?timeout=30", &[], "");
    assert_eq!((done.status, done.text()), (200, String::new()));
    let again = bed.api("POST /plugins/probe/enable?timeout=30", &[], "");
    assert_eq!(again.status, 409);
    let enabled = bed.api("DELETE /plugins/probe?force=False", &[], "");
    assert_eq!(enabled.status, 409, "docker-py writes False");
    let done = bed.api("DELETE /plugins/probe?force=True", &[], "");
    assert_eq!(done.status, 200);
}

fn a_plugin_is_shown_in_dockers_own_case(kind: Kind) {
    let bed = Bed::start(kind);
    // Go matches keys whatever their case is, and real plugins rely on it (fact 7).
    let mut image = probe();
    let config = image.config.as_object_mut().unwrap();
    let propagated = config.remove("propagatedMount").unwrap();
    config.insert("propagatedmount".to_owned(), propagated);
    config.insert("ipchost".to_owned(), json!(true));
    config.insert("Workdir".to_owned(), json!("/mnt"));
    config.remove("workdir");
    config.insert("mounts".to_owned(), Value::Null);
    config.insert("unknown".to_owned(), json!({ "key": 1 }));
    bed.create("probe", &image);
    let shown = bed.api("GET /plugins/probe/json", &[], "").json();
    let config = &shown["Config"];
    assert_eq!(config["PropagatedMount"], "/mnt/probe");
    assert_eq!(config["IpcHost"], true);
    assert_eq!(config["WorkDir"], "/mnt");
    assert_eq!(config["Interface"]["Types"], json!(["docker.volumedriver/1.0"]));
    assert_eq!(config["rootfs"]["type"], "layers");
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 1);
    for key in ["Args", "Entrypoint", "Env", "Linux", "Network", "PidHost", "Description"] {
        assert!(!config[key].is_null(), "{key}: {shown}");
    }
    for key in ["Enabled", "Id", "Name", "Settings"] {
        assert!(!shown[key].is_null(), "{key}: {shown}");
    }
    bed.ok("plugin enable probe");
    let about = bed.about("probe");
    assert_eq!(about["cwd"], "/mnt");
    let propagated = bed.propagated("probe");
    bed.ok("volume create -d probe v");
    assert!(propagated.join("volumes/v").is_dir());
}

fn privileges_are_listed_in_dockers_order_and_words(kind: Kind) {
    let bed = Bed::start(kind);
    let image = probe()
        .with("network", json!({ "type": "host" }))
        .with("ipcHost", json!(true))
        .with("pidHost", json!(true))
        .with(
            "mounts",
            json!([{
                "name": "etc", "source": "/etc", "destination": "/host/etc", "type": "none",
                "options": ["rbind"], "settable": [],
            }]),
        )
        .with(
            "linux",
            json!({
                "capabilities": ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"],
                "allowAllDevices": true,
                "devices": [{ "name": "fuse", "path": "/dev/fuse", "settable": [] }],
            }),
        );
    let name = bed.publish("me/greedy:v1", &image);
    let answer = bed.api(&format!("GET /plugins/privileges?remote={name}"), &[], "");
    assert_eq!(answer.status, 200, "{answer:?}");
    let privilege = |name: &str, description: &str, value: &[&str]| json!({ "Name": name, "Description": description, "Value": value });
    let expected = [
        privilege("network", "permissions to access a network", &["host"]),
        privilege("host ipc namespace", "allow access to host ipc namespace", &["true"]),
        privilege("host pid namespace", "allow access to host pid namespace", &["true"]),
        privilege("mount", "host path to mount", &["/etc"]),
        privilege("device", "host device to access", &["/dev/fuse"]),
        privilege("allow-all-devices", "allow 'rwm' access to all devices", &["true"]),
        privilege(
            "capabilities",
            "list of additional capabilities required",
            &["CAP_SYS_ADMIN", "CAP_NET_ADMIN"],
        ),
    ];
    assert_eq!(answer.json(), json!(expected));
    // Nothing is installed that its user did not agree to.
    let mut fewer = expected.to_vec();
    fewer.pop();
    let line = format!("POST /plugins/pull?remote={name}&name=");
    let answer = bed.api(&line, &[JSON], &json!(fewer).to_string());
    assert!(answer.text().contains("incorrect privileges"), "{answer:?}");
    assert_eq!(bed.list(""), Vec::<String>::new());
    let answer = bed.api(&line, &[JSON], &json!(expected).to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("Docker-Plugin-Name").unwrap(), name);
    assert!(answer.lines().iter().all(|line| line["error"].is_null()), "{answer:?}");
    assert_eq!(bed.list(""), [name]);
}
