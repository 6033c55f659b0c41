use super::*;
use crate::rpc::fake::{Fake, never, ok};
use serde_json::json;

fn legacy(name: &str, address: Address) -> Legacy {
    Legacy { name: name.to_owned(), file: format!("/plugins/{name}.sock").into(), address }
}

fn driver() -> Fake {
    Fake::start(|_| ok(json!({ "Implements": ["VolumeDriver"] })))
}

/// An address where nobody listens.
fn nobody() -> (tempfile::TempDir, Legacy) {
    let dir = tempfile::tempdir().unwrap();
    let address = Address::Unix(dir.path().join("dead.sock"));
    (dir, legacy("dead", address))
}

#[tokio::test]
async fn a_plugin_is_asked_once_until_its_address_changes() {
    let (heard, one, two) = (Heard::default(), driver(), driver());
    let first = legacy("old", one.client().address);
    assert_eq!(heard.implements(&first), None);
    for _ in 0..2 {
        assert_eq!(heard.ask(&first).await.unwrap(), ["VolumeDriver"]);
        assert_eq!(heard.glance(&first).await.unwrap(), ["VolumeDriver"]);
    }
    assert_eq!(one.methods(), ["Activate"]);
    let moved = legacy("old", two.client().address);
    assert_eq!(heard.implements(&moved), None);
    heard.ask(&moved).await.unwrap();
    assert_eq!(two.methods(), ["Activate"]);
}

#[tokio::test]
async fn a_list_waits_for_nobody_who_is_not_there_and_names_the_file() {
    let (heard, (_dir, dead)) = (Heard::default(), nobody());
    let begin = Instant::now();
    for _ in 0..20 {
        let error = heard.glance(&dead).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.message().ends_with("remove /plugins/dead.sock"), "{error}");
    }
    assert!(begin.elapsed() < PATIENCE);
}

#[tokio::test]
async fn one_that_is_named_is_waited_for_but_not_again_a_moment_later() {
    let (heard, (_dir, dead)) = (Heard::default(), nobody());
    let begin = Instant::now();
    heard.ask(&dead).await.unwrap_err();
    let waited = begin.elapsed();
    assert!(waited > PATIENCE / 2, "{waited:?}");
    let begin = Instant::now();
    heard.ask(&dead).await.unwrap_err();
    heard.glance(&dead).await.unwrap_err();
    heard.ask(&dead).await.unwrap_err();
    assert!(begin.elapsed() < waited, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn one_that_never_answers_is_left_out_of_lists_but_asked_when_named() {
    let (heard, mute) = (Heard::default(), Fake::start_slow(|_| never()));
    let plugin = legacy("mute", mute.client().address);
    for _ in 0..3 {
        let error = heard.glance(&plugin).await.unwrap_err();
        assert_eq!(error.kind(), Kind::DeadlineExceeded);
    }
    assert_eq!(mute.calls().len(), 1);
    heard.ask(&plugin).await.unwrap_err();
    assert_eq!(mute.calls().len(), 2);
}

#[tokio::test]
async fn one_that_comes_back_is_heard_at_once() {
    let (heard, fake) = (Heard::default(), driver());
    let Address::Unix(socket) = fake.client().address else { unreachable!("a fake's address") };
    let hidden = socket.with_extension("hidden");
    std::fs::rename(&socket, &hidden).unwrap();
    let plugin = legacy("late", Address::Unix(socket.clone()));
    heard.glance(&plugin).await.unwrap_err();
    std::fs::rename(&hidden, &socket).unwrap();
    let pause = Duration::from_millis(50);
    while heard.glance(&plugin).await.is_err() {
        tokio::time::sleep(pause).await;
    }
    assert_eq!(heard.implements(&plugin), Some(vec!["VolumeDriver".to_owned()]));
}

#[tokio::test]
async fn what_is_not_there_any_more_is_forgotten_and_told_of_anew() {
    let (heard, fake, (_dir, dead)) = (Heard::default(), driver(), nobody());
    let alive = legacy("alive", fake.client().address);
    heard.ask(&alive).await.unwrap();
    heard.glance(&dead).await.unwrap_err();
    heard.retain(std::slice::from_ref(&dead));
    assert!(heard.said(&dead).is_some());
    heard.retain(&[]);
    assert!(heard.said(&dead).is_none());
    assert!(heard.implements(&alive).is_some(), "names with a / are in no list of files");
}

#[test]
fn a_missing_name_is_waited_for_once_in_a_while() {
    let heard = Heard::default();
    assert!(heard.is_missed_anew("nobody"));
    heard.miss("nobody");
    assert!(!heard.is_missed_anew("nobody"));
    assert!(heard.is_missed_anew("other"));
}
