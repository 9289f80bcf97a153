//! Every package in the Node example's lock file can be used under a permissive licence; of crates
//! cargo-deny demands the same (deny.toml). Where a package offers a choice, one permissive
//! alternative suffices; what it demands together must all be permissive.

use serde_json::Value;

use super::repository::root;

/// Licences that ask for attribution at most, as in deny.toml. Copyleft, also the weak kind, needs
/// a decision.
const PERMISSIVE: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Names and licences of everything in the lock file.
pub fn node_packages() -> Vec<(String, Option<String>)> {
    let lock = std::fs::read(root().join("examples/node/package-lock.json")).expect("a lock file");
    let lock: Value = serde_json::from_slice(&lock).expect("JSON");
    let packages = lock["packages"].as_object().expect("packages");
    assert!(packages.len() > 10, "these are not all packages");
    let licence = |package: &Value| package["license"].as_str().map(str::to_owned);
    packages.iter().map(|(name, package)| (name.clone(), licence(package))).collect()
}

/// Packages whose licence is missing or not permissive.
pub fn check(packages: &[(String, Option<String>)]) -> Vec<String> {
    let bad = packages.iter().filter(|(_, licence)| !licence.as_deref().is_some_and(permissive));
    bad.map(|(name, licence)| {
        let licence = licence.as_deref().unwrap_or("no stated licence");
        format!("{name} ({licence}): do without it, or decide and say so in tidy/licences.rs")
    })
    .collect()
}

/// An SPDX expression: `OR` (once written `/`) binds less than `AND`.
fn permissive(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let words = expression.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = words.split_whitespace().collect();
    any(&words)
}

fn any(words: &[&str]) -> bool {
    parts(words, "OR").into_iter().any(|part| parts(part, "AND").into_iter().all(one))
}

fn one(words: &[&str]) -> bool {
    match words {
        ["(", inner @ .., ")"] => any(inner),
        words => PERMISSIVE.contains(&words.join(" ").as_str()),
    }
}

/// Splits at an operator outside of parentheses.
fn parts<'a>(words: &'a [&'a str], operator: &str) -> Vec<&'a [&'a str]> {
    let mut depth = 0;
    words
        .split(|word| {
            depth += i32::from(*word == "(") - i32::from(*word == ")");
            depth == 0 && *word == operator
        })
        .collect()
}

#[test]
fn licences_are_read_as_spdx_expressions() {
    let check = |expression: &str, expected: bool| {
        assert_eq!(permissive(expression), expected, "{expression}");
    };
    check("MIT", true);
    check("MIT/Apache-2.0", true);
    check("MIT OR Apache-2.0 OR LGPL-2.1-or-later", true);
    check("(MIT OR GPL-3.0) AND Unicode-3.0", true);
    check("Apache-2.0 WITH LLVM-exception OR MIT", true);
    check("MIT AND (Zlib OR (ISC AND GPL-2.0))", true);
    check("MIT AND GPL-2.0", false);
    check("MIT AND (GPL-2.0 OR (ISC AND MPL-2.0))", false);
    check("MPL-2.0", false);
    check("SSPL-1.0", false);
    check("", false);
    assert_eq!(super::licences::check(&[("unknown".to_owned(), None)]).len(), 1);
}
