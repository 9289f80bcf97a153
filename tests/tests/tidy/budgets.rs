//! How long things may be. The numbers are those of tower, tonic and linkerd2-proxy,
//! measured, not guessed.

use std::collections::BTreeMap;

use syn::{FnArg, Signature};

use super::code::Code;
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
        let lines = program_lines(&source.code);
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

/// Up to the last that is no test.
fn program_lines(code: &Code) -> usize {
    let last = code.tokens.iter().rev().find(|token| token.is_program);
    last.map_or(0, |token| token.last_line)
}

fn functions(source: &Source) -> Vec<String> {
    let code = &source.code;
    let mut complaints = Vec::new();
    for function in code.functions() {
        let (start, end) = function.tokens;
        let first_line = code.tokens[start].line;
        let place = format!("{}:{first_line}", source.path);
        let lines = code.tokens[end].last_line - first_line + 1;
        if lines > FUNCTION_LINES_MAX {
            complaints.push(format!(
                "{place}: a function of {lines} lines of {FUNCTION_LINES_MAX}: name its steps"
            ));
        }
        let parameters = function.signature.as_ref().map_or(0, parameters);
        if parameters > PARAMETERS_MAX {
            complaints.push(format!(
                "{place}: {parameters} parameters of {PARAMETERS_MAX}: what belongs together?"
            ));
        }
    }
    complaints
}

/// Parameters of a signature, `self` aside.
fn parameters(signature: &Signature) -> usize {
    signature.inputs.iter().filter(|input| matches!(input, FnArg::Typed(_))).count()
}

fn lines(source: &Source) -> Vec<String> {
    let literals = literal_columns(&source.code);
    let long = source.code.text.lines().zip(1..).filter(|(line, number)| {
        let literal = literals.get(number).copied().unwrap_or_default();
        line.chars().count() > COLUMNS_MAX + literal && !excused(line)
    });
    long.map(|(line, number)| {
        let columns = line.chars().count();
        format!("{}:{number}: {columns} columns of {COLUMNS_MAX}: break the line", source.path)
    })
    .collect()
}

/// Columns of each line that are the insides of literals.
fn literal_columns(code: &Code) -> BTreeMap<usize, usize> {
    let lines: Vec<&str> = code.text.lines().collect();
    let mut columns = BTreeMap::new();
    for token in code.tokens.iter().filter(|token| token.is_string()) {
        for number in token.line..=token.last_line {
            let whole = lines[number - 1].chars().count();
            let from = if number == token.line { token.columns.0 + 1 } else { 0 };
            let to = if number == token.last_line { token.columns.1 - 1 } else { whole };
            *columns.entry(number).or_default() += to.saturating_sub(from);
        }
    }
    columns
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
        let lines = |count| "x!();\n".repeat(count);
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
        let check = |signature: &str, count| {
            let parsed = syn::parse_str(signature).expect("a signature");
            assert_eq!(parameters(&parsed), count, "{signature}");
        };
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
        assert_eq!(found("a/src/b.rs", &format!("f(\"\n{long}\n\")")), 0);
        assert_eq!(found("a/src/b.rs", &format!("f(\"\", {long})")), 1);
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
