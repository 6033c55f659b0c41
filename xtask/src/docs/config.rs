//! The page about configuration, and the schema for editors: every key with its default, environment
//! variable and flag. The keys are the program's own list; a test tries each of them.

use super::{cell, code};
use error::{Error, Result};
use mobula::config::{Config, ENVIRONMENT_PREFIX, KEYS, Key};
use std::fmt::Write;

const PREFACE: &str = "\
# Configuration

Generated from the program. The file is `/etc/mobula/mobula.yml`, or the one that `--config FILE`
names; without a file there is one service, `mobula`, with driver `loop`.

A variable of the environment wins over the file, and a flag over both. Every key can be set with
`--set KEY=VALUE`, and by the variable of its name in capitals, `_` for every other character; option
names do not mind their case. `mobula config init` writes a file to begin with, `mobula config check`
says all that is wrong, `mobula config show --origin` what is in effect and which file, variable or
flag says so. [mobula.schema.json](mobula.schema.json) is the file's JSON schema, for editors: the
line `# yaml-language-server: $schema=…/mobula.schema.json` at its top makes them complete and check
it.

A key that does not exist is refused with the one that was probably meant. SIGHUP makes the agent
read its configuration again.
";

const ELSEWHERE: &str = "
## Values that stand elsewhere

The value of an option below `services.NAME.options` may be a place instead; it is read when it is
needed, and what is in it is never shown.

| written | where the value is |
|---|---|
| `@/path` | in this file: at most 64 KiB of text, a newline at its end is left out; refused when others may read or write it (`chmod 600`) |
| `@credential:NAME` | in the credential NAME of the systemd unit: `LoadCredential=NAME:/path` or `SetCredentialEncrypted=` |
| `@secret:NAME` | in the Docker secret NAME, `/run/secrets/NAME` |
| `@@text` | nowhere else: the value is `@text` |

`mobula config show` shows the place, as it is no secret; `mobula config check` and `mobula doctor`
say whether it can be read.

## Elsewhere

`MOBULA_HOME` is no key: it names the directory that all paths of the program are below, the
configuration file's too.
";

/// The page.
pub(super) fn page() -> String {
    let mut text = PREFACE.to_owned();
    text.push_str("\n| key | default | variable | flag | meaning |\n|---|---|---|---|---|\n");
    for Key { name, default, flag, help, kind: _ } in KEYS {
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

/// The schema for editors.
pub(super) fn schema() -> Result<String> {
    let schema = serde_json::to_string_pretty(&mobula::config::schema());
    Ok(schema.map_err(|source| Error::internal("encode the schema").because(source))? + "\n")
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
