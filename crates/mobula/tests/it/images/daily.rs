//! From the registry to a container's data: the main way, and what volumes can be.

use super::lab::{Lab, devices, propagation};
use super::make::{plugin_image, program};
use crate::engine::fixture::{can_run, ok};
use crate::plugins::bed::Kind;
use crate::plugins::podman::Podman;
use crate::plugins::{on_both, on_ours};
use std::io::Write;
use std::process::{Command, Stdio};

on_both!(
    an_image_goes_over_a_registry_to_a_container_with_one_command,
    volumes_have_every_file_system_and_copies,
    the_command_line_reaches_the_agent_in_a_plugin,
    compose_makes_and_removes_volumes_of_a_plugin,
);

mod alone {
    use super::*;

    on_ours!(podman_shares_volumes_of_both_images);
}

fn an_image_goes_over_a_registry_to_a_container_with_one_command(kind: Kind) {
    let lab = Lab::start(kind);
    let name = lab.registry.name("mobula/loop:v1");
    let mut push = plugin_image("loop", program(), &lab.home.path("out"));
    let said = ok(push.args(["--push", &name]));
    assert!(said.contains(&format!("pushed {name}@sha256:")), "{said}");

    let mut install = lab.docker(&format!("plugin install {name} VOLUME_SIZE=48MiB"));
    install.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut install = install.spawn().unwrap();
    install.stdin.take().unwrap().write_all(b"y\n").unwrap();
    let output = install.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let expected = format!(
        "Plugin \"{name}\" is requesting the following privileges:\n \
         - mount: [/dev]\n \
         - mount: [/srv]\n \
         - allow-all-devices: [true]\n \
         - capabilities: [CAP_SYS_ADMIN]\n\
         Do you grant the above permissions? [y/N] "
    );
    assert!(said.starts_with(&expected), "{said}");

    lab.create(&name, "pgdata");
    let shown = lab.box_ok("volume inspect -f {{.Status.size}}/{{.Status.fsType}} pgdata");
    assert_eq!(shown, "48MiB/ext4");
    lab.start_container("pgdata");
    lab.exec("pgdata", "echo kept > /d/file");
    let target = lab.target(&name, "loop", "pgdata");
    assert_eq!(std::fs::read_to_string(target.join("file")).unwrap(), "kept\n");
    // dockerd's are there twice (fact 10).
    assert_eq!(propagation(&target), vec!["shared"; if lab.is_ours() { 1 } else { 2 }]);
    let image = lab.srv().join("mobula/loop/pgdata/image");
    assert_eq!(devices(&image).len(), 1);
    let full = lab.exec("pgdata", "dd if=/dev/zero of=/d/big bs=1M count=100 2>&1 || true");
    assert!(full.contains("No space left on device"), "{full}");
    lab.box_ok("rm -f pgdata");
    assert_eq!(propagation(&target), Vec::<String>::new());
    assert_eq!(devices(&image), Vec::<String>::new());
    lab.box_ok("volume rm pgdata");
    assert!(!image.exists());
}

/// mkfs, fsck and the tools that give a copy its own UUID are those in the image.
fn volumes_have_every_file_system_and_copies(kind: Kind) {
    let lab = Lab::start(kind);
    lab.add("loop", "loop", "");
    for (fstype, size) in [("ext4", "32MiB"), ("xfs", "320MiB"), ("btrfs", "128MiB")] {
        lab.create("loop", &format!("-o fsType={fstype} -o size={size} {fstype}"));
        lab.run(fstype, "echo kept > /d/file");
        // Both at once: no two file systems of one UUID may be mounted.
        lab.create("loop", &format!("-o clone={fstype} copy-{fstype}"));
        lab.start_container(fstype);
        lab.start_container(&format!("copy-{fstype}"));
        assert_eq!(lab.exec(&format!("copy-{fstype}"), "cat /d/file"), "kept");
        let target = lab.target("loop", "loop", fstype);
        assert_eq!(host::mountinfo::at(&target).unwrap().unwrap().fstype, fstype);
        lab.box_ok(&format!("rm -f {fstype} copy-{fstype}"));
    }
}

/// Its control socket is in the plugin's own root, which the machine finds by the process.
fn the_command_line_reaches_the_agent_in_a_plugin(kind: Kind) {
    let lab = Lab::start(kind);
    lab.add("loop", "loop", "VOLUME_SIZE=48MiB VOLUME_FSTYPE=ext4");
    lab.create("loop", "vol");
    lab.run("vol", "echo monday > /d/file");
    let root = format!("/proc/{}/root", lab.pid("loop").unwrap());
    let mobula = |words: &str| {
        let mut command = lab.home.command(&words.split(' ').collect::<Vec<_>>());
        ok(command.env("MOBULA_HOME", &root))
    };
    mobula("snapshot create vol monday");
    lab.run("vol", "echo tuesday > /d/file");
    mobula("volume expand vol 96MiB");
    let blocks: u64 =
        lab.run("vol", "df -k /d | grep /d").split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(blocks > 64 << 10, "{blocks} KiB");
    lab.create("loop", "-o snapshot=monday old");
    assert_eq!(lab.run("old", "cat /d/file"), "monday");
    assert_eq!(lab.run("vol", "cat /d/file"), "tuesday");
}

fn compose_makes_and_removes_volumes_of_a_plugin(kind: Kind) {
    if !can_run("docker-compose") {
        return;
    }
    let lab = Lab::start(kind);
    lab.add("loop", "mobula/loop", "");
    lab.add("local", "mobula/local", "");
    let file = lab.home.path("compose.yml");
    // docker-compose 1 compares names, and dockerd calls its own plugins by name and tag.
    let tag = if lab.is_ours() { "" } else { ":latest" };
    std::fs::write(
        &file,
        format!(
            "version: '2.4'\n\
         services:\n\
         \x20 app:\n\
         \x20   image: box\n\
         \x20   network_mode: none\n\
         \x20   stop_signal: KILL\n\
         \x20   command: [sh, -c, 'echo one > /a/file; echo two > /b/file; sleep 1000']\n\
         \x20   volumes: ['disk:/a', 'dir:/b']\n\
         volumes:\n\
         \x20 disk: {{driver: 'mobula/loop{tag}', driver_opts: {{size: 48MiB}}}}\n\
         \x20 dir: {{driver: 'mobula/local{tag}', driver_opts: {{mode: '0700'}}}}\n"
        ),
    )
    .unwrap();
    let compose = |words: &str| {
        let mut command = Command::new("docker-compose");
        command.env("DOCKER_HOST", format!("unix://{}", lab.home.path("d.sock").display()));
        command.env("DOCKER_CONFIG", lab.home.path("client")).stdin(Stdio::null());
        ok(command.arg("-f").arg(&file).args(["-p", "it"]).args(words.split(' ')));
    };
    compose("up -d");
    let shown = lab.box_ok("volume inspect -f {{.Driver}}/{{.Status.size}} it_disk");
    assert!(shown.starts_with("mobula/loop") && shown.ends_with("/48MiB"), "{shown}");
    compose("down");
    assert_eq!(lab.run("it_disk", "cat /d/file"), "one");
    assert_eq!(lab.run("it_dir", "cat /d/file; stat -c %a /d"), "two\n700");
    compose("up -d");
    compose("down -v");
    assert_eq!(lab.box_ok("volume ls -q"), "");
    let left = |driver: &str| {
        let entries = std::fs::read_dir(lab.srv().join("mobula").join(driver)).unwrap().flatten();
        entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count()
    };
    assert_eq!((left("loop"), left("local")), (0, 0));
}

fn podman_shares_volumes_of_both_images(kind: Kind) {
    if !can_run("podman") {
        return;
    }
    let lab = Lab::start(kind);
    lab.add("loop", "mobula/loop", "VOLUME_SIZE=48MiB");
    lab.add("local", "mobula/local", "");
    let (group, srv) = (lab.machine.cgroup().to_owned(), lab.srv());
    let archive = lab.home.path("image.tar");
    let podman = Podman::beside(lab);
    podman.publish();
    podman.ok(&format!("import {} box", archive.display()));
    for driver in ["loop", "local"] {
        let volume = format!("of-{driver}");
        podman.ok(&format!("volume create --driver mobula/{driver} {volume}"));
        let run = format!("run --cgroup-parent /{group} -v {volume}:/d");
        podman.ok(&format!("{run} -d --name {volume} box sleep 1000"));
        ok(podman.command(&format!("exec {volume} sh -c")).arg("echo kept > /d/file"));
        assert_eq!(podman.ok(&format!("{run} --rm box cat /d/file")), "kept");
        let target = podman.bed.target(&format!("mobula/{driver}"), driver, &volume);
        assert_eq!(std::fs::read_to_string(target.join("file")).unwrap(), "kept\n");
        assert_eq!(propagation(&target), ["shared"]);
        podman.ok(&format!("rm -f -t 0 {volume}"));
        assert_eq!(propagation(&target), Vec::<String>::new());
        assert_eq!(devices(&srv.join("mobula/loop/of-loop/image")), Vec::<String>::new());
        assert_eq!(podman.ok(&format!("{run} --rm box cat /d/file")), "kept");
    }
    podman.ok("volume rm of-loop of-local");
    assert!(!srv.join("mobula/loop/of-loop").exists());
    assert!(!srv.join("mobula/local/of-local").exists());
}
