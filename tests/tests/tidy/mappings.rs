//! Errors become replies through a match that names every one of them: with `_ =>` a new kind of
//! error would get some other kind's status without anybody deciding so.

use std::collections::BTreeSet;

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Arm, ImplItemFn, ItemFn, ItemImpl, Pat, ReturnType, Type};

use super::repository::Source;

/// Where the mappings are; a rule that looks at nothing would hold for ever.
const HUBS: [&str; 3] =
    ["lib/edge/src/failure.rs", "command-svc/src/reply.rs", "query-svc/src/grpc/reply.rs"];
/// What a mapping returns.
const REPLIES: [&str; 4] = ["Failure", "Code", "Status", "ErrorReason"];

/// Wildcards in functions that return a reply's error, and everywhere in the hubs.
pub fn wildcards(sources: &[Source]) -> Vec<String> {
    let programs = sources.iter().filter(|source| !source.is_test());
    let mut complaints: Vec<_> = programs.flat_map(mapped).collect();
    let missing = HUBS.iter().filter(|hub| sources.iter().all(|source| source.path != **hub));
    complaints.extend(missing.map(|hub| format!("{hub} is gone: name its heir in mappings.rs")));
    complaints
}

fn mapped(source: &Source) -> Vec<String> {
    let is_hub = HUBS.contains(&source.path.as_str());
    let mut found = Wildcards { in_mapping: is_hub, of_reply: false, lines: BTreeSet::new() };
    found.visit_file(&source.code.program());
    let complaint = |line| format!("{}:{line}: name every case instead of `_ =>`", source.path);
    found.lines.into_iter().map(complaint).collect()
}

/// Looks for wildcards, and knows where they are not welcome.
struct Wildcards {
    /// Inside of a hub, or of a function that returns a reply's error.
    in_mapping: bool,
    /// Inside of an `impl From<…> for` a reply's error, where `Self` is one.
    of_reply: bool,
    lines: BTreeSet<usize>,
}

impl Wildcards {
    fn returns_reply(&self, output: &ReturnType) -> bool {
        let ReturnType::Type(_, returned) = output else { return false };
        is_reply(returned) || (self.of_reply && last_name(returned).is_some_and(|n| n == "Self"))
    }
}

impl Visit<'_> for Wildcards {
    fn visit_item_impl(&mut self, item: &ItemImpl) {
        let from = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
        let was = self.of_reply;
        self.of_reply = from.is_some_and(|from| from.ident == "From") && is_reply(&item.self_ty);
        visit::visit_item_impl(self, item);
        self.of_reply = was;
    }

    fn visit_item_fn(&mut self, item: &ItemFn) {
        let was = self.in_mapping;
        self.in_mapping |= self.returns_reply(&item.sig.output);
        visit::visit_item_fn(self, item);
        self.in_mapping = was;
    }

    fn visit_impl_item_fn(&mut self, item: &ImplItemFn) {
        let was = self.in_mapping;
        self.in_mapping |= self.returns_reply(&item.sig.output);
        visit::visit_impl_item_fn(self, item);
        self.in_mapping = was;
    }

    fn visit_arm(&mut self, arm: &Arm) {
        if self.in_mapping && matches!(arm.pat, Pat::Wild(_)) && arm.guard.is_none() {
            self.lines.insert(arm.span().start().line);
        }
        visit::visit_arm(self, arm);
    }
}

fn is_reply(kind: &Type) -> bool {
    last_name(kind).is_some_and(|name| REPLIES.contains(&name.as_str()))
}

/// `Status` of `tonic::Status`; none of a type with parameters.
fn last_name(kind: &Type) -> Option<String> {
    let Type::Path(path) = kind else { return None };
    let last = path.path.segments.last()?;
    last.arguments.is_none().then(|| last.ident.to_string())
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
    check("cli/src/x.rs", &from.replace("Status", "tonic::Status"), 1);
    check("cli/src/x.rs", &from.replace("Status", "Other"), 0);
    check("cli/src/x.rs", &format!("#[cfg(test)] mod tests {{ {plain} }}"), 0);
    assert_eq!(wildcards(&[]).len(), HUBS.len(), "the hubs must be there");
}
