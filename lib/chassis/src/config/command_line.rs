//! The command line, parsed by clap; every mistake in it, where clap stops at the first one.

use std::collections::BTreeMap;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::setting::{Setting, flag_of};

const PRINT_CONFIG: &str = "print-config";
const LOOSE: &str = "loose";

/// Settings and questions of a command line.
#[derive(Default)]
pub(super) struct CommandLine {
    /// Values by the name of their setting.
    pub flags: BTreeMap<&'static str, String>,
    pub question: Option<Question>,
    pub mistakes: Vec<String>,
}

/// Question that the command line asks instead of a run.
pub(super) enum Question {
    /// `--help` or `--version`, with clap's answer.
    About(clap::Error),
    PrintConfig,
}

impl CommandLine {
    /// Parses the arguments (without the program's name). Of a mistake that clap stops at, the flag
    /// is taken out of the arguments and the rest is parsed again, until clap reads all of it.
    pub(super) fn parse(mut command: Command, known: &[Setting], mut args: Vec<String>) -> Self {
        let mut mistakes = Vec::new();
        loop {
            match command.try_get_matches_from_mut(&args) {
                Ok(matches) => {
                    let mut read = Self { mistakes, ..Self::default() };
                    read.take(&matches, known);
                    return read;
                }
                Err(answer) if !answer.use_stderr() => {
                    let question = Some(Question::About(answer));
                    return Self { question, mistakes, ..Self::default() };
                }
                Err(error) => {
                    let flag = named(&error, ContextKind::InvalidArg);
                    mistakes.push(mistake(&error, &flag));
                    remove(&mut args, &flag);
                }
            }
        }
    }

    fn take(&mut self, matches: &ArgMatches, known: &[Setting]) {
        if matches.get_flag(PRINT_CONFIG) {
            self.question = Some(Question::PrintConfig);
        }
        for setting in known {
            // Variables and defaults have no part in it: they are looked up when there is no flag.
            if matches.value_source(setting.name) != Some(ValueSource::CommandLine) {
                continue;
            }
            let mut values = matches.get_raw(setting.name).into_iter().flatten();
            let value = values.next().unwrap_or_default().to_string_lossy();
            self.flags.insert(setting.name, value.into_owned());
            if values.next().is_some() {
                self.mistakes.push(format!("--{} is given twice", flag_of(setting.name)));
            }
        }
        for loose in matches.get_raw(LOOSE).into_iter().flatten() {
            let word = first_word(&loose.to_string_lossy());
            self.mistakes.push(format!("{word:?} is not a flag: only --name VALUE is understood"));
        }
    }
}

/// The command line of a program with these settings.
pub(super) fn command(program: &'static str, about: &'static str, known: &[Setting]) -> Command {
    let print_config = Arg::new(PRINT_CONFIG)
        .long(PRINT_CONFIG)
        .action(ArgAction::SetTrue)
        .help("Print the settings as JSON");
    let loose = Arg::new(LOOSE).hide(true).action(ArgAction::Append).num_args(0..);
    Command::new(program)
        .no_binary_name(true)
        .version(env!("CARGO_PKG_VERSION"))
        .about(about)
        .after_help(
            "A flag wins over its variable, a variable over the default. One that is empty counts \
             as not given. Secrets are better given by variables: other users of a machine can \
             read flags.",
        )
        .max_term_width(100)
        .next_line_help(true)
        .args(known.iter().map(Setting::arg))
        .args([print_config, loose])
}

/// One sentence, without any value: it may be a secret.
fn mistake(error: &clap::Error, flag: &str) -> String {
    match error.kind() {
        ErrorKind::UnknownArgument => match &*named(error, ContextKind::SuggestedArg) {
            "" => format!("{flag} is not a flag of this program"),
            similar => format!("{flag} is not a flag of this program; {similar} is"),
        },
        ErrorKind::InvalidValue => format!("{flag} needs a value"),
        other => format!("{flag}: {other}"),
    }
}

/// The flag that an error names, without the name of its value.
fn named(error: &clap::Error, context: ContextKind) -> String {
    match error.get(context) {
        Some(ContextValue::String(text)) => text.split(' ').next().unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

/// Removes a flag, and its value if that stands in an argument of its own. Removes something
/// always, so that parsing again comes to an end.
fn remove(args: &mut Vec<String>, flag: &str) {
    let is_short = !flag.starts_with("--");
    let is_it = |arg: &String| match arg.strip_prefix(flag) {
        Some(rest) => rest.is_empty() || rest.starts_with('=') || is_short,
        None => false,
    };
    // The last one: of two, it is the one that may lack a value.
    let Some(at) = args.iter().rposition(is_it) else { return args.clear() };
    let has_value = args[at] == flag && args.get(at + 1).is_some_and(|arg| !arg.starts_with('-'));
    args.drain(at..=at + usize::from(has_value));
}

/// The start of an argument up to what may be a password: a word is shown whole, a URL by its
/// scheme.
fn first_word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    match text.find(|c| !is_plain(c)) {
        Some(end) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
