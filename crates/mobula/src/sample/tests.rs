use super::*;

/// A plugin in a mount namespace of this thread, its root shared as engines make it.
fn plugin() -> (tempfile::TempDir, Plugin) {
    host::sandbox::private_mounts().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("volumes");
    Linux::default().ensure_shared(&root).unwrap();
    let plugin = Plugin::open(&root, false).unwrap();
    (dir, plugin)
}

fn call(plugin: &Plugin, method: &str, body: &Value) -> Result<Value> {
    plugin.call(&format!("VolumeDriver.{method}"), body.to_string().as_bytes())
}

#[test]
fn a_volume_stays_mounted_until_the_last_user_gives_it_back() {
    if !testkit::root::is_root() {
        return;
    }
    let (_dir, plugin) = plugin();
    call(&plugin, "Create", &json!({"Name": "a", "Opts": null})).unwrap();
    for id in ["one", "two", "two"] {
        let mounted = call(&plugin, "Mount", &json!({"Name": "a", "ID": id})).unwrap();
        assert_eq!(mounted["Mountpoint"], plugin.target("a").to_str().unwrap());
    }
    std::fs::write(plugin.target("a").join("file"), "x").unwrap();
    assert!(plugin.machine.at(&plugin.target("a")).unwrap().unwrap().shared.is_some());
    call(&plugin, "Unmount", &json!({"Name": "a", "ID": "two"})).unwrap();
    let refused = call(&plugin, "Remove", &json!({"Name": "a"})).unwrap_err();
    assert!(refused.message().contains("in use by one"), "{refused}");
    call(&plugin, "Unmount", &json!({"Name": "a", "ID": "one"})).unwrap();
    assert!(plugin.machine.at(&plugin.target("a")).unwrap().is_none());
    assert_eq!(std::fs::read(plugin.data("a").join("file")).unwrap(), b"x");
    call(&plugin, "Remove", &json!({"Name": "a"})).unwrap();
    assert_eq!(call(&plugin, "List", &json!({})).unwrap(), json!({"Volumes": []}));
}

#[test]
fn what_is_mounted_outlives_the_process() {
    if !testkit::root::is_root() {
        return;
    }
    let (_dir, plugin) = plugin();
    call(&plugin, "Create", &json!({"Name": "a"})).unwrap();
    call(&plugin, "Create", &json!({"Name": "b"})).unwrap();
    call(&plugin, "Mount", &json!({"Name": "a", "ID": "1"})).unwrap();
    call(&plugin, "Mount", &json!({"Name": "b", "ID": "1"})).unwrap();
    plugin.machine.unmount(&plugin.target("b")).unwrap();

    let again = Plugin::open(&plugin.root, false).unwrap();
    assert!(call(&again, "Remove", &json!({"Name": "a"})).is_err());
    call(&again, "Remove", &json!({"Name": "b"})).unwrap();
    call(&again, "Unmount", &json!({"Name": "a", "ID": "1"})).unwrap();
    assert!(again.machine.at(&again.target("a")).unwrap().is_none());
}

#[test]
fn names_that_are_no_names_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = Plugin::open(dir.path(), false).unwrap();
    for name in ["", "..", "a/b", ".hidden", "a b", "é"] {
        let error = call(&plugin, "Create", &json!({"Name": name})).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{name}");
    }
    assert!(plugin.call("VolumeDriver.Create", b"").is_err());
}

#[test]
fn what_is_not_there_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = Plugin::open(dir.path(), false).unwrap();
    for method in ["Get", "Path", "Mount", "Remove"] {
        let error = call(&plugin, method, &json!({"Name": "a", "ID": "1"})).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{method}");
    }
    assert_eq!(call(&plugin, "Unmount", &json!({"Name": "a", "ID": "1"})).unwrap(), json!({}));
    assert!(call(&plugin, "Format", &json!({"Name": "a"})).is_err());
}

#[test]
fn a_ledger_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ledger.json"), r#"{"format":2,"mounted":{}}"#).unwrap();
    let error = Plugin::open(dir.path(), false).map(drop).unwrap_err();
    assert!(error.message().contains("newer version"), "{error}");
}
