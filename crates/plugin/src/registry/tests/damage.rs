//! Content that is not what it is said to be.

use super::fake::blob;
use super::*;

async fn with_layer(content: &Content, reply: Reply) -> Fake {
    let content = content.clone();
    Fake::new(move |asked| {
        let is_layer = asked.path().ends_with(content.layer().digest.as_str());
        if is_layer { reply.clone() } else { content.serve(asked) }
    })
    .await
}

#[tokio::test]
async fn a_layer_with_a_wrong_digest_leaves_nothing() {
    let content = Content::new(1000);
    let mut forged = content.layer.clone();
    forged[500] ^= 1;
    let fake = with_layer(&content, Reply::ok(&forged)).await;
    let desk = Desk::new();
    let error = desk.fetch(&fake.reference("me/probe"), &content.layer()).await.unwrap_err();
    assert!(error.message().contains("digest"), "{error}");
    assert_eq!((desk.files("sha256"), desk.files("partial")), (vec![], vec![]));
}

#[tokio::test]
async fn a_right_digest_with_a_wrong_size_is_refused_however_the_length_is_told() {
    let content = Content::new(1000);
    for reply in [Reply::ok(&content.layer), Reply::ok(&content.layer).unmeasured()] {
        for size in [900, 1100] {
            let fake = with_layer(&content, reply.clone()).await;
            let (desk, blob) = (Desk::new(), Descriptor { size, ..content.layer() });
            assert!(desk.fetch(&fake.reference("me/probe"), &blob).await.is_err(), "{size}");
            assert!(desk.files("sha256").is_empty());
        }
    }
}

#[tokio::test]
async fn a_wrong_content_length_is_refused_before_anything_is_read() {
    let content = Content::new(1000);
    let fake = with_layer(&content, Reply::ok(&content.layer).claiming(1 << 40)).await;
    let desk = Desk::new();
    let error = desk.fetch(&fake.reference("me/probe"), &content.layer()).await.unwrap_err();
    assert_eq!(error.kind(), error::Kind::FailedPrecondition);
    assert_eq!(fake.count("/blobs/"), 1);
}

#[tokio::test]
async fn a_damaged_leftover_of_an_earlier_attempt_is_replaced() {
    let content = Content::new(100_000);
    let fake = Fake::serving(&content).await;
    let (desk, blob) = (Desk::new(), content.layer());
    let partial = desk.dir.path().join("blobs/partial").join(blob.digest.hex());
    std::fs::write(&partial, vec![7; 5000]).unwrap();
    desk.fetch(&fake.reference("me/probe"), &blob).await.unwrap();
    assert_eq!(desk.store.read(&blob.digest, 1 << 20).unwrap(), content.layer);
}

#[tokio::test]
async fn a_good_leftover_of_an_earlier_attempt_is_gone_on_from() {
    let content = Content::new(100_000);
    let fake = Fake::serving(&content).await;
    let (desk, blob) = (Desk::new(), content.layer());
    let partial = desk.dir.path().join("blobs/partial").join(blob.digest.hex());
    std::fs::write(&partial, &content.layer[..70_000]).unwrap();
    desk.fetch(&fake.reference("me/probe"), &blob).await.unwrap();
    assert_eq!(fake.asked().last().unwrap().range(), Some(70_000));
}

#[tokio::test]
async fn an_endless_manifest_is_not_read() {
    let fake = Fake::new(|asked| match asked.path() {
        "/v2/" => Reply::ok(b""),
        _ => Reply::ok(&vec![b' '; 5 << 20]).unmeasured(),
    })
    .await;
    let error = Desk::new().resolve(&fake.reference("me/probe")).await.unwrap_err();
    assert!(error.message().contains("more than"), "{error}");
}

#[tokio::test]
async fn a_manifest_with_another_digest_than_the_registry_says_is_refused() {
    let (content, other) = (Content::new(10), Digest::of(b"other"));
    let fake =
        Fake::new(move |asked| content.serve(asked).header("Docker-Content-Digest", other.clone()))
            .await;
    assert!(Desk::new().resolve(&fake.reference("me/probe")).await.is_err());
}

#[tokio::test]
async fn an_index_that_leads_on_and_on_is_given_up() {
    let mut indexes = vec![br#"{"schemaVersion":2,"manifests":[]}"#.to_vec()];
    for _ in 0..20 {
        let inner = blob(manifest::OCI_INDEX, indexes.last().unwrap());
        let inner = serde_json::to_string(&inner).unwrap();
        indexes.push(format!(r#"{{"schemaVersion":2,"manifests":[{inner}]}}"#).into_bytes());
    }
    let fake = Fake::new(move |asked| {
        let by_digest = indexes.iter().find(|i| asked.path().ends_with(Digest::of(i).as_str()));
        Reply::ok(by_digest.unwrap_or_else(|| indexes.last().unwrap()))
    })
    .await;
    let error = Desk::new().resolve(&fake.reference("me/probe")).await.unwrap_err();
    assert!(error.message().contains("did not find plugin config"), "{error}");
    assert_eq!(fake.count("/manifests/"), manifest::DEEPEST_INDEX + 1);
}
