//! Small answers, read whole: bounded, and asked for again when the connection or the server fails.

use super::transport::{Ask, Transport, Tuning, is_transient};
use super::words;
use error::{Error, Kind, Result};
use futures_util::future::BoxFuture;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use std::time::Duration;

/// Who sends a request once.
pub(super) trait Sender: Send + Sync {
    /// Sends it and answers with the head.
    fn send<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Response>>;

    /// The connections it goes through.
    fn transport(&self) -> &Transport;
}

impl Sender for (&Transport, Option<HeaderValue>) {
    fn send<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Response>> {
        Box::pin(self.0.send(ask, self.1.as_ref()))
    }

    fn transport(&self) -> &Transport {
        self.0
    }
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
    /// Who answered in the end.
    pub url: Url,
}

impl Answer {
    /// What went wrong with `what`, for an answer that is no success.
    pub(super) fn problem(&self, what: &str) -> Error {
        words::of_status(what, &self.url, self.status, &self.body)
    }

    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Sends `ask` and reads the whole answer of at most `limit` bytes, several times if need be. A
/// status other than success is no error here.
pub(super) async fn whole(
    sender: &dyn Sender,
    tuning: Tuning,
    ask: &Ask,
    limit: usize,
) -> Result<Answer> {
    let mut failures = 0;
    loop {
        let outcome = once(sender, ask, limit).await;
        failures += 1;
        let pause = match &outcome {
            Ok(answer) if is_transient(answer.status) => {
                pause_for(&answer.headers, tuning, failures)
            }
            Err(error) if is_passing(error) => tuning.pause_after(failures),
            _ => return outcome,
        };
        if failures >= tuning.attempts {
            return outcome;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Whether the same may work later.
pub(super) fn is_passing(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unavailable | Kind::DeadlineExceeded)
}

/// How long to wait before asking again: what `Retry-After` says in seconds, within bounds.
pub(super) fn pause_for(headers: &HeaderMap, tuning: Tuning, failures: u32) -> Duration {
    let asked = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    asked.map_or(tuning.pause_after(failures), |seconds| {
        Duration::from_secs(seconds).min(tuning.longest_pause)
    })
}

async fn once(sender: &dyn Sender, ask: &Ask, limit: usize) -> Result<Answer> {
    let mut response = sender.send(ask).await?;
    let url = response.url().clone();
    let too_long = || {
        let host = words::host(&url);
        Error::failed_precondition(format!("{host} answers with more than {limit} bytes"))
    };
    let is_head = ask.method == reqwest::Method::HEAD;
    if !is_head && response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_long());
    }
    let mut body = Vec::new();
    while let Some(chunk) = sender.transport().chunk(&mut response).await? {
        if body.len() + chunk.len() > limit {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    let (status, headers) = (response.status(), response.headers().clone());
    Ok(Answer { status, headers, body, url })
}
