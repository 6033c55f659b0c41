//! Removal, with and without force.

use super::*;

#[tokio::test]
async fn a_removed_volume_and_its_record_are_gone() {
    let engine = Engine::new(&["probe"]);
    engine.create(wish("v", "probe")).await.unwrap();
    engine.remove("v", false).await.unwrap();
    assert!(!engine.store(0).has("v"));
    let engine = engine.restarted();
    assert_eq!(engine.volumes.recorded_driver("v"), None);
    assert_eq!(engine.get("v").await.unwrap_err().message(), "get v: no such volume");
}

#[tokio::test]
async fn a_volume_without_a_record_is_removed_from_the_driver_that_has_it() {
    let engine = Engine::new(&["one", "two"]);
    engine.store(1).insert("v");
    engine.remove("v", false).await.unwrap();
    assert!(!engine.store(1).has("v"));
    assert_eq!(engine.plugin(0).count("Remove"), 0);
}

#[tokio::test]
async fn an_unknown_volume_is_not_found_and_by_force_gone_already() {
    let engine = Engine::new(&["probe"]);
    assert_eq!(engine.remove("v", false).await.unwrap_err().kind(), Kind::NotFound);
    engine.remove("v", true).await.unwrap();
    assert_eq!(engine.plugin(0).count("Remove"), 0);
}

#[tokio::test]
async fn a_refused_removal_keeps_the_volume_even_by_force() {
    let engine = Engine::new(&["probe"]);
    engine.create(wish("v", "probe")).await.unwrap();
    engine.store(0).refuse("Remove", "still attached");
    for force in [false, true] {
        let error = engine.remove("v", force).await.unwrap_err();
        assert_eq!(error.to_string(), "remove v: still attached");
    }
    assert_eq!(engine.volumes.recorded_driver("v").as_deref(), Some("probe"));
}

#[tokio::test]
async fn a_volume_whose_driver_is_gone_is_forgotten_by_force_only() {
    let engine = Engine::new(&["one", "two"]);
    engine.create(wish("v", "one")).await.unwrap();
    engine.uninstall("one");
    let error = engine.remove("v", false).await.unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition);
    assert!(error.to_string().contains("rm --force"), "{error}");
    engine.remove("v", true).await.unwrap();
    engine.create(wish("v", "two")).await.unwrap();
}

#[tokio::test]
async fn a_volume_deleted_behind_our_back_is_forgotten_when_it_is_removed() {
    let engine = Engine::new(&["probe"]);
    engine.create(wish("v", "probe")).await.unwrap();
    engine.store(0).clear();
    assert_eq!(engine.remove("v", false).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(engine.volumes.recorded_driver("v"), None);
}
