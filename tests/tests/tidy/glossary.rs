//! The glossary names the types of the system's terms: every public type of the kernel and of the
//! event log, and every type that a program's `lib.rs` shows to others; and none that does not
//! exist.

use std::collections::BTreeSet;

use super::code::words;
use super::repository::{Source, Text};

const PAGE: &str = "docs/glossary.md";
/// Libraries whose public types are all terms.
const LIBRARIES: [&str; 2] = ["lib/kernel", "lib/eventlog"];
/// Programs whose terms are what their `lib.rs` declares or re-exports.
const PROGRAMS: [&str; 4] = ["command-svc", "projector", "query-svc", "router"];

/// Terms that the glossary lacks, and types in it that do not exist.
pub fn check(texts: &[Text], sources: &[Source]) -> Vec<String> {
    let page = texts.iter().find(|text| text.path == PAGE).map_or("", |page| &page.text);
    let programs: Vec<_> = sources.iter().filter(|source| !source.is_test()).collect();
    let named = named(page);
    let known: BTreeSet<_> = programs.iter().flat_map(|source| declared(source, "")).collect();
    let terms: BTreeSet<_> = programs.iter().flat_map(|source| terms(source)).collect();
    let missing = terms.difference(&named).map(|name| {
        format!("{PAGE}: {name} is public: add it to its term's row, or make it private")
    });
    let invented = named
        .difference(&known)
        .map(|name| format!("{PAGE}: there is no type {name}: write its new name, or remove it"));
    missing.chain(invented).collect()
}

/// The words in code in the fourth cell of each row.
fn named(page: &str) -> BTreeSet<&str> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split('|').nth(4));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

/// The terms that a file holds.
fn terms(source: &Source) -> Vec<&str> {
    let (krate, rest) = source.crate_and_rest();
    match rest {
        _ if LIBRARIES.contains(&krate) => declared(source, "pub "),
        "src/lib.rs" if PROGRAMS.contains(&krate) => {
            [declared(source, "pub "), exported(&source.code.program)].concat()
        }
        _ => Vec::new(),
    }
}

/// Types that a file declares outside of functions and inner modules, with this visibility or any.
fn declared<'a>(source: &'a Source, visibility: &str) -> Vec<&'a str> {
    let lines = source.code.program.lines().filter(|line| line.starts_with(visibility));
    let types = lines.filter_map(|line| {
        let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
        let line = line.strip_prefix("pub ").unwrap_or(line);
        let (keyword, rest) = line.split_once(' ')?;
        let is_type = ["struct", "enum", "trait", "type"].contains(&keyword);
        rest.split(|c: char| !c.is_alphanumeric()).next().filter(|_| is_type)
    });
    types.filter(|name| !name.is_empty()).collect()
}

/// Types that `pub use` hands on.
fn exported(program: &str) -> Vec<&str> {
    let uses = words(program, "pub use").map(|at| &program[at..]);
    let paths = uses.filter_map(|rest| rest.split(';').next());
    let names = paths.flat_map(|path| path.split(|c: char| !c.is_alphanumeric() && c != '_'));
    names.filter(|name| is_type(name)).collect()
}

/// True for a name that is written as types are; constants are not.
fn is_type(name: &str) -> bool {
    name.starts_with(|c: char| c.is_uppercase()) && name.contains(|c: char| c.is_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_without_a_row_and_a_row_without_a_type_are_found() {
        let check = |page: &str, path: &str, text: &str, found: usize| {
            let page =
                format!("| term | meaning | also called | types |\n|---|---|---|---|\n{page}");
            let pages = [Text { path: PAGE.to_owned(), text: page }];
            let complaints = check(&pages, &[Source::new(path, text)]);
            assert_eq!(complaints.len(), found, "{complaints:?}");
        };
        let (token, kernel) =
            ("| token | A proof. | zookie | `Token` |", "lib/kernel/src/token.rs");
        check(token, kernel, "pub struct Token(u64);", 0);
        check(token, kernel, "pub struct Token(u64);\npub enum TokenError {}", 1);
        check(token, kernel, "pub(crate) struct Token;\nstruct Other;", 0);
        check(token, kernel, "// pub struct Token;", 1);
        check(token, kernel, "#[cfg(test)] mod t { pub struct Token; }", 1);
        let meant = "| token | A proof, as `Other` has it. | `zookie` | `Token` |";
        check(meant, kernel, "pub struct Token(u64);", 0);
        let (lib, none) = ("router/src/lib.rs", "| term | It. | | |");
        check(none, lib, "pub use config::{Config,\n    MAX, read};\npub mod pool;", 1);
        check(none, lib, "use config::Config;\nstruct Serving;", 0);
        check(none, lib, "pub struct Router;", 1);
        check(none, "router/src/pool.rs", "pub struct Pool;", 0);
    }
}
