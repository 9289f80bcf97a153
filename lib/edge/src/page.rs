//! Pages of lists.

use uuid::Uuid;

use crate::failure::{ErrorReason, Failure};
use crate::page_token::{Cursor, Scope, SortValue};
use crate::validate::Violations;

const PAGE_SIZE_DEFAULT: usize = 50;
const PAGE_SIZE_MAX: i32 = 500;

/// A page that was asked for.
pub struct Page<S> {
    /// Rows after this one.
    pub after: Cursor<S>,
    /// One more than are shown: if it comes, there is a next page.
    pub limit: i64,
    scope: Scope,
    size: usize,
}

impl<S: SortValue> Page<S> {
    /// Reads size and token of a page; `first` sorts before every row. `None` after recording what
    /// is wrong.
    pub fn read(
        scope: Scope,
        (size, token): (i32, &str),
        first: S,
        violations: &mut Violations,
    ) -> Option<Self> {
        let cursor = match scope.cursor(token) {
            Ok(cursor) => cursor,
            Err(error) => {
                let reason = ErrorReason::PageTokenMalformed;
                let failure = Failure::new(reason, error.to_string());
                let must = "must be the token of the page before, or empty";
                violations.fail(failure.violation("page_token", must));
                return None;
            }
        };
        let after = cursor.unwrap_or(Cursor { sort: first, id: Uuid::nil() });
        let size = page_size(size, violations)?;
        // Not negative: it is in the range.
        let size = usize::try_from(size).ok().filter(|size| *size > 0);
        let size = size.unwrap_or(PAGE_SIZE_DEFAULT);
        Some(Self { after, limit: size as i64 + 1, scope, size })
    }

    /// The page's rows, and the token of the next page, which is empty on the last one.
    pub fn cut<R>(&self, mut rows: Vec<(Uuid, R)>, sort: impl Fn(&R) -> S) -> (Vec<R>, String) {
        let more = rows.len() > self.size;
        rows.truncate(self.size);
        let token = match rows.last() {
            Some((id, row)) if more => self.scope.token(&Cursor { sort: sort(row), id: *id }),
            _ => String::new(),
        };
        (rows.into_iter().map(|(_, row)| row).collect(), token)
    }
}

/// The size of a page as it was asked for; 0 leaves it to the service.
pub fn page_size(size: i32, violations: &mut Violations) -> Option<i32> {
    violations.number("page_size", size, 0..=PAGE_SIZE_MAX)
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    fn page(size: i32, token: &str) -> Option<Page<i64>> {
        let mut violations = Violations::new();
        Page::read(Scope::new("list"), (size, token), i64::MIN, &mut violations)
    }

    #[test]
    fn sizes() {
        for (asked, limit) in
            [(0, Some(51)), (1, Some(2)), (500, Some(501)), (501, None), (-1, None)]
        {
            assert_eq!(page(asked, "").map(|page| page.limit), limit, "{asked}");
        }
    }

    #[test]
    fn pages_follow_each_other() {
        let row = |n: i64| (Uuid::from_u128(n as u128), n);
        let first = page(2, "").expect("a page");
        assert_eq!(first.after, Cursor { sort: i64::MIN, id: Uuid::nil() });
        let (rows, token) = first.cut(vec![row(1), row(2), row(3)], |n| *n);
        assert_eq!(rows, [1, 2]);
        let second = page(2, &token).expect("a page");
        assert_eq!(second.after, Cursor { sort: 2, id: Uuid::from_u128(2) });
        assert_eq!(second.cut(vec![row(3), row(4)], |n| *n), (vec![3, 4], String::new()));
        assert_eq!(second.cut(vec![], |n| *n), (vec![], String::new()));
    }

    #[test]
    fn a_damaged_token_is_refused() {
        let mut violations = Violations::new();
        let page = Page::read(Scope::new("list"), (1, "AAAA"), 0_i64, &mut violations);
        assert!(page.is_none());
        let failure = violations.finish(Some(())).expect_err("a failure");
        assert_eq!(failure.reason(), "PAGE_TOKEN_MALFORMED");
        let details = tonic::Status::from(failure).get_error_details();
        let wrong = details.bad_request().expect("a field").field_violations.clone();
        assert_eq!(wrong[0].field, "page_token");
    }
}
