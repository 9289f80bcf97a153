//! A Rust file as its rules see it: its text, its tokens, and on demand its syntax tree.
//!
//! Most rules look for words. They look among tokens, so that what stands in comments and literals
//! is none, and what is written in a macro is one as well. What has structure (signatures, imports,
//! matches) is left to `syn`.

use proc_macro2::{Delimiter, Group, Spacing, Span, TokenStream, TokenTree};

/// A Rust file.
pub struct Code {
    /// Its text, as it is.
    pub text: String,
    /// Its tokens in order, brackets among them.
    pub tokens: Vec<Token>,
    /// Without what is under `#[cfg(test)]`.
    program: TokenStream,
}

/// A token, or a bracket.
pub struct Token {
    /// As it is written.
    pub text: String,
    /// The line it begins on, from 1.
    pub line: usize,
    /// The line it ends on.
    pub last_line: usize,
    /// Columns before it, and before what follows it, on these lines.
    pub columns: (usize, usize),
    /// Whether it is outside of everything under `#[cfg(test)]`.
    pub is_program: bool,
    /// Whether it is the text of a doc comment.
    pub is_doc: bool,
    /// Whether the next token belongs to the same operator.
    joint: bool,
}

impl Token {
    /// Whether it is text in quotes. (To the lexer a doc comment is one too.)
    pub fn is_string(&self) -> bool {
        let body = self.text.trim_start_matches(['b', 'c', 'r', '#']);
        body.starts_with('"') && !self.is_doc
    }
}

/// A function of a file, in a macro or not.
pub struct Function {
    /// What stands before it, back to the item before: attributes and the like.
    pub before: String,
    /// Its signature; None in a macro that puts it together.
    pub signature: Option<syn::Signature>,
    /// Its name.
    pub name: String,
    /// Where among the tokens the word `fn` is, and the end of the body or the semicolon.
    pub tokens: (usize, usize),
}

impl Code {
    /// From a file's text.
    ///
    /// # Panics
    /// If this is not Rust.
    pub fn new(text: &str) -> Self {
        let all = lexed(text);
        let mut tokens = Vec::new();
        flatten(&all, true, &mut tokens);
        Self { text: text.to_owned(), tokens, program: without_tests(all) }
    }

    /// The syntax tree of the whole file.
    pub fn whole(&self) -> syn::File {
        syn::parse2(lexed(&self.text)).expect("items")
    }

    /// The syntax tree without what is under `#[cfg(test)]`.
    pub fn program(&self) -> syn::File {
        syn::parse2(self.program.clone()).expect("items without tests")
    }

    /// Where among the tokens a pattern stands, such as `.unwrap()` or `std::env`.
    pub fn find(&self, pattern: &str) -> impl Iterator<Item = usize> + '_ {
        let mut wanted = Vec::new();
        flatten(&lexed(pattern), true, &mut wanted);
        let wanted: Vec<String> = wanted.into_iter().map(|token| token.text).collect();
        let ends = self.tokens.windows(wanted.len().max(1)).enumerate();
        ends.filter_map(move |(at, window)| {
            window.iter().zip(&wanted).all(|(token, text)| token.text == *text).then_some(at)
        })
    }

    /// The same, outside of tests.
    pub fn find_in_program(&self, pattern: &str) -> impl Iterator<Item = usize> + '_ {
        self.find(pattern).filter(|at| self.tokens[*at].is_program)
    }

    /// Whether the token there is this one.
    pub fn is(&self, at: usize, text: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.text == text)
    }

    /// The text of some tokens, one space or none between them.
    pub fn joined(&self, from: usize, to: usize) -> String {
        let mut text = String::new();
        for token in &self.tokens[from..to] {
            text.push_str(&token.text);
            if !token.joint {
                text.push(' ');
            }
        }
        text
    }

    /// The first of some tokens that stands outside of brackets opened after `from`.
    pub fn first_outside(&self, from: usize, wanted: &[&str]) -> Option<usize> {
        let mut at = from;
        while let Some(token) = self.tokens.get(at) {
            if wanted.contains(&token.text.as_str()) {
                return Some(at);
            }
            at = if opens(&token.text) { self.closing(at) + 1 } else { at + 1 };
        }
        None
    }

    /// The bracket that closes the one at `open`.
    pub fn closing(&self, open: usize) -> usize {
        let mut depth = 0;
        for (at, token) in self.tokens.iter().enumerate().skip(open) {
            depth += i32::from(opens(&token.text)) - i32::from(closes(&token.text));
            if depth == 0 {
                return at;
            }
        }
        self.tokens.len() - 1
    }

    /// Every function that has a name.
    pub fn functions(&self) -> Vec<Function> {
        let named = |at: &usize| {
            let next = self.tokens.get(at + 1).map_or("", |token| token.text.as_str());
            next.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '$')
        };
        self.find("fn").filter(named).filter_map(|at| self.function(at)).collect()
    }

    fn function(&self, at: usize) -> Option<Function> {
        let open = self.first_outside(at, &["{", ";"])?;
        let end = if self.is(open, "{") { self.closing(open) } else { open };
        let ends = |token: &Token| matches!(token.text.as_str(), "{" | "}" | ";");
        let before = self.tokens[..at].iter().rposition(ends).map_or(0, |end| end + 1);
        Some(Function {
            before: self.joined(before, at),
            signature: syn::parse_str(&self.joined(at, open)).ok(),
            name: self.tokens[at + 1].text.clone(),
            tokens: (at, end),
        })
    }
}

/// The number, from 1, of the line on which the byte is.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Where a word stands in a text of any kind.
pub fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        !inside(before.chars().next_back()) && !inside(after.chars().next())
    })
}

fn lexed(text: &str) -> TokenStream {
    text.parse().unwrap_or_else(|error| panic!("this is not Rust: {error}:\n{text}"))
}

fn opens(token: &str) -> bool {
    matches!(token, "{" | "(" | "[")
}

fn closes(token: &str) -> bool {
    matches!(token, "}" | ")" | "]")
}

/// Appends all tokens of a stream.
fn flatten(stream: &TokenStream, is_program: bool, tokens: &mut Vec<Token>) {
    let trees: Vec<TokenTree> = stream.clone().into_iter().collect();
    let mut at = 0;
    while at < trees.len() {
        let end = tested(&trees, at);
        let is_program = is_program && end.is_none();
        for tree in &trees[at..end.unwrap_or(at + 1)] {
            add(tree, is_program, tokens);
        }
        at = end.unwrap_or(at + 1);
    }
}

fn add(tree: &TokenTree, is_program: bool, tokens: &mut Vec<Token>) {
    let token = |text: &str, span: Span, joint: bool| {
        let (start, end) = (span.start(), span.end());
        let columns = (start.column, end.column);
        let text = text.to_owned();
        let is_doc = false;
        Token { text, line: start.line, last_line: end.line, columns, is_program, is_doc, joint }
    };
    match tree {
        TokenTree::Group(group) => {
            let (open, close) = match group.delimiter() {
                Delimiter::Brace => ("{", "}"),
                Delimiter::Parenthesis => ("(", ")"),
                Delimiter::Bracket => ("[", "]"),
                Delimiter::None => return flatten(&group.stream(), is_program, tokens),
            };
            tokens.push(token(open, group.span_open(), false));
            flatten(&group.stream(), is_program, tokens);
            tokens.push(token(close, group.span_close(), false));
        }
        TokenTree::Punct(punct) => {
            let joint = punct.spacing() == Spacing::Joint;
            tokens.push(token(&punct.to_string(), punct.span(), joint));
        }
        // A lifetime is one word.
        TokenTree::Ident(name) if tokens.last().is_some_and(|last| last.text == "'") => {
            let quote = tokens.last_mut().expect("just seen");
            quote.text.push_str(&name.to_string());
            quote.joint = false;
        }
        TokenTree::Ident(name) => tokens.push(token(&name.to_string(), name.span(), false)),
        TokenTree::Literal(literal) => {
            // A doc comment becomes an attribute with a literal, which has the comment's place.
            let written = literal.span().source_text();
            let is_doc = written.is_some_and(|text| text.starts_with('/'));
            let literal = token(&literal.to_string(), literal.span(), false);
            tokens.push(Token { is_doc, ..literal });
        }
    }
}

/// If `#[cfg(test)]` stands here, the end of what it is about: after a body in braces, or a
/// semicolon.
fn tested(trees: &[TokenTree], at: usize) -> Option<usize> {
    let is_mark = |tree: &TokenTree| tree.to_string().replace(' ', "") == "[cfg(test)]";
    let is = |tree: Option<&TokenTree>, text: &str| tree.is_some_and(|t| t.to_string() == text);
    if !is(trees.get(at), "#") || !trees.get(at + 1).is_some_and(is_mark) {
        return None;
    }
    let is_body =
        |tree: &TokenTree| matches!(tree, TokenTree::Group(g) if g.delimiter() == Delimiter::Brace);
    let ends = |tree: &TokenTree| is_body(tree) || is(Some(tree), ";");
    let end = trees.iter().skip(at).position(ends).map_or(trees.len(), |end| at + end + 1);
    // As in `use a::{b, c};`.
    Some(if is(trees.get(end), ";") { end + 1 } else { end })
}

fn without_tests(stream: TokenStream) -> TokenStream {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < trees.len() {
        if let Some(end) = tested(&trees, at) {
            at = end;
            continue;
        }
        kept.push(match &trees[at] {
            TokenTree::Group(group) => {
                let inner = without_tests(group.stream());
                let mut copy = Group::new(group.delimiter(), inner);
                copy.set_span(group.span());
                TokenTree::Group(copy)
            }
            tree => tree.clone(),
        });
        at += 1;
    }
    kept.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_hold_no_words() {
        let check = |text: &str, word: &str, found: usize| {
            assert_eq!(Code::new(text).find(word).count(), found, "{word} in {text}");
        };
        check("a // b\nc", "b", 0);
        check("a /* b /* c */ d */ e", "d", 0);
        check(r#"f("a\"{b") + g"#, "b", 0);
        check(r##"r#"a"{"# + r"b" + br"c""##, "a", 0);
        check(r"('{', '\'', '\u{7b}', b'}') x", "x", 1);
        check("fn f<'a>(x: &'a str)", "a", 0);
        check("m!(if x { y.z() })", ".z()", 1);
        check("/// b\nfn a() {}", "b", 0);
    }

    #[test]
    fn what_is_under_cfg_test_is_no_program() {
        let check = |text: &str, program: &[&str]| {
            let code = Code::new(text);
            let found = code.tokens.iter().filter(|token| token.is_program);
            let found: Vec<&str> = found.map(|token| token.text.as_str()).collect();
            assert_eq!(found, program, "{text}");
            let kept: Vec<String> = code.program.into_iter().map(|t| t.to_string()).collect();
            assert_eq!(kept, program, "{text}");
        };
        check("#[cfg(test)]\nmod tests;\nx", &["x"]);
        check("#[cfg(test)] mod t { a { } } x", &["x"]);
        check("#[cfg(test)] fn f(a: [u8; 2]) { b } x", &["x"]);
        check("#[cfg(test)] use a::{b, c}; x", &["x"]);
    }

    #[test]
    fn patterns_are_found_however_they_are_spaced() {
        let found = |text: &str, pattern: &str| Code::new(text).find(pattern).count();
        assert_eq!(found("rand::random() + brand::x + rand ::y", "rand"), 2);
        assert_eq!(found("x\n    .await; awaiting", ".await"), 1);
        assert_eq!(found("todo!() + my_todo!()", "todo!"), 1);
        assert_eq!(found("std :: env::var()", "std::env"), 1);
        assert_eq!(words("brand rand_x rand", "rand").count(), 1);
        assert_eq!(line_of("a\nb\nc", 4), 3);
        assert_eq!(Code::new("a\nb\nc").tokens[2].line, 3);
    }

    #[test]
    fn functions_are_found_in_macros_too() {
        let code = Code::new("#[a] fn f<T>(x: fn(u8)) -> [u8; 2] { g }\nm! { fn h(); fn $i() {} }");
        let functions = code.functions();
        let names: Vec<&str> = functions.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["f", "h", "$"]);
        assert_eq!(functions[0].before, "# [ a ] ");
        assert_eq!(functions[0].signature.as_ref().map(|s| s.inputs.len()), Some(1));
        assert_eq!(code.tokens[functions[0].tokens.1].text, "}");
        assert!(functions[2].signature.is_none());
    }

    #[test]
    fn brackets_are_skipped() {
        let code = Code::new("f({[]} x) y; z");
        assert_eq!(code.closing(1), 7);
        assert_eq!(code.first_outside(0, &["y"]), Some(8));
        assert_eq!(code.first_outside(0, &["x"]), None);
    }
}
