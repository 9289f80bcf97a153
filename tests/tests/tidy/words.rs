//! Words that may be written on the way, and must be gone when it is done.

use super::code::{Code, line_of, words};
use super::repository::Source;

const UNFINISHED: [(&str, &str); 4] = [
    ("todo!", "finish it"),
    ("unimplemented!", "implement it, or make it impossible to ask for"),
    ("dbg!", "remove it; a `tracing` event stays, a debug print does not"),
    ("ignore", "repair the test or delete it: an ignored one proves nothing"),
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
        let code = &source.code;
        let found = UNFINISHED.iter().flat_map(|(word, instead)| {
            let is_meant = |at: &usize| *word != "ignore" || is_attribute(code, *at);
            code.find(word).filter(is_meant).map(move |at| (at, instead))
        });
        let place = |at: usize| format!("{}:{}", source.path, code.tokens[at].line);
        found.map(|(at, instead)| format!("{}: {instead}", place(at))).collect::<Vec<_>>()
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

fn is_attribute(code: &Code, at: usize) -> bool {
    at > 1 && code.is(at - 1, "[") && code.is(at - 2, "#")
}

/// `unwrap` in programs.
pub fn unwrapped(sources: &[Source]) -> Vec<String> {
    let programs = sources.iter().filter(|source| !source.is_test());
    programs
        .flat_map(|source| {
            source.code.find_in_program(".unwrap()").map(move |at| {
                format!(
                    "{}:{}: handle it, or `expect` with the reason why it cannot happen",
                    source.path, source.code.tokens[at].line
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
    let code = &source.code;
    let text: Vec<&str> = code.text.lines().collect();
    let functions = code.functions();
    let free = |at: usize| {
        let mut around = functions.iter().filter(|f| f.tokens.0 < at && at < f.tokens.1);
        around.next_back().is_some_and(|f| f.name.contains(WAITS) || f.before.contains(PAUSED))
    };
    let called = ["sleep", "sleep_until", "sleep_ms"].into_iter().flat_map(|word| {
        code.find(word).filter(|at| code.is(at + 1, "(") && !code.is(at.saturating_sub(1), "fn"))
    });
    let tested = called.filter(|at| source.is_test() || !code.tokens[*at].is_program);
    let unexcused = tested.filter(|at| {
        let line = code.tokens[*at].line;
        !free(*at) && !text[line.saturating_sub(2)..line].iter().any(|line| line.contains(EXCUSE))
    });
    unexcused
        .map(|at| {
            format!(
                "{}:{}: wait for a condition in a function named `…{WAITS}…`, or excuse it with \
                 `{EXCUSE}<reason>`",
                source.path, code.tokens[at].line
            )
        })
        .collect()
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
        assert_eq!(found("fn f() { ignore(x) }"), 0);
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
