//! Answers that come piece by piece, as the engine's handlers make them. What fails before the first
//! piece is an ordinary error.

use super::answer::{Answer, Failed};
use crate::pieces;
use bytes::Bytes;
use error::Result;
use std::io::{self, Write};
use tokio::sync::mpsc;

pub(super) use crate::pieces::{PIECES, Pieces, at_once};

/// Answers as soon as the first piece is there. An error in its place is the answer.
pub(super) async fn after_first(pieces: Pieces, kind: &'static str) -> Answer {
    pieces::after_first(pieces, kind).await.map_err(Failed::from)
}

/// Writes into a body. Blocks: not for threads that run async code.
pub(super) struct Writer(pub(super) mpsc::Sender<Result<Bytes>>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(64 << 10)];
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(piece)));
        sent.map(|()| piece.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;

    #[tokio::test]
    async fn what_is_written_arrives_in_order() {
        let (sender, pieces) = mpsc::channel(2);
        let text: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let written = text.clone();
        let writing =
            tokio::task::spawn_blocking(move || Writer(sender).write_all(&written).unwrap());
        let response = after_first(pieces, "application/x-tar").await.expect("a body");
        assert_eq!(to_bytes(response.into_body(), usize::MAX).await.unwrap(), text);
        writing.await.unwrap();
    }

    #[tokio::test]
    async fn whoever_writes_learns_that_the_client_is_gone() {
        let (sender, pieces) = mpsc::channel(2);
        drop(pieces);
        let written = tokio::task::spawn_blocking(move || Writer(sender).write(b"x"));
        let error = written.await.unwrap().expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
