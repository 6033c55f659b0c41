//! How actions are asked for.

use super::*;
use crate::cli::terminal::Color;
use clap::Parser;

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    act: Act,
}

fn parse(line: &str) -> std::result::Result<Act, clap::Error> {
    Line::try_parse_from(line.split(' ')).map(|line| line.act)
}

fn service(name: &str, driver: &str) -> ServiceInfo {
    let (name, driver) = (name.to_owned(), driver.to_owned());
    ServiceInfo { name, driver, mounted: 0, capabilities: Vec::new(), error: None }
}

#[test]
fn an_action_has_its_subject_and_its_options() {
    let act = parse("m ebs move pg --zone eu-west-1b").unwrap();
    assert_eq!((act.driver, act.action.name), ("ebs", "move"));
    assert_eq!(act.asked.subject.as_deref(), Some("pg"));
    assert_eq!(act.asked.options, BTreeMap::from([("zone".into(), "eu-west-1b".into())]));
    let act = parse("m ebs orphans --price-per-gib 0.08").unwrap();
    assert_eq!(act.asked.subject, None);
    assert_eq!(act.asked.options, BTreeMap::from([("pricePerGiB".into(), "0.08".into())]));
}

#[test]
fn a_switch_without_a_value_is_on() {
    let force = |line: &str| parse(line).unwrap().asked.options.remove("force");
    assert_eq!(force("m ebs take pg --force").as_deref(), Some("true"));
    assert_eq!(force("m ebs take --force pg").as_deref(), Some("true"));
    assert_eq!(force("m ebs take pg --force=false").as_deref(), Some("false"));
    assert_eq!(force("m ebs take pg"), None, "the default is the driver's");
}

#[test]
fn a_question_can_be_answered_before_it_is_asked_where_there_is_one() {
    assert!(parse("m ebs take pg --force --yes").unwrap().yes);
    assert!(parse("m ebs take pg --force -y").unwrap().yes);
    assert!(!parse("m ebs take pg --force").unwrap().yes);
    assert!(parse("m ebs modify pg --iops 3000 --yes").is_err(), "nothing is asked there");
}

#[test]
fn what_is_ordered_is_one_of_the_options_and_a_switch() {
    for action in acting().flat_map(|spec| spec.actions) {
        let Some(order) = action.order else { continue };
        let option = action.options.iter().find(|option| option.name == order).unwrap();
        assert!(matches!(option.unit, Unit::Bool), "{order}");
        assert_eq!(option.default, Some("false"), "{order}");
    }
}

#[test]
fn a_subject_that_is_missing_or_too_much_is_wrong_usage() {
    for line in ["m ebs", "m ebs move", "m ebs orphans pg", "m ebs nonsense", "m loop x"] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn the_command_of_a_driver_names_its_actions() {
    for spec in acting() {
        let about = group(spec).get_about().unwrap().to_string();
        assert!(about.starts_with(&format!("Do what only driver {} can: ", spec.name)), "{about}");
        assert!(spec.actions.iter().all(|action| about.contains(action.name)), "{about}");
    }
}

#[test]
fn output_flags_may_stand_before_and_behind_the_action() {
    for line in ["m ebs --json orphans", "m ebs orphans --json", "m ebs orphans -f json"] {
        assert!(parse(line).unwrap().output.resolved(Color::Never).is_json(), "{line}");
    }
}

#[test]
fn no_action_takes_a_secret_where_everybody_sees_it() {
    let options = acting().flat_map(|spec| spec.actions).flat_map(|action| action.options);
    assert!(options.into_iter().all(|option| !option.secret));
}

#[test]
fn a_service_of_the_driver_is_chosen() {
    let some = [service("pg", "ebs"), service("mobula", "loop")];
    assert_eq!(choose(&some, "ebs", None).unwrap(), "pg");
    assert_eq!(choose(&some, "ebs", Some("pg")).unwrap(), "pg");
    let error = choose(&some, "ebs", Some("mobula")).unwrap_err();
    assert_eq!(error.message(), "\"mobula\" is no service with driver ebs; those are pg");
    let both = [service("a", "ebs"), service("b", "ebs")];
    let error = choose(&both, "ebs", None).unwrap_err();
    assert!(error.message().ends_with("choose one with --service: a, b"), "{error}");
    assert_eq!(choose(&both, "ebs", Some("b")).unwrap(), "b");
}

#[test]
fn without_a_service_of_the_driver_the_error_says_how_to_have_one() {
    let error = choose(&[service("mobula", "loop")], "ebs", None).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.message().contains("`services: {ebs: {driver: ebs}}`"), "{error}");
}
