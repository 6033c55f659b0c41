//! Enabling and disabling many times leaves nothing behind.

use super::lab::Lab;
use crate::fixture::{PATIENCE, eventually, is_root};
use std::collections::BTreeSet;

const TIMES: usize = 50;

fn files(lab: &Lab) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", lab.pid())).unwrap().count()
}

fn mounts() -> usize {
    host::mountinfo::table().unwrap().len()
}

#[test]
fn enabling_and_disabling_many_times_leaves_nothing() {
    if !is_root() {
        return;
    }
    let lab = Lab::started();
    lab.probe("probe");
    let ids = BTreeSet::from([lab.id("probe")]);
    lab.ok(&["disable", "probe"]);
    let before = (files(&lab), mounts());
    let id = lab.id("probe");
    for round in 0..TIMES {
        let enabled = lab.api("POST /plugins/probe/enable?timeout=0", "");
        assert!(enabled.status < 300, "{round}: {enabled:?}");
        let disabled = lab.api("POST /plugins/probe/disable", "");
        assert!(disabled.status < 300, "{round}: {disabled:?}");
    }
    eventually("files and mounts are as before", PATIENCE, || (files(&lab), mounts()) <= before);
    let left = lab.leaks(&BTreeSet::from([id]));
    assert!(
        left.iter().all(|left| left.contains("propagated-mount") || left.contains("run/")),
        "{left:?}"
    );
    let zombies =
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", lab.pid())).unwrap();
    assert_eq!(zombies, "");
    lab.ok(&["rm", "probe"]);
    lab.assert_nothing_left(&ids);
}
