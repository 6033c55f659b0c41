//! A container keeps its data when its machine is gone.

use super::account::Account;
use super::machine::Machine;
use crate::engine::fixture::can_run;

#[test]
fn data_follows_its_container_to_another_machine_once_the_first_is_proved_dead() {
    if !can_run("dockerd") {
        return;
    }
    let account = Account::start();
    let first = Machine::boot(account.config("i-0a", ""));
    let second = Machine::boot(account.config("i-0b", ""));

    first.run(|engine| {
        engine.create("pg");
        let script = "echo kept > /d/file; sync; while :; do sleep 1; done";
        engine.start_container("db", "-v pg:/d", script);
        assert!(engine.exec("db", "df /d").contains("nvme"));
        // Killed, the agent says nothing to anybody, and the container goes on.
        engine.kill_agent();
        assert_eq!(engine.exec("db", "echo more >> /d/file; sync; cat /d/file"), "kept\nmore");
    });
    let refused = second.run(|engine| engine.run_fails("-v pg:/d", "cat /d/file"));
    assert!(refused.contains("attached to instance i-0a"), "{refused}");

    account.terminate("i-0a");
    assert_eq!(second.run(|engine| engine.run("-v pg:/d", "cat /d/file")), "kept\nmore");
    let written = "echo other > /d/file && sync -f /d/file && cat /d/file";
    let cut_off = first.run(move |engine| {
        let mut exec = engine.docker("exec db sh -c");
        exec.arg(written).output().unwrap()
    });
    assert!(!cut_off.status.success(), "the first machine still writes: {cut_off:?}");
    second.run(|engine| {
        assert_eq!(engine.run("-v pg:/d", "cat /d/file"), "kept\nmore");
        engine.ok("volume rm pg");
    });
    assert_eq!(account.state()["volumes"].as_array().unwrap().len(), 0, "{}", account.state());
}

#[test]
fn data_follows_its_container_when_the_first_machine_gives_it_back() {
    if !can_run("dockerd") {
        return;
    }
    let account = Account::start();
    let machines = ["i-0a", "i-0b"].map(|instance| Machine::boot(account.config(instance, "")));
    machines[0].run(|engine| engine.create("-o fsType=xfs shared"));
    for round in 0..3 {
        for (index, machine) in machines.iter().enumerate() {
            let line = format!("{round}.{index}");
            let script = format!("echo {line} >> /d/log; cat /d/log");
            let log = machine.run(move |engine| {
                assert_eq!(engine.inspect("volume inspect shared")["Scope"], "global");
                engine.run("-v shared:/d", &script)
            });
            assert_eq!(log.lines().count(), round * 2 + index + 1, "{log}");
        }
    }
    machines[1].run(|engine| engine.ok("volume rm shared"));
}

#[test]
fn a_volume_of_another_zone_is_never_an_empty_one() {
    if !can_run("dockerd") {
        return;
    }
    let account = Account::start();
    let first = Machine::boot(account.config("i-0a", ""));
    first.run(|engine| {
        engine.create("pg");
        engine.run("-v pg:/d", "echo kept > /d/file");
    });
    let far = Machine::boot(account.config("i-0c", ""));
    let refused = far.run(|engine| engine.run_fails("-v pg:/d", "ls /d"));
    assert!(refused.contains("zone us-east-1a"), "{refused}");
    assert_eq!(account.state()["volumes"].as_array().unwrap().len(), 1);
    drop(far);

    let far = Machine::boot(account.config("i-0c", ""));
    far.run(|engine| {
        engine
            .ok("volume create -d mobula -o relocate=snapshot -o availabilityZone=us-east-1a here");
        assert_eq!(engine.run("-v here:/d", "echo there > /d/file; cat /d/file"), "there");
    });
    first.run(|engine| engine.create("unused"));
}
