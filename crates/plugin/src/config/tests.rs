//! Reading as Go reads, writing as Go writes, refusing what could never be run.

use super::*;
use error::Kind;
use proptest::prelude::*;
use serde_json::{Value, json};

fn decode(json: &str) -> Config {
    Config::decode(json.as_bytes()).unwrap()
}

fn refusal(json: &str) -> String {
    let error = Config::decode(json.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
    error.message().to_owned()
}

fn check(json: &str) -> Result<(), String> {
    decode(json).check().map_err(|error| error.message().to_owned())
}

#[test]
fn an_empty_configuration_is_written_as_docker_writes_it() {
    let expected = concat!(
        r#"{"Args":{"Description":"","Name":"","Settable":null,"Value":null},"Description":"","#,
        r#""Documentation":"","Entrypoint":null,"Env":null,"Interface":{"Socket":"","Types":null},"#,
        r#""IpcHost":false,"Linux":{"AllowAllDevices":false,"Capabilities":null,"Devices":null},"#,
        r#""Mounts":null,"Network":{"Type":""},"PidHost":false,"PropagatedMount":"","User":{},"#,
        r#""WorkDir":""}"#,
        "\n"
    );
    assert_eq!(String::from_utf8(decode("{}").encode()).unwrap(), expected);
    assert_eq!(decode("null"), Config::default());
}

#[test]
fn a_whole_configuration_is_read_and_written_in_dockers_order() {
    let written = concat!(
        r#"{"Args":{"Description":"d","Name":"args","Settable":["value"],"Value":["a",""]},"#,
        r#""Description":"d","DockerVersion":"20.10","Documentation":"u","Entrypoint":["/p"],"#,
        r#""Env":[{"Description":"","Name":"A","Settable":[],"Value":null},"#,
        r#"{"Description":"","Name":"B","Settable":null,"Value":""}],"#,
        r#""Interface":{"ProtocolScheme":"moby.plugins.http/v1","Socket":"s.sock","#,
        r#""Types":["docker.volumedriver/1.0"]},"IpcHost":true,"#,
        r#""Linux":{"AllowAllDevices":true,"Capabilities":["CAP_SYS_ADMIN"],"Devices":"#,
        r#"[{"Description":"","Name":"f","Path":"/dev/fuse","Settable":["path"]}]},"#,
        r#""Mounts":[{"Description":"","Destination":"/m","Name":"m","Options":["rbind"],"#,
        r#""Settable":["source"],"Source":"","Type":"bind"}],"Network":{"Type":"host"},"#,
        r#""PidHost":true,"PropagatedMount":"/mnt","User":{"GID":2,"UID":1},"WorkDir":"/w","#,
        r#""rootfs":{"diff_ids":["sha256:1"],"type":"layers"}}"#,
        "\n"
    );
    let config = decode(written);
    assert_eq!(config.user, User { gid: 2, uid: 1 });
    assert_eq!(config.env[1].value.as_deref(), Some(""));
    assert_eq!(String::from_utf8(config.encode()).unwrap(), written);
}

#[test]
fn keys_count_in_any_case_and_the_last_of_several_wins() {
    let config = decode(
        r#"{"propagatedmount":"/a","PROPAGATEDMOUNT":"/b","Workdir":"/w","ipcHost":true,
            "ROOTFS":{"Diff_IDs":["x"]},"linu\u0078":{},"Documentation":"one","documentation":null,
            "description":"x","deſcription":"long s","networ\u212a":{"TYPE":"host"}}"#,
    );
    assert_eq!(config.propagated_mount, "/b");
    assert_eq!((&*config.work_dir, config.ipc_host), ("/w", true));
    assert_eq!(config.rootfs.unwrap().diff_ids[..], ["x"]);
    assert_eq!((&*config.documentation, &*config.description), ("one", "long s"));
    assert_eq!(config.network.kind, "host");
}

#[test]
fn an_object_that_comes_twice_is_merged_and_a_list_is_replaced() {
    let config = decode(
        r#"{"linux":{"capabilities":["A"],"allowAllDevices":true},"Linux":{"capabilities":["B"]},
            "env":[{"name":"X","value":"1"}],"Env":[{"name":"Y"}]}"#,
    );
    assert!(config.linux.allow_all_devices);
    assert_eq!(&*config.linux.capabilities, ["B"]);
    assert_eq!((config.env.len(), &config.env[0].value), (1, &None));
}

#[test]
fn null_is_accepted_anywhere() {
    let config = decode(
        r#"{"args":null,"env":[null,{"name":null,"value":null}],"interface":{"types":[null]},
            "mounts":null,"user":null,"rootfs":null,"ipchost":null,"linux":{"devices":null}}"#,
    );
    assert_eq!(config.env.len(), 2);
    assert_eq!(config.interface.types[0], InterfaceType::default());
    assert_eq!(Config { env: List::default(), ..config }.interface.types.len(), 1);
}

#[test]
fn the_wrong_type_is_named_with_its_place() {
    let cases = [
        (r#"{"mounts":[{},{},{"options":"rw"}]}"#, "mounts[2].options: expected a list of strings"),
        (r#"{"Env":[{"Value":1}]}"#, "Env[0].Value: expected a string"),
        (r#"{"linux":[]}"#, "linux: expected an object"),
        (r#"{"ipcHost":"yes"}"#, "ipcHost: expected true or false"),
        (r#"{"user":{"uid":-1}}"#, "user.uid: expected a whole number from 0 to 4294967295"),
        (r#"{"user":{"uid":1.5}}"#, "user.uid: expected a whole number from 0 to 4294967295"),
        (r#"{"user":{"uid":"0"}}"#, "user.uid: expected a whole number"),
        (r#"{"interface":{"types":[{}]}}"#, "interface.types[0]: expected a string like docker"),
        (r#"{"env":{}}"#, "env: expected a list of objects"),
        (r#"{"workdir":"a\u0000b"}"#, "workdir: expected a string without NUL characters"),
        ("[]", "the whole: expected an object"),
    ];
    for (json, expected) in cases {
        let message = refusal(json);
        let place = message.strip_prefix("the plugin's configuration: ").unwrap();
        assert!(place.starts_with(expected), "{message}");
    }
}

#[test]
fn what_is_no_json_or_more_than_one_is_refused() {
    assert!(refusal("").contains("no JSON"));
    assert!(refusal("{").contains("no JSON"));
    assert!(refusal("{} {}").starts_with("invalid config json"));
    assert!(refusal(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))).contains("JSON"));
    assert!(refusal(&" ".repeat(LIMIT + 1)).contains("at most 1048576"));
    assert_eq!(decode(" {\"unknown\":{\"a\":[1,-2,3.5,true,null]}} \n"), Config::default());
}

#[test]
fn what_html_could_mistake_is_escaped_as_go_does_it() {
    let config = Config { description: "a<b>&\u{2028}é\n\"".to_owned(), ..Config::default() };
    let written = String::from_utf8(config.encode()).unwrap();
    assert!(written.contains(r#""Description":"a\u003cb\u003e\u0026\u2028é\n\"""#), "{written}");
    assert_eq!(decode(&written), config);
}

#[test]
fn what_dockerd_would_run_is_accepted() {
    let fine = [
        "{}",
        r#"{"description":"foo plugin"}"#,
        r#"{"interface":{"socket":"plugin.sock","types":["docker.dummy/1.0"]},"workdir":"/"}"#,
        r#"{"linux":{"capabilities":["CAP_SYS_ADMIN","net_admin","Cap_SysLog"]}}"#,
        r#"{"mounts":[{"destination":"/dev","source":"","type":"bind"}],"propagatedMount":"/"}"#,
    ];
    for json in fine {
        check(json).unwrap();
    }
}

#[test]
fn what_could_never_be_run_is_refused_with_its_entry() {
    let long = format!(r#"{{"interface":{{"socket":"{}"}}}}"#, "x".repeat(88));
    let many = format!(r#"{{"env":[{}null]}}"#, "null,".repeat(1000));
    let cases = [
        (r#"{"interface":{"socket":"../x"}}"#, r#"interface.socket: "../x" is no file name"#),
        (r#"{"interface":{"socket":".."}}"#, r#"interface.socket: ".." is no file name"#),
        (&*long, "interface.socket: 88 bytes; the path of a socket has room for 87"),
        (r#"{"propagatedMount":"mnt"}"#, r#"propagatedMount: "mnt" must be an absolute path"#),
        (r#"{"propagatedMount":"/a/../b"}"#, r#"propagatedMount: "/a/../b" must be"#),
        (r#"{"workdir":"w"}"#, r#"workdir: "w" must be an absolute path"#),
        (r#"{"mounts":[{"destination":""}]}"#, "mounts[0].destination: is missing"),
        (r#"{"mounts":[{"destination":"x"}]}"#, r#"mounts[0].destination: "x" must be"#),
        (r#"{"linux":{"capabilities":["ALL"]}}"#, r#"linux.capabilities: "ALL" is no capability"#),
        (r#"{"user":{"uid":4294967295}}"#, "user.uid: 4294967295 is nobody's number"),
        (&*many, "env: 1001 items; at most 1000 may be"),
    ];
    for (json, expected) in cases {
        let message = check(json).unwrap_err();
        let entry = message.strip_prefix("the plugin's configuration: ").unwrap();
        assert!(entry.starts_with(expected), "{message}");
    }
}

#[test]
fn a_capability_is_found_in_any_case() {
    let config =
        decode(r#"{"interface":{"types":["docker.volumedriver/1.0","docker.authz/1.0"]}}"#);
    assert!(config.has_capability("VolumeDriver") && config.has_capability("authz"));
    assert!(!config.has_capability("networkdriver"));
}

fn text() -> impl Strategy<Value = String> {
    "[ -~é<&\u{2028}]{0,8}"
}

fn settable() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), Just(json!([])), Just(json!(["value"]))]
}

fn optional() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), text().prop_map(Value::from)]
}

prop_compose! {
    fn document()(
        strings in proptest::collection::vec(text(), 8),
        list in proptest::option::of(proptest::collection::vec(text(), 0..3)),
        fields in settable(),
        value in optional(),
        flags in any::<[bool; 3]>(),
        user in any::<[u32; 2]>(),
        count in 0..3_usize,
    ) -> Value {
        let entry = json!({"Name": strings[0], "Settable": fields, "Value": value, "Path": value,
            "Source": value, "Destination": strings[1], "Options": list, "Type": strings[2]});
        let entries = vec![entry.clone(); count];
        json!({
            "Args": {"Name": strings[3], "Value": list, "Settable": fields},
            "Env": entries, "Mounts": entries, "Entrypoint": list, "IpcHost": flags[0],
            "PidHost": flags[1], "Linux": {"AllowAllDevices": flags[2], "Devices": entries,
            "Capabilities": list}, "Interface": {"Socket": strings[4], "Types":
            ["docker.volumedriver/1.0"]}, "User": {"UID": user[0], "GID": user[1]},
            "PropagatedMount": strings[5], "WorkDir": strings[6], "rootfs": {"diff_ids": list},
        })
    }
}

fn coin(seed: &mut u64) -> bool {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    *seed >> 63 == 1
}

/// The same with keys in other cases, and nulls in front that mean nothing.
fn disguise(value: &Value, seed: &mut u64) -> String {
    match value {
        Value::Object(entries) => {
            let mut parts = Vec::new();
            for (key, value) in entries {
                let swap = |c: char| if coin(seed) { c.to_ascii_uppercase() } else { c };
                let key: String = key.to_lowercase().chars().map(swap).collect();
                if coin(seed) {
                    parts.push(format!("{}:null", Value::from(key.to_uppercase())));
                }
                parts.push(format!("{}:{}", Value::from(key), disguise(value, seed)));
            }
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| disguise(item, seed)).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}

proptest! {
    #[test]
    fn what_was_written_reads_back(document in document(), mut seed in any::<u64>()) {
        let config = decode(&document.to_string());
        prop_assert_eq!(&Config::decode(&config.encode()).unwrap(), &config);
        prop_assert_eq!(&decode(&disguise(&document, &mut seed)), &config);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Config::decode(&bytes);
    }

    #[test]
    fn no_damage_makes_it_panic(document in document(), at in any::<prop::sample::Index>(),
                                byte in any::<u8>()) {
        let mut bytes = document.to_string().into_bytes();
        let index = at.index(bytes.len());
        bytes[index] = byte;
        if let Ok(config) = Config::decode(&bytes) {
            let _ = config.check();
        }
    }
}
