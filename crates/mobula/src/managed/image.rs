//! What a plugin's `config.json` says, all of it from the driver's [`Spec`]: no more privileges than
//! the driver needs, and every setting with its help.

use super::VERB;
use super::variables::{Variable, variables};
use plugin::config::{Config, Env, Interface, InterfaceType, Linux, Mount, Network};
use volume::Spec;
use volume::driver::Directory;

/// The program in the image.
pub const PROGRAM: &str = "/mobula";
/// Where a plugin's sockets are, inside.
pub const SOCKETS: &str = "/run/docker/plugins";
/// The socket below it.
pub const SOCKET: &str = "mobula.sock";
/// Where the agent mounts volumes; what is mounted there is seen by the machine.
pub const MOUNTS: &str = "/run/mobula/mounts";

/// What every plugin may do beyond Docker's usual capabilities, and why.
pub const CAPABILITY: (&str, &str) = ("CAP_SYS_ADMIN", "to mount file systems");
/// The mount of a driver that uses devices, and why.
pub const DEVICES: (&str, &str) =
    ("/dev", "devices appear here while the plugin runs; its own /dev would not show them");

/// Where a driver without directories of its own reads secrets from.
const SECRETS: Directory = Directory {
    name: "secrets",
    source: "/srv",
    help: "Directory of the machine with files of secrets, for settings such as KEY=@/machine/secrets/file.",
    option: "",
    below: "",
};

/// The directories of the machine that the plugin of this driver is given.
pub fn directories(spec: &Spec) -> impl Iterator<Item = &'static Directory> + use<> {
    let own = spec.container.map(|container| container.directories).unwrap_or_default();
    let secrets = own.is_empty().then_some(&SECRETS);
    own.iter().chain(secrets)
}

/// Where the directory `name` is inside.
#[must_use]
pub fn place(name: &str) -> String {
    format!("/machine/{name}")
}

/// The configuration of the driver's plugin; `None` when it makes no sense as one.
#[must_use]
pub fn config(spec: &Spec) -> Option<Config> {
    let container = spec.container?;
    // Without a name it is a network of nothing but loopback, for which nobody is asked.
    let network = if container.network.is_some() { "host" } else { "" };
    let devices = container.devices;
    let devices = devices.map(|_| bind("devices", DEVICES.0, DEVICES.0, DEVICES.1, false));
    let directories = directories(spec).map(|directory| {
        let at = place(directory.name);
        bind(directory.name, directory.source, &at, directory.help, true)
    });
    Some(Config {
        description: format!("Mobula: {}", spec.summary),
        documentation: format!("docs/drivers/{}.md of Mobula's sources", spec.name),
        entrypoint: [PROGRAM, VERB, spec.name].map(str::to_owned).to_vec().into(),
        env: variables(spec).iter().map(|one| env(spec, one)).collect::<Vec<_>>().into(),
        interface: Interface {
            socket: SOCKET.to_owned(),
            types: vec![InterfaceType::parse("docker.volumedriver/1.0")].into(),
            ..Interface::default()
        },
        linux: Linux {
            allow_all_devices: container.devices.is_some(),
            capabilities: vec![CAPABILITY.0.to_owned()].into(),
            ..Linux::default()
        },
        mounts: devices.into_iter().chain(directories).collect::<Vec<_>>().into(),
        network: Network { kind: network.to_owned() },
        propagated_mount: MOUNTS.to_owned(),
        ..Config::default()
    })
}

fn bind(name: &str, source: &str, destination: &str, why: &str, settable: bool) -> Mount {
    Mount {
        description: why.to_owned(),
        destination: destination.to_owned(),
        name: name.to_owned(),
        options: vec!["rbind".to_owned()].into(),
        settable: settable.then(|| "source".to_owned()).into_iter().collect::<Vec<_>>().into(),
        source: Some(source.to_owned()),
        kind: "bind".to_owned(),
    }
}

/// What a setting means, and where a secret belongs: whoever inspects the plugin sees its settings.
#[must_use]
pub fn help(spec: &Spec, variable: &Variable) -> String {
    let directory = directories(spec).next().filter(|_| variable.secret);
    let secret = directory.map(|directory| {
        format!(" A secret: put it into a file, @{}/FILE.", place(directory.name))
    });
    format!("{}{}", variable.help, secret.unwrap_or_default())
}

/// Declared empty, which counts as unset: only declared variables can be set.
fn env(spec: &Spec, variable: &Variable) -> Env {
    Env {
        description: help(spec, variable),
        name: variable.name.clone(),
        settable: vec!["value".to_owned()].into(),
        value: Some(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use volume::drivers;

    #[test]
    fn every_driver_has_no_more_privileges_than_it_says() {
        for spec in drivers::ALL {
            let Some(config) = config(spec) else {
                assert!(spec.container.is_none());
                continue;
            };
            let container = spec.container.unwrap();
            config.check().unwrap();
            assert_eq!(config.linux.allow_all_devices, container.devices.is_some());
            assert_eq!(config.network.kind == "host", container.network.is_some());
            assert!(!config.pid_host && !config.ipc_host);
            assert_eq!(config.linux.capabilities.len(), 1);
        }
    }

    #[test]
    fn the_configuration_survives_dockers_encoding() {
        let config = config(drivers::get("loop").unwrap()).unwrap();
        assert_eq!(Config::decode(&config.encode()).unwrap(), config);
    }

    #[test]
    fn every_variable_that_the_driver_names_is_declared_and_secrets_are_marked() {
        for spec in drivers::ALL {
            let (Some(config), Some(container)) = (config(spec), spec.container) else { continue };
            for variable in container.variables {
                let env = config.env.iter().find(|env| env.name == variable.name).unwrap();
                assert_eq!(env.description.contains("A secret: "), variable.secret, "{env:?}");
                assert_eq!(
                    (env.value.as_deref(), &env.settable[..]),
                    (Some(""), &["value".to_owned()][..])
                );
            }
        }
    }

    #[test]
    fn a_setting_is_declared_once() {
        for spec in drivers::ALL {
            let mut names: Vec<_> = variables(spec).into_iter().map(|one| one.name).collect();
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count, "{}", spec.name);
        }
    }

    #[test]
    fn no_volume_lies_where_removing_the_plugin_deletes_it() {
        for spec in drivers::ALL {
            for directory in directories(spec) {
                assert!(!place(directory.name).starts_with(MOUNTS));
            }
        }
    }
}
