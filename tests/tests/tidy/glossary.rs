//! The glossary names the types of the system's terms: every public type of the kernel and of the
//! event log, and every type that a program's `lib.rs` shows to others; and none that does not
//! exist.

use std::collections::BTreeSet;

use syn::{Item, UseTree, Visibility};

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
    let known: BTreeSet<String> =
        programs.iter().flat_map(|source| declared(&source.code.program(), false)).collect();
    let terms: BTreeSet<String> = programs.iter().flat_map(|source| terms(source)).collect();
    let missing = terms.difference(&named).map(|name| {
        format!("{PAGE}: {name} is public: add it to its term's row, or make it private")
    });
    let invented = named
        .difference(&known)
        .map(|name| format!("{PAGE}: there is no type {name}: write its new name, or remove it"));
    missing.chain(invented).collect()
}

/// The words in code in the fourth cell of each row.
fn named(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split('|').nth(4));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The terms that a file holds.
fn terms(source: &Source) -> Vec<String> {
    let (krate, rest) = source.crate_and_rest();
    match rest {
        _ if LIBRARIES.contains(&krate) => declared(&source.code.program(), true),
        "src/lib.rs" if PROGRAMS.contains(&krate) => {
            let file = source.code.program();
            [declared(&file, true), exported(&file)].concat()
        }
        _ => Vec::new(),
    }
}

/// Types that a file declares outside of functions and inner modules.
fn declared(file: &syn::File, public_only: bool) -> Vec<String> {
    let types = file.items.iter().filter_map(|item| match item {
        Item::Struct(item) => Some((&item.vis, &item.ident)),
        Item::Enum(item) => Some((&item.vis, &item.ident)),
        Item::Trait(item) => Some((&item.vis, &item.ident)),
        Item::Type(item) => Some((&item.vis, &item.ident)),
        _ => None,
    });
    let wanted = types.filter(|(vis, _)| !public_only || matches!(vis, Visibility::Public(_)));
    wanted.map(|(_, name)| name.to_string()).collect()
}

/// Types that `pub use` hands on.
fn exported(file: &syn::File) -> Vec<String> {
    let mut names = Vec::new();
    for item in &file.items {
        if let Item::Use(item) = item
            && matches!(item.vis, Visibility::Public(_))
        {
            leaves(&item.tree, &mut names);
        }
    }
    names.retain(|name| is_type(name));
    names
}

fn leaves(tree: &UseTree, names: &mut Vec<String>) {
    match tree {
        UseTree::Path(path) => leaves(&path.tree, names),
        UseTree::Name(name) => names.push(name.ident.to_string()),
        UseTree::Rename(rename) => names.push(rename.rename.to_string()),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, names)),
        UseTree::Glob(_) => {}
    }
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
