//! What holds of any configuration: nothing secret comes out, and the driver that lands next.

use super::drivers::{self, Driver};
use super::{File, Migration, Sources, migrate, migrate_with};
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

/// The drivers, as if ours had REX-Ray's ebs already.
fn with_ebs() -> Vec<Driver> {
    let mut all = drivers::ALL.to_vec();
    all.iter_mut().filter(|driver| driver.name == "ebs").for_each(|ebs| ebs.ours = Some("ebs"));
    all
}

fn row<'a>(migration: &'a Migration, key: &str) -> &'a Row {
    let found = migration.rows.iter().find(|row| row.key == key);
    found.unwrap_or_else(|| panic!("no row {key} in {:#?}", migration.rows))
}

const EBS: &str = "libstorage: {service: ebs}\nebs: {accessKey: id-hunter2, secretKey: hunter2, \
                   region: eu-west-1}\n";

#[test]
fn secrets_of_a_driver_that_is_there_go_into_files_of_their_own() {
    let drivers = with_ebs();
    let migration = migrate_with(&sources(EBS, "", ""), &drivers).unwrap();
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
        "EBS_REGION=eu-west-1","REXRAY_FSTYPE=xfs","REXRAY_LOGLEVEL=debug","EBS_ENDPOINT="]}}]"#;
    let drivers = with_ebs();
    let migration = migrate_with(&sources("", "", plugin), &drivers).unwrap();
    assert!(migration.config.is_none(), "the plugin is configured by its settings alone");
    let expected = "\
EBS_SECRETKEY=$(docker plugin inspect --format '{{range .Settings.Env}}{{println .}}{{end}}' rexray/ebs:latest | sed -n 's/^EBS_SECRETKEY=//p')
docker plugin disable rexray/ebs:latest
docker plugin rm rexray/ebs:latest
docker plugin install --alias rexray/ebs:latest mobula/ebs \\
  EBS_REGION=eu-west-1 \\
  EBS_SECRETKEY=\"$EBS_SECRETKEY\" \\
  VOLUME_FSTYPE=xfs \\
  VOLUME_MODE=0700 \\
  VOLUME_SIZE=16GiB \\
  VOLUME_SUBPATH=data \\
  LOG_LEVEL=debug
";
    assert_eq!(migration.plugins[0].commands, expected);
    assert_eq!(row(&migration, "REXRAY_FSTYPE").became[0].key, "VOLUME_FSTYPE");
    assert!(!format!("{:?}", migration.rows).contains("hunter2"));
}

#[test]
fn a_service_of_a_driver_that_is_not_there_yet_is_left_out_and_told() {
    let migration = migrate(&sources(EBS, "", "")).unwrap();
    assert!(migration.config.unwrap().services.is_empty());
    assert_eq!(migration.left_out, ["service ebs (driver ebs)"]);
    assert!(migration.text.contains("NOT THERE YET, and left out: service ebs (driver ebs)"));
    assert!(migration.secrets.is_empty(), "nothing would read them");
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
    let drivers = with_ebs();
    for at in 0..EBS.len() {
        for broken in ["\"", "{", "\t", ": ", "*", "\u{0}"] {
            let text = format!("{}{broken}{}", &EBS[..at], &EBS[at..]);
            match migrate_with(&sources(&text, "", ""), &drivers) {
                Err(error) => assert!(!error.to_string().contains("hunter"), "{text:?}: {error}"),
                Ok(migration) => {
                    let told = format!("{:?}{}", migration.rows, migration.text);
                    assert!(!told.contains("hunter"), "{text:?}: {told}");
                }
            }
        }
    }
}
