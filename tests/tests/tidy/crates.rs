//! Which crate of ours may know which; who may know a database driver stands in deny.toml. The
//! edges are those of ARCHITECTURE.md: everything but the kernel may use the contract (`proto`),
//! and the tool and the tests run the whole system, so they may use all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::repository::{Source, root};

/// A crate and every crate of ours that it may link: the table and the picture of ARCHITECTURE.md,
/// which `architecture.rs` compares with this.
pub const ALLOWED: [(&str, &[&str]); 14] = [
    ("headwater-proto", &[]),
    ("headwater-kernel", &[]),
    ("headwater-eventlog", &["kernel"]),
    ("headwater-edge", &["kernel", "proto"]),
    ("headwater-chassis", &["edge"]),
    ("headwater-codegen", &["proto"]),
    ("headwater-command-svc", &["kernel", "eventlog", "edge", "chassis", "proto"]),
    ("headwater-query-svc", &["kernel", "eventlog", "edge", "chassis", "proto"]),
    ("headwater-projector", &["kernel", "eventlog", "chassis"]),
    ("headwater-router", &["edge", "chassis"]),
    ("headwater-domain-proto", &["edge", "proto"]),
    ("headwater-domain-model", &["kernel", "domain-proto"]),
    (
        "headwater-domain-api",
        &[
            "kernel",
            "edge",
            "chassis",
            "proto",
            "command-svc",
            "query-svc",
            "projector",
            "router",
            "domain-proto",
            "domain-model",
        ],
    ),
    ("headwater-domain-load", &["edge", "chassis", "proto", "domain-proto"]),
];
/// The crates under `domain/`, as code names them.
const DOMAIN: [&str; 4] = [
    "headwater_domain_proto",
    "headwater_domain_model",
    "headwater_domain_api",
    "headwater_domain_load",
];
/// Programs: each stands on the chassis.
const PROGRAMS: [&str; 6] = [
    "headwater-command-svc",
    "headwater-query-svc",
    "headwater-projector",
    "headwater-router",
    "headwater-domain-api",
    "headwater-cli",
];
/// May use everything.
pub const FREE: [&str; 5] =
    ["headwater-cli", "headwater-testkit", "headwater-tests", "headwater-previous", "counter"];

/// Crates of ours, and the crates each of them links (not those it is only built or tested with).
pub type Members = BTreeMap<String, BTreeSet<String>>;

/// The workspace, as cargo sees it.
pub fn members() -> Members {
    let metadata = metadata(&["--no-deps"]);
    let packages = metadata["packages"].as_array().expect("packages");
    let links = |package: &Value| {
        let dependencies = package["dependencies"].as_array().expect("dependencies");
        let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
        normal.map(|dependency| text(&dependency["name"])).collect()
    };
    packages.iter().map(|package| (text(&package["name"]), links(package))).collect()
}

/// `cargo metadata`, which resolves nothing anew and asks nobody.
pub fn metadata(arguments: &[&str]) -> Value {
    let output = cargo(&[&["metadata", "--offline", "--format-version", "1"], arguments].concat());
    serde_json::from_str(&output).expect("JSON")
}

/// Every crate that a crate of ours links, directly or not.
pub fn linked(krate: &str) -> BTreeSet<String> {
    let tree = cargo(&["tree", "--offline", "-e", "normal", "--prefix", "none", "-p", krate]);
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output();
    let output = output.expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

/// Edges that are not allowed, and those that are missing.
pub fn edges(members: &Members) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let mut complaints = Vec::new();
    for (krate, dependencies) in members {
        let Some(allowed) = allowed.get(krate.as_str()) else {
            if !FREE.contains(&krate.as_str()) {
                complaints.push(format!("{krate}: say in tidy/crates.rs what it may depend on"));
            }
            continue;
        };
        let ours = dependencies.iter().filter_map(|name| name.strip_prefix("headwater-"));
        complaints.extend(ours.filter(|name| !allowed.contains(name)).map(|name| {
            format!("{krate} must not know headwater-{name}: see \"Crates\" in ARCHITECTURE.md")
        }));
    }
    let bare = PROGRAMS.iter().filter(|program| {
        members.get(**program).is_none_or(|links| !links.contains("headwater-chassis"))
    });
    complaints.extend(bare.map(|program| {
        format!("{program} must run on headwater-chassis: configuration, telemetry and shutdown")
    }));
    complaints
}

/// Places that name the domain outside of `domain/`, the tool and tests.
pub fn domain_is_named(sources: &[Source]) -> Vec<String> {
    let outside = sources.iter().filter(|source| {
        let (krate, _) = source.crate_and_rest();
        !(krate == "cli" || source.path.starts_with("domain/") || source.is_test())
    });
    outside
        .flat_map(|source| {
            let named = DOMAIN.iter().flat_map(|name| source.code.find_in_program(name));
            named.map(move |at| {
                format!(
                    "{}:{}: the domain is named only under domain/, by the tool and by tests; \
                     pass what is needed in as data or as a type parameter",
                    source.path, source.code.tokens[at].line
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_or_missing_edge_is_found() {
        let check = |krate: &str, links: &[&str], found: usize| {
            let chassis = || BTreeSet::from(["headwater-chassis".to_owned()]);
            let mut members: Members =
                PROGRAMS.iter().map(|program| ((*program).to_owned(), chassis())).collect();
            let links = links.iter().map(|name| (*name).to_owned()).collect();
            members.insert(krate.to_owned(), links);
            assert_eq!(edges(&members).len(), found, "{krate} -> {members:?}");
        };
        check("headwater-domain-model", &["headwater-kernel", "headwater-domain-proto", "time"], 0);
        check("headwater-domain-model", &["headwater-eventlog"], 1);
        check("headwater-kernel", &["headwater-proto"], 1);
        check("headwater-router", &["headwater-chassis", "headwater-kernel"], 1);
        check("headwater-router", &["headwater-edge"], 1);
        check("headwater-query-svc", &["headwater-chassis", "headwater-domain-model"], 1);
        check("headwater-tests", &["headwater-cli"], 0);
        check("headwater-novelty", &[], 1);
    }

    #[test]
    fn the_domain_is_found_where_it_is_named() {
        let check = |path: &str, text: &str, found: usize| {
            assert_eq!(domain_is_named(&[Source::new(path, text)]).len(), found, "{path}");
        };
        let used = "use headwater_domain_model::User;";
        check("query-svc/src/nodes/pool.rs", used, 1);
        check("query-svc/src/nodes/pool.rs", "use headwater_domain_api::PROJECTION;", 1);
        check("query-svc/src/nodes/pool.rs", "// headwater_domain_model is not known here", 0);
        check("query-svc/src/nodes/pool.rs", &format!("#[cfg(test)] mod t {{ {used} }}"), 0);
        check("lib/edge/src/query.rs", used, 1);
        check("router/src/main.rs", used, 1);
        check("domain/api/src/commands/users.rs", used, 0);
        check("cli/src/migrate.rs", used, 0);
    }
}
