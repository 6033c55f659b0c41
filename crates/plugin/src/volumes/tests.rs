//! Docker's own cases (`daemon/volume`, and the external volume driver suite of its integration
//! tests) against fake plugins on sockets.

mod fake;
mod listing;
mod removing;

use super::*;
use crate::rpc::fake::{Fake, never, ok};
use fake::Engine;
use futures_util::FutureExt;
use serde_json::json;

fn wish(name: &str, driver: &str) -> Create {
    Create { name: name.to_owned(), driver: driver.to_owned(), ..Create::default() }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_volume_is_asked_for_then_made_and_remembered() {
    let engine = Engine::new(&["probe:latest"]);
    let options = map(&[("size", "1G")]);
    let labels = map(&[("a", "b")]);
    let wish =
        Create { options: options.clone(), labels: labels.clone(), ..wish("v@store", "probe") };
    let made = engine.create(wish).await.unwrap();
    assert_eq!((made.name.as_str(), made.driver.as_str()), ("v@store", "probe:latest"));
    assert_eq!(engine.plugin(0).methods(), ["Get", "Create", "Capabilities"]);
    let sent = engine.plugin(0).calls()[1].body();
    assert_eq!(sent, json!({ "Name": "v@store", "Opts": { "size": "1G" } }));
    let engine = engine.restarted();
    let volume = engine.get("v@store").await.unwrap();
    assert_eq!((volume.options, volume.labels), (Some(options), Some(labels)));
    assert_eq!(volume.driver, "probe:latest");
    assert_eq!(engine.plugin(0).count("Path"), 0);
}

#[tokio::test]
async fn a_volume_without_a_name_gets_one_and_the_label() {
    let engine = Engine::new(&["probe"]);
    let made = engine.create(wish("", "probe")).await.unwrap();
    assert!(PluginId::parse(&made.name).is_ok(), "64 hexadecimal digits");
    assert_eq!(made.labels, Some(map(&[(ANONYMOUS, "")])));
}

#[tokio::test]
async fn a_volume_without_a_driver_or_with_a_broken_name_is_refused() {
    let engine = Engine::new(&["probe"]);
    for wish in [wish("v", ""), wish("a\nb", "probe"), wish("\0", "probe")] {
        assert_eq!(engine.create(wish).await.unwrap_err().kind(), Kind::InvalidArgument);
    }
    let error = engine.create(wish("v", "nobody")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(engine.plugin(0).calls().is_empty());
}

#[tokio::test]
async fn the_same_volume_again_is_the_one_that_is_there() {
    let engine = Engine::new(&["probe"]);
    let first = Create { labels: map(&[("a", "1")]), ..wish("v", "probe") };
    engine.create(first).await.unwrap();
    let again = Create { labels: map(&[("a", "2")]), ..wish("v", "probe") };
    let volume = engine.create(again).await.unwrap();
    assert_eq!(volume.labels, Some(map(&[("a", "1")])));
    assert_eq!(engine.plugin(0).count("Create"), 1);
}

#[tokio::test]
async fn a_volume_that_the_plugin_has_already_keeps_options_and_labels_of_the_wish() {
    let engine = Engine::new(&["probe"]);
    engine.store(0).insert("v");
    let labels = map(&[("a", "1")]);
    let wish = Create { labels: labels.clone(), ..wish("v", "probe") };
    engine.create(wish).await.unwrap();
    assert_eq!(engine.plugin(0).count("Create"), 0);
    assert_eq!(engine.get("v").await.unwrap().labels, Some(labels));
}

#[tokio::test]
async fn a_name_belongs_to_one_driver() {
    let engine = Engine::new(&["one", "two"]);
    engine.create(wish("v", "one")).await.unwrap();
    let error = engine.create(wish("v", "two")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    assert_eq!(
        error.message(),
        "A volume named v already exists with the one driver. Choose a different volume name.: \
         conflict: volume name must be unique"
    );
    assert_eq!(engine.plugin(1).count("Create"), 0);
}

#[tokio::test]
async fn a_driver_that_cannot_be_asked_is_no_conflict_but_unavailable() {
    let engine = Engine::new(&["one", "two"]);
    engine.create(wish("v", "one")).await.unwrap();
    engine.kill(0);
    let error = engine.create(wish("v", "two")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    engine.uninstall("one");
    let error = engine.create(wish("v", "two")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    assert!(error.message().contains("that driver is gone"), "{error}");
}

#[tokio::test]
async fn a_volume_deleted_behind_our_back_is_made_anew_with_the_same_or_another_driver() {
    let engine = Engine::new(&["one", "two"]);
    for (driver, label) in [("one", "1"), ("one", "2"), ("two", "3")] {
        let labels = map(&[("round", label)]);
        let wish = Create { labels: labels.clone(), ..wish("v", driver) };
        let made = engine.create(wish).await.unwrap();
        assert_eq!((made.driver.as_str(), made.labels), (driver, Some(labels)));
        engine.store(0).clear();
        engine.store(1).clear();
    }
    assert_eq!((engine.plugin(0).count("Create"), engine.plugin(1).count("Create")), (2, 1));
}

#[tokio::test]
async fn a_failed_creation_leaves_no_name_behind() {
    let engine = Engine::new(&["one", "two"]);
    engine.store(0).refuse("Create", "no space left");
    let error = engine.create(wish("v", "one")).await.unwrap_err();
    assert!(error.to_string().contains("no space left"), "{error}");
    assert_eq!(engine.volumes.recorded_driver("v"), None);
    engine.create(wish("v", "two")).await.unwrap();
}

#[tokio::test]
async fn the_plugins_words_come_through_from_every_call() {
    let engine = Engine::new(&["probe"]);
    for method in ["Create", "Remove", "List", "Capabilities", "Get"] {
        engine.store(0).refuse(method, &format!("{method} is broken"));
    }
    let driver = engine.driver("probe").await.unwrap();
    let error = calls::create(&driver, "v", &BTreeMap::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "create v: Create is broken");
    let error = calls::remove(&driver, "v").await.unwrap_err();
    assert_eq!(error.to_string(), "Remove is broken");
    let error = calls::list(&driver).await.unwrap_err();
    assert_eq!(error.to_string(), "List is broken");
    assert_eq!(calls::scope(&driver).await.unwrap(), "local", "the call is optional");
    assert_eq!(calls::get(&driver, "v").await.unwrap(), None, "an error of Get means: none");
}

#[tokio::test]
async fn no_volume_is_no_such_volume_whatever_the_plugin_says() {
    for answer in [(200, "{}"), (200, r#"{"Volume": null}"#), (500, r#"{"Err": "none"}"#)] {
        let fake = Fake::start(move |_| (answer.0, answer.1.to_owned()));
        let engine = Engine::of(vec![("probe", fake)]);
        let error = engine.get("v").await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::NotFound, "get v: no such volume"));
        assert_eq!(engine.plugin(0).methods(), ["Get"], "one Get and nothing else");
    }
}

#[tokio::test]
async fn a_driver_that_does_not_answer_is_never_no_such_volume() {
    let engine = Engine::of(vec![("probe", Fake::start_slow(|_| never()))]);
    let error = engine.get("v").await.unwrap_err();
    assert_eq!(error.kind(), Kind::DeadlineExceeded);
    let error = engine.create(wish("v", "probe")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::DeadlineExceeded);
    assert!(error.message().contains("error while checking if volume \"v\" exists"), "{error}");
    assert_eq!(engine.plugin(0).count("Create"), 0);
    engine.kill(0);
    assert_eq!(engine.get("v").await.unwrap_err().kind(), Kind::Unavailable);
}

#[tokio::test]
async fn a_volume_is_shown_with_status_and_as_the_host_sees_it() {
    let fake = Fake::start(|call| match call.method.as_str() {
        "VolumeDriver.Get" => ok(json!({ "volume": {
            "name": "v", "MountPoint": "/mnt/v", "CreatedAt": "2020-01-02T03:04:05Z",
            "Status": { "size": 7, "tags": ["x"] },
        }})),
        _ => ok(json!({ "Capabilities": { "Scope": "GLOBAL" } })),
    });
    let engine = Engine::of(vec![("probe", fake)]);
    let volume = engine.get("v").await.unwrap();
    assert_eq!(volume.mountpoint, "/host/prop/v");
    assert_eq!(volume.status, Some(json!({ "size": 7, "tags": ["x"] })));
    assert_eq!(volume.created_at.as_deref(), Some("2020-01-02T03:04:05Z"));
    assert_eq!(volume.scope, "global");
    let shown = serde_json::to_value(&volume).unwrap();
    assert_eq!((&shown["Labels"], &shown["Options"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn capabilities_are_asked_once_per_instance() {
    let engine = Engine::new(&["probe"]);
    engine.create(wish("v", "probe")).await.unwrap();
    for _ in 0..3 {
        engine.get("v").await.unwrap();
        engine.list(Filter::default()).await;
    }
    assert_eq!(engine.plugin(0).count("Capabilities"), 1);
    engine.set_pid(0, 99);
    engine.get("v").await.unwrap();
    assert_eq!(engine.plugin(0).count("Capabilities"), 2, "another process may say otherwise");
}

#[tokio::test]
async fn a_stuck_volume_delays_only_itself() {
    let slow = Fake::start_slow(|call| match call.method.as_str() {
        "VolumeDriver.Create" if call.name() == "stuck" => never(),
        "VolumeDriver.Get" => std::future::ready(ok(json!({}))).boxed(),
        _ => std::future::ready(ok(json!({}))).boxed(),
    });
    let engine = Engine::of_patient(vec![("probe", slow)]);
    let mut stuck = std::pin::pin!(engine.create(wish("stuck", "probe")));
    while engine.plugin(0).count("Create") == 0 {
        assert!((&mut stuck).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    engine.create(wish("other", "probe")).await.unwrap();
    assert!(engine.get("stuck").now_or_never().is_none(), "one at a time per name");
}
