//! The driver as a managed plugin, in a real dockerd and in `mobula engine`: the same as an agent.

use super::account::Account;
use super::machine::Machine;
use crate::images::lab::Lab;
use crate::plugins::bed::Kind;
use crate::plugins::{on_both, on_ours};

on_both!(
    data_follows_its_container_from_plugin_to_plugin_once_the_first_machine_is_dead,
    an_account_that_cannot_be_reached_is_told_by_each_call,
);

/// A machine of the account with the plugin.
fn machine(kind: Kind, account: &Account, instance: &str) -> Machine<Lab> {
    let settings = format!("EBS_SIMULATOR={} VOLUME_SIZE=1GiB", account.endpoint(instance));
    Machine::with(move || {
        let lab = Lab::start(kind);
        lab.add("ebs", "ebs", &settings);
        lab
    })
}

fn data_follows_its_container_from_plugin_to_plugin_once_the_first_machine_is_dead(kind: Kind) {
    let account = Account::start();
    let first = machine(kind, &account, "i-0a");
    let second = machine(kind, &account, "i-0b");
    first.run(|lab| {
        lab.create("ebs", "pg");
        lab.start_container("pg");
        lab.exec("pg", "echo kept > /d/file; sync");
        assert!(lab.exec("pg", "df /d").contains("nvme"));
    });
    let refused = second.run(|lab| {
        let output = lab.script("--rm -v pg:/d", "cat /d/file").output().unwrap();
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    });
    assert!(refused.contains("attached to instance i-0a"), "{refused}");
    account.terminate("i-0a");
    assert_eq!(second.run(|lab| lab.run("pg", "cat /d/file")), "kept");
    second.run(|lab| lab.box_ok("volume rm pg"));
    assert_eq!(account.state()["volumes"].as_array().unwrap().len(), 0);
}

fn an_account_that_cannot_be_reached_is_told_by_each_call(kind: Kind) {
    let lab = Lab::start(kind);
    // Nobody listens there.
    lab.add("ebs", "ebs", "EBS_SIMULATOR=http://127.0.0.1:1 EBS_REGION=us-east-1");
    let said = lab.create_fails("ebs", "pg");
    assert!(said.contains("metadata service"), "{said}");
    assert!(lab.pid("ebs").is_some(), "it has not vanished");
}
