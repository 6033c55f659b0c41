//! Answers that come piece by piece. What fails before the first piece is an ordinary error.

use super::answer::{Answer, Failed};
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use error::{Error, Result};
use hyper::body::Frame;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Pieces that wait for a slow client.
pub(super) const PIECES: usize = 256;

/// The pieces of a body; an error cuts it off, so that the client cannot take it for whole.
pub(super) type Pieces = mpsc::Receiver<Result<Bytes>>;

/// A body made of pieces.
pub(super) struct Stream {
    first: Option<Bytes>,
    pieces: Pieces,
}

impl Stream {
    /// A body that begins whenever the first piece comes.
    pub(super) fn new(pieces: Pieces) -> Self {
        Self { first: None, pieces }
    }
}

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        self.pieces.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// Answers at once, and then with whatever comes.
pub(super) fn at_once(pieces: Pieces, kind: &'static str) -> Response {
    respond(Stream::new(pieces), kind)
}

/// Answers as soon as the first piece is there. An error in its place is the answer.
pub(super) async fn after_first(mut pieces: Pieces, kind: &'static str) -> Answer {
    let first = pieces.recv().await.transpose().map_err(Failed::from)?;
    Ok(respond(Stream { first, pieces }, kind))
}

fn respond(stream: Stream, kind: &'static str) -> Response {
    let mut response = Response::new(Body::new(stream));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
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
    async fn an_error_in_the_middle_cuts_the_body_off() {
        let (sender, pieces) = mpsc::channel(2);
        sender.send(Ok(Bytes::from_static(b"half"))).await.unwrap();
        sender.send(Err(Error::internal("the disk is gone"))).await.unwrap();
        drop(sender);
        let response = after_first(pieces, "application/x-tar").await.expect("it has begun");
        assert!(to_bytes(response.into_body(), usize::MAX).await.is_err());
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
