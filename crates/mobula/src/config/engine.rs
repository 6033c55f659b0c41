//! Section `engine` of the configuration: how `mobula engine` is set up. Only what is said is kept
//! here; what holds when nothing is said is the plugin engine's.

use error::{Error, Result};
use plugin::engine::Options;
use plugin::home::Home;
use plugin::runtime::Runtime;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use volume::Size;

/// The word for the runtime that needs no program.
const BUILT_IN: &str = "builtin";
/// Seconds that a plugin may take to accept connections.
const START: u64 = 10;
/// Seconds that a plugin may take to end.
const STOP: u64 = 10;
/// Starts in a row that may fail before a plugin is left alone for a while.
const RESTARTS: u32 = 5;

/// The plugin engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Engine {
    /// Where its API listens, instead of `/run/mobula/engine.sock`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// `builtin`, or the path of a program with runc's command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Registries (`host:port` or CIDR) that may be talked to over plain HTTP.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub insecure_registries: Vec<String>,
    /// A PEM file of certificates to trust, beside the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificates: Option<PathBuf>,
    /// Whether enabled plugins get a socket where Docker and Podman look for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<bool>,
    /// Seconds that a plugin may take to accept connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_timeout: Option<u64>,
    /// Seconds that a plugin may take to end after SIGTERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<u64>,
    /// Starts in a row that may fail before a plugin is left alone for a minute at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
    /// Size of one of the two files that a plugin's output is kept in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_size: Option<String>,
    /// Bytes that may come out of a plugin's layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<String>,
    /// Files and directories that may come out of a plugin's layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_entries: Option<u64>,
    /// Unpacked bytes that may come out of a packed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ratio: Option<u64>,
}

impl Engine {
    /// Whether nothing is said.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What makes no sense, with the key to blame.
    pub(super) fn faults(&self) -> Vec<(&'static str, Error)> {
        let mut faults = Vec::new();
        let times = [("startTimeout", self.start_timeout), ("stopTimeout", self.stop_timeout)];
        let limits = [("maxEntries", self.max_entries), ("maxRatio", self.max_ratio)];
        for (key, value) in times.into_iter().chain(limits) {
            if value == Some(0) {
                faults.push((key, wrong(key, "0", "a number above 0")));
            }
        }
        for (key, path) in [("socket", &self.socket), ("certificates", &self.certificates)] {
            if let Some(path) = path.as_ref().filter(|path| !path.is_absolute()) {
                faults.push((key, wrong(key, &path.to_string_lossy(), "an absolute path")));
            }
        }
        for (key, text) in [("logSize", &self.log_size), ("maxBytes", &self.max_bytes)] {
            faults.extend(size(key, text.as_deref()).err().map(|error| (key, error)));
        }
        faults.extend(self.runtime().err().map(|error| ("runtime", error)));
        faults
    }

    /// What the engine is opened with; `docker` is where stored credentials are.
    pub fn options(&self, home: Home, docker: Option<PathBuf>) -> Result<Options> {
        let mut limits = plugin::rootfs::Limits::default();
        if let Some(bytes) = size("maxBytes", self.max_bytes.as_deref())? {
            limits.bytes = bytes;
        }
        limits.entries = self.max_entries.unwrap_or(limits.entries);
        limits.ratio = self.max_ratio.unwrap_or(limits.ratio);
        let mut log = plugin::logs::LogLimits::default();
        if let Some(bytes) = size("logSize", self.log_size.as_deref())? {
            log.bytes = bytes;
        }
        Ok(Options {
            home,
            registry: plugin::registry::Options {
                insecure: self.insecure_registries.clone(),
                docker_config: docker,
                certificates: self.certificates.clone(),
            },
            limits,
            runtime: self.runtime()?,
            log,
            start_timeout: Duration::from_secs(self.start_timeout.unwrap_or(START)),
            stop_timeout: Duration::from_secs(self.stop_timeout.unwrap_or(STOP)),
            restarts: self.restarts.unwrap_or(RESTARTS),
            publish: self.publish.unwrap_or(true),
        })
    }

    fn runtime(&self) -> Result<Runtime> {
        match self.runtime.as_deref() {
            None | Some(BUILT_IN) => Ok(Runtime::BuiltIn),
            Some(path) if path.starts_with('/') => Ok(Runtime::Program(path.into())),
            Some(other) => Err(wrong("runtime", other, "builtin, or an absolute path")),
        }
    }

    /// Sets the key of this name, in any case; `None` when there is no such key.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<Option<()>> {
        let text = || Some(value.to_owned());
        match key.to_ascii_lowercase().as_str() {
            "socket" => self.socket = Some(value.into()),
            "runtime" => self.runtime = text(),
            "insecureregistries" => self.insecure_registries = list(value),
            "certificates" => self.certificates = Some(value.into()),
            "publish" => self.publish = Some(parse("publish", value, "true or false")?),
            "starttimeout" => self.start_timeout = Some(number("startTimeout", value)?),
            "stoptimeout" => self.stop_timeout = Some(number("stopTimeout", value)?),
            "restarts" => self.restarts = Some(parse("restarts", value, "a number")?),
            "logsize" => self.log_size = text(),
            "maxbytes" => self.max_bytes = text(),
            "maxentries" => self.max_entries = Some(number("maxEntries", value)?),
            "maxratio" => self.max_ratio = Some(number("maxRatio", value)?),
            _ => return Ok(None),
        }
        Ok(Some(()))
    }
}

/// `a, b` → a and b.
fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

fn number(key: &str, value: &str) -> Result<u64> {
    parse(key, value, "a number")
}

fn parse<T: std::str::FromStr>(key: &str, value: &str, needed: &str) -> Result<T> {
    value.trim().parse().map_err(|_| wrong(key, value, needed))
}

fn size(key: &str, value: Option<&str>) -> Result<Option<u64>> {
    let parsed = value.map(Size::parse).transpose();
    let parsed = parsed
        .map_err(|error| Error::invalid_argument(format!("engine.{key}: {}", error.message())))?;
    Ok(parsed.map(|size| size.0))
}

fn wrong(key: &str, value: &str, needed: &str) -> Error {
    let shown: String = value.escape_debug().take(60).collect();
    Error::invalid_argument(format!("engine.{key} is \"{shown}\"; it must be {needed}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse as parse_config;
    use std::path::Path;

    fn options(text: &str) -> Result<Options> {
        let config = parse_config(text)?;
        config.check()?;
        config.engine.options(Home::below(Path::new("/")), None)
    }

    #[test]
    fn what_is_not_said_is_the_engines_default() {
        let options = options("").unwrap();
        assert_eq!(options.runtime, Runtime::BuiltIn);
        assert_eq!(options.limits, plugin::rootfs::Limits::default());
        assert!(options.publish);
        assert_eq!(options.start_timeout, Duration::from_secs(10));
    }

    #[test]
    fn every_key_takes_effect() {
        let options = options(
            "engine:\n  runtime: /usr/bin/runc\n  insecureRegistries: [10.0.0.0/8]\n  \
             certificates: /etc/ca.pem\n  publish: false\n  startTimeout: 5\n  stopTimeout: 6\n  \
             restarts: 7\n  logSize: 1MiB\n  maxBytes: 2GiB\n  maxEntries: 8\n  maxRatio: 9\n",
        );
        let options = options.unwrap();
        assert_eq!(options.runtime, Runtime::Program("/usr/bin/runc".into()));
        assert_eq!(options.registry.insecure, ["10.0.0.0/8"]);
        assert_eq!(options.registry.certificates, Some("/etc/ca.pem".into()));
        assert!(!options.publish);
        assert_eq!((options.start_timeout.as_secs(), options.stop_timeout.as_secs()), (5, 6));
        assert_eq!((options.restarts, options.log.bytes), (7, 1 << 20));
        let limits = options.limits;
        assert_eq!((limits.bytes, limits.entries, limits.ratio), (2 << 30, 8, 9));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_key() {
        for (text, key) in [
            ("{runtime: runc}", "engine.runtime"),
            ("{startTimeout: 0}", "engine.startTimeout"),
            ("{logSize: much}", "engine.logSize"),
            ("{socket: engine.sock}", "engine.socket"),
            ("{sockets: /x}", "socket"),
        ] {
            let error = options(&format!("engine: {text}\n")).expect_err(text).to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn keys_do_not_mind_their_case() {
        let mut engine = Engine::default();
        assert_eq!(engine.set("INSECUREREGISTRIES", "a:5000, b").unwrap(), Some(()));
        assert_eq!(engine.insecure_registries, ["a:5000", "b"]);
        assert_eq!(engine.set("nosuch", "x").unwrap(), None);
        assert!(engine.set("publish", "perhaps").is_err());
    }
}
