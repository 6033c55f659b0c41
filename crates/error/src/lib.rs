//! The one error type of the project, and the one table that maps its kinds to gRPC, HTTP and exit
//! codes. No other crate defines an error enum or a code of its own.

mod kind;

pub use kind::Kind;

use std::error::Error as StdError;
use std::fmt;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong ([`Kind`] and message), where (context pairs) and why (source).
///
/// The message says what, with what, and the way out. Secrets never enter it.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), context: Vec::new(), source: None }))
    }

    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The message alone, without context and causes.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The context pairs, innermost first.
    #[must_use]
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// Adds a context pair; a key that is already there keeps its first, innermost value.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        if !self.0.context.iter().any(|(known, _)| *known == key) {
            self.0.context.push((key, value.to_string()));
        }
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The message followed by every cause, `: ` between them, on one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.0.message.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            let part = error.to_string();
            if !text.ends_with(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            cause = error.source();
        }
        // What strangers wrote, quoted somewhere on the way, must not reach a terminal or end a line.
        if text.chars().any(char::is_control) {
            let escape =
                |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
            text = text.chars().map(escape).collect();
        }
        text
    }

    /// An error made of an I/O failure: the kind is taken from the operating system's code.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::new(Kind::of_io(&source), what).because(source)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.chain())?;
        for (key, value) in &self.0.context {
            write!(f, " {key}={value}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {
        /// One constructor per kind, so that a call site reads as a sentence.
        impl Error {
            $(
                #[doc = concat!("An error of kind [`Kind::", stringify!($kind), "`].")]
                pub fn $name(message: impl Into<String>) -> Self {
                    Self::new(Kind::$kind, message)
                }
            )*
        }
    };
}

constructors! {
    invalid_argument => InvalidArgument,
    out_of_range => OutOfRange,
    not_found => NotFound,
    already_exists => AlreadyExists,
    failed_precondition => FailedPrecondition,
    aborted => Aborted,
    resource_exhausted => ResourceExhausted,
    unimplemented => Unimplemented,
    unauthenticated => Unauthenticated,
    permission_denied => PermissionDenied,
    unavailable => Unavailable,
    deadline_exceeded => DeadlineExceeded,
    internal => Internal,
}

/// Adds what was being done to an I/O error on its way up.
pub trait IoContext<T> {
    /// Turns the I/O error into an [`Error`] that begins with `what()`.
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> IoContext<T> for std::result::Result<T, E> {
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|source| Error::io(what(), source.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_names_every_cause_once() {
        let error = Error::io("write record", std::io::Error::from_raw_os_error(28));
        assert_eq!(error.kind(), Kind::ResourceExhausted);
        assert_eq!(error.chain(), "write record: No space left on device (os error 28)");
    }

    #[test]
    fn the_innermost_context_wins() {
        let error = Error::not_found("gone").with("volume", "a").with("volume", "b");
        assert_eq!(error.context(), [("volume", "a".to_owned())]);
    }
}
