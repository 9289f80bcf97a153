//! SQL stands in files of its own, each with a header that says what it is for, which lock it takes
//! and which index it uses, and each with exactly one place in a
//! program that includes it. What is generated, and kept as a snapshot in a folder `generated/`, is
//! compared with its generator by a test instead. Tests may include it as well, to look at its
//! plan.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use syn::LitStr;

use super::repository::{Source, Text};

/// Files without a header, and files with no or several callers.
pub fn check(texts: &[Text], sources: &[Source]) -> Vec<String> {
    let mut callers: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let programs = sources.iter().filter(|source| !harness(source));
    for included in programs.flat_map(included) {
        *callers.entry(included).or_default() += 1;
    }
    let statements = texts.iter().filter(|text| text.is("sql"));
    statements
        .flat_map(|statement| {
            let path = &statement.path;
            let headed = statement.text.lines().next().is_some_and(|line| line.starts_with("-- "));
            let headless = (!headed).then(|| {
                format!("{path}:1: begin with a comment: purpose, lock, index, invariant")
            });
            let calls = callers.get(Path::new(path)).copied().unwrap_or_default();
            let generated = path.contains("/generated/");
            let stray = (calls != 1 && !generated)
                .then(|| format!("{path}: included in {calls} places; a statement has one caller"));
            headless.into_iter().chain(stray)
        })
        .collect()
}

/// Whether it only looks on: a test, but not the tests' own library, which holds a domain.
fn harness(source: &Source) -> bool {
    source.is_test() && !source.path.starts_with("tests/src/")
}

/// The files that a source includes, by `include_str!("…")` or by a macro that builds the path,
/// `include_str!(concat!("folder/", $name, ".sql"))`, where every literal of the file may be a
/// name.
fn included(source: &Source) -> Vec<PathBuf> {
    let code = &source.code;
    let folder = Path::new(&source.path).parent().unwrap_or(Path::new(""));
    let resolve = |path: &str| normal(&folder.join(path));
    let literal = |at: usize| {
        let text = &code.tokens.get(at)?.text;
        Some(syn::parse_str::<LitStr>(text).ok()?.value())
    };
    let mut files = Vec::new();
    for at in code.find("include_str!") {
        // After the macro's bracket.
        let first = at + 3;
        if let Some(path) = literal(first) {
            files.push(resolve(&path));
        } else if let Some(prefix) = literal(first + 3).filter(|_| code.is(first, "concat")) {
            let names = (0..code.tokens.len()).filter_map(literal);
            let names = names.filter(|name| !name.contains('/'));
            files.extend(names.map(|name| resolve(&format!("{prefix}{name}.sql"))));
        }
    }
    files
}

/// Without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            part => normal.push(part),
        }
    }
    normal
}

#[test]
fn a_headless_or_stray_statement_is_found() {
    let check = |text: &str, source: &str, found: usize| {
        let texts = [Text { path: "cli/sql/look.sql".to_owned(), text: text.to_owned() }];
        let complaints = check(&texts, &[Source::new("cli/src/status/look.rs", source)]);
        assert_eq!(complaints.len(), found, "{complaints:?}");
    };
    let call = r#"f(include_str!("../../sql/look.sql"))"#;
    check("-- Looks.\nSELECT 1", call, 0);
    check("SELECT 1", call, 1);
    check("-- Looks.\nSELECT 1", "", 1);
    check("-- Looks.\nSELECT 1", &call.repeat(2), 1);
    assert!(harness(&Source::new("cli/tests/plans.rs", call)));
    check("-- Looks.\nSELECT 1", r#"f(include_str!("../sql/look.sql"))"#, 1);
    let built = r#"m!("look", "see"); x(include_str!(concat!("../../sql/", $name, ".sql")))"#;
    check("-- Looks.\nSELECT 1", built, 0);
}
