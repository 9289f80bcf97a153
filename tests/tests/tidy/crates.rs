//! Which crate may know which: the edges of ARCHITECTURE.md, with two words of explanation.
//! Everything but the kernel may use the contract (`proto`), and the tool and the tests run the
//! whole system, so they may use all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::code::{line_of, words};
use super::repository::{Source, root};

/// A crate and every crate of ours it may depend on.
const ALLOWED: [(&str, &[&str]); 8] = [
    ("headwater-proto", &[]),
    ("headwater-kernel", &[]),
    ("headwater-eventlog", &["kernel"]),
    ("headwater-chassis", &["kernel", "proto"]),
    ("headwater-domain", &["kernel", "proto"]),
    ("headwater-command-svc", &["kernel", "eventlog", "chassis", "domain", "proto"]),
    ("headwater-query-svc", &["kernel", "eventlog", "chassis", "domain", "proto"]),
    ("headwater-router", &["chassis", "proto"]),
];
/// Programs: each stands on the chassis.
const PROGRAMS: [&str; 4] =
    ["headwater-command-svc", "headwater-query-svc", "headwater-router", "headwater-cli"];
/// May use everything.
const FREE: [&str; 2] = ["headwater-cli", "headwater-tests"];

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
            format!("{krate} must not know headwater-{name}: see \"Edges\" in ARCHITECTURE.md")
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

/// Places that name the domain and are not those a team replaces along with it: `main.rs`, `bin/`,
/// the gRPC adapters, the list of views, the tool, and tests.
pub fn domain_is_named(sources: &[Source]) -> Vec<String> {
    let outside = sources.iter().filter(|source| {
        let (krate, rest) = source.crate_and_rest();
        let adapter = rest == "src/grpc.rs" || rest.starts_with("src/grpc/");
        let composed = rest == "src/main.rs" || rest.starts_with("src/bin/");
        let views = (krate, rest) == ("query-svc", "src/views.rs");
        !(adapter || composed || views || matches!(krate, "cli" | "domain") || source.is_test())
    });
    outside
        .flat_map(|source| {
            let program = &source.code.program;
            words(program, "headwater_domain").map(move |at| {
                format!(
                    "{}:{}: only main.rs, bin/, grpc, views.rs and tests name the domain; pass \
                     what is needed in as data or as a type parameter",
                    source.path,
                    line_of(program, at)
                )
            })
        })
        .collect()
}

/// Database drivers among what a crate links.
pub fn drivers(krate: &str, linked: &BTreeSet<String>) -> Vec<String> {
    const DRIVERS: [&str; 5] = ["sqlx", "postgres", "tokio-postgres", "deadpool", "diesel"];
    let is_driver = |name: &&String| {
        DRIVERS.iter().any(|driver| {
            name.strip_prefix(driver).is_some_and(|end| end.is_empty() || end.starts_with('-'))
        })
    };
    linked
        .iter()
        .filter(is_driver)
        .map(|name| format!("{krate} links {name}: `cargo tree -p {krate} -i {name}` says why"))
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
        check("headwater-domain", &["headwater-kernel", "headwater-proto", "time"], 0);
        check("headwater-domain", &["headwater-eventlog"], 1);
        check("headwater-kernel", &["headwater-proto"], 1);
        check("headwater-router", &["headwater-chassis", "headwater-kernel"], 1);
        check("headwater-router", &["headwater-proto"], 1);
        check("headwater-tests", &["headwater-cli"], 0);
        check("headwater-novelty", &[], 1);
    }

    #[test]
    fn the_domain_is_found_where_it_is_named() {
        let check = |path: &str, text: &str, found: usize| {
            assert_eq!(domain_is_named(&[Source::new(path, text)]).len(), found, "{path}");
        };
        check("query-svc/src/pool.rs", "use headwater_domain::User;", 1);
        check("query-svc/src/pool.rs", "// headwater_domain is not known here", 0);
        check("query-svc/src/pool.rs", "#[cfg(test)] mod t { use headwater_domain::User; }", 0);
        check("query-svc/src/views.rs", "use headwater_domain::User;", 0);
        check("command-svc/src/views.rs", "use headwater_domain::User;", 1);
        check("command-svc/src/grpc/users.rs", "use headwater_domain::User;", 0);
        check("router/src/main.rs", "use headwater_domain::User;", 0);
    }

    #[test]
    fn drivers_are_known_by_their_names() {
        let names = ["sqlx-core", "postgres-types", "tokio-postgres", "tokio", "postgresque"];
        let linked = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(drivers("x", &linked).len(), 3);
    }
}
