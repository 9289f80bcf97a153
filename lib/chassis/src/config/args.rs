//! The command line: `--name VALUE`, `--name=VALUE`, and two questions.

use std::collections::BTreeMap;

/// What a command line says.
#[derive(Default)]
pub(super) struct Args {
    /// Values by flag, without the dashes.
    pub flags: BTreeMap<String, String>,
    pub question: Option<Question>,
    pub mistakes: Vec<String>,
}

/// What the command line asks for instead of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Help,
    PrintConfig,
}

impl Args {
    pub(super) fn read(args: impl Iterator<Item = String>) -> Self {
        let mut read = Self::default();
        let mut args = args.peekable();
        while let Some(arg) = args.next() {
            match arg.strip_prefix("--") {
                Some("help") => read.question = Some(Question::Help),
                Some("print-config") => read.question = Some(Question::PrintConfig),
                Some(flag) => {
                    let (flag, value) = match flag.split_once('=') {
                        Some((flag, value)) => (flag, Some(value.to_owned())),
                        None => (flag, args.next_if(|next| !next.starts_with("--"))),
                    };
                    read.flag(flag, value);
                }
                None => read
                    .mistakes
                    .push(format!("{arg:?} is not a flag: only --name VALUE is understood")),
            }
        }
        read
    }

    fn flag(&mut self, flag: &str, value: Option<String>) {
        let Some(value) = value else {
            self.mistakes.push(format!("--{flag} needs a value"));
            return;
        };
        if self.flags.insert(flag.to_owned(), value).is_some() {
            self.mistakes.push(format!("--{flag} is given twice"));
        }
    }
}
