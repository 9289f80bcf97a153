//! `headwater new`: a repository for a domain of one's own, with one aggregate, one view and a
//! test.
//!
//! The files are those of `template/`, which this repository's own tests build and run as the
//! counter domain; what is called a counter there has the new name.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

/// `headwater new NAME`.
#[derive(Args)]
pub struct Options {
    /// What the domain's first aggregate is called, in lower case, such as `invoice`.
    name: String,
    /// The folder to make [default: NAME].
    #[arg(long)]
    path: Option<PathBuf>,
    /// Folder of the Headwater sources to depend on.
    #[arg(long, required_unless_present = "git", conflicts_with = "git")]
    headwater: Option<PathBuf>,
    /// Repository of the Headwater sources to depend on.
    #[arg(long)]
    git: Option<String>,
    /// Commit of that repository.
    #[arg(long, requires = "git")]
    rev: Option<String>,
}

/// Path in the new repository, and text.
const FILES: [(&str, &str); 16] = [
    ("Cargo.toml", include_str!("../template/Cargo.toml.in")),
    ("Makefile", include_str!("../template/Makefile.in")),
    ("README.md", include_str!("../template/README.md.in")),
    (".gitignore", "/target\n"),
    ("build.rs", include_str!("../template/build.rs")),
    ("proto/counter/v1/counter.proto", include_str!("../template/proto/counter/v1/counter.proto")),
    ("src/lib.rs", include_str!("../template/src/lib.rs")),
    ("src/aggregate.rs", include_str!("../template/src/aggregate.rs")),
    ("src/view.rs", include_str!("../template/src/view.rs")),
    ("src/api.rs", include_str!("../template/src/api.rs")),
    ("src/bin/command-svc.rs", include_str!("../template/src/bin/command-svc.rs")),
    ("src/bin/query-svc.rs", include_str!("../template/src/bin/query-svc.rs")),
    ("src/bin/projector.rs", include_str!("../template/src/bin/projector.rs")),
    ("src/bin/router.rs", include_str!("../template/src/bin/router.rs")),
    ("src/bin/headwater.rs", include_str!("../template/src/bin/headwater.rs")),
    ("tests/counter.rs", include_str!("../template/tests/counter.rs")),
];
const INSTALL: &str = include_str!("../../scripts/install-postgres.sh");

/// Names that the generated code or Rust itself has another meaning for.
const TAKEN: [&str; 22] = [
    "as",
    "box",
    "crate",
    "dyn",
    "else",
    "enum",
    "extern",
    "fn",
    "for",
    "headwater",
    "impl",
    "in",
    "loop",
    "match",
    "mod",
    "move",
    "pub",
    "ref",
    "self",
    "struct",
    "type",
    "use",
];

/// Makes the repository, and says what to type next.
///
/// # Errors
/// The name cannot be one, the folder is there already, or a file cannot be written.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let name = checked(&options.name)?;
    let root = options.path.clone().unwrap_or_else(|| PathBuf::from(name));
    ensure!(!root.exists(), "{} is there already; choose another with --path", root.display());
    let source = source(options)?;
    for (path, text) in FILES {
        let text = if path == "Cargo.toml" { manifest(text, &source) } else { text.to_owned() };
        write(&root.join(renamed(path, name)), &renamed(&text, name))?;
    }
    let script = root.join("scripts/install-postgres.sh");
    write(&script, INSTALL)?;
    make_executable(&script)?;
    println!("made {}; next: cd {} && make test", root.display(), root.display());
    Ok(())
}

fn checked(name: &str) -> anyhow::Result<&str> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let fits = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(plain);
    if !fits || name.len() > 30 || name.ends_with('_') || name.contains("__") {
        bail!(
            "{name:?} cannot be a name: 1 to 30 lower-case letters, digits and _, such as invoice"
        );
    }
    ensure!(
        !TAKEN.contains(&name),
        "{name:?} has another meaning in the code; choose another name"
    );
    Ok(name)
}

/// How Cargo finds a crate of Headwater: the beginning of its table, without the folder.
fn source(options: &Options) -> anyhow::Result<Source> {
    if let Some(url) = &options.git {
        let rev = options.rev.as_ref().map(|rev| format!(", rev = {rev:?}")).unwrap_or_default();
        return Ok(Source::Git(format!("git = {url:?}{rev}")));
    }
    let folder = options.headwater.clone().unwrap_or_default();
    let folder = folder.canonicalize().with_context(|| {
        format!("{} is no folder; give that of the Headwater sources", folder.display())
    })?;
    ensure!(
        folder.join("lib/edge/Cargo.toml").exists(),
        "{} does not hold the Headwater sources",
        folder.display()
    );
    Ok(Source::Folder(folder))
}

enum Source {
    Folder(PathBuf),
    Git(String),
}

/// Writes the dependency for each place that names a folder of Headwater's.
fn manifest(text: &str, source: &Source) -> String {
    let line = |line: &str| match line.split_once("@headwater:") {
        None => line.to_owned(),
        Some((before, folder)) => {
            let folder = folder.trim_end_matches('@');
            match source {
                Source::Folder(root) => {
                    format!("{before}{{ path = {:?} }}", root.join(folder).display().to_string())
                }
                Source::Git(git) => format!("{before}{{ {git} }}"),
            }
        }
    };
    text.lines().map(line).map(|line| line + "\n").collect()
}

/// Every form of the template's name, in the new one's.
fn renamed(text: &str, name: &str) -> String {
    let camel: String = name.split('_').map(capitalised).collect();
    text.replace("counter", name)
        .replace("Counter", &camel)
        .replace("COUNTER", &name.to_ascii_uppercase())
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map(|first| first.to_ascii_uppercase().to_string() + chars.as_str())
        .unwrap_or_default()
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn make_executable(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, mode).with_context(|| format!("cannot mark {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["invoice", "order", "line_item", "a1"] {
            assert!(checked(good).is_ok(), "{good}");
        }
        let long = "a".repeat(31);
        for bad in ["", "Invoice", "1a", "_a", "a-b", "a__b", "a_", "type", "headwater", &long] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_form_of_the_name_is_replaced() {
        let text = "counter CounterRow COUNTER_FULL counters list_counters";
        let new = "line_item LineItemRow LINE_ITEM_FULL line_items list_line_items";
        assert_eq!(renamed(text, "line_item"), new);
    }

    #[test]
    fn dependencies_are_by_folder_or_by_repository() {
        let text = "headwater-edge = @headwater:lib/edge@\nanyhow = \"1\"\n";
        let folder = manifest(text, &Source::Folder(PathBuf::from("/h")));
        assert_eq!(folder, "headwater-edge = { path = \"/h/lib/edge\" }\nanyhow = \"1\"\n");
        let git = manifest(text, &Source::Git("git = \"u\"".to_owned()));
        assert_eq!(git, "headwater-edge = { git = \"u\" }\nanyhow = \"1\"\n");
    }
}
