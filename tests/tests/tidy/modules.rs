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
//! Paths are read as text; glob imports count as naming the module itself, and paths inside of
//! macros count where the macro is written, unless they begin with `$crate`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::code::{closing, line_of, words};
use super::repository::Source;

/// A module's name, from the crate's root; the root itself is empty.
type Name = Vec<String>;

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
        let module = Module::read(&source.code.program, &children);
        (name, module)
    };
    // A crate of a `main.rs` alone has a root too.
    let root = (Name::new(), Module::read("", &[]));
    std::iter::once(root).chain(files.into_iter().map(parse)).collect()
}

impl Module {
    fn read(program: &str, children: &[String]) -> Self {
        let inline = inline_modules(program);
        let mut module = Self { imports: BTreeMap::new(), named: Vec::new(), inline };
        let mut rest = program.to_owned();
        for (start, end) in uses(program) {
            module.import(program, start, end);
            rest.replace_range(start..end, &" ".repeat(end - start));
        }
        let roots = ["crate", "super", "self"].into_iter();
        for root in roots.chain(children.iter().map(String::as_str)) {
            let found = words(&rest, root).filter(|at| begins_path(&rest, *at, root));
            module.named.extend(found.map(|at| (path_at(&rest[at..]), line_of(&rest, at))));
        }
        module
    }

    fn import(&mut self, program: &str, start: usize, end: usize) {
        let line = line_of(program, start);
        let shown = visible(&program[..start]);
        let mut leaves = Vec::new();
        expand(&Vec::new(), program[start + "use".len()..end].trim(), &mut leaves);
        for (alias, path) in leaves {
            if !shown {
                self.named.push((path.clone(), line));
            }
            self.imports.insert(alias, path);
        }
    }
}

fn inline_modules(program: &str) -> BTreeSet<String> {
    let names = words(program, "mod").filter_map(|at| {
        let (name, _) = program[at + "mod".len()..].split_once('{')?;
        Some(name.trim().to_owned())
    });
    names.filter(|name| !name.contains(';')).collect()
}

/// From `use` to before the semicolon.
fn uses(program: &str) -> Vec<(usize, usize)> {
    let begins = |at: &usize| {
        let before = program[..*at].trim_end();
        let after = program[*at + "use".len()..].trim_start();
        let first = before.is_empty() || before.ends_with([';', '{', '}', ']']);
        (first || visible(before)) && !after.starts_with('<')
    };
    let starts = words(program, "use").filter(begins);
    starts.filter_map(|at| program[at..].find(';').map(|end| (at, at + end))).collect()
}

/// Whether what follows is a re-export: `pub`, or `pub(…)`.
fn visible(before: &str) -> bool {
    before.trim_end().ends_with("pub") || before.trim_end().ends_with(')')
}

/// The leaves of a use tree: local name and full path of each.
fn expand(prefix: &Name, tree: &str, leaves: &mut Vec<(String, Name)>) {
    if let Some(open) = tree.find('{') {
        let mut prefix = prefix.clone();
        prefix.extend(segments(&tree[..open]));
        let inner = &tree[open + 1..closing(tree, open) - 1];
        for branch in branches(inner) {
            expand(&prefix, branch, leaves);
        }
        return;
    }
    let (path, alias) = match tree.split_once(" as ") {
        Some((path, alias)) => (path, Some(alias.trim())),
        None => (tree, None),
    };
    let mut full = prefix.clone();
    full.extend(segments(path));
    if full.len() > 1 && full.last().is_some_and(|last| last == "self") {
        full.pop();
    }
    if let Some(last) = full.last() {
        leaves.push((alias.unwrap_or(last).to_owned(), full));
    }
}

fn branches(inner: &str) -> Vec<&str> {
    let mut depth = 0;
    let split = inner.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0 && c == ','
    });
    split.map(str::trim).filter(|branch| !branch.is_empty()).collect()
}

fn segments(path: &str) -> impl Iterator<Item = String> + '_ {
    path.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned)
}

fn begins_path(text: &str, at: usize, root: &str) -> bool {
    let before = &text[..at];
    text[at + root.len()..].starts_with("::") && !before.ends_with("::") && !before.ends_with('$')
}

fn path_at(text: &str) -> Name {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    segments(&text[..end.unwrap_or(text.len())]).collect()
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
