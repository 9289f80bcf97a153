//! From what a person types to a text query of Postgres.

/// A `tsquery` that wants, for each word of the text, a word that begins with it; `None` without
/// any letter or digit.
///
/// Words are taken apart at blanks only and quoted, so that Postgres parses each as it parsed the
/// stored names (`St.Gallen` is one word to it), and nothing that is typed can act as an operator.
pub fn prefix_query(text: &str) -> Option<String> {
    let quoted = |word: &str| {
        let word = word.replace('\\', "\\\\").replace('\'', "''");
        format!("'{word}':*")
    };
    let words: Vec<String> = text
        .split_whitespace()
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .map(quoted)
        .collect();
    (!words.is_empty()).then(|| words.join(" & "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let table = [
            ("", None),
            ("  ", None),
            ("& | !", None),
            ("lake", Some("'lake':*")),
            (" Lake  side ", Some("'Lake':* & 'side':*")),
            ("O'Neil", Some("'O''Neil':*")),
            ("a\\b", Some("'a\\\\b':*")),
            ("a & b:*", Some("'a':* & 'b:*':*")),
            ("Zürich 9", Some("'Zürich':* & '9':*")),
        ];
        for (text, query) in table {
            assert_eq!(prefix_query(text).as_deref(), query, "{text:?}");
        }
    }
}
