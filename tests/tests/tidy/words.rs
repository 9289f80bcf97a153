//! Words that may be written on the way, and must be gone when it is done.

use super::code::{line_of, words};
use super::repository::Source;

/// Written so that this file does not complain about itself.
const UNFINISHED: [(&str, &str); 4] = [
    ("todo!", "finish it"),
    ("unimplemented!", "implement it, or make it impossible to ask for"),
    ("dbg!", "remove it; a `tracing` event stays, a debug print does not"),
    ("#[ignore", "repair the test or delete it: an ignored one proves nothing"),
];
/// Looked for in comments too.
const NOTES: [&str; 3] = ["FIXME", concat!("TO", "DO"), concat!("XX", "X")];

/// A sleep in a test is excused by this, with the reason why no condition can be waited for.
const EXCUSE: &str = "// tidy: allow sleep: ";
/// The functions that may sleep: they wait for a condition, with a bound.
const WAITS: &str = "eventually";
/// Tests on a paused clock, which takes no time.
const PAUSED: &str = "start_paused = true";

/// Unfinished business, in programs and in tests.
pub fn unfinished(sources: &[Source]) -> Vec<String> {
    let in_code = sources.iter().flat_map(|source| {
        UNFINISHED.iter().flat_map(move |(word, instead)| {
            let code = &source.code.blank;
            let found = words(code, word);
            found.map(move |at| format!("{}:{}: {instead}", source.path, line_of(code, at)))
        })
    });
    let in_notes = sources.iter().filter(|source| !source.path.ends_with("tidy/words.rs"));
    let in_notes = in_notes.flat_map(|source| {
        NOTES.iter().flat_map(move |note| {
            let text = &source.code.text;
            words(text, note).map(move |at| {
                let place = format!("{}:{}", source.path, line_of(text, at));
                format!("{place}: {note} is for issues; do it or say why it is as it is")
            })
        })
    });
    in_code.chain(in_notes).collect()
}

/// `unwrap` in programs.
pub fn unwrapped(sources: &[Source]) -> Vec<String> {
    let programs = sources.iter().filter(|source| !source.is_test());
    programs
        .flat_map(|source| {
            let program = &source.code.program;
            words(program, ".unwrap()").map(move |at| {
                format!(
                    "{}:{}: handle it, or `expect` with the reason why it cannot happen",
                    source.path,
                    line_of(program, at)
                )
            })
        })
        .collect()
}

/// Sleeps in tests, outside of a helper that waits for a condition and on a clock that runs.
pub fn slept(sources: &[Source]) -> Vec<String> {
    sources.iter().flat_map(sleeps).collect()
}

fn sleeps(source: &Source) -> Vec<String> {
    let (code, program) = (&source.code.blank, &source.code.program);
    let text: Vec<&str> = source.code.text.lines().collect();
    let mut complaints = Vec::new();
    for at in ["sleep", "sleep_until", "sleep_ms"].iter().flat_map(|word| words(code, word)) {
        let line = line_of(code, at);
        let tested = source.is_test() || program.as_bytes()[at] == b' ';
        let called = code[at..].trim_start_matches(|c| c != '(' && c != '\n').starts_with('(');
        let excused = text[line.saturating_sub(2)..line].iter().any(|line| line.contains(EXCUSE));
        let (attributes, name) = enclosing(code, at);
        let free = name.contains(WAITS) || attributes.contains(PAUSED);
        if tested && called && !excused && !free {
            complaints.push(format!(
                "{}:{line}: wait for a condition in a function named `…{WAITS}…`, or excuse it \
                 with `{EXCUSE}<reason>`",
                source.path
            ));
        }
    }
    complaints
}

/// The function that begins last before a place: its attributes, and its name.
fn enclosing(code: &str, at: usize) -> (&str, &str) {
    let Some(start) = words(code, "fn").take_while(|start| *start < at).last() else {
        return ("", "");
    };
    let before = code[..start].rfind(['{', '}', ';']).map_or(0, |end| end + 1);
    let name = code[start + "fn".len()..at].trim_start();
    let name = name.split(|c: char| !c.is_alphanumeric() && c != '_').next();
    (&code[before..start], name.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: fn(&[Source]) -> Vec<String>, path: &str, text: &str) -> usize {
        rule(&[Source::new(path, text)]).len()
    }

    #[test]
    fn unfinished_business_is_found() {
        let found = |text| found(unfinished, "cli/src/up.rs", text);
        assert_eq!(found("fn f() { todo!() }"), 1);
        assert_eq!(found("let x = dbg!(y);"), 1);
        assert_eq!(found("#[ignore = \"slow\"] fn f() {}"), 1);
        assert_eq!(found("// FIXME later"), 1);
        assert_eq!(found("// todo! was here"), 0);
    }

    #[test]
    fn an_unwrap_is_found_in_programs_only() {
        assert_eq!(found(unwrapped, "cli/src/up.rs", "x.unwrap(); y.unwrap_or(z)"), 1);
        assert_eq!(found(unwrapped, "cli/src/up.rs", "#[cfg(test)] mod t { x.unwrap() }"), 0);
        assert_eq!(found(unwrapped, "cli/tests/up.rs", "x.unwrap()"), 0);
    }

    #[test]
    fn a_sleep_is_found_unless_it_waits_for_something() {
        let found = |text| found(slept, "cli/tests/up.rs", text);
        assert_eq!(found("fn f() { sleep(LONG).await }"), 1);
        assert_eq!(found("fn eventually() { sleep(SHORT).await }"), 0);
        assert_eq!(found("fn is_eventually_up() { sleep(SHORT).await }\nfn g() { sleep(X) }"), 1);
        assert_eq!(found("// tidy: allow sleep: a slow peer\nsleep(LONG)"), 0);
        assert_eq!(found("// tidy: allow sleep: a slow peer\nx;\nsleep(LONG)"), 1);
        assert_eq!(found("fn f() { run(\"sleep 60\") }"), 0);
        let paused = "#[tokio::test(start_paused = true)] async fn f() { sleep(LONG).await }";
        assert_eq!(found(paused), 0);
        assert_eq!(found(&format!("{paused} fn g() {{ sleep(LONG) }}")), 1);
        let program = |text| super::slept(&[Source::new("cli/src/up.rs", text)]).len();
        assert_eq!(program("fn f() { sleep(LONG).await }"), 0);
        assert_eq!(program("#[cfg(test)] mod t { fn f() { sleep(LONG).await } }"), 1);
    }
}
