//! Plugins that see the machine's devices or all of its files: nothing there may change.

use super::fixture::{Plugin, Wanted, with_each_runtime};
use crate::fixture::{PATIENCE, eventually};
use host::mount::{Inside, mount_inside};
use host::root::{Node, Root};
use oci_spec::runtime::{
    Capability, LinuxDeviceBuilder, LinuxDeviceType, LinuxNamespaceType, Mount, Spec,
};
use plugin::runtime::{Instance, Launch, Runtime};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The type bits of a mode (inode(7)).
const TYPE: u32 = 0o170_000;

/// A file system of a test's own, in the place of one of the machine's.
struct Own(PathBuf);

impl Own {
    fn mounted(path: PathBuf, options: &[&str]) -> Self {
        std::fs::create_dir(&path).unwrap();
        let options: Vec<_> = options.iter().copied().map(str::to_owned).collect();
        let (source, destination) = (Path::new("own"), Path::new(path.file_name().unwrap()));
        let tmpfs = Inside { fstype: Some("tmpfs"), source, destination, options: &options };
        mount_inside(path.parent().unwrap(), &tmpfs).unwrap();
        Self(path)
    }

    /// What may be taken for the machine's `/dev`.
    fn devices(plugin: &Plugin) -> Self {
        let own = Self::mounted(plugin.path("devices"), &["mode=755"]);
        let mut root = Root::open(&own.0).unwrap();
        for (name, minor) in [("null", 3), ("zero", 5), ("mine", 7), ("ptmx", 8)] {
            root.node(Path::new(name), Node::Character { major: 1, minor }).unwrap();
        }
        own
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let path = self.0.to_str().unwrap();
        let _ = host::command::run_ok("umount", &["--recursive", "--lazy", path], PATIENCE);
    }
}

fn bind(source: &Path, destination: &str, options: &[&str]) -> Mount {
    mount(source, destination, "bind", &[&["rbind"], options].concat())
}

fn mount(source: &Path, destination: &str, typ: &str, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(destination.into())
        .set_typ(Some(typ.to_owned()))
        .set_source(Some(source.to_owned()))
        .set_options(Some(options.iter().copied().map(str::to_owned).collect()));
    mount
}

/// The plugin of `script` with these mounts after the standard ones.
fn launch(plugin: &Plugin, script: &str, mounts: &[Mount]) -> Launch {
    let mut launch = plugin.launch_of(&Wanted::script(script));
    let mut all = launch.spec.mounts().clone().unwrap();
    all.extend_from_slice(mounts);
    launch.spec.set_mounts(Some(all));
    launch
}

/// As a spec is made: a mount that another one hides is left out.
fn without_own_devices(mut launch: Launch) -> Launch {
    let mut mounts = launch.spec.mounts().clone().unwrap();
    mounts.retain(|mount| mount.typ().as_deref() == Some("bind") || mount.destination() != "/dev");
    launch.spec.set_mounts(Some(mounts));
    launch
}

fn says(plugin: &Plugin, launch: &Launch) -> String {
    let instance = Instance::launch(launch).unwrap();
    assert_eq!(plugin.ended(&instance).code, Some(0), "{}", plugin.said());
    plugin.clean();
    plugin.assert_no_process();
    let said = plugin.said();
    std::fs::remove_file(plugin.path("log")).unwrap();
    said
}

/// Types, inodes and numbers of what is in a directory; loop devices come and go.
fn listing(dir: &Path) -> BTreeMap<String, (u32, u64, u64)> {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    let entries = entries.filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let about = entry.metadata().ok().filter(|_| !name.starts_with("loop"))?;
        Some((name, (about.mode() & TYPE, about.ino(), about.rdev())))
    });
    entries.collect()
}

const LOOK: &str = "busybox ls /dev; echo x > /dev/null && echo written";

#[test]
fn devices_that_are_bound_are_seen_and_stay_as_they_are() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let own = Own::devices(&plugin);
        let before = listing(&own.0);
        let mut launch = launch(&plugin, LOOK, &[bind(&own.0, "/dev", &["rslave"])]);
        let device = LinuxDeviceBuilder::default().path("/dev/further").typ(LinuxDeviceType::C);
        let mut linux = launch.spec.linux().clone().unwrap();
        linux.set_devices(Some(vec![device.major(1).minor(5).build().unwrap()]));
        launch.spec.set_linux(Some(linux));
        let bare = without_own_devices(launch.clone());
        // The second time meets what the first one left.
        for launch in [&launch, &bare, &bare] {
            assert_eq!(says(&plugin, launch), "mine\nnull\nptmx\nzero\nwritten\n");
            assert_eq!(listing(&own.0), before);
        }
        let image = std::fs::read_dir(plugin.path("rootfs/dev")).unwrap().count();
        assert_eq!(image, 0);
    });
}

#[test]
fn the_machines_own_devices_stay_as_they_are() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let before = listing(Path::new("/dev"));
        let devices = bind(Path::new("/dev"), "/dev", &["rslave"]);
        let said = says(&plugin, &without_own_devices(launch(&plugin, LOOK, &[devices])));
        let mut seen: Vec<_> = said.lines().filter(|line| !line.starts_with("loop")).collect();
        assert_eq!(seen.pop(), Some("written"));
        let expected: std::collections::BTreeSet<_> = before.keys().map(String::as_str).collect();
        assert_eq!(seen.into_iter().collect::<std::collections::BTreeSet<_>>(), expected);
        assert_eq!(listing(Path::new("/dev")), before);
    });
}

#[test]
fn devices_that_are_reached_by_detours_stay_as_they_are() {
    with_each_runtime(|runtime| {
        if runtime != Runtime::BuiltIn {
            // runc fills what a link of the image leads to.
            return;
        }
        let plugin = Plugin::new(runtime);
        let own = Own::devices(&plugin);
        std::os::unix::fs::symlink("/dev", plugin.path("rootfs/link")).unwrap();
        let before = listing(&own.0);
        for way in ["/dev/../dev/", "/link", "//dev", "/link/../dev"] {
            let launch = launch(&plugin, LOOK, &[bind(&own.0, way, &[])]);
            assert_eq!(says(&plugin, &launch), "mine\nnull\nptmx\nzero\nwritten\n", "{way}");
            assert_eq!(listing(&own.0), before, "{way}");
        }
        let shown = plugin.path("shown");
        std::fs::create_dir(&shown).unwrap();
        std::os::unix::fs::symlink("/dev", shown.join("link")).unwrap();
        let mounts = [bind(&shown, "/shown", &[]), bind(&own.0, "/shown/link", &[])];
        let said = says(&plugin, &launch(&plugin, LOOK, &mounts));
        assert_eq!(said, "mine\nnull\nptmx\nzero\nwritten\n");
        assert_eq!(listing(&own.0), before);
    });
}

#[test]
fn mounts_are_made_in_their_order() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let own = Own::devices(&plugin);
        let [one, two] = ["one", "two"].map(|name| {
            let dir = plugin.path(name);
            std::fs::create_dir_all(dir.join("below")).unwrap();
            std::fs::write(dir.join("file"), name).unwrap();
            dir
        });
        let mounts = [
            bind(&two, "/hidden/below", &[]),
            bind(&one, "/hidden", &[]),
            bind(&own.0, "/dev", &["rprivate"]),
            bind(&one, "/data", &["ro"]),
            bind(&two, "/data/below", &[]),
            mount(Path::new("tmpfs"), "/data/below/below", "tmpfs", &["mode=700", "nosuid"]),
            bind(&one.join("file"), "/etc/file", &[]),
        ];
        let script = "cd /data; for f in file below/file /etc/file; do busybox cat $f; echo; done
                      busybox ls /hidden/below; echo x > below/below/new && echo new
                      echo x 2>&- > new || echo refused; echo x > below/new && echo new";
        let said = says(&plugin, &launch(&plugin, script, &mounts));
        assert_eq!(said, "one\ntwo\none\nnew\nrefused\nnew\n");
        assert!(two.join("new").exists() && !one.join("new").exists());
        assert_eq!(std::fs::read_dir(two.join("below")).unwrap().count(), 0);
    });
}

/// What plugins for storage ask for: all files, all devices, the machine's network and IPC.
#[test]
fn a_plugin_that_sees_the_whole_machine_may_share_what_it_mounts() {
    with_each_runtime(|runtime| {
        let plugin = Plugin::new(runtime);
        let devices = Own::devices(&plugin);
        let propagated = Own::mounted(plugin.path("propagated"), &["shared"]);
        let before = listing(&devices.0);
        let mounts = [
            bind(&propagated.0, "/propagated", &["rw", "rshared"]),
            bind(Path::new("/"), "/host", &["rslave"]),
            bind(&devices.0, "/dev", &["rslave"]),
        ];
        let own = plugin.path("").display().to_string();
        let script = format!(
            "busybox ls /host{own}; busybox mkdir /propagated/v
             busybox mount -t tmpfs v /propagated/v && echo x > /propagated/v/file
             echo ready; while :; do busybox sleep 1; done"
        );
        let mut launch = without_own_devices(launch(&plugin, &script, &mounts));
        let_it_mount(&mut launch.spec);
        let instance = Instance::launch(&launch).unwrap();
        eventually("it has mounted", PATIENCE, || plugin.said().contains("ready"));
        assert!(plugin.said().contains("rootfs\n"), "{}", plugin.said());
        let volume = propagated.0.join("v");
        assert!(volume.join("file").exists());
        let found = host::mountinfo::at(&volume).unwrap().unwrap();
        assert_eq!(found.propagation(), "shared");
        let all = host::mountinfo::table().unwrap();
        assert_eq!(all.iter().filter(|mount| mount.target == volume).count(), 1);
        assert_eq!(listing(&devices.0), before);
        plugin.stop(&instance, Duration::ZERO);
        assert_eq!(listing(&devices.0), before);
    });
}

fn let_it_mount(spec: &mut Spec) {
    let mut linux = spec.linux().clone().unwrap();
    let mut namespaces = linux.namespaces().clone().unwrap();
    namespaces.retain(|namespace| namespace.typ() != LinuxNamespaceType::Ipc);
    linux.set_namespaces(Some(namespaces));
    linux.set_rootfs_propagation(Some("shared".to_owned()));
    spec.set_linux(Some(linux));
    let mut process = spec.process().clone().unwrap();
    let mut capabilities = process.capabilities().clone().unwrap();
    let mut some = capabilities.bounding().clone().unwrap();
    some.insert(Capability::SysAdmin);
    capabilities
        .set_bounding(Some(some.clone()))
        .set_effective(Some(some.clone()))
        .set_permitted(Some(some));
    process.set_capabilities(Some(capabilities));
    spec.set_process(Some(process));
}

#[test]
fn what_the_built_in_runtime_can_not_do_is_refused_with_the_way_out() {
    with_each_runtime(|runtime| {
        if runtime != Runtime::BuiltIn {
            return;
        }
        let plugin = Plugin::new(runtime);
        let refusal = |launch: &Launch| {
            let error = Instance::launch(launch).unwrap_err();
            plugin.assert_clean();
            error.message().to_owned()
        };
        let over = refusal(&launch(&plugin, "", &[bind(Path::new("/"), "/dev/..", &[])]));
        assert!(over.contains("/ mounted over its root"), "{over}");
        assert!(over.contains("engine.runtime"), "{over}");
    });
}

#[test]
fn a_link_in_place_of_what_runtimes_fill_is_refused() {
    with_each_runtime(|runtime| {
        for place in ["dev", "proc", "sys"] {
            let plugin = Plugin::new(runtime.clone());
            let elsewhere = plugin.path("elsewhere");
            std::fs::create_dir(&elsewhere).unwrap();
            std::fs::remove_dir(plugin.path("rootfs").join(place)).unwrap();
            std::os::unix::fs::symlink(&elsewhere, plugin.path("rootfs").join(place)).unwrap();
            let error = Instance::launch(&launch(&plugin, "", &[])).unwrap_err();
            let link = format!("/{place} of the plugin is a symbolic link");
            assert!(error.message().contains(&link), "{error}");
            plugin.assert_clean();
            assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
        }
    });
}
