//! The one error type that leaves a service: a stable reason, a safe text, and `google.rpc`
//! details.
//!
//! The text is for clients: whoever builds a failure writes a sentence of their own and never
//! passes on the text of a driver. What really happened is attached by [`Failure::because`], which
//! only operators see.

use std::fmt::{self, Display};
use std::time::Duration;

use headwater_kernel::{Rejection, RejectionKind};
pub use headwater_proto::headwater::v1::ErrorReason;
use prost::Message as _;
use tonic::{Code, Status};
pub use tonic_types::pb::Status as RpcStatus;
use tonic_types::{ErrorDetails, StatusExt as _};

/// `ErrorInfo.domain` of the platform's own reasons; a domain's refusals carry the domain's name.
pub const PLATFORM: &str = "headwater";

/// Violations that one failure names at most. Details travel in a header, and clients refuse
/// headers over 8 KiB.
const VIOLATIONS_MAX: usize = 20;
/// Characters of a text at most, for the same reason.
const TEXT_CHARS_MAX: usize = 300;

/// Failure of a request, as the client is told.
pub struct Failure(Box<Inner>);

struct Inner {
    code: Code,
    reason: &'static str,
    /// The reason, if it is one of the platform's own.
    platform: Option<ErrorReason>,
    domain: &'static str,
    message: String,
    metadata: Vec<(&'static str, String)>,
    violations: Vec<(String, String)>,
    preconditions: Vec<Precondition>,
    retry_after: Option<Duration>,
    source: Option<anyhow::Error>,
}

struct Precondition {
    kind: String,
    subject: String,
    description: String,
}

impl Failure {
    /// One of the platform's own failures; the code follows from the reason.
    pub fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        let mut failure = Self::of(code_of(reason), reason_name(reason), PLATFORM, message.into());
        failure.0.platform = Some(reason);
        failure
    }

    /// A request with one field that is wrong; `must` completes the sentence that begins with its
    /// name.
    pub fn invalid(field: &str, must: &str) -> Self {
        Self::new(ErrorReason::InvalidRequest, format!("{field} {must}")).violation(field, must)
    }

    /// A command that may have been applied or not. With an idempotency key it may be sent again,
    /// and has the code that is sent again by policy. Without one nobody may do that but who has
    /// read the aggregate: the code is UNKNOWN, which the retry policies of proxies and client
    /// libraries leave alone, and no delay is told.
    pub fn outcome_unknown(message: impl Into<String>, has_key: bool) -> Self {
        const RETRY_AFTER: Duration = Duration::from_millis(500);
        let mut failure = Self::new(ErrorReason::OutcomeUnknown, message);
        if has_key {
            return failure.retry_after(RETRY_AFTER);
        }
        failure.0.code = Code::Unknown;
        failure
    }

    /// A domain's refusal; `domain` is the domain's name, such as `stores`.
    pub fn rejection(domain: &'static str, rejection: Rejection) -> Self {
        let code = code_of_rejection(rejection.kind);
        let mut failure = Self::of(code, rejection.reason, domain, rejection.message);
        if let Some(field) = rejection.field {
            let description = failure.0.message.clone();
            failure = failure.violation(field, description);
        }
        match rejection.kind {
            RejectionKind::FailedPrecondition => {
                let description = failure.0.message.clone();
                failure.precondition(rejection.reason, domain, description)
            }
            RejectionKind::NotFound
            | RejectionKind::AlreadyExists
            | RejectionKind::InvalidArgument => failure,
        }
    }

    fn of(code: Code, reason: &'static str, domain: &'static str, message: String) -> Self {
        Self(Box::new(Inner {
            code,
            reason,
            platform: None,
            domain,
            message: bounded(message),
            metadata: Vec::new(),
            violations: Vec::new(),
            preconditions: Vec::new(),
            retry_after: None,
            source: None,
        }))
    }

    /// Adds a fact for programs to `ErrorInfo.metadata`, such as `current_version`.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Display) -> Self {
        self.0.metadata.push((key, bounded(value.to_string())));
        self
    }

    /// Names a field that is wrong (`BadRequest`). Only the first 20 are kept.
    #[must_use]
    pub fn violation(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        if self.0.violations.len() < VIOLATIONS_MAX {
            self.0.violations.push((bounded(field.into()), bounded(description.into())));
        }
        self
    }

    /// Says when trying again is worthwhile (`RetryInfo`).
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Names a condition that does not hold (`PreconditionFailure`).
    #[must_use]
    pub fn precondition(
        mut self,
        kind: impl Into<String>,
        subject: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        if self.0.preconditions.len() < VIOLATIONS_MAX {
            self.0.preconditions.push(Precondition {
                kind: bounded(kind.into()),
                subject: bounded(subject.into()),
                description: bounded(description.into()),
            });
        }
        self
    }

    /// Attaches what really happened. It never reaches the client; it is logged, once, when a
    /// failure that means a defect (INTERNAL, DATA_LOSS) becomes a reply.
    #[must_use]
    pub fn because(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The reason, if it is one of the platform's own and not a domain's.
    pub fn platform_reason(&self) -> Option<ErrorReason> {
        self.0.platform
    }

    /// The status code it is answered with.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The stable reason, such as `VERSION_CONFLICT`.
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Cause of the failure, for logs.
    pub fn source(&self) -> Option<&anyhow::Error> {
        self.0.source.as_ref()
    }
}

/// The status code of each of the platform's reasons.
pub fn code_of(reason: ErrorReason) -> Code {
    match reason {
        ErrorReason::Unspecified => Code::Unknown,
        ErrorReason::InvalidRequest
        | ErrorReason::TokenMalformed
        | ErrorReason::PageTokenMalformed => Code::InvalidArgument,
        ErrorReason::TokenForeign
        | ErrorReason::TokenLost
        | ErrorReason::ResumeExpired
        | ErrorReason::MigrationNeeded
        | ErrorReason::IdempotencyKeyReused => Code::FailedPrecondition,
        ErrorReason::VersionConflict | ErrorReason::Contention => Code::Aborted,
        ErrorReason::Overloaded | ErrorReason::PrimaryShareSpent => Code::ResourceExhausted,
        ErrorReason::FreshnessUnavailable
        | ErrorReason::UpstreamUnavailable
        | ErrorReason::DatabaseUnavailable
        | ErrorReason::OutcomeUnknown
        | ErrorReason::LogEndUnknown
        | ErrorReason::ShuttingDown => Code::Unavailable,
        ErrorReason::MethodUnknown | ErrorReason::EncodingUnsupported => Code::Unimplemented,
        ErrorReason::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorReason::Internal => Code::Internal,
        ErrorReason::DataCorrupt => Code::DataLoss,
        ErrorReason::NotFound => Code::NotFound,
    }
}

/// The status code of each class of a domain's refusals.
pub fn code_of_rejection(kind: RejectionKind) -> Code {
    match kind {
        RejectionKind::NotFound => Code::NotFound,
        RejectionKind::AlreadyExists => Code::AlreadyExists,
        RejectionKind::FailedPrecondition => Code::FailedPrecondition,
        RejectionKind::InvalidArgument => Code::InvalidArgument,
    }
}

/// The reason as clients see it: the enum's name without its prefix.
pub fn reason_name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let inner = *failure.0;
        if matches!(inner.code, Code::Internal | Code::DataLoss) {
            tracing::error!(
                reason = inner.reason,
                cause = inner.source.map(|source| format!("{source:#}")),
                "answered with a failure of our own: {}",
                inner.message
            );
        }
        let mut details = ErrorDetails::new();
        let metadata: Vec<(String, String)> =
            inner.metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        details.set_error_info(
            inner.reason,
            inner.domain,
            metadata.into_iter().collect::<std::collections::HashMap<_, _>>(),
        );
        for (field, description) in inner.violations {
            details.add_bad_request_violation(field, description);
        }
        for precondition in inner.preconditions {
            details.add_precondition_failure_violation(
                precondition.kind,
                precondition.subject,
                precondition.description,
            );
        }
        if let Some(delay) = inner.retry_after {
            details.set_retry_info(Some(delay));
        }
        Status::with_error_details(inner.code, inner.message, details)
    }
}

/// The error of one command among many: a message with what the status of a single call carries.
impl From<Failure> for RpcStatus {
    fn from(failure: Failure) -> Self {
        let status = Status::from(failure);
        let bare = || Self {
            code: status.code().into(),
            message: status.message().to_owned(),
            details: Vec::new(),
        };
        // Of our own making, so it can be decoded.
        Self::decode(status.details()).unwrap_or_else(|_| bare())
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.reason, self.0.message)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("code", &self.0.code)
            .field("reason", &self.0.reason)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(AsRef::as_ref)
    }
}

fn bounded(text: String) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
