//! Docker's own cases (`pkg/plugins`, client), and where we do otherwise.

mod tls;

use super::fake::{Fake, never, ok};
use super::*;
use error::Kind;
use futures_util::FutureExt;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LONG: Duration = Duration::from_secs(60);

async fn call(fake: &Fake, body: Value) -> Result<Value> {
    fake.client().call("Test.Echo", &body, LONG).await
}

#[tokio::test]
async fn a_call_is_a_post_with_the_headers_of_docker_and_a_newline() {
    let fake = Fake::start(|call| (200, call.text));
    let manifest = json!({ "Manifest": ["VolumeDriver", "NetworkDriver"] });
    assert_eq!(call(&fake, manifest.clone()).await.unwrap(), manifest, "comes back as it went");
    let calls = fake.calls();
    assert_eq!(calls[0].method, "Test.Echo");
    assert_eq!(calls[0].text, format!("{manifest}\n"));
    let header = |name: &str| {
        let found = calls[0].headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(header("accept"), Some("application/vnd.docker.plugins.v1.2+json"));
    assert_eq!(header("host"), Some("plugin.moby.localhost"));
    assert_eq!(header("content-type"), None);
}

#[tokio::test]
async fn an_activation_has_no_body_and_answers_what_is_implemented() {
    let fake = Fake::start(|_| ok(json!({ "implements": ["VolumeDriver", "LogDriver"] })));
    let types = fake.client().activate(LONG, LONG).await.unwrap();
    assert_eq!(types, ["VolumeDriver", "LogDriver"]);
    let calls = fake.calls();
    assert_eq!((calls[0].method.as_str(), calls[0].text.as_str()), ("Plugin.Activate", ""));
    assert!(calls[0].headers.contains(&("content-length".to_owned(), "0".to_owned())));
}

#[tokio::test]
async fn a_plugin_without_a_manifest_implements_nothing() {
    for body in ["{}", "null", r#"{"Implements": null}"#] {
        let fake = Fake::start(move |_| (200, body.to_owned()));
        assert!(fake.client().activate(LONG, LONG).await.unwrap().is_empty(), "{body}");
    }
}

#[tokio::test]
async fn a_plugin_that_nobody_runs_is_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    let dead = dir.path().join("dead.sock");
    std::os::unix::net::UnixListener::bind(&dead).unwrap();
    for path in [dead, dir.path().join("missing.sock")] {
        let client = Client { address: Address::Unix(path) };
        let waiting = client.call("Test.Echo", &Value::Null, Duration::from_millis(50)).await;
        let looking = client.call_now("Test.Echo", &Value::Null, LONG).await;
        for error in [waiting.unwrap_err(), looking.unwrap_err()] {
            assert_eq!(error.kind(), Kind::Unavailable);
            assert!(error.to_string().starts_with("no plugin listens at unix:///"), "{error}");
        }
        assert!(!client.accepts().await);
    }
}

#[tokio::test]
async fn a_plugin_that_appears_a_little_later_is_reached() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("late.sock");
    let client = Client { address: Address::Unix(path.clone()) };
    let waiting = tokio::spawn(async move { client.call("Test.Echo", &json!({}), LONG).await });
    tokio::task::yield_now().await;
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = [0; 1024];
    assert!(stream.read(&mut request).await.unwrap() > 0);
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), json!({}));
}

/// Docker sends such a call again, with an empty body, and takes a success of that for the call's.
#[tokio::test]
async fn a_call_that_was_sent_is_never_sent_again() {
    let failures = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&failures);
    let fake = Fake::start(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => (0, String::new()),
        _ => ok(json!({})),
    });
    let error = call(&fake, json!({ "Name": "v" })).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("may or may not be done"), "{error}");
    assert_eq!(fake.calls().len(), 1);
    call(&fake, json!({})).await.unwrap();
}

#[tokio::test]
async fn a_plugin_that_does_not_answer_costs_the_deadline_and_no_second_call() {
    let fake = Fake::start_slow(|_| never());
    let within = Duration::from_millis(50);
    let error = fake.client().call("Test.Echo", &json!({}), within).await.unwrap_err();
    assert_eq!(error.kind(), Kind::DeadlineExceeded);
    assert!(error.to_string().contains("Test.Echo within 50ms"), "{error}");
    assert_eq!(fake.calls().len(), 1);
}

#[tokio::test]
async fn the_plugins_own_words_are_the_error_whatever_the_status() {
    for (status, body, words) in [
        (200, r#"{"Err": "no space"}"#, "no space"),
        (500, r#"{"err": "no space"}"#, "no space"),
        (500, "no space\n", "no space"),
        (404, "404 page not found", "404 page not found"),
        (503, "", "the plugin answered HTTP 503"),
        (500, r#"{"Err": ""}"#, r#"{"Err": ""}"#),
        (200, r#"{"Err": {"code": 7}}"#, r#"{"code":7}"#),
    ] {
        let fake = Fake::start(move |_| (status, body.to_owned()));
        let error = call(&fake, json!({})).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Internal, words), "{body}");
    }
}

#[tokio::test]
async fn an_answer_without_fields_is_a_success_and_one_that_is_empty_or_no_json_is_none() {
    for body in ["{}", "null", r#"{"Err": null}"#, r#"{"Err": ""}"#] {
        let fake = Fake::start(move |_| (200, body.to_owned()));
        assert!(call(&fake, json!({})).await.is_ok(), "{body:?}");
    }
    for body in ["", "\n", "{", "<html>"] {
        let fake = Fake::start(move |_| (200, body.to_owned()));
        let error = call(&fake, json!({})).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_refused() {
    let fake = Fake::start(|_| (200, " ".repeat((16 << 20) + 1)));
    let error = call(&fake, json!({})).await.unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted, "{error}");
}

#[tokio::test]
async fn a_socket_may_have_a_longer_path_than_an_address_can_hold() {
    let fake = Fake::start(|_| ok(json!({ "here": true })));
    let deep = fake.dir().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    std::os::unix::fs::symlink(fake.socket(), deep.join("p.sock")).unwrap();
    let client = Client { address: Address::Unix(deep.join("p.sock")) };
    assert_eq!(client.call("Test.Echo", &json!({}), LONG).await.unwrap(), json!({ "here": true }));
    let missing = Client { address: Address::Unix(deep.join("none/p.sock")) };
    let error = missing.call_now("Test.Echo", &json!({}), LONG).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
}

#[tokio::test]
async fn a_plugin_is_reached_over_tcp_too() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    let answer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let length = stream.read(&mut request).await.unwrap();
        assert!(request[..length].starts_with(b"POST /Test.Echo HTTP/1.1\r\n"));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
    };
    let client = Client { address };
    let (answered, ()) = tokio::join!(client.call("Test.Echo", &Value::Null, LONG), answer);
    assert_eq!(answered.unwrap(), json!({}));
}

#[tokio::test]
async fn tls_without_anybody_to_trust_is_refused_before_anything_is_sent() {
    let tls = TlsFiles::default();
    let client = Client { address: Address::Tls { address: "localhost:1".into(), tls } };
    let error = client.call("Test.Echo", &json!({}), LONG).await.unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition);
    assert!(error.to_string().contains("CAFile"), "{error}");
}

#[tokio::test]
async fn a_call_ends_when_its_caller_does() {
    let fake = Fake::start_slow(|_| never());
    let client = fake.client();
    assert!(client.call("Test.Echo", &json!({}), LONG).now_or_never().is_none());
}
