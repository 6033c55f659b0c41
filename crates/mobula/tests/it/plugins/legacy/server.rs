//! Legacy plugins: the probe of crate `testkit` as an ordinary process, and a port in front of it.

use crate::engine::fixture::ok;
use crate::fixture::{Home, PATIENCE, call, eventually};
use crate::plugins::image;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// A plugin that nobody manages; ends when dropped, and leaves its socket behind.
pub struct Legacy {
    child: Child,
    pub socket: PathBuf,
}

impl Legacy {
    /// One that listens at `socket`.
    pub fn start(home: &Home, name: &str, socket: &Path) -> Self {
        let root = home.path(&format!("legacy-{name}"));
        std::fs::create_dir_all(&root).unwrap();
        let mut command = Command::new(image::program(home));
        command.env("PROBE_SOCKET", socket).env("PROBE_ROOT", root);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let plugin = Self { child: command.spawn().unwrap(), socket: socket.to_owned() };
        eventually("the plugin listens", PATIENCE, || UnixStream::connect(socket).is_ok());
        plugin
    }

    /// One that listens where Docker looks for it.
    pub fn in_docker(home: &Home, name: &str) -> Self {
        Self::start(home, name, &home.path(&format!("run/docker/plugins/{name}.sock")))
    }

    /// A call of Docker's protocol, which must succeed.
    pub fn call(&self, method: &str, body: &Value) -> Value {
        let path = format!("/VolumeDriver.{method}");
        let (status, answer) = call(&self.socket, &path, &body.to_string());
        assert_eq!(status, 200, "{method} {body}: {answer}");
        answer
    }

    /// How often each method was called.
    pub fn calls(&self) -> serde_json::Map<String, Value> {
        let (_, calls) = crate::fixture::request(&self.socket, "GET", "/calls", "");
        calls["counts"].as_object().unwrap().clone()
    }

    pub fn count(&self, method: &str) -> u64 {
        self.calls().get(method).and_then(Value::as_u64).unwrap_or(0)
    }
}

impl Drop for Legacy {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// A port of this machine that leads to a UNIX socket.
pub struct Relay {
    pub address: String,
    certificates: PathBuf,
    _runtime: Runtime,
}

impl Relay {
    pub fn plain(socket: &Path) -> Self {
        Self::start(socket, None, PathBuf::new())
    }

    /// With TLS, for clients that show a certificate.
    pub fn tls(home: &Home, socket: &Path) -> Self {
        let dir = home.path("certificates");
        std::fs::create_dir(&dir).unwrap();
        certificates(&dir);
        Self::start(socket, Some(acceptor(&dir)), dir)
    }

    fn start(socket: &Path, acceptor: Option<TlsAcceptor>, certificates: PathBuf) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        runtime.spawn(serve(listener, acceptor, socket.to_owned()));
        Self { address, certificates, _runtime: runtime }
    }

    /// What a `.json` file of the plugin says.
    pub fn json(&self) -> Value {
        let file = |name: &str| self.certificates.join(name);
        json!({
            "Name": "another name counts for nothing",
            "Addr": format!("https://{}", self.address),
            "TLSConfig": {
                "InsecureSkipVerify": false,
                "CAFile": file("ca.pem"),
                "CertFile": file("client.pem"),
                "KeyFile": file("client.key"),
            },
        })
    }
}

async fn serve(listener: TcpListener, acceptor: Option<TlsAcceptor>, socket: PathBuf) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, socket) = (acceptor.clone(), socket.clone());
        tokio::spawn(async move {
            match acceptor {
                None => relay(stream, &socket).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        relay(stream, &socket).await;
                    }
                }
            }
        });
    }
}

async fn relay(mut stream: impl AsyncRead + AsyncWrite + Unpin, socket: &Path) {
    if let Ok(mut plugin) = tokio::net::UnixStream::connect(socket).await {
        let _ = copy_bidirectional(&mut stream, &mut plugin).await;
    }
}

/// An authority, and certificates of it for 127.0.0.1 and for a client.
fn certificates(dir: &Path) {
    let openssl = |args: &str| {
        let words = args.split(' ').map(|word| word.replace('@', dir.to_str().unwrap()));
        ok(Command::new("openssl").args(words).stdin(Stdio::null()));
    };
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req -x509 {curve} -keyout @/ca.key -out @/ca.pem -days 2 -subj /CN=ca"));
    std::fs::write(dir.join("server.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    std::fs::write(dir.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    for who in ["server", "client"] {
        openssl(&format!("req {curve} -keyout @/{who}.key -out @/{who}.csr -subj /CN={who}"));
        let signed = "-CA @/ca.pem -CAkey @/ca.key -CAcreateserial -days 2";
        let files = format!("-in @/{who}.csr -extfile @/{who}.ext -out @/{who}.pem");
        openssl(&format!("x509 -req {signed} {files}"));
    }
}

fn acceptor(dir: &Path) -> TlsAcceptor {
    let certificate = |name: &str| CertificateDer::from_pem_file(dir.join(name)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate("ca.pem")).unwrap();
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(
            vec![certificate("server.pem")],
            PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
