//! What the credentials of services lack, by the action `permissions` of their drivers: asked through
//! the agent, whose credentials count, or without one by a driver that is opened for that alone.

use super::{Finding, Patient, Tell};
use crate::api::{ActionReport, AskAction};
use crate::client::Client;
use crate::config::Service;
use crate::paths::Paths;
use error::{Error, Kind, Result};
use host::facts::Listener;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use volume::driver::{ActionRequest, Opening, PERMISSION_COLUMNS, PERMISSIONS};
use volume::metrics::Calls;
use volume::{ServiceName, drivers};

/// How long a back end may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long this group has: a little longer.
pub(super) const DEADLINE: Duration = Duration::from_secs(22);

const CHECK: &str = "permissions";

pub(super) fn check(patient: &Patient, tell: Tell<'_>) {
    ask_all(patient, tell, PATIENCE);
}

/// A service whose driver can tell.
#[derive(Clone)]
struct Asked {
    name: ServiceName,
    service: Service,
}

fn asked(patient: &Patient) -> Vec<Asked> {
    let can_tell = |service: &Service| {
        let spec = drivers::get(&service.driver).ok();
        spec.is_some_and(|spec| spec.actions.iter().any(|action| action.name == PERMISSIONS))
    };
    // What is wrong with a configuration was told as part of it.
    let services = patient.config().services.iter().filter(|(_, service)| can_tell(service));
    let whole = services.filter(|(_, service)| service.parsed().is_ok());
    whole.map(|(name, service)| Asked { name: name.clone(), service: service.clone() }).collect()
}

/// Asks all at once, so that one that hangs takes no time of another.
fn ask_all(patient: &Patient, tell: Tell<'_>, patience: Duration) {
    let asked = asked(patient);
    if asked.is_empty() {
        return;
    }
    if patient.agent == Some(Listener::Forbidden) {
        return asked.iter().for_each(|one| tell(Finding::needs_root(CHECK, one.title())));
    }
    let is_alive = matches!(patient.agent, Some(Listener::Alive(_)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return tell(Finding::unknown(CHECK, "services", error.to_string())),
    };
    runtime.block_on(async {
        let mut answers = JoinSet::new();
        for one in asked {
            let paths = patient.paths.clone();
            answers.spawn(async move {
                let answer = async {
                    if is_alive { one.through_agent(&paths).await } else { one.here(&paths).await }
                };
                let answer = tokio::time::timeout(patience, answer).await;
                let late = || {
                    let seconds = patience.as_secs();
                    Err(Error::deadline_exceeded(format!("no answer within {seconds} s")))
                };
                (one, answer.unwrap_or_else(|_| late()))
            });
        }
        while let Some(answer) = answers.join_next().await {
            match answer {
                Ok((one, answer)) => judge(&one, answer).into_iter().for_each(&mut *tell),
                Err(failure) => tell(Finding::unknown(CHECK, "services", failure.to_string())),
            }
        }
    });
    // What hangs on a blocking thread is left behind.
    runtime.shutdown_background();
}

impl Asked {
    fn title(&self) -> String {
        format!("credentials of service {} (driver {})", self.name, self.service.driver)
    }

    async fn through_agent(&self, paths: &Paths) -> Result<ActionReport> {
        let client = Client::at(paths.socket());
        client.act(self.name.as_str(), PERMISSIONS, &AskAction::default(), |_| {}).await
    }

    /// The driver alone: to open the whole service may change what is on disk.
    async fn here(&self, paths: &Paths) -> Result<ActionReport> {
        let (spec, options, _) = self.service.parsed()?;
        let driver = (spec.open)(&Opening {
            volumes: paths.volumes().join(self.name.as_str()),
            options,
            host: Arc::new(host::linux::Linux::default()),
            calls: Calls::default(),
        })?;
        let action = PERMISSIONS.to_owned();
        let request = ActionRequest { action, subject: None, options: BTreeMap::new() };
        Ok(driver.act(&request, &|_: &str| {}).await?.into())
    }

    /// The command that looks again.
    fn again(&self) -> String {
        format!("mobula {} {PERMISSIONS} --service {}", self.service.driver, self.name)
    }
}

fn judge(one: &Asked, answer: Result<ActionReport>) -> Vec<Finding> {
    let looked_at = one.title();
    match answer {
        Ok(report) => judge_report(one, &report),
        Err(error) if error.kind() == Kind::Unimplemented => vec![Finding::unknown(
            CHECK,
            looked_at,
            format!("the agent that runs cannot tell: {error}"),
        )],
        Err(error) => vec![
            Finding::problem(CHECK, looked_at, error.chain())
                .why("Calls for volumes of this service fail likewise.")
                .mend(format!("put right what it names, then: {}", one.again())),
        ],
    }
}

fn judge_report(one: &Asked, report: &ActionReport) -> Vec<Finding> {
    let column = |title| report.columns.iter().position(|column| column == title);
    let [Some(name), Some(state), Some(needed)] = PERMISSION_COLUMNS.map(column) else {
        return vec![Finding::unknown(CHECK, one.title(), "the answer cannot be read")];
    };
    let lacking = |word: &str| -> Vec<(&str, &str)> {
        let rows = report.rows.iter().filter(|row| row.get(state).is_some_and(|is| is == word));
        rows.filter_map(|row| Some((row.get(name)?.as_str(), row.get(needed)?.as_str()))).collect()
    };
    let (essential, optional) = (lacking("MISSING"), lacking("missing"));
    if essential.is_empty() && optional.is_empty() {
        return vec![Finding::ok(CHECK, one.title(), "they allow all that is needed")];
    }
    let finding = |make: fn(&'static str, String, String) -> Finding, lacks: &[(&str, &str)]| {
        let names: Vec<_> = lacks.iter().map(|(name, _)| *name).collect();
        let mut uses: Vec<_> = lacks.iter().map(|(_, needed)| *needed).collect();
        uses.dedup();
        let driver = &one.service.driver;
        make(CHECK, one.title(), format!("they do not allow {}", names.join(", ")))
            .why(format!("It is needed {}.", uses.join(", ")))
            .mend(format!(
                "add {} to their policy (docs/drivers/{driver}.md has all of it), then: {}",
                names.join(", "),
                one.again()
            ))
    };
    let mut findings = Vec::new();
    if !essential.is_empty() {
        findings.push(finding(Finding::problem, &essential));
    }
    if !optional.is_empty() {
        findings.push(finding(Finding::warning, &optional));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{found, home};
    use super::*;
    use crate::doctor::Status;
    use std::net::TcpListener;

    const TOLD: &str = "instance: i-1, zone: us-east-1a, accessKey: A, secretKey: S";

    fn configured(endpoint: &str) -> super::super::tests_support::Home {
        let home = home();
        home.configure(&format!(
            "services: {{pg: {{driver: ebs, options: {{{TOLD}, endpoint: \"{endpoint}\"}}}}}}\n"
        ));
        home
    }

    fn one() -> Asked {
        asked(&configured("http://127.0.0.1:1").patient()).remove(0)
    }

    fn report(states: &[(&str, &str)]) -> ActionReport {
        let words = |words: [&str; 3]| words.map(str::to_owned).to_vec();
        let rows = states.iter().map(|(name, state)| words([name, state, "to mount volumes"]));
        ActionReport { columns: words(PERMISSION_COLUMNS), rows: rows.collect(), notes: Vec::new() }
    }

    #[test]
    fn what_is_missing_is_told_with_its_use_and_the_way_out() {
        let states = [("x:Look", "allowed"), ("x:Attach", "MISSING"), ("x:Copy", "missing")];
        let findings = judge(&one(), Ok(report(&states)));
        let told: Vec<_> = findings.iter().map(|f| (f.status, f.found.as_str())).collect();
        let expected = [
            (Status::Problem, "they do not allow x:Attach"),
            (Status::Warning, "they do not allow x:Copy"),
        ];
        assert_eq!(told, expected);
        assert_eq!(findings[0].looked_at, "credentials of service pg (driver ebs)");
        assert_eq!(findings[0].why.as_deref(), Some("It is needed to mount volumes."));
        let mend = findings[0].mend.as_deref().unwrap();
        assert!(mend.ends_with("then: mobula ebs permissions --service pg"), "{mend}");
    }

    #[test]
    fn credentials_that_allow_everything_are_well() {
        let findings = judge(&one(), Ok(report(&[("x:Look", "allowed")])));
        assert_eq!(findings[0].status, Status::Ok);
    }

    #[test]
    fn the_columns_are_those_of_the_driver() {
        let driver = include_str!("../../../volume/src/drivers/ebs/permissions.rs");
        let columns = PERMISSION_COLUMNS.map(|column| format!("\"{column}\"")).join(", ");
        assert!(driver.contains(&format!("[{columns}]")) || driver.contains("PERMISSION_COLUMNS"));
        assert!(driver.contains("\"allowed\"") && driver.contains("\"MISSING\""));
    }

    #[test]
    fn a_service_whose_driver_cannot_tell_is_not_asked() {
        let home = home();
        home.configure("services: {a: {driver: loop}, b: {driver: nonsense}}\n");
        assert_eq!(found(check, &home.patient()), []);
    }

    #[test]
    fn a_back_end_that_cannot_be_reached_is_a_problem() {
        let home = home();
        home.configure(
            "services: {pg: {driver: ebs, options: {metadata: \"http://127.0.0.1:1\"}}}\n",
        );
        let findings = found(check, &home.patient());
        assert_eq!((findings.len(), findings[0].status), (1, Status::Problem), "{findings:#?}");
        assert!(findings[0].found.contains("set instance and zone"), "{findings:#?}");
        assert!(findings[0].why.is_some() && findings[0].mend.is_some());
    }

    #[test]
    fn a_back_end_that_never_answers_is_a_problem_in_time() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let home = configured(&format!("http://{}", silent.local_addr().unwrap()));
        let mut findings = Vec::new();
        ask_all(&home.patient(), &mut |finding| findings.push(finding), Duration::from_secs(1));
        assert_eq!((findings.len(), findings[0].status), (1, Status::Problem), "{findings:#?}");
        assert_eq!(findings[0].found, "no answer within 1 s");
    }
}
