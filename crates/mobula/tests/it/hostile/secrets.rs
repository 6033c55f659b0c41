//! A secret is where it is used and nowhere else (CVE-2024-3744): not in logs, errors, events,
//! descriptions, command lines, or files that others may read.

use crate::engine_kills::lab::{Lab, said};
use crate::fixture::{PATIENCE, eventually, is_root};
use crate::plugins::image::probe;
use crate::plugins::registry::{CREDENTIALS, Registry};
use crate::plugins::wire;
use base64::Engine as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What nobody may see.
const FILE: &str = "canary-of-the-file";
const CREDENTIAL: &str = "canary-of-the-credential";
const PASSWORD: &str = "canary-of-the-registry";
/// The password of the registry that takes one.
const RIGHT: &str = "U*U";

/// Writes a file that only root can read.
fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// What was said at different places, to be searched.
struct Told(Vec<(String, String)>);

impl Told {
    fn note(&mut self, place: &str, text: impl Into<String>) {
        self.0.push((place.to_owned(), text.into()));
    }

    fn assert_without(&self, canaries: &[&str]) {
        for (place, text) in &self.0 {
            for canary in canaries {
                assert!(!text.contains(canary), "{canary} in {place}: {text}");
            }
        }
    }
}

/// The command lines of this engine and its helpers, as `ps` shows them.
fn command_lines(home: &Path) -> String {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let read = |path: &Path, name| std::fs::read(path.join(name)).unwrap_or_default();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace('\0', " ");
    // Other tests run at the same time, and have passwords of theirs.
    let told = processes.filter_map(|path| {
        let line = text(read(&path, "cmdline"));
        let home = home.to_str()?.trim_end_matches('/');
        let is_ours = format!("{line}{}", text(read(&path, "environ"))).contains(home);
        is_ours.then(|| line + "\n")
    });
    let told: String = told.collect();
    assert!(told.contains("engine"), "{told}");
    told
}

/// Files below `dir` that have one of these in them, and that others than root can reach.
fn readable(dir: &Path, canaries: &[&str], is_private: bool, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, about) = (entry.path(), std::fs::symlink_metadata(entry.path()).unwrap());
        let is_private = is_private || about.mode() & 0o077 == 0;
        if about.is_dir() {
            readable(&path, canaries, is_private, found);
        } else if about.is_file() && !is_private {
            let content = std::fs::read(&path).unwrap_or_default();
            let has = |canary: &&str| {
                content.windows(canary.len()).any(|window| window == canary.as_bytes())
            };
            found.extend(canaries.iter().any(has).then_some(path));
        }
    }
}

/// An engine that tells all it can, with a credential of systemd's.
fn talkative() -> Lab {
    let mut lab = Lab::new();
    std::fs::create_dir(lab.home.path("credentials")).unwrap();
    std::fs::write(lab.home.path("credentials/token"), CREDENTIAL).unwrap();
    private(&lab.home.path("secret"), FILE);
    let mut engine = lab.engine(&["--log-level", "trace"]);
    engine.env("CREDENTIALS_DIRECTORY", lab.home.path("credentials"));
    lab.start_as(engine);
    assert!(lab.comes_up(), "{}", lab.log());
    lab
}

fn whole_log(lab: &Lab) -> String {
    std::fs::read_to_string(lab.home.path("engine.log")).unwrap()
}

#[test]
fn a_secret_setting_reaches_the_plugin_and_nobody_else() {
    if !is_root() {
        return;
    }
    let lab = talkative();
    let (mut told, canaries) = (Told(Vec::new()), [FILE, CREDENTIAL]);
    let events = lab.home.path("events");
    let mut follower = lab.home.command(&["plugin", "events"]);
    follower.stdout(std::fs::File::create(&events).unwrap()).stderr(Stdio::null());
    let mut follower = follower.spawn().unwrap();
    lab.create("probe", &probe());
    let secret = format!("DEBUG=@{}", lab.home.path("secret").display());
    told.note("set", lab.ok(&["set", "probe", &secret, "PROBE_FS=@credential:token"]));
    told.note("enable", lab.ok(&["enable", "probe"]));
    let run = lab.home.path("run/mobula/plugins").join(lab.id("probe"));
    let about = wire::unix(&run.join("sockets/probe.sock"), "GET /about", &[], &[]).unwrap();
    assert_eq!(about.json()["env"]["DEBUG"], FILE);
    assert_eq!(about.json()["env"]["PROBE_FS"], CREDENTIAL);

    for line in
        ["GET /plugins", "GET /plugins/probe/json", "GET /mobula/plugins/probe", "GET /info"]
    {
        told.note(line, lab.api(line, "").text());
    }
    for words in [&["inspect", "probe"][..], &["inspect", "--state", "probe"], &["ls"]] {
        told.note(words[0], lab.ok(words));
    }
    told.note("top", said(&lab.run(&["top", "probe"])));
    told.note("exec", said(&lab.run(&["exec", "probe", "/no/such/program"])));
    told.note("ps", command_lines(&lab.home.path("")));
    // Errors: of a second start, of a plugin that fails, and of a file that is none any more.
    told.note("enable twice", lab.fails(&["enable", "probe"]));
    lab.ok(&["disable", "probe"]);
    lab.ok(&["set", "probe", "PROBE_MODE=exit:3"]);
    told.note("a failing start", lab.fails(&["enable", "--timeout", "5", "probe"]));
    private(&lab.home.path("secret"), &format!("{FILE}\0"));
    told.note("a malformed secret", lab.fails(&["enable", "probe"]));
    told.note("setting it", lab.fails(&["set", "probe", &secret]));
    private(&lab.home.path("secret"), FILE);
    lab.ok(&["set", "probe", "PROBE_MODE="]);
    lab.ok(&["enable", "probe"]);

    let mut found = Vec::new();
    for root in ["var/lib/mobula", "run"] {
        readable(&lab.home.path(root), &canaries, false, &mut found);
    }
    assert_eq!(found, Vec::<PathBuf>::new());
    // Not even where only root could read it, once it does not run.
    lab.ok(&["disable", "probe"]);
    let left = files_with(&canaries, &[lab.home.path("var/lib/mobula"), lab.home.path("run")]);
    assert_eq!(left, "");
    let has_ended = || std::fs::read_to_string(&events).unwrap().contains("disable");
    eventually("the events are there", PATIENCE, has_ended);
    let _ = (follower.kill(), follower.wait());
    told.note("events", std::fs::read_to_string(&events).unwrap());
    told.note("the log", whole_log(&lab));
    told.assert_without(&canaries);
    remove(&lab);
}

/// The files with one of these in them, whoever may read them.
fn files_with(canaries: &[&str], dirs: &[PathBuf]) -> String {
    let mut grep = Command::new("grep");
    grep.arg("-rlF");
    grep.args(canaries.iter().flat_map(|canary| ["-e", canary]));
    grep.args(["--exclude-dir=rootfs", "--devices=skip"]).args(dirs);
    said(&grep.output().unwrap())
}

fn remove(lab: &Lab) {
    let ids = BTreeSet::from([lab.id("probe")]);
    lab.ok(&["rm", "probe"]);
    lab.assert_nothing_left(&ids);
}

#[test]
fn the_password_of_a_registry_is_for_the_registry_alone() {
    if !is_root() {
        return;
    }
    let lab = talkative();
    let registry = Registry::for_users(&lab.home);
    registry.publish(&lab.home, "me/probe:v1", &probe());
    let name = registry.name("me/probe:v1");
    let mut told = Told(Vec::new());
    let auth = |password: &str| {
        let json = json!({ "username": "ann", "password": password,
                           "serveraddress": registry.address });
        base64(json.to_string().as_bytes())
    };
    let (wrong, right) = (auth(PASSWORD), auth(RIGHT));
    let ask = |line: String, auth: &str, body: &Value| {
        let headers = [("Content-Type", "application/json"), ("X-Registry-Auth", auth)];
        wire::unix(&lab.socket(), &line, &headers, body.to_string().as_bytes()).unwrap()
    };
    let needed =
        |auth: &str| ask(format!("GET /plugins/privileges?remote={name}"), auth, &json!([]));
    let refused = needed(&wrong);
    assert!(refused.status >= 400, "{refused:?}");
    told.note("a refusal", format!("{}{}", refused.head, refused.text()));
    let privileges = needed(&right);
    assert_eq!(privileges.status, 200, "{privileges:?}");
    let pull = format!("POST /plugins/pull?remote={name}&name=probe");
    told.note("a refused pull", ask(pull.clone(), &wrong, &privileges.json()).text());
    let pulled = ask(pull, &right, &privileges.json());
    assert!(pulled.status == 200 && !pulled.text().contains("error"), "{pulled:?}");
    told.note("a pull", pulled.text());
    told.note(
        "a refused push",
        ask("POST /plugins/probe/push".to_owned(), &wrong, &json!({})).text(),
    );
    told.note("a description", lab.api("GET /plugins/probe/json", "").text());
    told.note("ps", command_lines(&lab.home.path("")));
    told.note("the log", whole_log(&lab));
    let encoded = base64(format!("ann:{PASSWORD}").as_bytes());
    let canaries = [PASSWORD, RIGHT, CREDENTIALS, &encoded, &wrong, &right];
    told.assert_without(&canaries);
    let state = [lab.home.path("var/lib/mobula"), lab.home.path("run")];
    // Its three letters are in any large blob by chance; whole credentials are not.
    let written = ["var/lib/mobula/plugins", "run"].map(|below| lab.home.path(below));
    assert_eq!(files_with(&[RIGHT], &written), "");
    let canaries = [PASSWORD, CREDENTIALS, &encoded, &wrong, &right];
    assert_eq!(files_with(&canaries, &state), "");
    remove(&lab);
}

/// As it is in headers.
fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::URL_SAFE.encode(bytes)
}
