//! Fields that every domain has: ids and times.

use prost_types::Timestamp;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::validate::Violations;

/// The id of something new: the client's, or a time-ordered one where it leaves that to us. A
/// repeated command with an idempotency key mints another one without effect: it is answered with
/// the first one's.
pub fn id_or_new(v: &mut Violations, field: &str, text: &str) -> Option<Uuid> {
    if text.is_empty() { Some(Uuid::now_v7()) } else { v.uuid(field, text) }
}

/// 1 to 100 ids.
pub fn ids(field: &str, ids: &[String], violations: &mut Violations) -> Option<Vec<Uuid>> {
    violations.check((1..=100).contains(&ids.len()), field, "must name 1 to 100 ids")?;
    let parsed: Vec<Option<Uuid>> = ids
        .iter()
        .enumerate()
        .map(|(index, id)| violations.uuid(&format!("{field}[{index}]"), id))
        .collect();
    parsed.into_iter().collect()
}

/// A time from year 1 to 9999, as `google.protobuf.Timestamp` has it. `Some(None)` if it was left
/// out.
pub fn time(
    v: &mut Violations,
    field: &str,
    time: Option<Timestamp>,
) -> Option<Option<OffsetDateTime>> {
    let Some(Timestamp { seconds, nanos }) = time else { return Some(None) };
    let time = OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .filter(|time| (1..=9999).contains(&time.year()) && (0..1_000_000_000).contains(&nanos))
        .map(|time| time + Duration::nanoseconds(nanos.into()));
    checked(v, field, "must be a time from year 1 to 9999", time).map(Some)
}

/// A time on the wire.
pub fn timestamp(time: OffsetDateTime) -> Timestamp {
    Timestamp { seconds: time.unix_timestamp(), nanos: time.nanosecond() as i32 }
}

/// The value, or `None` after recording the violation that its field does not have one.
pub fn checked<T>(
    v: &mut Violations,
    field: &str,
    description: &str,
    value: Option<T>,
) -> Option<T> {
    v.check(value.is_some(), field, description)?;
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T>(right: bool, parse: impl FnOnce(&mut Violations) -> Option<T>) {
        let mut violations = Violations::new();
        let value = parse(&mut violations);
        assert_eq!(value.is_some(), right);
        assert_eq!(violations.finish(Some(())).is_ok(), right, "a missing value is a violation");
    }

    #[test]
    fn an_id_is_given_or_minted() {
        check(true, |v| id_or_new(v, "id", ""));
        check(true, |v| id_or_new(v, "id", "0198c1c6-4d2e-7e4f-9f0c-5b1f6f3f2a10"));
        check(false, |v| id_or_new(v, "id", "7"));
    }

    #[test]
    fn times_are_those_of_the_wire_type() {
        let at = |seconds, nanos| Some(Timestamp { seconds, nanos });
        check(true, |v| time(v, "sold_time", None));
        check(true, |v| time(v, "sold_time", at(0, 999_999_999)));
        check(true, |v| time(v, "sold_time", at(-62_135_596_800, 0)));
        check(false, |v| time(v, "sold_time", at(-62_135_596_801, 0)));
        check(true, |v| time(v, "sold_time", at(253_402_300_799, 0)));
        check(false, |v| time(v, "sold_time", at(253_402_300_800, 0)));
        check(false, |v| time(v, "sold_time", at(i64::MAX, 0)));
        check(false, |v| time(v, "sold_time", at(0, -1)));
        check(false, |v| time(v, "sold_time", at(0, 1_000_000_000)));
    }
}
