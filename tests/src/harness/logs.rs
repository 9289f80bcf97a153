//! Logs of the programs: a test fails on a warning or an error that it did not declare.

use std::path::Path;

use serde_json::Value;

/// Lines of a program's log that a person would have to look at, without those that were expected.
pub fn alarming(log: &Path, expected: &[String]) -> Vec<String> {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let is_expected = |line: &&str| expected.iter().any(|words| line.contains(words.as_str()));
    let lines = text.lines().filter(|line| is_alarming(line) && !is_expected(line));
    lines.map(str::to_owned).collect()
}

/// WARN, ERROR, and whatever was not written by the logger: a panic, or words of a library.
fn is_alarming(line: &str) -> bool {
    match serde_json::from_str::<Value>(line) {
        Ok(entry) => matches!(entry["level"].as_str(), Some("WARN" | "ERROR") | None),
        Err(_) => !line.trim().is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_stray_lines_are_told_apart() {
        let cases = [
            (r#"{"level":"INFO","fields":{"message":"an ERROR of somebody's"}}"#, false),
            (r#"{"level":"WARN","fields":{"message":"slow"}}"#, true),
            (r#"{"level":"ERROR"}"#, true),
            ("thread 'main' panicked at src/main.rs:1:1:", true),
            ("", false),
        ];
        for (line, expected) in cases {
            assert_eq!(is_alarming(line), expected, "{line}");
        }
    }

    #[test]
    fn what_a_test_declares_is_let_pass() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("router.log");
        std::fs::write(&log, "{\"level\":\"WARN\",\"m\":\"upstream down\"}\nboom\n")
            .expect("a log");
        assert_eq!(alarming(&log, &[]).len(), 2);
        assert_eq!(alarming(&log, &["upstream down".to_owned()]), ["boom"]);
        assert!(alarming(&folder.path().join("none"), &[]).is_empty());
    }
}
