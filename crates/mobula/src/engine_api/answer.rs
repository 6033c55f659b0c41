//! Answers: JSON as Docker's client wants it, and errors with Docker's statuses.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use error::{Error, Kind};
use serde::Serialize;
use serde_json::{Value, json};

/// The answer of a handler.
pub(super) type Answer = Result<Response, Failed>;

/// The key under which an error's context has the privileges that were not granted, as JSON.
const PRIVILEGES: &str = "privileges";

/// An error on its way to the client. Logged here, where its journey ends.
#[derive(Debug)]
pub(super) struct Failed {
    status: StatusCode,
    error: Error,
}

impl Failed {
    /// An error with a status of its own.
    pub(super) fn new(status: StatusCode, error: Error) -> Self {
        Self { status, error }
    }

    /// The same with `status` if its kind is among `kinds`.
    pub(super) fn answering(self, status: StatusCode, kinds: &[Kind]) -> Self {
        if kinds.contains(&self.error.kind()) { Self { status, ..self } } else { self }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { status: status(error.kind()), error }
    }
}

/// dockerd's status for a kind. It has none of 504, 507 and, for what it cannot do, 501: there it
/// says 500, and its clients treat them alike.
fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::InvalidArgument | Kind::OutOfRange => StatusCode::BAD_REQUEST,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::AlreadyExists | Kind::FailedPrecondition | Kind::Aborted => StatusCode::CONFLICT,
        Kind::ResourceExhausted => StatusCode::INSUFFICIENT_STORAGE,
        Kind::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        // Docker's command line takes 401 for an invitation to log in, and waits for ever for one
        // who is not there.
        Kind::Unauthenticated => StatusCode::FORBIDDEN,
        Kind::PermissionDenied => StatusCode::FORBIDDEN,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let Self { status, error } = self;
        log(&error);
        let mut body = json!({ "message": error.chain() });
        if let Some((_, text)) = error.context().iter().find(|(key, _)| *key == PRIVILEGES) {
            body[PRIVILEGES] = serde_json::from_str(text).unwrap_or(Value::Null);
        }
        json_with(status, &body)
    }
}

/// Logs an error that a client gets.
pub(super) fn log(error: &Error) {
    if matches!(error.kind(), Kind::Internal | Kind::Unavailable | Kind::DeadlineExceeded) {
        tracing::error!(?error, "request failed");
    } else {
        tracing::debug!(?error, "request refused");
    }
}

/// 200 with this JSON.
pub(super) fn json_of(value: &impl Serialize) -> Response {
    json_with(StatusCode::OK, value)
}

/// This JSON on a line of its own; the media type without parameters, since Docker's client
/// compares the whole of it.
pub(super) fn json_with(status: StatusCode, value: &impl Serialize) -> Response {
    match line(value) {
        Some(text) => typed(status, "application/json", text),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A value as one line; `None` when it has no JSON.
pub(super) fn line(value: &impl Serialize) -> Option<Vec<u8>> {
    let mut text = serde_json::to_vec(value).ok()?;
    text.push(b'\n');
    Some(text)
}

/// A body of this media type.
pub(super) fn typed(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static(kind))], body.into()).into_response()
}

/// 200 and nothing else.
pub(super) fn done() -> Response {
    StatusCode::OK.into_response()
}

/// 204.
pub(super) fn nothing() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_dockers() {
        for (kind, code) in [
            (Kind::NotFound, 404),
            (Kind::AlreadyExists, 409),
            (Kind::FailedPrecondition, 409),
            (Kind::Aborted, 409),
            (Kind::InvalidArgument, 400),
            (Kind::Unauthenticated, 403),
            (Kind::PermissionDenied, 403),
            (Kind::Internal, 500),
        ] {
            assert_eq!(status(kind).as_u16(), code, "{kind:?}");
        }
        assert!(Kind::ALL.into_iter().all(|kind| status(kind).as_u16() >= 400));
    }

    #[test]
    fn html_is_not_escaped_and_the_line_ends() {
        let text = line(&json!({ "message": "a <b> & c" })).unwrap();
        assert_eq!(text, b"{\"message\":\"a <b> & c\"}\n");
    }
}
