//! The settings of a managed plugin, as environment variables: the driver's options, the volume
//! options, the common ones, and the names that REX-Ray's plugins had for the same things. An empty
//! variable counts as unset, as in REX-Ray's plugins, which declare most of theirs empty.

use volume::Spec;

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
    /// The program's libraries read it: proxies.
    Environment,
    /// Volumes look as REX-Ray's do: data in the subdirectory `data`, of mode 0700.
    Compat,
    /// REX-Ray's name of something that needs no setting here; the reason. It is declared so that
    /// a command line that sets it goes on working.
    Nothing(&'static str),
}

/// Every setting of the plugin of this driver. Where two set one key, the later one wins when both
/// are given: ours come after REX-Ray's.
#[must_use]
pub fn variables(spec: &Spec) -> Vec<Variable> {
    let mut all = rexray(spec);
    all.extend(common());
    all.extend(own(spec));
    all
}

/// What every plugin can be told.
fn common() -> Vec<Variable> {
    let variable = |name: &str, help: &str, sets| Variable {
        name: name.to_owned(),
        help: help.to_owned(),
        secret: false,
        sets,
    };
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
        variable(
            "COMPAT",
            "rexray: volumes look as REX-Ray's do, data in the subdirectory data of mode 0700.",
            Sets::Compat,
        ),
        proxy("HTTP_PROXY", "Proxy for http addresses."),
        proxy("HTTPS_PROXY", "Proxy for https addresses."),
        Variable {
            secret: false,
            ..proxy("NO_PROXY", "Hosts that are reached without a proxy, with commas.")
        },
    ]
}

/// The options of the driver and of its volumes.
fn own(spec: &Spec) -> Vec<Variable> {
    let fixed = |name: &str| {
        let directories = spec.container.iter().flat_map(|container| container.directories);
        directories.into_iter().any(|directory| directory.option.eq_ignore_ascii_case(name))
    };
    let variable = |prefix: &str, section: &str, option: volume::OptionSpec| Variable {
        name: format!("{prefix}_{}", option.name.to_ascii_uppercase()),
        help: match option.default {
            Some(default) => format!("{} (default {default})", option.help),
            None => option.help.to_owned(),
        },
        secret: option.secret,
        sets: Sets::Key(format!("services.{}.{section}.{}", spec.name, option.name)),
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

/// The names that every plugin of REX-Ray had.
fn rexray(spec: &Spec) -> Vec<Variable> {
    let mut all = Vec::new();
    let mut add = |name: &str, what: String, sets| {
        all.push(Variable { name: name.to_owned(), help: what, secret: false, sets });
    };
    add(
        "REXRAY_LOGLEVEL",
        "REX-Ray's name of LOG_LEVEL.".to_owned(),
        Sets::Key("log.level".into()),
    );
    let volume = [
        ("REXRAY_FSTYPE", "fsType"),
        ("LINUX_VOLUME_ROOTPATH", "subPath"),
        ("LIBSTORAGE_INTEGRATION_VOLUME_OPERATIONS_MOUNT_ROOTPATH", "subPath"),
        ("LINUX_VOLUME_FILEMODE", "mode"),
    ];
    for (name, option) in volume {
        if spec.volume_options().any(|known| known.name == option) {
            let what = format!("REX-Ray's name of VOLUME_{}.", option.to_ascii_uppercase());
            let key = format!("services.{}.volume.{option}", spec.name);
            add(name, what, Sets::Key(key));
        }
    }
    let without_effect = [
        ("REXRAY_PREEMPT", "a volume of this machine is nowhere else attached"),
        ("DOCKER_LEGACY", "there is one implementation of Docker's protocol"),
        ("CSI_ENDPOINT", "the plugin speaks Docker's protocol only"),
        ("X_CSI_DRIVER", "the plugin speaks Docker's protocol only"),
        ("X_CSI_NATIVE", "the plugin speaks Docker's protocol only"),
    ];
    for (name, why) in without_effect {
        add(name, format!("REX-Ray's; of no effect: {why}."), Sets::Nothing(why));
    }
    all
}
