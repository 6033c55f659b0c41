//! Many volumes, many clients, many cycles, many crashes.

use crate::fixture::{Home, PATIENCE, call, eventually, is_root};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const LOOP: &str = "services: {mobula: {driver: loop, volume: {size: 16MiB}}}\n";
const LOCAL: &str = "services: {mobula: {driver: local}}\n";

fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn ten_thousand_cycles_leave_mounts_descriptors_and_loop_devices_unchanged() {
    if !is_root() {
        return;
    }
    let home = Home::with(
        "services:\n  mobula: {driver: local}\n  disks: {driver: loop, volume: {size: 16MiB}}\n",
    );
    let agent = home.start_with(&["start", "--log-level", "error"], &[]);
    let disks = home.path("run/docker/plugins/disks.sock");
    home.create("a", json!({}));
    assert_eq!(call(&disks, "/VolumeDriver.Create", r#"{"Name":"a"}"#).0, 200);
    let cycle = |socket: &Path| {
        let body = r#"{"Name":"a","ID":"i"}"#;
        assert_eq!(call(socket, "/VolumeDriver.Mount", body).0, 200);
        assert_eq!(call(socket, "/VolumeDriver.Unmount", body).0, 200);
    };
    cycle(&home.plugin());
    cycle(&disks);
    let before = (home.mounts().len(), home.loops().len(), open_files(agent.pid()));
    for n in 0..10_000 {
        cycle(&home.plugin());
        if n % 50 == 0 {
            cycle(&disks);
        }
    }
    // The connection of a moment ago may have counted before; a leak would be hundreds.
    let (mounts, loops, files) = before;
    let now = || (home.mounts().len(), home.loops().len(), open_files(agent.pid()));
    eventually("no more than before is open", PATIENCE, || {
        let (mounts_now, loops_now, files_now) = now();
        (mounts_now, loops_now) == (mounts, loops) && files_now <= files
    });
    home.assert_clean();
}

#[test]
fn a_thousand_callers_share_one_mount() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let _agent = home.start_with(&["start"], &[]);
    home.create("a", json!({}));
    let socket = home.plugin();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= 1000 {
                        break;
                    }
                    let body = json!({ "Name": "a", "ID": format!("caller-{n}") }).to_string();
                    assert_eq!(call(&socket, "/VolumeDriver.Mount", &body).0, 200);
                }
            });
        }
    });
    assert_eq!((home.mounts().len(), home.loops().len()), (1, 1));
    for n in 0..1000 {
        assert!(home.is_mounted("a"), "{n}");
        home.unmount("a", &format!("caller-{n}"));
    }
    home.assert_clean();
}

#[test]
fn ten_thousand_volumes_are_listed_and_found_after_a_restart() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOCAL);
    let agent = home.start_with(&["start", "--log-level", "error"], &[]);
    // Copies of one volume's directory are volumes: quicker than ten thousand calls.
    home.create("v0", json!({}));
    let record = std::fs::read_to_string(home.volume_dir("v0").join("volume.json")).unwrap();
    for n in 1..10_000 {
        let dir = home.volume_dir(&format!("v{n}"));
        std::fs::create_dir_all(dir.join("data")).unwrap();
        let own = record.replace("\"v0\"", &format!("\"v{n}\""));
        std::fs::write(dir.join("volume.json"), own).unwrap();
    }
    agent.stop();
    let agent = home.start_with(&["start", "--log-level", "error"], &[]);
    assert_eq!(home.docker("Get", &json!({ "Name": "v9999" })).0, 200);
    let list = home.docker_ok("List", &json!({}));
    assert_eq!(list["Volumes"].as_array().unwrap().len(), 10_000);
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(resident < 64 << 10, "{resident} KiB for 10,000 volumes");
    let quiet = home.ok(&["volume", "ls", "-q"]);
    assert_eq!(quiet.lines().count(), 10_000);
}

#[test]
fn an_agent_killed_again_and_again_under_load_keeps_every_acknowledged_volume() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let acknowledged: Mutex<BTreeSet<String>> = Mutex::default();
    let over = AtomicBool::new(false);
    let mut agent = home.start();
    let agent = std::thread::scope(|scope| {
        for client in 0..8 {
            let (home, acknowledged, over) = (&home, &acknowledged, &over);
            scope.spawn(move || storm(&home.plugin(), client, acknowledged, over));
        }
        for _ in 0..25 {
            std::thread::sleep(Duration::from_millis(150));
            agent.kill();
            assert!(home.loops().len() <= 8 * 2, "{:?}", home.loops());
            agent = home.start();
        }
        over.store(true, Ordering::Relaxed);
        agent
    });
    let list = home.docker_ok("List", &json!({}));
    let listed: BTreeSet<String> = list["Volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| volume["Name"].as_str().unwrap().to_owned())
        .collect();
    for name in acknowledged.into_inner().unwrap() {
        assert!(listed.contains(&name), "{name} was acknowledged");
        home.mount(&name, "last");
        assert!(home.is_mounted(&name));
        assert_eq!(home.loops().len(), home.mounts().len(), "one device per mount");
        home.unmount(&name, "last");
    }
    // Calls that were cut short may have mounted what their clients believe is not.
    for name in listed {
        home.unmount(&name, "storm");
    }
    home.assert_clean();
    agent.stop();
}

/// Creates, mounts, unmounts and removes volumes until it is told to stop. What a call that was
/// answered with success says must hold; the others may or may not have happened.
fn storm(socket: &Path, client: usize, acknowledged: &Mutex<BTreeSet<String>>, over: &AtomicBool) {
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        let name = format!("c{client}-{}", number % 6);
        number += 1;
        let body = json!({ "Name": name, "ID": "storm" }).to_string();
        let post = |method: &str| attempt(socket, &format!("/VolumeDriver.{method}"), &body);
        if post("Create") {
            acknowledged.lock().unwrap().insert(name.clone());
        }
        if post("Mount") {
            post("Unmount");
        }
        if number % 3 == 0 {
            // From here on its fate is open until the call is answered.
            acknowledged.lock().unwrap().remove(&name);
            post("Remove");
        }
    }
}

/// A call to an agent that may be dead or dying.
fn attempt(socket: &Path, path: &str, body: &str) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = UnixStream::connect(socket) else {
        std::thread::sleep(Duration::from_millis(5));
        return false;
    };
    let request = format!("POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.0 200")
        && answer.split_once("\r\n\r\n").is_some_and(|(_, body)| {
            serde_json::from_str::<Value>(body)
                .is_ok_and(|body| body["Err"] == "" || body["Mountpoint"].is_string())
        })
}
