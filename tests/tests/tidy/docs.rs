//! Docs begin with the thing itself, a noun or a verb: who runs an eye along a page of them finds
//! it there. "Whether a node…", "What a client…" and "It is…" say first what kind of sentence
//! comes.

use syn::LitStr;

use super::repository::Source;

/// Of a thousand doc comments, how many may begin otherwise: as in the code bases of others.
const OTHERWISE_PERMILLE_MAX: usize = 30;
/// From the text of one line of docs to the next: `] # ! [ doc =` and the text itself.
const LINE_TOKENS_MAX: usize = 7;
/// How many of them a complaint shows.
const SHOWN: usize = 40;

/// Pronouns and question words. Articles are not among them, nor "Each", "All" and "No".
const OTHERWISE: [&str; 31] = [
    "He",
    "How",
    "I",
    "It",
    "Its",
    "Ours",
    "She",
    "That",
    "Their",
    "Theirs",
    "These",
    "They",
    "This",
    "Those",
    "We",
    "What",
    "Whatever",
    "When",
    "Whenever",
    "Where",
    "Wherever",
    "Whether",
    "Which",
    "Whichever",
    "Who",
    "Whoever",
    "Whom",
    "Whose",
    "Why",
    "You",
    "Your",
];

/// A doc comment: its place and its first word.
struct Doc {
    place: String,
    word: String,
}

/// Doc comments of programs that begin with a pronoun or a question word, if they are too many.
pub fn beginnings(sources: &[Source]) -> Vec<String> {
    let programs = sources.iter().filter(|source| !source.is_test());
    let docs: Vec<Doc> = programs.flat_map(docs).collect();
    let found: Vec<&Doc> = docs.iter().filter(|d| OTHERWISE.contains(&d.word.as_str())).collect();
    let allowed = docs.len() * OTHERWISE_PERMILLE_MAX / 1000;
    println!("{} of {} docs begin otherwise; {allowed} may", found.len(), docs.len());
    complaints(&found, allowed)
}

fn complaints(found: &[&Doc], allowed: usize) -> Vec<String> {
    if found.len() <= allowed {
        return Vec::new();
    }
    let shown = found.iter().take(SHOWN).map(|doc| {
        format!(
            "{}: begins with \"{}\": name the thing first, as ARCHITECTURE.md does",
            doc.place, doc.word
        )
    });
    let count = format!("{} doc comments begin so, and {allowed} may", found.len());
    std::iter::once(count).chain(shown).collect()
}

/// The doc comments of a file, tests aside: lines that follow each other are one.
fn docs(source: &Source) -> Vec<Doc> {
    let code = &source.code;
    let mut docs = Vec::new();
    let mut last: Option<(usize, usize)> = None;
    let tokens = code.tokens.iter().enumerate();
    for (at, token) in tokens.filter(|(_, token)| token.is_doc && token.is_program) {
        let goes_on = last.is_some_and(|(last_at, last_line)| {
            at - last_at <= LINE_TOKENS_MAX && token.line == last_line + 1
        });
        last = Some((at, token.last_line));
        let Ok(text) = syn::parse_str::<LitStr>(&token.text) else { continue };
        let text = text.value();
        let word = text.split(|c: char| !c.is_alphanumeric()).find(|word| !word.is_empty());
        if !goes_on && let Some(word) = word {
            let place = format!("{}:{}", source.path, token.line);
            docs.push(Doc { place, word: word.to_owned() });
        }
    }
    docs
}

#[test]
fn a_doc_that_begins_otherwise_is_found() {
    let check = |text: &str, word: &str| {
        let docs = docs(&Source::new("cli/src/up.rs", text));
        let words: Vec<&str> = docs.iter().map(|doc| doc.word.as_str()).collect();
        assert_eq!(words.join(" "), word, "{text}");
    };
    check("/// Whether it is so.\nfn f() {}", "Whether");
    check(
        "//! The first.\n//! What follows is its second line.\n\n/// `It` is code.\nfn f() {}",
        "The It",
    );
    check("/// A field.\n///\n/// Who asks?\nstruct X { /** How. */ x: u8 }", "A How");
    check("// What is no doc.\nfn f() {}", "");
    check("#[cfg(test)] mod t { /// It is a test.\n fn f() {} }", "");
    let doc = |word: &str| Doc { place: "x".to_owned(), word: word.to_owned() };
    let (one, other) = (doc("It"), doc("Who"));
    assert!(complaints(&[&one, &other], 2).is_empty());
    assert_eq!(complaints(&[&one, &other], 1).len(), 3, "a count, and both");
}
