//! One `let` binds one thing, or two that belong together: `let (a, b, c) = (x, y, z);` is three
//! statements in a coat, and a reader has to count along both sides.

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Expr, Local, Pat};

use super::repository::Source;

/// As many as may be bound at once to a tuple that is written out.
const PACKED_MAX: usize = 2;

/// Tuples of more than two that are written out only to be taken apart, in programs and in tests.
pub fn packed(sources: &[Source]) -> Vec<String> {
    let found: Vec<String> = sources.iter().flat_map(places).collect();
    println!("{} statements bind more than {PACKED_MAX} things", found.len());
    found
}

fn places(source: &Source) -> Vec<String> {
    let mut packed = Packed { lines: Vec::new() };
    packed.visit_file(&source.code.whole());
    let complaint = |line| format!("{}:{line}: one `let` for each of them", source.path);
    packed.lines.into_iter().map(complaint).collect()
}

struct Packed {
    lines: Vec<usize>,
}

impl Visit<'_> for Packed {
    fn visit_local(&mut self, local: &Local) {
        let pattern = match &local.pat {
            Pat::Type(typed) => &typed.pat,
            pattern => pattern,
        };
        let value = local.init.as_ref().map(|init| &*init.expr);
        if let (Pat::Tuple(_), Some(Expr::Tuple(tuple))) = (pattern, value)
            && tuple.elems.len() > PACKED_MAX
        {
            self.lines.push(local.span().start().line);
        }
        visit::visit_local(self, local);
    }
}

#[test]
fn a_packed_tuple_is_found() {
    let check = |body: &str, found: usize| {
        let source = Source::new("cli/tests/up.rs", &format!("fn f() {{ {body} }}"));
        assert_eq!(places(&source).len(), found, "{body}");
    };
    check("let (a, b, c) = (1, 2, 3);", 1);
    check("let (a, b, c): (u8, u8, u8) = (1, 2, 3);", 1);
    check("g(|| { let (a, mut b, _, d) = (x(), y, 3, z); });", 1);
    check("let (a, b) = (1, 2);", 0);
    check("let (a, b, c) = g();", 0);
    check("let a = (1, 2, 3);", 0);
    check("if let (Some(a), Some(b), Some(c)) = (x, y, z) {}", 0);
}
