//! Failures of HTTP and TLS, and registries' own error bodies, as errors that say what to do.

use error::{Error, Kind};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use std::error::Error as StdError;

/// Characters of a registry's own words that are passed on.
const LONGEST: usize = 300;

/// `host` or `host:port`: all of an address that may be shown (paths and queries may be signed).
pub(super) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// A failure of the connection.
pub(super) fn of(error: reqwest::Error, url: &Url) -> Error {
    let host = host(url);
    let error = error.without_url();
    if let Some(why) = certificate_problem(&error) {
        return Error::failed_precondition(format!(
            "the certificate of {host} {why}; name its authority in the registries' certificates \
             file, or list {host} as insecure"
        ));
    }
    if error.is_builder() {
        return Error::internal(format!("the request to {host} cannot be made")).because(error);
    }
    let what = if error.is_connect() { "cannot connect to" } else { "the connection broke to" };
    Error::unavailable(format!("{what} {host}")).because(error)
}

fn certificate_problem(error: &reqwest::Error) -> Option<String> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        // An I/O error's source is its content's source, not its content.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let inner = inner.map(|inner| inner as &(dyn StdError + 'static));
        let found = inner.unwrap_or(error).downcast_ref::<rustls::Error>();
        if let Some(rustls::Error::InvalidCertificate(problem)) = found {
            return Some(explain(problem));
        }
        cause = inner.map_or_else(|| error.source(), Some);
    }
    None
}

fn explain(problem: &rustls::CertificateError) -> String {
    use rustls::CertificateError as E;
    match problem {
        E::Expired | E::ExpiredContext { .. } => "has expired".to_owned(),
        E::NotValidYet | E::NotValidYetContext { .. } => {
            "is not valid yet (is the clock right?)".to_owned()
        }
        E::UnknownIssuer => "is signed by an authority that is not trusted".to_owned(),
        E::NotValidForName | E::NotValidForNameContext { .. } => "is for another name".to_owned(),
        E::Revoked => "was revoked".to_owned(),
        other => format!("is not accepted ({other})"),
    }
}

/// What a status other than success means for `what` (`pull docker.io/a/b:c`).
pub(super) fn of_status(what: &str, url: &Url, status: StatusCode, body: &[u8]) -> Error {
    let host = host(url);
    let said = own_words(body);
    let said = if said.is_empty() { status.to_string() } else { format!("{said} ({status})") };
    let way_out = match status.as_u16() {
        401 => "; log in to the registry",
        429 => "; wait, or log in to be allowed more",
        _ => "",
    };
    let kind = match status.as_u16() {
        401 => Kind::Unauthenticated,
        403 => Kind::PermissionDenied,
        404 => Kind::NotFound,
        408 | 429 | 500.. => Kind::Unavailable,
        _ => Kind::FailedPrecondition,
    };
    Error::new(kind, format!("{what}: {host} answers: {said}{way_out}"))
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// A registry's own explanation (distribution-spec, error codes), cleaned of control characters.
fn own_words(body: &[u8]) -> String {
    let Ok(Errors { errors }) = serde_json::from_slice(body) else { return String::new() };
    let words = errors.iter().map(|e| if e.message.is_empty() { &e.code } else { &e.message });
    let text = words.map(String::as_str).collect::<Vec<_>>().join(", ");
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}
