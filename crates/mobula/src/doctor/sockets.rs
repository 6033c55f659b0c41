//! Where Docker and Podman look for plugins: the directory, and sockets in it that nobody listens at.

use super::{Finding, Patient, Tell};
use crate::listen::Listen;
use error::{Error, Kind, Result};
use host::facts::{Listener, listener};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// A directory that holds more than this is not searched to its end.
const MOST: usize = 1000;

pub(super) fn check(patient: &Patient, tell: Tell<'_>) {
    tell(directory(patient));
    let (ours, mut places) = (ours(patient), sockets_in(&patient.paths.docker_sockets()));
    // What listens elsewhere by configuration, and the agent's own.
    places.extend(ours.iter().filter(|path| is_socket(path)).cloned());
    for path in places {
        if let Some(finding) = socket(&path, ours.contains(&path), patient.mends) {
            tell(finding);
        }
    }
}

fn directory(patient: &Patient) -> Finding {
    let (name, path) = ("plugin-directory", patient.paths.docker_sockets());
    let shown = path.display().to_string();
    if path.is_dir() {
        return Finding::ok(name, shown, "there");
    }
    let found =
        if path.symlink_metadata().is_ok() { "it is no directory" } else { "it does not exist" };
    let finding = Finding::problem(name, shown.clone(), found)
        .why("Docker and Podman look for plugins there; a plugin without it is not found.")
        .mend(format!("mkdir -p {shown}"));
    if !patient.mends {
        return finding;
    }
    let made = host::file::make_dir(&path, 0o755);
    finding.tried(made.map(|_| format!("made {shown}")))
}

/// The sockets that belong to this program, by what its configuration and its records say.
fn ours(patient: &Patient) -> BTreeSet<PathBuf> {
    #[derive(Default, Deserialize)]
    struct Published {
        paths: BTreeSet<PathBuf>,
    }
    let paths = &patient.paths;
    let record = host::record::read::<Published>(&paths.run().join("published.json"));
    let mut ours = match record {
        Ok(host::record::Read::Fine(published)) => published.paths,
        _ => BTreeSet::new(),
    };
    for (name, module) in &patient.config().docker {
        let own = Listen::Unix(paths.docker_sockets().join(format!("{name}.sock")));
        if let Ok(Listen::Unix(path)) = module.listen.as_deref().map_or(Ok(own), Listen::parse) {
            ours.insert(path);
        }
    }
    ours.extend([paths.socket(), paths.engine_socket()]);
    ours
}

/// Sockets in the directory and in its directories: `NAME.sock`, `NAME/NAME.sock`.
fn sockets_in(dir: &Path) -> BTreeSet<PathBuf> {
    let list = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten().take(MOST);
    let mut found = BTreeSet::new();
    for entry in list(dir) {
        match entry.file_type() {
            Ok(kind) if kind.is_socket() => drop(found.insert(entry.path())),
            Ok(kind) if kind.is_dir() => {
                found.extend(
                    list(&entry.path()).map(|below| below.path()).filter(|path| is_socket(path)),
                );
            }
            _ => {}
        }
    }
    found
}

fn is_socket(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket())
}

fn socket(path: &Path, is_ours: bool, mends: bool) -> Option<Finding> {
    let (name, shown) = ("socket", path.display().to_string());
    match listener(path) {
        Ok(Listener::Alive(_)) => Some(Finding::ok(name, shown, "somebody listens")),
        Ok(Listener::Forbidden) => Some(Finding::needs_root(name, shown)),
        Ok(Listener::Nobody) if is_ours => {
            let found = "nobody listens: mobula left it when it was killed";
            let finding = Finding::problem(name, &shown, found)
                .why("No engine and no command reaches mobula by it, and Docker waits at dead sockets.")
                .mend("start mobula, which takes its place; or remove it: mobula doctor --fix");
            if !mends {
                return Some(finding);
            }
            Some(finding.tried(remove(path).map(|()| format!("removed {shown}"))))
        }
        Ok(Listener::Nobody) => Some(
            Finding::warning(
                name,
                &shown,
                "nobody listens: a plugin of another program is not running",
            )
            .why(
                "Docker waits for up to half a minute at a dead socket, with every command that \
                 lists volumes.",
            )
            .mend(format!("start the program it belongs to, or: rm {shown}")),
        ),
        Err(error) if error.kind() == Kind::NotFound => None,
        Err(error) => Some(Finding::unknown(name, shown, error.to_string())),
    }
}

/// Removes the socket if still nobody listens at it.
fn remove(path: &Path) -> Result<()> {
    if !is_socket(path) || listener(path)? != Listener::Nobody {
        return Err(Error::failed_precondition("somebody listens there by now"));
    }
    std::fs::remove_file(path)
        .map_err(|source| Error::io(format!("remove {}", path.display()), source))
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{Home, about, found, home};
    use super::*;
    use crate::doctor::Status;
    use std::os::unix::net::UnixListener;

    /// A home with a dead socket of ours, a dead foreign one, a living one and a file.
    fn crowded() -> (Home, UnixListener) {
        let home = home();
        let dir = home.make_dir("run/docker/plugins/vendor");
        let plugins = home.path("run/docker/plugins");
        for path in [plugins.join("mobula.sock"), plugins.join("rexray.sock"), dir.join("x.sock")] {
            drop(UnixListener::bind(path).unwrap());
        }
        std::fs::write(plugins.join("file.sock"), "").unwrap();
        let living = UnixListener::bind(plugins.join("alive.sock")).unwrap();
        (home, living)
    }

    #[test]
    fn dead_sockets_are_told_ours_as_problems_and_others_as_warnings() {
        let (home, _living) = crowded();
        let findings = found(check, &home.patient());
        for (name, status) in [
            ("mobula.sock", Status::Problem),
            ("rexray.sock", Status::Warning),
            ("vendor/x.sock", Status::Warning),
            ("alive.sock", Status::Ok),
        ] {
            let path = home.path("run/docker/plugins").join(name);
            let about = about(&findings, "socket", &path);
            assert_eq!(about.iter().map(|f| f.status).collect::<Vec<_>>(), [status], "{name}");
        }
        assert_eq!(findings.iter().filter(|f| f.check == "socket").count(), 4, "{findings:#?}");
    }

    #[test]
    fn only_dead_sockets_of_ours_are_removed() {
        let (home, _living) = crowded();
        let plugins = home.path("run/docker/plugins");
        let published = plugins.join("vendor/mine.sock");
        drop(UnixListener::bind(&published).unwrap());
        let record = serde_json::json!({ "version": 1, "paths": [published] });
        home.write("run/mobula/published.json", &record.to_string());
        found(check, &home.mending());
        assert!(!plugins.join("mobula.sock").exists() && !published.exists());
        for name in ["rexray.sock", "vendor/x.sock", "alive.sock", "file.sock"] {
            assert!(plugins.join(name).exists(), "{name} stays");
        }
        let again = found(check, &home.patient());
        assert!(again.iter().all(|f| f.status != Status::Problem), "{again:#?}");
    }

    #[test]
    fn the_directory_is_made_only_when_asked() {
        let home = home();
        let path = home.path("run/docker/plugins");
        assert_eq!(found(check, &home.patient())[0].status, Status::Problem);
        assert!(!path.exists());
        let mended = &found(check, &home.mending())[0];
        assert!(mended.status == Status::Ok && mended.mended.is_some() && path.is_dir());
        assert_eq!(found(check, &home.patient())[0].status, Status::Ok);
    }
}
