//! `headwater new` makes a repository that builds, and whose tests pass on a real Postgres.
//!
//! A program of its own: it builds the platform anew for that repository, which takes minutes and
//! both cores, and must not stand beside tests that measure time.

mod walk;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository")
}

/// The tool, beside the folder of this program.
fn tool() -> PathBuf {
    let own = std::env::current_exe().expect("a program");
    own.parent().and_then(Path::parent).expect("two folders up").join("headwater")
}

fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn new(name: &str, path: &Path) -> (bool, String) {
    let headwater = repository().as_os_str();
    run(Command::new(tool())
        .args(["new", name, "--headwater"])
        .arg(headwater)
        .arg("--path")
        .arg(path))
}

#[test]
fn a_new_repository_builds_and_its_tests_pass() {
    let folder = TempDir::with_prefix("headwater-new").expect("a folder");
    let root = folder.path().join("line_item");
    let (made, text) = new("line_item", &root);
    assert!(made, "{text}");
    // The versions that this repository was tested with; nothing is fetched.
    std::fs::copy(repository().join("Cargo.lock"), root.join("Cargo.lock")).expect("copied");
    let target =
        tool().parent().and_then(Path::parent).expect("the target folder").join("newcomer");
    its_tests_pass(&root, &target);
    // As a newcomer goes on: one more view with a list, by the page.
    let begun = Instant::now();
    walk::one_more_view(&root, "line_item", "LineItem");
    its_tests_pass(&root, &target);
    println!("one more view, built and tested: {:.0} s", begun.elapsed().as_secs_f64());
}

fn its_tests_pass(root: &Path, target: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--offline"]).current_dir(root).env("CARGO_TARGET_DIR", target);
    // Not those of the cargo that runs this test.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG") || text.starts_with("CARGO_MANIFEST") {
            cargo.env_remove(&name);
        }
    }
    let (passed, text) = run(&mut cargo);
    assert!(passed, "{text}");
    assert!(text.contains("test a_command_becomes_an_event_becomes_a_row ... ok"), "{text}");
}

#[test]
fn what_cannot_be_made_is_refused_and_leaves_nothing() {
    let folder = TempDir::with_prefix("headwater-new").expect("a folder");
    let there = folder.path().join("there");
    std::fs::create_dir(&there).expect("a folder");
    let (made, text) = new("invoice", &there);
    assert!(!made && text.contains("is there already"), "{text}");
    let fresh = folder.path().join("fresh");
    let (made, text) = new("Line-Item", &fresh);
    assert!(!made && text.contains("cannot be a name"), "{text}");
    let mut command = Command::new(tool());
    let (made, text) =
        run(command.args(["new", "invoice", "--headwater", "/"]).arg("--path").arg(&fresh));
    assert!(!made && text.contains("does not hold the Headwater sources"), "{text}");
    assert!(!fresh.exists());
}
