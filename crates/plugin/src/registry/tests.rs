//! The client against registries that are honest, broken and hostile.

mod auth;
mod damage;
mod fake;
mod network;
mod push;
mod real;
mod search;
mod tls;

use super::transport::Tuning;
use super::*;
use crate::progress::{Progress, Silent, Step};
use crate::reference::Reference;
use crate::store::Store;
use fake::{Content, Fake, Reply};
use std::path::Path;
use std::time::Duration;

/// Pauses that cost nothing.
const QUICK: Tuning = Tuning {
    stall: Duration::from_secs(20),
    pause: Duration::from_millis(1),
    attempts: 5,
    longest_pause: Duration::from_millis(5),
    lenient_loopback: true,
};

/// A client, a store and where it is.
struct Desk {
    registry: Registry,
    store: Store,
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self::tuned(QUICK)
    }

    fn tuned(tuning: Tuning) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("blobs")).unwrap();
        Self { registry: Registry::tuned(Options::default(), tuning).unwrap(), store, dir }
    }

    async fn resolve(&self, reference: &Reference) -> Result<(Manifest, Vec<u8>)> {
        self.registry.resolve(reference, &Auth::Anonymous, &self.store).await
    }

    async fn fetch(&self, reference: &Reference, blob: &Descriptor) -> Result<()> {
        self.registry.fetch(reference, &Auth::Anonymous, blob, &self.store, &Silent, |_| ()).await
    }

    /// Names of the files in the store, partial ones too.
    fn files(&self, part: &str) -> Vec<String> {
        let list = std::fs::read_dir(self.dir.path().join("blobs").join(part)).unwrap();
        list.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// Notes all reports.
#[derive(Default)]
struct Notes(Mutex<Vec<Step>>);

impl Progress for Notes {
    fn report(&self, step: Step) {
        self.0.lock().unwrap().push(step);
    }
}

fn basic(username: &str, password: &str) -> Auth {
    Auth::Basic { username: username.to_owned(), password: password.to_owned() }
}

#[tokio::test]
async fn a_plugin_is_resolved_and_its_layer_fetched() {
    let content = Content::new(3 << 20);
    let fake = Fake::serving(&content).await;
    let (desk, reference) = (Desk::new(), fake.reference("me/probe:v1"));
    let (manifest, config) = desk.resolve(&reference).await.unwrap();
    assert_eq!(config, content.config);
    assert_eq!(manifest.digest, Digest::of(&content.manifest));
    let notes = Notes::default();
    let blob = &manifest.layers[0];
    desk.registry
        .fetch(&reference, &Auth::Anonymous, blob, &desk.store, &notes, |_| ())
        .await
        .unwrap();
    assert_eq!(desk.store.read(&blob.digest, 4 << 20).unwrap(), content.layer);
    assert_eq!(desk.files("partial"), [""; 0]);
    let states: Vec<_> = notes
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|step| match step {
            Step::Blob { state, current, total, .. } => (*state, *current, *total),
            other => panic!("{other:?}"),
        })
        .collect();
    let size = 3 << 20;
    assert_eq!(states.first(), Some(&(crate::progress::BlobState::Downloading, 0, size)));
    assert_eq!(states.last(), Some(&(crate::progress::BlobState::Downloaded, size, size)));
    assert!(fake.asked().iter().all(|asked| asked.header("user-agent").starts_with("mobula/")));
}

#[tokio::test]
async fn what_is_here_is_not_fetched_again() {
    let content = Content::new(10);
    let fake = Fake::serving(&content).await;
    let (desk, reference) = (Desk::new(), fake.reference("me/probe"));
    let (manifest, _) = desk.resolve(&reference).await.unwrap();
    desk.fetch(&reference, &manifest.layers[0]).await.unwrap();
    let before = fake.asked().len();
    desk.fetch(&reference, &manifest.layers[0]).await.unwrap();
    assert_eq!(fake.asked().len(), before);
}

#[tokio::test]
async fn a_reference_with_a_digest_is_taken_at_its_word() {
    let content = Content::new(10);
    let fake = Fake::serving(&content).await;
    let right = format!("me/probe:v1@{}", Digest::of(&content.manifest));
    assert!(Desk::new().resolve(&fake.reference(&right)).await.is_ok());
    let wrong = format!("me/probe@{}", Digest::of(b"something else"));
    let liar = content.clone();
    let fake = Fake::new(move |asked| {
        let is_manifest = asked.path().contains("/manifests/");
        if is_manifest { Reply::ok(&liar.manifest) } else { liar.serve(asked) }
    })
    .await;
    let error = Desk::new().resolve(&fake.reference(&wrong)).await.unwrap_err();
    assert!(error.message().contains("instead of"), "{error}");
}

#[tokio::test]
async fn a_missing_plugin_is_not_found_in_the_registrys_own_words() {
    let fake = Fake::new(|_| {
        Reply::new(404, br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#)
    })
    .await;
    let error = Desk::new().resolve(&fake.reference("me/probe")).await.unwrap_err();
    assert_eq!(error.kind(), error::Kind::NotFound);
    assert!(error.message().contains("manifest unknown"), "{error}");
}

#[tokio::test]
async fn an_index_leads_to_this_machines_plugin_through_another_index() {
    let content = Content::new(10);
    let entry = |digest: &Digest, size: usize, platform: &str| {
        let kind = manifest::OCI_INDEX;
        format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{size}{platform}}}"#)
    };
    let own = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let own = format!(r#","platform":{{"os":"linux","architecture":"{own}"}}"#);
    let other = r#","platform":{"os":"windows","architecture":"amd64"}"#;
    let index = |entries: &[String]| {
        format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(",")).into_bytes()
    };
    let manifest = Digest::of(&content.manifest);
    let inner = index(&[
        entry(&Digest::of(b"x"), 1, other),
        entry(&manifest, content.manifest.len(), &own),
    ]);
    let outer = index(&[entry(&Digest::of(&inner), inner.len(), "")]);
    let (tagged, served) = (outer.clone(), content.clone());
    let fake = Fake::new(move |asked| match asked.path() {
        path if path.ends_with("/manifests/multi") => Reply::ok(&tagged),
        path if path.ends_with(Digest::of(&inner).as_str()) => Reply::ok(&inner),
        _ => served.serve(asked),
    })
    .await;
    let (found, _) = Desk::new().resolve(&fake.reference("me/probe:multi")).await.unwrap();
    assert_eq!(found.digest, manifest);
}
