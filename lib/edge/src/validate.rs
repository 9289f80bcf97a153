//! Validation at the edge: adapters check every field and report all violations at once.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use uuid::Uuid;

use crate::failure::{ErrorReason, Failure};

/// Collects what is wrong with a request.
///
/// Each check gives the value, or `None` after recording the violation, so that an adapter reads
/// its fields one by one and builds its command at the end, inside an `Option`:
/// ```
/// # use headwater_edge::Violations;
/// # struct Rename { store: uuid::Uuid, name: String }
/// fn read(store_id: &str, name: &str) -> Result<Rename, headwater_edge::Failure> {
///     let mut violations = Violations::new();
///     let store = violations.uuid("store_id", store_id);
///     let name = violations.text("name", name, 1..=200);
///     violations.finish(store.zip(name).map(|(store, name)| Rename { store, name }))
/// }
/// assert!(read("", "").is_err());
/// ```
#[derive(Debug, Default)]
pub struct Violations {
    found: Vec<(String, String)>,
    failure: Option<Failure>,
}

impl Violations {
    /// Nothing is wrong yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a violation.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.found.push((field.into(), description.into()));
    }

    /// Records a failure with a reason of its own, which is told in the place of all violations.
    /// The first one counts.
    pub fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    /// Records a violation unless the condition holds.
    pub fn check(
        &mut self,
        condition: bool,
        field: impl Into<String>,
        description: impl Into<String>,
    ) -> Option<()> {
        if !condition {
            self.add(field, description);
        }
        condition.then_some(())
    }

    /// A message field or oneof that must be set.
    pub fn required<T>(&mut self, field: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.add(field, "is required");
        }
        value
    }

    /// A UUID in its usual text form; the nil UUID is refused.
    pub fn uuid(&mut self, field: &str, value: &str) -> Option<Uuid> {
        let id = Uuid::try_parse(value).ok().filter(|id| !id.is_nil());
        if id.is_none() {
            self.add(field, "must be a UUID such as 0198c1c6-4d2e-7e4f-9f0c-5b1f6f3f2a10");
        }
        id
    }

    /// A text whose length in characters is in the range, without control characters, and not of
    /// blanks only.
    pub fn text(
        &mut self,
        field: &str,
        value: &str,
        chars: RangeInclusive<usize>,
    ) -> Option<String> {
        let length = value.chars().count();
        let (least, most) = (chars.start(), chars.end());
        if !chars.contains(&length) {
            self.add(field, format!("must have {least} to {most} characters, not {length}"));
            return None;
        }
        if value.chars().any(char::is_control) {
            self.add(field, "must not contain control characters");
            return None;
        }
        if length > 0 && value.trim().is_empty() {
            self.add(field, "must not be blank");
            return None;
        }
        Some(value.to_owned())
    }

    /// A number in the range.
    pub fn number<T: PartialOrd + Display>(
        &mut self,
        field: &str,
        value: T,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        if range.contains(&value) {
            return Some(value);
        }
        let (least, most) = (range.start(), range.end());
        self.add(field, format!("must be from {least} to {most}, not {value}"));
        None
    }

    /// A text that parses as `T`; `expected` completes the sentence "must be …".
    pub fn parsed<T: FromStr>(&mut self, field: &str, value: &str, expected: &str) -> Option<T> {
        let parsed = value.parse().ok();
        if parsed.is_none() {
            self.add(field, format!("must be {expected}"));
        }
        parsed
    }

    /// The value, if nothing was wrong.
    ///
    /// # Errors
    /// The failure that was recorded, or INVALID_REQUEST with every violation; INTERNAL if the
    /// value is missing though nothing was recorded, which is a defect of the caller.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Failure> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if self.found.is_empty() {
            return value.ok_or_else(|| {
                Failure::new(ErrorReason::Internal, "the request could not be read")
            });
        }
        let fields: Vec<&str> = self.found.iter().map(|(field, _)| field.as_str()).collect();
        let message = format!("the request is not valid: {}", fields.join(", "));
        let failure = Failure::new(ErrorReason::InvalidRequest, message);
        Err(self
            .found
            .into_iter()
            .fold(failure, |failure, (field, description)| failure.violation(field, description)))
    }
}
