//! Page tokens: where a list goes on, bound to the list's parameters. Opaque to clients, pure.
//!
//! URL-safe base64 of a format byte, the id and the sort value of the last row of the page, and
//! eight bytes of SHA-256 over the list's name, its parameters and all of that. The digest is no
//! secret: it catches damage and tokens of other lists; one made up by hand can only name another
//! place in a list that its maker may read anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use headwater_kernel::row::Value;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use time::OffsetDateTime;
use uuid::Uuid;

const FORMAT: u8 = 1;
/// Longer than the token of any sort value that views hold; refused before anything is allocated
/// for it.
const TOKEN_CHARS_MAX: usize = 4096;

/// The token is not one of ours, was damaged, or belongs to a list with other parameters.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "the page token is not one of this list's: send it with the parameters of the page it came from"
)]
pub struct PageTokenError;

/// A list and its parameters; the page size, which may change from page to page, is not one of
/// them.
#[derive(Clone)]
pub struct Scope(Sha256);

/// The last row of a page: lists are ordered by a sort value, and by id among equals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor<S> {
    /// Sort value of the row.
    pub sort: S,
    /// Id of the row.
    pub id: Uuid,
}

/// A value that lists are ordered by.
pub trait SortValue: Sized {
    /// Appends the bytes of the value.
    fn write(&self, bytes: &mut Vec<u8>);
    /// The value of these bytes.
    fn read(bytes: &[u8]) -> Option<Self>;
}

impl SortValue for String {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.as_bytes());
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        // No text that Postgres stores holds a NUL: this one was made up.
        Self::from_utf8(bytes.to_vec()).ok().filter(|text| !text.contains('\0'))
    }
}

impl SortValue for i64 {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_be_bytes());
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self::from_be_bytes(bytes.try_into().ok()?))
    }
}

/// With a byte before it that tells the type.
impl SortValue for Value {
    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Null => bytes.push(0),
            Self::Bool(value) => bytes.extend([1, u8::from(*value)]),
            Self::I64(value) => {
                bytes.push(2);
                value.write(bytes);
            }
            Self::Text(value) => {
                bytes.push(3);
                value.write(bytes);
            }
            Self::Uuid(value) => {
                bytes.push(4);
                bytes.extend_from_slice(value.as_bytes());
            }
            Self::Time(value) => {
                bytes.push(5);
                bytes.extend_from_slice(&value.unix_timestamp_nanos().to_be_bytes());
            }
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        Some(match (kind, rest) {
            (0, []) => Self::Null,
            (1, [value @ (0 | 1)]) => Self::Bool(*value == 1),
            (2, rest) => Self::I64(SortValue::read(rest)?),
            (3, rest) => Self::Text(SortValue::read(rest)?),
            (4, rest) => Self::Uuid(Uuid::from_slice(rest).ok()?),
            (5, rest) => {
                let nanos = i128::from_be_bytes(rest.try_into().ok()?);
                Self::Time(OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?)
            }
            _ => return None,
        })
    }
}

impl Scope {
    /// A list by its name.
    pub fn new(list: &str) -> Self {
        Self(Sha256::new()).with(list)
    }

    /// Adds a parameter, with its length before it: no two lists of parameters have the same
    /// digest.
    #[must_use]
    pub fn with(mut self, parameter: &str) -> Self {
        self.0.update((parameter.len() as u64).to_be_bytes());
        self.0.update(parameter);
        self
    }

    /// The token of the page after `last`.
    pub fn token<S: SortValue>(&self, last: &Cursor<S>) -> String {
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(last.id.as_bytes());
        last.sort.write(&mut bytes);
        let check = self.check(&bytes);
        bytes.extend_from_slice(&check);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token that a client sent; `None` for the empty one, which means the first page.
    ///
    /// # Errors
    /// Everything that [`Scope::token`] of the same list and parameters does not make.
    pub fn cursor<S: SortValue>(&self, token: &str) -> Result<Option<Cursor<S>>, PageTokenError> {
        if token.is_empty() {
            return Ok(None);
        }
        self.parse(token).map(Some).ok_or(PageTokenError)
    }

    fn parse<S: SortValue>(&self, token: &str) -> Option<Cursor<S>> {
        if token.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (body, check) = bytes.split_last_chunk::<8>()?;
        if self.check(body) != *check {
            return None;
        }
        let (&FORMAT, rest) = body.split_first()? else { return None };
        let (id, sort) = rest.split_first_chunk::<16>()?;
        Some(Cursor { sort: S::read(sort)?, id: Uuid::from_bytes(*id) })
    }

    fn check(&self, body: &[u8]) -> [u8; 8] {
        let digest = self.0.clone().chain_update(body).finalize();
        let mut check = [0; 8];
        check.copy_from_slice(&digest[..8]);
        check
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope(parameters: &[&str]) -> Scope {
        parameters.iter().fold(Scope::new("list"), |scope, parameter| scope.with(parameter))
    }

    #[test]
    fn the_format_never_changes() {
        // Frozen: pages that were begun before an upgrade go on after it.
        let last = Cursor { sort: "Lakeside".to_owned(), id: Uuid::from_u128(7) };
        assert_eq!(scope(&["Bern", ""]).token(&last), FROZEN);
    }
    const FROZEN: &str = "AQAAAAAAAAAAAAAAAAAAAAdMYWtlc2lkZZT4foLRrMI-";

    #[test]
    fn a_token_of_other_parameters_is_refused() {
        let last = Cursor { sort: 5_i64, id: Uuid::from_u128(7) };
        let token = scope(&["a", "b"]).token(&last);
        assert_eq!(scope(&["a", "b"]).cursor(&token), Ok(Some(last)));
        for other in [&["a", "c"][..], &["ab"], &["ab", ""], &["a"], &["a", "b", ""], &["b", "a"]] {
            assert_eq!(scope(other).cursor::<i64>(&token), Err(PageTokenError), "{other:?}");
        }
        let other_list = Scope::new("lists").with("a").with("b");
        assert_eq!(other_list.cursor::<i64>(&token), Err(PageTokenError));
    }

    #[test]
    fn what_no_row_holds_is_refused() {
        let id = Uuid::from_u128(7);
        for sort in ["a\0", "\0"] {
            let token = scope(&[]).token(&Cursor { sort: sort.to_owned(), id });
            assert_eq!(scope(&[]).cursor::<String>(&token), Err(PageTokenError), "{sort:?}");
            let token = scope(&[]).token(&Cursor { sort: Value::Text(sort.to_owned()), id });
            assert_eq!(scope(&[]).cursor::<Value>(&token), Err(PageTokenError), "{sort:?}");
        }
    }

    #[test]
    fn the_empty_token_is_the_first_page() {
        assert_eq!(scope(&[]).cursor::<String>(""), Ok(None));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(sort in "[^\x00]{0,200}", number: i64, id: u128) {
            let scope = scope(&["x"]);
            let id = Uuid::from_u128(id);
            let text = Cursor { sort, id };
            prop_assert_eq!(scope.cursor(&scope.token(&text)), Ok(Some(text)));
            let number = Cursor { sort: number, id };
            prop_assert_eq!(scope.cursor(&scope.token(&number)), Ok(Some(number.clone())));
            let time = OffsetDateTime::from_unix_timestamp(i64::from(number.sort as i32));
            for sort in [
                Value::Null,
                Value::Bool(true),
                Value::I64(number.sort),
                Value::Text(format!("{id}")),
                Value::Uuid(id),
                Value::Time(time.expect("within the years")),
            ] {
                let value = Cursor { sort, id };
                prop_assert_eq!(scope.cursor(&scope.token(&value)), Ok(Some(value)));
            }
        }

        #[test]
        fn one_changed_character_is_noticed(
            sort in ".{0,40}",
            at: prop::sample::Index,
            with in "[A-Za-z0-9_-]",
        ) {
            let scope = scope(&["x"]);
            let token = scope.token(&Cursor { sort, id: Uuid::from_u128(1) });
            let at = at.index(token.len());
            let mut changed = token.clone();
            changed.replace_range(at..=at, &with);
            prop_assume!(changed != token);
            prop_assert_eq!(scope.cursor::<String>(&changed), Err(PageTokenError));
        }

        #[test]
        fn anything_else_is_refused(token in "\\PC{1,200}") {
            prop_assert_eq!(scope(&["x"]).cursor::<String>(&token), Err(PageTokenError));
        }
    }
}
