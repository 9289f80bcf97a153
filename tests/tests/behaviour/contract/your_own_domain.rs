//! Carries out docs/your-own-domain.md: its code blocks are the files of the counter domain, the
//! template of `headwater new`, which `cli/template/tests/counter.rs` runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const PAGE: &str = include_str!("../../../../docs/your-own-domain.md");

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository")
}

/// The page's code blocks that have a path, by it.
fn blocks() -> BTreeMap<String, String> {
    let mut blocks = BTreeMap::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        let Some(title) = line.strip_prefix("```").and_then(|info| info.split_once("title=\""))
        else {
            continue;
        };
        let path = title.1.trim_end_matches('"').to_owned();
        let body = lines.by_ref().take_while(|line| *line != "```");
        let body: String = body.flat_map(|line| [line, "\n"]).collect();
        assert!(blocks.insert(path.clone(), body).is_none(), "{path} stands twice on the page");
    }
    blocks
}

/// The files that one aggregate with a view costs, the contract first, and the one that is edited.
const FILES: [&str; 5] = [
    "cli/template/proto/counter/v1/counter.proto",
    "cli/template/src/aggregate.rs",
    "cli/template/src/view.rs",
    "cli/template/src/api.rs",
    "cli/template/src/lib.rs",
];
/// Lines of these that are neither blank nor comments: the goal, reached.
const LINES_MAX: usize = 120;

/// The files, by their paths from the repository's root.
fn files() -> BTreeSet<String> {
    FILES.map(str::to_owned).into()
}

/// What a command, an event, a view, a get and a list cost in lines.
#[test]
fn a_domain_of_one_aggregate_is_short() {
    let mut total = 0;
    for path in FILES {
        let text = std::fs::read_to_string(repository().join(path)).expect("a file");
        let lines = text.lines().map(str::trim);
        let count = lines.filter(|line| !line.is_empty() && !line.starts_with("//")).count();
        println!("{count:4} {path}");
        total += count;
    }
    println!("{total:4} lines in all, of a goal of 120; 3 new files beside the proto, 1 edited");
    assert!(total <= LINES_MAX, "{total} lines: the seam has become longer");
}

#[test]
fn the_page_shows_the_files_that_run() {
    let blocks = blocks();
    assert_eq!(blocks.keys().cloned().collect::<BTreeSet<_>>(), files());
    for (path, block) in blocks {
        let file = std::fs::read_to_string(repository().join(&path)).expect("a file");
        assert!(file == block, "{path} is not what the page shows; copy it there");
    }
}

#[test]
fn what_the_page_names_exists() {
    let inline = PAGE.split('`').skip(1).step_by(2);
    let paths = inline.filter(|word| word.contains('/') && !word.contains(['<', ' ', '\n']));
    let named: BTreeSet<&str> = paths.filter(|word| word.ends_with(['/', 's'])).collect();
    assert!(named.len() > 10, "{named:?}");
    for path in named {
        let is_there =
            ["", "cli/template"].iter().any(|at| repository().join(at).join(path).exists());
        assert!(is_there, "the page names {path}");
    }
}
