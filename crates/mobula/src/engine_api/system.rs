//! The machine and the program, as `docker version` and `docker info` show them.

use super::Api;
use super::answer::{json_of, typed};
use super::version::{MAX, MIN};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use plugin::engine::{Description, State};
use serde_json::{Value, json};
use std::time::Duration;

/// How long plugins may take to be asked how they are.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells the API's version before anything else is said; a HEAD request gets no body.
pub(super) fn ping(is_head: bool) -> Response {
    let text = if is_head { "" } else { "OK" };
    let mut response = typed(StatusCode::OK, "text/plain; charset=utf-8", text);
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert("swarm", HeaderValue::from_static("inactive"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    response
}

/// `docker version`.
pub(super) fn version() -> Response {
    let details = json!({
        "ApiVersion": MAX,
        "Arch": architecture(),
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": "",
        "KernelVersion": kernel(),
        "MinAPIVersion": MIN,
        "Os": "linux",
    });
    json_of(&json!({
        "Platform": { "Name": "Mobula plugin engine" },
        "Components": [{ "Name": "Engine", "Version": crate::VERSION, "Details": details }],
        "Version": crate::VERSION,
        "ApiVersion": MAX,
        "MinAPIVersion": MIN,
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": architecture(),
        "KernelVersion": kernel(),
        "BuildTime": "",
    }))
}

/// `docker info`; unlike dockerd it lists managed plugins too.
pub(super) async fn info(api: &Api) -> Response {
    let (plugins, warnings) = plugins(api).await;
    json_of(&json!({
        "ID": machine_id(),
        "Name": host::process::hostname(),
        "ServerVersion": crate::VERSION,
        "OSType": "linux",
        "Architecture": std::env::consts::ARCH,
        "OperatingSystem": distribution(),
        "KernelVersion": kernel(),
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
        "MemTotal": memory(),
        "DockerRootDir": api.root,
        "Driver": "overlay",
        "DriverStatus": [],
        "Plugins": {
            "Volume": having(&plugins, "volumedriver"),
            "Network": having(&plugins, "networkdriver"),
            "Authorization": having(&plugins, "authz"),
            "Log": having(&plugins, "logdriver"),
        },
        "Swarm": { "LocalNodeState": "inactive" },
        "SystemTime": jiff::Timestamp::now().to_string(),
        "Warnings": warnings,
    }))
}

async fn plugins(api: &Api) -> (Vec<Description>, Vec<String>) {
    match tokio::time::timeout(PATIENCE, api.engine.describe_all()).await {
        Ok(Ok(plugins)) => (plugins, Vec::new()),
        Ok(Err(error)) => (Vec::new(), vec![format!("WARNING: no plugins are shown: {error}")]),
        Err(_) => {
            let late = "WARNING: no plugins are shown: they did not answer in time";
            (Vec::new(), vec![late.to_owned()])
        }
    }
}

/// The names of the plugins that are there for a `capability`; those that only failed to start are
/// still wanted, those that are disabled are not.
fn having(plugins: &[Description], capability: &str) -> Value {
    let has = |plugin: &&Description| {
        let types = plugin.types.iter();
        let mut names = types.map(|kind| kind.split('/').next().unwrap_or("").to_ascii_lowercase());
        plugin.state != State::Disabled
            && names.any(|name| name.rsplit('.').next() == Some(capability))
    };
    plugins.iter().filter(has).map(|plugin| plugin.name.as_str()).collect()
}

/// Go's name of the architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn kernel() -> String {
    read("/proc/sys/kernel/osrelease")
}

fn machine_id() -> String {
    read("/etc/machine-id")
}

fn distribution() -> String {
    let release = read("/etc/os-release");
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or("Linux", |name| name.trim_matches('"')).to_owned()
}

/// Bytes of memory of this machine (proc_meminfo(5)).
fn memory() -> u64 {
    let info = read("/proc/meminfo");
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|total| total.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_known() {
        assert!(memory() > 1 << 20);
        assert!(kernel().contains('.'));
        assert!(!distribution().is_empty());
    }
}
