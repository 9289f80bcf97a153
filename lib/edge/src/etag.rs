//! ETags in metadata, as HTTP has them (RFC 9110, sections 8.8.3 and 13.1). Pure.

use std::fmt;
use std::str::FromStr;

use headwater_kernel::{Epoch, LogId};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use uuid::Uuid;

/// Tags that a condition may name; more are refused.
const TAGS_MAX: usize = 100;
/// Bits of the digest that names a history; each hexadecimal digit is four.
const HISTORY_BITS: u32 = 48;

/// History of one aggregate: 48 bits of a digest of its id, the log and the log's epoch.
///
/// Two aggregates that answer to the same name, one after the other, have different ones; and so
/// has an aggregate before and after a failover that may have lost some of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History(u64);

impl History {
    /// Of the aggregate with this id, in this log and epoch.
    pub fn of(id: Uuid, log: LogId, epoch: Epoch) -> Self {
        let mut digest = Sha256::new();
        digest.update(id.as_bytes());
        digest.update(log.0.as_bytes());
        digest.update(epoch.0.to_be_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest.finalize()[..8]);
        Self(u64::from_be_bytes(first) >> (u64::BITS - HISTORY_BITS))
    }
}

/// Tag that tells one state of an entity from all others. The tag of an aggregate is its version,
/// the revision of the rows it was read from, and its history: `"3.0.9f86d081884c"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(String);

/// State of an aggregate that a tag names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The version.
    pub version: u64,
    /// The history that it is a version of; `None` of a bare version, as in `"3"`.
    pub history: Option<History>,
}

impl ETag {
    /// Of an aggregate at this version, as rows of this revision show it: 0 if none was ever
    /// changed without an event.
    pub fn of_version(version: u64, revision: i64, History(history): History) -> Self {
        Self(format!("{version}.{revision}.{history:012x}"))
    }

    /// Of 64 bits of a digest, for what has no version of its own. Never that of a version.
    pub fn of_digest(digest: u64, revision: i64) -> Self {
        match revision {
            0 => Self(format!("d{digest:016x}")),
            _ => Self(format!("d{digest:016x}.{revision}")),
        }
    }

    /// The state of an aggregate that this is the tag of, at whatever revision; a bare version is
    /// one, too.
    pub fn expected(&self) -> Option<Expected> {
        let mut parts = self.0.split('.');
        let version = number(parts.next()?)?;
        let Some(revision) = parts.next() else { return Some(Expected { version, history: None }) };
        let history = parts.next()?;
        let is_written = number(revision).is_some() && parts.next().is_none();
        let read = History(u64::from_str_radix(history, 16).ok()?);
        let is_written = is_written && format!("{:012x}", read.0) == history;
        is_written.then_some(Expected { version, history: Some(read) })
    }
}

/// A number as it is written, and in no other way.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// The value of `if-match` or `if-none-match`: `*`, or tags separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// Any tag (`*`).
    All,
    /// Listed tags; weak ones (`W/"3"`) count like others.
    Some(Vec<ETag>),
}

/// Error of a value that is no list of tags; completes the sentence "… must be".
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("* or up to {TAGS_MAX} ETags in double quotes, separated by commas")]
pub struct NotTags;

impl Tags {
    /// True if the tag is among them.
    pub fn contain(&self, tag: &ETag) -> bool {
        match self {
            Self::All => true,
            Self::Some(tags) => tags.contains(tag),
        }
    }
}

impl FromStr for Tags {
    type Err = NotTags;

    fn from_str(text: &str) -> Result<Self, NotTags> {
        if text.trim() == "*" {
            return Ok(Self::All);
        }
        let tags = text.split(',').take(TAGS_MAX + 1).map(|tag| {
            let tag = tag.trim();
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            let inside = tag.strip_prefix('"')?.strip_suffix('"')?;
            let is_plain = inside.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
            is_plain.then(|| ETag(inside.to_owned()))
        });
        let tags: Vec<ETag> = tags.collect::<Option<_>>().ok_or(NotTags)?;
        if tags.len() > TAGS_MAX { Err(NotTags) } else { Ok(Self::Some(tags)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let three = ETag::of_version(3, 0, History(0x9f86_d081_884c));
        let many = vec!["\"1\""; TAGS_MAX + 1].join(",");
        for (text, contains) in [
            ("*", Some(true)),
            (" * ", Some(true)),
            ("\"3.0.9f86d081884c\"", Some(true)),
            ("\"3\"", Some(false)),
            ("\"3.1.9f86d081884c\"", Some(false)),
            ("\"3.0.9f86d081884d\"", Some(false)),
            ("\"4\"", Some(false)),
            ("\"4\", W/\"3.0.9f86d081884c\"", Some(true)),
            ("\"\"", Some(false)),
            ("\"03\"", Some(false)),
            ("", None),
            ("3", None),
            ("\"3", None),
            ("\"3\",", None),
            ("\"3\" \"4\"", None),
            ("\"3\", *", None),
            ("\"ä\"", None),
            (&*many, None),
        ] {
            let tags = text.parse::<Tags>().ok();
            assert_eq!(tags.map(|tags| tags.contain(&three)), contains, "{text:?}");
        }
    }

    #[test]
    fn a_version_is_told_from_a_digest() {
        let history = History(0x9f_86d0_8188);
        let tag = ETag::of_version(3, 12, history);
        assert_eq!(tag.to_string(), "\"3.12.009f86d08188\"");
        assert_eq!(tag.expected(), Some(Expected { version: 3, history: Some(history) }));
        let bare = ETag("3".to_owned());
        assert_eq!(bare.expected(), Some(Expected { version: 3, history: None }));
        assert_eq!(ETag::of_digest(3, 0).to_string(), "\"d0000000000000003\"");
        assert_eq!(ETag::of_digest(3, 12).to_string(), "\"d0000000000000003.12\"");
        assert_eq!(ETag::of_digest(3, 0).expected(), None);
        assert_eq!(ETag::of_digest(3, 12).expected(), None);
        for other in [
            "",
            "03",
            "+3",
            "-1",
            "18446744073709551616",
            "3.",
            "3.1",
            "3.1.",
            ".1.009f86d08188",
            "3.01.009f86d08188",
            "3.1.9f86d08188",
            "3.1.009F86D08188",
            "3.1.+09f86d08188",
            "3.1.1009f86d08188.",
            "3.1.009f86d08188.1",
        ] {
            assert_eq!(ETag(other.to_owned()).expected(), None, "{other}");
        }
    }

    #[test]
    fn a_history_is_of_one_aggregate_in_one_epoch_of_one_log() {
        let history = |id, log, epoch| {
            History::of(Uuid::from_u128(id), LogId(Uuid::from_u128(log)), Epoch(epoch))
        };
        let one = history(1, 2, 3);
        assert_eq!(one, history(1, 2, 3));
        for other in [history(4, 2, 3), history(1, 4, 3), history(1, 2, 4), history(2, 1, 3)] {
            assert_ne!(one, other);
        }
        assert!(one.0 >> HISTORY_BITS == 0, "{one:?}");
    }
}
