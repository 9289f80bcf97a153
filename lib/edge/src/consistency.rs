//! Notation of a requirement in a word or two: in the metadata of a request, and in settings. Pure.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// Ages of an answer that may be asked for.
pub const STALENESS: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(24 * 60 * 60);

/// A requirement, as far as it can be written without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// No requirement.
    Any,
    /// At least what the tokens beside it prove.
    AtLeast,
    /// Everything recorded longer ago than this.
    MaxStaleness(Duration),
    /// Everything.
    Strong,
}

/// Requirement as written: `strong`, `max_staleness=5s; or_stale`, or only `or_stale`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// `None` if it is left open.
    pub requirement: Option<Requirement>,
    /// Rather an older answer than none.
    pub or_stale: bool,
}

/// Error of a text that is none of what can be written; completes the sentence "… must be".
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "any, strong, at_least or max_staleness=<10ms to 24h>, with `; or_stale` behind it if wanted"
)]
pub struct NotWritten;

impl FromStr for Written {
    type Err = NotWritten;

    fn from_str(text: &str) -> Result<Self, NotWritten> {
        let mut written = Self::default();
        for word in text.split(';').map(str::trim) {
            if word == "or_stale" && !written.or_stale {
                written.or_stale = true;
            } else if written.requirement.is_none() {
                written.requirement = Some(requirement(word).ok_or(NotWritten)?);
            } else {
                return Err(NotWritten);
            }
        }
        Ok(written)
    }
}

fn requirement(word: &str) -> Option<Requirement> {
    match word {
        "any" => Some(Requirement::Any),
        "at_least" => Some(Requirement::AtLeast),
        "strong" => Some(Requirement::Strong),
        _ => {
            let limit = duration(word.strip_prefix("max_staleness=")?)?;
            STALENESS.contains(&limit).then_some(Requirement::MaxStaleness(limit))
        }
    }
}

/// A whole number with its unit: `250ms`, `5s`, `2m`, `1h`.
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u32 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(1)),
        "s" => Some(Duration::from_secs(1)),
        "m" => Some(Duration::from_secs(60)),
        "h" => Some(Duration::from_secs(60 * 60)),
        _ => None,
    }
    .map(|unit| unit * number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let millis = |millis| Some(Requirement::MaxStaleness(Duration::from_millis(millis)));
        type Parsed = Option<(Option<Requirement>, bool)>;
        let table: [(&str, Parsed); 19] = [
            ("any", Some((Some(Requirement::Any), false))),
            ("strong", Some((Some(Requirement::Strong), false))),
            ("strong; or_stale", Some((Some(Requirement::Strong), true))),
            ("or_stale;strong", Some((Some(Requirement::Strong), true))),
            ("at_least ;or_stale", Some((Some(Requirement::AtLeast), true))),
            ("or_stale", Some((None, true))),
            ("max_staleness=10ms", Some((millis(10), false))),
            ("max_staleness=5s; or_stale", Some((millis(5_000), true))),
            ("max_staleness=2m", Some((millis(120_000), false))),
            ("max_staleness=24h", Some((millis(86_400_000), false))),
            ("max_staleness=9ms", None),
            ("max_staleness=25h", None),
            ("max_staleness=5", None),
            ("max_staleness=s", None),
            ("max_staleness=99999999999999999999s", None),
            ("", None),
            ("strong;", None),
            ("strong; any", None),
            ("or_stale; or_stale", None),
        ];
        for (text, expected) in table {
            let written = text.parse::<Written>().ok();
            assert_eq!(written.map(|w| (w.requirement, w.or_stale)), expected, "{text:?}");
        }
    }
}
