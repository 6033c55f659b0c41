//! Starts that fail, with the reason, and leave nothing.

use super::fixture::{Plugin, Wanted, spec, with_each_runtime};
use oci_spec::runtime::{LinuxNamespaceType, MountBuilder, Spec};
use plugin::runtime::Instance;

fn refusal(plugin: &Plugin, args: &[&str]) -> String {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    let wanted = Wanted { args, ..Wanted::script("") };
    let error = Instance::launch(&plugin.launch_of(&wanted)).unwrap_err();
    plugin.assert_clean();
    error.message().to_owned()
}

fn refusal_of(plugin: &Plugin, spec: Spec) -> String {
    let launch = plugin.launch_of(&Wanted::script(""));
    let error = Instance::launch(&plugin::runtime::Launch { spec, ..launch }).unwrap_err();
    plugin.assert_clean();
    error.message().to_owned()
}

#[test]
fn an_entrypoint_that_can_not_be_executed_is_named() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let said = refusal(&plugin, &["/none"]);
        assert!(said.contains("/none is not in its root file system"), "{said}");
        let said = refusal(&plugin, &["none"]);
        assert!(said.contains("none is not in its root file system"), "{said}");
    });
}

#[test]
fn a_script_without_its_interpreter_fails_with_the_reason() {
    with_each_runtime(|runtime| {
        if matches!(runtime, plugin::runtime::Runtime::Program(_)) {
            // runc begins the program when it has said that it did.
            return;
        }
        use std::os::unix::fs::PermissionsExt;
        let plugin = Plugin::new(runtime);
        let path = plugin.path("rootfs/script");
        std::fs::write(&path, "#!/bin/none\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let said = refusal(&plugin, &["/script"]);
        assert!(said.contains("/script can't be executed in the plugin: No such file"), "{said}");
        assert!(said.contains("interpreter"), "{said}");
    });
}

#[test]
fn a_mount_that_fails_is_named_with_its_cause() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let mut spec = spec(&plugin.path("rootfs"), &Wanted::script("exit 0"));
        let mut mounts = spec.mounts().clone().unwrap();
        let options = ["rbind".to_owned()];
        let missing = MountBuilder::default().destination("/data").typ("bind");
        mounts.push(missing.source("/nonesuch").options(options).build().unwrap());
        spec.set_mounts(Some(mounts));
        let said = refusal_of(&plugin, spec);
        assert!(said.contains("nonesuch"), "{said}");
        assert!(said.to_lowercase().contains("no such file"), "{said}");
    });
}

#[test]
fn a_spec_without_a_mount_namespace_is_refused() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let mut spec = spec(&plugin.path("rootfs"), &Wanted::script("exit 0"));
        let mut linux = spec.linux().clone().unwrap();
        let mut namespaces = linux.namespaces().clone().unwrap();
        namespaces.retain(|namespace| namespace.typ() != LinuxNamespaceType::Mount);
        linux.set_namespaces(Some(namespaces));
        spec.set_linux(Some(linux));
        let said = refusal_of(&plugin, spec);
        assert!(said.contains("must have a mount namespace"), "{said}");
    });
}

#[test]
fn a_log_that_can_not_be_written_fails_the_start() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let mut launch = plugin.launch_of(&Wanted::script("exit 0"));
        launch.log = plugin.path("nowhere/log");
        let error = Instance::launch(&launch).unwrap_err();
        assert!(error.message().contains("nowhere/log"), "{error}");
        plugin.assert_clean();
    });
}
