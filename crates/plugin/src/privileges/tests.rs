//! What is asked for, and what counts as granted.

use super::*;
use error::Kind;
use proptest::prelude::*;

fn privilege(name: &str, values: &[&str]) -> Privilege {
    Privilege::new(name, "", values.iter().map(|&value| value.to_owned()).collect())
}

fn everything() -> Config {
    Config::decode(
        br#"{"network":{"type":"host"},"ipchost":true,"pidhost":true,
            "mounts":[{"source":"/a"},{"source":null},{"source":""},{"source":"/a"}],
            "linux":{"allowAllDevices":true,"capabilities":["CAP_SYS_ADMIN","CAP_SYSLOG"],
                     "devices":[{"path":"/dev/fuse"},{"path":null}]}}"#,
    )
    .unwrap()
}

#[test]
fn everything_is_asked_for_in_dockers_order_and_words() {
    let asked = serde_json::to_value(required(&everything())).unwrap();
    let entry = |name, description, value: &[&str]| serde_json::json!({"Name": name, "Description": description, "Value": value});
    let expected = [
        entry("network", "permissions to access a network", &["host"]),
        entry("host ipc namespace", "allow access to host ipc namespace", &["true"]),
        entry("host pid namespace", "allow access to host pid namespace", &["true"]),
        entry("mount", "host path to mount", &["/a"]),
        entry("mount", "host path to mount", &[""]),
        entry("mount", "host path to mount", &["/a"]),
        entry("device", "host device to access", &["/dev/fuse"]),
        entry("allow-all-devices", "allow 'rwm' access to all devices", &["true"]),
        entry(
            "capabilities",
            "list of additional capabilities required",
            &["CAP_SYS_ADMIN", "CAP_SYSLOG"],
        ),
    ];
    assert_eq!(asked, serde_json::Value::Array(expected.to_vec()));
}

#[test]
fn a_plain_plugin_asks_for_nothing_and_the_network_named_none_is_asked_for() {
    for kind in ["", "null", "bridge"] {
        let config =
            Config::decode(format!(r#"{{"network":{{"type":"{kind}"}}}}"#).as_bytes()).unwrap();
        assert_eq!(required(&config), []);
    }
    let none = Config::decode(br#"{"network":{"type":"none"}}"#).unwrap();
    assert_eq!(required(&none)[0].value.as_deref(), Some(["none".to_owned()].as_slice()));
}

#[test]
fn privileges_are_compared_as_docker_does() {
    let abc = || vec![privilege("One", &["a", "b"]), privilege("Two", &["c"])];
    let cases: [(Vec<Privilege>, Vec<Privilege>, bool); 7] = [
        (abc(), vec![privilege("One", &["a", "b"])], false),
        (abc(), vec![privilege("One", &["a", "x"]), privilege("Two", &["c"])], false),
        (abc(), vec![privilege("Two", &["c"]), privilege("One", &["b", "a"])], true),
        (vec![privilege("One", &["a"])], vec![privilege("One", &["a"])], true),
        (vec![privilege("One", &["a"])], vec![privilege("One", &["b"])], false),
        // The first by name must not be skipped (CVE-2026-33997).
        (abc(), vec![privilege("One", &["x"]), privilege("Two", &["c"])], false),
        (vec![], vec![], true),
    ];
    for (index, (required, granted, is_right)) in cases.iter().enumerate() {
        assert_eq!(check(required, granted).is_ok(), *is_right, "case {index}");
    }
}

#[test]
fn the_error_says_what_is_missing_and_what_is_too_much() {
    let error =
        check(&[privilege("mount", &["/a"])], &[privilege("network", &["host"])]).unwrap_err();
    assert_eq!(error.kind(), Kind::PermissionDenied);
    assert_eq!(
        error.message(),
        "incorrect privileges; not granted: mount: [/a]; \
         granted, but not asked for: network: [host]"
    );
}

#[test]
fn a_privilege_without_values_is_one_with_none() {
    let without = Privilege { value: None, ..privilege("One", &[]) };
    check(&[without], &[privilege("One", &[])]).unwrap();
}

#[test]
fn an_upgrade_asks_only_for_what_is_new() {
    let granted = [privilege("mount", &["/a"]), privilege("capabilities", &["A", "B"])];
    let required = [
        privilege("network", &["host"]),
        privilege("mount", &["/a"]),
        privilege("mount", &["/b"]),
        privilege("capabilities", &["B", "C"]),
    ];
    let expected = [
        privilege("network", &["host"]),
        privilege("mount", &["/b"]),
        privilege("capabilities", &["C"]),
    ];
    assert_eq!(added(&granted, &required), expected);
    assert_eq!(added(&required, &granted[..1]), []);
}

#[test]
fn a_mount_that_is_no_bind_is_told_with_its_type_and_options() {
    let config = br#"{"mounts": [
        {"source": "/a", "destination": "/a", "type": "bind", "options": ["rbind"]},
        {"source": "tmp", "destination": "/t", "type": "tmpfs", "options": ["size=1m"]},
        {"source": "overlay", "destination": "/o", "type": "overlay", "options": ["lowerdir=/", "ro"]}
    ]}"#;
    let told = required(&Config::decode(config).unwrap());
    let told: Vec<_> = told.into_iter().flat_map(|privilege| privilege.value.unwrap()).collect();
    assert_eq!(told, ["/a", "tmp", "overlay (overlay lowerdir=/,ro)"]);
}

proptest! {
    #[test]
    fn only_the_whole_list_in_any_order_is_right(
        chosen in proptest::collection::vec(any::<bool>(), 9),
        order in Just((0..9).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let required = required(&everything());
        let granted: Vec<_> = order
            .iter()
            .filter(|&&index| chosen[index])
            .map(|&index| {
                let mut privilege = required[index].clone();
                privilege.description = String::new();
                privilege.value.as_mut().unwrap().reverse();
                privilege
            })
            .collect();
        prop_assert_eq!(check(&required, &granted).is_ok(), granted.len() == required.len());
        prop_assert!(added(&granted, &granted).is_empty());
    }
}
