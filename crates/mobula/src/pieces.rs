//! Bodies of answers that come piece by piece. What is in the pieces is up to whoever answers.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use error::{Error, Result};
use hyper::body::Frame;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Pieces that wait for a slow client.
pub(crate) const PIECES: usize = 256;

/// The pieces of a body; an error cuts it off, so that the client cannot take it for whole.
pub(crate) type Pieces = mpsc::Receiver<Result<Bytes>>;

/// A body made of pieces.
pub(crate) struct Stream {
    first: Option<Bytes>,
    pieces: Pieces,
}

impl Stream {
    /// A body that begins whenever the first piece comes.
    pub(crate) fn new(pieces: Pieces) -> Self {
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
pub(crate) fn at_once(pieces: Pieces, kind: &'static str) -> Response {
    respond(Stream::new(pieces), kind)
}

/// Answers as soon as the first piece is there. An error in its place is returned.
pub(crate) async fn after_first(mut pieces: Pieces, kind: &'static str) -> Result<Response> {
    let first = pieces.recv().await.transpose()?;
    Ok(respond(Stream { first, pieces }, kind))
}

fn respond(stream: Stream, kind: &'static str) -> Response {
    let mut response = Response::new(Body::new(stream));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;

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
    async fn an_error_in_the_place_of_the_first_piece_is_the_answer() {
        let (sender, pieces) = mpsc::channel(2);
        sender.send(Err(Error::not_found("no such thing"))).await.unwrap();
        let error = after_first(pieces, "application/x-tar").await.expect_err("it failed");
        assert_eq!(error.kind(), error::Kind::NotFound);
    }
}
