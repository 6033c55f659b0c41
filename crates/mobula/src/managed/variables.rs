//! The settings of a managed plugin, as environment variables: the driver's options, the volume
//! options, the common ones, those that the driver's libraries know, and
//! [REX-Ray's names](super::rexray) for the same things. An empty variable counts as unset, as in
//! REX-Ray's plugins, which declare most of theirs empty.

use super::rexray;
use volume::Spec;

/// Names the file of certificates that libraries trust.
pub(super) const AUTHORITIES: &str = "SSL_CERT_FILE";

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name, such as `VOLUME_FSTYPE`.
    pub name: String,
    /// One sentence for people, with the default where there is one.
    pub help: String,
    /// Never shown.
    pub secret: bool,
    /// What it does.
    pub sets: Sets,
}

/// What a setting does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sets {
    /// It sets this key of the configuration, such as `services.loop.volume.fsType`.
    Key(String),
    /// It sets this key to an address; one without a scheme, as REX-Ray took it, is one of https.
    Address(String),
    /// A switch that sets this key to one word when it is on, and to another one when it is off.
    Switch {
        /// The key.
        key: String,
        /// What it is set to.
        on: &'static str,
        /// What it is set to.
        off: &'static str,
    },
    /// The program's libraries read it: proxies, credentials.
    Environment,
    /// Volumes look as REX-Ray's do: data in the subdirectory `data`, of mode 0700; and where others'
    /// volumes can be listed, they are.
    Compat,
    /// REX-Ray's name of something that needs no setting here; the reason. It is declared so that
    /// a command line that sets it goes on working.
    Nothing(&'static str),
}

/// Every setting of the plugin of this driver. Where two set one key, the later one wins when both
/// are given: ours come after REX-Ray's.
#[must_use]
pub fn variables(spec: &Spec) -> Vec<Variable> {
    let mut all = rexray::variables(spec);
    all.extend(common(spec));
    all.extend(libraries(spec));
    all.extend(own(spec));
    all
}

impl Variable {
    /// A setting that is no secret.
    pub(super) fn new(name: impl Into<String>, help: impl Into<String>, sets: Sets) -> Self {
        Self { name: name.into(), help: help.into(), secret: false, sets }
    }
}

/// What every plugin can be told.
fn common(spec: &Spec) -> Vec<Variable> {
    let variable = |name: &str, help: &str, sets| Variable::new(name, help, sets);
    let proxy = |name, what| Variable {
        // An address may hold a password.
        secret: true,
        ..variable(name, what, Sets::Environment)
    };
    vec![
        variable(
            "LOG_LEVEL",
            "What is logged: error, warn, info, debug or trace (default info).",
            Sets::Key("log.level".to_owned()),
        ),
        variable(
            "LOG_FORMAT",
            "How a log line looks: text or json (default text).",
            Sets::Key("log.format".to_owned()),
        ),
        variable("COMPAT", rexray::compat_help(spec), Sets::Compat),
        proxy("HTTP_PROXY", "Proxy for http addresses; without HTTPS_PROXY for https ones too."),
        proxy("HTTPS_PROXY", "Proxy for https addresses."),
        Variable {
            secret: false,
            ..proxy("NO_PROXY", "Hosts that are reached without a proxy, with commas.")
        },
    ]
}

/// What the libraries of the driver know, which would not reach them undeclared.
fn libraries(spec: &Spec) -> Vec<Variable> {
    let Some(container) = spec.container else { return Vec::new() };
    let sets = |option: Option<&str>| match option {
        Some(option) => Sets::Key(format!("services.{}.options.{option}", spec.name)),
        None => Sets::Environment,
    };
    let own = container.variables.iter().map(|known| Variable {
        secret: known.secret,
        ..Variable::new(known.name, known.help, sets(known.option))
    });
    let certificates = container.network.map(|_| {
        let help = "File of the authorities (PEM) to trust instead of those in the image, as the \
                    plugin sees it.";
        Variable::new(AUTHORITIES, help, Sets::Environment)
    });
    certificates.into_iter().chain(own).collect()
}

/// The options of the driver and of its volumes.
fn own(spec: &Spec) -> Vec<Variable> {
    let fixed = |name: &str| {
        let directories = spec.container.iter().flat_map(|container| container.directories);
        directories.into_iter().any(|directory| directory.option.eq_ignore_ascii_case(name))
    };
    let variable = |prefix: &str, section: &str, option: volume::OptionSpec| {
        let name = format!("{prefix}_{}", option.name.to_ascii_uppercase());
        let key = format!("services.{}.{section}.{}", spec.name, option.name);
        let help = match option.default {
            Some(default) => format!("{} (default {default})", option.help),
            None => option.help.to_owned(),
        };
        let sets = if rexray::is_address(spec, &name) { Sets::Address } else { Sets::Key };
        Variable { name, help, secret: option.secret, sets: sets(key) }
    };
    let driver = spec.name.to_ascii_uppercase();
    let service = spec.service_options.iter().copied().filter(|option| !fixed(option.name));
    // A default for every volume names no snapshot and no other volume.
    let volume =
        spec.volume_options().filter(|option| !matches!(option.name, "snapshot" | "clone"));
    service
        .map(|option| variable(&driver, "options", option))
        .chain(volume.map(|option| variable("VOLUME", "volume", option)))
        .collect()
}
