//! Volumes that something is wrong with, as the agent lists them. Without an agent nobody is asked: to
//! open a service may change what is on disk.

use super::agent::health;
use super::{Finding, Patient, Tell};
use crate::api::{VolumeInfo, VolumeList};
use crate::client::Client;
use error::{Error, Result};
use host::facts::Listener;
use std::time::Duration;

/// How long back ends may take to list their volumes.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long this group has: a little longer.
pub(super) const DEADLINE: Duration = Duration::from_secs(24);

const CHECK: &str = "volume";

pub(super) fn check(patient: &Patient, tell: Tell<'_>) {
    match patient.agent {
        Some(Listener::Alive(_)) => {}
        Some(Listener::Forbidden) => return tell(Finding::needs_root(CHECK, "the volumes")),
        _ => return,
    }
    match list(patient) {
        Ok(found) => {
            // Why a service is not open was told as part of the configuration.
            let services = health(patient).map(|health| health.services).unwrap_or_default();
            let is_open = |name: &str| {
                services.iter().all(|service| service.name != name || service.error.is_none())
            };
            judge(&found, is_open, tell);
        }
        Err(error) => tell(Finding::unknown(CHECK, "the volumes", error.chain())),
    }
}

fn list(patient: &Patient) -> Result<VolumeList> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Error::io("start a thread", source))?;
    runtime.block_on(async {
        let client = Client::at(patient.paths.socket());
        let listed = tokio::time::timeout(PATIENCE, client.get("/v1/volumes")).await;
        let seconds = PATIENCE.as_secs();
        let late = || Error::deadline_exceeded(format!("no answer within {seconds} s"));
        listed.map_err(|_| late())?
    })
}

fn judge(found: &VolumeList, is_open: impl Fn(&str) -> bool, tell: Tell<'_>) {
    for (service, reason) in found.failed.iter().filter(|(service, _)| is_open(service)) {
        tell(
            Finding::problem(CHECK, format!("volumes of service {service}"), reason)
                .why("Docker and Podman cannot find them, and containers with them do not start.")
                .mend(format!(
                    "put right what it names, then: mobula volume ls --service {service}"
                )),
        );
    }
    let faulty = |volume: &&VolumeInfo| volume.status == "faulty";
    let mut is_well = true;
    for volume in found.volumes.iter().filter(faulty) {
        is_well = false;
        let fault = volume.fault.as_deref().unwrap_or("it is faulty");
        tell(
            Finding::problem(CHECK, title(volume), fault)
                .why(
                    "Containers with it do not start, or cannot write to it; its name is not free, \
                     and nothing is done to it meanwhile.",
                )
                .mend(format!(
                    "do what it says; all that is known of it: mobula volume inspect {} --service {}",
                    volume.name, volume.service
                )),
        );
    }
    if is_well {
        tell(Finding::ok(CHECK, "the volumes", format!("{}, none faulty", found.volumes.len())));
    }
}

fn title(volume: &VolumeInfo) -> String {
    format!("volume {} of service {} (driver {})", volume.name, volume.service, volume.driver)
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{found, home};
    use super::*;
    use crate::doctor::Status;
    use serde_json::json;

    fn volume(name: &str, fault: Option<&str>) -> serde_json::Value {
        json!({
            "service": "pg", "name": name, "id": name, "driver": "ebs", "fault": fault,
            "created": "2026-01-02T03:04:05Z",
            "status": if fault.is_some() { "faulty" } else { "available" },
        })
    }

    fn judged(volumes: &[serde_json::Value], failed: &serde_json::Value) -> Vec<Finding> {
        let list = json!({ "volumes": volumes, "failed": failed });
        let mut findings = Vec::new();
        let list = serde_json::from_value(list).unwrap();
        judge(&list, |name| name != "closed", &mut |finding| findings.push(finding));
        findings
    }

    #[test]
    fn a_faulty_volume_is_named_with_its_fault_and_the_way_out() {
        let findings = judged(
            &[volume("fine", None), volume("torn", Some("its tags, put them back"))],
            &json!({}),
        );
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert_eq!(findings[0].status, Status::Problem);
        assert_eq!(findings[0].looked_at, "volume torn of service pg (driver ebs)");
        assert_eq!(findings[0].found, "its tags, put them back");
        let mend = findings[0].mend.as_deref().unwrap();
        assert!(mend.ends_with("mobula volume inspect torn --service pg"), "{mend}");
        assert!(findings[0].why.is_some());
    }

    #[test]
    fn volumes_that_cannot_be_listed_are_a_problem_told_once() {
        let findings = judged(&[], &json!({ "pg": "no answer", "closed": "told already" }));
        let told: Vec<_> = findings.iter().map(|f| (f.status, f.looked_at.as_str())).collect();
        let expected = [(Status::Problem, "volumes of service pg"), (Status::Ok, "the volumes")];
        assert_eq!(told, expected);
    }

    #[test]
    fn sound_volumes_are_counted() {
        let findings = judged(&[volume("a", None), volume("b", None)], &json!({}));
        assert_eq!((findings.len(), findings[0].status), (1, Status::Ok));
        assert_eq!(findings[0].found, "2, none faulty");
    }

    #[test]
    fn without_an_agent_no_service_is_opened() {
        let home = home();
        assert_eq!(found(check, &home.patient()), []);
        assert_eq!(std::fs::read_dir(home.path("")).unwrap().count(), 0);
    }
}
