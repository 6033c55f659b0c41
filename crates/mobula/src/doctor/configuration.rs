//! The configuration: what `mobula config check` says, who may change the file, and whether each
//! service can be opened.

use super::{Finding, Patient, Tell};
use std::os::unix::fs::MetadataExt;

pub(super) fn check(patient: &Patient, tell: Tell<'_>) {
    let examined = &patient.examined;
    let file = examined.file.display().to_string();
    if examined.problems.is_empty() {
        let state = if examined.exists {
            "nothing is wrong with it"
        } else {
            "not there; defaults are used"
        };
        tell(Finding::ok("config", &file, state));
    }
    for problem in &examined.problems {
        let looked_at = problem.origin.to_string();
        tell(
            Finding::problem("config", looked_at, problem.message.clone())
                .why(
                    "The agent does not start with it, keeps its old configuration, or answers \
                     calls of that service with this error.",
                )
                .mend("change it, then: mobula config check"),
        );
    }
    if let Some(finding) = writable(patient) {
        tell(finding);
    }
    services(patient, tell);
}

/// Whoever may write the file decides what root does.
fn writable(patient: &Patient) -> Option<Finding> {
    let file = &patient.examined.file;
    let mode = std::fs::metadata(file).ok()?.mode() & 0o7777;
    (mode & 0o022 != 0).then(|| {
        let shown = file.display();
        Finding::problem(
            "config-mode",
            shown.to_string(),
            format!("others may write it (mode {mode:04o})"),
        )
        .why("Whoever may write it decides which directories and programs root works with.")
        .mend(format!("chmod go-w {shown}"))
    })
}

/// What the agent says about its services. Without one they are opened by the next command, not by
/// this one: to open a service may change what is on disk.
fn services(patient: &Patient, tell: Tell<'_>) {
    let Some(health) = super::agent::health(patient) else { return unopened(patient, tell) };
    for service in health.services {
        let looked_at = format!("service {} (driver {})", service.name, service.driver);
        tell(match service.error {
            None => Finding::ok("service", looked_at, "open"),
            Some(error) => Finding::problem("service", looked_at, error)
                .why("Every call for a volume of this service fails with this error.")
                .mend("put right what it names, then: systemctl reload mobula"),
        });
    }
}

fn unopened(patient: &Patient, tell: Tell<'_>) {
    for (name, service) in &patient.config().services {
        // What is wrong with it was told as part of the configuration.
        if service.parsed().is_ok() {
            let looked_at = format!("service {name} (driver {})", service.driver);
            tell(Finding::ok(
                "service",
                looked_at,
                "its options can be used; not open, as no agent runs",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{found, home};
    use super::*;
    use crate::doctor::Status;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn every_problem_of_the_configuration_is_a_finding() {
        let home = home();
        home.configure("sevices: {}\nlog: {level: loud}\n");
        let findings = found(check, &home.patient());
        let problems: Vec<_> = findings.iter().filter(|f| f.status == Status::Problem).collect();
        assert_eq!(problems.len(), 2, "{findings:#?}");
        assert!(problems[0].looked_at.ends_with("mobula.yml:1"), "{problems:?}");
        assert!(problems[0].found.contains("did you mean services?"));
    }

    #[test]
    fn a_file_that_others_may_write_is_a_problem() {
        let home = home();
        home.configure("{}\n");
        let path = home.patient().examined.file;
        for (mode, is_fine) in [(0o644, true), (0o664, false), (0o602, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let findings = found(check, &home.patient());
            assert_eq!(findings.iter().all(|f| f.check != "config-mode"), is_fine, "{mode:o}");
        }
    }
}
