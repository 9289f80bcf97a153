//! The kernel and the domain decide and fold, and nothing else: no input or output, no clock, no
//! chance, no runtime. What they need of the world comes in as data, so that whatever they did can
//! be done again.

use std::collections::BTreeSet;

use super::crates::Members;
use super::repository::Source;

const PURE: [&str; 2] = ["lib/kernel", "domain/model"];

/// What must not be said there, and what to do instead.
const IMPURE: [(&str, &str); 18] = [
    ("async", PLAIN),
    (".await", PLAIN),
    ("tokio", PLAIN),
    ("futures", PLAIN),
    ("tracing", "return what is worth knowing; who called logs it"),
    ("SystemTime", CLOCK),
    ("Instant", CLOCK),
    ("now_utc", CLOCK),
    ("now_local", CLOCK),
    ("now_v7", CHANCE),
    ("new_v4", CHANCE),
    ("rand", CHANCE),
    ("getrandom", CHANCE),
    ("std::env", "take it as a parameter"),
    ("std::fs", PLAIN),
    ("std::net", PLAIN),
    ("std::process", PLAIN),
    ("std::thread", PLAIN),
];
const PLAIN: &str = "leave it to a program; this crate is plain functions";
const CLOCK: &str = "take the time as a parameter (`Context` has it)";
const CHANCE: &str = "take the id as a parameter (`Context` has it)";

/// Crates that would make the impure possible. The contract brings a runtime along for its
/// services, so that only what the pure crates name themselves counts.
const RUNTIMES: [&str; 7] =
    ["tokio", "futures-util", "async-trait", "rand", "getrandom", "tracing", "tonic"];

/// Impure words in pure crates.
pub fn sources(sources: &[Source]) -> Vec<String> {
    let pure = sources.iter().filter(|source| {
        let (krate, rest) = source.crate_and_rest();
        PURE.contains(&krate) && rest.starts_with("src/") && !source.is_test()
    });
    pure.flat_map(|source| {
        IMPURE.iter().flat_map(move |(word, instead)| {
            source.code.find_in_program(word).map(move |at| {
                let line = source.code.tokens[at].line;
                format!("{}:{line}: no `{word}`: {instead}", source.path)
            })
        })
    })
    .collect()
}

/// Impure crates that the pure ones name in their manifests.
pub fn dependencies(members: &Members) -> Vec<String> {
    let pure = ["headwater-kernel", "headwater-domain-model"];
    pure.iter().flat_map(|krate| impure(krate, &members[*krate])).collect()
}

/// Impure crates in the whole tree of one that has no contract to excuse it.
pub fn linked(krate: &str, linked: &BTreeSet<String>) -> Vec<String> {
    // Ids that others make are parsed by a crate that could make them too.
    impure(krate, &linked.iter().filter(|name| *name != "getrandom").cloned().collect())
}

fn impure(krate: &str, names: &BTreeSet<String>) -> Vec<String> {
    let found = names.iter().filter(|name| RUNTIMES.contains(&name.as_str()));
    found.map(|name| format!("{krate} depends on {name}: keep it pure")).collect()
}

#[test]
fn the_impure_is_found() {
    let check = |path: &str, text: &str, found: usize| {
        let complaints = sources(&[Source::new(path, text)]);
        assert_eq!(complaints.len(), found, "{complaints:?}");
    };
    check("domain/model/src/user.rs", "async fn f() { g().await }", 2);
    check("domain/model/src/user.rs", "let now = OffsetDateTime::now_utc();", 1);
    check("lib/kernel/src/ids.rs", "use std::time::Instant;", 1);
    check("lib/kernel/src/ids.rs", "let instantly = operand; // rand, async", 0);
    check("lib/kernel/src/ids.rs", "#[cfg(test)] mod tests { use rand::random; }", 0);
    check("domain/model/tests/domain/main.rs", "async fn f() {}", 0);
    check("router/src/front.rs", "async fn f() {}", 0);

    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(impure("x", &names(&["time", "tokio", "rand"])).len(), 2);
}
