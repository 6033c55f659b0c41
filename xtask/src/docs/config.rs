//! The page about configuration: every key with its default, environment variable and flag. The keys
//! are written down here; a test asks the program whether they are the ones that it knows.

use super::{cell, code};
use mobula::config::{Config, ENVIRONMENT_PREFIX};
use std::fmt::Write;

/// A configuration key.
struct Key {
    name: &'static str,
    default: &'static str,
    /// Its flag of `mobula start`, beside `--set`.
    flag: &'static str,
    help: &'static str,
}

const fn key(name: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { name, default, flag: "", help }
}

const KEYS: [Key; 25] = [
    Key {
        flag: "--log-level",
        ..key("log.level", "info", "What is logged: error, warn, info, debug or trace.")
    },
    Key {
        flag: "--log-format",
        ..key("log.format", "text", "How a log line looks: text or json.")
    },
    key("services.NAME.driver", "", "The driver of the service NAME; needed."),
    key(
        "services.NAME.options.OPTION",
        "",
        "An option of that driver; [its page](drivers/README.md) has them.",
    ),
    key(
        "services.NAME.volume.OPTION",
        "",
        "A volume option for volumes whose creator says nothing else.",
    ),
    key(
        "docker.NAME.service",
        "the service called NAME",
        "The service whose volumes Docker knows as driver NAME.",
    ),
    key(
        "docker.NAME.listen",
        "unix:///run/docker/plugins/NAME.sock",
        "Where Docker reaches the plugin: unix:///PATH or tcp://IP:PORT.",
    ),
    key("docker.NAME.tls.cert", "", "The certificate chain of a TCP listener, as a PEM file."),
    key("docker.NAME.tls.key", "", "The private key of that certificate."),
    key(
        "docker.NAME.tls.clientCa",
        "",
        "The authority whose clients are let in. Without it, whoever reaches the port is.",
    ),
    key("docker.NAME.tls.ca", "", "The authority that signed `cert`, told to Docker."),
    key("docker.NAME.tls.clientCert", "", "The certificate that Docker shall show, told to it."),
    key("docker.NAME.tls.clientKey", "", "The key of that certificate."),
    key("engine.socket", "/run/mobula/engine.sock", "Where the plugin engine's API listens."),
    key(
        "engine.runtime",
        "builtin",
        "What makes the containers of plugins: builtin, or the path of a program with runc's command line.",
    ),
    key(
        "engine.insecureRegistries",
        "",
        "Registries that may be talked to over plain HTTP: a list of HOST:PORT or CIDR ranges, with commas in a variable or flag. Loopback always may.",
    ),
    key(
        "engine.certificates",
        "",
        "A PEM file of certificates to trust when talking to registries, beside the system's.",
    ),
    key(
        "engine.publish",
        "true",
        "Whether enabled plugins get a socket where Docker and Podman look for plugins.",
    ),
    key("engine.startTimeout", "10", "Seconds that a plugin may take to accept connections."),
    key("engine.stopTimeout", "10", "Seconds that a plugin may take to end after SIGTERM."),
    key(
        "engine.restarts",
        "5",
        "Starts in a row that may fail before a plugin is left alone for a minute at a time.",
    ),
    key(
        "engine.logSize",
        "8MiB",
        "Size of one of the two files that a plugin's output is kept in.",
    ),
    key("engine.maxBytes", "16GiB", "How much may come out of a plugin's layers."),
    key(
        "engine.maxEntries",
        "1000000",
        "Files and directories that may come out of a plugin's layers.",
    ),
    key("engine.maxRatio", "200", "Unpacked bytes that may come out of a packed one."),
];

const PREFACE: &str = "\
# Configuration

Generated from the program. The file is `/etc/mobula/mobula.yml`, or the one that `--config FILE`
names; without a file there is one service, `mobula`, with driver `loop`.

A variable of the environment wins over the file, and a flag over both. Every key can be set with
`--set KEY=VALUE`, and by the variable of its name in capitals, `_` for every other character; option
names do not mind their case. `mobula config check` says what is wrong, `mobula config show` what is
in effect.

A key that does not exist is refused with the one that was probably meant. SIGHUP makes the agent
read its configuration again.
";

const ELSEWHERE: &str = "
`MOBULA_HOME` is no key: it names the directory that all paths of the program are below, the
configuration file's too.
";

/// The page.
pub(super) fn page() -> String {
    let mut text = PREFACE.to_owned();
    text.push_str("\n| key | default | variable | flag | meaning |\n|---|---|---|---|---|\n");
    for Key { name, default, flag, help } in KEYS {
        let (variable, default) = (code(&variable(name)), cell(default));
        let _ = writeln!(
            text,
            "| {} | {default} | {variable} | {} | {} |",
            code(name),
            code(flag),
            cell(help)
        );
    }
    text.push_str(ELSEWHERE);
    text.push_str("\nWithout a file, this is in effect:\n\n```yaml\n");
    text.push_str(&defaults());
    text.push_str("```\n");
    text
}

/// `services.NAME.driver` → `MOBULA_SERVICES_NAME_DRIVER`.
fn variable(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", key.to_uppercase().replace('.', "_"))
}

/// The default configuration, as the file would say it.
fn defaults() -> String {
    // Of the plugin engine nothing is said by default.
    let Config { log, services, docker, engine: _ } = Config::default();
    let mut text = format!("log:\n  level: {}\n  format: text\nservices:\n", log.level);
    for (name, service) in services {
        let _ = writeln!(text, "  {name}:\n    driver: {}", service.driver);
    }
    text.push_str("docker:\n");
    for (name, module) in docker {
        let service = module.service.map(|service| format!("\n    service: {service}"));
        let _ = writeln!(text, "  {name}:{}", service.unwrap_or_else(|| " {}".to_owned()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use mobula::config::{Overrides, load, parse};
    use mobula::paths::Paths;

    fn set(key: &str, value: &str) -> error::Result<Config> {
        let home = tempfile::tempdir().unwrap();
        let services = ("services.name.driver".to_owned(), "loop".to_owned());
        let listen = ("docker.name.listen".to_owned(), "tcp://127.0.0.1:1".to_owned());
        let set = vec![services, listen, (key.to_owned(), value.to_owned())];
        load(&Paths::at(home.path()), &Overrides { file: None, set })
    }

    #[test]
    fn every_documented_key_is_accepted() {
        for key in KEYS {
            let name = key.name.replace("NAME", "name").replace("OPTION", "size");
            let value = match key.name {
                "log.level" => "debug",
                "log.format" => "json",
                "docker.NAME.listen" => "tcp://127.0.0.1:2",
                "docker.NAME.service" => "name",
                "engine.socket" | "engine.certificates" | "engine.runtime" => "/x",
                "engine.publish" => "false",
                "engine.logSize" | "engine.maxBytes" => "3MiB",
                name if name.starts_with("engine.") => "77",
                _ => "loop",
            };
            let config = set(&name, value).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(format!("{config:?}").contains(value) || value == "json", "{name}");
        }
    }

    #[test]
    fn every_key_that_the_program_names_is_documented() {
        let error = set("no.such", "key").expect_err("unknown").to_string();
        let (_, keys) = error.split_once("configuration keys are ").expect("names them");
        let (keys, _) = keys.split_once(" (").expect("ends");
        let documented: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(keys.split(", ").collect::<Vec<_>>(), documented);
    }

    #[test]
    fn the_defaults_shown_are_the_defaults() {
        assert_eq!(parse(&defaults()).unwrap(), Config::default());
    }

    #[test]
    fn a_key_is_also_a_variable() {
        assert_eq!(variable("docker.NAME.tls.clientCa"), "MOBULA_DOCKER_NAME_TLS_CLIENTCA");
    }
}
