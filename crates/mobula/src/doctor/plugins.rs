//! Managed plugins: those of this program's engine that are not as they should be, and those of dockerd
//! that are disabled though containers use their volumes.

mod dockerd;

use super::agent::waited;
use super::{Finding, Patient, Tell};
use crate::engine_client::EngineClient;
use error::{Kind, Result};
use host::facts::{Listener, listener};
use host::record::{self, Read};
use plugin::engine::{Description, State};
use plugin::record::Record;

/// Restarts since its start beyond which a plugin that runs now will not run for long.
const MANY: u32 = 3;

pub(super) fn check(patient: &Patient, tell: Tell<'_>) {
    engine(patient, tell);
    dockerd::check(patient, tell);
}

fn engine(patient: &Patient, tell: Tell<'_>) {
    let socket = patient.config().engine.socket.clone();
    let socket = socket.unwrap_or_else(|| patient.paths.engine_socket());
    if !matches!(listener(&socket), Ok(Listener::Alive(_))) {
        return stopped(patient, tell);
    }
    let asked: Result<Vec<Description>> =
        waited(async { EngineClient::new(&socket).get("/mobula/plugins").await });
    match asked {
        Ok(plugins) => {
            plugins.iter().filter(|one| one.kind == "managed").for_each(|one| tell(judge(one)));
        }
        Err(error) => {
            tell(Finding::unknown("plugin", socket.display().to_string(), error.to_string()));
        }
    }
}

fn judge(plugin: &Description) -> Finding {
    let (check, looked_at) = ("plugin", format!("plugin {}", plugin.name));
    let logs = format!("mobula plugin logs {}", plugin.name);
    let problem = plugin.problem.clone().unwrap_or_else(|| "it does not run".to_owned());
    match plugin.state {
        State::Failing => {
            Finding::problem(check, looked_at, format!("{problem} (restarts: {})", plugin.restarts))
                .why("Calls for its volumes fail, and containers that use them do not start.")
                .mend(format!("see why: {logs}; the engine goes on trying"))
        }
        State::Disabled if !plugin.in_use.is_empty() => Finding::problem(
            check,
            looked_at,
            format!("disabled, though in use: {}", plugin.in_use.join(", ")),
        )
        .why("Nobody serves the volumes that are mounted of it.")
        .mend(format!("mobula plugin enable {}", plugin.name)),
        State::Disabled => {
            Finding::ok(check, looked_at, "disabled; it is not started at boot either")
        }
        _ if plugin.problem.is_some() => Finding::problem(check, looked_at, problem)
            .why("It runs, but its files are damaged: it will not start again.")
            .mend(format!("mobula plugin upgrade {}", plugin.name)),
        _ if plugin.restarts >= MANY => Finding::warning(
            check,
            looked_at,
            format!("it has died and was started again {} times", plugin.restarts),
        )
        .why(
            "Calls under way when it dies fail; at some point it is left alone for a minute at a \
             time.",
        )
        .mend(format!("see why: {logs}")),
        State::Starting => Finding::ok(check, looked_at, "starting"),
        State::Running => Finding::ok(check, looked_at, "running"),
    }
}

/// What the records say while no engine runs.
fn stopped(patient: &Patient, tell: Tell<'_>) {
    let dir = patient.paths.state().join("plugins");
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return tell(Finding::needs_root("plugin", dir.display().to_string()));
        }
        Err(_) => return,
    };
    for entry in
        entries.flatten().filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
    {
        let path = entry.path().join("plugin.json");
        let shown = path.display().to_string();
        match record::read::<Record>(&path) {
            Ok(Read::Missing) => {}
            Ok(Read::Fine(record)) if record.enabled => tell(
                Finding::problem(
                    "plugin",
                    format!("plugin {}", record.name),
                    "enabled, but no engine runs",
                )
                .why("Nothing new is mounted of it, and after a reboot it is not started.")
                .mend("systemctl enable --now mobula-engine, or: mobula engine"),
            ),
            Ok(Read::Fine(record)) => {
                tell(Finding::ok(
                    "plugin",
                    format!("plugin {}", record.name),
                    "disabled, and no engine runs",
                ));
            }
            Ok(Read::Unusable(error)) => tell(
                Finding::problem("plugin", shown, error.to_string())
                    .why("The engine cannot start the plugin.")
                    .mend("install it again: mobula plugin install"),
            ),
            Err(error) if error.kind() == Kind::PermissionDenied => {
                tell(Finding::needs_root("plugin", shown));
            }
            Err(error) => tell(Finding::unknown("plugin", shown, error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{found, home};
    use super::*;
    use crate::doctor::Status;

    fn plugin(state: State, restarts: u32, in_use: &[&str], problem: Option<&str>) -> Description {
        Description {
            kind: "managed".to_owned(),
            name: "x:latest".to_owned(),
            id: None,
            description: String::new(),
            types: Vec::new(),
            enabled: state != State::Disabled,
            state,
            reference: String::new(),
            digest: None,
            pid: None,
            started: None,
            restarts,
            last_exit: None,
            problem: problem.map(str::to_owned),
            socket: None,
            in_use: in_use.iter().map(ToString::to_string).collect(),
            propagated_mount: None,
            choices: None,
            privileges: Vec::new(),
        }
    }

    #[test]
    fn plugins_are_judged_by_what_becomes_of_their_users() {
        for (plugin, status) in [
            (plugin(State::Running, 0, &["db"], None), Status::Ok),
            (plugin(State::Running, 5, &[], None), Status::Warning),
            (plugin(State::Running, 0, &[], Some("its layers are damaged")), Status::Problem),
            (plugin(State::Failing, 5, &[], Some("exit 1")), Status::Problem),
            (plugin(State::Disabled, 0, &[], None), Status::Ok),
            (plugin(State::Disabled, 0, &["db"], None), Status::Problem),
        ] {
            let finding = judge(&plugin);
            assert_eq!(finding.status, status, "{finding:?}");
        }
    }

    #[test]
    fn records_are_read_while_no_engine_runs() {
        let home = home();
        home.write("var/lib/mobula/plugins/0123/plugin.json", "{");
        let findings = found(check, &home.patient());
        assert_eq!(findings[0].status, Status::Problem, "{findings:?}");
    }
}
