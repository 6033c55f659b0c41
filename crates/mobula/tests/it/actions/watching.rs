//! What is done without being asked for: claims are kept up, and the doctor looks at permissions.

use super::account::{Account, HERE};
use crate::fixture::{PATIENCE, eventually};
use ebs_sim::Delays;
use serde_json::Value;

/// The findings about the credentials of `service`.
fn findings(account: &Account, service: &str) -> Vec<Value> {
    let report = account.run(&["doctor", "--json"]).stdout;
    let report: Value = serde_json::from_slice(&report).unwrap();
    let about = format!("credentials of service {service} ");
    let all = report["findings"].as_array().unwrap().clone();
    let is_it = |finding: &Value| {
        finding["check"] == "permissions"
            && finding["lookedAt"].as_str().unwrap().starts_with(&about)
    };
    all.into_iter().filter(is_it).collect()
}

#[test]
fn the_agent_keeps_up_claims_on_what_is_mounted() {
    let Some(account) = Account::new(Delays::default()) else { return };
    account.configured(", lease: \"15\"");
    let agent = account.start();
    account.ok(&["volume", "create", "pg", "-s", "here", "--size", "1"]);
    account.ok(&["volume", "mount", "pg", "-s", "here"]);
    let claim = || account.volume("pg").unwrap().tags.get("mobula:lease").cloned();
    let first = claim();
    assert!(first.as_ref().is_some_and(|claim| claim.starts_with(HERE)), "{first:?}");
    eventually("the claim is renewed", PATIENCE, || claim() != first);
    account.ok(&["volume", "unmount", "pg", "-s", "here"]);
    agent.stop();
}

#[test]
fn the_doctor_tells_what_credentials_lack_and_what_mends_it() {
    let Some(account) = Account::new(Delays::default()) else { return };
    account.both(|account, _| {
        let well = findings(account, "here");
        assert_eq!((well.len(), &well[0]["status"]), (1, &"ok".into()), "{well:?}");
        account.inject(&format!(
            "{{\"effect\": \"deny\", \"action\": \"AttachVolume\", \"instance\": \"{HERE}\"}}"
        ));
        let ill = findings(account, "here");
        assert_eq!(ill.len(), 1, "{ill:?}");
        assert_eq!(ill[0]["status"], "problem");
        assert_eq!(ill[0]["found"], "they do not allow ec2:AttachVolume");
        assert_eq!(ill[0]["why"], "It is needed to mount volumes.");
        let mend = ill[0]["mend"].as_str().unwrap();
        assert!(mend.contains("mobula ebs permissions --service here"), "{mend}");
        assert_eq!(findings(account, "far")[0]["status"], "ok", "another machine's are well");
        account.sim().clear_faults();
    });
}

#[test]
fn a_machine_that_is_cut_off_is_told_by_the_doctor_and_delays_no_other() {
    let Some(account) = Account::new(Delays::default()) else { return };
    account.both(|account, _| {
        account.sim().partition(HERE, false);
        let ill = findings(account, "here");
        assert_eq!((ill.len(), &ill[0]["status"]), (1, &"problem".into()), "{ill:?}");
        assert!(ill[0]["why"].is_string() && ill[0]["mend"].is_string(), "{ill:?}");
        assert_eq!(findings(account, "far")[0]["status"], "ok");
        account.sim().heal(HERE);
    });
}
