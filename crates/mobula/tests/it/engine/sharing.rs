//! One volume, several containers.

use super::fixture::{Engine, can_run};
use crate::fixture::{PATIENCE, eventually};
use std::process::Stdio;

#[test]
fn the_exit_of_one_container_does_not_unmount_the_volume_of_another() {
    if !can_run("dockerd") {
        return;
    }
    let engine = Engine::start();
    engine.create("both");
    engine.start_container("first", "-v both:/d", "echo 1 > /d/first; sleep 1000");
    engine.start_container("second", "-v both:/d", "sleep 1000");
    engine.ok("rm -f first");
    assert!(engine.home.is_mounted("both"));
    assert_eq!(engine.exec("second", "cat /d/first; echo 2 > /d/second; cat /d/second"), "1\n2");
    // One that comes and goes meanwhile, and one that never starts.
    assert_eq!(engine.run("-v both:/d", "cat /d/second"), "2");
    engine.fails("run --rm --network none -v both:/d box /no/such/program");
    assert!(engine.home.is_mounted("both"));
    assert_eq!(engine.inspect("volume inspect both")["Status"]["mounts"], 1);
    engine.exec("second", "echo 3 > /d/third");
    engine.ok("restart second");
    assert_eq!(engine.exec("second", "cat /d/third"), "3");
    engine.ok("stop second");
    engine.released("both");
    assert!(!engine.home.target("both").exists());
    assert_eq!(engine.run("-v both:/d", "ls /d | grep -c -e first -e second -e third"), "3");
}

#[test]
fn twenty_containers_that_start_at_once_share_one_device() {
    if !can_run("dockerd") {
        return;
    }
    let engine = Engine::start();
    engine.create("storm");
    let names: Vec<_> = (0..20).map(|number| format!("c{number}")).collect();
    let start = |name: &String| {
        let script = format!("echo {name} > /d/{name}; sleep 1000");
        let mut command = engine.script(&format!("-d --name {name} -v storm:/d"), &script);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let clients: Vec<_> = names.iter().map(start).collect();
    for client in clients {
        let output = client.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let target = engine.home.target("storm");
    eventually("each writes", PATIENCE, || {
        names.iter().all(|name| {
            std::fs::read_to_string(target.join(name)).is_ok_and(|text| text.trim() == name)
        })
    });
    assert_eq!(engine.ok("ps -q").lines().count(), 20);
    assert_eq!(engine.home.loops().len(), 1);
    let mounts = host::mountinfo::table().unwrap();
    assert_eq!(mounts.iter().filter(|mount| mount.target == target).count(), 1);
    assert_eq!(engine.inspect("volume inspect storm")["Status"]["mounts"], 20);
    engine.ok(&format!("rm -f {}", names.join(" ")));
    engine.released("storm");
    assert_eq!(engine.inspect("volume inspect storm")["Status"]["mounts"], 0);
    engine.ok("volume rm storm");
}

#[test]
fn containers_that_come_and_go_find_all_that_was_written() {
    if !can_run("dockerd") {
        return;
    }
    let engine = Engine::start();
    engine.create("busy");
    // Each mounts and unmounts: the last one of some and the first one of others meet.
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let engine = &engine;
            scope.spawn(move || {
                for round in 0..6 {
                    let script = format!("touch /d/{worker}-{round}; ls /d | grep -c ^{worker}-");
                    let count = engine.run("-v busy:/d", &script);
                    assert_eq!(count, (round + 1).to_string(), "{worker}");
                }
            });
        }
    });
    engine.released("busy");
    assert_eq!(engine.run("-v busy:/d", "ls /d | grep -c -e -"), "24");
    engine.released("busy");
    engine.ok("volume rm busy");
}
