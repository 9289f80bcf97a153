//! Every alert has a section in the runbook, and every section an alert; the rules for Prometheus
//! are those of the table; what a section names as its test exists.

use std::collections::BTreeSet;

use serde_json::Value;

use super::repository::{Source, Text, root};

const TABLE: &str = "docs/operations.md";
const RUNBOOK: &str = "docs/runbook.md";
const RULES: &str = "k8s/alerts.yaml";
const SCENARIOS: &str = "tests/tests/faults/scenarios/table.rs";
/// What each section has.
const PARTS: [&str; 4] = ["**Means:**", "**Look at:**", "**Do:**", "**Do not:**"];
/// Where a section names its tests.
const TESTS: &str = "**Seen to work:**";

/// An alert, as a table or a rule has it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Alert {
    name: String,
    expression: String,
    lasts: String,
    page: String,
}

/// Alerts without a section, sections without an alert, and what differs between table and rules.
pub fn check(texts: &[Text], sources: &[Source]) -> Vec<String> {
    let page = |path: &str| {
        texts.iter().find(|text| text.path == path).map_or("", |text| text.text.as_str())
    };
    let rules = std::fs::read_to_string(root().join(RULES)).expect("rules");
    let source = |path: &str| sources.iter().find(|source| source.path == path);
    let scenarios = source(SCENARIOS).map_or("", |source| source.code.text.as_str());
    let function = |path: &str, name: &str| {
        source(path).is_some_and(|source| source.code.text.contains(&format!("fn {name}(")))
    };
    let (table, runbook) = (tabled(page(TABLE)), page(RUNBOOK));
    let mut complaints = compared(&table, &ruled(&rules));
    complaints.extend(sections(&table, runbook));
    complaints.extend(tests(runbook, scenarios, function));
    complaints
}

/// The alerts of the table.
fn tabled(page: &str) -> BTreeSet<Alert> {
    let section = page.split("\n## Alerts\n").nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default().replace("\\|", "\u{0}");
    let rows = section.lines().filter(|line| line.starts_with("| [")).map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (name, link) = cells[1].split_once("](").unwrap_or((cells[1], ""));
        Alert {
            name: name.trim_start_matches('[').to_owned(),
            expression: cells[2].trim_matches('`').replace('\u{0}', "|"),
            lasts: cells[3].replace(' ', "").replace("min", "m"),
            page: format!("docs/{}", link.trim_end_matches(')')),
        }
    });
    rows.collect()
}

/// The alerts of the rules.
fn ruled(text: &str) -> BTreeSet<Alert> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).expect("YAML");
    let groups = documents.iter().flat_map(|document| array(&document["spec"]["groups"]));
    let rules = groups.flat_map(|group| array(&group["rules"]));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    rules
        .map(|rule| Alert {
            name: text(&rule["annotations"]["summary"]),
            expression: text(&rule["expr"]),
            lasts: text(&rule["for"]),
            page: text(&rule["annotations"]["runbook_url"]),
        })
        .collect()
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn compared(table: &BTreeSet<Alert>, rules: &BTreeSet<Alert>) -> Vec<String> {
    let lacks = |path: &str, alert: &Alert| format!("{path} lacks {alert:?}");
    let missing = table.difference(rules).map(|alert| lacks(RULES, alert));
    missing.chain(rules.difference(table).map(|alert| lacks(TABLE, alert))).collect()
}

/// A section for each alert that has all parts, and no other section.
fn sections(table: &BTreeSet<Alert>, runbook: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut without: BTreeSet<&str> = table.iter().map(|alert| alert.page.as_str()).collect();
    for section in runbook.split("\n## ").skip(1) {
        let heading = section.lines().next().unwrap_or_default();
        let link = format!("{RUNBOOK}#{}", heading.to_lowercase().replace(' ', "-"));
        if !without.remove(link.as_str()) {
            complaints.push(format!("{RUNBOOK}: no alert leads to '{heading}'"));
        }
        let lacking = PARTS.iter().filter(|part| section.matches(**part).count() != 1);
        complaints.extend(lacking.map(|part| format!("{RUNBOOK}: '{heading}' lacks {part}")));
    }
    complaints.extend(without.into_iter().map(|link| format!("{TABLE}: {link} is no section")));
    complaints
}

/// Scenarios and tests that are named and do not exist.
fn tests(runbook: &str, scenarios: &str, is_function: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    let named = runbook.split(TESTS).skip(1);
    for named in named.map(|rest| rest.split("\n\n").next().unwrap_or_default()) {
        let named = named.split_whitespace().collect::<Vec<_>>().join(" ");
        let quoted = named.split('"').skip(1).step_by(2);
        let unknown = quoted.filter(|name| !scenarios.contains(&format!("\"{name}\"")));
        complaints.extend(unknown.map(|name| format!("{RUNBOOK}: no scenario \"{name}\"")));
        let code: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        for pair in code.chunks(2) {
            let (name, path) = (pair[0], pair.get(1).copied().unwrap_or_default());
            if !is_function(path, name) {
                complaints.push(format!("{RUNBOOK}: {path} has no test {name}"));
            }
        }
    }
    complaints
}

#[test]
fn what_is_missing_or_differs_is_found() {
    let table =
        "\n## Alerts\n| [it is old](runbook.md#it-is-old) | `a{b=\"c\\|d\"}` | 5 min | x |\n";
    let rules = |expression: &str| {
        format!(
            "spec: {{groups: [{{rules: [{{expr: '{expression}', for: 5m, annotations: \
             {{summary: it is old, runbook_url: docs/runbook.md#it-is-old}}}}]}}]}}"
        )
    };
    let alerts = tabled(table);
    assert_eq!(alerts.len(), 1);
    assert!(compared(&alerts, &ruled(&rules("a{b=\"c|d\"}"))).is_empty());
    assert_eq!(compared(&alerts, &ruled(&rules("a > 1"))).len(), 2);
    let whole = format!("\n## It is old\n{}", PARTS.join(" x "));
    assert!(sections(&alerts, &whole).is_empty());
    assert_eq!(sections(&alerts, "").len(), 1, "no section");
    assert_eq!(sections(&alerts, &format!("{whole}\n## Else\n{}", PARTS.join(" "))).len(), 1);
    assert_eq!(sections(&alerts, "\n## It is old\n**Do:** x").len(), 3, "no parts");
    let named = "**Seen to work:** scenario \"all\nis lost\"; `f` (`a.rs`).\n\nmore \"text\"";
    let is_function = |path: &str, name: &str| path == "a.rs" && name == "f";
    assert!(tests(named, "(\"all is lost\")", is_function).is_empty());
    assert_eq!(tests(named, "", |_, _| false).len(), 2);
}
