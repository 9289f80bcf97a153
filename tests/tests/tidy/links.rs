//! References lead somewhere in the repository: linked files and headings, and pages that are named
//! in prose or in a comment. Whoever reads a complaint must be able to follow it.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::repository::{Source, Text, root};

/// Pages whose headings are all linked at their top.
const INDEXED: [&str; 1] = ["DECISIONS.md"];
/// Holds broken examples on purpose.
const OWN: &str = "tests/tests/tidy/";

/// Links that lead nowhere, headings that an index lacks, and names of pages that do not exist.
pub fn check(texts: &[Text], sources: &[Source]) -> Vec<String> {
    let exists = |path: &Path| root().join(path).exists();
    let pages = texts.iter().filter(|text| text.is("md"));
    let comments = sources.iter().filter(|source| !source.path.starts_with(OWN));
    let named = texts
        .iter()
        .map(|text| (text.path.as_str(), text.text.as_str()))
        .chain(comments.map(|source| (source.path.as_str(), source.code.text.as_str())));
    let unknown = named.flat_map(|(path, text)| unknown_pages(path, text, exists));
    let broken = pages.clone().flat_map(|page| broken(page, texts, exists));
    let missing = pages.filter(|page| INDEXED.contains(&page.path.as_str())).flat_map(unlisted);
    broken.chain(missing).chain(unknown).collect()
}

/// Links of a page to files or headings that are not there.
fn broken(page: &Text, texts: &[Text], exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for (line, target) in links(page) {
        if target.contains("://") {
            continue;
        }
        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        let path = match file {
            "" => PathBuf::from(&page.path),
            file => beside(&page.path, file),
        };
        let place = format!("{}:{line}", page.path);
        if !exists(&path) {
            complaints.push(format!("{place}: {target}: there is no such file"));
        } else if !heading.is_empty() {
            let linked = texts.iter().find(|text| Path::new(&text.path) == path);
            if linked.is_none_or(|text| !slugs(text).contains(heading)) {
                complaints.push(format!("{place}: {target}: there is no such heading"));
            }
        }
    }
    complaints
}

/// Headings of the second level that no link of the same page leads to.
fn unlisted(page: &Text) -> Vec<String> {
    let listed: BTreeSet<_> = links(page).into_iter().map(|(_, target)| target).collect();
    let headings = page.text.lines().filter_map(|line| line.strip_prefix("## "));
    let unlisted =
        headings.filter(|heading| !listed.contains(format!("#{}", slug(heading)).as_str()));
    unlisted
        .map(|heading| format!("{}: the index at the top lacks '{heading}'", page.path))
        .collect()
}

/// Pages that are named and exist neither beside the file, nor at the root, nor in `docs`.
fn unknown_pages(path: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let names = line.split(|c| !is_part(c)).filter(|word| word.ends_with(".md"));
        let unknown = names.filter(|name| {
            let places = [beside(path, name), PathBuf::from(name), Path::new("docs").join(name)];
            name.len() > ".md".len() && !line.contains("://") && !places.iter().any(|p| exists(p))
        });
        complaints.extend(unknown.map(|name| {
            format!("{path}:{}: {name} is not in the repository: name a page that is", index + 1)
        }));
    }
    complaints
}

/// Targets of a page's links, each with its line; what stands in a block of code is no link.
fn links(page: &Text) -> Vec<(usize, &str)> {
    let (mut fenced, mut links) = (false, Vec::new());
    for (index, line) in page.text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            links.extend(targets.map(|target| (index + 1, target)));
        }
    }
    links
}

/// The anchors of a page's headings.
fn slugs(page: &Text) -> BTreeSet<String> {
    let headings = page.text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| slug(line.trim_start_matches('#').trim())).collect()
}

/// The anchor of a heading, as GitHub makes it.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

/// A path that is written relative to a file's folder.
fn beside(file: &str, relative: &str) -> PathBuf {
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    let mut path = PathBuf::new();
    for part in folder.join(relative).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            part => path.push(part),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str, text: &str) -> Text {
        Text { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let other = "# Other\n## The primary's `share` (50 %)\n";
        let check = |text: &str, found: usize| {
            let pages = [page("docs/a.md", text), page("docs/b.md", other)];
            let exists = |path: &Path| pages.iter().any(|page| Path::new(&page.path) == path);
            let complaints = broken(&pages[0], &pages, exists);
            assert_eq!(complaints.len(), found, "{complaints:?}");
        };
        check("[b](b.md), [b](../docs/b.md), [out](https://c.example/c.md)", 0);
        check("[b](b.md#the-primarys-share-50-)", 0);
        check("# Here\n[here](#here)", 0);
        check("[c](c.md) and [b](../b.md)", 2);
        check("[b](b.md#share) and [here](#here)", 2);
        check("```\n[c](c.md)\n```", 0);
    }

    #[test]
    fn a_heading_that_is_not_listed_is_found() {
        let check = |text: &str, found: usize| {
            assert_eq!(unlisted(&page("DECISIONS.md", text)).len(), found, "{text}");
        };
        check("- [One](#2026-one)\n## 2026: one\n### Deeper", 0);
        check("- [One](#2026-one)\n## 2026: one\n## 2026: two", 1);
    }

    #[test]
    fn a_page_that_does_not_exist_is_found() {
        let check = |text: &str, found: usize| {
            let exists = |path: &Path| path == Path::new("docs/b.md");
            assert_eq!(unknown_pages("cli/src/up.rs", text, exists).len(), found, "{text}");
        };
        check("// As docs/b.md has it, and b.md, too.", 0);
        check("// As plan.md has it: see docs/c.md", 2);
        check("// https://c.example/c.md", 0);
    }
}
