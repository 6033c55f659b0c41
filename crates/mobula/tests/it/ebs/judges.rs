//! The simulated account as AWS's own SDK for Python finds it. What is judged is in `judges/*.py`;
//! here each judge gets an account of its own.

use super::account::Account;
use std::path::{Path, PathBuf};
use testkit::judges::{assert_content, python, script};

/// The keys that the account has unless its configuration says otherwise.
const KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "AKIAMOBULASIMULATOR"),
    ("AWS_SECRET_ACCESS_KEY", "simulated-secret-of-mobula"),
];

/// Lets the judge of this name look at a new account, with `keys` in its environment.
#[track_caller]
fn judge(name: &str, keys: &[(&str, &str)]) {
    let Some(python) = python(Path::new(env!("CARGO_TARGET_TMPDIR"))) else { return };
    let account = Account::without_disks();
    let endpoint = account.endpoint("i-0a");
    let mut variables = keys.to_vec();
    variables.push(("JUDGED_ENDPOINT", endpoint));
    match keys {
        [] => variables.push(("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)),
        _ => variables.push(("AWS_EC2_METADATA_DISABLED", "true")),
    }
    let judges = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/ebs/judges/account.py");
    assert_content(script(&python, &judges, &variables).arg(name).output());
}

#[test]
fn boto3_takes_a_volume_through_its_whole_life_and_knows_every_field() {
    judge("life", &KEYS);
}

#[test]
fn boto3_knows_every_field_of_zones_instance_types_and_copies() {
    judge("places", &KEYS);
}

#[test]
fn the_paginator_of_boto3_sees_each_volume_once() {
    judge("pages", &KEYS);
}

#[test]
fn boto3_raises_the_code_of_every_refusal() {
    judge("refusals", &KEYS);
}

#[test]
fn boto3_is_told_apart_by_its_keys() {
    judge("keys", &KEYS);
}

#[test]
fn boto3_repeats_what_was_throttled() {
    judge("patience", &KEYS);
}

#[test]
fn boto3_gets_its_credentials_from_the_metadata_service() {
    judge("metadata", &[]);
}
