//! Hints for programs that fail, put so that a person can act on them.

/// The end of a text, each line indented.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = &lines[lines.len().saturating_sub(count)..];
    shown.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// Advice for failures that the tool's own words do not make plain.
pub(crate) fn hint(output: &str) -> &'static str {
    let hints = [
        ("No space left on device", "\nthe disk is full: make room, or choose another with --data"),
        ("Address already in use", "\nthe port is taken: see --port-base and --router-listen"),
        ("could not create shared memory", "\nthe system allows too little shared memory"),
    ];
    hints.iter().find(|(words, _)| output.contains(words)).map_or("", |(_, hint)| hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_shown_and_a_full_disk_recognised() {
        assert_eq!(last_lines("a\n\nb\nc\n", 2), "  b\n  c");
        assert_eq!(last_lines("a", 5), "  a");
        assert!(hint("PANIC: could not write: No space left on device").contains("disk is full"));
        assert_eq!(hint("something else"), "");
    }
}
