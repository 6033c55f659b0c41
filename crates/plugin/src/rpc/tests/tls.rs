//! TLS, with certificates that openssl makes.

use super::super::*;
use error::Kind;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

const LONG: Duration = Duration::from_secs(60);
const CURVE: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

fn openssl(dir: &Path, args: &str) {
    let dir = dir.to_str().unwrap();
    let args: Vec<String> = args.split(' ').map(|word| word.replace('@', dir)).collect();
    host::command::run_ok("openssl", &args, LONG).unwrap();
}

/// Two authorities; a certificate for 127.0.0.1 and one for a client, of the first.
fn certificates() -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    for ca in ["ca", "other"] {
        let args = format!("-keyout @/{ca}.key -out @/{ca}.pem -days 2 -subj /CN={ca}");
        openssl(dir, &format!("req -x509 {CURVE} {args}"));
    }
    std::fs::write(dir.join("server.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    std::fs::write(dir.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    for who in ["server", "client"] {
        let args = format!("-keyout @/{who}.key -out @/{who}.csr -subj /CN={who}");
        openssl(dir, &format!("req {CURVE} {args}"));
        let args = format!("-in @/{who}.csr -extfile @/{who}.ext -out @/{who}.pem");
        let signed = "-CA @/ca.pem -CAkey @/ca.key -CAcreateserial -days 2";
        openssl(dir, &format!("x509 -req {signed} {args}"));
    }
    temp
}

fn certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

fn acceptor(dir: &Path) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate(&dir.join("ca.pem"))).unwrap();
    let roots = Arc::new(roots);
    let clients = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(
            vec![certificate(&dir.join("server.pem"))],
            PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(stream).await else { continue };
        let mut request = [0; 1024];
        if stream.read(&mut request).await.is_ok_and(|length| length > 0) {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"safe\":true}";
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    }
}

#[tokio::test]
async fn tls_is_with_whom_the_specification_trusts_and_shows_its_certificate() {
    let dir = certificates();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut server = JoinSet::new();
    server.spawn(serve(listener, acceptor(dir.path())));
    let file = |name: &str| Some(dir.path().join(name));
    let known = TlsFiles {
        insecure: false,
        ca: file("ca.pem"),
        certificate: file("client.pem"),
        key: file("client.key"),
    };
    let stranger = TlsFiles { certificate: None, key: None, ..known.clone() };
    for (tls, expected) in [
        (known.clone(), None),
        (TlsFiles { insecure: true, ca: None, ..known.clone() }, None),
        (TlsFiles { ca: file("other.pem"), ..known.clone() }, Some(Kind::FailedPrecondition)),
        (TlsFiles { ca: file("missing.pem"), ..known.clone() }, Some(Kind::FailedPrecondition)),
        (TlsFiles { key: None, ..known.clone() }, Some(Kind::InvalidArgument)),
        (stranger, Some(Kind::Unavailable)),
    ] {
        let client = Client { address: Address::Tls { address: address.clone(), tls } };
        match (client.call("Test.Echo", &json!({}), LONG).await, expected) {
            (Ok(answer), None) => assert_eq!(answer, json!({ "safe": true })),
            (Err(error), Some(kind)) => assert_eq!(error.kind(), kind, "{error}"),
            (other, expected) => panic!("{other:?} instead of {expected:?}"),
        }
    }
}
