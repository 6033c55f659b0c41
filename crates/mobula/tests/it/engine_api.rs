//! The plugin engine's API on its real socket: as raw HTTP, and as Docker's own client uses it.

use crate::engine::fixture::{can_run, ok, printed};
use crate::fixture::{Home, PATIENCE, call, eventually, exchange, is_root, request};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A running engine with a home of its own; killed when dropped.
struct Engine {
    child: Child,
    home: Home,
}

impl Engine {
    fn start() -> Self {
        Self::with(Home::new(), &[])
    }

    fn with(home: Home, args: &[&str]) -> Self {
        let log = std::fs::File::create(home.path("agent.log")).unwrap();
        let mut command = home.command(&["engine", "--log-level", "debug"]);
        command.args(args).stdout(Stdio::null()).stderr(log);
        // Stored credentials and proxies of this machine are none of a test's business.
        command.env("HOME", home.dir()).env_remove("DOCKER_CONFIG");
        let engine = Self { child: command.spawn().unwrap(), home };
        let ready = || engine.home.log().contains("engine listens");
        eventually("the engine listens", PATIENCE, ready);
        engine
    }

    fn socket(&self) -> PathBuf {
        self.home.path("run/mobula/engine.sock")
    }

    fn get(&self, path: &str) -> (u16, Value) {
        request(&self.socket(), "GET", path, "")
    }

    /// A refusal's status and message.
    fn refusal(&self, method: &str, path: &str, kind: &str, body: &str) -> (u16, String) {
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let (status, answer) = exchange(&mut stream, text.as_bytes());
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        (status, answer["message"].as_str().unwrap_or_default().to_owned())
    }

    /// Docker's client on this engine.
    fn docker(&self, args: &[&str]) -> Output {
        self.docker_with(args, &[])
    }

    fn docker_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut docker = Command::new("docker");
        docker.args(args).env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        docker.env("HOME", self.home.dir()).env_remove("DOCKER_API_VERSION");
        docker.envs(environment.iter().copied()).stdin(Stdio::null()).output().unwrap()
    }

    fn docker_ok(&self, args: &[&str]) -> String {
        let output = self.docker(args);
        assert!(output.status.success(), "docker {args:?}: {output:?}\n{}", self.home.log_tail());
        printed(&output)
    }

    fn docker_fails(&self, args: &[&str]) -> String {
        let output = self.docker(args);
        assert!(!output.status.success(), "docker {args:?} succeeds: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// SIGTERM; the engine must end well.
    fn stop(&mut self) {
        ok(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.home.log_tail());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.home.log_tail());
        }
    }
}

/// Sends a request that has no end and reads the head of the answer.
fn open(socket: &Path, head: &str) -> (BufReader<UnixStream>, Vec<String>) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            return (reader, lines);
        }
        lines.push(line.trim().to_ascii_lowercase());
    }
}

/// A directory that `docker plugin create` takes: an empty root and a minimal configuration.
fn context(home: &Home, name: &str) -> String {
    let dir = home.path(name);
    std::fs::create_dir_all(dir.join("rootfs")).unwrap();
    let config = json!({
        "description": "a test",
        "interface": { "types": ["docker.dummy/1.0"], "socket": "x.sock" },
        "entrypoint": ["/x"],
        "env": [{ "name": "DEBUG", "settable": ["value"], "value": "0" }],
    });
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    dir.to_str().unwrap().to_owned()
}

#[test]
fn a_ping_has_dockers_headers() {
    if !is_root() {
        return;
    }
    let engine = Engine::start();
    let head = "HEAD /_ping HTTP/1.1\r\nHost: x\r\n\r\n";
    let (_, lines) = open(&engine.socket(), head);
    for line in [
        "http/1.1 200 ok",
        "api-version: 1.51",
        "ostype: linux",
        "docker-experimental: false",
        "content-length: 0",
        "content-type: text/plain; charset=utf-8",
        "cache-control: no-cache, no-store, must-revalidate",
        "pragma: no-cache",
    ] {
        assert!(lines.iter().any(|it| it == line), "{line}: {lines:?}");
    }
    assert_eq!(engine.get("/v1.24/_ping"), (200, json!({ "text": "OK" })));
    let meta = engine.socket().metadata().unwrap();
    assert!(meta.file_type().is_socket() && meta.permissions().mode() & 0o777 == 0o660);
}

#[test]
fn what_is_not_there_and_what_is_too_new_is_said_in_dockers_words() {
    if !is_root() {
        return;
    }
    let engine = Engine::start();
    for path in ["/containers/json", "/v1.51/images/json", "/plugins/x"] {
        assert_eq!(engine.get(path), (404, json!({ "message": "page not found" })));
    }
    let (status, answer) = engine.get("/v1.60/plugins");
    let message = "client version 1.60 is too new. Maximum supported API version is 1.51";
    assert_eq!((status, answer), (400, json!({ "message": message })));
    let (status, answer) = engine.get("/v1.23/plugins");
    assert_eq!(status, 400);
    assert!(answer["message"].as_str().unwrap().contains("1.23 is too old"), "{answer}");
}

#[test]
fn bodies_are_checked_before_anything_is_done() {
    if !is_root() {
        return;
    }
    let engine = Engine::start();
    for path in ["/plugins/foobar/set", "/plugins/foobar/upgrade", "/plugins/pull"] {
        let path = format!("/v1.51{path}?remote=");
        let (status, message) = engine.refusal("POST", &path, "text/plain", "[]");
        assert_eq!(status, 400);
        assert!(message.contains("unsupported Content-Type header (text/plain)"), "{message}");
        let (status, message) = engine.refusal("POST", &path, "application/json", "{invalid json");
        assert_eq!(status, 400);
        assert!(message.contains("invalid JSON"), "{message}");
        let (status, message) = engine.refusal("POST", &path, "application/json", "[] trailing");
        assert_eq!((status, message.as_str()), (400, "unexpected content after JSON"));
        let (status, message) = engine.refusal("POST", &path, "application/json", "");
        assert!(status < 500, "{path}: {status} {message}");
    }
}

#[test]
fn whoever_listens_to_events_knows_at_once_that_it_misses_none() {
    if !is_root() {
        return;
    }
    let mut engine = Engine::start();
    let head = "GET /v1.51/events HTTP/1.1\r\nHost: x\r\n\r\n";
    let (mut events, lines) = open(&engine.socket(), head);
    assert_eq!(lines[0], "http/1.1 200 ok");
    assert!(lines.iter().any(|line| line == "content-type: application/json"), "{lines:?}");
    // An endless answer does not keep the engine from ending, and ends itself.
    engine.stop();
    let mut rest = String::new();
    events.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "0\r\n\r\n", "the last chunk");
    assert!(!engine.socket().exists(), "the socket goes with the engine");
}

#[test]
fn a_client_that_says_nothing_holds_up_nobody() {
    if !is_root() {
        return;
    }
    let engine = Engine::start();
    let silent: Vec<_> = (0..64).map(|_| UnixStream::connect(engine.socket()).unwrap()).collect();
    let mut half = UnixStream::connect(engine.socket()).unwrap();
    half.write_all(b"POST /plugins/create?name=a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        .unwrap();
    assert_eq!(engine.get("/_ping").0, 200);
    drop((silent, half));
}

#[test]
fn a_second_engine_is_refused() {
    if !is_root() {
        return;
    }
    let engine = Engine::start();
    let (_, said) = engine.home.fails(&["engine"]);
    assert!(said.contains("another process listens at"), "{said}");
    assert_eq!(engine.get("/_ping").0, 200);
}

#[test]
fn the_socket_may_be_elsewhere() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let socket = home.path("other/api.sock");
    let engine = Engine::with(home, &["--socket", socket.to_str().unwrap()]);
    assert_eq!(request(&socket, "GET", "/_ping", "").0, 200);
    assert!(!engine.socket().exists());
}

#[test]
fn the_service_manager_may_hand_over_the_socket() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let socket = home.path("run/mobula/engine.sock");
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let inode = socket.metadata().unwrap().ino();
    // Descriptors are passed from 3 on, with the process they are for.
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" engine";
    let mut command = Command::new("bash");
    command.args(["-c", script, env!("CARGO_BIN_EXE_mobula")]).env("MOBULA_HOME", home.dir());
    command.stdin(std::os::fd::OwnedFd::from(listener)).stdout(Stdio::null());
    command.stderr(std::fs::File::create(home.path("agent.log")).unwrap());
    let engine = Engine { child: command.spawn().unwrap(), home };
    assert_eq!(engine.get("/_ping").0, 200, "clients may come before it listens");
    assert_eq!(socket.metadata().unwrap().ino(), inode, "the same socket");
}

#[test]
fn docker_shows_version_and_information() {
    if !can_run("docker") {
        return;
    }
    let engine = Engine::start();
    let version = engine.docker_ok(&["version"]);
    for part in ["Server: Mobula plugin engine", "(minimum version 1.24)", "OS/Arch"] {
        assert!(version.contains(part), "{part}: {version}");
    }
    let api = engine.docker_ok(&["version", "--format", "{{.Server.APIVersion}}"]);
    assert_eq!(api, "1.51");
    let info = engine.docker_ok(&["info"]);
    for part in [
        concat!("Server Version: ", env!("CARGO_PKG_VERSION")),
        "Plugins:",
        "Swarm: inactive",
        "Total Memory:",
    ] {
        assert!(info.contains(part), "{part}: {info}");
    }
    let new = engine.docker_with(&["plugin", "ls"], &[("DOCKER_API_VERSION", "1.60")]);
    let said = String::from_utf8_lossy(&new.stderr).into_owned();
    assert!(said.contains("client version 1.60 is too new"), "{said}");
}

#[test]
fn docker_lists_no_plugins_and_no_volumes() {
    if !can_run("docker") {
        return;
    }
    let engine = Engine::start();
    assert_eq!(engine.docker_ok(&["plugin", "ls", "-q"]), "");
    assert_eq!(engine.docker_ok(&["plugin", "ls", "--filter", "enabled=true", "-q"]), "");
    let said = engine.docker_fails(&["plugin", "ls", "--filter", "name=x"]);
    assert!(said.to_ascii_lowercase().contains("invalid filter 'name'"), "{said}");
    assert_eq!(engine.docker_ok(&["volume", "ls", "-q"]), "");
    let said = engine.docker_fails(&["volume", "inspect", "nosuch"]);
    assert!(said.contains("nosuch"), "{said}");
    assert!(engine.docker_ok(&["volume", "prune", "-f"]).contains("0B"));
}

#[test]
fn what_names_no_plugin_is_not_found() {
    if !is_root() {
        return;
    }
    let engine = Engine::start();
    let message = json!({ "message": "plugin \"me/nope:v1\" not found" });
    assert_eq!(engine.get("/v1.51/plugins/me/nope:v1/json"), (404, message.clone()));
    // docker-py pushes with the word pull, and enables without a timeout.
    for verb in ["push", "pull", "enable", "disable?force=True", "set"] {
        let answer = call(&engine.socket(), &format!("/plugins/me/nope:v1/{verb}"), "");
        assert_eq!(answer, (404, message.clone()), "{verb}");
    }
    let answer = request(&engine.socket(), "DELETE", "/plugins/me/nope:v1?force=False", "");
    assert_eq!(answer, (404, message));
}

#[test]
fn docker_creates_sets_inspects_and_removes_a_plugin() {
    if !can_run("docker") {
        return;
    }
    let engine = Engine::start();
    let dir = context(&engine.home, "foo");
    assert_eq!(engine.docker_ok(&["plugin", "create", "foo/bar-driver", &dir]), "foo/bar-driver");
    let said = engine.docker_fails(&["plugin", "create", "foo/bar-driver", &dir]);
    assert!(said.contains("already exist"), "{said}");
    assert_eq!(engine.docker_ok(&["plugin", "ls"]).lines().count(), 2);
    let inspect =
        |name: &str, what: &str| engine.docker_ok(&["plugin", "inspect", "-f", what, name]);
    let id = inspect("foo/bar-driver", "{{.ID}}");
    for name in ["foo/bar-driver:latest", "docker.io/foo/bar-driver:latest", &id, &id[..5]] {
        assert_eq!(inspect(name, "{{.ID}} {{.Enabled}}"), format!("{id} false"), "{name}");
    }
    engine.docker_ok(&["plugin", "set", &id[..5], "DEBUG=1"]);
    assert_eq!(inspect("foo/bar-driver", "{{.Settings.Env}}"), "[DEBUG=1]");
    let said = engine.docker_fails(&["plugin", "set", "foo/bar-driver", "NOPE=1"]);
    assert!(said.contains("not found in the plugin configuration"), "{said}");
    let said = engine.docker_fails(&["plugin", "disable", "foo/bar-driver"]);
    assert!(said.contains("already disabled"), "{said}");
    engine.docker_ok(&["plugin", "rm", "foo/bar-driver"]);
    engine.docker_fails(&["plugin", "inspect", &id[..5]]);
    // Docker's command line cuts fractions of seconds off.
    let until = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() + 1;
    let until = until.to_string();
    let events =
        engine.docker_ok(&["events", "--since", "1", "--until", &until, "--format", "{{.Action}}"]);
    assert_eq!(events.lines().collect::<Vec<_>>(), ["create", "remove"]);
}

#[test]
fn a_context_that_breaks_off_leaves_nothing() {
    if !is_root() {
        return;
    }
    let engine = Engine::start();
    let mut stream = UnixStream::connect(engine.socket()).unwrap();
    let head = "POST /plugins/create?name=a/b HTTP/1.1\r\nHost: x\r\n\
                Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(b"200\r\n").unwrap();
    stream.write_all(&[0; 512]).unwrap();
    drop(stream);
    let (status, message) =
        engine.refusal("POST", "/plugins/create?name=a/b", "application/x-tar", "");
    assert!(status >= 400, "an empty context is none: {message}");
    assert_eq!(engine.get("/plugins"), (200, json!([])));
}

#[test]
fn our_own_calls_have_no_version() {
    if !is_root() {
        return;
    }
    let engine = Engine::start();
    assert_eq!(engine.get("/mobula/plugins"), (200, json!([])));
    assert_eq!(engine.get("/v1.51/mobula/plugins").0, 404);
    assert_eq!(engine.get("/mobula/plugins/nope/top").0, 404);
    assert_eq!(call(&engine.socket(), "/mobula/gc?dry_run=1", ""), (200, json!([])));
    let (status, message) =
        engine.refusal("POST", "/mobula/plugins/x/exec", "application/json", "{}");
    assert_eq!(status, 400, "{message}");
}
