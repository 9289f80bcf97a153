//! ARCHITECTURE.md as data: its table of crates says what `crates.rs` allows, its picture shows
//! every allowed edge leading downwards, and each of its walks passes few files, which exist and
//! hold what the page says to look for.

use std::collections::{BTreeMap, BTreeSet};

use super::crates::{ALLOWED, FREE};
use super::repository::root;

const PAGE: &str = "ARCHITECTURE.md";
/// The section with the picture and the table of the crates.
const CRATES: &str = "## Crates";
/// Headings of walks begin so.
const WALK: &str = "### Walk: ";
/// What is followed through the code.
const WALKS: [&str; 4] = ["a command", "an event", "a query", "a token"];
/// Files that a walk may pass; whoever follows it has to keep all of them in mind.
const FILES_MAX: usize = 12;
const PREFIX: &str = "headwater-";

type Edges = BTreeMap<String, BTreeSet<String>>;

/// Complaints about the page, as it stands in the repository.
pub fn check(page: &str) -> Vec<String> {
    let crates = section(page, CRATES);
    let read = |path: &str| std::fs::read_to_string(root().join(path)).ok();
    [edges(crates, &allowed()), picture(crates, &allowed()), walks(page, read)].concat()
}

/// The edges of `crates.rs`, without the prefix that all crates of ours have.
fn allowed() -> Edges {
    let short = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
    let edges = ALLOWED
        .iter()
        .map(|(krate, uses)| (short(krate), uses.iter().map(|name| (*name).to_owned()).collect()));
    edges.collect()
}

/// The lines from a heading to the next one of its level.
fn section<'p>(page: &'p str, heading: &str) -> &'p str {
    let level = &heading[..heading.find(' ').map_or(0, |at| at + 1)];
    let at = page.find(&format!("\n{heading}")).map_or(page.len(), |at| at + 1);
    let body = &page[at..];
    body.find(&format!("\n{level}")).map_or(body, |end| &body[..end])
}

/// The rows of the tables in a text, cell by cell; headings and rules left out.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// What stands in code in a cell.
fn codes(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Where the table of the crates (name, place, what it may use) and `crates.rs` differ.
fn edges(section: &str, allowed: &Edges) -> Vec<String> {
    let table: Edges = rows(section)
        .into_iter()
        .filter(|row| row.len() == 3)
        .filter_map(|row| {
            let uses = codes(row[2]).map(str::to_owned).collect();
            Some((codes(row[0]).next()?.to_owned(), uses))
        })
        .collect();
    let names: BTreeSet<_> = table.keys().chain(allowed.keys()).collect();
    let differing = names.into_iter().filter(|name| table.get(*name) != allowed.get(*name));
    differing
        .map(|name| {
            format!(
                "{PAGE}: the table says that {name} may use {:?}, tidy/crates.rs allows {:?}",
                table.get(name),
                allowed.get(name)
            )
        })
        .collect()
}

/// Crates that the picture lacks, and edges in it that do not lead downwards.
fn picture(section: &str, allowed: &Edges) -> Vec<String> {
    let drawn = section.split("```").nth(1).unwrap_or_default();
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for (line, text) in drawn.lines().enumerate() {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        lines.extend(words.filter(|word| !word.is_empty()).map(|word| (word, line)));
    }
    let free = FREE.iter().filter_map(|name| name.strip_prefix(PREFIX));
    let names = allowed.keys().map(String::as_str).chain(free);
    let missing = names
        .filter(|name| !lines.contains_key(name))
        .map(|name| format!("{PAGE}: the picture of the crates lacks {name}"));
    let upwards = allowed.iter().flat_map(|(krate, uses)| {
        let lines = &lines;
        let at = lines.get(krate.as_str());
        let wrong = uses.iter().filter(move |used| lines.get(used.as_str()) <= at);
        wrong.map(move |used| format!("{PAGE}: {krate} uses {used}: draw that on a line below"))
    });
    missing.chain(upwards).collect()
}

/// Walks that are missing or too long, and what in them is not there.
fn walks(page: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for walk in WALKS {
        let steps = rows(section(page, &format!("{WALK}{walk}")));
        if steps.is_empty() || steps.len() > FILES_MAX {
            let count = steps.len();
            complaints.push(format!("{PAGE}: {walk} passes {count} files, not 1 to {FILES_MAX}"));
        }
        for step in steps {
            let path = codes(step[0]).next().unwrap_or_default();
            let sought = step.get(1).and_then(|cell| codes(cell).next());
            match (read(path), sought) {
                (None, _) => complaints.push(format!("{PAGE}: {walk}: there is no file {path}")),
                (Some(text), Some(sought)) if holds(&text, sought) => {}
                (Some(_), sought) => {
                    complaints.push(format!("{PAGE}: {walk}: {path} does not hold {sought:?}"));
                }
            }
        }
    }
    complaints
}

/// Whether the word stands in the text by itself.
fn holds(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges_of(pairs: &[(&str, &[&str])]) -> Edges {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        pairs.iter().map(|(krate, uses)| ((*krate).to_owned(), owned(uses))).collect()
    }

    #[test]
    fn an_edge_that_the_table_lacks_or_invents_is_found() {
        let check = |table: &str, allowed: &[(&str, &[&str])], found: usize| {
            let complaints = edges(table, &edges_of(allowed));
            assert_eq!(complaints.len(), found, "{complaints:?}");
        };
        let table = "| crate | place | may use |\n|---|---|---|\n\
                     | `a` | `a/` | |\n| `b` | `lib/b/` | `a` |\n";
        check(table, &[("a", &[]), ("b", &["a"])], 0);
        check(table, &[("a", &[]), ("b", &[])], 1);
        check(table, &[("a", &["b"]), ("b", &["a"])], 1);
        check(table, &[("a", &[])], 1);
        check(table, &[("a", &[]), ("b", &["a"]), ("c", &[])], 1);
    }

    #[test]
    fn a_crate_that_is_not_drawn_and_an_edge_upwards_are_found() {
        let check = |drawn: &str, found: usize| {
            let section = format!("{CRATES}\n```\n{drawn}\n```\n");
            let allowed = edges_of(&[("chassis", &["edge"]), ("edge", &[])]);
            let complaints = picture(&section, &allowed);
            assert_eq!(complaints.len(), found, "{complaints:?}");
        };
        check("cli tests testkit counter previous\n| chassis |\n  edge", 0);
        check("cli tests testkit counter previous\nedge\nchassis", 1);
        check("cli tests testkit counter previous\nchassis edge", 1);
        check("cli testkit counter previous\nchassis\nedge", 1);
        check("cli tests testkit counter previous\nchassis\nedge-case", 2);
    }

    #[test]
    fn a_walk_that_is_missing_too_long_or_leads_nowhere_is_found() {
        let read = |path: &str| (path == "a.rs").then(|| "fn go() {}".to_owned());
        let step = "| `a.rs` | `go` | goes |\n";
        let page = |steps: &str| {
            let others = WALKS[1..].iter().map(|walk| format!("\n{WALK}{walk}\n{step}"));
            format!("\n{WALK}{}\n{steps}{}", WALKS[0], others.collect::<String>())
        };
        let check = |steps: &str, found: usize| {
            let complaints = walks(&page(steps), read);
            assert_eq!(complaints.len(), found, "{complaints:?}");
        };
        check(step, 0);
        check(&step.repeat(FILES_MAX), 0);
        check(&step.repeat(FILES_MAX + 1), 1);
        check("", 1);
        check("| `b.rs` | `go` | goes |\n", 1);
        check("| `a.rs` | `gone` | goes |\n| `a.rs` | | goes |\n", 2);
    }
}
