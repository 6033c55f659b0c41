//! What AWS answers when it refuses: its codes become kinds here, by code, never by text.

use error::{Error, Kind};
use serde::Deserialize;

/// An error answer of a Query API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The code, such as `VolumeInUse`.
    pub code: String,
    /// AWS's own words.
    pub message: String,
    /// What to tell AWS's support.
    pub request: String,
}

#[derive(Deserialize)]
struct Response {
    #[serde(rename = "Errors")]
    errors: Option<Errors>,
    /// STS and IAM answer it without a list.
    #[serde(rename = "Error")]
    error: Option<Inner>,
    #[serde(rename = "RequestID", alias = "RequestId")]
    request: Option<String>,
}

#[derive(Deserialize)]
struct Errors {
    #[serde(rename = "Error")]
    error: Inner,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(rename = "Code")]
    code: String,
    #[serde(rename = "Message", default)]
    message: String,
}

/// The context pair that holds the code.
const CODE: &str = "code";

impl Fault {
    /// What the body of an answer with an error status says; an answer that is not AWS's at all (of
    /// a proxy, say) is told by its status.
    pub(super) fn parse(status: u16, body: &str) -> Self {
        let response = quick_xml::de::from_str::<Response>(body).ok();
        let request = response.as_ref().and_then(|r| r.request.clone()).unwrap_or_default();
        let inner = response.and_then(|r| r.errors.map(|errors| errors.error).or(r.error));
        match inner {
            Some(inner) => Self { code: inner.code, message: inner.message, request },
            None => {
                let message = format!("an answer with status {status} that is not AWS's");
                Self { code: format!("Http{status}"), message, request }
            }
        }
    }

    /// Too many calls: none was done, and the same one may be made again later.
    pub(super) fn is_throttling(&self) -> bool {
        matches!(
            self.code.as_str(),
            "RequestLimitExceeded"
                | "Throttling"
                | "ThrottlingException"
                | "ThrottledException"
                | "RequestThrottled"
                | "RequestThrottledException"
                | "TooManyRequestsException"
                | "BandwidthLimitExceeded"
                | "SlowDown"
                | "EC2ThrottledException"
                | "PriorRequestNotComplete"
                | "SnapshotCreationPerVolumeRateExceeded"
        )
    }

    /// AWS's own trouble: the same call may succeed, and may have been done.
    pub(super) fn is_transient(&self) -> bool {
        matches!(
            self.code.as_str(),
            "InternalError"
                | "InternalFailure"
                | "Unavailable"
                | "ServiceUnavailable"
                | "Http500"
                | "Http502"
                | "Http503"
                | "Http504"
        )
    }

    /// The keys have run out, or this machine's clock is wrong.
    pub(super) fn is_stale(&self) -> bool {
        matches!(
            self.code.as_str(),
            "RequestExpired"
                | "ExpiredToken"
                | "ExpiredTokenException"
                | "RequestTimeTooSkewed"
                | "SignatureDoesNotMatch"
                | "AuthFailure"
                | "InvalidClientTokenId"
        )
    }

    /// Its kind, by its code.
    pub(super) fn kind(&self) -> Kind {
        match self.code.as_str() {
            code if code.ends_with(".NotFound") || code.ends_with(".NotFoundException") => {
                Kind::NotFound
            }
            "IncorrectState"
            | "VolumeInUse"
            | "InvalidVolume.ZoneMismatch"
            | "IncorrectInstanceState"
            | "IncorrectModificationState"
            | "InvalidSnapshot.InUse"
            | "VolumeModificationRateExceeded"
            | "InvalidVolume.InUse"
            | "OperationNotPermitted"
            | "InvalidKMSKey.InvalidState"
            | "DependencyViolation" => Kind::FailedPrecondition,
            "AttachmentLimitExceeded"
            | "VolumeLimitExceeded"
            | "MaxIOPSLimitExceeded"
            | "SnapshotLimitExceeded"
            | "ConcurrentSnapshotLimitExceeded"
            | "PendingSnapshotLimitExceeded"
            | "ResourceLimitExceeded"
            | "TagLimitExceeded"
            | "InsufficientVolumeCapacity" => Kind::ResourceExhausted,
            "UnauthorizedOperation"
            | "Blocked"
            | "OptInRequired"
            | "PendingVerification"
            | "AccessDenied"
            | "UnauthorizedAccess" => Kind::PermissionDenied,
            "IdempotentParameterMismatch" => Kind::AlreadyExists,
            "UnsupportedOperation" | "InvalidAction" | "Unsupported" => Kind::Unimplemented,
            _ if self.is_stale() || self.code == "MissingAuthenticationToken" => {
                Kind::Unauthenticated
            }
            _ if self.is_throttling() || self.is_transient() => Kind::Unavailable,
            code if code.starts_with("Invalid")
                || code.starts_with("Missing")
                || code.starts_with("Unknown")
                || code == "MalformedQueryString" =>
            {
                Kind::InvalidArgument
            }
            _ => Kind::Internal,
        }
    }

    /// As an error about `action`.
    pub(super) fn error(&self, action: &str) -> Error {
        let Self { code, message, request } = self;
        let way_out = match self.kind() {
            Kind::PermissionDenied => format!(
                "; the credentials must allow ec2:{action} (`mobula doctor` tells what is missing)"
            ),
            Kind::Unauthenticated => {
                "; check the credentials, and the clock of this machine".to_owned()
            }
            Kind::Unavailable => "; try again later".to_owned(),
            _ => String::new(),
        };
        // The encoded message that UnauthorizedOperation carries is of use to nobody here.
        let message = message.split(" Encoded authorization failure").next().unwrap_or_default();
        let message = message.trim_end_matches(['.', ' ']);
        Error::new(self.kind(), format!("AWS refuses {action}: {message} ({code}){way_out}"))
            .with(CODE, code)
            .with("request", request)
    }
}

/// AWS's code of an error that [`Fault::error`] made.
pub(super) fn code_of(error: &Error) -> Option<&str> {
    error.context().iter().find(|(key, _)| *key == CODE).map(|(_, code)| code.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN_USE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
        <Response><Errors><Error><Code>VolumeInUse</Code><Message>vol-1 is already attached to an \
        instance</Message></Error></Errors><RequestID>r-1</RequestID></Response>";

    #[test]
    fn an_error_keeps_its_code_and_the_request() {
        let fault = Fault::parse(400, IN_USE);
        assert_eq!((fault.code.as_str(), fault.request.as_str()), ("VolumeInUse", "r-1"));
        let error = fault.error("AttachVolume");
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert_eq!(code_of(&error), Some("VolumeInUse"));
        assert!(error.message().contains("vol-1 is already attached"), "{error}");
    }

    #[test]
    fn what_is_not_awss_is_told_by_its_status() {
        for body in ["", "<html>", "{\"a\":1}", "<Response></Response>"] {
            let fault = Fault::parse(503, body);
            assert_eq!(fault.code, "Http503");
            assert!(fault.is_transient());
        }
        assert_eq!(Fault::parse(404, "").error("X").kind(), Kind::Internal);
    }

    #[test]
    fn codes_become_kinds() {
        for (code, kind) in [
            ("InvalidVolume.NotFound", Kind::NotFound),
            ("InvalidParameterValue", Kind::InvalidArgument),
            ("RequestLimitExceeded", Kind::Unavailable),
            ("UnauthorizedOperation", Kind::PermissionDenied),
            ("AttachmentLimitExceeded", Kind::ResourceExhausted),
            ("ExpiredToken", Kind::Unauthenticated),
            ("InvalidVolume.ZoneMismatch", Kind::FailedPrecondition),
            ("SomethingNew", Kind::Internal),
        ] {
            let fault =
                Fault { code: code.to_owned(), message: String::new(), request: String::new() };
            assert_eq!(fault.error("X").kind(), kind, "{code}");
        }
    }

    #[test]
    fn a_refusal_names_the_permission_and_hides_the_encoded_message() {
        let fault = Fault {
            code: "UnauthorizedOperation".to_owned(),
            message: "You are not authorized. Encoded authorization failure message: XYZ"
                .to_owned(),
            request: String::new(),
        };
        let error = fault.error("CreateVolume");
        assert!(error.message().contains("ec2:CreateVolume"), "{error}");
        assert!(!error.message().contains("XYZ"), "{error}");
    }
}
