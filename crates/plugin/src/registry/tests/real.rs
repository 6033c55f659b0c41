//! The client against Docker's own registry (Debian's docker-registry).

// The registry has to be started by hand, and ended by its own process ID.
#![allow(clippy::disallowed_methods)]

use super::*;
use std::process::{Child, Command, Stdio};

/// A registry on a free port of loopback.
struct Real {
    child: Child,
    host: String,
    _dir: tempfile::TempDir,
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Real {
    /// `None`, and said so, where the registry is not installed; with `CI` set it must be.
    async fn start(auth: &str) -> Option<Self> {
        let Ok(program) = host::command::find("docker-registry") else {
            assert!(std::env::var_os("CI").is_none(), "CI must have docker-registry");
            println!("skipped: needs docker-registry");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (data, host) = (dir.path().join("data"), format!("127.0.0.1:{port}"));
        let auth = auth.replace("DIR", dir.path().to_str().unwrap());
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: {host}\n{auth}",
            data.display()
        );
        std::fs::write(dir.path().join("config.yml"), config).unwrap();
        // bcrypt of "secret".
        std::fs::write(dir.path().join("htpasswd"), HTPASSWD).unwrap();
        let child = Command::new(program)
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let real = Self { child, host, _dir: dir };
        real.wait().await;
        Some(real)
    }

    async fn wait(&self) {
        for _ in 0..600 {
            if tokio::net::TcpStream::connect(&self.host).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("docker-registry does not listen on {}", self.host);
    }

    fn reference(&self, rest: &str) -> Reference {
        Reference::parse(&format!("{}/{rest}", self.host)).unwrap()
    }
}

const HTPASSWD: &str = "me:$2b$04$5L/JVa8Se4bO6t.BH1W7C.z7m.A2s9S01YIc9tPKgxhQpzlU43DHS\n";

const WITH_PASSWORD: &str = "auth:\n  htpasswd:\n    realm: x\n    path: DIR/htpasswd\n";

async fn push(
    desk: &Desk,
    to: &Reference,
    auth: &Auth,
    from: &[String],
) -> Result<(Content, Digest, Notes)> {
    let (content, more) = (Content::new(3_000_000), Content::new(50));
    for bytes in [&content.config, &content.layer, &more.layer] {
        desk.store.put(bytes).unwrap();
    }
    let layers = [content.layer(), more.layer()];
    let notes = Notes::default();
    let registry = &desk.registry;
    let digest =
        registry.push(to, auth, &content.config(), &layers, from, &desk.store, &notes).await?;
    Ok((content, digest, notes))
}

fn states(notes: &Notes) -> Vec<crate::progress::BlobState> {
    let notes = notes.0.lock().unwrap();
    let state = |step: &Step| match step {
        Step::Blob { state, .. } => Some(*state),
        _ => None,
    };
    notes.iter().filter_map(state).collect()
}

#[tokio::test]
async fn what_was_pushed_is_pulled_by_tag_and_by_digest() {
    use crate::progress::BlobState::{Exists, Mounted, Uploaded};
    let Some(real) = Real::start("").await else { return };
    let (desk, tag) = (Desk::new(), real.reference("me/probe:v1"));
    let (content, digest, notes) = push(&desk, &tag, &Auth::Anonymous, &[]).await.unwrap();
    assert_eq!(states(&notes).iter().filter(|state| **state == Uploaded).count(), 3);

    let (other, by_digest) = (Desk::new(), real.reference(&format!("me/probe@{digest}")));
    let (manifest, config) = other.resolve(&by_digest).await.unwrap();
    assert_eq!(other.resolve(&tag).await.unwrap().0, manifest);
    assert_eq!(
        (&manifest.digest, config, manifest.layers.len()),
        (&digest, content.config.clone(), 2)
    );
    for layer in &manifest.layers {
        other.fetch(&tag, layer).await.unwrap();
    }
    assert_eq!(other.store.read(&content.layer().digest, 4 << 20).unwrap(), content.layer);

    let (_, again, notes) = push(&desk, &tag, &Auth::Anonymous, &[]).await.unwrap();
    assert_eq!(
        (again, states(&notes).iter().filter(|state| **state == Exists).count()),
        (digest, 3)
    );
    let (to, from) = (real.reference("you/copy:v1"), ["me/probe".to_owned()]);
    let (_, _, notes) = push(&desk, &to, &Auth::Anonymous, &from).await.unwrap();
    assert_eq!(states(&notes).iter().filter(|state| **state == Mounted).count(), 3);

    let found = desk.registry.search(&format!("{}/prob", real.host), 10).await.unwrap();
    assert_eq!(found[0].name, format!("{}/me/probe", real.host));
    assert_eq!(found.len(), 1);
    let missing = desk.resolve(&real.reference("me/nothing")).await.unwrap_err();
    assert_eq!(missing.kind(), error::Kind::NotFound);
}

#[tokio::test]
async fn a_download_from_a_real_registry_goes_on_where_it_was_left() {
    let Some(real) = Real::start("").await else { return };
    let (desk, tag) = (Desk::new(), real.reference("me/probe:v1"));
    let (content, _, _) = push(&desk, &tag, &Auth::Anonymous, &[]).await.unwrap();
    let (other, blob) = (Desk::new(), content.layer());
    let partial = other.dir.path().join("blobs/partial").join(blob.digest.hex());
    std::fs::write(&partial, &content.layer[..2_000_000]).unwrap();
    let notes = Notes::default();
    other
        .registry
        .fetch(&tag, &Auth::Anonymous, &blob, &other.store, &notes, |_| ())
        .await
        .unwrap();
    let notes = notes.0.lock().unwrap();
    assert!(matches!(notes[0], Step::Blob { current: 2_000_000, .. }), "{notes:?}");
}

#[tokio::test]
async fn a_registry_with_passwords_takes_the_right_one_only() {
    let Some(real) = Real::start(WITH_PASSWORD).await else { return };
    let (desk, tag) = (Desk::new(), real.reference("me/probe:v1"));
    let right = basic("me", "secret");
    push(&desk, &tag, &right, &[]).await.map(drop).unwrap();
    for wrong in [Auth::Anonymous, basic("me", "wrong"), Auth::Bearer("x".to_owned())] {
        let error = desk.registry.resolve(&tag, &wrong, &desk.store).await.unwrap_err();
        assert_eq!(error.kind(), error::Kind::Unauthenticated, "{wrong:?}");
        assert!(push(&desk, &tag, &wrong, &[]).await.is_err());
    }
    desk.registry.resolve(&tag, &right, &desk.store).await.unwrap();
}
