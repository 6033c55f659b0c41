//! TLS to a plugin: the certificates of the specification and no others.

use super::TlsFiles;
use error::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// A connector that trusts and shows what `files` say.
pub(super) fn connector(files: &TlsFiles) -> Result<TlsConnector> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|source| Error::internal("set up TLS").because(source))?;
    let builder = match (&files.ca, files.insecure) {
        (_, true) => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        }
        (Some(ca), false) => builder.with_root_certificates(roots(ca)?),
        (None, false) => {
            return Err(Error::failed_precondition(
                "nothing says whom to trust; name a CAFile in the plugin's .json file, or set \
                 InsecureSkipVerify there",
            ));
        }
    };
    let config = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => {
            let unusable = |source| unusable("certificate", certificate, source);
            let own = PrivateKeyDer::from_pem_file(key)
                .map_err(|source| self::unusable("key", key, source))?;
            builder.with_client_auth_cert(certificates(certificate)?, own).map_err(unusable)?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => {
            return Err(Error::invalid_argument(
                "a plugin's TLSConfig needs both CertFile and KeyFile, or neither",
            ));
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The name that the plugin's certificate must have: the host of `host:port`.
pub(super) fn server_name(address: &str) -> Result<ServerName<'static>> {
    let host = match address.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => address,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(host).map_err(|source| {
        Error::invalid_argument(format!("{address} has no host that a certificate could be for"))
            .because(source)
    })
}

fn roots(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|source| unusable("certificate", path, source))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| unusable("certificate", path, source))
}

fn unusable(
    what: &str,
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::failed_precondition(format!("{what} {} cannot be used", path.display())).because(source)
}

/// Believes every certificate, but not that somebody else's is the plugin's own: signatures count.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
