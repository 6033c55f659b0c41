//! The agent's life: start, crash, restart, reload, stop; and its control API.

use crate::ebs::account::Account;
use crate::fixture::{Home, PATIENCE, call, eventually, is_root, request};
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};

const LOOP: &str = "services: {mobula: {driver: loop, volume: {size: 64MiB}}}\n";

fn get(home: &Home, path: &str) -> Value {
    let (status, answer) = request(&home.control(), "GET", path, "");
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

#[test]
fn a_killed_agent_leaves_volumes_mounted_and_its_successor_knows_them() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let agent = home.start();
    home.create("a", json!({}));
    std::fs::write(home.mount("a", "one").join("kept"), "data").unwrap();
    agent.kill();
    assert!(home.is_mounted("a"));
    let agent = home.start();
    let volume = home.docker_ok("Get", &json!({ "Name": "a" }))["Volume"].clone();
    assert_eq!(volume["Mountpoint"], json!(home.target("a")));
    assert_eq!(volume["Status"]["mounts"], 1);
    home.mount("a", "two");
    assert_eq!(home.mounts().len(), 1, "no double mount");
    home.unmount("a", "one");
    assert!(home.is_mounted("a"), "the mount ID of before the crash counts");
    home.unmount("a", "two");
    home.remove("a");
    home.assert_clean();
    agent.stop();
    assert!(!home.plugin().exists() && !home.control().exists(), "sockets are removed");
}

#[test]
fn two_agents_on_one_home_the_second_refuses() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let agent = home.start();
    let (code, said) = home.fails(&["start"]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains(&agent.pid().to_string()), "names who holds it: {said}");
    home.create("a", json!({}));
}

#[test]
fn a_reboot_makes_the_ledger_void() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let agent = home.start();
    home.create("a", json!({}));
    home.mount("a", "before");
    agent.kill();
    // What a reboot does: mounts are gone, and the boot has another ID.
    assert!(Command::new("umount").arg(home.target("a")).status().unwrap().success());
    let ledger = home.path("run/mobula/ledger/mobula/a.json");
    let entry = std::fs::read_to_string(&ledger).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    std::fs::write(&ledger, entry.replace(boot.trim(), "another-boot")).unwrap();
    let _agent = home.start();
    assert_eq!(home.docker_ok("Get", &json!({ "Name": "a" }))["Volume"]["Mountpoint"], "");
    assert!(home.mount("a", "after").exists());
    assert!(home.is_mounted("a"), "the next mount really mounts");
    home.unmount("a", "after");
    home.assert_clean();
}

#[test]
fn a_lost_ledger_is_rebuilt_from_the_mount_table() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let agent = home.start();
    home.create("a", json!({}));
    home.mount("a", "before");
    agent.kill();
    std::fs::remove_dir_all(home.path("run/mobula/ledger")).unwrap();
    let _agent = home.start();
    eventually("the mount is found", PATIENCE, || {
        home.docker_ok("Get", &json!({ "Name": "a" }))["Volume"]["Mountpoint"] != ""
    });
    let (_, reason) = home.docker_err("Remove", &json!({ "Name": "a" }));
    assert!(reason.contains("found"), "{reason}");
    eventually("nobody holds it, so it is released", PATIENCE, || !home.is_mounted("a"));
    home.remove("a");
    home.assert_clean();
}

#[test]
fn a_hangup_reloads_the_configuration_and_keeps_what_is_mounted() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let agent = home.start();
    home.create("a", json!({}));
    home.mount("a", "i");
    home.configure(&format!("{LOOP}  extra: {{driver: local}}\n"));
    // YAML in one line cannot be continued: this file is wrong, and the old configuration stays.
    agent.signal("-HUP");
    eventually("the refusal is logged", PATIENCE, || home.log().contains("old one stays"));
    // Right as YAML, and of no use: whose volumes are mounted must be able to give them back.
    home.configure("services: {mobula: {driver: loop, volume: {size: 1XiB}}}\n");
    agent.signal("-HUP");
    eventually("it is logged again", PATIENCE, || home.log().matches("old one stays").count() == 2);
    assert!(home.log().contains("1XiB"));
    // Only the driver knows that it cannot be opened with these.
    home.configure(
        "services:\n  mobula: {driver: loop, volume: {size: 64MiB}}\n  aws: {driver: ebs, options: \
         {endpoint: localhost, accessKey: hunter2}}\n",
    );
    agent.signal("-HUP");
    eventually("it is logged once more", PATIENCE, || {
        home.log().matches("old one stays").count() == 3
    });
    let log = home.log();
    assert!(log.contains("services.aws.options.endpoint: option endpoint: "), "{log}");
    assert!(log.contains("services.aws.options.accessKey: ") && !log.contains("hunter2"), "{log}");
    home.mount("a", "j");
    home.unmount("a", "j");
    home.configure(
        "services:\n  mobula: {driver: loop, volume: {size: 64MiB}}\n  extra: {driver: local}\n",
    );
    agent.signal("-HUP");
    let extra = home.path("run/docker/plugins/extra.sock");
    eventually("the new plugin answers", PATIENCE, || {
        UnixStream::connect(&extra).is_ok()
            && call(&extra, "/VolumeDriver.Create", r#"{"Name":"b"}"#).0 == 200
    });
    assert!(home.is_mounted("a"));
    home.configure(LOOP);
    agent.signal("-HUP");
    eventually("the plugin that is no longer configured is gone", PATIENCE, || !extra.exists());
    home.unmount("a", "i");
    home.assert_clean();
}

#[test]
fn a_terminated_agent_finishes_what_is_under_way() {
    if !is_root() {
        return;
    }
    let home =
        Home::with("services: {mobula: {driver: loop, volume: {size: 2GiB, fsType: btrfs}}}\n");
    let agent = home.start();
    let socket = home.plugin();
    let request =
        std::thread::spawn(move || call(&socket, "/VolumeDriver.Create", r#"{"Name":"a"}"#));
    let stage = home.path("var/lib/mobula/volumes/mobula/.new-a");
    eventually("the volume is being made", PATIENCE, || {
        stage.exists() || home.volume_dir("a").exists()
    });
    agent.stop();
    let (status, answer) = request.join().unwrap();
    assert_eq!(status, 200, "{answer}");
    assert!(home.volume_dir("a").join("volume.json").exists());
}

#[test]
fn the_service_manager_is_told_when_the_agent_is_ready_and_stopping() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let path = home.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let agent = home.start_with(&["start"], &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    let mut told = [0; 200];
    let length = socket.recv(&mut told).unwrap();
    assert!(String::from_utf8_lossy(&told[..length]).contains("READY=1"));
    agent.stop();
    let length = socket.recv(&mut told).unwrap();
    assert!(String::from_utf8_lossy(&told[..length]).contains("STOPPING=1"));
}

#[test]
fn a_socket_that_the_service_manager_opened_is_served() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    std::fs::create_dir_all(home.plugin().parent().unwrap()).unwrap();
    let listener = UnixListener::bind(home.plugin()).unwrap();
    // Activation passes descriptors from 3 on, and names the process they are for: the shell gets
    // the listener as its standard input and moves it there.
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" start";
    let mut shell = Command::new("bash");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_mobula")]).env("MOBULA_HOME", home.dir());
    shell.stdin(std::os::fd::OwnedFd::from(listener));
    shell.stdout(Stdio::null()).stderr(std::fs::File::create(home.path("agent.log")).unwrap());
    let mut agent = shell.spawn().unwrap();
    let inode = std::fs::metadata(home.plugin()).unwrap();
    eventually("it answers on the inherited socket", PATIENCE, || {
        UnixStream::connect(home.control()).is_ok()
    });
    home.create("a", json!({}));
    assert_eq!(home.plugin().metadata().unwrap().ino(), inode.ino(), "the same socket");
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[test]
fn the_api_describes_itself_and_its_description_names_every_route() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let _agent = home.start();
    let description = get(&home, "/v1/openapi.json");
    assert!(description["openapi"].as_str().unwrap().starts_with("3."));
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.len() >= 13, "{:?}", paths.keys());
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            let path = path.replace("{service}", "mobula").replace("{name}", "nosuch");
            let (status, answer) = request(&home.control(), &method.to_uppercase(), &path, "");
            // The route is there, and the driver has no action of that name.
            let is_asked = path.contains("/actions/") && answer.to_string().contains("no action");
            let told = format!("{method} {path} is described, but not served: {answer}");
            assert!(status != 501 || is_asked, "{told}");
        }
    }
    assert_eq!(request(&home.control(), "GET", "/v1/nothing", "").0, 501);
}

#[test]
fn health_and_metrics_tell_how_it_is() {
    if !is_root() {
        return;
    }
    let home = Home::with("services:\n  mobula: {driver: local}\n  broken: {driver: nosuch}\n");
    let agent = home.start();
    home.create("a", json!({}));
    home.mount("a", "i");
    let health = get(&home, "/v1/health");
    assert_eq!(health["status"], "degraded");
    assert_eq!(health["pid"], agent.pid());
    assert!(health["services"][0]["error"].as_str().unwrap().contains("nosuch"));
    assert_eq!(health["services"][1]["mounted"], 1);
    let (status, page) = request(&home.control(), "GET", "/metrics", "");
    assert_eq!(status, 200);
    let page = page["text"].as_str().unwrap().to_owned();
    assert!(page.contains(r#"mobula_mounted_volumes{service="mobula"} 1"#), "{page}");
    assert!(
        page.contains(
            r#"mobula_operations_total{service="mobula",operation="create",outcome="ok"} 1"#
        ),
        "{page}"
    );
    home.unmount("a", "i");
}

#[test]
fn calls_of_a_cloud_are_counted_for_the_service_that_makes_them() {
    if !is_root() {
        return;
    }
    let account = Account::without_disks();
    let home = Home::with(&account.config("i-0a", ""));
    let _agent = home.start();
    home.create("a", json!({}));
    let (_, page) = request(&home.control(), "GET", "/metrics", "");
    let line = r#"mobula_cloud_calls_total{service="mobula",action="CreateVolume",outcome="ok"} 1"#;
    assert!(page["text"].as_str().unwrap().contains(line), "{page}");
}

#[test]
fn the_log_is_json_when_asked_for() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let agent = home.start_with(&["start", "--log-format", "json"], &[]);
    agent.stop();
    let log = home.log();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string());
    }
    assert!(log.lines().count() >= 2, "{log}");
}

#[test]
fn a_bad_configuration_stops_the_start_with_the_reason() {
    if !is_root() {
        return;
    }
    let home = Home::with("sevices: {}\n");
    let (code, said) = home.fails(&["start"]);
    assert_eq!(code, 2);
    assert!(said.contains("did you mean services?"), "{said}");
    let (code, said) = home.fails(&["start", "--config", "/nonexistent.yml"]);
    assert_eq!(code, 2);
    assert!(said.contains("does not exist"), "{said}");
}

#[test]
fn a_caller_that_died_does_not_pin_a_volume_but_a_container_does() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let _agent = home.start();
    for name in ["unused", "used"] {
        home.create(name, json!({}));
    }
    // The caller of these mounts is a process that is gone right afterwards, like a killed dockerd.
    for name in ["unused", "used"] {
        let body = json!({ "Name": name, "ID": "of-the-dead" }).to_string();
        let script = "import socket,sys\n\
            s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); b=sys.argv[2].encode()\n\
            s.sendall(b'POST /VolumeDriver.Mount HTTP/1.1\\r\\nHost: p\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(b) + b)\n\
            print(s.recv(65536).decode())";
        let output = Command::new("python3")
            .args(["-c", script, home.plugin().to_str().unwrap(), &body])
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("200 OK"), "{output:?}");
    }
    // A container: another mount namespace that has the volume at a place of its own.
    let place = home.path("container");
    std::fs::create_dir(&place).unwrap();
    let mut container = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c"])
        .arg("mount --bind \"$0\" \"$1\" && umount \"$0\" && touch \"$1/ready\" && exec sleep 300")
        .args([home.target("used"), place])
        .spawn()
        .unwrap();
    eventually("the container runs", PATIENCE, || home.target("used").join("ready").exists());

    eventually("what nobody uses is released", PATIENCE * 2, || !home.is_mounted("unused"));
    assert!(home.is_mounted("used"), "a container holds it");
    assert!(home.docker_err("Remove", &json!({ "Name": "used" })).1.contains("of-the-dead"));
    home.remove("unused");
    container.kill().unwrap();
    container.wait().unwrap();
    eventually("the container is gone, so it is released", PATIENCE * 2, || {
        !home.is_mounted("used")
    });
    home.remove("used");
    home.assert_clean();
}
