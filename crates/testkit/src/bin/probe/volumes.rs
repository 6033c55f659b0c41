//! Volumes as directories below the root: `volumes/NAME` has the data, `options/NAME` what it was
//! created with, `mounts/NAME` is where it is mounted. A name of the form `bad-CALL-HOW` asks for
//! trouble in that call, where HOW is
//!
//! | how | effect |
//! |---|---|
//! | `err` | 200 with `Err` |
//! | `http500`, `http500j` | 500 with text, with JSON |
//! | `empty` | 200 with nothing |
//! | `sleepN` | answers N seconds late |
//! | `drop`, `dropN` | hangs up, always or the first N times |
//! | `crash` | the process ends |

use crate::calls::Calls;
use crate::http::Reply;
use crate::variable;
use host::linux::Linux;
use host::{MountRequest, Mounts, Ownership, What};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

const WORDS: &str = "bad on demand";

/// All volumes.
pub(crate) struct Volumes {
    root: PathBuf,
    machine: Linux,
    users: Mutex<BTreeMap<String, BTreeSet<String>>>,
    dropped: Mutex<BTreeMap<String, usize>>,
    pub(crate) calls: Calls,
}

type Answer = Result<Value, String>;

impl Volumes {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            machine: Linux::default(),
            users: Mutex::default(),
            dropped: Mutex::default(),
            calls: Calls::default(),
        }
    }

    /// Answers a call of the protocol, or does what the volume's name asks for.
    pub(crate) fn answer(&self, method: &str, body: &str) -> Reply {
        self.calls.note(method, body);
        let request: Value = serde_json::from_str(body).unwrap_or_default();
        let call = method.trim_start_matches("VolumeDriver.").to_ascii_lowercase();
        let name = request["Name"].as_str().unwrap_or_default();
        if let Some(reply) = self.misbehave(&call, name) {
            return reply;
        }
        match self.call(&call, name, &request) {
            Ok(answer) => Reply::ok(&answer),
            Err(reason) => Reply::ok(&json!({ "Err": reason })),
        }
    }

    fn misbehave(&self, call: &str, name: &str) -> Option<Reply> {
        let prefix = format!("bad-{call}-");
        // Calls about all volumes misbehave because of any.
        let name = match call {
            "list" | "capabilities" => self.names().into_iter().find(|n| n.starts_with(&prefix))?,
            _ => name.to_owned(),
        };
        let how = name.strip_prefix(&prefix)?;
        let number = how.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok();
        match how.trim_end_matches(|c: char| c.is_ascii_digit()) {
            "err" => Some(Reply::ok(&json!({ "Err": WORDS }))),
            "http" => Some(Reply::Answer(500, WORDS.to_owned())),
            "http500j" => Some(Reply::Answer(500, json!({ "Err": WORDS }).to_string())),
            "empty" => Some(Reply::Answer(200, String::new())),
            "sleep" => {
                std::thread::sleep(Duration::from_secs(number.unwrap_or(1) as u64));
                None
            }
            "drop" => self.drops(&name, number.unwrap_or(usize::MAX)).then_some(Reply::Drop),
            "crash" => std::process::abort(),
            _ => None,
        }
    }

    fn drops(&self, name: &str, times: usize) -> bool {
        let Ok(mut dropped) = self.dropped.lock() else { return false };
        let so_far = dropped.entry(name.to_owned()).or_default();
        *so_far += 1;
        *so_far <= times
    }

    fn call(&self, call: &str, name: &str, request: &Value) -> Answer {
        match call {
            "list" => {
                let volumes: Vec<_> = self.names().iter().map(|name| self.describe(name)).collect();
                return Ok(json!({ "Volumes": volumes, "Err": "" }));
            }
            "capabilities" => {
                return Ok(
                    json!({ "Capabilities": { "Scope": variable("PROBE_SCOPE", "local") } }),
                );
            }
            _ if name.is_empty() || name.contains('/') || name.starts_with('.') => {
                return Err(format!("{name:?} is no name of a volume"));
            }
            "create" => return self.create(name, &request["Opts"]),
            _ => {}
        }
        if !self.data(name).is_dir() {
            return Err(format!("no such volume: {name}"));
        }
        let id = request["ID"].as_str().unwrap_or_default();
        match call {
            "get" => Ok(json!({ "Volume": self.describe(name), "Err": "" })),
            "path" => Ok(json!({ "Mountpoint": self.mountpoint(name), "Err": "" })),
            "mount" => self.mount(name, id),
            "unmount" => self.unmount(name, id),
            "remove" => self.remove(name),
            _ => Err(format!("no such call: {call}")),
        }
    }

    fn data(&self, name: &str) -> PathBuf {
        self.root.join("volumes").join(name)
    }

    fn options(&self, name: &str) -> PathBuf {
        self.root.join("options").join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join("volumes")).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// What `Mount` does with this volume.
    fn kind(&self, name: &str) -> String {
        let options = std::fs::read_to_string(self.options(name)).unwrap_or_default();
        let options: Value = serde_json::from_str(&options).unwrap_or_default();
        let chosen = options["fs"].as_str().map(str::to_owned);
        chosen.unwrap_or_else(|| variable("PROBE_FS", "bind"))
    }

    fn target(&self, name: &str) -> PathBuf {
        match self.kind(name).as_str() {
            "none" => self.data(name),
            _ => self.root.join("mounts").join(name),
        }
    }

    /// Where the volume is mounted now; empty if it is not.
    fn mountpoint(&self, name: &str) -> String {
        let target = self.target(name);
        let is_mounted = self.machine.at(&target).ok().flatten().is_some();
        let is_used = self.kind(name) == "none" && self.count(name) > 0;
        if is_mounted || is_used { target.display().to_string() } else { String::new() }
    }

    fn count(&self, name: &str) -> usize {
        self.users.lock().map_or(0, |users| users.get(name).map_or(0, BTreeSet::len))
    }

    fn describe(&self, name: &str) -> Value {
        let mut volume = Map::new();
        volume.insert("Name".to_owned(), name.into());
        let mountpoint = self.mountpoint(name);
        if !mountpoint.is_empty() {
            volume.insert("Mountpoint".to_owned(), mountpoint.into());
        }
        if variable("PROBE_STATUS", "yes") == "yes" {
            let status = json!({ "fs": self.kind(name), "users": self.count(name) });
            volume.insert("Status".to_owned(), status);
        }
        Value::Object(volume)
    }

    fn create(&self, name: &str, options: &Value) -> Answer {
        let doing = |error: std::io::Error| format!("cannot create {name}: {error}");
        std::fs::create_dir_all(self.root.join("options")).map_err(doing)?;
        std::fs::create_dir_all(self.data(name)).map_err(doing)?;
        std::fs::write(self.options(name), options.to_string()).map_err(doing)?;
        Ok(json!({ "Err": "" }))
    }

    fn remove(&self, name: &str) -> Answer {
        if self.count(name) > 0 {
            return Err(format!("{name} is mounted"));
        }
        std::fs::remove_dir_all(self.data(name)).map_err(|error| error.to_string())?;
        let _ = std::fs::remove_file(self.options(name));
        Ok(json!({ "Err": "" }))
    }

    fn mount(&self, name: &str, id: &str) -> Answer {
        let mut users = self.users.lock().map_err(|error| error.to_string())?;
        let target = self.target(name);
        let what = match self.kind(name).as_str() {
            "none" => None,
            "bind" => Some(What::Directory(self.data(name))),
            fs => Some(What::Network { fstype: fs.to_owned(), source: "probe".to_owned() }),
        };
        let is_mounted = self.machine.at(&target).map_err(|error| error.to_string())?.is_some();
        if let (Some(what), false) = (what, is_mounted) {
            let request = MountRequest {
                what,
                target: target.clone(),
                options: Vec::new(),
                read_only: false,
                subpath: None,
                ownership: Ownership::default(),
                drop_empty: Vec::new(),
            };
            self.machine.mount(&request).map_err(|error| format!("{error:?}"))?;
        }
        users.entry(name.to_owned()).or_default().insert(id.to_owned());
        Ok(json!({ "Mountpoint": target, "Err": "" }))
    }

    fn unmount(&self, name: &str, id: &str) -> Answer {
        let mut users = self.users.lock().map_err(|error| error.to_string())?;
        let left = users.entry(name.to_owned()).or_default();
        left.remove(id);
        if left.is_empty() && self.kind(name) != "none" {
            self.machine.unmount(&self.target(name)).map_err(|error| error.to_string())?;
        }
        Ok(json!({ "Err": "" }))
    }
}
