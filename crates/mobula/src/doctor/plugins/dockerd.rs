//! dockerd's own plugins, asked over its socket where one answers. dockerd may hang on a dead plugin:
//! each question has its own deadline.

use super::super::agent::waited;
use super::{Finding, Patient, Tell};
use crate::engine_client::EngineClient;
use error::Result;
use host::facts::{Listener, listener};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Plugin {
    name: String,
    enabled: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    mounts: Vec<Mounted>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mounted {
    #[serde(default)]
    driver: String,
}

pub(super) fn check(patient: &Patient, tell: Tell<'_>) {
    let socket = patient.paths.home().join("run/docker.sock");
    let looked_at = format!("dockerd at {}", socket.display());
    match listener(&socket) {
        Ok(Listener::Alive(_)) => {}
        Ok(Listener::Forbidden) => return tell(Finding::needs_root("docker-plugins", looked_at)),
        _ => return,
    }
    let client = EngineClient::new(&socket);
    let plugins: Result<Vec<Plugin>> = waited(async { client.get("/plugins").await });
    let containers: Result<Vec<Container>> =
        waited(async { client.get("/containers/json?all=1").await });
    match (plugins, containers) {
        (Ok(plugins), Ok(containers)) => judge(&looked_at, &plugins, &containers, tell),
        (Err(error), _) | (_, Err(error)) => {
            let slow = Finding::unknown("docker-plugins", looked_at, error.to_string());
            tell(slow.why("dockerd answers late when a plugin of its hangs."));
        }
    }
}

fn judge(looked_at: &str, plugins: &[Plugin], containers: &[Container], tell: Tell<'_>) {
    let mut users: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for container in containers {
        let name = container.names.first().map_or("?", |name| name.trim_start_matches('/'));
        for mounted in &container.mounts {
            users.entry(mounted.driver.as_str()).or_default().push(name);
        }
    }
    let users_of = |plugin: &Plugin| {
        let short = plugin.name.trim_end_matches(":latest");
        users.get(plugin.name.as_str()).or_else(|| users.get(short))
    };
    let mut is_well = true;
    for plugin in plugins.iter().filter(|plugin| !plugin.enabled) {
        if let Some(users) = users_of(plugin) {
            is_well = false;
            let found = format!(
                "plugin {} is disabled, and used by containers: {}",
                plugin.name,
                users.join(", ")
            );
            tell(
                Finding::problem("docker-plugins", looked_at, found)
                    .why(
                        "dockerd disables a plugin that is not ready within ten seconds of a \
                         boot, and these containers do not start.",
                    )
                    .mend(format!("docker plugin enable {}", plugin.name)),
            );
        }
    }
    if is_well {
        tell(Finding::ok(
            "docker-plugins",
            looked_at,
            format!("{} plugins; none that is used is disabled", plugins.len()),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_disabled_plugin_whose_volumes_are_used_is_a_problem() {
        let read = |plugins: &str, containers: &str| {
            let plugins: Vec<Plugin> = serde_json::from_str(plugins).unwrap();
            let containers: Vec<Container> = serde_json::from_str(containers).unwrap();
            let mut findings = Vec::new();
            judge("dockerd", &plugins, &containers, &mut |finding| findings.push(finding));
            findings
        };
        let containers = r#"[{"Names":["/db"],"Mounts":[{"Type":"volume","Driver":"rexray/ebs"}]},
                             {"Names":["/web"],"Mounts":[{"Type":"bind"}]}]"#;
        let disabled = r#"[{"Name":"rexray/ebs:latest","Enabled":false,"Config":{}}]"#;
        let findings = read(disabled, containers);
        assert!(findings[0].status == Status::Problem && findings[0].found.contains("db"));
        assert_eq!(findings[0].mend.as_deref(), Some("docker plugin enable rexray/ebs:latest"));
        assert_eq!(read(disabled, "[]")[0].status, Status::Ok);
        let enabled = disabled.replace("false", "true");
        assert_eq!(read(&enabled, containers)[0].status, Status::Ok);
    }
}
