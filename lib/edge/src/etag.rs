//! ETags in metadata, as HTTP has them (RFC 9110, sections 8.8.3 and 13.1). Pure.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Tags that a condition may name; more are refused.
const TAGS_MAX: usize = 100;

/// Tag that tells one state of an entity from another. The tag of an aggregate is its version,
/// `"3"`; with the revision of the rows it was read from, if they were ever revised: `"3.1"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// Of an aggregate.
    pub fn of_version(version: u64) -> Self {
        Self(version.to_string())
    }

    /// The same at this revision of the rows: 0 if none was ever changed without an event.
    #[must_use]
    pub fn revised(self, revision: i64) -> Self {
        if revision == 0 { self } else { Self(format!("{}.{revision}", self.0)) }
    }

    /// Of 64 bits of a digest, for what has no version of its own. Never that of a version.
    pub fn of_digest(digest: u64) -> Self {
        Self(format!("d{digest:016x}"))
    }

    /// The version, if this is the tag of one, at whatever revision.
    pub fn version(&self) -> Option<u64> {
        let (version, revision) = self.0.split_once('.').unwrap_or((&self.0, "1"));
        number(revision).filter(|revision| *revision > 0)?;
        number(version)
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
        let three = ETag::of_version(3);
        let many = vec!["\"1\""; TAGS_MAX + 1].join(",");
        for (text, contains) in [
            ("*", Some(true)),
            (" * ", Some(true)),
            ("\"3\"", Some(true)),
            ("\"4\"", Some(false)),
            ("\"4\", W/\"3\"", Some(true)),
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
        assert_eq!(ETag::of_version(3).to_string(), "\"3\"");
        assert_eq!(ETag::of_version(3).version(), Some(3));
        assert_eq!(ETag::of_digest(3).to_string(), "\"d0000000000000003\"");
        assert_eq!(ETag::of_digest(3).version(), None);
        let revised = ETag::of_version(3).revised(12);
        assert_eq!((revised.to_string().as_str(), revised.version()), ("\"3.12\"", Some(3)));
        assert_eq!(ETag::of_version(3).revised(0), ETag::of_version(3));
        assert_eq!(ETag::of_digest(3).revised(12).version(), None);
        for other in ["", "03", "+3", "-1", "18446744073709551616", "3.", "3.0", "3.01", ".1"] {
            assert_eq!(ETag(other.to_owned()).version(), None, "{other}");
        }
    }
}
