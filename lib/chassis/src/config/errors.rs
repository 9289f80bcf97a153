//! All mistakes of a configuration, as one readable text.

use std::fmt;

/// Problems of a configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    program: &'static str,
    mistakes: Vec<String>,
}

impl ConfigErrors {
    pub(super) fn new(program: &'static str, mut mistakes: Vec<String>) -> Self {
        if mistakes.is_empty() {
            mistakes.push("the configuration is not complete".to_owned());
        }
        Self { program, mistakes }
    }

    /// One sentence for each mistake.
    pub fn mistakes(&self) -> &[String] {
        &self.mistakes
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (program, count) = (self.program, self.mistakes.len());
        let noun = if count == 1 { "mistake" } else { "mistakes" };
        writeln!(f, "{program}: {count} {noun} in the configuration")?;
        for mistake in &self.mistakes {
            writeln!(f, "  {mistake}")?;
        }
        write!(f, "{program} --help lists every setting")
    }
}

impl std::error::Error for ConfigErrors {}
