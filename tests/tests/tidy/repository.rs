//! The repository's files, read once.

use std::path::{Path, PathBuf};

use super::code::Code;

/// A part of the last release, kept as it was.
const PREVIOUS: &str = "tests/previous";
/// Made by tools, by people's own hands, or by other repositories.
const SKIPPED: [&str; 4] = ["target", "data", "node_modules", "__pycache__"];

/// What the rules look at.
pub struct Repository {
    /// Rust files.
    pub sources: Vec<Source>,
    /// Markdown, SQL and proto files.
    pub texts: Vec<Text>,
}

/// A Rust file.
pub struct Source {
    /// From the root, with slashes: `lib/kernel/src/ids.rs`.
    pub path: String,
    /// Its text, as it is and with what is not code blanked.
    pub code: Code,
}

impl Source {
    /// From its text.
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), code: Code::new(text) }
    }

    /// The folder of its crate, such as `lib/kernel`, and the path below.
    pub fn crate_and_rest(&self) -> (&str, &str) {
        let nested = self.path.starts_with("lib/") || self.path.starts_with("domain/");
        let depth = if nested { 2 } else { 1 };
        let mut slashes = self.path.match_indices('/').map(|(at, _)| at);
        match slashes.nth(depth - 1) {
            Some(at) => (&self.path[..at], &self.path[at + 1..]),
            None => ("", &self.path),
        }
    }

    /// Whether the whole file is test code: in a test or bench folder, in the tests' own crate, or
    /// a `tests` module of its own.
    pub fn is_test(&self) -> bool {
        let (krate, rest) = self.crate_and_rest();
        let folder = rest.split('/').next();
        let file = rest.rsplit('/').next();
        krate == "tests"
            || matches!(folder, Some("tests" | "benches"))
            || file == Some("tests.rs")
            || rest.contains("/tests/")
    }
}

/// Any other file.
pub struct Text {
    /// From the root, with slashes.
    pub path: String,
    /// What it says.
    pub text: String,
}

impl Text {
    /// Whether the file's name ends in `.extension`.
    pub fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|end| end == extension)
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent").to_owned()
}

impl Repository {
    /// Everything below the root, in order of path.
    pub fn read() -> Self {
        let mut repository = Self { sources: Vec::new(), texts: Vec::new() };
        repository.enter(&root(), "");
        assert!(repository.sources.len() > 100, "this is not the whole repository");
        repository
    }

    fn enter(&mut self, folder: &Path, prefix: &str) {
        let entries = std::fs::read_dir(folder).expect("a folder");
        let mut entries: Vec<_> = entries.map(|entry| entry.expect("an entry")).collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().into_string().expect("a name in UTF-8");
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().expect("a kind");
            if path == PREVIOUS {
                continue;
            }
            if kind.is_dir() && !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
                self.enter(&entry.path(), &format!("{path}/"));
            } else if kind.is_file() {
                self.add(&entry.path(), path);
            }
        }
    }

    fn add(&mut self, file: &Path, path: String) {
        let read = || std::fs::read_to_string(file).expect("text in UTF-8");
        match file.extension().and_then(|end| end.to_str()) {
            Some("rs") => self.sources.push(Source::new(&path, &read())),
            Some("md" | "sql" | "proto") => self.texts.push(Text { path, text: read() }),
            _ => {}
        }
    }
}

#[test]
fn a_file_knows_its_crate_and_whether_it_is_a_test() {
    let check = |path: &str, krate: &str, rest: &str, test: bool| {
        let source = Source::new(path, "");
        assert_eq!(source.crate_and_rest(), (krate, rest));
        assert_eq!(source.is_test(), test, "{path}");
    };
    check("lib/kernel/src/ids.rs", "lib/kernel", "src/ids.rs", false);
    check("domain/model/tests/domain/main.rs", "domain/model", "tests/domain/main.rs", true);
    check("query-svc/src/pick/tests.rs", "query-svc", "src/pick/tests.rs", true);
    check("tests/src/bench/load.rs", "tests", "src/bench/load.rs", true);
    check("proto/build.rs", "proto", "build.rs", false);
}
