//! What is found, and where it is said to come from.

use super::*;
use crate::config::{self, EXAMPLE};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

/// Examines `text`, this environment and these flags in a home of their own, which is told as `HOME`.
fn examined(text: &str, environment: &[(&str, &str)], set: &[(&str, &str)]) -> Examined {
    let home = tempfile::tempdir().unwrap();
    let paths = Paths::at(home.path());
    std::fs::create_dir_all(paths.config().parent().unwrap()).unwrap();
    std::fs::write(paths.config(), text).unwrap();
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    let overrides = Overrides { file: None, set: owned(set) };
    examine(&paths, &overrides, owned(environment).into_iter())
}

fn problems(text: &str) -> Vec<String> {
    told(&examined(text, &[], &[]))
}

/// Each problem as `LINE: message`, or as its variable or flag.
fn told(examined: &Examined) -> Vec<String> {
    let told = |problem: &Problem| match &problem.origin {
        Origin::File { line, .. } => {
            let line = line.map_or_else(|| "-".to_owned(), |line| line.to_string());
            format!("{line}: {}", problem.message)
        }
        other => format!("{other}: {}", problem.message),
    };
    examined.problems.iter().map(told).collect()
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_line() {
    let text = "log:\n  level: loud\nsevices: {}\nservices:\n  a:\n    drivr: loop\n  b:\n    driver: \
                lop\n  c:\n    driver: loop\n    volume:\n      size: lots\n      sise: 1\n  d: [x]\n\
                engine:\n  publish: perhaps\n  startTimeout: 0\ndocker:\n  m:\n    service: x\n";
    let found = problems(text);
    for expected in [
        "2: log.level \"loud\" is not a level",
        "3: unknown key sevices; did you mean services?",
        "5: services.a.driver is missing",
        "6: unknown key drivr in services.a; did you mean driver?",
        "8: services.b.driver: there is no driver \"lop\"; did you mean loop?",
        "12: services.c.volume.size: \"lots\" is not a size",
        "13: services.c.volume.sise: unknown option \"sise\"; did you mean size?",
        "14: services.d is a list; it must be a section with the keys driver, options, volume",
        "16: engine.publish is \"perhaps\"",
        "17: engine.startTimeout is \"0\"",
        "20: docker.m offers service x, which is not configured",
    ] {
        assert!(found.iter().any(|one| one.starts_with(expected)), "{expected}\n{found:#?}");
    }
    assert_eq!(found.len(), 11, "{found:#?}");
}

#[test]
fn what_the_driver_would_refuse_is_told_at_once_with_its_line() {
    let text = "services:\n  aws:\n    driver: ebs\n    options:\n      endpoint: localhost\n      \
                AccessKey: hunter2\n      lease: 5\n      tags: x\n    volume:\n      mountOptions: \
                noatime,relatime\n      mkfsOptions: -F\n  disks:\n    driver: loop\n    options:\n      \
                path: volumes\n    volume: {mountOptions: 'a,,b'}\n";
    let examined = examined(text, &[("MOBULA_SERVICES_AWS_OPTIONS_WAITTIMEOUT", "5")], &[]);
    let found = told(&examined);
    for expected in [
        "5: services.aws.options.endpoint: option endpoint: \"localhost\" is no URL",
        "6: services.aws.options.AccessKey: accessKey and secretKey belong together",
        "7: services.aws.options.lease: option lease: 5 s is too short",
        "8: services.aws.options.tags: option tags: \"x\" is no tag",
        "10: services.aws.volume.mountOptions: mount options noatime and relatime contradict",
        "11: services.aws.volume.mkfsOptions: mkfs option \"-F\" is not allowed",
        "15: services.disks.options.path: option path: \"volumes\" is refused; give absolute path",
        "16: services.disks.volume.mountOptions: option mountOptions: \"a,,b\" has a comma",
        "variable MOBULA_SERVICES_AWS_OPTIONS_WAITTIMEOUT: services.aws.options.waittimeout: option",
    ] {
        assert!(found.iter().any(|one| one.starts_with(expected)), "{expected}\n{found:#?}");
    }
    assert_eq!(found.len(), 9, "{found:#?}");
    assert!(!found.join("\n").contains("hunter2"), "{found:#?}");
    // The agent says the same when it loads and reloads.
    assert!(examined.config.without_problems().unwrap_err().message().contains("is no URL"));
}

#[test]
fn what_the_driver_would_refuse_and_stands_in_a_file_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "hunter2").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!(
        "services:\n  a:\n    driver: ebs\n    options:\n      endpoint: '@{}'\n",
        secret.display()
    );
    let examined = examined(&text, &[], &[]);
    let found = told(&examined);
    assert!(found.len() == 1 && found[0].starts_with("5: "), "{found:?}");
    assert!(found[0].contains("refused by driver ebs"), "{found:?}");
    let service = examined.config.services.values().next().unwrap();
    let parsed = format!("{:?}", service.parsed().unwrap_err());
    assert!(!found[0].contains("hunter2") && !parsed.contains("hunter2"), "{found:?} {parsed}");
}

#[test]
fn what_comes_from_a_variable_or_a_flag_is_told_so() {
    let environment = [
        ("MOBULA_LOG_LEVEL", "loud"),
        ("MOBULA_LOG_LEVLE", "info"),
        ("MOBULA_ENGINE_PUBLISH", "perhaps"),
        ("MOBULA_ENGINE", "unix:///no/key"),
        ("OTHER", "x"),
    ];
    let set = [("services.mobula.volume.size", "lots"), ("log.colour", "x")];
    let found = told(&examined("", &environment, &set));
    for expected in [
        "variable MOBULA_LOG_LEVEL: log.level \"loud\"",
        "variable MOBULA_LOG_LEVLE: unknown variable MOBULA_LOG_LEVLE; did you mean level?",
        "variable MOBULA_ENGINE_PUBLISH: engine.publish is",
        "flag --set services.mobula.volume.size: services.mobula.volume.size: ",
        "flag --set log.colour: unknown key log.colour; colour may be level, format",
    ] {
        assert!(found.iter().any(|one| one.starts_with(expected)), "{expected}\n{found:#?}");
    }
    assert_eq!(found.len(), 5, "{found:#?}");
}

#[test]
fn what_load_takes_has_no_problem_and_gives_the_same_configuration() {
    for text in [
        EXAMPLE,
        "",
        "# nothing\n",
        "services: {}\n",
        "docker:\n  fast: {}\nservices:\n  fast: {driver: local}\n",
        "services:\n  a: {driver: loop, volume: {size: 10, mode: 0770, readOnly: true}}\n",
        "services:\n  a: &a {driver: loop}\n  b: *a\n",
        "services:\n  a.b: {driver: loop, options: {PATH: /srv}}\nengine: {insecureRegistries: \
         [a, b]}\n",
        "log: {level: debug, format: json}\nengine: {publish: false, restarts: 0, logSize: 1MiB}\n",
    ] {
        let mut loaded = config::parse(text).unwrap();
        loaded.complete();
        let examined = examined(text, &[], &[]);
        assert_eq!(told(&examined), Vec::<String>::new(), "{text}");
        assert_eq!(examined.config, loaded, "{text}");
    }
}

#[test]
fn a_file_that_is_no_yaml_is_told_with_its_line_and_without_its_text() {
    let found = problems("log: {level: info}\nservices:\n  a: {driver: loop, key: hunter2 }}\n");
    assert!(found.len() == 1 && found[0].starts_with("3: "), "{found:?}");
    for text in ["services:\n  a: {driver: loop, secretKey: hunter2}\n", "log: hunter2\n"] {
        assert!(!problems(text).join("\n").contains("hunter2"), "{text}");
    }
}

#[test]
fn what_the_agent_refuses_is_never_called_fine() {
    for text in [
        "docker:\n  a:\nservices: {a: {driver: loop}}\n",
        "log:\n",
        "services:\n",
        "services: {a: {driver: loop, options:}}\n",
        "services: {a: {driver: }}\n",
        "log: {level: }\n",
        "engine: {insecureRegistries: a}\n",
        "engine: {restarts: '5'}\n",
        "log: {level: warn}\nlog: {level: info}\n",
        "--- {}\n--- {}\n",
    ] {
        let is_refused = config::parse(text).and_then(|mut config| {
            config.complete();
            config.check()
        });
        let found = problems(text);
        assert!(is_refused.is_ok() || !found.is_empty(), "{text}: {is_refused:?}");
        assert!(found.iter().all(|one| !one.starts_with('-')), "with a line: {text}: {found:?}");
    }
}

#[test]
fn two_plugins_at_one_address_are_told() {
    let text = "services: {a: {driver: loop}}\ndocker:\n  a: {}\n  b:\n    service: a\n    listen: \
                unix:///x.sock\n  c: {service: a, listen: 'unix:///x.sock'}\n";
    let found = problems(text);
    let expected = "7: docker.c and docker.b both listen at unix:///x.sock";
    assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}");
}

#[test]
fn certificates_that_are_missing_or_open_to_everybody_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, mode: u32| {
        let path = dir.path().join(name);
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let text = format!(
        "services: {{a: {{driver: loop}}}}\ndocker:\n  a:\n    listen: tcp://127.0.0.1:1\n    tls:\n      \
         cert: {}/missing\n      key: {}\n      clientCa: {}\n",
        dir.path().display(),
        file("key", 0o644),
        file("ca", 0o644)
    );
    let found = problems(&text);
    assert!(found[0].starts_with("6: docker.a.tls.cert: ") && found[0].contains("does not exist"));
    assert!(found[1].starts_with("7: docker.a.tls.key: ") && found[1].contains("chmod 600"));
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn secret_files_that_are_open_or_missing_are_told_and_their_content_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "hunter2").unwrap();
    let mode = |mode| {
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let text = format!(
        "services:\n  a:\n    driver: local\n    options:\n      path: '@{}'\n",
        secret.display()
    );
    mode(0o644);
    let found = problems(&text);
    assert!(found.len() == 1 && found[0].starts_with("5: ") && found[0].contains("chmod 600"));
    mode(0o600);
    let found = problems(&text);
    assert!(found.len() == 1 && found[0].contains("must be absolute path"), "{found:?}");
    assert!(!found[0].contains("hunter2"), "{found:?}");
    std::fs::remove_file(&secret).unwrap();
    assert!(problems(&text)[0].contains("does not exist"));
}

#[test]
fn a_bomb_of_aliases_is_refused_at_once() {
    let mut text = String::from("a: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..200 {
        let items = vec![format!("*a{}", level - 1); 100].join(", ");
        text.push_str(&format!("k{level}: &a{level} [{items}]\n"));
    }
    text.push_str(&format!("services: {{x: {{driver: *a199}}}}\n{}", "# pad\n".repeat(15_000)));
    assert!(text.len() > 200 << 10);
    let begun = Instant::now();
    let found = problems(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(config::parse(&text).is_err());
    assert!(begun.elapsed() < Duration::from_secs(20), "bounded, not exponential");
}

#[test]
fn each_value_says_where_it_comes_from() {
    let text =
        "log:\n  level: warn\nservices:\n  db:\n    driver: loop\n    options: {path: /srv}\n";
    let examined =
        examined(text, &[("MOBULA_SERVICES_DB_VOLUME_FSTYPE", "xfs")], &[("engine.restarts", "7")]);
    let settings = config::settings(&examined);
    let shown = |key: &str| {
        let found = settings.iter().find(|setting| setting.key.eq_ignore_ascii_case(key));
        let found = found.unwrap_or_else(|| panic!("{key}: {settings:#?}"));
        let origin = found.origin.to_string().replace(&examined.file.display().to_string(), "FILE");
        format!("{} {origin}", found.value)
    };
    assert_eq!(shown("log.level"), "warn FILE:2");
    assert_eq!(shown("services.db.driver"), "loop FILE:5");
    assert_eq!(shown("services.db.options.path"), "/srv FILE:6");
    let variable = "xfs variable MOBULA_SERVICES_DB_VOLUME_FSTYPE";
    assert_eq!(shown("services.db.volume.fsType"), variable);
    assert_eq!(shown("engine.restarts"), "7 flag --set engine.restarts");
    assert_eq!(shown("engine.publish"), "true default");
    assert_eq!(shown("docker.db.service"), "db default");
    let size = shown("services.db.volume.size");
    assert!(size.ends_with(" default"), "{size}");
}

#[test]
fn a_secret_is_hidden_and_the_place_of_one_is_shown() {
    let text = "services: {a: {driver: nosuch, options: {key: hunter2, other: '@/etc/secret'}}}\n";
    let shown = format!("{:?}", config::settings(&examined(text, &[], &[])));
    assert!(!shown.contains("hunter2") && shown.contains("@/etc/secret"), "{shown}");
}
