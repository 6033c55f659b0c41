//! A plugin's output as JSON lines: what was kept, and what comes while the client listens.

use super::Call;
use super::answer::{Answer, line, typed};
use super::stream::{self, PIECES};
use axum::http::StatusCode;
use bytes::Bytes;
use error::{Error, Result};
use plugin::logs::{Follow, Line};
use std::sync::Arc;
use tokio::sync::mpsc;

const KIND: &str = "application/x-ndjson";

/// `tail` lines not older than `since`, and with `follow` all that come after them.
pub(super) async fn read(call: &Call, name: &str) -> Answer {
    let count = match call.query.find("tail") {
        None | Some("all") => usize::MAX,
        Some(text) => text.parse().map_err(|_| {
            Error::invalid_argument(format!("tail {text:?} is not a number of lines, nor \"all\""))
        })?,
    };
    let (engine, since) = (&call.api.engine, call.query.time("since")?);
    // Opened first, so that nothing falls between the two.
    let follow = call.query.flag("follow").then(|| engine.follow(name)).transpose()?;
    let kept = engine.logs(name, count, since).await?;
    let text = encode(&kept);
    let Some(follow) = follow else { return Ok(typed(StatusCode::OK, KIND, text)) };
    let (sender, pieces) = mpsc::channel(PIECES);
    let api = Arc::clone(&call.api);
    tokio::spawn(async move {
        let _ = sender.send(Ok(text.into())).await;
        tokio::select! {
            () = tell(follow, kept, &sender) => {}
            () = super::stream_ends(&api, &sender) => {}
        }
    });
    Ok(stream::at_once(pieces, KIND))
}

async fn tell(mut follow: Follow, kept: Vec<Line>, sender: &mpsc::Sender<Result<Bytes>>) {
    let told = kept.last().map(|line| line.time);
    loop {
        let piece = follow.next().await.map(|mut lines| {
            // What came while the kept lines were read is among both.
            lines.retain(|line| told.is_none_or(|at| line.time > at) || !kept.contains(line));
            Bytes::from(encode(&lines))
        });
        let has_failed = piece.is_err();
        if piece.as_ref().is_ok_and(Bytes::is_empty) {
            continue;
        }
        if sender.send(piece).await.is_err() || has_failed {
            return;
        }
    }
}

fn encode(lines: &[Line]) -> Vec<u8> {
    lines.iter().filter_map(line).flatten().collect()
}
