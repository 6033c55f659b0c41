//! What the API says instead of doing what was asked for: AWS's codes with AWS's HTTP statuses
//! (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>).

use std::fmt::Display;

/// An error of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Refusal {
    /// A refusal with this status.
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    /// The caller's fault, 400.
    pub(crate) fn client(code: &str, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    /// `InvalidParameterValue`.
    pub(crate) fn value(message: impl Into<String>) -> Self {
        Self::client("InvalidParameterValue", message)
    }

    /// `InvalidParameterValue` for one parameter.
    pub(crate) fn parameter(name: &str, value: impl Display, why: &str) -> Self {
        Self::value(format!("Value ({value}) for parameter {name} is invalid. {why}"))
    }

    /// `InvalidParameterCombination`.
    pub(crate) fn combination(message: impl Into<String>) -> Self {
        Self::client("InvalidParameterCombination", message)
    }

    /// `MissingParameter`.
    pub(crate) fn missing(name: &str) -> Self {
        Self::client("MissingParameter", format!("The request must contain the parameter {name}"))
    }

    /// The simulator itself failed: 500.
    pub(crate) fn internal(error: &error::Error) -> Self {
        tracing::error!(%error, "the simulator cannot do what was asked for");
        Self::new(500, "InternalError", format!("The simulator failed: {error}"))
    }
}

/// The answer of a call, or why not.
pub(crate) type Answered<T> = Result<T, Refusal>;
