//! docs/operations.md is what the programs say of themselves: settings by `--print-config`, flags
//! of the tool by `--help`, metrics by `/metrics` of a running stack and by the code that registers
//! them, since a family that has no series yet is not exported.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use headwater_tests::harness::{Cluster, Shared, binaries};

const PAGE: &str = include_str!("../../../docs/operations.md");
const SERVICES: [&str; 4] = ["router", "command-svc", "query-svc", "projector"];

/// Settings, flags or metrics by name, with everything that is compared of them.
type Facts = BTreeMap<String, String>;

/// A row of a table, and what the heading above it names.
struct Row {
    about: Vec<String>,
    cells: Vec<String>,
}

impl Row {
    /// The first word in code of a cell; the cell itself if it has none.
    fn value(&self, cell: usize) -> String {
        let text = &self.cells[cell];
        code(text).into_iter().next().unwrap_or_else(|| text.clone())
    }

    /// The same of a default, which may explain what it means to be unset.
    fn default(&self) -> String {
        let is_unset = self.cells[2].starts_with("unset");
        if is_unset { "unset".to_owned() } else { self.value(2) }
    }

    /// The sections of these programs that the row belongs to.
    fn programs(&self) -> impl Iterator<Item = &str> {
        let is_program = |about: &&str| SERVICES.contains(about);
        self.about.iter().map(String::as_str).filter(is_program)
    }
}

/// The words of a text that are marked as code.
fn code(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The rows of the page's tables below a heading that begin with code.
fn rows(heading: &str) -> Vec<Row> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut about = Vec::new();
    let mut rows = Vec::new();
    for line in section.lines() {
        if line.starts_with("##") {
            about = code(line);
        }
        if line.starts_with("| `") {
            let cells: Vec<_> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
            rows.push(Row { about: about.clone(), cells: cells[1..cells.len() - 1].to_vec() });
        }
    }
    rows
}

/// Complaints: names that the page lacks or invents, and facts that it has otherwise.
fn differences(documented: &Facts, real: &Facts) -> Vec<String> {
    let names: BTreeSet<_> = documented.keys().chain(real.keys()).collect();
    let difference = |name: &String| match (documented.get(name), real.get(name)) {
        (Some(said), Some(is)) if said == is => None,
        (Some(said), Some(is)) => Some(format!("{name}: the page says '{said}', it is '{is}'")),
        (None, Some(is)) => Some(format!("{name}: not in the page; it is '{is}'")),
        (_, None) => Some(format!("{name}: there is no such thing")),
    };
    names.into_iter().filter_map(difference).collect()
}

#[track_caller]
fn same(documented: &Facts, real: &Facts) {
    let differences = differences(documented, real);
    assert!(!real.is_empty());
    assert!(differences.is_empty(), "docs/operations.md:\n{}", differences.join("\n"));
}

/// Adds a fact, which must not be there yet.
fn add(facts: &mut Facts, name: String, fact: String) {
    let before = facts.insert(name.clone(), fact);
    assert!(before.is_none(), "{name} is there twice");
}

/// Standard output of a program of this build.
fn printed(program: &str, arguments: &[&str]) -> String {
    let path = binaries().expect("programs").join(program);
    let output = Command::new(path).args(arguments).env_clear().output().expect("a program");
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A service's settings by name: default, and bounds.
fn settings(program: &str) -> Facts {
    let printed = printed(program, &["--print-config"]);
    let all: Vec<serde_json::Value> = serde_json::from_str(&printed).expect("JSON");
    let mut settings = Facts::new();
    for setting in &all {
        let default = match (setting["secret"].as_bool(), setting["default"].as_str()) {
            (Some(true), _) => "secret",
            (_, None) => "required",
            (_, Some("")) => "unset",
            (_, Some(default)) => default,
        };
        let help = setting["help"].as_str().expect("a help");
        let bounds = help.strip_suffix(')').and_then(|help| help.rsplit_once('('));
        let bounds = bounds.map(|(_, bounds)| bounds).filter(|bounds| bounds.contains(" to "));
        let name = setting["name"].as_str().expect("a name").to_owned();
        settings.insert(name, format!("{default} {}", bounds.unwrap_or_default()));
    }
    settings
}

#[test]
fn every_setting_is_documented_as_the_program_has_it() {
    let (mut documented, mut real) = (Facts::new(), Facts::new());
    for program in SERVICES {
        let settings = settings(program);
        for row in rows("Settings").iter().filter(|row| row.programs().any(|one| one == program)) {
            let name = row.value(0);
            let is_secret = settings.get(&name).is_some_and(|fact| fact.starts_with("secret"));
            let default = row.default();
            assert!(!is_secret || matches!(default.as_str(), "required" | "unset"), "{name}");
            let default = if is_secret { "secret".to_owned() } else { default };
            let in_millis = name.ends_with("_MS") || name.ends_with("_MS_MAX");
            assert_eq!(in_millis, row.cells[4] == "ms", "{name}: the unit");
            add(
                &mut documented,
                format!("{program} {name}"),
                format!("{default} {}", row.cells[3]),
            );
        }
        real.extend(settings.into_iter().map(|(name, fact)| (format!("{program} {name}"), fact)));
    }
    same(&documented, &real);
}

/// The tool's commands that have no commands of their own, with their help.
fn commands(path: &[&str]) -> Vec<(String, String)> {
    let help = printed("headwater", &[path, &["--help"]].concat());
    let Some((_, list)) = help.split_once("\nCommands:\n") else {
        return vec![(format!("headwater {}", path.join(" ")), help)];
    };
    let list = list.split("\n\n").next().unwrap_or_default();
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    let names = names.filter(|name| *name != "help");
    names.flat_map(|name| commands(&[path, &[name]].concat())).collect()
}

/// The flags of a command, by its help: default, and variable.
fn flags(command: &str, help: &str) -> Facts {
    let (usage, options) = help.split_once("\nOptions:\n").expect("options");
    let begins = |line: &&str| line.trim_start().starts_with('-');
    let lines: Vec<&str> = options.lines().collect();
    let starts: Vec<usize> = (0..lines.len()).filter(|at| begins(&lines[*at])).collect();
    let mut flags = Facts::new();
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(lines.len());
        // Long lines of the help are wrapped.
        let words = lines[*start..end].iter().flat_map(|line| line.split_whitespace());
        let text = words.collect::<Vec<_>>().join(" ");
        let flag = text.split([' ', ',']).find(|word| word.starts_with("--")).expect("a flag");
        let given = |mark: &str| {
            let (_, rest) = text.rsplit_once(mark)?;
            rest.split([']', '=']).next()
        };
        let is_required = usage.contains(&format!("{flag} <"));
        let unset = if is_required { "required" } else { "unset" };
        let (default, variable) = (given("[default: "), given("[env: "));
        let fact = format!("{} {}", default.unwrap_or(unset), variable.unwrap_or_default());
        if flag != "--help" {
            add(&mut flags, format!("{command} {flag}"), fact);
        }
    }
    flags
}

#[test]
fn every_flag_of_the_tool_is_documented_as_it_has_it() {
    let mut documented = Facts::new();
    for row in rows("Settings").iter().filter(|row| row.programs().next().is_none()) {
        let name = format!("{} {}", row.about.join(" "), row.value(0));
        add(&mut documented, name, format!("{} {}", row.default(), row.value(3)));
    }
    let commands = commands(&[]);
    let real = commands.iter().flat_map(|(command, help)| flags(command, help)).collect();
    same(&documented, &real);
}

/// The metrics that programs register, by name: their types. Found where a literal is the first
/// argument of a function that is named for a type.
fn registered() -> Facts {
    let mut found = Facts::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    enter(root, &mut |text| {
        let program = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (at, _) in program.match_indices("\"headwater_") {
            let name = program[at + 1..].split('"').next().unwrap_or_default();
            let call = program[..at].trim_end().strip_suffix('(');
            let function = call.map(|call| match call.rsplit_once("::<") {
                Some((function, _)) if call.ends_with('>') => function,
                _ => call,
            });
            let function = function.and_then(|text| text.rsplit(|c: char| !is_name(c)).next());
            let kinds = ["counter", "gauge", "histogram"];
            let kind = kinds.iter().find(|kind| function.is_some_and(|f| f.starts_with(**kind)));
            if let Some(kind) = kind {
                found.insert(name.to_owned(), (*kind).to_owned());
            }
        }
    });
    found
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Reads the programs' sources below a folder.
fn enter(folder: &Path, read: &mut impl FnMut(&str)) {
    for entry in folder.read_dir().expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let is_skipped = name.starts_with('.') || ["target", "tests", "data"].contains(&name);
        if path.is_dir() && !is_skipped {
            enter(&path, read);
        } else if name.ends_with(".rs") {
            read(&std::fs::read_to_string(&path).expect("UTF-8"));
        }
    }
}

/// A program's exported metrics by name: their types and labels.
fn exported(page: &str) -> Facts {
    let mut families: Vec<(String, &str, BTreeSet<&str>)> = Vec::new();
    for line in page.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            let ending = if kind == "counter" { "_total" } else { "" };
            families.push((format!("{name}{ending}"), kind, BTreeSet::new()));
        } else if let Some((_, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            // Keys are outside of the quotes.
            let keys = labels.split('"').step_by(2).filter_map(|text| text.strip_suffix('='));
            let keys = keys.map(|key| key.trim_start_matches(',')).filter(|key| *key != "le");
            families.last_mut().expect("a type before the samples").2.extend(keys);
        }
    }
    let labels = |labels: BTreeSet<&str>| labels.into_iter().collect::<Vec<_>>().join(" ");
    families.into_iter().map(|(name, kind, keys)| (name, [kind, &labels(keys)].join(" "))).collect()
}

#[test]
fn every_registered_metric_is_documented_with_its_type() {
    let rows = rows("Metrics");
    let documented = rows.iter().map(|row| (row.value(0), row.cells[1].clone())).collect();
    same(&documented, &registered());
}

#[tokio::test]
async fn every_exported_metric_is_documented_with_its_labels() {
    let cluster = Cluster::shared(Shared::Default).await;
    let rows = rows("Metrics");
    for program in SERVICES {
        let page = cluster.admin(program, "/metrics").await.expect("metrics").body;
        let exported = exported(&page);
        let mut documented = Facts::new();
        for row in rows.iter().filter(|row| row.programs().any(|one| one == program)) {
            let labels: BTreeSet<String> = code(&row.cells[2]).into_iter().collect();
            let labels: Vec<String> = labels.into_iter().collect();
            add(
                &mut documented,
                row.value(0),
                [&row.cells[1], labels.join(" ").as_str()].join(" "),
            );
        }
        // A family without series is not exported; that it is registered is another test.
        documented.retain(|name, _| exported.contains_key(name));
        same(&documented, &exported);
    }
}

/// The names in a text that begin with a prefix.
fn mentioned<'a>(text: &'a str, prefix: &'a str) -> BTreeSet<&'a str> {
    text.split(|c: char| !is_name(c)).filter(|name| name.starts_with(prefix)).collect()
}

#[test]
fn nothing_is_mentioned_that_is_not_in_a_table() {
    let table = |heading: &str| rows(heading);
    let settings: BTreeSet<String> =
        table("Settings").iter().flat_map(|row| [row.value(0), row.value(3)]).collect();
    let mut known: BTreeSet<&str> = settings.iter().map(String::as_str).collect();
    known.insert("HEADWATER_");
    let unknown: Vec<_> = mentioned(PAGE, "HEADWATER_").difference(&known).copied().collect();
    assert!(unknown.is_empty(), "{unknown:?}");

    let metrics: BTreeSet<String> = table("Metrics").iter().map(|row| row.value(0)).collect();
    let (_, below) = PAGE.split_once("\n## Metrics\n").expect("the heading");
    let is_known = |name: &str| {
        let parts = ["_bucket", "_sum", "_count"].iter();
        metrics.contains(name)
            || parts.filter_map(|part| name.strip_suffix(part)).any(|name| metrics.contains(name))
    };
    let unknown: Vec<_> =
        mentioned(below, "headwater_").into_iter().filter(|name| !is_known(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn what_differs_is_found() {
    let facts = |facts: &[(&str, &str)]| -> Facts {
        facts.iter().map(|(name, fact)| ((*name).to_owned(), (*fact).to_owned())).collect()
    };
    let real = facts(&[("a", "1"), ("b", "2")]);
    assert_eq!(differences(&real, &real), [""; 0]);
    assert_eq!(differences(&facts(&[("a", "1")]), &real).len(), 1);
    assert_eq!(differences(&facts(&[("a", "1"), ("b", "3")]), &real).len(), 1);
    assert_eq!(differences(&facts(&[("a", "1"), ("b", "2"), ("c", "")]), &real).len(), 1);

    let page = "# TYPE headwater_a counter\nheadwater_a_total{x=\"1,y=2\",z=\"{\"} 1\n\
                # TYPE headwater_b histogram\nheadwater_b_bucket{le=\"1\"} 0\n# EOF";
    let exported = exported(page);
    assert_eq!(
        exported,
        facts(&[("headwater_a_total", "counter x z"), ("headwater_b", "histogram ")])
    );
}
