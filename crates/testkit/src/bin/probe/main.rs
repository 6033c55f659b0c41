//! The plugin that behaves badly on demand: a volume driver whose volumes are directories, and which
//! fails, hangs, drops, crashes or floods when the name of a volume or `PROBE_MODE` says so. Tests of
//! plugin engines put it into a plugin; it answers calls of the other interfaces too. `GET /about`
//! shows the container from within, `GET /calls` what the engine asked, `GET /file/PATH` a file of
//! the plugin.
//!
//! | variable | what it says |
//! |---|---|
//! | `PROBE_SOCKET` | name of its socket, or an absolute path; `probe.sock` |
//! | `PROBE_ROOT` | where volumes are: its propagated mount; `/mnt/probe` |
//! | `PROBE_FS` | what `Mount` does unless a volume says so: `bind`, `tmpfs`, `none`; `bind` |
//! | `PROBE_SCOPE` | answer to `Capabilities`; `local` |
//! | `PROBE_STATUS` | whether volumes are described with a `Status`; `yes` |
//! | `PROBE_MODE` | see [`mode`] |

mod about;
mod calls;
mod http;
mod mode;
mod others;
mod volumes;

use http::{Reply, Request};
use mode::Mode;
use serde_json::json;
use std::io::Result;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use volumes::Volumes;

const PLUGINS: &str = "/run/docker/plugins";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    if mode::is_sleeper() {
        std::future::pending::<()>().await;
    }
    // PID 1 is told to end only if it listens to being told.
    let mut term = signal(SignalKind::terminate())?;
    let root = PathBuf::from(variable("PROBE_ROOT", "/mnt/probe"));
    let mode = Arc::new(Mode::parse(&variable("PROBE_MODE", "")));
    mode.before_listening(&root);
    if mode.listens() {
        let listener = listen()?;
        println!("listening");
        mode.on_the_side();
        let (probe, mode) =
            (Probe { volumes: Volumes::new(&root), mode: mode.clone() }, mode.clone());
        std::thread::spawn(move || http::serve(&listener, mode.accepts(), &Arc::new(probe)));
    } else {
        mode.on_the_side();
    }
    loop {
        term.recv().await;
        println!("told to end");
        if mode.ends_when_told() {
            return Ok(());
        }
    }
}

/// The variable of this name, or what it is when it is not set.
fn variable(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

fn listen() -> Result<UnixListener> {
    let path = Path::new(PLUGINS).join(variable("PROBE_SOCKET", "probe.sock"));
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    // Left by the instance before this one.
    let _ = std::fs::remove_file(&path);
    UnixListener::bind(path)
}

/// What answers requests.
struct Probe {
    volumes: Volumes,
    mode: Arc<Mode>,
}

impl http::Handler for Probe {
    fn answer(&self, request: &Request) -> Reply {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/about") => Reply::ok(&about::about(self.mode.children())),
            ("GET", "/calls") => Reply::ok(&self.volumes.calls.show()),
            ("GET", path) => read(path.trim_start_matches("/file")),
            ("POST", "/Plugin.Activate") => {
                self.volumes.calls.note("Plugin.Activate", &request.body);
                Reply::ok(&json!({ "Implements": ["VolumeDriver"] }))
            }
            ("POST", path) => self.call(path.trim_start_matches('/'), &request.body),
            _ => Reply::Answer(405, "only GET and POST".to_owned()),
        }
    }
}

impl Probe {
    fn call(&self, method: &str, body: &str) -> Reply {
        if method.starts_with("VolumeDriver.") {
            return self.volumes.answer(method, body);
        }
        self.volumes.calls.note(method, body);
        others::answer(method, body).map_or_else(
            || Reply::Answer(404, format!("there is no {method}")),
            |answer| Reply::ok(&answer),
        )
    }
}

fn read(path: &str) -> Reply {
    match std::fs::read(path) {
        Ok(content) => Reply::Answer(200, String::from_utf8_lossy(&content).into_owned()),
        Err(error) => Reply::Answer(404, format!("{path}: {error}")),
    }
}
