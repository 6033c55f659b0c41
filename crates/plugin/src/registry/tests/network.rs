//! Connections that break, stall, crawl and lead astray.

use super::fake::ranged;
use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A registry whose answers about the layer are made by `layer`, told how often it was asked.
async fn with_layer(
    content: &Content,
    layer: impl Fn(&fake::Asked, &[u8], usize) -> Reply + Send + Sync + 'static,
) -> Fake {
    let (content, times) = (content.clone(), AtomicUsize::new(0));
    Fake::new(move |asked| {
        if asked.path().ends_with(content.layer().digest.as_str()) {
            return layer(asked, &content.layer, times.fetch_add(1, Ordering::SeqCst));
        }
        content.serve(asked)
    })
    .await
}

async fn fetched(desk: &Desk, fake: &Fake, content: &Content) -> Result<()> {
    let blob = content.layer();
    desk.fetch(&fake.reference("me/probe"), &blob).await?;
    assert_eq!(desk.store.read(&blob.digest, 64 << 20).unwrap(), content.layer);
    Ok(())
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let content = Content::new(100_000);
    let fake = with_layer(&content, |asked, layer, times| match times {
        0 => ranged(layer, asked).cut_at(60_000),
        _ => ranged(layer, asked),
    })
    .await;
    fetched(&Desk::new(), &fake, &content).await.unwrap();
    let asked = fake.asked();
    let blobs = asked.iter().filter(|asked| asked.path().contains("/blobs/"));
    let ranges: Vec<_> = blobs.map(fake::Asked::range).collect();
    assert_eq!(ranges, [None, Some(60_000)]);
}

#[tokio::test]
async fn a_range_that_is_ignored_or_answered_otherwise_is_noticed() {
    let content = Content::new(100_000);
    let ignoring = with_layer(&content, |_, layer, times| match times {
        0 => Reply::ok(layer).cut_at(60_000),
        _ => Reply::ok(layer),
    });
    fetched(&Desk::new(), &ignoring.await, &content).await.unwrap();
    let shifted = with_layer(&content, |asked, layer, times| match times {
        0 => ranged(layer, asked).cut_at(60_000),
        1 => Reply::new(206, &layer[10..]).header("Content-Range", "bytes 10-99999/100000"),
        _ => ranged(layer, asked),
    });
    fetched(&Desk::new(), &shifted.await, &content).await.unwrap();
    let refusing = with_layer(&content, |asked, layer, times| match times {
        0 => ranged(layer, asked).cut_at(60_000),
        _ if asked.range().is_some() => Reply::new(416, b""),
        _ => ranged(layer, asked),
    });
    fetched(&Desk::new(), &refusing.await, &content).await.unwrap();
}

#[tokio::test]
async fn a_registry_that_stalls_at_99_percent_is_asked_again() {
    let content = Content::new(100_000);
    let fake = with_layer(&content, |asked, layer, times| match times {
        0 => ranged(layer, asked).hanging_at(99_000),
        _ => ranged(layer, asked),
    })
    .await;
    let desk = Desk::tuned(Tuning { stall: Duration::from_millis(500), ..QUICK });
    fetched(&desk, &fake, &content).await.unwrap();
}

#[tokio::test]
async fn a_registry_that_never_answers_is_given_up() {
    let fake = Fake::new(|asked| match asked.path() {
        "/v2/" => Reply::ok(b""),
        _ => Reply::silence(),
    })
    .await;
    let desk = Desk::tuned(Tuning { stall: Duration::from_millis(300), attempts: 2, ..QUICK });
    let error = desk.resolve(&fake.reference("me/probe")).await.unwrap_err();
    assert_eq!(error.kind(), error::Kind::DeadlineExceeded);
    assert!(error.message().contains(&fake.host), "{error}");
}

#[tokio::test]
async fn a_registry_that_only_crawls_is_borne() {
    let content = Content::new(1000);
    let fake = with_layer(&content, |asked, layer, _| {
        ranged(layer, asked).slowly(Duration::from_millis(400))
    })
    .await;
    // Slower in all than the deadline for silence.
    let desk = Desk::tuned(Tuning { stall: Duration::from_secs(3), attempts: 1, ..QUICK });
    fetched(&desk, &fake, &content).await.unwrap();
}

#[tokio::test]
async fn attempts_without_progress_are_bounded() {
    let content = Content::new(100_000);
    let cutting = with_layer(&content, |_, layer, _| Reply::ok(layer).cut_at(100)).await;
    let error = fetched(&Desk::new(), &cutting, &content).await.unwrap_err();
    assert_eq!(error.kind(), error::Kind::Unavailable);
    assert_eq!(cutting.count("/blobs/"), 5);
    let failing = with_layer(&content, |_, _, _| Reply::new(503, b"")).await;
    assert!(fetched(&Desk::new(), &failing, &content).await.is_err());
    assert_eq!(failing.count("/blobs/"), 5);
}

#[tokio::test]
async fn a_busy_registry_is_asked_again_for_manifests_and_blobs() {
    for status in [429, 500, 502, 503, 504] {
        let content = Content::new(1000);
        let (served, times) = (content.clone(), AtomicUsize::new(0));
        let fake = Fake::new(move |asked| {
            let is_ping = asked.path() == "/v2/";
            if !is_ping && times.fetch_add(1, Ordering::SeqCst) % 2 == 0 {
                return Reply::new(status, b"").header("Retry-After", "1");
            }
            served.serve(asked)
        })
        .await;
        let (desk, reference) = (Desk::new(), fake.reference("me/probe"));
        let (manifest, _) = desk.resolve(&reference).await.unwrap();
        desk.fetch(&reference, &manifest.layers[0]).await.unwrap();
    }
}

#[test]
fn a_registry_may_ask_for_a_pause_within_bounds() {
    use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
    let tuning = Tuning::default();
    let pause = |text: &'static str| {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
        whole::pause_for(&headers, tuning, 1)
    };
    assert_eq!(pause("7"), Duration::from_secs(7));
    assert_eq!(pause("86400"), Duration::from_secs(30));
    assert_eq!(pause("Wed, 21 Oct 2026 07:28:00 GMT"), tuning.pause);
    assert_eq!(tuning.pause_after(4), tuning.pause * 8);
    assert_eq!(tuning.pause_after(u32::MAX), tuning.longest_pause);
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    let content = Content::new(1000);
    let storage = Fake::serving(&content).await;
    let (elsewhere, served) = (storage.host.clone(), content.clone());
    let fake = Fake::new(move |asked| match asked.header("authorization") {
        "" => Reply::new(401, b"").header("WWW-Authenticate", "Basic realm=x"),
        _ if asked.path().contains("/blobs/") => {
            let to = format!("http://{elsewhere}{}", asked.target);
            Reply::new(307, b"").header("Location", to)
        }
        _ => served.serve(asked),
    })
    .await;
    let (desk, reference) = (Desk::new(), fake.reference("me/probe"));
    let auth = basic("me", "secret");
    desk.registry.resolve(&reference, &auth, &desk.store).await.unwrap();
    desk.registry
        .fetch(&reference, &auth, &content.layer(), &desk.store, &Silent, |_| ())
        .await
        .unwrap();
    let (inside, outside) = (fake.asked(), storage.asked());
    assert!(inside.iter().any(|asked| asked.header("authorization").starts_with("Basic ")));
    assert!(!outside.is_empty());
    assert!(outside.iter().all(|asked| asked.header("authorization").is_empty()));
}

#[tokio::test]
async fn redirects_are_bounded_and_never_lead_from_https_to_http() {
    let fake = Fake::new(|asked| match asked.path() {
        "/v2/" => Reply::ok(b""),
        path => Reply::new(302, b"").header("Location", path),
    })
    .await;
    let error = Desk::new().resolve(&fake.reference("me/probe")).await.unwrap_err();
    assert!(error.message().contains("redirects more than"), "{error}");
    assert_eq!(fake.count("/manifests/"), 6);
    let from = Url::parse("https://r.example/v2/").unwrap();
    let lead = |to: &'static str| {
        transport::resolve_location(&from, &reqwest::header::HeaderValue::from_static(to))
    };
    assert!(lead("http://r.example/v2/x").is_err());
    assert!(lead("file:///etc/passwd").is_err());
    assert_eq!(lead("/v2/x").unwrap().as_str(), "https://r.example/v2/x");
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_named() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let reference = Reference::parse(&format!("127.0.0.1:{port}/me/probe")).unwrap();
    let error = Desk::new().resolve(&reference).await.unwrap_err();
    assert_eq!(error.kind(), error::Kind::Unavailable);
    assert!(error.message().contains(&format!("127.0.0.1:{port}")), "{error}");
}

#[tokio::test]
async fn after_a_failure_it_is_looked_up_anew_how_to_reach_a_registry() {
    let content = Content::new(10);
    let is_broken = Arc::new(AtomicBool::new(false));
    let (served, state) = (content.clone(), is_broken.clone());
    let fake = Fake::new(move |asked| {
        if state.load(Ordering::SeqCst) && asked.path() != "/v2/" {
            return Reply::ok(b"").cut_at(0).header("Broken\nHeader", "");
        }
        served.serve(asked)
    })
    .await;
    let (desk, reference) = (Desk::new(), fake.reference("me/probe"));
    desk.resolve(&reference).await.unwrap();
    assert!(desk.registry.known_base(&reference.domain).is_some());
    is_broken.store(true, Ordering::SeqCst);
    assert!(desk.resolve(&reference).await.is_err());
    assert!(desk.registry.known_base(&reference.domain).is_none());
    is_broken.store(false, Ordering::SeqCst);
    desk.resolve(&reference).await.unwrap();
}
