//! Settings of the operator for each method: the freshness of requests that ask for none, and how
//! long a reply may be kept. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::consistency::{Requirement, Written, duration};

/// Stands for every method that is not named.
const EVERY: &str = "*";
/// A reply that is older than this has nothing to do with its entity any more.
const MAX_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Settings of one method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The freshness of requests that say nothing of it.
    pub consistency: Written,
    /// Time that clients may keep a reply; whole seconds, as the header has them.
    pub max_age: Duration,
}

/// Settings of all methods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    named: BTreeMap<String, Policy>,
    others: Policy,
}

impl Policies {
    /// Of a method, by its full name.
    pub fn of(&self, method: &str) -> Policy {
        self.named.get(method).copied().unwrap_or(self.others)
    }

    /// True if any method's default cannot be answered without the write database.
    pub fn any_strong(&self) -> bool {
        let is_strong =
            |policy: &Policy| policy.consistency.requirement == Some(Requirement::Strong);
        is_strong(&self.others) || self.named.values().any(is_strong)
    }

    /// Sets consistencies from `method=consistency` entries, separated by commas; `*` stands for
    /// every method that is not named. Gives what is wrong with them.
    pub fn set_consistencies(&mut self, text: &str, methods: &BTreeSet<String>) -> Vec<String> {
        self.set(text, methods, |policy, value| {
            let written: Written = value.parse().map_err(|what| format!("must be {what}"))?;
            if written.requirement == Some(Requirement::AtLeast) {
                return Err("at_least needs a token, which only a request has".to_owned());
            }
            policy.consistency = written;
            Ok(())
        })
    }

    /// Sets ages from `method=5s` entries, likewise.
    pub fn set_max_ages(&mut self, text: &str, methods: &BTreeSet<String>) -> Vec<String> {
        self.set(text, methods, |policy, value| {
            let age = duration(value).filter(|age| *age <= MAX_AGE_MAX && age.subsec_nanos() == 0);
            policy.max_age = age.ok_or("must be whole seconds up to a day, such as 5s or 2m")?;
            Ok(())
        })
    }

    /// The entry for `*` counts first, wherever it stands.
    fn set(
        &mut self,
        text: &str,
        methods: &BTreeSet<String>,
        put: impl Fn(&mut Policy, &str) -> Result<(), String>,
    ) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut entries = BTreeMap::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            match entry.split_once('=') {
                None => mistakes.push(format!("{entry:?} is not method=value")),
                Some((method, value)) => {
                    let method = method.trim();
                    if method != EVERY && !methods.contains(method) {
                        mistakes
                            .push(format!("{method:?} is no query; name package.Service/Method"));
                    } else if entries.insert(method, value.trim()).is_some() {
                        mistakes.push(format!("{method:?} is set twice"));
                    }
                }
            }
        }
        // `*` sorts before every name.
        for (method, value) in entries {
            if let Err(what) = self.put(method, |policy| put(policy, value)) {
                mistakes.push(format!("{method}={value}: {what}"));
            }
        }
        mistakes
    }

    fn put(
        &mut self,
        method: &str,
        put: impl Fn(&mut Policy) -> Result<(), String>,
    ) -> Result<(), String> {
        if method != EVERY {
            return put(self.named.entry(method.to_owned()).or_insert(self.others));
        }
        self.named.values_mut().try_for_each(&put)?;
        put(&mut self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn methods() -> BTreeSet<String> {
        ["a.A/Get", "a.A/List"].map(str::to_owned).into()
    }

    fn read(consistencies: &str, ages: &str) -> (Policies, Vec<String>) {
        let mut policies = Policies::default();
        let mut mistakes = policies.set_consistencies(consistencies, &methods());
        mistakes.extend(policies.set_max_ages(ages, &methods()));
        (policies, mistakes)
    }

    #[test]
    fn a_method_has_what_is_set_for_it_or_for_all() {
        let strong = Written { requirement: Some(Requirement::Strong), or_stale: true };
        let any = Written::default();
        let seconds = Duration::from_secs;
        let policy = |consistency, max_age| Policy { consistency, max_age: seconds(max_age) };
        for (consistencies, ages, get, list) in [
            ("", "", policy(any, 0), policy(any, 0)),
            ("a.A/Get=strong; or_stale", "", policy(strong, 0), policy(any, 0)),
            ("a.A/Get=strong;or_stale", "a.A/List=5s", policy(strong, 0), policy(any, 5)),
            ("*=strong; or_stale", "a.A/Get=1m,", policy(strong, 60), policy(strong, 0)),
            ("a.A/Get=strong;or_stale", "*=9s, a.A/Get=0s", policy(strong, 0), policy(any, 9)),
            ("a.A/Get=strong;or_stale", "*=9s", policy(strong, 9), policy(any, 9)),
        ] {
            let (policies, mistakes) = read(consistencies, ages);
            assert_eq!(mistakes, Vec::<String>::new());
            assert_eq!(policies.of("a.A/Get"), get, "{consistencies:?} {ages:?}");
            assert_eq!(policies.of("a.A/List"), list, "{consistencies:?} {ages:?}");
            assert_eq!(policies.of("a.A/Other"), policies.others);
            assert_eq!(policies.any_strong(), consistencies.contains("strong"));
        }
    }

    #[test]
    fn mistakes_are_reported() {
        for (consistencies, ages, count) in [
            ("a.A/Get", "", 1),
            ("a.A/Put=strong", "", 1),
            ("a.A/Get=strong,a.A/Get=any", "", 1),
            ("a.A/Get=at_least", "", 1),
            ("a.A/Get=soon, *=max_staleness=1ms", "a.A/List=500ms", 3),
            ("", "*=25h,a.A/Get=5", 2),
        ] {
            let (_, mistakes) = read(consistencies, ages);
            assert_eq!(mistakes.len(), count, "{consistencies:?} {ages:?}: {mistakes:?}");
        }
    }
}
