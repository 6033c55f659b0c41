//! The container as its process sees it.

use serde_json::{Map, Value, json};
use std::path::Path;

/// Everything about this process that an engine decides.
pub(crate) fn about(children: u64) -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    json!({
        "pid": std::process::id(),
        "status": status(&read("/proc/self/status")),
        "cgroup": read("/proc/self/cgroup").lines().collect::<Vec<_>>(),
        "fds": fds(),
        "env": std::env::vars().collect::<std::collections::BTreeMap<_, _>>(),
        "args": std::env::args().collect::<Vec<_>>(),
        "cwd": std::env::current_dir().unwrap_or_default(),
        "mounts": read("/proc/self/mountinfo").lines().collect::<Vec<_>>(),
        "devices": names("/dev".as_ref()),
        "root": names("/".as_ref()),
        "hostname": read("/proc/sys/kernel/hostname").trim(),
        "networks": names("/sys/class/net".as_ref()),
        "namespaces": links("/proc/self/ns".as_ref()),
        "children": children,
    })
}

/// `Uid`, `CapEff`, `NoNewPrivs`, `Seccomp` … by name.
fn status(text: &str) -> Value {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    let words = |value: &str| value.split_whitespace().collect::<Vec<_>>().join(" ");
    Value::Object(pairs.map(|(key, value)| (key.to_owned(), words(value).into())).collect())
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn links(dir: &Path) -> Map<String, Value> {
    let target = |name: String| {
        let link = std::fs::read_link(dir.join(&name)).unwrap_or_default();
        (name, link.to_string_lossy().into_owned().into())
    };
    names(dir).into_iter().map(target).collect()
}

/// What each open descriptor is.
fn fds() -> Map<String, Value> {
    links("/proc/self/fd".as_ref())
}
