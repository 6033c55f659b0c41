//! REX-Ray's modules, each a plugin that Docker knows by the name of its socket, and the services
//! that they offer.

use super::keys;
use super::settings::{Known, Scope, Settings};
use super::table::{HOST, SERVICE, SOCKET};
use crate::listen::Listen;
use std::path::Path;

/// Where Docker looks for sockets of plugins.
const SOCKETS: [&str; 2] = ["/run/docker/plugins", "/var/run/docker/plugins"];
/// The socket of a REX-Ray that was told nothing about it.
const DEFAULT_SOCKET: &str = "unix:///run/docker/plugins/rexray.sock";
/// The module that is there without being named, by its two names.
pub(super) const DEFAULT_MODULES: [&str; 2] = ["default-csi", "default-docker"];

/// A module.
#[derive(Debug, Clone)]
pub(super) struct Module {
    /// Its name in REX-Ray.
    pub(super) name: String,
    /// The plugin's name for Docker, and where it listens if not at the socket of that name.
    pub(super) plugin: Result<(String, Option<String>), &'static str>,
    /// The service that it offers, and the setting that says so.
    pub(super) service: Option<String>,
    pub(super) chosen_by: Option<usize>,
    /// The setting that says where it listens.
    pub(super) host: Option<usize>,
}

/// The modules that are on.
pub(super) fn modules(settings: &Settings<'_>) -> Vec<Module> {
    let mut names = settings.names(Scope::module);
    if !names.iter().any(|name| DEFAULT_MODULES.contains(&name.as_str())) {
        names.insert(0, DEFAULT_MODULES[0].to_owned());
    }
    let is_off = |name: &String| {
        let found = settings.text(&[Scope::Module(name.clone())], "disabled");
        found.and_then(|(_, text)| keys::is_on(text)).unwrap_or(false)
    };
    names.into_iter().filter(|name| !is_off(name)).map(|name| module(settings, name)).collect()
}

fn module(settings: &Settings<'_>, name: String) -> Module {
    let own = Scope::Module(name.clone());
    let around = [own.clone(), Scope::Agent, Scope::Root];
    let is_default = DEFAULT_MODULES.contains(&name.as_str());
    let host = settings.text(std::slice::from_ref(&own), "host");
    let host = host.or_else(|| is_default.then(|| settings.text(&around, SOCKET)).flatten());
    let plugin = match host.map(|(_, text)| text).or(is_default.then_some(DEFAULT_SOCKET)) {
        Some(address) => plugin(&name, address),
        None => Err("it has no host, without which REX-Ray did not start it"),
    };
    let chosen = settings.text(&around, SERVICE);
    Module {
        plugin,
        service: chosen.and_then(|(_, text)| first_word(text)),
        chosen_by: chosen.map(|(index, _)| index),
        host: host.map(|(index, _)| index),
        name,
    }
}

/// The first of several storage drivers is the one that counts.
fn first_word(text: &str) -> Option<String> {
    let mut words = text.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
    words.next().map(str::to_ascii_lowercase)
}

/// `unix:///run/docker/plugins/efs.sock` → Docker calls it efs.
fn plugin(module: &str, address: &str) -> Result<(String, Option<String>), &'static str> {
    let given = if address.starts_with('/') { format!("unix://{address}") } else { address.into() };
    let listen = Listen::parse(&given)
        .map_err(|_| "its host is not an address to listen at: unix:///PATH or tcp://IP:PORT")?;
    let Listen::Unix(path) = &listen else { return Ok((module.to_owned(), Some(given))) };
    let is_usual =
        path.parent().is_some_and(|dir| SOCKETS.iter().any(|known| dir == Path::new(known)));
    let base = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    match base.filter(|_| is_usual && path.extension().is_some_and(|ext| ext == "sock")) {
        Some(base) => Ok((base, None)),
        None => Ok((module.to_owned(), Some(given))),
    }
}

/// A service as REX-Ray had it: its name and the name of its driver, and the setting that says it.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) driver: String,
    pub(super) said_by: Option<usize>,
}

/// The services: those that are configured, or, where none is, those that the modules name (REX-Ray
/// then made each with the driver of its name).
pub(super) fn services(settings: &Settings<'_>, modules: &[Module]) -> Vec<Wanted> {
    let named = settings.names(Scope::service);
    if !named.is_empty() {
        return named.into_iter().map(|name| configured(settings, name)).collect();
    }
    // They are on the machine that the host is.
    if settings.text(&[Scope::Agent, Scope::Root], HOST).is_some_and(|(_, host)| is_remote(host)) {
        return Vec::new();
    }
    let mut wanted: Vec<Wanted> = Vec::new();
    for module in modules {
        let Some(name) = module.service.clone() else { continue };
        if wanted.iter().all(|known| known.name != name) {
            wanted.push(Wanted { driver: name.clone(), name, said_by: module.chosen_by });
        }
    }
    wanted
}

fn configured(settings: &Settings<'_>, name: String) -> Wanted {
    let found = settings.text(&[Scope::Service(name.clone())], "driver");
    let driver = found.map_or_else(|| name.clone(), |(_, text)| text.to_ascii_lowercase());
    Wanted { name, driver, said_by: found.map(|(index, _)| index) }
}

pub(super) fn is_remote(host: &str) -> bool {
    host.starts_with("tcp://")
}

/// The service that a module offers: the one it names, or the only one.
pub(super) fn offered(module: &Module, services: &[Wanted]) -> Option<String> {
    match (&module.service, services) {
        (Some(name), _) => Some(name.clone()),
        (None, [only]) => Some(only.name.clone()),
        _ => None,
    }
}

/// Where a service looks for its settings: the module that offers it, if it is the only one; itself;
/// the server; the agent; the root.
pub(super) fn scopes(service: &str, modules: &[Module], services: &[Wanted]) -> Vec<Scope> {
    let offers = |module: &&Module| offered(module, services).as_deref() == Some(service);
    let mut offering = modules.iter().filter(offers);
    let own = match (offering.next(), offering.next()) {
        (Some(only), None) => Some(Scope::Module(only.name.clone())),
        _ => None,
    };
    let around = [Scope::Service(service.to_owned()), Scope::Server, Scope::Agent, Scope::Root];
    own.into_iter().chain(around).collect()
}

/// What became of a module's field that needs no key of ours, or has none.
pub(super) fn field_change(known: Known<'_>) -> &'static str {
    match known {
        Known::Field("type") => "docker and csi were the same; there is one type.",
        Known::Field("desc") => "A plugin has no description.",
        Known::Field("spec") => "REX-Ray did nothing with it either.",
        Known::Field("disabled") => "A module that is off is left out.",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_knows_a_plugin_by_its_socket() {
        for (address, name, listen) in [
            ("unix:///run/docker/plugins/efs.sock", "efs", None),
            ("unix:///var/run/docker/plugins/efs.sock", "efs", None),
            ("/run/docker/plugins/efs.sock", "efs", None),
            ("unix:///tmp/efs.sock", "m", Some("unix:///tmp/efs.sock")),
            ("tcp://127.0.0.1:7981", "m", Some("tcp://127.0.0.1:7981")),
        ] {
            let (given, at) = plugin("m", address).unwrap();
            assert_eq!((given.as_str(), at.as_deref()), (name, listen), "{address}");
        }
        assert!(plugin("m", "tcp://:7981").is_err());
    }

    #[test]
    fn the_first_storage_driver_counts() {
        assert_eq!(first_word("EC2, rackspace").as_deref(), Some("ec2"));
        assert_eq!(first_word(" , "), None);
    }
}
