//! Bodies of requests: whole, or a pipe that a blocking thread writes into while it is sent.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Bytes in one piece of a pipe.
const PIECE: usize = 256 << 10;
/// Pieces that may wait.
const DEPTH: usize = 8;

/// The body of a request.
pub struct Pipe(Source);

enum Source {
    Whole(Option<Bytes>),
    /// The pieces, and whether the last one was sent.
    Pieces(Receiver<Bytes>, Arc<AtomicBool>),
}

impl Pipe {
    /// A body without anything in it.
    pub fn empty() -> Self {
        Self(Source::Whole(None))
    }

    /// A body that is there.
    pub fn whole(bytes: Vec<u8>) -> Self {
        Self(Source::Whole(Some(bytes.into())))
    }
}

/// A body and the writer that fills it; the body ends properly only by [`Writer::finish`].
pub fn pipe() -> (Writer, Pipe) {
    let (sender, receiver) = channel(DEPTH);
    let done = Arc::<AtomicBool>::default();
    let writer = Writer { sender, buffer: Vec::with_capacity(PIECE), done: Arc::clone(&done) };
    (writer, Pipe(Source::Pieces(receiver, done)))
}

impl Body for Pipe {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Source::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Pieces(receiver, done) => {
                receiver.poll_recv(context).map(|piece| match piece {
                    Some(piece) => Some(Ok(Frame::data(piece))),
                    None if done.load(Ordering::Acquire) => None,
                    // Whoever did not get to the end must not make the other side believe that this
                    // was all.
                    None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Source::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Pieces(..) => SizeHint::default(),
        }
    }
}

/// Whether `error` of a writer only says that nobody reads the body any more.
pub fn is_unread(error: &error::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The blocking end of a pipe.
pub struct Writer {
    sender: Sender<Bytes>,
    buffer: Vec<u8>,
    done: Arc<AtomicBool>,
}

impl Writer {
    /// Sends what is left and ends the body.
    pub fn finish(mut self) -> io::Result<()> {
        io::Write::flush(&mut self)?;
        self.done.store(true, Ordering::Release);
        Ok(())
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        self.sender.blocking_send(piece.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
