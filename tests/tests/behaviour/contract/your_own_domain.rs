//! Carries out docs/your-own-domain.md: its code blocks are the files of the counter domain, which
//! `stack/counter.rs` runs.

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

/// Files of the counter domain, by their paths from the repository's root.
fn files() -> BTreeSet<String> {
    let mut folders = vec!["tests/src/counter".to_owned(), "tests/proto".to_owned()];
    let mut files = BTreeSet::from(["tests/src/counter.rs".to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in repository().join(&folder).read_dir().expect("a folder") {
            let entry = entry.expect("an entry");
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().expect("a type").is_dir() {
                folders.push(path);
            } else {
                files.insert(path);
            }
        }
    }
    files
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
        assert!(repository().join(path).exists(), "the page names {path}");
    }
}
