//! What holds of any configuration: nothing secret comes out, and what is not there yet is told.

use super::{File, Migration, Sources, migrate};
use crate::config::Service;
use crate::migrate::{Fate, Row};
use volume::ServiceName;

const PREEMPT: &str = "libstorage.integration.volume.operations.mount.preempt";

fn sources(yaml: &str, environment: &str, plugin: &str) -> Sources {
    let file = |name: &str, text: &str| {
        let bytes = text.as_bytes().to_vec();
        let file = File { name: name.to_owned(), bytes };
        if text.is_empty() { Vec::new() } else { vec![file] }
    };
    Sources {
        files: file("rexray.yml", yaml),
        environment: file("rexray.env", environment),
        plugins: file("plugin.json", plugin),
        secrets: "/etc/mobula/secrets".to_owned(),
        ..Sources::default()
    }
}

fn row<'a>(migration: &'a Migration, key: &str) -> &'a Row {
    let found = migration.rows.iter().find(|row| row.key == key);
    found.unwrap_or_else(|| panic!("no row {key} in {:#?}", migration.rows))
}

const EBS: &str = "libstorage: {service: ebs}\nebs: {accessKey: id-hunter2, secretKey: hunter2, \
                   region: eu-west-1}\n";

#[test]
fn secrets_of_a_driver_that_is_there_go_into_files_of_their_own() {
    let migration = migrate(&sources(EBS, "", "")).unwrap();
    let config = migration.config.as_ref().unwrap();
    let service = &config.services[&ServiceName::parse("ebs").unwrap()];
    assert_eq!(service.options["secretKey"], "@/etc/mobula/secrets/ebs-secretKey");
    assert_eq!(service.options["region"], "eu-west-1");
    assert_eq!(service.volume["subPath"], "data");
    let secrets: Vec<_> =
        migration.secrets.iter().map(|one| (one.path.as_str(), one.value.as_str())).collect();
    let expected = [
        ("/etc/mobula/secrets/ebs-accessKey", "id-hunter2"),
        ("/etc/mobula/secrets/ebs-secretKey", "hunter2"),
    ];
    assert_eq!(secrets, expected);
    assert!(!migration.text.contains("hunter2"), "{}", migration.text);
    assert!(!format!("{:?}", migration.rows).contains("hunter2"));
    assert_eq!(row(&migration, "ebs.secretKey").was, "********");
    assert!(migration.left_out.is_empty());
}

#[test]
fn a_plugin_of_a_driver_that_is_there_gets_commands_without_its_secrets() {
    let plugin = r#"[{"Name":"rexray/ebs:latest","Settings":{"Env":["EBS_SECRETKEY=hunter2",
        "EBS_REGION=eu-west-1","REXRAY_FSTYPE=xfs","REXRAY_LOGLEVEL=debug","EBS_ENDPOINT=",
        "REXRAY_PREEMPT=false","EBS_KMSKEYID=alias/k","EBS_MAXRETRIES=10",
        "HTTP_PROXY=http://hunter2@proxy:1"]}}]"#;
    let migration = migrate(&sources("", "", plugin)).unwrap();
    assert!(migration.config.is_none(), "the plugin is configured by its settings alone");
    let expected = "\
EBS_SECRETKEY=$(docker plugin inspect --format '{{range .Settings.Env}}{{println .}}{{end}}' rexray/ebs:latest | sed -n 's/^EBS_SECRETKEY=//p')
HTTP_PROXY=$(docker plugin inspect --format '{{range .Settings.Env}}{{println .}}{{end}}' rexray/ebs:latest | sed -n 's/^HTTP_PROXY=//p')
docker plugin disable rexray/ebs:latest
docker plugin rm rexray/ebs:latest
docker plugin install --alias rexray/ebs:latest mobula/ebs \\
  EBS_LIST=named \\
  EBS_PREEMPT=never \\
  EBS_REGION=eu-west-1 \\
  EBS_SECRETKEY=\"$EBS_SECRETKEY\" \\
  VOLUME_ENCRYPTIONKEY=alias/k \\
  VOLUME_FSTYPE=xfs \\
  VOLUME_MODE=0700 \\
  VOLUME_SIZE=16GiB \\
  VOLUME_SUBPATH=data \\
  HTTP_PROXY=\"$HTTP_PROXY\" \\
  LOG_LEVEL=debug
";
    assert_eq!(migration.plugins[0].commands, expected);
    assert_eq!(row(&migration, "REXRAY_FSTYPE").became[0].key, "VOLUME_FSTYPE");
    assert!(!format!("{:?}", migration.rows).contains("hunter2"));
}

#[test]
fn a_service_of_a_driver_that_is_not_there_yet_is_left_out_and_told() {
    let efs = EBS.replace("ebs", "efs");
    let migration = migrate(&sources(&efs, "", "")).unwrap();
    assert!(migration.config.unwrap().services.is_empty());
    assert_eq!(migration.left_out, ["service efs (driver efs)"]);
    assert!(migration.text.contains("NOT THERE YET, and left out: service efs (driver efs)"));
    assert!(migration.secrets.is_empty(), "nothing would read them");
}

/// The only service of what `yaml` becomes.
fn service(yaml: &str) -> (Migration, Service) {
    let migration = migrate(&sources(yaml, "", "")).unwrap();
    let config = migration.config.clone().unwrap();
    let service = config.services.into_values().next().expect("a service");
    (migration, service)
}

#[test]
fn ebs_goes_by_its_old_names_too() {
    for name in ["ebs", "ec2", "aws"] {
        let yaml = format!("libstorage: {{service: {name}}}\n{name}: {{region: eu-west-1}}\n");
        let (migration, service) = service(&yaml);
        assert_eq!((&*service.driver, &*service.options["region"]), ("ebs", "eu-west-1"), "{name}");
        assert!(migration.left_out.is_empty());
    }
}

#[test]
fn what_ebs_did_without_a_setting_is_a_setting_here() {
    let (migration, service) = service("libstorage: {service: ebs}\n");
    assert_eq!(service.options["list"], "named");
    assert_eq!(row(&migration, "ebs").became[0].key, "services.ebs.options.list");
    assert_eq!(service.options.get("preempt"), None, "who says nothing has the default");
    assert_eq!((&*service.volume["size"], &*service.volume["fsType"]), ("16GiB", "ext4"));
}

#[test]
fn preempt_is_the_option_of_a_driver_that_has_it() {
    const OPERATIONS: &str = "integration: {volume: {operations: {mount: {preempt: ";
    for (on, word, told) in [("true", "proof", "proved to be gone"), ("false", "never", "stays")] {
        let yaml = format!("libstorage: {{service: ebs, {OPERATIONS}{on}}}}}}}}}}}\n");
        let (migration, service) = service(&yaml);
        assert_eq!(service.options["preempt"], word);
        assert!(row(&migration, PREEMPT).change.contains(told));
    }
    let yaml = format!("libstorage: {{service: vfs, {OPERATIONS}true}}}}}}}}}}\n");
    let (migration, service) = service(&yaml);
    assert_eq!(service.options.get("preempt"), None);
    assert_eq!(row(&migration, PREEMPT).fate, Fate::NoEquivalent);
}

#[test]
fn what_ebs_needs_no_setting_for_is_told() {
    let keys = [
        "maxRetries",
        "statusMaxAttempts",
        "statusInitialDelay",
        "statusTimeout",
        "useLargeDeviceRange",
        "nvmeBinPath",
    ];
    let all: Vec<_> = keys.iter().map(|key| format!("{key}: 1")).collect();
    let (migration, service) =
        service(&format!("libstorage: {{service: ebs}}\nebs: {{{}}}\n", all.join(", ")));
    for key in keys {
        let row = row(&migration, &format!("ebs.{key}"));
        assert!(row.fate == Fate::NotNeeded && !row.change.is_empty(), "{row:?}");
        assert_eq!(service.options.get(key), None);
    }
}

#[test]
fn an_endpoint_without_a_scheme_is_one_of_https() {
    for (was, is) in [
        ("ec2.eu-west-1.amazonaws.com", "https://ec2.eu-west-1.amazonaws.com"),
        ("'http://127.0.0.1:5000'", "http://127.0.0.1:5000"),
    ] {
        let (_, service) =
            service(&format!("libstorage: {{service: ebs}}\nebs: {{endpoint: {was}}}\n"));
        assert_eq!(service.options["endpoint"], is);
    }
}

#[test]
fn a_key_encrypts_every_volume_but_where_none_is_to_be() {
    let yaml = |encrypted: &str| {
        format!(
            "libstorage: {{service: ebs, integration: {{volume: {{operations: {{create: \
             {{default: {{{encrypted}}}}}}}}}}}}}\nebs: {{kmsKeyID: alias/k}}\n"
        )
    };
    for encrypted in ["", "encrypted: true"] {
        let (_, service) = service(&yaml(encrypted));
        assert_eq!(service.volume["encryptionKey"], "alias/k");
    }
    let (migration, service) = service(&yaml("encrypted: false"));
    assert_eq!(
        (service.volume.get("encryptionKey"), &*service.volume["encrypted"]),
        (None, "false")
    );
    assert_eq!(row(&migration, "ebs.kmsKeyID").fate, Fate::NoEquivalent);
}

#[test]
fn a_default_that_ebs_does_not_take_is_told_and_left_out() {
    let yaml = "libstorage: {service: ebs}\ndocker: {volumeType: floppy, iops: 0}\n";
    let (migration, service) = service(yaml);
    assert!(!service.volume.contains_key("volumeType") && !service.volume.contains_key("iops"));
    assert!(row(&migration, "docker.volumeType").change.contains("gp3"));
    assert_eq!(row(&migration, "docker.iops").fate, Fate::NotNeeded);
}

#[test]
fn awss_own_variables_stay_in_the_environment_and_that_is_told() {
    let variables = "LIBSTORAGE_SERVICE=ebs\nAWS_ACCESS_KEY_ID=hunter2\n";
    let migration = migrate(&sources("", variables, "")).unwrap();
    let told = row(&migration, "AWS_ACCESS_KEY_ID");
    assert!(told.attention && told.change.contains("mobula.env"), "{told:?}");
    assert!(!format!("{:?}{}", migration.rows, migration.text).contains("hunter2"));
}

#[test]
fn a_secret_that_looks_like_a_reference_is_itself() {
    let yaml = "libstorage: {service: ebs}\nebs: {accessKey: '@/etc/passwd', secretKey: '@x'}\n";
    let (migration, service) = service(yaml);
    assert_eq!(service.options["secretKey"], "@/etc/mobula/secrets/ebs-secretKey");
    assert_eq!(migration.secrets[1].value, "@x");
}

#[test]
fn the_environment_wins_over_files_and_the_present_name_over_the_old_one() {
    let yaml = "libstorage: {service: vfs}\nvolume: {mount: {preempt: true}}\n\
                linux: {volume: {fileMode: 0700}}\n";
    let environment =
        format!("LINUX_VOLUME_FILEMODE=0750\n{}=false\n", super::keys::variable(PREEMPT));
    let migration = migrate(&sources(yaml, &environment, "")).unwrap();
    let service = &migration.config.as_ref().unwrap().services[&ServiceName::parse("vfs").unwrap()];
    assert_eq!(service.volume["mode"], "0750");
    assert_eq!(row(&migration, "linux.volume.fileMode").fate, Fate::Overridden);
    assert_eq!(row(&migration, "volume.mount.preempt").fate, Fate::Overridden);
}

#[test]
fn a_switch_that_protected_data_is_pointed_out() {
    let yaml = "libstorage: {service: vfs, integration: {volume: {operations: {remove: {disable: \
                true}}}}}\n";
    let migration = migrate(&sources(yaml, "", "")).unwrap();
    let told = row(&migration, "libstorage.integration.volume.operations.remove.disable");
    assert!(told.attention && told.fate == Fate::NoEquivalent, "{told:?}");
    let off = migrate(&sources(&yaml.replace("true", "false"), "", "")).unwrap();
    assert!(off.rows.iter().all(|row| !row.attention));
}

#[test]
fn names_that_are_none_here_are_refused() {
    let yaml = "libstorage: {server: {services: {'a b': {driver: vfs}}}}\n";
    let error = migrate(&sources(yaml, "", "")).err().expect("refused").to_string();
    assert!(error.contains("service name"), "{error}");
}

#[test]
fn no_malformed_input_shows_what_is_in_it() {
    for at in 0..EBS.len() {
        for broken in ["\"", "{", "\t", ": ", "*", "\u{0}"] {
            let text = format!("{}{broken}{}", &EBS[..at], &EBS[at..]);
            match migrate(&sources(&text, "", "")) {
                Err(error) => assert!(!error.to_string().contains("hunter"), "{text:?}: {error}"),
                Ok(migration) => {
                    let told = format!("{:?}{}", migration.rows, migration.text);
                    assert!(!told.contains("hunter"), "{text:?}: {told}");
                }
            }
        }
    }
}
