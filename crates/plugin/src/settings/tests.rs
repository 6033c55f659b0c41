//! Docker's own cases, and what goes beyond them.

use super::set::Item;
use super::*;
use error::Kind;
use std::fs;
use std::path::PathBuf;

fn config() -> Config {
    Config::decode(
        br#"{
        "env":[{"name":"DEBUG","value":"0","settable":["value"]},
               {"name":"FIXED","value":"1"},
               {"name":"TOKEN","value":null,"settable":["value"]},
               {"name":"A.B","value":"x","settable":["value"]}],
        "mounts":[{"name":"keys","source":"","destination":"/k","settable":["source"]},
                  {"name":"bare","source":null,"destination":"/b","settable":["source"]},
                  {"name":"both","source":"/s","settable":["source","destination"]}],
        "linux":{"devices":[{"name":"fuse","path":"/dev/fuse","settable":["path"]},
                            {"name":"none","path":null,"settable":["path"]}]},
        "args":{"name":"args","value":["-v"],"settable":["value"]}}"#,
    )
    .unwrap()
}

fn set(items: &[&str]) -> Result<Overrides> {
    let mut overrides = Overrides::default();
    let items: Vec<_> = items.iter().map(|&item| item.to_owned()).collect();
    overrides.set(&config(), &items).map(|()| overrides)
}

fn refusal(item: &str) -> String {
    let error = set(&[item]).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
    error.message().to_owned()
}

#[test]
fn an_item_is_split_as_docker_does_it() {
    let cases = [
        ("name=value", "name", "", "value"),
        ("name", "name", "", ""),
        ("name.field=value", "name", "field", "value"),
        ("name.field", "name", "field", ""),
        ("A.B.value=1=2.3", "A.B", "value", "1=2.3"),
        (".name=x", ".name", "", "x"),
    ];
    for (text, name, field, value) in cases {
        assert_eq!(Item::parse(text).unwrap(), Item { name, field, value });
    }
    for text in ["=value", "="] {
        assert_eq!(refusal(text), "invalid format, must be <name>[.<field>][=<value>]");
    }
}

#[test]
fn a_field_may_be_set_if_it_exists_and_its_author_allows_it() {
    let cases: [(&str, &[&str], Option<bool>); 7] = [
        ("", &[], Some(false)),
        ("value", &[], Some(false)),
        ("", &["value"], Some(true)),
        ("value", &["value"], Some(true)),
        ("foo", &["value"], Some(false)),
        ("foo", &["foo"], Some(false)),
        ("", &["value1", "value2"], None),
    ];
    for (field, settable, expected) in cases {
        let settable: Vec<_> = settable.iter().map(|&name| name.to_owned()).collect();
        let item = Item { name: "", field, value: "" };
        assert_eq!(item.may_set("value", &settable).ok(), expected, "{field} {settable:?}");
    }
}

#[test]
fn a_variable_is_set_in_its_place_or_at_the_end() {
    let cases: [(&[&str], &[&str]); 5] = [
        (&[], &["DEBUG=1"]),
        (&["DEBUG=0"], &["DEBUG=1"]),
        (&["FOO=0"], &["FOO=0", "DEBUG=1"]),
        (&["FOO=0", "DEBUG=0"], &["FOO=0", "DEBUG=1"]),
        (&["FOO=0", "DEBUG=0", "BAR=1"], &["FOO=0", "DEBUG=1", "BAR=1"]),
    ];
    for (before, after) in cases {
        let mut env: Vec<_> = before.iter().map(|&entry| entry.to_owned()).collect();
        put(&mut env, "DEBUG", "1");
        assert_eq!(env, after);
    }
}

#[test]
fn every_kind_of_setting_takes_effect() {
    let items = ["DEBUG=1", "TOKEN.value=a=b", "keys=/root/.ssh", "fuse.path=/dev/x", "args=-a  b"];
    let shown = Settings::shown(&config(), &set(&items).unwrap());
    assert_eq!(shown.env, ["DEBUG=1", "FIXED=1", "A.B=x", "TOKEN=a=b"]);
    assert_eq!(shown.mounts[0].source.as_deref(), Some("/root/.ssh"));
    assert_eq!(shown.devices[0].path.as_deref(), Some("/dev/x"));
    assert_eq!(shown.args, ["-a", "", "b"]);
}

#[test]
fn a_name_with_a_dot_needs_its_field() {
    assert_eq!(refusal("A.B=y"), r#"setting "A" not found in the plugin configuration"#);
    let overrides = set(&["A.B.value=y"]).unwrap();
    assert_eq!(overrides.env[0].name, "A.B");
}

#[test]
fn refusals_are_in_dockers_words() {
    assert_eq!(refusal("FIXED=2"), r#""FIXED" is not settable"#);
    assert_eq!(refusal("DEBUG.name=2"), r#""DEBUG.name" is not settable"#);
    assert_eq!(refusal("nope=2"), r#"setting "nope" not found in the plugin configuration"#);
    assert_eq!(refusal("bare=/x"), "plugin config has no mount source");
    assert_eq!(refusal("none=/x"), "plugin config has no device path");
    assert_eq!(refusal("both=/x"), "multiple fields are settable, one must be specified");
    assert!(refusal("DEBUG=a\0b").contains("NUL"));
}

#[test]
fn one_wrong_item_leaves_everything_as_it_was() {
    let mut overrides = set(&["DEBUG=1"]).unwrap();
    let before = overrides.clone();
    overrides.set(&config(), &["DEBUG=2".to_owned(), "nope=1".to_owned()]).unwrap_err();
    assert_eq!(overrides, before);
}

#[test]
fn overrides_read_back_as_they_were_written() {
    let mut overrides =
        set(&["DEBUG=1", "TOKEN=@credential:tok", "keys=/k", "fuse=/f", "args=a"]).unwrap();
    overrides.env.push(Variable {
        name: "FILE".to_owned(),
        value: Value::Secret(Secret::File(PathBuf::from("/etc/secret"))),
    });
    let json = serde_json::to_string(&overrides).unwrap();
    assert_eq!(serde_json::from_str::<Overrides>(&json).unwrap(), overrides);
    assert_eq!(serde_json::from_str::<Overrides>("{}").unwrap(), Overrides::default());
}

#[test]
fn settings_are_shown_with_dockers_keys_and_never_null() {
    let json = serde_json::to_string(&Settings::default()).unwrap();
    assert_eq!(json, r#"{"Args":[],"Devices":[],"Env":[],"Mounts":[]}"#);
}

/// Writes a file that only root can read.
fn private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn a_secret_is_read_at_each_start_and_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    private(&file, b"first\n");
    let overrides = set(&[&format!("TOKEN=@{}", file.display())]).unwrap();
    let effective = || Settings::effective(&config(), &overrides, None).unwrap();
    assert_eq!(effective().env.last().unwrap(), "TOKEN=first");
    fs::write(&file, "second").unwrap();
    assert_eq!(effective().env.last().unwrap(), "TOKEN=second");
    assert_eq!(Settings::shown(&config(), &overrides).env.last().unwrap(), "TOKEN=********");
    assert!(!format!("{:?}", effective()).contains("second"));
}

#[test]
fn a_secret_file_that_cannot_be_used_is_named_and_its_contents_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let refused = |why: &str| {
        let error = set(&[&format!("TOKEN=@{}", file.display())]).unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert_eq!(error.message(), format!("secret file {} {why}", file.display()));
    };
    refused("does not exist");
    private(&file, b"\n");
    refused("is empty");
    fs::write(&file, "a\0b").unwrap();
    refused("has a NUL character in it");
    fs::write(&file, b"\xff").unwrap();
    refused("is no text (UTF-8)");
    fs::write(&file, "x".repeat((64 << 10) + 1)).unwrap();
    refused("is larger than 64 KiB");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    refused("cannot be read");
}

#[test]
fn a_credential_is_read_from_the_services_directory() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("tok"), "s3cret\n").unwrap();
    let overrides = set(&["TOKEN=@credential:tok"]).unwrap();
    let settings = Settings::effective(&config(), &overrides, Some(directory.path())).unwrap();
    assert_eq!(settings.env.last().unwrap(), "TOKEN=s3cret");
    let error = Settings::effective(&config(), &overrides, None).unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition);
    assert!(error.message().contains("LoadCredential=tok"));
    for name in ["", "..", "a/b"] {
        assert!(refusal(&format!("TOKEN=@credential:{name}")).contains("no name of a credential"));
    }
}

#[test]
fn a_literal_at_sign_is_written_twice() {
    let overrides = set(&["DEBUG=@@home"]).unwrap();
    assert_eq!(overrides.env[0].value, Value::Literal("@home".to_owned()));
    let message = refusal("DEBUG=@hunter2");
    assert!(message.contains("@@") && !message.contains("hunter2"), "{message}");
}

#[test]
fn an_upgrade_keeps_what_may_still_be_set_and_names_the_rest() {
    let overrides = set(&["DEBUG=1", "TOKEN=x", "keys=/k", "fuse=/f", "args=a"]).unwrap();
    assert_eq!(overrides.carried_to(&config()), (overrides.clone(), Vec::new()));
    let next = Config::decode(
        br#"{"env":[{"name":"DEBUG","settable":["value"]},{"name":"TOKEN"}],
             "mounts":[{"name":"keys","source":"/new","settable":["source"]}],
             "linux":{"devices":[{"name":"fuse","path":null,"settable":["path"]}]}}"#,
    )
    .unwrap();
    let (kept, lost) = overrides.carried_to(&next);
    assert_eq!(kept.env.len(), 1);
    assert_eq!((kept.mounts.len(), kept.devices.len(), &kept.args), (1, 0, &None));
    assert_eq!(
        lost,
        [
            "setting variable TOKEN may no longer be set in the new version; its default is in effect",
            "setting device fuse is gone in the new version; its default is in effect",
            "setting args is gone in the new version; its default is in effect",
        ]
    );
    let shown = Settings::shown(&next, &kept);
    assert_eq!(
        (shown.env, shown.mounts[0].source.as_deref()),
        (vec!["DEBUG=1".into()], Some("/k"))
    );
}
