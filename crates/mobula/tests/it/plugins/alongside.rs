//! One plugin, many engines: what `mobula engine` runs is used by dockerd and by clients in other
//! languages.

use super::bed::{Bed, Kind};
use super::image::probe;
use super::volumes::containers;
use super::{on_both, on_ours};
use crate::engine::fixture::ok;
use std::process::{Command, Stdio};

on_both!(docker_py_drives_a_plugin);

mod alone {
    use super::*;

    on_ours!(dockerd_uses_a_plugin_of_the_engine_beside_it);
}

fn dockerd_uses_a_plugin_of_the_engine_beside_it(kind: Kind) {
    let mut bed = Bed::start(kind);
    bed.probe("probe");
    containers(&mut bed);
    bed.box_ok("volume create -d probe -o fs=tmpfs shared");
    let run = "run --network none -v shared:/d";
    bed.box_ok(&format!("{run} -d --name user box sleep 1000"));
    bed.box_ok("exec user touch /d/written");
    let host = bed.propagated("probe").join("mounts/shared");
    assert!(host.join("written").exists());
    let said = bed.fails("plugin disable probe");
    assert!(said.contains("in use") && said.contains("shared"), "{said}");
    // The engine comes and goes, the container does not notice.
    bed.kill_engine();
    bed.box_ok("exec user touch /d/meanwhile");
    bed.start_engine();
    assert!(host.join("meanwhile").exists());
    bed.box_ok("rm -f user");
    assert!(host::mountinfo::at(&host).unwrap().is_none());
    bed.box_ok("volume rm shared");
    // dockerd believes answers of status 200, whatever they say; ours say otherwise.
    let output = bed.box_docker("volume create -d probe bad-create-err").output().unwrap();
    assert!(!output.status.success());
    bed.ok("plugin disable probe");
}

const SCRIPT: &str = r#"
import docker, sys
client = docker.DockerClient(base_url=sys.argv[1])
name = sys.argv[2]
plugin = client.plugins.install(name)
assert not plugin.enabled, plugin.attrs
assert [p.name for p in client.plugins.list()] == [name]
plugin.configure({"DEBUG": "1"})
plugin.enable(timeout=30)
plugin.reload()
assert plugin.enabled
assert "DEBUG=1" in plugin.settings["Env"]
volume = client.volumes.create("by-python", driver=name, driver_opts={"fs": "tmpfs"})
assert volume.attrs["Driver"] == name
assert [v.name for v in client.volumes.list()] == ["by-python"]
volume.remove()
try:
    plugin.remove()
    sys.exit("an enabled plugin is removed")
except docker.errors.APIError as error:
    assert error.status_code == 409, error
plugin.disable()
plugin.remove()
assert client.plugins.list() == []
client.plugins.create(name, sys.argv[3])
client.plugins.get(name).remove(force=True)
"#;

fn docker_py_drives_a_plugin(kind: Kind) {
    let bed = Bed::start(kind);
    let name = bed.publish("me/python:v1", &probe());
    let context = probe().write(&bed.home);
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", SCRIPT, &bed.host(), &name]).arg(context);
    python.env("DOCKER_CONFIG", bed.home.path("client")).stdin(Stdio::null());
    ok(&mut python);
}
