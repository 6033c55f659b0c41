//! Connections that are handed on to another server as they are: what is said there is a matter
//! between the two ends. Where requests of HTTP/1 are taken as well, a client is told by how it
//! begins.

use super::{Bound, HEAD, Peer, Stream, converse, stopped};
use axum::Router;
use error::Result;
use std::io::Cursor;
use std::os::fd::AsFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, copy_bidirectional, join, split};
use tokio::sync::watch;

/// What a client of HTTP/2 that has not asked before begins with (RFC 9113, 3.4); gRPC's do.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The other server, and when to end.
struct Way<D> {
    dial: D,
    /// Who answers those that do not speak HTTP/2; `None`: all are handed on.
    calls: Option<Router>,
    stop: watch::Receiver<bool>,
}

impl Bound {
    /// Hands each connection on to what `dial` connects to, `most` of them at once (further ones
    /// wait), until `stop` turns true, which ends them. With `calls`, connections that do not begin
    /// as those of HTTP/2 do have their requests answered there. TLS is for the two ends to speak.
    pub async fn hand_on<S, F>(
        self,
        dial: impl Fn() -> F + Clone + Send + Sync + 'static,
        calls: Option<Router>,
        most: usize,
        stop: watch::Receiver<bool>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Result<S>> + Send + 'static,
    {
        let told = stop.clone();
        let serve = move |stream| {
            let (dial, calls, stop) = (dial.clone(), calls.clone(), told.clone());
            let way = Way { dial, calls, stop };
            async move {
                match stream {
                    Stream::Unix(client) => {
                        let peer = Peer(host::process::peer(client.as_fd()).ok());
                        way.serve(client, peer).await;
                    }
                    Stream::Tcp(client) => way.serve(client, Peer(None)).await,
                }
            }
        };
        self.each(most, serve, stop).await;
    }
}

impl<S, F, D> Way<D>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Result<S>>,
    D: Fn() -> F,
{
    async fn serve(self, client: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        let Self { dial, calls, mut stop } = self;
        let Some(calls) = calls else { return splice(client, dial, stop).await };
        let mut begun = Vec::new();
        let (mut read, write) = split(client);
        let begins = tokio::time::timeout(HEAD, begins_as_http2(&mut read, &mut begun));
        let is_http2 = tokio::select! {
            begins = begins => begins,
            () = stopped(&mut stop) => return,
        };
        let client = join(Cursor::new(begun).chain(read), write);
        match is_http2 {
            Ok(Ok(true)) => splice(client, dial, stop).await,
            Ok(Ok(false)) => converse(client, calls, peer, stop).await,
            // It broke off, or has nothing to say.
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

/// Reads into `begun` until it is clear whether a client speaks HTTP/2.
async fn begins_as_http2(
    client: &mut (impl AsyncRead + Unpin),
    begun: &mut Vec<u8>,
) -> std::io::Result<bool> {
    while begun.len() < PREFACE.len() && PREFACE.starts_with(begun) {
        let missing = PREFACE.len() - begun.len();
        if (&mut *client).take(missing as u64).read_buf(begun).await? == 0 {
            break;
        }
    }
    Ok(begun == PREFACE)
}

/// Hands bytes to and fro until both ends have said all, one breaks off, or `stop` turns true.
async fn splice<S, F>(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    dial: impl Fn() -> F,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Result<S>>,
{
    let talk = async {
        let mut server = match dial().await {
            Ok(server) => server,
            Err(error) => {
                tracing::warn!(error = %error.chain(), "a connection is not handed on");
                return;
            }
        };
        if let Err(error) = copy_bidirectional(&mut client, &mut server).await {
            tracing::debug!(%error, "connection ended early");
        }
    };
    tokio::select! {
        () = talk => {}
        () = stopped(&mut stop) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::{Inherited, Listen};
    use std::path::{Path, PathBuf};
    use std::time::Duration;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{UnixListener, UnixStream};
    use tokio::task::JoinHandle;

    /// A server that says what it hears, and the socket that hands on to it.
    struct Desk {
        _dir: tempfile::TempDir,
        path: PathBuf,
        stop: watch::Sender<bool>,
        served: JoinHandle<()>,
    }

    impl Desk {
        async fn new(calls: Option<Router>, most: usize) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (path, behind) = (dir.path().join("front"), dir.path().join("behind"));
            let listener = UnixListener::bind(&behind).unwrap();
            tokio::spawn(async move {
                while let Ok((mut client, _)) = listener.accept().await {
                    tokio::spawn(async move {
                        let (mut read, mut write) = client.split();
                        let _ = tokio::io::copy(&mut read, &mut write).await;
                    });
                }
            });
            let at = Listen::Unix(path.clone());
            let bound = Bound::bind(&at, None, &mut Inherited::default()).await.unwrap();
            let (stop, stopped) = watch::channel(false);
            let dial = move || {
                let behind = behind.clone();
                async move { connect(&behind).await }
            };
            let served = tokio::spawn(bound.hand_on(dial, calls, most, stopped));
            Self { _dir: dir, path, stop, served }
        }

        async fn client(&self) -> UnixStream {
            UnixStream::connect(&self.path).await.unwrap()
        }
    }

    async fn connect(path: &Path) -> Result<UnixStream> {
        UnixStream::connect(path).await.map_err(|error| error::Error::io("connect", error))
    }

    fn calls() -> Option<Router> {
        Some(Router::new().fallback(|| async { "answered" }))
    }

    async fn echo(client: &mut UnixStream, text: &[u8]) {
        client.write_all(text).await.unwrap();
        let mut heard = vec![0; text.len()];
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, text);
    }

    async fn rest(client: &mut UnixStream) -> Vec<u8> {
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        rest
    }

    #[tokio::test]
    async fn whatever_is_said_is_handed_on_to_its_end() {
        let desk = Desk::new(None, 1).await;
        for _ in 0..2 {
            let mut client = desk.client().await;
            echo(&mut client, b"POST / HTTP/1.1\r\n\r\n").await;
            client.write_all(b"last").await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(rest(&mut client).await, b"last", "what is still under way arrives");
        }
    }

    #[tokio::test]
    async fn a_client_is_told_by_how_it_begins_however_slowly() {
        let desk = Desk::new(calls(), 8).await;
        let mut grpc = desk.client().await;
        for byte in PREFACE {
            grpc.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut heard = vec![0; PREFACE.len()];
        grpc.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, PREFACE);
        echo(&mut grpc, b"and more").await;
        for begin in ["GET / HTTP/1.1\r\n", "PROPFIND / HTTP/1.1\r\n"] {
            let mut other = desk.client().await;
            let request = format!("{begin}Host: x\r\nConnection: close\r\n\r\n");
            other.write_all(request.as_bytes()).await.unwrap();
            let answer = String::from_utf8(rest(&mut other).await).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("answered"), "{answer}");
        }
        drop(desk.client().await);
        echo(&mut grpc, b"still").await;
    }

    #[tokio::test]
    async fn further_connections_wait_for_room() {
        let desk = Desk::new(None, 2).await;
        let (mut one, mut two) = (desk.client().await, desk.client().await);
        echo(&mut one, b"1").await;
        echo(&mut two, b"2").await;
        let mut third = desk.client().await;
        third.write_all(b"3").await.unwrap();
        let mut heard = [0];
        let early = tokio::time::timeout(Duration::from_millis(200), third.read_exact(&mut heard));
        assert!(early.await.is_err(), "it waits");
        drop(one);
        third.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, *b"3");
    }

    #[tokio::test]
    async fn the_end_of_the_socket_ends_what_goes_through_it() {
        for calls in [None, calls()] {
            let desk = Desk::new(calls, 8).await;
            let (mut open, mut silent) = (desk.client().await, desk.client().await);
            echo(&mut open, PREFACE).await;
            desk.stop.send(true).unwrap();
            desk.served.await.unwrap();
            assert_eq!((rest(&mut open).await, rest(&mut silent).await), (vec![], vec![]));
            assert!(!desk.path.exists());
        }
    }
}
