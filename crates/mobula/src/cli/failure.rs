//! How a command fails: one error or, where it went on, several; and what was done nevertheless.

use crate::cli::terminal::note;
use error::{Error, Kind};
use serde_json::{Value, json};
use std::process::ExitCode;

/// What a command ends with: its exit code, or a failure.
pub(crate) type Outcome = std::result::Result<ExitCode, Failure>;

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    errors: Vec<Error>,
    done: Vec<Value>,
}

impl Failure {
    /// A failure by `errors`, at least one, after the rows of `done`.
    pub(crate) fn new(errors: Vec<Error>, done: Vec<Value>) -> Self {
        Self { errors, done }
    }

    /// The exit code of the first error.
    pub(crate) fn exit_code(&self) -> u8 {
        self.errors.first().map_or(Kind::Internal, Error::kind).exit_code()
    }

    /// Writes every error to standard error.
    pub(crate) fn tell(&self) {
        for error in &self.errors {
            note(&error.chain());
        }
    }

    /// `{"error": …}`; `errors` when there are several, `done` when something was done.
    pub(crate) fn to_json(&self) -> Value {
        let errors: Vec<Value> = self.errors.iter().map(error_json).collect();
        let mut object = json!({ "error": errors.first() });
        if errors.len() > 1 {
            object["errors"] = errors.into();
        }
        if !self.done.is_empty() {
            object["done"] = self.done.clone().into();
        }
        object
    }
}

fn error_json(error: &Error) -> Value {
    json!({ "kind": error.kind().name(), "message": error.chain() })
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(vec![error], Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_decides_the_exit_code() {
        let errors = vec![Error::not_found("no a"), Error::internal("broken")];
        assert_eq!(Failure::new(errors, Vec::new()).exit_code(), 3);
    }

    #[test]
    fn json_tells_what_was_done_before() {
        let failure = Failure::new(vec![Error::not_found("no b")], vec![json!({"name": "a"})]);
        let expected = json!({
            "error": {"kind": "not_found", "message": "no b"},
            "done": [{"name": "a"}],
        });
        assert_eq!(failure.to_json(), expected);
    }
}
