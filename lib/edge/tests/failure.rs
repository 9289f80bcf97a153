//! Every reason has its code, and docs/errors.md says the same.

use std::collections::BTreeMap;
use std::time::Duration;

use headwater_edge::{ErrorReason, Failure, PLATFORM, code_of, reason_name};
use headwater_kernel::{Rejection, RejectionKind};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

const DOCUMENT: &str = include_str!("../../../docs/errors.md");

const TABLE: &[(ErrorReason, Code, &str)] = &[
    (ErrorReason::Unspecified, Code::Unknown, "UNSPECIFIED"),
    (ErrorReason::InvalidRequest, Code::InvalidArgument, "INVALID_REQUEST"),
    (ErrorReason::TokenMalformed, Code::InvalidArgument, "TOKEN_MALFORMED"),
    (ErrorReason::TokenForeign, Code::FailedPrecondition, "TOKEN_FOREIGN"),
    (ErrorReason::TokenLost, Code::FailedPrecondition, "TOKEN_LOST"),
    (ErrorReason::VersionConflict, Code::Aborted, "VERSION_CONFLICT"),
    (ErrorReason::IdempotencyKeyReused, Code::FailedPrecondition, "IDEMPOTENCY_KEY_REUSED"),
    (ErrorReason::Overloaded, Code::ResourceExhausted, "OVERLOADED"),
    (ErrorReason::Contention, Code::Aborted, "CONTENTION"),
    (ErrorReason::FreshnessUnavailable, Code::Unavailable, "FRESHNESS_UNAVAILABLE"),
    (ErrorReason::UpstreamUnavailable, Code::Unavailable, "UPSTREAM_UNAVAILABLE"),
    (ErrorReason::DatabaseUnavailable, Code::Unavailable, "DATABASE_UNAVAILABLE"),
    (ErrorReason::MethodUnknown, Code::Unimplemented, "METHOD_UNKNOWN"),
    (ErrorReason::DeadlineExceeded, Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (ErrorReason::OutcomeUnknown, Code::Unavailable, "OUTCOME_UNKNOWN"),
    (ErrorReason::ShuttingDown, Code::Unavailable, "SHUTTING_DOWN"),
    (ErrorReason::LogEndUnknown, Code::Unavailable, "LOG_END_UNKNOWN"),
    (ErrorReason::ResumeExpired, Code::FailedPrecondition, "RESUME_EXPIRED"),
    (ErrorReason::MigrationNeeded, Code::FailedPrecondition, "MIGRATION_NEEDED"),
    (ErrorReason::EncodingUnsupported, Code::Unimplemented, "ENCODING_UNSUPPORTED"),
    (ErrorReason::PrimaryShareSpent, Code::ResourceExhausted, "PRIMARY_SHARE_SPENT"),
    (ErrorReason::Internal, Code::Internal, "INTERNAL"),
    (ErrorReason::DataCorrupt, Code::DataLoss, "DATA_CORRUPT"),
    (ErrorReason::NotFound, Code::NotFound, "NOT_FOUND"),
    (ErrorReason::PageTokenMalformed, Code::InvalidArgument, "PAGE_TOKEN_MALFORMED"),
];

/// Every reason of the enum: its numbers are dense.
fn reasons() -> impl Iterator<Item = ErrorReason> {
    (0..).map_while(|number| ErrorReason::try_from(number).ok())
}

#[test]
fn every_reason_has_its_code_and_name() {
    assert_eq!(TABLE.len(), reasons().count(), "a reason is missing in the table");
    for (reason, code, name) in TABLE {
        assert_eq!(code_of(*reason), *code, "{name}");
        assert_eq!(reason_name(*reason), *name);

        let failure = Failure::new(*reason, "a text");
        assert_eq!(failure.platform_reason(), Some(*reason));
        let status = Status::from(failure);
        assert_eq!((status.code(), status.message()), (*code, "a text"), "{name}");
        let info = status.get_details_error_info().expect("an ErrorInfo");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (*name, PLATFORM));
    }
}

#[test]
fn no_policy_repeats_a_command_without_a_key_whose_outcome_is_unknown() {
    // What meshes repeat by default or can be told to (Envoy's grpc retry conditions and Linkerd's
    // "grpc", which are the same), and what the retry policies of client libraries usually name.
    const REPEATED: [Code; 6] = [
        Code::Cancelled,
        Code::DeadlineExceeded,
        Code::Internal,
        Code::ResourceExhausted,
        Code::Unavailable,
        Code::Aborted,
    ];
    let told = |has_key| Status::from(Failure::outcome_unknown("a text", has_key));
    for (has_key, code, delay) in [(true, Code::Unavailable, true), (false, Code::Unknown, false)] {
        let status = told(has_key);
        assert_eq!(status.code(), code);
        assert_eq!(status.get_details_retry_info().is_some(), delay);
        let info = status.get_details_error_info().expect("an ErrorInfo");
        assert_eq!(info.reason, "OUTCOME_UNKNOWN");
    }
    assert!(!REPEATED.contains(&told(false).code()));
}

#[test]
fn the_document_names_every_reason_with_its_code() {
    let documented = section("## headwater: the platform", &["reason", "code"]);
    let expected: BTreeMap<String, String> = reasons()
        .filter(|reason| *reason != ErrorReason::Unspecified)
        .map(|reason| (reason_name(reason).to_owned(), spelled(code_of(reason)).to_owned()))
        .collect();
    assert_eq!(documented, expected);
}

#[test]
fn the_document_gives_real_codes_to_the_domains_reasons() {
    let documented = section("## stores and users", &["domain", "reason", "code"]);
    assert!(documented.len() >= 17, "{documented:?}");
    let known = [Code::NotFound, Code::AlreadyExists, Code::FailedPrecondition];
    for (reason, code) in documented {
        let refusal = known.iter().chain([&Code::InvalidArgument]);
        assert!(refusal.map(|code| spelled(*code)).any(|known| known == code), "{reason}: {code}");
    }
}

/// Reasons and codes of the table after a heading. Each row ends with a meaning and an advice.
fn section(heading: &str, columns: &[&str]) -> BTreeMap<String, String> {
    let (_, text) = DOCUMENT.split_once(heading).expect("the heading is there");
    let text = text.split("\n## ").next().expect("a first part");
    let mut rows = text.lines().filter(|line| line.starts_with('|')).map(|line| {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>()
    });
    let header = rows.next().expect("a table");
    assert_eq!(header, [columns, &["meaning", "what to do"]].concat());
    let code = columns.len() - 1;
    rows.skip(1)
        .map(|row| {
            assert_eq!(row.len(), header.len(), "{row:?}");
            assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
            (row[code - 1].clone(), row[code].clone())
        })
        .collect()
}

fn spelled(code: Code) -> &'static str {
    match code {
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        other => panic!("no reason has the code {other:?}"),
    }
}

fn details(failure: Failure) -> (Status, ErrorDetails) {
    let status = Status::from(failure);
    let details = status.get_error_details();
    (status, details)
}

#[test]
fn a_rejection_carries_its_domain_and_reason() {
    let check = |kind, code, preconditions| {
        let rejection = Rejection::new(kind, "INSUFFICIENT_STOCK", "there are 2 left");
        let failure = Failure::rejection("stores", rejection);
        assert_eq!(failure.platform_reason(), None, "a domain's own reason");
        let (status, details) = details(failure);
        assert_eq!((status.code(), status.message()), (code, "there are 2 left"));
        let info = details.error_info().expect("an ErrorInfo");
        assert_eq!((info.domain.as_str(), info.reason.as_str()), ("stores", "INSUFFICIENT_STOCK"));
        let violations = details.precondition_failure().map(|failure| &failure.violations);
        assert_eq!(violations.map_or(0, Vec::len), preconditions, "{kind:?}");
    };
    check(RejectionKind::NotFound, Code::NotFound, 0);
    check(RejectionKind::AlreadyExists, Code::AlreadyExists, 0);
    check(RejectionKind::FailedPrecondition, Code::FailedPrecondition, 1);
    check(RejectionKind::InvalidArgument, Code::InvalidArgument, 0);
}

#[test]
fn every_detail_arrives() {
    let failure = Failure::new(ErrorReason::VersionConflict, "the store has changed")
        .with("current_version", 7)
        .violation("name", "must not be blank")
        .precondition("VERSION", "store", "version 3 is expected")
        .retry_after(Duration::from_millis(250));
    let (_, details) = details(failure);
    assert_eq!(details.error_info().expect("an ErrorInfo").metadata["current_version"], "7");
    assert_eq!(details.bad_request().expect("a BadRequest").field_violations[0].field, "name");
    assert_eq!(
        details.precondition_failure().expect("a PreconditionFailure").violations[0].subject,
        "store"
    );
    assert_eq!(
        details.retry_info().expect("a RetryInfo").retry_delay,
        Some(Duration::from_millis(250))
    );
}

#[test]
fn what_really_happened_never_reaches_the_client() {
    let driver = anyhow::anyhow!("password authentication failed for user postgres");
    let failure = Failure::new(ErrorReason::Internal, "internal error").because(driver);
    assert!(format!("{failure:?}").contains("password"), "operators see it");
    let status = Status::from(failure);
    let sent = format!("{status:?} {}", String::from_utf8_lossy(status.details()));
    assert!(!sent.contains("password"), "{sent}");
}

#[test]
fn a_status_fits_into_headers_whatever_is_put_into_it() {
    let long = "ä".repeat(10_000);
    let failure = (0..1_000).fold(Failure::new(ErrorReason::InvalidRequest, &long), |f, n| {
        f.violation(format!("field {n}"), "must be something else")
    });
    let status = Status::from(failure);
    assert_eq!(status.message().chars().count(), 301);
    assert!(status.details().len() < 4_000, "{}", status.details().len());
}
