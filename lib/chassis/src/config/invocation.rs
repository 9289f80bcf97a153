//! Invocation of a program: its variables and its arguments.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::command_line::{CommandLine, Question, command};
use super::errors::ConfigErrors;
use super::setting::{PREFIX, Setting};
use super::settings::Settings;

/// Variables and arguments that a program was started with: the source of its settings.
pub struct Invocation {
    program: &'static str,
    vars: BTreeMap<String, String>,
    args: Vec<String>,
}

/// Result of reading an invocation.
enum Outcome<C> {
    Config(C),
    About(clap::Error),
    PrintConfig(serde_json::Value),
}

impl Invocation {
    /// From the process's environment and arguments.
    pub fn from_process(program: &'static str) -> Self {
        let lossy = |text: OsString| text.to_string_lossy().into_owned();
        let vars = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value)));
        Self::from_parts(program, vars, std::env::args_os().skip(1).map(lossy))
    }

    /// From the given variables and arguments (without the program's name); for tests.
    pub fn from_parts(
        program: &'static str,
        vars: impl IntoIterator<Item = (String, String)>,
        args: impl IntoIterator<Item = String>,
    ) -> Self {
        let ours = vars.into_iter().filter(|(name, _)| name.starts_with(PREFIX));
        Self { program, vars: ours.collect(), args: args.into_iter().collect() }
    }

    /// The configuration that `read` makes of the settings, if there was no mistake. Answers
    /// `--help`, `--version` and `--print-config`, and exits then.
    ///
    /// `read` is called twice, and asks for the same settings both times, whatever they hold.
    ///
    /// # Errors
    /// Every mistake in one text.
    pub fn read<C>(
        self,
        about: &'static str,
        read: impl Fn(&mut Settings) -> Option<C>,
    ) -> Result<C, ConfigErrors> {
        match self.outcome(about, read)? {
            Outcome::Config(config) => Ok(config),
            Outcome::About(answer) => answer.exit(),
            Outcome::PrintConfig(settings) => {
                println!("{settings:#}");
                std::process::exit(0);
            }
        }
    }

    fn outcome<C>(
        self,
        about: &'static str,
        read: impl Fn(&mut Settings) -> Option<C>,
    ) -> Result<Outcome<C>, ConfigErrors> {
        let known = declared(&read);
        let CommandLine { flags, question, mistakes } =
            CommandLine::parse(command(self.program, about, &known), &known, self.args);
        match question {
            Some(Question::About(answer)) => return Ok(Outcome::About(answer)),
            Some(Question::PrintConfig) => {
                return Ok(Outcome::PrintConfig(known.iter().map(Setting::json).collect()));
            }
            None => {}
        }
        let unknown = unknown(&self.vars, &known);
        if !unknown.is_empty() {
            eprintln!("{}: warning: unknown settings: {}", self.program, unknown.join(", "));
        }
        let mut settings = Settings::new(self.vars, flags, mistakes);
        let config = read(&mut settings);
        for Setting { name, .. } in &settings.known {
            let is_declared = known.iter().any(|declared| declared.name == *name);
            assert!(is_declared, "{name} is asked for only if another setting has some value");
        }
        match config {
            Some(config) if settings.mistakes.is_empty() => Ok(Outcome::Config(config)),
            _ => Err(ConfigErrors::new(self.program, settings.mistakes)),
        }
    }
}

/// The settings that a program asks for, found by reading them with nothing given.
fn declared<C>(read: impl Fn(&mut Settings) -> Option<C>) -> Vec<Setting> {
    let mut blank = Settings::default();
    read(&mut blank);
    blank.known
}

fn unknown<'v>(vars: &'v BTreeMap<String, String>, known: &[Setting]) -> Vec<&'v str> {
    let is_known = |name: &str| known.iter().any(|setting| setting.name == name);
    vars.keys().map(String::as_str).filter(|name| !is_known(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(args: &[&str]) -> Outcome<()> {
        let args = ["--batch-max", "nonsense"].iter().chain(args).map(|arg| (*arg).to_owned());
        let invocation = Invocation::from_parts("program", [], args);
        let outcome = invocation.outcome("Does something", |s| {
            s.group("Limits");
            s.in_range::<u16>("HEADWATER_BATCH_MAX", "10", 1..=100, "a size");
            s.group("Names");
            s.get::<String>("HEADWATER_NAME", None, "a name");
            s.optional::<String>("HEADWATER_CITY", "a city");
            s.secret("HEADWATER_KEY", Some("hunter2"), "a key");
            None
        });
        outcome.expect("an answer, in spite of mistakes")
    }

    fn about(args: &[&str]) -> String {
        match asked(args) {
            Outcome::About(answer) => answer.to_string(),
            _ => panic!("{args:?} is a question"),
        }
    }

    #[test]
    fn help_names_every_setting() {
        let text = about(&["--help"]);
        for expected in [
            "Does something\n\nUsage: program [OPTIONS]\n\nOptions:\n",
            "\n\nLimits:\n      --batch-max <NUMBER>\n          \
             A size (1 to 100) [env: HEADWATER_BATCH_MAX] [default: 10]\n",
            "\n\nNames:\n      --name <VALUE>\n          A name [required] [env: HEADWATER_NAME]\n",
            "      --city <VALUE>\n          A city [env: HEADWATER_CITY]\n",
            "      --key <SECRET>\n          A key [env: HEADWATER_KEY] [default: ***]\n",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert!(!text.contains("hunter2"));
        assert_eq!(about(&["--nmae", "x", "-h"]), text, "a mistake before it hides no answer");
    }

    #[test]
    fn the_version_is_that_of_the_build() {
        let version = format!("program {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!([about(&["--version"]), about(&["-V"])], [version.clone(), version]);
    }

    #[test]
    fn print_config_is_json_of_every_setting() {
        let expected = serde_json::json!([
            { "name": "HEADWATER_BATCH_MAX", "flag": "--batch-max", "group": "Limits",
              "default": "10", "help": "a size (1 to 100)", "secret": false },
            { "name": "HEADWATER_NAME", "flag": "--name", "group": "Names",
              "default": null, "help": "a name", "secret": false },
            { "name": "HEADWATER_CITY", "flag": "--city", "group": "Names",
              "default": "", "help": "a city", "secret": false },
            { "name": "HEADWATER_KEY", "flag": "--key", "group": "Names",
              "default": null, "help": "a key", "secret": true },
        ]);
        let Outcome::PrintConfig(printed) = asked(&["--print-config"]) else {
            panic!("--print-config is a question")
        };
        assert_eq!(printed, expected);
    }

    #[test]
    fn unknown_variables_are_only_told() {
        let var = |name: &str| (name.to_owned(), "1".to_owned());
        let vars = [var("HEADWATER_BATCH_MAX"), var("HEADWATER_OTHER"), var("PATH")];
        let invocation = Invocation::from_parts("program", vars, []);
        let read = |s: &mut Settings| s.get::<u16>("HEADWATER_BATCH_MAX", None, "a size");
        assert_eq!(unknown(&invocation.vars, &declared(read)), ["HEADWATER_OTHER"]);
        assert_eq!(invocation.read("", read), Ok(1));
    }

    #[test]
    #[should_panic(expected = "HEADWATER_CITY is asked for only if another setting has some value")]
    fn a_setting_that_only_some_values_ask_for_is_our_defect() {
        let name = ("HEADWATER_NAME".to_owned(), "x".to_owned());
        let _ = Invocation::from_parts("program", [name], []).read("", |s| {
            s.get::<String>("HEADWATER_NAME", None, "a name")?;
            s.optional::<String>("HEADWATER_CITY", "a city")
        });
    }
}
