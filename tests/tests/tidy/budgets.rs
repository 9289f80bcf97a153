//! How long things may be. The numbers are those of tower, tonic and linkerd2-proxy,
//! measured, not guessed.

use super::code::{closing, first_outside, line_of, words};
use super::repository::{Source, Text};

/// Lines of a file, tests aside.
const FILE_LINES_MAX: usize = 400;
/// Lines of a function, signature included.
const FUNCTION_LINES_MAX: usize = 70;
/// Parameters of a function, `self` aside.
const PARAMETERS_MAX: usize = 5;
/// Columns of a line of Rust.
const COLUMNS_MAX: usize = 100;
/// Columns of a line of prose, SQL or proto.
const TEXT_COLUMNS_MAX: usize = 120;

/// Rust files, functions and lines beyond their budgets. A line may be longer for a literal or an
/// address, which cannot be broken.
pub fn code(sources: &[Source]) -> Vec<String> {
    let file = |source: &Source| {
        let lines = source.code.program.trim_end().lines().count();
        (lines > FILE_LINES_MAX && !source.is_test()).then(|| {
            let path = &source.path;
            format!("{path}: {lines} lines of {FILE_LINES_MAX}: find the second thing it is about")
        })
    };
    sources
        .iter()
        .flat_map(|source| file(source).into_iter().chain(functions(source)).chain(lines(source)))
        .collect()
}

fn functions(source: &Source) -> Vec<String> {
    let code = &source.code.blank;
    let mut complaints = Vec::new();
    for start in words(code, "fn") {
        let Some(open) = first_outside(code, start, &['{', ';', ',']) else { continue };
        let place = format!("{}:{}", source.path, line_of(code, start));
        let end = if code[open..].starts_with('{') { closing(code, open) } else { open };
        let lines = line_of(code, end) - line_of(code, start) + 1;
        if lines > FUNCTION_LINES_MAX {
            complaints.push(format!(
                "{place}: a function of {lines} lines of {FUNCTION_LINES_MAX}: name its steps"
            ));
        }
        let parameters = parameters(&code[start..open]);
        if parameters > PARAMETERS_MAX {
            complaints.push(format!(
                "{place}: {parameters} parameters of {PARAMETERS_MAX}: what belongs together?"
            ));
        }
    }
    complaints
}

/// Parameters of a signature, `self` aside.
fn parameters(signature: &str) -> usize {
    let generics = signature.find('<').map_or(0, |open| {
        let mut depth = 0;
        let end = signature[open..].char_indices().find(|(at, c)| {
            let arrow = signature[..open + at].ends_with('-');
            depth += i32::from(*c == '<') - i32::from(*c == '>' && !arrow);
            depth == 0
        });
        end.map_or(0, |(at, _)| open + at)
    });
    let first = signature.find('(').unwrap_or_default();
    let from = if signature[..first].contains('<') { generics } else { 0 };
    let Some(open) = signature[from..].find('(').map(|at| from + at) else { return 0 };
    let inner = &signature[open + 1..closing(signature, open) - 1];
    let mut depth = 0;
    let parts = inner.split(|c| {
        depth += i32::from(matches!(c, '(' | '[' | '<')) - i32::from(matches!(c, ')' | ']' | '>'));
        depth == 0 && c == ','
    });
    let is_self = |part: &str| {
        let name = part.split(':').next().unwrap_or_default();
        words(name, "self").next().is_some()
    };
    parts.map(str::trim).filter(|part| !part.is_empty() && !is_self(part)).count()
}

fn lines(source: &Source) -> Vec<String> {
    let lines = source.code.text.lines().zip(source.code.blank.lines()).enumerate();
    let long = lines.filter(|(_, (line, blank))| {
        line.chars().count() - literal_columns(line, blank) > COLUMNS_MAX && !excused(line)
    });
    long.map(|(at, (line, _))| {
        let columns = line.chars().count();
        format!("{}:{}: {columns} columns of {COLUMNS_MAX}: break the line", source.path, at + 1)
    })
    .collect()
}

/// Columns of a line that are the insides of literals: blanked, and no comment.
fn literal_columns(line: &str, blank: &str) -> usize {
    if blank.trim().is_empty() {
        return if line.trim_start().starts_with("//") { 0 } else { line.chars().count() };
    }
    blank.split('"').skip(1).step_by(2).map(|inside| inside.chars().count()).sum()
}

/// Markdown, SQL and proto lines beyond their budget. A table's row cannot be broken, and what
/// stands in a block of code is as it was typed or printed.
pub fn texts(texts: &[Text]) -> Vec<String> {
    texts.iter().flat_map(long_lines).collect()
}

fn long_lines(text: &Text) -> Vec<String> {
    let (mut fenced, mut complaints) = (false, Vec::new());
    for (at, line) in text.text.lines().enumerate() {
        let fence = text.is("md") && line.trim_start().starts_with("```");
        fenced ^= fence;
        let row = text.is("md") && line.starts_with('|');
        let columns = line.chars().count();
        if columns > TEXT_COLUMNS_MAX && !fenced && !row && !excused(line) {
            complaints.push(format!(
                "{}:{}: {columns} columns of {TEXT_COLUMNS_MAX}: break the line",
                text.path,
                at + 1
            ));
        }
    }
    complaints
}

fn excused(line: &str) -> bool {
    line.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        code(&[Source::new(path, text)]).len()
    }

    #[test]
    fn a_long_file_or_function_is_found() {
        let lines = |count| "x\n".repeat(count);
        assert_eq!(found("cli/src/up.rs", &lines(400)), 0);
        assert_eq!(found("cli/src/up.rs", &lines(401)), 1);
        assert_eq!(found("cli/tests/up.rs", &lines(401)), 0);
        let tested = format!("{}#[cfg(test)]\nmod t {{\n{}}}", lines(390), lines(99));
        assert_eq!(found("cli/src/up.rs", &tested), 0, "its tests do not count");

        let function = |count| format!("fn f() {{\n{}}}", lines(count));
        assert_eq!(found("cli/src/up.rs", &function(68)), 0);
        assert_eq!(found("cli/src/up.rs", &function(69)), 1);
        assert_eq!(found("cli/tests/up.rs", &function(69)), 1);
    }

    #[test]
    fn parameters_are_counted() {
        let check =
            |signature: &str, count| assert_eq!(parameters(signature), count, "{signature}");
        check("fn f()", 0);
        check("fn f(&mut self, a: (u8, u8), b: [u8; 2],) -> T", 2);
        check("fn f<T: Fn(u8, u8) -> u8>(a: T, b: BTreeMap<u8, T>)", 2);
        check("fn f(mut self: Arc<Self>, a: impl Fn(&str, &str))", 1);
        check("fn f(self_made: u8)", 1);
        assert_eq!(found("a/src/b.rs", "fn f(a: A, b: B, c: C, d: D, e: E) {}"), 0);
        assert_eq!(found("a/src/b.rs", "fn f(a: A, b: B, c: C, d: D, e: E, f: F) {}"), 1);
    }

    #[test]
    fn a_long_line_is_found_unless_it_cannot_be_broken() {
        let long = "x".repeat(101);
        assert_eq!(found("a/src/b.rs", &long), 1);
        assert_eq!(found("a/src/b.rs", &format!("// {long}")), 1);
        assert_eq!(found("a/src/b.rs", &format!("// https://{long}")), 0);
        assert_eq!(found("a/src/b.rs", &format!("f(\"{long}\")")), 0);
        let columns = |path: &str, line: &str| {
            texts(&[Text { path: path.to_owned(), text: line.to_owned() }]).len()
        };
        assert_eq!(columns("a.sql", &"x".repeat(121)), 1);
        assert_eq!(columns("a.sql", &"x".repeat(120)), 0);
        assert_eq!(columns("a.md", &"|".repeat(121)), 0);
        let long = "x".repeat(121);
        assert_eq!(columns("a.md", &format!("```\n{long}\n```\n{long}")), 1);
    }
}
