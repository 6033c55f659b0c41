//! Pushing: blobs that the registry lacks, then the manifest, as dockerd writes and reads it.

use super::manifest::{self, DOCKER_MANIFEST};
use super::session::Session;
use super::transport::{Ask, Body, resolve_location};
use super::upload::Source;
use super::whole::is_passing;
use super::{Auth, Descriptor, Registry, words};
use crate::digest::Digest;
use crate::progress::{BlobState, Progress, Step};
use crate::reference::Reference;
use crate::store::Store;
use error::{Error, IoContext, Result};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Method, StatusCode, Url};
use std::io::Read;

/// What every gzip stream begins with (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Repositories that a blob is looked for in.
const MOST_SOURCES: usize = 4;

/// A push under way.
struct Push<'a> {
    session: Session<'a>,
    store: &'a Store,
    progress: &'a dyn Progress,
    mount_from: &'a [String],
}

/// What came of the wish to take a blob from another repository.
enum Offered {
    /// The registry has it now.
    Mounted,
    /// It is to be sent to here.
    Upload(Url),
}

impl Registry {
    /// Pushes configuration and layers and then the manifest (Docker schema 2) under `reference`'s
    /// tag. dockerd can install one gzip layer; see [`is_gzip`]. `mount_from`: repositories of the same registry that the
    /// blobs may be taken from.
    #[allow(clippy::too_many_arguments)] // each is a thing of its own, and there is one caller
    pub async fn push(
        &self,
        reference: &Reference,
        auth: &Auth,
        config: &Descriptor,
        layers: &[Descriptor],
        mount_from: &[String],
        store: &Store,
        progress: &dyn Progress,
    ) -> Result<Digest> {
        if reference.digest.is_some() {
            let shown = reference.familiar();
            let message = format!("{shown} names a digest; only a tag can be pushed to");
            return Err(Error::invalid_argument(message));
        }
        let mount_from: Vec<_> = mount_from
            .iter()
            .filter(|path| **path != reference.path)
            .take(MOST_SOURCES)
            .cloned()
            .collect();
        let session = Session::open(self, reference, auth, "pull,push", &mount_from).await?;
        let push = Push { session, store, progress, mount_from: &mount_from };
        let mut blobs: Vec<&Descriptor> = Vec::new();
        for blob in layers.iter().chain([config]) {
            if !blobs.iter().any(|known| known.digest == blob.digest) {
                blobs.push(blob);
            }
        }
        for blob in &blobs {
            push.report(blob, BlobState::Preparing, 0);
        }
        for blob in &blobs {
            push.blob(blob).await?;
        }
        push.manifest(reference, manifest::for_docker(config, layers)?).await
    }
}

/// Whether a layer is packed by gzip, whatever it is called: dockerd takes any other for nothing and
/// installs an empty plugin. Blocking.
pub fn is_gzip(store: &Store, layer: &Digest) -> Result<bool> {
    let mut head = Vec::new();
    let blob = store.blob(layer)?;
    blob.take(2).read_to_end(&mut head).doing(|| format!("read layer {layer}"))?;
    Ok(head == GZIP)
}

impl Push<'_> {
    async fn blob(&self, blob: &Descriptor) -> Result<()> {
        let head = Ask::new(Method::HEAD, self.session.url(&format!("blobs/{}", blob.digest))?);
        let answer = self.session.whole(&head).await?;
        match answer.status {
            StatusCode::OK => self.report(blob, BlobState::Exists, blob.size),
            StatusCode::NOT_FOUND => self.bring(blob).await?,
            _ => return Err(answer.problem(&format!("look for blob {}", blob.digest))),
        }
        Ok(())
    }

    async fn bring(&self, blob: &Descriptor) -> Result<()> {
        for from in self.mount_from {
            let query = format!("?mount={}&from={from}", blob.digest);
            // Whoever may not read there can still upload.
            if let Ok(Offered::Mounted) = self.offer(&query, blob).await {
                self.report(blob, BlobState::Mounted, blob.size);
                return Ok(());
            }
        }
        let tuning = self.session.tuning();
        let mut failures = 0;
        loop {
            let outcome = self.upload(blob).await;
            failures += 1;
            match outcome {
                Err(error) if is_passing(&error) && failures < tuning.attempts => {
                    tracing::debug!(%error, blob = %blob.digest, "trying an upload again");
                    tokio::time::sleep(tuning.pause_after(failures)).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn offer(&self, query: &str, blob: &Descriptor) -> Result<Offered> {
        let url = self.session.url(&format!("blobs/uploads/{query}"))?;
        let ask = Ask::new(Method::POST, url).header(CONTENT_LENGTH, "0");
        let answer = self.session.whole(&ask).await?;
        match (answer.status, answer.headers.get(LOCATION)) {
            (StatusCode::CREATED, _) => Ok(Offered::Mounted),
            (StatusCode::ACCEPTED, Some(to)) => {
                resolve_location(&answer.url, to).map(Offered::Upload)
            }
            (StatusCode::ACCEPTED, None) => Err(Error::failed_precondition(format!(
                "{} does not say where to upload to",
                words::host(&answer.url)
            ))),
            _ => Err(answer.problem(&format!("push blob {}", blob.digest))),
        }
    }

    async fn upload(&self, blob: &Descriptor) -> Result<()> {
        let Offered::Upload(mut url) = self.offer("", blob).await? else { return Ok(()) };
        url.query_pairs_mut().append_pair("digest", blob.digest.as_str());
        let source = Source::new(self.store, &blob.digest, blob.size);
        let ask = Ask::new(Method::PUT, url)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(Body::Blob(source.clone()));
        self.report(blob, BlobState::Uploading, 0);
        let report = |sent| self.report(blob, BlobState::Uploading, sent);
        let stall = self.session.tuning().stall;
        let response = source.watch(self.session.send(&ask), stall, report).await?;
        let (status, url) = (response.status(), response.url().clone());
        if status == StatusCode::CREATED {
            self.report(blob, BlobState::Uploaded, blob.size);
            return Ok(());
        }
        let body = self.session.body_of(response).await;
        Err(words::of_status(&format!("push blob {}", blob.digest), &url, status, &body))
    }

    async fn manifest(&self, reference: &Reference, bytes: Vec<u8>) -> Result<Digest> {
        let tag = reference.tag.clone().unwrap_or_else(|| "latest".to_owned());
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        let url = self.session.url(&format!("manifests/{tag}"))?;
        let head = Ask::new(Method::HEAD, url.clone()).header(ACCEPT, DOCKER_MANIFEST);
        let there = self.session.whole(&head).await?;
        if !there.status.is_success() || !tells(&there, &digest) {
            let put = Ask::new(Method::PUT, url)
                .header(CONTENT_TYPE, DOCKER_MANIFEST)
                .body(Body::Bytes(bytes.into()));
            let answer = self.session.whole(&put).await?;
            if !answer.status.is_success() {
                return Err(answer.problem(&format!("push {}", reference.familiar())));
            }
        }
        self.progress.report(Step::Pushed { tag, digest: digest.clone(), size });
        Ok(digest)
    }

    fn report(&self, blob: &Descriptor, state: BlobState, current: u64) {
        let (digest, total) = (blob.digest.clone(), blob.size);
        self.progress.report(Step::Blob { digest, state, current, total });
    }
}

/// Whether an answer says that it is about `digest`.
fn tells(answer: &super::whole::Answer, digest: &Digest) -> bool {
    answer.header("docker-content-digest") == Some(digest.as_str())
}
