//! Listeners and the servers behind them: UNIX sockets, TCP, TLS; handed over by the service manager
//! or made here. A socket appears with its final mode, and takes the place of a stale one only.

mod hand_on;

use crate::config::Tls;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use error::{Error, IoContext, Result};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// How long a client may take to send the head of a request.
const HEAD: Duration = Duration::from_secs(30);
/// How long a client may take to agree on keys.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long to wait when the process is out of file descriptors.
const BREATHER: Duration = Duration::from_millis(100);
/// `sun_path` of sockaddr_un, less its final zero (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// An address to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A UNIX socket.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(SocketAddr),
}

impl Listen {
    /// Reads `unix:///path` or `tcp://127.0.0.1:port`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Error::invalid_argument(format!(
                "\"{}\" is not an address to listen at; give unix:///PATH or tcp://IP:PORT",
                text.escape_debug()
            ))
        };
        match text.split_once("://").ok_or_else(wrong)? {
            ("unix", path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            ("tcp", address) => address.parse().map(Self::Tcp).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// A listener that is bound; clients may connect already.
pub struct Bound {
    /// Where, with the port that was really taken.
    pub at: Listen,
    acceptor: Acceptor,
    tls: Option<TlsAcceptor>,
}

enum Acceptor {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// The process at the other end of a UNIX socket; `None` over TCP.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub Option<i32>);

impl Bound {
    /// Binds `at`, unless the service manager handed that very address over.
    pub async fn bind(at: &Listen, tls: Option<&Tls>, inherited: &mut Inherited) -> Result<Self> {
        let tls = tls.map(acceptor).transpose()?;
        if let Some(acceptor) = inherited.take(at) {
            return Ok(Self { at: at.clone(), acceptor, tls });
        }
        let (at, acceptor) = match at {
            Listen::Unix(path) => (at.clone(), Acceptor::Unix(bind_unix(path)?)),
            Listen::Tcp(address) => {
                let listener =
                    TcpListener::bind(address).await.doing(|| format!("listen at {at}"))?;
                let address = listener.local_addr().doing(|| format!("listen at {at}"))?;
                (Listen::Tcp(address), Acceptor::Tcp(listener))
            }
        };
        Ok(Self { at, acceptor, tls })
    }

    /// Serves `router` until `stop` turns true, then finishes the requests under way.
    pub async fn serve(self, router: Router, stop: watch::Receiver<bool>) {
        let (tls, told) = (self.tls.clone(), stop.clone());
        let serve = move |stream: Stream| stream.serve(router.clone(), tls.clone(), told.clone());
        self.each(Semaphore::MAX_PERMITS, serve, stop).await;
    }

    /// Has each connection served, at most so many at once, until `stop` turns true; then waits for
    /// the end of those there are.
    async fn each<F: Future<Output = ()> + Send + 'static>(
        self,
        most: usize,
        serve: impl Fn(Stream) -> F,
        mut stop: watch::Receiver<bool>,
    ) {
        let (connections, room) = (Arc::new(()), Arc::new(Semaphore::new(most)));
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&room) => accepted,
                () = stopped(&mut stop) => break,
            };
            match accepted {
                Ok((stream, place)) => {
                    let (serving, open) = (serve(stream), Arc::clone(&connections));
                    tokio::spawn(async move {
                        serving.await;
                        drop((open, place));
                    });
                }
                Err(error) => {
                    tracing::warn!(at = %self.at, %error, "cannot accept; trying again");
                    tokio::time::sleep(BREATHER).await;
                }
            }
        }
        drop(self.acceptor);
        if let Listen::Unix(path) = &self.at {
            // Ours, unless a successor has put its own there; then it is not a stale one.
            if is_stale(path) {
                let _ = std::fs::remove_file(path);
            }
        }
        while Arc::strong_count(&connections) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Bound {
    /// The next connection, once there is room for it.
    async fn accept(
        &self,
        room: &Arc<Semaphore>,
    ) -> std::io::Result<(Stream, OwnedSemaphorePermit)> {
        let place = Arc::clone(room).acquire_owned().await.map_err(std::io::Error::other)?;
        Ok((self.acceptor.accept().await?, place))
    }
}

/// Waits until the server is told to stop, or whoever could tell is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Acceptor {
    async fn accept(&self) -> std::io::Result<Stream> {
        match self {
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| Stream::Tcp(stream)),
        }
    }
}

impl Stream {
    async fn serve(self, router: Router, tls: Option<TlsAcceptor>, stop: watch::Receiver<bool>) {
        match (self, tls) {
            (Self::Unix(stream), _) => {
                let peer = Peer(host::process::peer(stream.as_fd()).ok());
                converse(stream, router, peer, stop).await;
            }
            (Self::Tcp(stream), None) => converse(stream, router, Peer(None), stop).await,
            (Self::Tcp(stream), Some(tls)) => {
                match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => converse(stream, router, Peer(None), stop).await,
                    Ok(Err(error)) => tracing::info!(%error, "TLS client refused"),
                    Err(_) => tracing::info!("TLS client gave up"),
                }
            }
        }
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    peer: Peer,
    mut stop: watch::Receiver<bool>,
) {
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

fn bind_unix(path: &Path) -> Result<UnixListener> {
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(Error::invalid_argument(format!(
            "socket path {} is longer than {MAX_SOCKET_PATH} bytes (unix(7)); choose a shorter one",
            path.display()
        )));
    }
    if let Some(dir) = path.parent() {
        host::file::make_dir(dir, 0o755)?;
    }
    match path.symlink_metadata() {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(Error::failed_precondition(format!(
                "{} is there and is no socket; remove it, or listen elsewhere",
                path.display()
            )));
        }
        Ok(_) if is_stale(path) => {
            std::fs::remove_file(path).doing(|| format!("remove stale {}", path.display()))?;
        }
        Ok(_) => {
            return Err(Error::failed_precondition(format!(
                "another process listens at {}; stop it, or listen elsewhere",
                path.display()
            )));
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).doing(|| format!("listen at {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))
        .doing(|| format!("set the mode of {}", path.display()))?;
    Ok(listener)
}

/// Whether nobody listens at this socket any more.
fn is_stale(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// Listeners that the service manager opened (sd_listen_fds(3)).
#[derive(Default)]
pub struct Inherited {
    unix: Vec<std::os::unix::net::UnixListener>,
    tcp: Vec<std::net::TcpListener>,
}

impl Inherited {
    /// Takes over what the environment tells of. Only once per process.
    pub fn from_env() -> Self {
        let mut handed = listenfd::ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..handed.len() {
            if let Ok(Some(listener)) = handed.take_unix_listener(index) {
                inherited.unix.push(listener);
            } else if let Ok(Some(listener)) = handed.take_tcp_listener(index) {
                inherited.tcp.push(listener);
            }
        }
        inherited
    }

    fn take(&mut self, at: &Listen) -> Option<Acceptor> {
        match at {
            Listen::Unix(path) => {
                let found = self.unix.iter().position(|listener| {
                    let address = listener.local_addr().ok();
                    address.as_ref().and_then(|address| address.as_pathname()) == Some(path)
                })?;
                let listener = self.unix.swap_remove(found);
                listener.set_nonblocking(true).ok()?;
                UnixListener::from_std(listener).ok().map(Acceptor::Unix)
            }
            Listen::Tcp(wanted) => {
                let found = self.tcp.iter().position(|listener| {
                    listener.local_addr().is_ok_and(|address| address == *wanted)
                })?;
                let listener = self.tcp.swap_remove(found);
                listener.set_nonblocking(true).ok()?;
                TcpListener::from_std(listener).ok().map(Acceptor::Tcp)
            }
        }
    }
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::server::WebPkiClientVerifier;

    let unusable = |what: &str, path: &Path, why: String| {
        Error::invalid_argument(format!("{what} {} cannot be used: {why}", path.display()))
    };
    let certificates = |path: &Path| -> Result<Vec<CertificateDer<'static>>> {
        CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| unusable("certificate", path, error.to_string()))
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| unusable("key", &tls.key, error.to_string()))?;
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("set up TLS").because(error))?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| unusable("certificate", path, error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| unusable("certificate", path, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder
        .with_single_cert(certificates(&tls.cert)?, key)
        .map_err(|error| unusable("certificate", &tls.cert, error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_alike() {
        for text in ["unix:///run/x.sock", "tcp://127.0.0.1:7979", "tcp://[::1]:1"] {
            assert_eq!(Listen::parse(text).unwrap().to_string(), text);
        }
        for text in
            ["", "x", "unix://rel", "tcp://localhost:1", "http://127.0.0.1:1", "tcp://1.2.3.4"]
        {
            assert!(Listen::parse(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn only_a_stale_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        drop(bind_unix(&path).unwrap());
        assert!(path.exists(), "left as by a killed process");
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o660);
        let _listening = bind_unix(&path).expect("takes the place of the stale one");
        let error = bind_unix(&path).expect_err("somebody listens");
        assert!(error.message().contains("another process listens"), "{error}");
    }

    #[tokio::test]
    async fn a_path_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "kept").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link, &dir.path().to_path_buf()] {
            let error = bind_unix(path).expect_err("no socket");
            assert!(error.message().contains("is no socket"), "{error}");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
        let long = dir.path().join("x".repeat(120));
        assert!(bind_unix(&long).expect_err("long").message().contains("107"));
    }
}
