//! What the programs say of themselves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A program of this build.
pub fn path(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("target/<profile>/deps");
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: cargo build --workspace --bins", path.display());
    path
}

/// Runs it with these variables and no others.
pub fn run(command: &[&str], args: &[&str], variables: &BTreeMap<String, String>) -> Output {
    let (name, own_args) = command.split_first().expect("a command");
    let mut command = Command::new(path(name));
    command.args(own_args).args(args).env_clear().envs(variables);
    command.output().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Names of its settings, with the defaults of those that have one and are no secrets.
pub fn settings(command: &[&str]) -> BTreeMap<String, Option<String>> {
    match command {
        ["headwater", ..] => of_tool(command),
        _ => of_service(command),
    }
}

fn of_service(command: &[&str]) -> BTreeMap<String, Option<String>> {
    let output = run(command, &["--print-config"], &BTreeMap::new());
    assert!(output.status.success(), "{command:?} --print-config: {output:?}");
    let settings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let default = |setting: &serde_json::Value| setting["default"].as_str().map(str::to_owned);
    let named = settings.iter().map(|setting| (setting["name"].as_str(), default(setting)));
    named.map(|(name, default)| (name.expect("a name").to_owned(), default)).collect()
}

/// The tool has no `--print-config`; its help names the variable of each option.
fn of_tool(command: &[&str]) -> BTreeMap<String, Option<String>> {
    let output = run(command, &["--help"], &BTreeMap::new());
    assert!(output.status.success(), "{command:?} --help: {output:?}");
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    // Lines are broken between any two words.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let names = help.split("[env: ").skip(1).map(|rest| {
        let name = rest.split(['=', ']']).next().expect("split gives one part at least");
        let default = rest.split_once("[default: ").map(|(_, default)| default);
        let is_its_own = |default: &&str| !default.contains("[env: ");
        let default = default.filter(is_its_own).and_then(|default| default.split(']').next());
        (name.to_owned(), default.map(str::to_owned))
    });
    names.collect()
}
