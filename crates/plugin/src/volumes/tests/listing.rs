//! Lists: side by side, with warnings instead of failures.

use super::*;
use crate::ledger::Holder;
use jiff::Timestamp;

#[tokio::test]
async fn all_volumes_are_listed_by_name_with_one_call_per_driver() {
    let engine = Engine::new(&["one", "two"]);
    engine.store(1).insert("a");
    engine.store(0).insert("c");
    engine.create(Create { labels: map(&[("k", "v")]), ..wish("b", "two") }).await.unwrap();
    let (volumes, warnings) = engine.list(Filter::default()).await;
    let shown: Vec<_> = volumes.iter().map(|v| (v.name.as_str(), v.driver.as_str())).collect();
    assert_eq!(shown, [("a", "two"), ("b", "two"), ("c", "one")]);
    assert_eq!(volumes[1].labels, Some(map(&[("k", "v")])));
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!((engine.plugin(0).count("List"), engine.plugin(1).count("List")), (1, 1));
    assert_eq!(engine.plugin(0).count("Path") + engine.plugin(1).count("Path"), 0);
}

#[tokio::test]
async fn a_driver_that_fails_is_a_warning_and_its_recorded_volumes_are_shown() {
    let engine = Engine::new(&["one", "two", "three"]);
    for (name, driver) in [("a", "one"), ("b", "two"), ("c", "three")] {
        engine.create(wish(name, driver)).await.unwrap();
    }
    engine.store(0).refuse("List", "the cloud is down");
    engine.kill(1);
    let (volumes, warnings) = engine.list(Filter::default()).await;
    assert_eq!(volumes.len(), 3);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("one: the cloud is down"), "{warnings:?}");
    assert!(warnings[1].starts_with("two: no plugin listens"), "{warnings:?}");
}

#[tokio::test]
async fn what_does_not_even_say_that_it_is_a_driver_is_a_warning_in_lists_only() {
    let engine = Engine::new(&["one"]);
    engine.create(wish("a", "one")).await.unwrap();
    engine.add_silent("dead");
    let (volumes, warnings) = engine.list(Filter::default()).await;
    assert_eq!(volumes.len(), 1);
    assert_eq!(warnings, ["dead is silent"]);
    let only_one = Filter { drivers: vec!["one".to_owned()], ..Filter::default() };
    assert!(engine.list(only_one).await.1.is_empty());
    let error = engine.get("nobodys").await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_driver_that_hangs_costs_its_deadline_and_hides_no_other() {
    let hangs = Fake::start_slow(|_| never());
    let works = Fake::start(|_| ok(json!({ "Volumes": [{ "Name": "v" }, { "Name": "" }] })));
    let engine = Engine::of(vec![("hangs", hangs), ("works", works)]);
    let (volumes, warnings) = engine.list(Filter::default()).await;
    assert_eq!(volumes.len(), 1);
    assert!(warnings.len() == 1 && warnings[0].starts_with("hangs: "), "{warnings:?}");
}

#[tokio::test]
async fn a_driver_that_hangs_for_good_is_passed_over_with_a_warning() {
    let engine = Engine::of(vec![("hangs", Fake::start_slow(|_| never()))]);
    for _ in 0..4 {
        let (_, warnings) = engine.list(Filter::default()).await;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }
    assert_eq!(engine.plugin(0).count("List"), 3);
}

#[tokio::test]
async fn volumes_whose_plugin_is_gone_are_listed_with_a_warning() {
    let engine = Engine::new(&["one", "two"]);
    engine.create(wish("a", "one")).await.unwrap();
    engine.create(wish("b", "two")).await.unwrap();
    engine.uninstall("one");
    let engine = engine.restarted();
    let (volumes, warnings) = engine.list(Filter::default()).await;
    assert_eq!(volumes.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(warnings.len() == 1 && warnings[0].contains("one: it does not run"), "{warnings:?}");
    let only_two = Filter { drivers: vec!["two".to_owned()], ..Filter::default() };
    let (_, warnings) = engine.list(only_two).await;
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[tokio::test]
async fn a_name_of_two_drivers_is_the_recorded_ones_and_else_the_firsts() {
    let engine = Engine::new(&["one", "two"]);
    engine.create(wish("recorded", "two")).await.unwrap();
    for name in ["recorded", "both"] {
        engine.store(0).insert(name);
    }
    engine.store(1).insert("both");
    let (volumes, warnings) = engine.list(Filter::default()).await;
    let shown: Vec<_> = volumes.iter().map(|v| (v.name.as_str(), v.driver.as_str())).collect();
    assert_eq!(shown, [("both", "one"), ("recorded", "two")]);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings.iter().all(|warning| warning.contains("one") && warning.contains("two")));
}

#[tokio::test]
async fn filters_are_about_names_drivers_and_labels() {
    let engine = Engine::new(&["one:latest", "two:1"]);
    engine.create(Create { labels: map(&[("k", "v")]), ..wish("apple", "one") }).await.unwrap();
    engine.create(wish("pear", "two:1")).await.unwrap();
    engine.create(wish("pineapple", "two:1")).await.unwrap();
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    for (filter, expected) in [
        (Filter { names: texts(&["apple"]), ..Filter::default() }, vec!["apple", "pineapple"]),
        (Filter { names: texts(&["^p"]), ..Filter::default() }, vec!["pear", "pineapple"]),
        (Filter { drivers: texts(&["one"]), ..Filter::default() }, vec!["apple"]),
        (Filter { drivers: texts(&["two"]), ..Filter::default() }, vec![]),
        (Filter { labels: texts(&["k=v"]), ..Filter::default() }, vec!["apple"]),
    ] {
        assert_eq!(engine.names(filter.clone()).await, expected, "{filter:?}");
    }
    assert_eq!(engine.plugin(0).count("List"), 4, "unwanted drivers are not asked");
}

#[tokio::test]
async fn volumes_that_nobody_has_mounted_dangle() {
    let engine = Engine::new(&["probe"]);
    for name in ["used", "idle"] {
        engine.create(wish(name, "probe")).await.unwrap();
    }
    let holder = Holder {
        volume: "used".to_owned(),
        id: "1".to_owned(),
        mountpoint: "/nowhere".into(),
        since: Timestamp::now(),
        caller: None,
    };
    engine.ledger.add(&engine.id(0), holder).unwrap();
    for (dangling, expected) in [(true, "idle"), (false, "used")] {
        let filter = Filter { dangling: Some(dangling), ..Filter::default() };
        assert_eq!(engine.names(filter).await, [expected]);
    }
}

#[tokio::test]
async fn a_damaged_record_is_set_aside_and_its_volume_stays() {
    let engine = Engine::new(&["probe"]);
    engine.create(wish("v", "probe")).await.unwrap();
    let file = std::fs::read_dir(engine.records()).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&file, "{").unwrap();
    let engine = engine.restarted();
    assert_eq!(engine.volumes.recorded_driver("v"), None);
    assert_eq!(engine.names(Filter::default()).await, ["v"]);
    assert!(file.with_extension("json.unusable").exists());
}
