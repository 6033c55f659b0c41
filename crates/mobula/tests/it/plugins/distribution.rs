//! Plugins on their way into registries and out of them.

use super::bed::{Bed, Kind, Setup};
use super::image::probe;
use super::registry::{CONFIG, CREDENTIALS, DOCKER, GZIP, OCI, Packing, Registry, ZSTD, pack};
use super::{on_both, on_ours};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

/// What dockerd does with such plugins is in `facts`.
mod squashed {
    use super::{
        on_ours, several_layers_of_any_packing_are_pushed_as_the_one_that_dockerd_installs,
    };
    on_ours!(several_layers_of_any_packing_are_pushed_as_the_one_that_dockerd_installs);
}

on_both!(
    a_plugin_is_created_pushed_removed_and_installed,
    what_is_pushed_is_what_old_registries_and_engines_take,
    a_registry_with_users_gets_their_credentials,
    a_registry_elsewhere_is_talked_to_in_plain_text_if_told_so,
    an_oci_manifest_is_installed,
    what_is_no_plugin_is_not_installed,
    a_plugin_is_installed_under_an_alias,
);

/// dockerd before 26.0 dies of digests.
mod digests {
    use super::{a_plugin_is_installed_by_its_digest, on_ours};
    on_ours!(a_plugin_is_installed_by_its_digest);
}

fn a_plugin_is_created_pushed_removed_and_installed(kind: Kind) {
    let mut bed = Bed::start(kind);
    let name = bed.registry.name("my-plugin");
    bed.create(&name, &probe());
    let said = bed.push(&name);
    assert!(said.contains(&format!("The push refers to repository [{name}]")), "{said}");
    bed.ok(&format!("plugin rm -f {name}"));
    let said = bed.install(&name, "");
    assert!(said.contains(&format!("Installed plugin {name}")), "{said}");
    assert_eq!(bed.ask(&name, "/file/version").text(), "v1");
}

fn what_is_pushed_is_what_old_registries_and_engines_take(kind: Kind) {
    let mut bed = Bed::start(kind);
    let name = bed.registry.name("me/pushed:v1");
    bed.create(&name, &probe());
    let said = bed.push(&name);
    let answer = bed.registry.get("me/pushed", "v1");
    assert_eq!(answer.status, 200, "{said}\n{answer:?}");
    assert_eq!(answer.header("Content-Type").unwrap(), DOCKER);
    let manifest = answer.json();
    assert_eq!(manifest["schemaVersion"], 2);
    assert_eq!(manifest["mediaType"], DOCKER);
    assert_eq!(manifest["config"]["mediaType"], CONFIG);
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    assert_eq!(manifest["layers"][0]["mediaType"], GZIP);
    let line = |what: &serde_json::Value| {
        format!("GET /v2/me/pushed/blobs/{}", what["digest"].as_str().unwrap())
    };
    let config = bed.registry.request(&line(&manifest["config"]), &[], &[]).json();
    assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"], "fact 8");
}

fn a_plugin_is_installed_by_its_digest(kind: Kind) {
    let bed = Bed::start(kind);
    let digest = bed.registry.publish(&bed.home, "me/probe:latest", &probe());
    let name = bed.registry.name("me/probe");
    bed.install(&format!("{name}:latest@{digest}"), "");
    assert_eq!(bed.inspect(&format!("{name}:latest"))["Name"], format!("{name}:latest"));
    bed.ok(&format!("plugin rm -f {name}:latest"));
    bed.install(&format!("{name}@{digest}"), "");
    assert_eq!(bed.inspect(&name)["Name"], format!("{name}:latest"));
    let wrong = digest.replace(|c: char| c.is_ascii_digit(), "f");
    bed.fails(&format!("plugin install --grant-all-permissions --alias x {name}@{wrong}"));
}

fn a_registry_with_users_gets_their_credentials(kind: Kind) {
    let bed = Bed::start(kind);
    let registry = Registry::for_users(&bed.home);
    registry.publish(&bed.home, "me/secret:v1", &probe());
    let name = registry.name("me/secret:v1");
    let words = format!("plugin install --grant-all-permissions {name}");
    let said = bed.fails(&words);
    if bed.is_ours() {
        assert!(said.contains("credentials"), "{said}");
    }
    assert_eq!(bed.list(""), Vec::<String>::new());
    let config = json!({ "auths": { &registry.address: { "auth": CREDENTIALS } } });
    std::fs::create_dir_all(bed.home.path("client")).unwrap();
    std::fs::write(bed.home.path("client/config.json"), config.to_string()).unwrap();
    bed.ok(&words);
    assert!(bed.is_enabled(&name));
}

/// A network that has an address which is not of the loopback, and nobody else. Ends with it.
struct Elsewhere {
    holder: Child,
}

impl Elsewhere {
    const ADDRESS: &str = "192.0.2.1";

    /// Moves this thread, and what it starts from now on, there.
    fn enter() -> Self {
        let up = format!(
            "ip link set lo up && ip address add {}/32 dev lo && echo up && exec cat",
            Self::ADDRESS
        );
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", &up]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().unwrap();
        let mut said = [0; 3];
        holder.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        assert_eq!(&said, b"up\n");
        let network = File::open(format!("/proc/{}/ns/net", holder.id())).unwrap();
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        Self { holder }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = (self.holder.kill(), self.holder.wait());
    }
}

fn a_registry_elsewhere_is_talked_to_in_plain_text_if_told_so(kind: Kind) {
    let _elsewhere = Elsewhere::enter();
    let ip = Elsewhere::ADDRESS;
    let cidr = format!("{ip}/32");
    let bed = Bed::with(kind, Setup { insecure: Some(&cidr), ..Setup::default() });
    let registry = Registry::at(&bed.home, ip, false);
    registry.publish(&bed.home, "me/probe:v1", &probe());
    let name = registry.name("me/probe:v1");
    bed.install(&name, "");
    assert!(bed.is_enabled(&name));
    drop(bed);
    let bed = Bed::start(kind);
    bed.fails(&format!("plugin install --grant-all-permissions {name}"));
}

fn an_oci_manifest_is_installed(kind: Kind) {
    let bed = Bed::start(kind);
    let layer = pack(&probe().write(&bed.home).join("rootfs"), Packing::Gzip);
    let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    let layers = [bed.registry.blob("me/oci", media_type, &layer)];
    let manifest = bed.registry.describe("me/oci", &probe(), &layers, OCI);
    bed.registry.manifest("me/oci", "v1", &manifest);
    let name = bed.registry.name("me/oci:v1");
    bed.install(&name, "");
    assert_eq!(bed.ask(&name, "/file/version").text(), "v1");
}

fn what_is_no_plugin_is_not_installed(kind: Kind) {
    let bed = Bed::start(kind);
    let config = bed.registry.blob(
        "me/image",
        "application/vnd.docker.container.image.v1+json",
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#,
    );
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": DOCKER, "config": config, "layers": [] });
    bed.registry.manifest("me/image", "v1", &manifest);
    let name = bed.registry.name("me/image:v1");
    let said = bed.fails(&format!("plugin install --grant-all-permissions {name}"));
    assert!(said.contains("did not find plugin config"), "{said}");
    assert_eq!(bed.list(""), Vec::<String>::new());
}

fn a_plugin_is_installed_under_an_alias(kind: Kind) {
    let bed = Bed::start(kind);
    let name = bed.publish("me/probe:v1", &probe());
    bed.install(&name, "--alias short");
    assert_eq!(bed.list(""), ["short:latest"]);
    assert_eq!(bed.inspect("short")["PluginReference"], name);
    let said = bed.fails(&format!("plugin install --grant-all-permissions --alias short {name}"));
    assert!(said.contains("already exists"), "{said}");
    bed.ok("volume create -d short v");
    assert!(bed.ok("volume ls").contains("short:latest"));
}

fn several_layers_of_any_packing_are_pushed_as_the_one_that_dockerd_installs(kind: Kind) {
    let mut bed = Bed::start(kind);
    let lower = probe().and_file("gone", "x").and_file("dir/below", "x").write(&bed.home);
    let upper = tempfile::tempdir_in(bed.home.dir()).unwrap();
    std::fs::create_dir(upper.path().join("dir")).unwrap();
    for (name, text) in
        [("version", "v2"), (".wh.gone", ""), ("dir/.wh..wh..opq", ""), ("dir/own", "own")]
    {
        std::fs::write(upper.path().join(name), text).unwrap();
    }
    let layers = [
        bed.registry.blob("me/two", GZIP, &pack(&lower.join("rootfs"), Packing::Gzip)),
        bed.registry.blob("me/two", ZSTD, &pack(upper.path(), Packing::Zstd)),
    ];
    let manifest = bed.registry.describe("me/two", &probe(), &layers, OCI);
    bed.registry.manifest("me/two", "v1", &manifest);
    let (two, one) = (bed.registry.name("me/two:v1"), bed.registry.name("me/one:v1"));
    bed.install(&two, &format!("--alias {one}"));
    assert_eq!(bed.ask(&one, "/file/version").text(), "v2");
    bed.ok(&format!("plugin disable {one}"));

    let said = bed.push(&one);
    assert!(said.contains("2 layer(s)"), "{said}");
    let pushed = bed.registry.get("me/one", "v1");
    bed.push(&one);
    let again = bed.registry.get("me/one", "v1");
    assert_eq!(again.body, pushed.body, "the same bytes every time");
    let layer = &pushed.json()["layers"];
    assert_eq!(layer.as_array().unwrap().len(), 1, "{pushed:?}");
    assert_eq!(layer[0]["mediaType"], GZIP);
    let config = pushed.json()["config"]["digest"].as_str().unwrap().to_owned();
    let config = bed.registry.request(&format!("GET /v2/me/one/blobs/{config}"), &[], &[]).json();
    assert_eq!(config["rootfs"]["diff_ids"], json!([layer[0]["digest"]]));

    bed.start_neighbour();
    bed.box_ok(&format!("plugin install --grant-all-permissions {one}"));
    let id = bed.box_ok(&format!("plugin inspect --format {{{{.Id}}}} {one}"));
    let rootfs = bed.home.path("docker/plugins").join(id).join("rootfs");
    let read = |name: &str| std::fs::read_to_string(rootfs.join(name)).ok();
    assert_eq!(read("version").as_deref(), Some("v2"));
    assert_eq!(read("dir/own").as_deref(), Some("own"));
    for hidden in ["gone", ".wh.gone", "dir/below", "dir/.wh..wh..opq"] {
        assert_eq!(read(hidden), None, "{hidden}");
    }
    bed.box_ok(&format!("plugin disable {one}"));
}
