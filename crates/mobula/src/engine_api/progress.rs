//! What pulls and pushes report, as Docker's stream of JSON lines. A client
//! that is slow, or gone, does not hold up the work.

use super::answer::{Answer, line, log};
use super::stream::{self, PIECES};
use axum::http::HeaderValue;
use bytes::Bytes;
use error::{Error, Result};
use plugin::digest::Digest;
use plugin::progress::{BlobState, Progress, Step};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How often a blob's numbers are sent at most.
const PACE: Duration = Duration::from_millis(100);
/// Columns of the bar.
const BAR: u64 = 50;

/// Runs `work` to its end and answers with what it reports. An error before the first report is
/// the answer, a later one the stream's last line. `name` goes into the header that Docker's client
/// learns the plugin's name from.
pub(super) async fn answer<W>(
    name: Option<&str>,
    work: impl FnOnce(Arc<dyn Progress>) -> W,
) -> Answer
where
    W: Future<Output = Result<()>> + Send + 'static,
{
    let (sender, pieces) = mpsc::channel(PIECES);
    let lines = Arc::new(Lines { sender, state: Mutex::default() });
    let reports: Arc<dyn Progress> = lines.clone();
    let work = super::detached(work(reports));
    tokio::spawn(async move {
        let ended = work.await;
        lines.end(ended.err()).await;
    });
    let mut response = stream::after_first(pieces, "application/json").await?;
    if let Some(name) = name.and_then(|name| HeaderValue::from_str(name).ok()) {
        response.headers_mut().insert("docker-plugin-name", name);
    }
    Ok(response)
}

struct Lines {
    sender: mpsc::Sender<Result<Bytes>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    has_begun: bool,
    blobs: HashMap<Digest, (BlobState, Instant)>,
    /// What must not be lost though the client did not keep up.
    late: Vec<Bytes>,
}

impl Progress for Lines {
    fn report(&self, step: Step) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_due(&step) {
            return;
        }
        let Some(text) = encode(&shown(&step)) else { return };
        state.has_begun = true;
        let sent = self.sender.try_send(Ok(text.clone()));
        if sent.is_err() && !matches!(step, Step::Blob { .. }) && !self.sender.is_closed() {
            state.late.push(text);
        }
    }
}

impl Lines {
    /// Sends what is left, and the error if there is one.
    async fn end(&self, error: Option<Error>) {
        let (late, has_begun) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut state.late), state.has_begun)
        };
        for text in late {
            let _ = self.sender.send(Ok(text)).await;
        }
        let Some(error) = error else { return };
        if !has_begun {
            let _ = self.sender.send(Err(error)).await;
            return;
        }
        log(&error);
        let message = error.chain();
        let text = encode(&json!({ "errorDetail": { "message": message }, "error": message }));
        if let Some(text) = text {
            let _ = self.sender.send(Ok(text)).await;
        }
    }
}

impl State {
    /// Whether a step is worth a line: every change of a blob's state, its numbers now and then.
    fn is_due(&mut self, step: &Step) -> bool {
        let Step::Blob { digest, state, current, total } = step else { return true };
        let now = Instant::now();
        if let Some((before, at)) = self.blobs.get(digest)
            && before == state
            && now.duration_since(*at) < PACE
            && current < total
        {
            return false;
        }
        self.blobs.insert(digest.clone(), (*state, now));
        true
    }
}

fn encode(value: &Value) -> Option<Bytes> {
    let mut text = line(value)?;
    // Docker ends these lines as HTTP does.
    text.insert(text.len() - 1, b'\r');
    Some(text.into())
}

fn shown(step: &Step) -> Value {
    match step {
        Step::Status { id: None, text } => json!({ "status": text }),
        Step::Status { id: Some(id), text } => json!({ "status": text, "id": id }),
        Step::Pushed { tag, digest, size } => json!({
            "progressDetail": {},
            "aux": { "Tag": tag, "Digest": digest.as_str(), "Size": size },
        }),
        Step::Blob { digest, state, current, total } if *current > 0 || *total > 0 => json!({
            "status": state.word(),
            "progressDetail": { "current": current, "total": total },
            "progress": bar(*current, *total),
            "id": digest.short(),
        }),
        Step::Blob { digest, state, .. } => {
            json!({ "status": state.word(), "progressDetail": {}, "id": digest.short() })
        }
    }
}

/// `[==>   ]  1.2MB/9MB`, as older clients show it as it comes.
fn bar(current: u64, total: u64) -> String {
    if total == 0 || current > total {
        return format!("{:>8}", size(current));
    }
    let filled = u128::from(current) * u128::from(BAR) / u128::from(total);
    let filled = usize::try_from(filled).unwrap_or_default();
    let empty = usize::try_from(BAR).unwrap_or_default().saturating_sub(filled);
    let (done, left) = ("=".repeat(filled), " ".repeat(empty));
    format!("[{done}>{left}] {:>8}/{}", size(current), size(total))
}

/// Bytes with four digits and a decimal unit: `1.234MB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut unit, mut scale) = (0, 1u64);
    while bytes / scale >= 1000 && unit + 1 < UNITS.len() {
        (unit, scale) = (unit + 1, scale * 1000);
    }
    let (whole, rest) = (bytes / scale, bytes % scale);
    let places = 4 - whole.to_string().len().min(3);
    let fraction = u128::from(rest) * 1000 / u128::from(scale);
    let fraction = &format!("{fraction:03}")[..places];
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{whole}{point}{fraction}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use error::Kind;

    fn blob(current: u64) -> Step {
        let state = BlobState::Downloading;
        Step::Blob { digest: Digest::of(b"x"), state, current, total: 9_000_000 }
    }

    async fn lines(work: impl FnOnce(&dyn Progress) -> Result<()> + Send + 'static) -> String {
        let answered = answer(Some("a/b:v1"), |progress| async move { work(&*progress) });
        let response = answered.await.expect("a stream");
        assert_eq!(response.headers()["docker-plugin-name"], "a/b:v1");
        assert_eq!(response.headers()["content-type"], "application/json");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn every_change_of_state_is_told_and_numbers_now_and_then() {
        let text = lines(|progress| {
            progress.report(Step::Status { id: Some("v1".into()), text: "Pulling from r".into() });
            (0..1000).for_each(|n| progress.report(blob(n)));
            progress.report(blob(9_000_000));
            Ok(())
        });
        let text = text.await;
        assert!(text.starts_with("{\"id\":\"v1\",\"status\":\"Pulling from r\"}\r\n"), "{text}");
        assert!(text.contains("[==================================================>]"), "{text}");
        assert!(text.contains("9MB/9MB"), "{text}");
        assert!(text.lines().count() < 100, "{text}");
    }

    #[tokio::test]
    async fn an_error_before_the_first_line_is_the_answer() {
        let work = |_| async { Err(Error::not_found("no such repository")) };
        let failed = answer(None, work).await.expect_err("an error");
        assert!(format!("{failed:?}").contains("404"), "{failed:?}");
    }

    #[tokio::test]
    async fn a_later_error_is_the_last_line_though_the_client_is_slow() {
        let text = lines(|progress| {
            for n in 0..1000 {
                progress.report(Step::Status { id: None, text: format!("line {n}") });
            }
            Err(Error::new(Kind::PermissionDenied, "incorrect privileges"))
        });
        let text = text.await;
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["error"], "incorrect privileges");
        assert_eq!(last["errorDetail"]["message"], "incorrect privileges");
        assert_eq!(text.lines().count(), 1001, "no line is lost");
    }

    #[tokio::test]
    async fn work_goes_on_without_its_client() {
        let (told, done) = tokio::sync::oneshot::channel();
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let response = answer(None, |progress| async move {
            progress.report(Step::Status { id: None, text: "begun".into() });
            let _ = wait.await;
            let _ = told.send(());
            Ok(())
        });
        drop(response.await.expect("a stream"));
        go.send(()).unwrap();
        done.await.expect("the work ended");
    }

    #[test]
    fn a_push_ends_with_what_the_registry_has() {
        let pushed = Step::Pushed { tag: "v1".into(), digest: Digest::of(b"x"), size: 7 };
        let value = shown(&pushed);
        assert_eq!((&value["aux"]["Tag"], &value["aux"]["Size"]), (&json!("v1"), &json!(7)));
        assert_eq!(value["progressDetail"], json!({}));
    }

    #[test]
    fn sizes_have_four_digits_at_most() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1_000, "1kB"),
            (1_234_567, "1.234MB"),
            (12_345_678, "12.34MB"),
            (123_456_789, "123.4MB"),
            (9_000_000_000, "9GB"),
            (u64::MAX, "18.44EB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
