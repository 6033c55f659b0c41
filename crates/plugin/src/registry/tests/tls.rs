//! Certificates that are trusted, and those that are not.

use super::*;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Makes a self-signed certificate for `name`, valid for so many days from now, and its key.
fn certificate(dir: &Path, name: &str, days: &str) -> TlsAcceptor {
    let openssl = |args: &[&str]| {
        let args: Vec<_> =
            args.iter().map(|arg| arg.replace("DIR", dir.to_str().unwrap())).collect();
        host::command::run_ok("openssl", &args, host::command::DEADLINE).unwrap();
    };
    let (key, cert) = (dir.join("key.pem"), dir.join("cert.pem"));
    let name = format!("subjectAltName={name}");
    let ask = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let more =
        ["-keyout", "DIR/key.pem", "-out", "DIR/csr.pem", "-subj", "/CN=registry", "-addext"];
    openssl(&[&ask[..], &more, &[&name]].concat());
    let sign = ["x509", "-req", "-in", "DIR/csr.pem", "-signkey", "DIR/key.pem", "-days", days];
    openssl(&[&sign[..], &["-copy_extensions", "copy", "-out", "DIR/cert.pem"]].concat());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(&cert).unwrap()],
            PrivateKeyDer::from_pem_file(&key).unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

const OWN: (&str, &str) = ("IP:127.0.0.1", "9");
const STRICT: Tuning = Tuning { lenient_loopback: false, ..QUICK };

async fn over_tls(
    (name, days): (&str, &str),
    options: impl Fn(&Path, &str) -> Options,
    tuning: Tuning,
) -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let content = Content::new(10);
    let tls = certificate(dir.path(), name, days);
    let fake = Fake::with_tls(tls, move |asked| content.serve(asked)).await;
    let options = options(&dir.path().join("cert.pem"), &fake.host);
    let registry = Registry::tuned(options, tuning)?;
    let store = Store::open(&dir.path().join("blobs"))?;
    registry.resolve(&fake.reference("me/probe"), &Auth::Anonymous, &store).await.map(drop)
}

fn plain(_: &Path, _: &str) -> Options {
    Options::default()
}

fn trusting(cert: &Path, _: &str) -> Options {
    Options { certificates: Some(cert.to_owned()), ..Options::default() }
}

#[tokio::test]
async fn a_self_signed_certificate_is_refused_with_the_way_out() {
    let error = over_tls(OWN, plain, STRICT).await.unwrap_err();
    assert_eq!(error.kind(), error::Kind::FailedPrecondition);
    assert!(error.message().contains("not trusted"), "{error}");
    assert!(error.message().contains("certificates file"), "{error}");
}

#[tokio::test]
async fn a_certificate_of_the_operators_file_is_trusted() {
    over_tls(OWN, trusting, STRICT).await.unwrap();
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let error = over_tls(("DNS:other.example", "9"), trusting, STRICT).await.unwrap_err();
    assert!(error.message().contains("is for another name"), "{error}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_although_its_authority_is_trusted() {
    let error = over_tls(("IP:127.0.0.1", "-1"), trusting, STRICT).await.unwrap_err();
    assert!(error.message().contains("has expired"), "{error}");
}

#[tokio::test]
async fn listed_and_loopback_registries_may_have_any_certificate() {
    let listed =
        |_: &Path, host: &str| Options { insecure: vec![host.to_owned()], ..Options::default() };
    over_tls(OWN, listed, STRICT).await.unwrap();
    over_tls(OWN, plain, QUICK).await.unwrap();
}

#[tokio::test]
async fn without_leave_there_is_no_fall_back_to_plain_http() {
    let fake = Fake::serving(&Content::new(10)).await;
    let desk = Desk::tuned(Tuning { attempts: 1, ..STRICT });
    assert!(desk.resolve(&fake.reference("me/probe")).await.is_err());
    assert!(fake.asked().is_empty());
}

#[test]
fn a_certificates_file_without_certificates_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, "nothing").unwrap();
    assert!(Registry::new(trusting(&file, "")).is_err());
}
