//! What a spec says, without running it.

use super::*;
use crate::settings::Overrides;
use host::node::Kind;
use oci_spec::runtime::{
    Capability, LinuxNamespace, LinuxNamespaceType, LinuxSeccompOperator, Mount,
};
use std::path::PathBuf;

/// As vieux/sshfs has it, odd case included.
const SSHFS: &str = r#"{
    "description": "sshFS plugin for Docker",
    "entrypoint": ["/docker-volume-sshfs"],
    "env": [{"name": "DEBUG", "settable": ["value"], "value": "0"}],
    "interface": {"types": ["docker.volumedriver/1.0"], "socket": "sshfs.sock"},
    "linux": {"capabilities": ["CAP_SYS_ADMIN"],
              "devices": [{"name": "fuse", "path": "/dev/fuse", "settable": null}]},
    "mounts": [{"name": "sshkey", "source": "", "destination": "/root/.ssh", "type": "bind",
                "options": ["rbind"], "settable": ["source"]},
               {"name": "state", "source": "/var/lib/docker/plugins/",
                "destination": "/mnt/state", "type": "bind", "options": ["rbind"],
                "settable": ["source"]}],
    "network": {"type": "host"},
    "propagatedmount": "/mnt/volumes"}"#;

/// A plugin to be made a spec of.
struct Case {
    config: Config,
    items: Vec<String>,
    devices: Vec<HostDevice>,
    confinement: Confinement,
    passwd: &'static str,
}

impl Case {
    fn of(json: &str) -> Self {
        Self {
            config: Config::decode(json.as_bytes()).unwrap(),
            items: Vec::new(),
            devices: Vec::new(),
            confinement: Confinement::default(),
            passwd: "",
        }
    }

    /// A plugin with these further entries.
    fn with(entries: &str) -> Self {
        Self::of(&format!(r#"{{"interface":{{"socket":"s"}},"entrypoint":["/p"],{entries}}}"#))
    }

    fn try_build(&self) -> Result<Spec> {
        let mut overrides = Overrides::default();
        overrides.set(&self.config, &self.items).unwrap();
        let settings = Settings::effective(&self.config, &overrides, None).unwrap();
        build(&Input {
            id: &PluginId::parse(&"ab".repeat(32)).unwrap(),
            config: &self.config,
            settings: &settings,
            devices: &self.devices,
            rootfs: Path::new("/x/rootfs"),
            passwd: self.passwd,
            sockets: Path::new("/r/sockets"),
            propagated: Path::new("/x/propagated"),
            hosts: &[PathBuf::from("/etc/hosts"), PathBuf::from("/etc/resolv.conf")],
            confinement: &self.confinement,
        })
    }

    fn build(&self) -> Spec {
        self.try_build().unwrap()
    }

    fn refusal(&self) -> String {
        let error = self.try_build().unwrap_err();
        assert_eq!(error.kind(), error::Kind::InvalidArgument);
        error.message().replace("the plugin's configuration: ", "")
    }

    fn mounts(&self) -> Vec<Mount> {
        self.build().mounts().clone().unwrap()
    }

    fn env(&self) -> Vec<String> {
        self.build().process().clone().unwrap().env().clone().unwrap()
    }
}

fn device(path: &str, major: u32, minor: u32) -> HostDevice {
    let path = PathBuf::from(path);
    HostDevice { path, kind: Kind::Character, major, minor, mode: 0o666, uid: 0, gid: 7 }
}

fn at<'a>(mounts: &'a [Mount], destination: &str) -> Option<&'a Mount> {
    mounts.iter().find(|mount| mount.destination() == Path::new(destination))
}

fn options(mount: &Mount) -> String {
    mount.options().clone().unwrap().join(",")
}

#[test]
fn the_spec_of_sshfs_is_the_one_on_file() {
    let mut case = Case::of(SSHFS);
    case.devices = vec![device("/dev/fuse", 10, 229)];
    case.confinement.seccomp = false;
    case.confinement.memory = Some(64 << 20);
    let built = case.build();
    let golden: Spec = serde_json::from_str(include_str!("golden/sshfs.json")).unwrap();
    assert_eq!(built, golden, "{}", serde_json::to_string_pretty(&built).unwrap());
}

#[test]
fn a_bind_whose_source_is_left_to_the_user_is_left_out_until_it_is_set() {
    let mut case = Case::of(SSHFS);
    assert_eq!(at(&case.mounts(), "/root/.ssh"), None);
    case.items = vec!["sshkey=/root/keys".to_owned()];
    let mounts = case.mounts();
    let keys = at(&mounts, "/root/.ssh").unwrap();
    assert_eq!(keys.source().as_deref(), Some(Path::new("/root/keys")));
    assert_eq!(options(keys), "rbind,rslave");
}

#[test]
fn a_source_that_makes_no_sense_is_refused_by_its_entry() {
    let case = |mount: &str| Case::with(&format!(r#""mounts":[{{{mount}}}]"#));
    let bind = r#""destination":"/d","type":"bind""#;
    let cases = [
        (format!(r#"{bind},"source":null"#), "mounts[0].source: mount source is not specified"),
        (format!(r#"{bind},"source":"""#), "mounts[0].source: is empty and may not be set"),
        (format!(r#"{bind},"source":"x""#), r#"mounts[0].source: "x" must be an absolute path"#),
        (
            r#""destination":"/p","type":"proc""#.to_owned(),
            "mounts[0].source: mount source is not specified",
        ),
        (
            r#""destination":"/","type":"tmpfs""#.to_owned(),
            r#"mounts[0].destination: "/" must be an absolute path below /"#,
        ),
    ];
    for (mount, expected) in cases {
        assert_eq!(case(&mount).refusal(), expected);
    }
    let root = Case::with(r#""propagatedMount":"/.""#);
    assert_eq!(root.refusal(), r#"propagatedMount: "/." must be an absolute path below /"#);
}

#[test]
fn a_file_system_of_the_plugins_own_needs_no_source() {
    let case =
        Case::with(r#""mounts":[{"destination":"/t","type":"tmpfs","options":["size=1m"]}]"#);
    let mounts = case.mounts();
    let tmpfs = at(&mounts, "/t").unwrap();
    assert_eq!(tmpfs.source().as_deref(), Some(Path::new("tmpfs")));
    assert_eq!(options(tmpfs), "size=1m");
}

#[test]
fn binds_receive_mounts_and_send_none_unless_their_author_says_so() {
    let case = Case::with(
        r#""network":{"type":"bridge"},"propagatedMount":"/p","mounts":[
            {"source":"/a","destination":"/a","type":"bind"},
            {"source":"/b","destination":"/b","type":"none","options":["bind","ro"]},
            {"source":"/c","destination":"/c","type":"bind","options":["rbind","rshared"]}]"#,
    );
    let mounts = case.mounts();
    let options = |destination: &str| options(at(&mounts, destination).unwrap());
    assert_eq!(options("/a"), "rbind,rslave");
    assert_eq!(options("/b"), "bind,ro,rslave");
    assert_eq!(options("/c"), "rbind,rshared");
    assert_eq!(options("/p"), "rbind,rw,rshared");
    assert_eq!(options("/run/docker/plugins"), "rbind,rprivate");
    assert_eq!(options("/etc/hosts"), "rbind,ro,rslave");
    assert_eq!(at(&mounts, "/b").unwrap().typ().as_deref(), Some("bind"));
    let order: Vec<_> = mounts[7..].iter().map(|mount| mount.destination().clone()).collect();
    let expected =
        ["/p", "/a", "/b", "/c", "/run/docker/plugins", "/etc/hosts", "/etc/resolv.conf"];
    assert_eq!(order, expected.map(PathBuf::from));
}

#[test]
fn standard_mounts_that_would_be_hidden_are_not_made() {
    let mut case = Case::with(
        r#""mounts":[{"source":"/","destination":"/host","type":"bind","options":["rbind"]},
                     {"source":"/dev","destination":"/dev","type":"bind","options":["rbind"]}]"#,
    );
    case.devices = vec![device("/dev/fuse", 10, 229), device("/opt/node", 1, 3)];
    let spec = case.build();
    let mounts = spec.mounts().as_deref().unwrap();
    assert_eq!(mounts.iter().filter(|mount| mount.destination().starts_with("/dev")).count(), 1);
    assert!(at(mounts, "/proc").is_some() && at(mounts, "/host").is_some());
    // The machine's own node is there; the right to use it must be, too.
    let linux = spec.linux().as_ref().unwrap();
    assert_eq!(linux.devices().as_ref().unwrap().len(), 1);
    let rules = linux.resources().as_ref().unwrap().devices().as_ref().unwrap();
    assert!(rules.iter().any(|rule| rule.allow() && rule.minor() == Some(229)));
}

#[test]
fn only_a_propagated_mount_makes_the_root_shared() {
    let propagation = |entries: &str| {
        let spec = Case::with(entries).build();
        spec.linux().as_ref().unwrap().rootfs_propagation().clone()
    };
    assert_eq!(propagation(r#""propagatedMount":"/p""#).as_deref(), Some("shared"));
    assert_eq!(propagation(r#""workdir":"/w""#), None);
}

#[test]
fn namespaces_are_left_out_as_the_configuration_says() {
    use LinuxNamespaceType::{Ipc, Mount, Network, Pid, Uts};
    let kinds = |entries: &str| -> Vec<_> {
        let spec = Case::with(entries).build();
        let linux = spec.linux().as_ref().unwrap();
        linux.namespaces().as_ref().unwrap().iter().map(LinuxNamespace::typ).collect()
    };
    assert_eq!(kinds(r#""network":{"type":"bridge"}"#), [Mount, Uts, Pid, Ipc, Network]);
    assert_eq!(kinds(r#""network":{"type":"host"}"#), [Mount, Uts, Pid, Ipc]);
    assert_eq!(kinds(r#""pidhost":true,"ipchost":true"#), [Mount, Uts, Network]);
}

#[test]
fn files_of_the_network_are_bound_only_for_a_network() {
    assert!(at(&Case::with(r#""network":{"type":""}"#).mounts(), "/etc/hosts").is_none());
    for kind in ["none", "host", "bridge"] {
        let case = Case::with(&format!(r#""network":{{"type":"{kind}"}}"#));
        assert!(at(&case.mounts(), "/etc/resolv.conf").is_some(), "{kind}");
    }
}

#[test]
fn all_devices_may_be_used_if_the_configuration_says_so() {
    let mut case = Case::with(r#""linux":{"allowAllDevices":true}"#);
    case.devices = vec![device("/dev/fuse", 10, 229)];
    let spec = case.build();
    let resources = spec.linux().as_ref().unwrap().resources().clone().unwrap();
    let rules: Vec<_> = resources.devices().iter().flatten().map(ToString::to_string).collect();
    assert_eq!(rules, ["a *:* rwm", "c 10:229 rwm"]);
}

#[test]
fn the_program_is_the_entry_point_and_its_arguments() {
    let mut case =
        Case::with(r#""workdir":"/w","args":{"name":"args","settable":["value"],"value":["-v"]}"#);
    case.items = vec!["args=-a  b".to_owned()];
    let process = case.build().process().clone().unwrap();
    assert_eq!(process.args().as_deref().unwrap(), ["/p", "-a", "", "b"]);
    assert_eq!((process.cwd().as_path(), process.rlimits()), (Path::new("/w"), &None));
}

#[test]
fn a_plugin_without_a_program_or_a_socket_cannot_be_started() {
    let none = Case::of(r#"{"interface":{"socket":"s"}}"#);
    assert_eq!(none.refusal(), "entrypoint: is missing, and no argument stands for it");
    let argument = Case::of(r#"{"interface":{"socket":"s"},"args":{"value":["/p"]}}"#);
    assert_eq!(argument.build().process().as_ref().unwrap().args().as_deref().unwrap(), ["/p"]);
    let deaf = Case::of(r#"{"entrypoint":["/p"]}"#);
    assert!(deaf.refusal().starts_with("interface.socket: is missing"));
}

#[test]
fn the_environment_always_has_a_path_and_a_home() {
    let mut case = Case::with(r#""env":[{"name":"A","value":"1"},{"name":"B"}],"user":{"uid":7}"#);
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(case.env(), [path, "A=1", "HOME=/"]);
    case.passwd = "root:x:0:0:root:/root:/bin/sh\nodd\napp:x:7:7::/srv/app:/bin/sh\n";
    assert_eq!(case.env()[2], "HOME=/srv/app");
    case.confinement.user = false;
    assert_eq!(case.env()[2], "HOME=/root");
    let own = Case::with(r#""env":[{"name":"PATH","value":"/x"},{"name":"HOME","value":"/y"}]"#);
    assert_eq!(own.env(), ["PATH=/x", "HOME=/y"]);
}

#[test]
fn capabilities_are_dockers_and_the_plugins_own_in_any_case() {
    let case = Case::with(r#""linux":{"capabilities":["CAP_SYS_ADMIN","net_admin","CAP_KILL"]}"#);
    let sets = case.build().process().clone().unwrap().capabilities().clone().unwrap();
    let bounding = sets.bounding().clone().unwrap();
    assert_eq!(bounding.len(), 16);
    assert!(bounding.contains(&Capability::SysAdmin) && bounding.contains(&Capability::NetAdmin));
    for same in [sets.permitted(), sets.effective(), sets.inheritable()] {
        assert_eq!(same.as_ref(), Some(&bounding));
    }
    assert!(sets.ambient().as_ref().unwrap().is_empty());
}

#[test]
fn another_user_keeps_what_the_configuration_asks_for() {
    let mut case =
        Case::with(r#""user":{"uid":7,"gid":8},"linux":{"capabilities":["CAP_NET_ADMIN"]}"#);
    let process = case.build().process().clone().unwrap();
    assert_eq!((process.user().uid(), process.user().gid()), (7, 8));
    let ambient = process.capabilities().clone().unwrap().ambient().clone().unwrap();
    assert_eq!(ambient, [Capability::NetAdmin].into());
    case.confinement.user = false;
    let process = case.build().process().clone().unwrap();
    assert_eq!((process.user().uid(), process.user().gid()), (0, 0));
}

#[test]
fn what_is_given_up_of_the_confinement_is_not_in_the_spec() {
    let mut case = Case::with(r#""workdir":"/""#);
    let full = case.build();
    assert_eq!(full.process().as_ref().unwrap().no_new_privileges(), Some(true));
    let linux = full.linux().as_ref().unwrap();
    assert!(linux.seccomp().is_some());
    assert_eq!(linux.resources().as_ref().unwrap().pids().unwrap().limit(), 4096);
    case.confinement = Confinement {
        seccomp: false,
        no_new_privileges: false,
        user: false,
        memory: None,
        pids: None,
    };
    let bare = case.build();
    assert_eq!(bare.process().as_ref().unwrap().no_new_privileges(), None);
    let linux = bare.linux().as_ref().unwrap();
    assert!(linux.seccomp().is_none());
    let resources = linux.resources().as_ref().unwrap();
    assert!(resources.pids().is_none() && resources.memory().is_none());
}

/// A rule of the filter: what is compared with, and the error instead of a success.
type Rule = (Option<(u64, Option<u64>)>, Option<u32>);

fn rules(spec: &Spec, name: &str) -> Vec<Rule> {
    let filter = spec.linux().as_ref().unwrap().seccomp().as_ref().unwrap();
    let calls = filter.syscalls().as_ref().unwrap().iter();
    calls
        .filter(|call| call.names().iter().any(|known| known == name))
        .map(|call| {
            let arg = call.args().as_ref().map(|args| (args[0].value(), args[0].value_two()));
            (arg, call.errno_ret())
        })
        .collect()
}

#[test]
fn the_filter_follows_the_capabilities() {
    let plain = Case::with(r#""workdir":"/""#).build();
    assert_eq!(rules(&plain, "openat"), [(None, None)]);
    assert_eq!(rules(&plain, "chroot"), [(None, None)]);
    assert_eq!(rules(&plain, "mount"), []);
    assert_eq!(rules(&plain, "clone"), [(Some((0x7e02_0000, Some(0))), None)]);
    assert_eq!(rules(&plain, "clone3"), [(None, Some(38))]);
    assert_eq!(rules(&plain, "socket").len(), 3);
    let admin = Case::with(r#""linux":{"capabilities":["CAP_SYS_ADMIN"]}"#).build();
    assert_eq!([rules(&plain, "add_key"), rules(&admin, "keyctl")], [[(None, Some(38))]; 2]);
    for name in ["mount", "clone", "clone3"] {
        assert_eq!(rules(&admin, name), [(None, None)], "{name}");
    }
    assert_eq!(rules(&admin, "reboot"), []);
}

#[test]
fn a_spec_for_libcontainer_has_masks_where_it_looks_for_them() {
    let mut spec = Case::with(r#""workdir":"/""#).build();
    let before = spec.clone();
    for_libcontainer(&mut spec).unwrap();
    assert_eq!(rules(&spec, "clone"), [(Some((0, Some(0x7e02_0000))), None)]);
    assert_eq!(rules(&spec, "personality"), rules(&before, "personality"));
    let filter = spec.linux().as_ref().unwrap().seccomp().clone().unwrap();
    let masked = filter.syscalls().iter().flatten().flat_map(|call| call.args().iter().flatten());
    assert_eq!(masked.filter(|arg| arg.op() == LinuxSeccompOperator::ScmpCmpMaskedEq).count(), 1);
    for_libcontainer(&mut spec).unwrap();
    assert_eq!(spec, before);
}

#[test]
fn devices_are_looked_up_by_the_users_paths() {
    let mut case = Case::with(
        r#""linux":{"devices":[{"name":"a","path":"/dev/null","settable":["path"]},
                               {"name":"b","path":"","settable":["path"]}]}"#,
    );
    let find = |case: &Case| {
        let mut overrides = Overrides::default();
        overrides.set(&case.config, &case.items).unwrap();
        devices(&Settings::effective(&case.config, &overrides, None).unwrap())
    };
    let found = find(&case).unwrap();
    assert_eq!((found.len(), found[0].path.as_path()), (1, Path::new("/dev/null")));
    case.items = vec!["b=/dev/nosuch".to_owned()];
    let error = find(&case).unwrap_err();
    assert_eq!(error.kind(), error::Kind::NotFound);
    assert_eq!(error.context(), [("entry", "linux.devices[1].path".to_owned())]);
    let missing = Case::with(r#""linux":{"devices":[{"name":"a","path":""}]}"#);
    assert!(find(&missing).unwrap_err().message().contains("linux.devices[0].path: is missing"));
}
