//! What a refusal must look like: one table for all of them.

use std::fmt::Debug;

use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

const PLATFORM: &str = "headwater";

/// Reason, domain and code, as docs/errors.md promises them.
pub const REFUSALS: &[(&str, &str, Code)] = &[
    ("INVALID_REQUEST", PLATFORM, Code::InvalidArgument),
    ("TOKEN_MALFORMED", PLATFORM, Code::InvalidArgument),
    ("TOKEN_FOREIGN", PLATFORM, Code::FailedPrecondition),
    ("TOKEN_LOST", PLATFORM, Code::FailedPrecondition),
    ("PAGE_TOKEN_MALFORMED", PLATFORM, Code::InvalidArgument),
    ("VERSION_CONFLICT", PLATFORM, Code::Aborted),
    ("IDEMPOTENCY_KEY_REUSED", PLATFORM, Code::FailedPrecondition),
    ("CONTENTION", PLATFORM, Code::Aborted),
    ("FRESHNESS_UNAVAILABLE", PLATFORM, Code::Unavailable),
    ("LOG_END_UNKNOWN", PLATFORM, Code::Unavailable),
    ("PRIMARY_SHARE_SPENT", PLATFORM, Code::ResourceExhausted),
    ("METHOD_UNKNOWN", PLATFORM, Code::Unimplemented),
    ("NOT_FOUND", PLATFORM, Code::NotFound),
    ("STORE_EXISTS", "stores", Code::AlreadyExists),
    ("STORE_NOT_FOUND", "stores", Code::NotFound),
    ("STORE_CLOSED", "stores", Code::FailedPrecondition),
    ("STORE_HAS_STOCK", "stores", Code::FailedPrecondition),
    ("STORE_NOT_OPEN", "stores", Code::FailedPrecondition),
    ("ITEM_EXISTS", "stores", Code::AlreadyExists),
    ("ITEM_NOT_FOUND", "stores", Code::NotFound),
    ("ITEM_DELISTED", "stores", Code::FailedPrecondition),
    ("ITEM_HAS_STOCK", "stores", Code::FailedPrecondition),
    ("SKU_TAKEN", "stores", Code::AlreadyExists),
    ("INSUFFICIENT_STOCK", "stores", Code::FailedPrecondition),
    ("CURRENCY_MISMATCH", "stores", Code::InvalidArgument),
    ("AMOUNT_OVERFLOW", "stores", Code::FailedPrecondition),
    ("USER_EXISTS", "users", Code::AlreadyExists),
    ("USER_NOT_FOUND", "users", Code::NotFound),
    ("USER_DEACTIVATED", "users", Code::FailedPrecondition),
    ("EMAIL_TAKEN", "users", Code::AlreadyExists),
];

/// Checks that a call was refused for this reason, with everything that goes with it.
#[track_caller]
pub fn refused<T: Debug>(result: Result<Response<T>, Status>, reason: &str) -> Status {
    let status = result.expect_err(reason);
    must_be(&status, reason);
    status
}

/// The same for a status.
#[track_caller]
pub fn must_be(status: &Status, reason: &str) {
    let row = REFUSALS.iter().find(|(name, ..)| *name == reason);
    let (_, domain, code) = row.unwrap_or_else(|| panic!("{reason} is not in the table"));
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    let found = (&*info.reason, &*info.domain, status.code());
    assert_eq!(found, (reason, *domain, *code), "{status:?}");
    assert!(!status.message().is_empty(), "a sentence for people: {status:?}");
    let wrong = details.bad_request().is_some_and(|wrong| !wrong.field_violations.is_empty());
    // A message that is not read has no field to name.
    let is_unread = status.message().starts_with("the message has");
    assert!(wrong || is_unread || *code != Code::InvalidArgument, "no field named: {status:?}");
    // A rule of the domain that does not hold is named as one.
    let rules = details.precondition_failure().map(|found| found.violations.as_slice());
    if *code == Code::FailedPrecondition && *domain != PLATFORM {
        let [rule] = rules.unwrap_or_default() else { panic!("one rule: {status:?}") };
        assert_eq!((&*rule.r#type, &*rule.subject), (reason, *domain), "{status:?}");
    } else {
        assert!(rules.is_none(), "{status:?}");
    }
}

/// Why a call was refused; empty for none of our reasons.
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// A fact of a refusal's `ErrorInfo`.
pub fn fact(status: &Status, name: &str) -> Option<String> {
    status.get_details_error_info()?.metadata.get(name).cloned()
}

/// The fields that a refusal names, sorted.
#[track_caller]
pub fn fields(status: &Status) -> Vec<String> {
    must_be(status, "INVALID_REQUEST");
    let request = status.get_details_bad_request().unwrap_or_else(|| panic!("{status:?}"));
    let mut fields: Vec<String> = request
        .field_violations
        .into_iter()
        .map(|violation| {
            assert!(!violation.description.is_empty(), "{}: say what it must be", violation.field);
            violation.field
        })
        .collect();
    fields.sort();
    fields
}
