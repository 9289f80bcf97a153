//! The modules of a crate form a DAG: what has no cycle can be read, tested and replaced from the
//! bottom up.
//!
//! A module is a file; `lib.rs` is one too. A module depends on the module that *declares* what it
//! names in a `use`, in a path that begins with `crate`, `super` or `self`, or in one that begins
//! with a submodule of its own. What follows from that:
//!
//! - A declaration (`mod x;`) and a re-export (`pub use x::Y`) are no dependencies: a parent may
//!   show what its submodules declare without depending on them.
//! - A path through a re-export, or through the parent's own imports, leads to where the thing is
//!   declared, not to the parent.
//! - A module in braces (`mod v1 { … }`) is a leaf: here they hold what is generated.
//! - Between parent and submodule nothing else is special: a parent that works with a submodule
//!   which works with the parent's own types is a cycle of two.
//!
//! Test modules, `main.rs` and `bin/` are left out: they stand on top, and nothing names them.
//! Paths are read as tokens; glob imports count as naming the module itself, and paths inside of
//! macros count where the macro is written, unless they begin with `$crate`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use syn::{Ident, UseTree};

use super::code::Code;
use super::repository::Source;

/// A module's name, from the crate's root; the root itself is empty.
type Name = Vec<String>;

#[derive(Default)]
struct Module {
    /// What it brings into scope by `use`: local name -> full path as written.
    imports: BTreeMap<String, Name>,
    /// What it names, with the line.
    named: Vec<(Name, usize)>,
    /// Its modules in braces.
    inline: BTreeSet<String>,
}

type Modules = BTreeMap<Name, Module>;
/// From a module to those it depends on, each with a line that says so.
type Edges = BTreeMap<Name, BTreeMap<Name, usize>>;

/// One shortest cycle for every module that is in one, each cycle once.
pub fn cycles(sources: &[Source]) -> Vec<String> {
    let mut crates: BTreeMap<&str, Vec<(Name, &Source)>> = BTreeMap::new();
    for source in sources {
        let (krate, rest) = source.crate_and_rest();
        if let Some(name) = module_name(rest) {
            crates.entry(krate).or_default().push((name, source));
        }
    }
    let crates = crates.into_iter();
    crates.flat_map(|(krate, files)| cycles_of(krate, &parsed(files))).collect()
}

fn module_name(rest: &str) -> Option<Name> {
    let path = rest.strip_prefix("src/")?.strip_suffix(".rs")?;
    let mut name: Name = path.split('/').map(str::to_owned).collect();
    let is = |name: &Name, word: &str| name.iter().any(|part| part == word);
    if path == "main" || path.starts_with("bin/") || is(&name, "tests") {
        return None;
    }
    if path == "lib" || path.ends_with("/mod") {
        name.pop();
    }
    Some(name)
}

fn parsed(files: Vec<(Name, &Source)>) -> Modules {
    let names: BTreeSet<Name> = files.iter().map(|(name, _)| name.clone()).collect();
    let parse = |(name, source): (Name, &Source)| {
        let children = names.iter().filter(|other| other.split_last().map(|s| s.1) == Some(&name));
        let children: Vec<_> = children.filter_map(|child| child.last().cloned()).collect();
        let module = Module::read(&source.code, &children);
        (name, module)
    };
    // A crate of a `main.rs` alone has a root too.
    let root = (Name::new(), Module::default());
    std::iter::once(root).chain(files.into_iter().map(parse)).collect()
}

impl Module {
    fn read(code: &Code, children: &[String]) -> Self {
        let mut module = Self::default();
        let uses = uses(code);
        for (start, end) in &uses {
            module.import(code, *start, *end);
        }
        let in_use = |at: usize| uses.iter().any(|(start, end)| *start < at && at < *end);
        for (at, token) in code.tokens.iter().enumerate().filter(|(_, token)| token.is_program) {
            let name = token.text.as_str();
            let is_root = matches!(name, "crate" | "super" | "self")
                || children.iter().any(|child| child == name);
            if is_root && begins_path(code, at) && !in_use(at) {
                module.named.push((path_at(code, at), token.line));
            }
            if name == "mod" && code.is(at + 2, "{") {
                module.inline.insert(code.tokens[at + 1].text.clone());
            }
        }
        module
    }

    fn import(&mut self, code: &Code, start: usize, end: usize) {
        // A re-export: `pub`, or `pub(…)`.
        let shown = start > 0 && (code.is(start - 1, "pub") || code.is(start - 1, ")"));
        let tree = code.joined(start + 1, end);
        // One that a macro puts together is the macro's.
        let Ok(tree) = syn::parse_str(tree.trim_start_matches([':', ' '])) else { return };
        let mut leaves = Vec::new();
        expand(&Name::new(), &tree, &mut leaves);
        for (alias, path) in leaves {
            if !shown {
                self.named.push((path.clone(), code.tokens[start].line));
            }
            self.imports.insert(alias, path);
        }
    }
}

/// From `use` to the semicolon. (`use<'a>` is a bound.)
fn uses(code: &Code) -> Vec<(usize, usize)> {
    let starts = code.find_in_program("use").filter(|at| !code.is(at + 1, "<"));
    starts.filter_map(|at| Some((at, code.first_outside(at, &[";"])?))).collect()
}

/// The leaves of a use tree: local name and full path of each.
fn expand(prefix: &Name, tree: &UseTree, leaves: &mut Vec<(String, Name)>) {
    let with = |name: &Ident| {
        let is_prefix = name == "self" && !prefix.is_empty();
        let added = (!is_prefix).then(|| name.to_string());
        prefix.iter().cloned().chain(added).collect::<Name>()
    };
    match tree {
        UseTree::Path(path) => expand(&with(&path.ident), &path.tree, leaves),
        UseTree::Group(group) => {
            group.items.iter().for_each(|item| expand(prefix, item, leaves));
        }
        UseTree::Glob(_) => leaves.push(("*".to_owned(), prefix.clone())),
        UseTree::Rename(rename) => {
            leaves.push((rename.rename.to_string(), with(&rename.ident)));
        }
        UseTree::Name(name) => {
            let full = with(&name.ident);
            leaves.extend(full.last().cloned().map(|last| (last, full)));
        }
    }
}

/// Whether `::` follows and none precedes; a macro's `$crate` is another crate's, or unknown.
fn begins_path(code: &Code, at: usize) -> bool {
    let follows = code.is(at + 1, ":") && code.is(at + 2, ":");
    let before = at.checked_sub(1).map_or("", |before| code.tokens[before].text.as_str());
    let after_path = before == ":" && code.is(at.saturating_sub(2), ":");
    follows && !after_path && before != "$"
}

fn path_at(code: &Code, at: usize) -> Name {
    let mut path = Name::new();
    let mut at = at;
    while let Some(token) = code.tokens.get(at)
        && token.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    {
        path.push(token.text.clone());
        if !(code.is(at + 1, ":") && code.is(at + 2, ":")) {
            break;
        }
        at += 3;
    }
    path
}

/// Follows re-exports no further than this; code that needs more compiles, but nobody reads it.
const HOPS_MAX: usize = 8;

/// The module that declares what a path written in `from` leads to; None if another crate does.
fn declaring(modules: &Modules, from: &Name, path: &[String], hops: usize) -> Option<Name> {
    let (mut at, rest) = beginning(modules, from, path)?;
    for (depth, part) in rest.iter().enumerate() {
        let module = modules.get(&at)?;
        let below = submodule(&at, part);
        if part == "super" {
            at.pop();
        } else if modules.contains_key(&below) {
            at = below;
        } else if module.inline.contains(part) {
            return None;
        } else if let Some(import) = module.imports.get(part) {
            let whole = [import.as_slice(), &rest[depth + 1..]].concat();
            return (hops > 0).then(|| declaring(modules, &at, &whole, hops - 1)).flatten();
        } else {
            break;
        }
    }
    Some(at)
}

/// The module that a path starts from, and what is left of the path.
fn beginning<'a>(
    modules: &Modules,
    from: &Name,
    path: &'a [String],
) -> Option<(Name, &'a [String])> {
    let (first, rest) = path.split_first()?;
    let known = |name: &String| {
        modules.contains_key(&submodule(from, name)) || modules[from].imports.contains_key(name)
    };
    match first.as_str() {
        "crate" => Some((Name::new(), rest)),
        "self" => Some((from.clone(), rest)),
        "super" => Some((from.split_last()?.1.to_vec(), rest)),
        _ => known(first).then(|| (from.clone(), path)),
    }
}

fn submodule(parent: &Name, name: &str) -> Name {
    parent.iter().cloned().chain([name.to_owned()]).collect()
}

fn cycles_of(krate: &str, modules: &Modules) -> Vec<String> {
    let edges: Edges =
        modules.keys().map(|name| (name.clone(), dependencies(modules, name))).collect();
    let mut seen = BTreeSet::new();
    let found = modules.keys().filter_map(|name| shortest_cycle(&edges, name));
    let found = found.filter(|cycle| seen.insert(cycle.iter().cloned().collect::<BTreeSet<_>>()));
    found.map(|cycle| complaint(krate, &cycle, &edges)).collect()
}

fn dependencies(modules: &Modules, name: &Name) -> BTreeMap<Name, usize> {
    let mut found = BTreeMap::new();
    for (path, line) in &modules[name].named {
        if let Some(target) = declaring(modules, name, path, HOPS_MAX)
            && target != *name
        {
            found.entry(target).or_insert(*line);
        }
    }
    found
}

fn shortest_cycle(edges: &Edges, start: &Name) -> Option<Vec<Name>> {
    let mut paths = VecDeque::from([vec![start.clone()]]);
    let mut reached = BTreeSet::new();
    while let Some(path) = paths.pop_front() {
        for next in edges.get(path.last()?)?.keys() {
            if next == start {
                return Some(path);
            }
            if reached.insert(next.clone()) {
                paths.push_back(path.iter().chain([next]).cloned().collect());
            }
        }
    }
    None
}

fn complaint(krate: &str, cycle: &[Name], edges: &Edges) -> String {
    let shown = |name: &Name| if name.is_empty() { "lib".to_owned() } else { name.join("::") };
    let mut text = format!("{krate}: ");
    for (at, from) in cycle.iter().enumerate() {
        let to = &cycle[(at + 1) % cycle.len()];
        text += &format!("{} names {} (line {}); ", shown(from), shown(to), edges[from][to]);
    }
    text + "move what they share into a module of its own, or pass it as a parameter"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], found: usize) {
        let source = |(path, text): &(&str, &str)| Source::new(&format!("cli/src/{path}.rs"), text);
        let complaints = cycles(&files.iter().map(source).collect::<Vec<_>>());
        assert_eq!(complaints.len(), found, "{files:?}: {complaints:?}");
    }

    #[test]
    fn a_cycle_is_found_however_it_is_named() {
        check(&[("a", "use crate::b::B;"), ("b", "use crate::c;")], 0);
        check(&[("a", "use crate::b::B;"), ("b", "use crate::a::A;")], 1);
        check(&[("a", "use crate::{b::{self, B}, x};"), ("b", "fn f(_: crate::a::A) {}")], 1);
        check(&[("a", "use super::b;"), ("b", "use crate::c::C;"), ("c", "use super::a::*;")], 1);
        check(&[("a", "type X = super::b::B;"), ("b", "use crate::a as z;")], 1);
        check(&[("lib", "use a::A;"), ("a", "use crate::Own;")], 1);
    }

    #[test]
    fn what_is_no_program_is_no_dependency() {
        check(&[("a", "// use crate::b::B;"), ("b", "use crate::a::A;")], 0);
        check(&[("a", "#[cfg(test)] mod t { use crate::b::B; }"), ("b", "use crate::a::A;")], 0);
        check(&[("a/tests", "use crate::b::B;"), ("b", "use crate::a::A;")], 0);
        check(&[("a", "m!($crate::b::B);"), ("b", "use crate::a::A;")], 0);
        check(&[("main", "use crate::b::B;"), ("b", "use crate::a::A;")], 0);
    }

    #[test]
    fn a_re_export_leads_to_what_is_declared() {
        let lib = ("lib", "mod a; mod b; pub use a::A; pub use b::B;");
        check(&[lib, ("a", "use crate::B;"), ("b", "")], 0);
        check(&[lib, ("a", "use crate::B;"), ("b", "use crate::A;")], 1);
        check(&[("a", "pub(crate) use b::B;"), ("a/b", "use super::c::C;"), ("a/c", "")], 0);
        check(&[("a", "use crate::z::Z; use b::B;"), ("a/b", "use super::Z;"), ("z", "")], 0);
        check(&[("a", "use std::fmt; use b::B;"), ("a/b", "use super::fmt;")], 0);
    }

    #[test]
    fn parent_and_submodule_may_not_work_with_each_other() {
        check(&[("a", "struct A; use b::B;"), ("a/b", "use super::A;")], 1);
        check(&[("a", "fn f() { b::g() }"), ("a/b", "use super::A;")], 1);
        check(&[("a", "struct A; pub use b::B;"), ("a/b", "use super::A;")], 0);
        check(&[("a", "mod b; struct A;"), ("a/b", "use crate::a::A;")], 0);
        check(&[("a", "mod v1 { m!() } use b::B;"), ("a/b", "use super::v1::A;")], 0);
    }
}
