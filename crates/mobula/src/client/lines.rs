//! Answers that are lines of JSON, read as they come.

use super::{collect, failure};
use axum::http::Response;
use bytes::Bytes;
use error::{Error, Result};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

/// The longest line that is read, in bytes.
const LONGEST: usize = 64 << 20;

/// Hands each line of a successful answer to `each`; any other is the error that it tells.
pub(super) async fn read<B, T>(answer: Response<B>, mut each: impl FnMut(T)) -> Result<()>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
    T: DeserializeOwned,
{
    if !answer.status().is_success() {
        return Err(failure(&collect(answer).await?.1));
    }
    let (mut body, mut rest) = (answer.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|source| Error::unavailable("the agent's answer broke off").because(source))?;
        let Ok(data) = frame.into_data() else { continue };
        rest.extend_from_slice(&data);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            each(decoded(&line)?);
        }
        if rest.len() > LONGEST {
            return Err(Error::internal(format!("the agent sent a line of over {LONGEST} bytes")));
        }
    }
    match rest.is_empty() {
        true => Ok(()),
        false => decoded(&rest).map(each),
    }
}

fn decoded<T: DeserializeOwned>(line: &[u8]) -> Result<T> {
    serde_json::from_slice(line)
        .map_err(|source| Error::internal("the agent's answer cannot be read").because(source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pieces::Stream;
    use tokio::sync::mpsc;

    async fn read_pieces(status: u16, pieces: &[&'static str]) -> (Vec<u32>, Result<()>) {
        let (sender, receiver) = mpsc::channel(16);
        for piece in pieces {
            sender.send(Ok(Bytes::from_static(piece.as_bytes()))).await.unwrap();
        }
        drop(sender);
        let answer = Response::builder().status(status).body(Stream::new(receiver)).unwrap();
        let mut lines = Vec::new();
        let read = read(answer, |line: u32| lines.push(line)).await;
        (lines, read)
    }

    #[tokio::test]
    async fn lines_are_read_however_they_are_cut() {
        let (lines, read) = read_pieces(200, &["1\n2", "3\n", "4\n56\n7", "8"]).await;
        read.unwrap();
        assert_eq!(lines, [1, 23, 4, 56, 78]);
    }

    #[tokio::test]
    async fn an_answer_that_is_no_success_is_the_error_that_it_tells() {
        let body = "{\"error\":{\"kind\":\"unimplemented\",\"message\":\"it has none\"}}";
        let (lines, read) = read_pieces(501, &[body]).await;
        let error = read.unwrap_err();
        assert_eq!((error.kind(), error.message()), (error::Kind::Unimplemented, "it has none"));
        assert!(lines.is_empty());
    }

    #[tokio::test]
    async fn what_is_no_such_line_is_an_error() {
        let (lines, read) = read_pieces(200, &["1\nx\n2\n"]).await;
        assert!(read.is_err());
        assert_eq!(lines, [1]);
    }
}
