//! What `.spec` and `.json` files say. Pure.

use crate::rpc::fields;
use crate::rpc::{Address, TlsFiles};
use error::{Error, Result};
use serde_json::Value;
use std::path::PathBuf;

/// Reads a `.spec`: one URL. Nothing in it can say whom to trust, so `https` trusts anybody.
pub(super) fn parse_spec(text: &str) -> Result<Address> {
    parse_url(text.trim(), TlsFiles { insecure: true, ..TlsFiles::default() })
}

/// Reads a `.json`: `Addr` and `TLSConfig`; its `Name` does not count, the file's does.
pub(super) fn parse_json(text: &str) -> Result<Address> {
    let spec: Value = serde_json::from_str(text)
        .map_err(|source| Error::invalid_argument("it is no JSON").because(source))?;
    parse_url(fields::text(&spec, "Addr"), parse_tls(fields::get(&spec, "TLSConfig")))
}

fn parse_tls(config: Option<&Value>) -> TlsFiles {
    let Some(config) = config else { return TlsFiles::default() };
    let path = |key| Some(fields::text(config, key)).filter(|p| !p.is_empty()).map(PathBuf::from);
    let ca = path("CAFile");
    let skip = fields::get(config, "InsecureSkipVerify").and_then(Value::as_bool);
    TlsFiles {
        insecure: skip.unwrap_or(false) || ca.is_none(),
        ca,
        certificate: path("CertFile"),
        key: path("KeyFile"),
    }
}

fn parse_url(url: &str, tls: TlsFiles) -> Result<Address> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(Error::invalid_argument(format!(
            "unknown protocol in {url:?}; write unix://, tcp://, http:// or https:// and an address"
        )));
    };
    // Methods are paths of their own; what follows the host has no meaning.
    let authority = || match rest.split('/').next() {
        Some(authority) if !authority.is_empty() => Ok(authority.to_owned()),
        _ => Err(Error::invalid_argument(format!("{url:?} has no host"))),
    };
    match scheme.to_ascii_lowercase().as_str() {
        "unix" if rest.starts_with('/') => Ok(Address::Unix(PathBuf::from(rest))),
        "unix" => Err(Error::invalid_argument(format!(
            "{url:?} has no absolute path; write unix:///run/name.sock"
        ))),
        "tcp" | "http" => Ok(Address::Tcp(authority()?)),
        "https" => Ok(Address::Tls { address: authority()?, tls }),
        other => Err(Error::invalid_argument(format!(
            "unknown protocol {other:?}; a plugin is reached by unix, tcp, http or https"
        ))),
    }
}
