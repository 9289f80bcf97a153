//! Rust text with what is not code blanked: enough of a lexer for rules that look for words, paths
//! and braces, and far less than a parser.

/// A Rust file's text.
pub struct Code {
    /// As it is.
    pub text: String,
    /// Comments and the insides of literals are spaces; lines and columns (in characters) stay.
    pub blank: String,
    /// As `blank`, with everything under `#[cfg(test)]` blanked too.
    pub program: String,
}

impl Code {
    /// From a file's text.
    pub fn new(text: &str) -> Self {
        let blank = Lexer { chars: text.chars().collect(), at: 0, out: String::new() }.blanked();
        let program = without_tests(&blank);
        Self { text: text.to_owned(), blank, program }
    }
}

/// The number, from 1, of the line on which the byte is.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Where a word stands in blanked text. Words are what `\b…\b` would match.
pub fn words<'a>(blank: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    blank.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let (before, after) = (&blank[..at], &blank[at + word.len()..]);
        edged(before.chars().next_back(), word.chars().next())
            && edged(word.chars().next_back(), after.chars().next())
    })
}

fn edged(left: Option<char>, right: Option<char>) -> bool {
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    !(inside(left) && inside(right))
}

/// The byte after the bracket that closes the one at `open`, or the end of the text.
pub fn closing(blank: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in blank[open..].char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + at + c.len_utf8();
        }
    }
    blank.len()
}

/// The first of some characters that stands outside of brackets opened after `from`.
pub fn first_outside(blank: &str, from: usize, wanted: &[char]) -> Option<usize> {
    let mut at = from;
    while let Some(c) = blank[at..].chars().next() {
        if wanted.contains(&c) {
            return Some(at);
        }
        at = if matches!(c, '{' | '(' | '[') { closing(blank, at) } else { at + c.len_utf8() };
    }
    None
}

fn without_tests(blank: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut program = String::with_capacity(blank.len());
    let mut rest = blank;
    while let Some(start) = rest.find(MARK) {
        let end = match first_outside(rest, start + MARK.len(), &['{', ';']) {
            Some(at) if rest[at..].starts_with('{') => closing(rest, at),
            Some(at) => at + 1,
            None => rest.len(),
        };
        program.push_str(&rest[..start]);
        program.extend(rest[start..end].chars().map(spaced));
        rest = &rest[end..];
    }
    program.push_str(rest);
    program
}

fn spaced(c: char) -> char {
    if c == '\n' { c } else { ' ' }
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    out: String,
}

impl Lexer {
    fn blanked(mut self) -> String {
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('/')) => self.blank_while(|lexer| lexer.peek(0) != Some('\n')),
                ('/', Some('*')) => self.block_comment(),
                ('"', _) => self.string(),
                ('r', Some('"' | '#')) if !self.after_word() => self.raw_string(),
                ('\'', Some('\\')) => self.character(),
                ('\'', Some(_)) if self.peek(2) == Some('\'') => self.character(),
                _ => self.keep(1),
            }
        }
        self.out
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    /// Whether the last character belongs to a longer word; `b` of `br"…"` does not count.
    fn after_word(&self) -> bool {
        let mut before = self.out.chars().rev();
        let mut last = before.next();
        if last == Some('b') {
            last = before.next();
        }
        last.is_some_and(|c| c.is_alphanumeric() || c == '_')
    }

    fn keep(&mut self, count: usize) {
        for _ in 0..count {
            self.out.extend(self.peek(0));
            self.at += 1;
        }
    }

    fn blank(&mut self, count: usize) {
        for _ in 0..count {
            self.out.extend(self.peek(0).map(spaced));
            self.at += 1;
        }
    }

    fn blank_while(&mut self, more: impl Fn(&Self) -> bool) {
        while self.peek(0).is_some() && more(self) {
            self.blank(1);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                (None, _) => return,
                _ => {
                    self.blank(1);
                    continue;
                }
            }
            self.blank(2);
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.keep(1);
        while let Some(c) = self.peek(0) {
            match c {
                '"' => return self.keep(1),
                '\\' => self.blank(2),
                _ => self.blank(1),
            }
        }
    }

    fn raw_string(&mut self) {
        let hashes = self.chars[self.at + 1..].iter().take_while(|c| **c == '#').count();
        if self.peek(1 + hashes) != Some('"') {
            return self.keep(1 + hashes); // A raw identifier.
        }
        let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
        self.keep(2 + hashes);
        self.blank_while(|lexer| !lexer.chars[lexer.at..].starts_with(&end));
        self.keep(end.len());
    }

    fn character(&mut self) {
        self.keep(1);
        self.blank(if self.peek(0) == Some('\\') { 2 } else { 1 });
        self.blank_while(|lexer| lexer.peek(0) != Some('\''));
        self.keep(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_nothing_else() {
        let check = |text: &str, blank: &str| assert_eq!(Code::new(text).blank, blank, "{text}");
        check("a // b\nc", "a     \nc");
        check("a /* b /* c */ d */ e", "a                   e");
        check(r#"f("a\"{b") + g"#, r#"f("     ") + g"#);
        check(r##"r#"a"{"# + r"b" + br"c""##, r##"r#"   "# + r" " + br" ""##);
        check("r#type + for\"x\"", "r#type + for\" \"");
        check(r"('{', '\'', '\u{7b}', b'}')", r"(' ', '  ', '      ', b' ')");
        check("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
        check("\"two\nlines\"", "\"   \n     \"");
    }

    #[test]
    fn what_is_under_cfg_test_is_no_program() {
        let check = |text: &str, program: &str| assert_eq!(Code::new(text).program, program);
        check("#[cfg(test)]\nmod tests;\nx", "            \n          \nx");
        check("#[cfg(test)] mod t { a { } } x", "                             x");
        check("#[cfg(test)] fn f(a: [u8; 2]) { b } x", "                                    x");
    }

    #[test]
    fn words_have_edges() {
        let found = |text: &str, word: &str| words(text, word).count();
        assert_eq!(found("rand::random() + brand::x + rand ::y", "rand"), 2);
        assert_eq!(found("x.await; awaiting", ".await"), 1);
        assert_eq!(found("todo!() + my_todo!()", "todo!"), 1);
        assert_eq!(line_of("a\nb\nc", 4), 3);
    }

    #[test]
    fn brackets_are_skipped() {
        assert_eq!(closing("f({[]} x) y", 1), 9);
        assert_eq!(closing("f({[] x", 1), 7, "what is never closed ends with the text");
        assert_eq!(first_outside("fn f(a: [u8; 2]) -> T { x }", 0, &['{', ';']), Some(22));
    }
}
