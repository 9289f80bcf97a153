//! Claims, marks and guards of a batch, and which of them depend on each other.

use std::collections::HashMap;

use super::command::{Fact, FactKind};

/// The claims, marks and guards of the commands of one batch. All of them are checked at once,
/// before any is changed: a command whose own depend on those of an earlier one has to wait for the
/// next batch.
#[derive(Debug, Default)]
pub struct BatchFacts {
    seen: HashMap<(bool, String), FactKind>,
}

impl BatchFacts {
    /// Adds a command's facts, unless they depend on those of the commands before it: then nothing
    /// changes, and the answer is false.
    #[must_use]
    pub fn admit(&mut self, facts: &[Fact]) -> bool {
        let depends = |fact: &Fact| {
            let before = self.seen.get(&key(fact));
            before.is_some_and(|before| !independent(*before, fact.kind))
        };
        if facts.iter().any(depends) {
            return false;
        }
        self.seen.extend(facts.iter().map(|fact| (key(fact), fact.kind)));
        true
    }
}

/// True if a command's facts depend on those of another one of the same batch.
pub(super) fn depend_on_each_other<'a>(commands: impl IntoIterator<Item = &'a [Fact]>) -> bool {
    let mut batch = BatchFacts::default();
    commands.into_iter().any(|facts| !batch.admit(facts))
}

/// Claims and marks have names of their own.
fn key(fact: &Fact) -> (bool, String) {
    let is_claim = matches!(fact.kind, FactKind::TakeClaim | FactKind::FreeClaim);
    (is_claim, fact.name.clone())
}

/// True if two facts of the same name give the same result in any order.
fn independent(one: FactKind, other: FactKind) -> bool {
    use FactKind::{ClearMark, MarkAbsent, MarkPresent, SetMark};
    matches!(
        (one, other),
        (SetMark, SetMark)
            | (ClearMark, ClearMark)
            | (MarkPresent | MarkAbsent, MarkPresent | MarkAbsent)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_that_depend_on_each_other_are_recognised() {
        use FactKind::{ClearMark, FreeClaim, MarkAbsent, MarkPresent, SetMark, TakeClaim};
        let check = |facts: &[&[(FactKind, &str)]], expected: bool| {
            let fact = |(kind, name): &(FactKind, &str)| Fact { kind: *kind, name: (*name).into() };
            let commands: Vec<Vec<Fact>> =
                facts.iter().map(|facts| facts.iter().map(fact).collect()).collect();
            let depends = depend_on_each_other(commands.iter().map(Vec::as_slice));
            assert_eq!(depends, expected, "{facts:?}");
        };
        check(&[], false);
        check(&[&[(TakeClaim, "a")], &[(TakeClaim, "b")]], false);
        check(&[&[(TakeClaim, "a")], &[(TakeClaim, "a")]], true);
        check(&[&[(FreeClaim, "a")], &[(TakeClaim, "a")]], true);
        // Of one command they are checked together and changed together.
        check(&[&[(FreeClaim, "a"), (TakeClaim, "a")]], false);
        check(&[&[(MarkPresent, "a")], &[(MarkPresent, "a")], &[(MarkAbsent, "a")]], false);
        check(&[&[(MarkPresent, "a")], &[(ClearMark, "a")]], true);
        check(&[&[(SetMark, "a")], &[(MarkPresent, "a")]], true);
        check(&[&[(SetMark, "a")], &[(ClearMark, "a")]], true);
        check(&[&[(SetMark, "a")], &[(SetMark, "a")]], false);
        check(&[&[(ClearMark, "a")], &[(ClearMark, "a")]], false);
        check(&[&[(SetMark, "a")], &[(TakeClaim, "a")]], false);
    }

    #[test]
    fn what_is_not_admitted_changes_nothing() {
        let fact = |kind, name: &str| Fact { kind, name: name.to_owned() };
        let mut batch = BatchFacts::default();
        assert!(batch.admit(&[fact(FactKind::TakeClaim, "a")]));
        assert!(!batch.admit(&[fact(FactKind::TakeClaim, "b"), fact(FactKind::TakeClaim, "a")]));
        assert!(batch.admit(&[fact(FactKind::TakeClaim, "b")]));
    }
}
