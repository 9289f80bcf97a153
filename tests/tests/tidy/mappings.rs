//! Errors become replies through a match that names every one of them: with `_ =>` a new kind of
//! error would get some other kind's status without anybody deciding so.

use super::code::{closing, first_outside, line_of, words};
use super::repository::Source;

/// Where the mappings are; a rule that looks at nothing would hold for ever.
const HUBS: [&str; 3] =
    ["lib/chassis/src/failure.rs", "command-svc/src/reply.rs", "query-svc/src/grpc/call.rs"];
/// What a mapping returns.
const REPLIES: [&str; 5] = ["Failure", "Code", "Status", "ErrorReason", "Self"];

/// Wildcards in functions that return a reply's error, and everywhere in the hubs.
pub fn wildcards(sources: &[Source]) -> Vec<String> {
    let programs = sources.iter().filter(|source| !source.is_test());
    let mut complaints: Vec<_> = programs.flat_map(mapped).collect();
    let missing = HUBS.iter().filter(|hub| sources.iter().all(|source| source.path != **hub));
    complaints.extend(missing.map(|hub| format!("{hub} is gone: name its heir in mappings.rs")));
    complaints
}

fn mapped(source: &Source) -> Vec<String> {
    let program = &source.code.program;
    let whole = HUBS.contains(&source.path.as_str()).then_some((0, program.len()));
    let places = whole.into_iter().chain(mappings(program)).flat_map(|(start, end)| {
        let wildcards = words(&program[start..end], "_ =>").collect::<Vec<_>>();
        wildcards.into_iter().map(move |at| line_of(program, start + at))
    });
    let lines: std::collections::BTreeSet<usize> = places.collect();
    let complaint = |line| format!("{}:{line}: name every case instead of `_ =>`", source.path);
    lines.into_iter().map(complaint).collect()
}

/// The bodies of the functions that return a reply's error.
fn mappings(program: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    words(program, "fn").filter_map(|start| {
        let open = first_outside(program, start, &['{', ';'])?;
        let (_, returned) = program[start..open].rsplit_once("->")?;
        let replies = &REPLIES[..if in_conversion(program, start) { 5 } else { 4 }];
        replies.contains(&returned.trim()).then(|| (open, closing(program, open)))
    })
}

/// Whether the function belongs to an `impl From<…> for` a reply's error, where it returns `Self`.
fn in_conversion(program: &str, start: usize) -> bool {
    let Some(begun) = words(program, "impl").take_while(|at| *at < start).last() else {
        return false;
    };
    let header = program[begun..start].split('{').next().unwrap_or_default();
    let target = header.rsplit_once(" for ").map_or("", |(_, target)| target.trim());
    header.contains("From<") && REPLIES.contains(&target)
}

#[test]
fn a_wildcard_is_found_where_errors_become_replies() {
    let check = |path: &str, text: &str, found: usize| {
        let complaints = mapped(&Source::new(path, text));
        assert_eq!(complaints.len(), found, "{text}: {complaints:?}");
    };
    let plain = "fn f(e: E) -> Failure { match e { E::A => a(), _ => b() } }";
    check("cli/src/x.rs", plain, 1);
    check("cli/src/x.rs", "fn f(e: E) -> u8 { match e { E::A => 1, _ => 2 } }", 0);
    check("cli/src/x.rs", "fn f(e: E) -> Code { match e { E::A => A, E::B => B } }", 0);
    check(HUBS[1], "fn f(e: E) -> u8 { match e { E::A => 1, _ => 2 } }", 1);
    check(HUBS[1], plain, 1);
    let from = "impl From<E> for Status { fn from(e: E) -> Self { match e { _ => x } } }";
    check("cli/src/x.rs", from, 1);
    check("cli/src/x.rs", &from.replace("Status", "Other"), 0);
    assert_eq!(wildcards(&[]).len(), HUBS.len(), "the hubs must be there");
}
