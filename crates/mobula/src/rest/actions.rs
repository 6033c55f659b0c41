//! `/v1/services/{service}/actions/{action}`: what only some drivers do. The answer is a stream of
//! JSON lines, as an action may take minutes: progress, and at the end its report or its error.

use super::{Answer, Failed, decode};
use crate::api::{ActionLine, AskAction};
use crate::app::App;
use crate::pieces::{self, PIECES};
use axum::body::Body;
use axum::extract::{Path, State};
use bytes::Bytes;
use error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;
use volume::driver::Report;
use volume::{Orchestrator, ServiceName};

/// Lines of JSON.
const KIND: &str = "application/x-ndjson";

/// Have a driver do one of its own actions. What fails before the first line is an ordinary error;
/// the work goes on when the client leaves.
#[utoipa::path(post, path = "/v1/services/{service}/actions/{action}",
    params(("service" = String, Path), ("action" = String, Path)),
    request_body = AskAction,
    responses(
        (status = 200, body = ActionLine, content_type = "application/x-ndjson"),
        (status = 501, body = crate::api::Failure)))]
pub(super) async fn act(
    State(app): State<Arc<App>>,
    Path((service, action)): Path<(String, String)>,
    body: Body,
) -> Answer {
    let asked: AskAction = decode(body).await?;
    let service = app.services().get(&ServiceName::parse(&service)?)?;
    let under_way = service.begin().await?;
    let (sender, pieces) = mpsc::channel(PIECES);
    let lines = Arc::new(Lines { sender, has_begun: AtomicBool::new(false) });
    tokio::spawn(async move {
        let done = run(service, action, asked, Arc::clone(&lines)).await;
        drop(under_way);
        lines.end(done).await;
    });
    Ok(pieces::after_first(pieces, KIND).await?)
}

/// Runs the action to its end; a driver that panics is an error like any other.
async fn run(
    service: Arc<Orchestrator>,
    action: String,
    asked: AskAction,
    lines: Arc<Lines>,
) -> Result<Report> {
    let acting = tokio::spawn(async move {
        let told = move |text: &str| lines.progress(text);
        service.act(&action, asked.subject.as_deref(), &asked.options, &told).await
    });
    acting.await.unwrap_or_else(|failure| {
        Err(Error::internal("the action ended without an answer").because(failure))
    })
}

/// The lines of an answer. A client that is slow, or gone, does not hold up the work.
struct Lines {
    sender: mpsc::Sender<Result<Bytes>>,
    has_begun: AtomicBool,
}

impl Lines {
    /// Tells of progress; what a client is too slow for is left out.
    fn progress(&self, text: &str) {
        let line = encoded(&ActionLine::Progress(text.to_owned()));
        if self.sender.try_send(line).is_ok() {
            self.has_begun.store(true, Ordering::Relaxed);
        }
    }

    /// Sends the last line, or the error when it is the only one.
    async fn end(&self, done: Result<Report>) {
        let last = match done {
            Ok(report) => encoded(&ActionLine::Report(report.into())),
            Err(error) if self.has_begun.load(Ordering::Relaxed) => {
                encoded(&ActionLine::Error(Failed::from(error).tell()))
            }
            Err(error) => Err(error),
        };
        if let Err(unsent) = self.sender.send(last).await
            && let Err(error) = unsent.0
        {
            // Nobody is there to be told; the log is where its journey ends.
            Failed::from(error).tell();
        }
    }
}

fn encoded(line: &ActionLine) -> Result<Bytes> {
    let text = serde_json::to_string(line)
        .map_err(|source| Error::internal("encode a line of the answer").because(source))?;
    Ok((text + "\n").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(room: usize) -> (Lines, pieces::Pieces) {
        let (sender, pieces) = mpsc::channel(room);
        (Lines { sender, has_begun: AtomicBool::new(false) }, pieces)
    }

    fn text(piece: Option<Result<Bytes>>) -> String {
        String::from_utf8(piece.unwrap().unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn progress_comes_before_the_report_each_on_a_line() {
        let (lines, mut pieces) = lines(8);
        lines.progress("half\nway");
        let report = Report { columns: vec!["ID".into()], ..Report::default() };
        lines.end(Ok(report)).await;
        assert_eq!(text(pieces.recv().await), "{\"progress\":\"half\\nway\"}\n");
        assert_eq!(text(pieces.recv().await), "{\"report\":{\"columns\":[\"ID\"],\"rows\":[]}}\n");
    }

    #[tokio::test]
    async fn an_error_after_progress_is_a_line_and_without_any_an_ordinary_error() {
        let (begun, mut pieces) = lines(8);
        begun.progress("on the way");
        begun.end(Err(Error::aborted("broken off").with("volume", "pg"))).await;
        pieces.recv().await;
        assert_eq!(
            text(pieces.recv().await),
            "{\"error\":{\"kind\":\"aborted\",\"message\":\"broken off\",\
             \"context\":{\"volume\":\"pg\"}}}\n"
        );
        let (fresh, mut pieces) = lines(8);
        fresh.end(Err(Error::not_found("no such volume"))).await;
        assert_eq!(pieces.recv().await.unwrap().unwrap_err().kind(), error::Kind::NotFound);
    }

    #[tokio::test]
    async fn a_slow_client_misses_progress_and_never_the_report() {
        let (lines, mut pieces) = lines(1);
        for _ in 0..100 {
            lines.progress("again");
        }
        let ending = tokio::spawn(async move { lines.end(Ok(Report::default())).await });
        assert!(text(pieces.recv().await).contains("progress"));
        assert!(text(pieces.recv().await).contains("report"));
        ending.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_left_holds_up_nothing() {
        let (lines, pieces) = lines(1);
        drop(pieces);
        lines.progress("again");
        lines.end(Ok(Report::default())).await;
    }
}
