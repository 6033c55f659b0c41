//! What the configuration needs of this machine: certificates, keys and programs that are there and
//! fit to be used, and an address for each plugin.

use super::{Examined, Origin};
use crate::listen::Listen;
use crate::paths::Paths;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

impl Examined {
    pub(super) fn look_at_machine(&mut self, paths: &Paths) {
        self.look_at_addresses(paths);
        for (key, path, is_secret) in self.files() {
            if let Err(why) = usable(&path, is_secret) {
                let message = format!("{key}: {why}");
                self.complain(self.blame(&key), key, message);
            }
        }
    }

    fn look_at_addresses(&mut self, paths: &Paths) {
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        let mut clashes = Vec::new();
        for (name, module) in &self.config.docker {
            let own = Listen::Unix(paths.docker_sockets().join(format!("{name}.sock")));
            let listen = module.listen.as_deref().map_or(Ok(own), Listen::parse);
            let Ok(listen) = listen.map(|listen| listen.to_string()) else { continue };
            if let Some(other) = taken.insert(listen.clone(), name.to_string()) {
                clashes.push((
                    format!("docker.{name}.listen"),
                    format!(
                        "docker.{name} and docker.{other} both listen at {listen}; give each an \
                         address of its own"
                    ),
                ));
            }
        }
        for (key, message) in clashes {
            let said = self.blame(&key);
            let origin = match said {
                Origin::Default => self.in_file(None),
                said => said,
            };
            self.complain(origin, key, message);
        }
    }

    /// The files that it names, each with whether only its owner may read it.
    fn files(&self) -> Vec<(String, PathBuf, bool)> {
        let mut files = Vec::new();
        for (name, module) in &self.config.docker {
            let Some(tls) = &module.tls else { continue };
            let needed = [("cert", &tls.cert, false), ("key", &tls.key, true)];
            // The file that dockerd reads: only its presence counts here.
            let wished =
                [("clientCa", &tls.client_ca), ("ca", &tls.ca), ("clientCert", &tls.client_cert)];
            let wished = wished.into_iter().chain([("clientKey", &tls.client_key)]);
            let wished =
                wished.filter_map(|(key, path)| Some((key, path.as_ref()?, key == "clientKey")));
            for (key, path, is_secret) in needed.into_iter().chain(wished) {
                files.push((format!("docker.{name}.tls.{key}"), path.clone(), is_secret));
            }
        }
        let engine = &self.config.engine;
        let program = engine.runtime.as_ref().filter(|runtime| runtime.starts_with('/'));
        files.extend(program.map(|path| ("engine.runtime".to_owned(), path.into(), false)));
        let certificates = engine.certificates.iter().filter(|path| path.is_absolute());
        files.extend(
            certificates.map(|path| ("engine.certificates".to_owned(), path.clone(), false)),
        );
        files
    }
}

/// Why the file at `path` cannot be used.
fn usable(path: &Path, is_secret: bool) -> Result<(), String> {
    if path.as_os_str().is_empty() {
        return Err("no file is named; give its path".to_owned());
    }
    let shown = path.display();
    let found = match std::fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("{shown} does not exist"));
        }
        Err(error) => return Err(format!("{shown} cannot be looked at: {error}")),
    };
    if !found.is_file() {
        return Err(format!("{shown} is no file"));
    }
    let mode = found.mode() & 0o7777;
    if is_secret && mode & 0o007 != 0 {
        return Err(format!(
            "{shown} is open to everybody (mode {mode:04o}); run chmod 600 {shown}"
        ));
    }
    host::file::is_readable(path).then_some(()).ok_or_else(|| format!("{shown} cannot be read"))
}
