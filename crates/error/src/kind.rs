//! The kinds of failure and their row in each protocol's table. Names and numbers are gRPC's
//! (<https://grpc.io/docs/guides/status-codes/>), since CSI prescribes them.

use serde::{Deserialize, Serialize};

/// Why an operation failed, in the words of gRPC's status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The request is wrong whatever the state of the system.
    InvalidArgument,
    /// The value is outside what is possible here (smaller than now, larger than the back end's limit).
    OutOfRange,
    /// The thing named does not exist.
    NotFound,
    /// The name is taken by something incompatible.
    AlreadyExists,
    /// The system is not in the state that the operation needs.
    FailedPrecondition,
    /// Overtaken by another operation, or a stale token.
    Aborted,
    /// Out of space, devices, quota.
    ResourceExhausted,
    /// This driver or this build cannot do it.
    Unimplemented,
    /// No valid credentials.
    Unauthenticated,
    /// The credentials do not suffice.
    PermissionDenied,
    /// Not reachable now; a retry may succeed.
    Unavailable,
    /// Not done in time; it may still be going on.
    DeadlineExceeded,
    /// A broken invariant or an unexpected failure of the machine.
    Internal,
}

struct Row {
    name: &'static str,
    grpc: i32,
    http: u16,
    exit: u8,
    retry: bool,
}

impl Kind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 13] = [
        Self::InvalidArgument,
        Self::OutOfRange,
        Self::NotFound,
        Self::AlreadyExists,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::ResourceExhausted,
        Self::Unimplemented,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::Unavailable,
        Self::DeadlineExceeded,
        Self::Internal,
    ];

    const fn row(self) -> Row {
        const fn row(name: &'static str, grpc: i32, http: u16, exit: u8, retry: bool) -> Row {
            Row { name, grpc, http, exit, retry }
        }
        match self {
            Self::InvalidArgument => row("invalid_argument", 3, 400, 2, false),
            Self::OutOfRange => row("out_of_range", 11, 422, 2, false),
            Self::NotFound => row("not_found", 5, 404, 3, false),
            Self::AlreadyExists => row("already_exists", 6, 409, 4, false),
            Self::FailedPrecondition => row("failed_precondition", 9, 412, 4, false),
            Self::Aborted => row("aborted", 10, 409, 4, true),
            Self::ResourceExhausted => row("resource_exhausted", 8, 507, 1, false),
            Self::Unimplemented => row("unimplemented", 12, 501, 1, false),
            Self::Unauthenticated => row("unauthenticated", 16, 401, 6, false),
            Self::PermissionDenied => row("permission_denied", 7, 403, 6, false),
            Self::Unavailable => row("unavailable", 14, 503, 1, true),
            Self::DeadlineExceeded => row("deadline_exceeded", 4, 504, 5, true),
            Self::Internal => row("internal", 13, 500, 1, false),
        }
    }

    /// The name used in JSON answers and metrics: `not_found`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// gRPC's status code.
    #[must_use]
    pub const fn grpc(self) -> i32 {
        self.row().grpc
    }

    /// The HTTP status of an answer; never 2xx.
    #[must_use]
    pub const fn http(self) -> u16 {
        self.row().http
    }

    /// The CLI's exit code: 1 failure, 2 usage, 3 not found, 4 conflict, 5 timed out, 6 not permitted.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        self.row().exit
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        self.row().retry
    }

    /// The kind with this [`name`](Self::name).
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind of an I/O error, by the operating system's code (errno(3)), never by its text.
    #[must_use]
    pub fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        match error.kind() {
            Io::NotFound => Self::NotFound,
            Io::PermissionDenied => Self::PermissionDenied,
            Io::AlreadyExists => Self::AlreadyExists,
            Io::StorageFull | Io::QuotaExceeded | Io::OutOfMemory => Self::ResourceExhausted,
            Io::ResourceBusy | Io::DirectoryNotEmpty | Io::ReadOnlyFilesystem => {
                Self::FailedPrecondition
            }
            Io::TimedOut => Self::DeadlineExceeded,
            Io::Interrupted | Io::WouldBlock | Io::ConnectionRefused | Io::ConnectionReset => {
                Self::Unavailable
            }
            Io::InvalidFilename => Self::InvalidArgument,
            // EMFILE, ENFILE: too many open files.
            _ if matches!(error.raw_os_error(), Some(23 | 24)) => Self::ResourceExhausted,
            _ => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn grpc_codes_are_distinct() {
        let codes: HashSet<_> = Kind::ALL.into_iter().map(Kind::grpc).collect();
        assert_eq!(codes.len(), Kind::ALL.len());
    }

    #[test]
    fn no_kind_is_an_http_success() {
        assert!(Kind::ALL.into_iter().all(|kind| kind.http() >= 400));
    }

    #[test]
    fn every_name_finds_its_kind() {
        assert!(Kind::ALL.into_iter().all(|kind| Kind::find(kind.name()) == Some(kind)));
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        assert_eq!(Kind::NotFound.exit_code(), 3);
        assert_eq!(Kind::AlreadyExists.exit_code(), 4);
        assert_eq!(Kind::DeadlineExceeded.exit_code(), 5);
        assert_eq!(Kind::PermissionDenied.exit_code(), 6);
        assert!(Kind::ALL.into_iter().all(|kind| (1..=6).contains(&kind.exit_code())));
    }
}
