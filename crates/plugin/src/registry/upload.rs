//! A blob of the store as the body of a request: read on a thread of its own, counted, and watched
//! so that a registry that takes nothing more is given up.

use crate::digest::Digest;
use crate::store::Store;
use bytes::Bytes;
use error::{Error, IoContext, Result};
use futures_util::stream;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{RequestBuilder, Response};
use std::future::Future;
use std::io::{self, Read};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;
/// How often an upload is looked at.
const GLANCE: Duration = Duration::from_millis(200);
/// A registry that has all bytes may verify and move them for so many times the stall deadline.
const DIGESTION: u32 = 10;

/// A blob to be sent.
#[derive(Debug, Clone)]
pub(super) struct Source {
    store: Store,
    digest: Digest,
    size: u64,
    sent: Arc<AtomicU64>,
}

impl Source {
    /// The blob `digest` of `size` bytes in `store`.
    pub(super) fn new(store: &Store, digest: &Digest, size: u64) -> Self {
        Self { store: store.clone(), digest: digest.clone(), size, sent: Arc::default() }
    }

    /// Makes the blob, from its beginning, the body of `request`.
    pub(super) async fn attach(&self, request: RequestBuilder) -> Result<RequestBuilder> {
        self.sent.store(0, Ordering::Relaxed);
        let (store, digest) = (self.store.clone(), self.digest.clone());
        let file = super::blocking(move || store.blob(&digest)).await?;
        let length = file.metadata().doing(|| format!("look at blob {}", self.digest))?.len();
        if length != self.size {
            return Err(Error::internal(format!(
                "blob {} has {length} bytes instead of {}",
                self.digest, self.size
            )));
        }
        let (to, from) = mpsc::channel(2);
        tokio::task::spawn_blocking(move || read_into(file, &to));
        let sent = self.sent.clone();
        let pieces = stream::unfold((from, sent), |(mut from, sent)| async move {
            let piece: io::Result<Bytes> = from.recv().await?;
            let length = piece.as_ref().map_or(0, Bytes::len);
            sent.fetch_add(length as u64, Ordering::Relaxed);
            Some((piece, (from, sent)))
        });
        let request = request.header(CONTENT_LENGTH, self.size);
        Ok(request.body(reqwest::Body::wrap_stream(pieces)))
    }

    /// Waits for the answer to an upload; `report` is told the bytes sent so far. Given up when
    /// nothing is taken for `stall`.
    pub(super) async fn watch(
        &self,
        sending: impl Future<Output = Result<Response>>,
        stall: Duration,
        report: impl Fn(u64),
    ) -> Result<Response> {
        let mut sending = pin!(sending);
        let (mut last, mut since) = (0, Instant::now());
        loop {
            if let Ok(outcome) = tokio::time::timeout(GLANCE, &mut sending).await {
                return outcome;
            }
            let sent = self.sent.load(Ordering::Relaxed);
            let patience = if sent >= self.size { stall * DIGESTION } else { stall };
            if sent != last {
                (last, since) = (sent, Instant::now());
                report(sent);
            } else if since.elapsed() > patience {
                let late = format!("the registry took nothing of blob {} any more", self.digest);
                return Err(Error::deadline_exceeded(late));
            }
        }
    }
}

fn read_into(mut file: impl Read, to: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = vec![0; PIECE];
        let piece = match file.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => {
                piece.truncate(count);
                Ok(Bytes::from(piece))
            }
            Err(error) => Err(error),
        };
        let is_last = piece.is_err();
        // Nobody listens any more: the upload is over.
        if to.blocking_send(piece).is_err() || is_last {
            return;
        }
    }
}
