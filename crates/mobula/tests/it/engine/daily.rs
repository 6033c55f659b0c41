//! What people do every day: create, use, inspect, remove; Compose; owners; snapshots.

use super::fixture::{Engine, can_run, ok};
use crate::fixture::{PATIENCE, eventually};
use serde_json::{Value, json};

#[test]
fn data_survives_the_container_the_agent_and_dockerd() {
    if !can_run("dockerd") {
        return;
    }
    let mut engine = Engine::start();
    engine.create("-o size=64MiB data");
    engine.run("-v data:/d", "echo kept > /d/file");
    engine.released("data");

    engine.kill_agent();
    engine.start_agent();
    assert_eq!(engine.run("-v data:/d", "cat /d/file"), "kept", "after a crash of the agent");
    engine.stop_agent();
    engine.start_agent();
    assert_eq!(engine.run("-v data:/d", "cat /d/file"), "kept", "after a restart of the agent");
    engine.stop_daemon();
    engine.start_daemon();
    assert_eq!(engine.run("-v data:/d", "cat /d/file"), "kept", "after a restart of dockerd");
    engine.kill_daemon();
    engine.kill_agent();
    engine.start_agent();
    engine.start_daemon();
    assert_eq!(engine.run("-v data:/d", "cat /d/file"), "kept", "after a crash of both");

    engine.released("data");
    engine.ok("volume rm data");
    assert_eq!(engine.ok("volume ls -q"), "");
    assert!(!engine.home.volume_dir("data").exists());
}

#[test]
fn docker_shows_what_a_volume_is() {
    if !can_run("dockerd") {
        return;
    }
    let engine = Engine::start();
    engine.create("-o size=48MiB --label tier=gold shown");
    assert_eq!(engine.ok("volume ls --format {{.Driver}}/{{.Name}}"), "mobula/shown");
    let volume = engine.inspect("volume inspect shown");
    assert_eq!(volume["Driver"], "mobula");
    assert_eq!(volume["Scope"], "local");
    assert_eq!(volume["Mountpoint"], "", "not mounted");
    assert_eq!(volume["Labels"]["tier"], "gold");
    assert_eq!(
        volume["Status"],
        json!({ "service": "mobula", "size": "48MiB", "fsType": "ext4", "mounts": 0 })
    );
    assert!(volume["CreatedAt"].as_str().unwrap().ends_with('Z'));

    engine.start_container("user", "-v shown:/d", "sleep 1000");
    let volume = engine.inspect("volume inspect shown");
    assert_eq!(volume["Mountpoint"], json!(engine.home.target("shown")));
    assert_eq!(volume["Status"]["mounts"], 1);
    let mount = engine.inspect("inspect user")["Mounts"][0].clone();
    assert_eq!((&mount["Name"], &mount["Driver"]), (&json!("shown"), &json!("mobula")));
    let said = engine.fails("volume rm shown");
    assert!(said.contains("volume is in use"), "dockerd knows its own containers: {said}");
    // Somebody whom dockerd does not know.
    engine.create("held");
    engine.home.ok(&["volume", "mount", "held", "--id", "backup"]);
    let said = engine.fails("volume rm held");
    assert!(said.contains("held") && said.contains("backup"), "names the user: {said}");
    engine.home.ok(&["volume", "unmount", "held", "--id", "backup"]);
    engine.ok("volume rm held");

    engine.ok("rm -f user");
    engine.released("shown");
    engine.ok("volume rm shown");
}

#[test]
fn a_mistake_reaches_the_user_with_the_way_out() {
    if !can_run("dockerd") {
        return;
    }
    let engine = Engine::start();
    let said = engine.fails("volume create -d mobula -o sise=1GiB wrong");
    assert!(said.contains("unknown option \"sise\"; did you mean size?"), "{said}");
    for option in ["size", "fsType", "mountOptions", "subPath", "snapshot"] {
        assert!(said.contains(option), "{option} is a valid one: {said}");
    }
    let said = engine.fails("volume create -d mobula -o size=lots wrong");
    assert!(said.contains("lots"), "{said}");
    let long = "x".repeat(200);
    let said = engine.run_fails(&format!("-v {long}:/d --volume-driver mobula"), "true");
    assert!(said.contains("1 to 128 characters"), "{said}");
    assert_eq!(engine.ok("volume ls -q"), "", "nothing was made");

    // The same again is no mistake, and another driver's name is.
    engine.create("-o size=64MiB twin");
    engine.create("-o size=64MiB twin");
    let said = engine.fails("volume create -d local twin");
    assert!(said.contains("unique") || said.contains("already exists"), "{said}");
    engine.ok("volume create -d local other");
    let said = engine.fails("volume create -d mobula other");
    assert!(said.contains("unique") || said.contains("already exists"), "{said}");
    // dockerd does not ask about a volume that it knows; at least it stays as it is.
    engine.create("-o size=32MiB twin");
    assert_eq!(engine.inspect("volume inspect twin")["Status"]["size"], "64MiB");
    let (_, reason) =
        engine.home.docker_err("Create", &json!({ "Name": "twin", "Opts": { "size": "32MiB" } }));
    assert!(reason.contains("size is 64MiB, not 32MiB"), "{reason}");
}

#[test]
fn a_full_volume_does_not_fill_the_host() {
    if !can_run("dockerd") {
        return;
    }
    let engine = Engine::start();
    engine.create("-o size=32MiB small");
    let said = engine.run_fails("-v small:/d", "dd if=/dev/zero of=/d/big bs=1M count=100");
    assert!(said.contains("No space left on device"), "{said}");
    let image = engine.home.volume_dir("small").join("image").metadata().unwrap();
    assert_eq!(image.len(), 32 << 20);
    let shown =
        engine.run("-v small:/d", "df -k /d; rm /d/big; echo fine > /d/again; cat /d/again");
    assert!(shown.ends_with("fine"), "room again: {shown}");
}

#[test]
fn a_database_gets_an_empty_directory_that_it_owns() {
    if !can_run("dockerd") {
        return;
    }
    let engine = Engine::start();
    engine.create("-o uid=999 -o gid=998 -o mode=0700 -o subPath=data pg");
    let said = engine.run(
        "--user 999:998 -v pg:/d",
        "ls -A /d; stat -c %u:%g:%a /d; echo 15 > /d/PG_VERSION && sync && cat /d/PG_VERSION",
    );
    assert_eq!(said, "999:998:700\n15", "empty, owned and writable");
    assert_eq!(engine.run("--user 999 -v pg:/d", "ls -A /d"), "PG_VERSION");
    let said = engine.run_fails("--user 1000 -v pg:/d", "ls /d");
    assert!(said.contains("Permission denied"), "{said}");
    // A new and empty volume takes over what the image has there, as with Docker's own driver.
    engine.create("-o subPath=data seeded");
    assert_eq!(engine.run("-v seeded:/seed", "ls -A /seed"), "of-the-image");
    assert_eq!(engine.run("-v seeded:/d", "cat /d/of-the-image"), "seed");
    // Read-only as the one who made it wants, whatever the container asks for.
    engine.create("-o readOnly=true fixed");
    assert!(engine.run_fails("-v fixed:/d", "touch /d/x").contains("Read-only file system"));
}

#[test]
fn housekeeping_commands_leave_volumes_alone() {
    if !can_run("dockerd") {
        return;
    }
    let engine = Engine::start();
    engine.create("spare");
    engine.run("-v spare:/d", "echo kept > /d/file");
    engine.ok("volume prune -f");
    assert!(engine.ok("system df -v").contains("VOLUME NAME"));
    engine.ok("system prune -f --volumes");
    assert_eq!(engine.ok("volume ls -q"), "spare");
    engine.ok(&format!("import {} box", engine.home.path("image.tar").display()));
    assert_eq!(engine.run("-v spare:/d", "cat /d/file"), "kept");
}

#[test]
fn compose_uses_declared_and_external_volumes() {
    if !can_run("dockerd") {
        return;
    }
    let engine = Engine::start();
    let file = engine.home.path("compose.yml");
    std::fs::write(
        &file,
        "version: '2.4'\n\
         services:\n\
         \x20 app:\n\
         \x20   image: box\n\
         \x20   network_mode: none\n\
         \x20   stop_signal: KILL\n\
         \x20   command: [sh, -c, 'echo one > /own/file; echo two > /ext/file; sleep 1000']\n\
         \x20   volumes: ['own:/own', 'given:/ext']\n\
         volumes:\n\
         \x20 own: {driver: mobula, driver_opts: {size: 48MiB}}\n\
         \x20 given: {external: true}\n",
    )
    .unwrap();
    let compose = |words: &str| {
        let mut command = match std::process::Command::new("docker-compose").arg("version").output()
        {
            Ok(_) => engine.client("docker-compose"),
            Err(_) => engine.docker("compose"),
        };
        command.arg("-f").arg(&file).args(["-p", "it"]).args(words.split(' '));
        command
    };
    let output = compose("up -d").output().unwrap();
    assert!(!output.status.success(), "an external volume must exist: {output:?}");
    engine.create("given");
    ok(&mut compose("up -d"));
    let volume = engine.inspect("volume inspect it_own");
    assert_eq!((&volume["Driver"], &volume["Status"]["size"]), (&json!("mobula"), &json!("48MiB")));
    for name in ["it_own", "given"] {
        let file = engine.home.target(name).join("file");
        eventually("the service writes", PATIENCE, || {
            std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n'))
        });
    }
    ok(&mut compose("down"));
    engine.released("it_own");
    assert_eq!(engine.run("-v it_own:/d", "cat /d/file"), "one");
    ok(&mut compose("up -d"));
    ok(&mut compose("down -v"));
    assert_eq!(engine.ok("volume ls -q"), "given", "only the declared one is removed");
    assert_eq!(engine.run("-v given:/d", "cat /d/file"), "two");
}

#[test]
fn dockerd_finds_a_plugin_at_a_tcp_address() {
    if !can_run("dockerd") {
        return;
    }
    let engine = Engine::with(
        "services: {mobula: {driver: loop, volume: {size: 64MiB}}}\n\
         docker:\n  remote: {service: mobula, listen: \"tcp://127.0.0.1:0\"}\n",
        &[],
    );
    let spec = std::path::Path::new("/etc/docker/plugins/remote.spec");
    eventually("the file is where dockerd looks", PATIENCE, || spec.exists());
    engine.ok("volume create -d remote far");
    engine.run("-v far:/d", "echo kept > /d/file");
    assert_eq!(engine.run("-v far:/d", "cat /d/file"), "kept");
    assert_eq!(engine.ok("volume ls --format {{.Driver}}/{{.Name}}"), "remote/far");
    engine.released("far");
    engine.ok("volume rm far");
}

#[test]
fn a_snapshot_under_load_is_a_consistent_volume() {
    if !can_run("dockerd") {
        return;
    }
    let engine = Engine::start();
    engine.create("live");
    engine.start_container(
        "writer",
        "-v live:/d",
        "i=0; while true; do i=$((i+1)); echo $i > /d/new; sync /d/new; mv /d/new /d/counter; \
         echo $i >> /d/log; done",
    );
    let counter = engine.home.target("live").join("counter");
    let count = || std::fs::read_to_string(&counter).ok()?.trim().parse::<u64>().ok();
    eventually("it writes", PATIENCE, || count() > Some(20));
    let before = count().unwrap();
    engine.home.ok(&["snapshot", "create", "live", "nightly"]);
    let after = count().unwrap();
    eventually("it goes on writing", PATIENCE, || count() > Some(after + 20));

    engine.home.ok(&["snapshot", "restore", "nightly", "copy"]);
    let restored = engine.run("-v copy:/d", "cat /d/counter");
    let restored: u64 = restored.parse().unwrap_or_else(|_| panic!("{restored:?}"));
    assert!((before..=after).contains(&restored), "{before} <= {restored} <= {after}");
    let log = engine.run("-v copy:/d", "cat /d/log");
    for (line, number) in log.lines().zip(1u64..) {
        assert_eq!(line, number.to_string(), "no hole in the log");
    }
    assert!(log.lines().count() as u64 + 2 > restored, "as long as the counter says");
    engine.create("-o snapshot=nightly another");
    assert!(!engine.run("-v another:/d", "cat /d/counter").is_empty(), "by Docker's option, too");
    let volumes: Value =
        serde_json::from_str(&engine.home.ok(&["volume", "ls", "-f", "json"])).unwrap();
    assert_eq!(volumes.as_array().unwrap().len(), 3, "{volumes}");
}
