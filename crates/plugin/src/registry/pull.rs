//! Fetching: from a reference to manifest and configuration, and blobs with resumption.

use super::manifest::{self, ACCEPTED, DEEPEST_INDEX, LARGEST_CONFIG, Parsed};
use super::session::Session;
use super::transport::{Ask, is_transient};
use super::whole::{Answer, is_passing, pause_for};
use super::{Auth, Descriptor, Manifest, Registry, blocking, words};
use crate::digest::Digest;
use crate::progress::{BlobState, Progress, Silent, Step};
use crate::reference::Reference;
use crate::store::{Follower, Store, Writer};
use error::{Error, Result};
use reqwest::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use reqwest::{Response, StatusCode};
use std::io::Write;
use std::time::Duration;

/// Bytes that are gathered before they are written and reported.
const GATHERED: usize = 1 << 20;

impl Registry {
    /// The manifest for this machine's platform and the configuration blob, verified; the manifest
    /// and the configuration are put into `store`, layers are not fetched.
    ///
    /// What is no plugin → `FailedPrecondition` with dockerd's words.
    pub async fn resolve(
        &self,
        reference: &Reference,
        auth: &Auth,
        store: &Store,
    ) -> Result<(Manifest, Vec<u8>)> {
        let session = Session::open(self, reference, auth, "pull", &[]).await?;
        let manifest = find_manifest(&session, reference, store).await?;
        let download = Download { session: &session, blob: &manifest.config, progress: &Silent };
        download.run(store, |_| ()).await?;
        let (store, digest) = (store.clone(), manifest.config.digest.clone());
        let config = blocking(move || store.read(&digest, LARGEST_CONFIG)).await?;
        Ok((manifest, config))
    }

    /// Fetches one layer into `store`, resuming what is there in part. `begun` is given a reader
    /// that goes along with it, or `None` when the layer is there already.
    pub async fn fetch(
        &self,
        reference: &Reference,
        auth: &Auth,
        blob: &Descriptor,
        store: &Store,
        progress: &dyn Progress,
        begun: impl FnOnce(Option<Follower>) + Send,
    ) -> Result<()> {
        let session = Session::open(self, reference, auth, "pull", &[]).await?;
        Download { session: &session, blob, progress }.run(store, begun).await
    }
}

/// The manifest for this machine: the one that `reference` names, or one that its index names.
async fn find_manifest(
    session: &Session<'_>,
    reference: &Reference,
    store: &Store,
) -> Result<Manifest> {
    let shown = reference.familiar();
    let tag = reference.tag.clone().unwrap_or_else(|| "latest".to_owned());
    let (mut name, mut digest) = (tag, reference.digest.clone());
    for _ in 0..=DEEPEST_INDEX {
        if let Some(digest) = &digest {
            digest.as_str().clone_into(&mut name);
        }
        let (bytes, media_type) = get_manifest(session, &name, digest.as_ref(), &shown).await?;
        match manifest::parse(&bytes, &media_type, &shown)? {
            Parsed::Index(entries) => {
                digest = Some(manifest::choose(&entries, &shown)?.descriptor.digest.clone());
            }
            Parsed::Plugin(manifest) => {
                let store = store.clone();
                blocking(move || store.put(&bytes)).await?;
                return Ok(manifest);
            }
        }
    }
    Err(manifest::no_plugin(&shown, "its indexes lead from one to the next without end"))
}

/// A manifest's verified bytes and media type.
async fn get_manifest(
    session: &Session<'_>,
    name: &str,
    digest: Option<&Digest>,
    shown: &str,
) -> Result<(Vec<u8>, String)> {
    let ask = Ask::get(session.url(&format!("manifests/{name}"))?).header(ACCEPT, ACCEPTED);
    let answer = session.whole(&ask).await?;
    if !answer.status.is_success() {
        return Err(answer.problem(&format!("pull {shown}")));
    }
    let told = answer.header("docker-content-digest").and_then(|text| Digest::parse(text).ok());
    let actual = Digest::of(&answer.body);
    if let Some(expected) = digest.or(told.as_ref()).filter(|expected| **expected != actual) {
        return Err(Error::internal(format!(
            "{} answered with a manifest of {shown} whose digest is {actual} instead of {expected}",
            words::host(&answer.url)
        )));
    }
    let media_type = media_type(&answer);
    Ok((answer.body, media_type))
}

fn media_type(answer: &Answer) -> String {
    let full = answer.header(CONTENT_TYPE.as_str()).unwrap_or_default();
    full.split(';').next().unwrap_or_default().trim().to_owned()
}

/// A blob being fetched.
struct Download<'a> {
    session: &'a Session<'a>,
    blob: &'a Descriptor,
    progress: &'a dyn Progress,
}

/// How an attempt ended.
enum Ended {
    /// All bytes are here.
    Complete,
    /// The connection or the registry failed; to be tried again after a pause, if one is asked for.
    Broken(Error, Option<Duration>),
}

impl Download<'_> {
    async fn run(&self, store: &Store, begun: impl FnOnce(Option<Follower>) + Send) -> Result<()> {
        let (digest, size) = (self.blob.digest.clone(), self.blob.size);
        let there = {
            let (store, digest) = (store.clone(), digest.clone());
            blocking(move || store.find(&digest)).await?
        };
        if let Some(there) = there {
            self.report(BlobState::Exists, there);
            begun(None);
            return if there == size { Ok(()) } else { Err(self.wrong_size(there)) };
        }
        let begin = {
            let (store, digest) = (store.clone(), digest.clone());
            move || store.writer(&digest, size)
        };
        let writer = blocking(begin.clone()).await?;
        begun(writer.follow()?);
        let was_begun = writer.offset() > 0;
        match self.attempts(writer).await {
            // What an earlier attempt left may be what is wrong.
            Err(_) if was_begun && self.is_fresh(&begin).await => {
                self.attempts(blocking(begin).await?).await?;
            }
            outcome => outcome?,
        }
        self.report(BlobState::Downloaded, size);
        Ok(())
    }

    /// Whether nothing is left of an earlier attempt.
    async fn is_fresh(
        &self,
        begin: &(impl Fn() -> Result<Writer> + Clone + Send + 'static),
    ) -> bool {
        blocking(begin.clone()).await.is_ok_and(|writer| writer.offset() == 0)
    }

    async fn attempts(&self, mut writer: Writer) -> Result<()> {
        let tuning = self.session.tuning();
        let (mut failures, mut reached) = (0, writer.offset());
        while writer.offset() != self.blob.size {
            if writer.offset() > self.blob.size {
                writer = blocking(move || restarted(writer)).await?;
            }
            let (back, ended) = self.attempt(writer).await?;
            writer = back;
            let Ended::Broken(error, pause) = ended else { break };
            // Only real progress earns further attempts.
            if writer.offset() >= reached + GATHERED as u64 {
                (failures, reached) = (0, writer.offset());
            }
            failures += 1;
            if failures >= tuning.attempts {
                return Err(error);
            }
            tracing::debug!(%error, blob = %self.blob.digest, "going on with a download");
            tokio::time::sleep(pause.unwrap_or(tuning.pause_after(failures))).await;
        }
        blocking(move || writer.commit()).await
    }

    async fn attempt(&self, mut writer: Writer) -> Result<(Writer, Ended)> {
        let mut ask = Ask::get(self.session.url(&format!("blobs/{}", self.blob.digest))?);
        if writer.offset() > 0 {
            ask = ask.header(RANGE, &format!("bytes={}-", writer.offset()));
        }
        let response = match self.session.send(&ask).await {
            Ok(response) => response,
            Err(error) if is_passing(&error) => return Ok((writer, Ended::Broken(error, None))),
            Err(error) => return Err(error),
        };
        match self.begin(&response, writer.offset())? {
            Begin::At(0) if writer.offset() > 0 => {
                writer = blocking(move || restarted(writer)).await?;
            }
            Begin::At(_) => {}
            Begin::Again(error, pause) => {
                if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
                    writer = blocking(move || restarted(writer)).await?;
                }
                return Ok((writer, Ended::Broken(error, pause)));
            }
        }
        self.receive(response, writer).await
    }

    /// What a response's head says about where its body begins.
    fn begin(&self, response: &Response, offset: u64) -> Result<Begin> {
        let status = response.status();
        let what = || format!("fetch blob {}", self.blob.digest);
        let failure = || words::of_status(&what(), response.url(), status, b"");
        let start = match status {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if range_start(response) == Some(offset) => offset,
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => {
                return Ok(Begin::Again(failure(), None));
            }
            status if is_transient(status) => {
                let pause = pause_for(response.headers(), self.session.tuning(), 1);
                return Ok(Begin::Again(failure(), Some(pause)));
            }
            _ => return Err(failure()),
        };
        match response.content_length() {
            Some(length) if length != self.blob.size - start => {
                Err(self.wrong_size(start + length))
            }
            _ => Ok(Begin::At(start)),
        }
    }

    async fn receive(&self, mut response: Response, mut writer: Writer) -> Result<(Writer, Ended)> {
        let mut gathered = Vec::new();
        self.report(BlobState::Downloading, writer.offset());
        let ended = loop {
            let chunk = match self.session.chunk(&mut response).await {
                Ok(chunk) => chunk,
                Err(error) => break Ended::Broken(error, None),
            };
            let Some(chunk) = chunk else { break Ended::Complete };
            gathered.extend_from_slice(&chunk);
            let there = writer.offset() + gathered.len() as u64;
            if there > self.blob.size {
                blocking(move || restarted(writer)).await?;
                return Err(self.wrong_size(there));
            }
            if gathered.len() >= GATHERED {
                writer = append(writer, std::mem::take(&mut gathered)).await?;
                self.report(BlobState::Downloading, writer.offset());
            }
        };
        writer = append(writer, gathered).await?;
        self.report(BlobState::Downloading, writer.offset());
        Ok(match ended {
            Ended::Complete if writer.offset() < self.blob.size => {
                let early = format!("blob {} ended early", self.blob.digest);
                (writer, Ended::Broken(Error::unavailable(early), None))
            }
            ended => (writer, ended),
        })
    }

    fn wrong_size(&self, there: u64) -> Error {
        let (digest, size) = (&self.blob.digest, self.blob.size);
        Error::failed_precondition(format!(
            "blob {digest} has {there} bytes or more, though the manifest says {size}"
        ))
    }

    fn report(&self, state: BlobState, current: u64) {
        let (digest, total) = (self.blob.digest.clone(), self.blob.size);
        self.progress.report(Step::Blob { digest, state, current, total });
    }
}

/// Where a response's body begins.
enum Begin {
    /// At this byte of the blob.
    At(u64),
    /// Nowhere: to be asked again, after a pause if one is asked for.
    Again(Error, Option<Duration>),
}

/// The first byte that `Content-Range: bytes 5-9/10` names.
fn range_start(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

fn restarted(mut writer: Writer) -> Result<Writer> {
    writer.restart()?;
    Ok(writer)
}

async fn append(mut writer: Writer, bytes: Vec<u8>) -> Result<Writer> {
    blocking(move || {
        writer.write_all(&bytes).map_err(|error| Error::io("write a blob", error))?;
        Ok(writer)
    })
    .await
}
