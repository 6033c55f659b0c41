//! Pushes to a registry that watches every step.

use super::*;
use crate::progress::BlobState;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn stored(desk: &Desk, content: &Content) {
    desk.store.put(&content.config).unwrap();
    desk.store.put(&content.layer).unwrap();
}

async fn push(
    desk: &Desk,
    fake: &Fake,
    content: &Content,
    from: &[String],
) -> (Result<Digest>, Notes) {
    let (reference, notes) = (fake.reference("me/probe:v1"), Notes::default());
    let (config, layers) = (content.config(), [content.layer()]);
    let pushed = desk
        .registry
        .push(&reference, &Auth::Anonymous, &config, &layers, from, &desk.store, &notes)
        .await;
    (pushed, notes)
}

/// Takes everything; `upload` answers the PUT of a blob.
async fn taking(upload: impl Fn(&fake::Asked) -> Reply + Send + Sync + 'static) -> Fake {
    Fake::new(move |asked| match asked.method.as_str() {
        "GET" => Reply::ok(b""),
        "HEAD" => Reply::new(404, b""),
        "POST" if asked.target.ends_with("from=other/place") => Reply::new(201, b""),
        "POST" => {
            Reply::new(202, b"").header("Location", "/v2/me/probe/blobs/uploads/1?state=a%3Db")
        }
        "PUT" if asked.path().contains("/blobs/") => upload(asked),
        _ => Reply::new(201, b""),
    })
    .await
}

#[tokio::test]
async fn blobs_go_first_and_the_manifest_is_dockerds_byte_for_byte() {
    let (desk, content) = (Desk::new(), Content::new(700_000));
    stored(&desk, &content);
    let fake = taking(|_| Reply::new(201, b"")).await;
    let (pushed, notes) = push(&desk, &fake, &content, &[]).await;
    let asked = fake.asked();
    let puts: Vec<_> = asked.iter().filter(|asked| asked.method == "PUT").collect();
    assert_eq!(puts.len(), 3);
    let layer = content.layer().digest;
    assert_eq!(
        puts[0].target,
        format!(
            "/v2/me/probe/blobs/uploads/1?state=a%3Db&digest={}",
            layer.as_str().replace(':', "%3A")
        )
    );
    assert_eq!((&puts[0].body, &puts[1].body), (&content.layer, &content.config));
    let expected = format!(
        concat!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.docker.plugin.v1+json","#,
            r#""digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","#,
            r#""digest":"{}","size":{}}}],"mediaType":"application/vnd.docker.distribution.manifest.v2+json"}}"#
        ),
        content.config().digest,
        content.config.len(),
        layer,
        content.layer.len()
    );
    assert_eq!(String::from_utf8_lossy(&puts[2].body), expected);
    assert_eq!(puts[2].target, "/v2/me/probe/manifests/v1");
    assert_eq!(pushed.unwrap(), Digest::of(expected.as_bytes()));
    let last = notes.0.lock().unwrap().pop();
    assert!(matches!(last, Some(Step::Pushed { tag, .. }) if tag == "v1"));
}

#[tokio::test]
async fn what_another_repository_has_is_taken_from_there() {
    let (desk, content) = (Desk::new(), Content::new(100));
    stored(&desk, &content);
    let fake = taking(|_| Reply::new(500, b"")).await;
    let from = ["third/place".to_owned(), "other/place".to_owned()];
    let (pushed, notes) = push(&desk, &fake, &content, &from).await;
    pushed.unwrap();
    let notes = notes.0.lock().unwrap();
    let is_mounted = |step: &&Step| matches!(step, Step::Blob { state: BlobState::Mounted, .. });
    assert_eq!(notes.iter().filter(is_mounted).count(), 2);
}

#[tokio::test]
async fn an_upload_that_fails_is_begun_anew_and_not_for_ever() {
    let (desk, content) = (Desk::new(), Content::new(100));
    stored(&desk, &content);
    let times = Arc::new(AtomicUsize::new(0));
    let counted = times.clone();
    let fake = taking(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Reply::new(502, b""),
        _ => Reply::new(201, b""),
    })
    .await;
    push(&desk, &fake, &content, &[]).await.0.unwrap();
    assert_eq!(times.load(Ordering::SeqCst), 4);
    let failing = taking(|_| Reply::new(503, b"")).await;
    let error = push(&desk, &failing, &content, &[]).await.0.unwrap_err();
    assert_eq!(error.kind(), error::Kind::Unavailable);
    assert_eq!(failing.count("state="), 5);
}

#[tokio::test]
async fn a_registry_that_never_acknowledges_an_upload_is_given_up() {
    let content = Content::new(100);
    let desk = Desk::tuned(Tuning { stall: Duration::from_millis(300), attempts: 1, ..QUICK });
    stored(&desk, &content);
    let fake = taking(|_| Reply::silence()).await;
    let error = push(&desk, &fake, &content, &[]).await.0.unwrap_err();
    assert_eq!(error.kind(), error::Kind::DeadlineExceeded);
    assert_eq!(fake.count("state="), 1);
}

#[tokio::test]
async fn a_refusal_comes_in_the_registrys_words() {
    let (desk, content) = (Desk::new(), Content::new(100));
    stored(&desk, &content);
    let words =
        br#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
    let fake = taking(|_| Reply::new(403, words)).await;
    let error = push(&desk, &fake, &content, &[]).await.0.unwrap_err();
    assert_eq!(error.kind(), error::Kind::PermissionDenied);
    assert!(error.message().contains("access to the resource is denied"), "{error}");
}

#[test]
fn a_layer_is_gzip_by_what_it_begins_with() {
    let desk = Desk::new();
    let is =
        |bytes: &[u8]| super::push::is_gzip(&desk.store, &desk.store.put(bytes).unwrap()).unwrap();
    assert!(is(b"\x1f\x8b\x08 and so on"));
    assert!(!is(b"\x28\xb5\x2f\xfd and so on") && !is(b"plain tar") && !is(b"\x1f"));
}

#[tokio::test]
async fn credentials_do_not_go_where_an_upload_is_sent_to() {
    let (desk, content) = (Desk::new(), Content::new(100));
    stored(&desk, &content);
    let storage = Fake::new(|_| Reply::new(201, b"")).await;
    let elsewhere = format!("http://{}/store", storage.host);
    let fake =
        Fake::new(move |asked| match (asked.method.as_str(), asked.header("authorization")) {
            ("GET", _) => Reply::ok(b""),
            (_, "") => Reply::new(401, b"").header("WWW-Authenticate", "Basic realm=x"),
            ("HEAD", _) => Reply::new(404, b""),
            // Other repositories are not for this user.
            ("POST", _) if asked.target.contains("from=") => Reply::new(403, b""),
            ("POST", _) => Reply::new(202, b"").header("Location", elsewhere.as_str()),
            _ => Reply::new(201, b""),
        })
        .await;
    let (reference, auth) = (fake.reference("me/probe:v1"), basic("me", "secret"));
    let (config, layers, from) = (content.config(), [content.layer()], ["a/b".to_owned()]);
    let push = desk.registry.push(&reference, &auth, &config, &layers, &from, &desk.store, &Silent);
    push.await.unwrap();
    let stored = storage.asked();
    assert_eq!(stored.len(), 2);
    assert!(stored.iter().all(|asked| asked.header("authorization").is_empty()));
    assert_eq!(stored[0].body, content.layer);
}
