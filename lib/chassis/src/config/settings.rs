//! Reads settings one by one, and remembers what was wrong.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::args::{Args, Question};
use super::errors::ConfigErrors;
use super::secret::Secret;
use super::setting::{PREFIX, Setting, flag_of};

/// Reads a program's settings, one call for each, and remembers what was wrong.
///
/// Every getter gives `None` after recording a mistake, so that a program reads all of its settings
/// before it looks at any. Settings that are asked for are the ones that `--help` and
/// `--print-config` list.
pub struct Settings {
    program: &'static str,
    vars: BTreeMap<String, String>,
    flags: BTreeMap<String, String>,
    question: Option<Question>,
    mistakes: Vec<String>,
    known: Vec<Setting>,
}

impl Settings {
    /// From the process's environment and arguments.
    pub fn from_process(program: &'static str) -> Self {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
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
        let Args { flags, question, mistakes } = Args::read(args.into_iter());
        Self { program, vars: ours.collect(), flags, question, mistakes, known: Vec::new() }
    }

    /// A setting that must have a value: the given one, or the default. `None` if it is missing or
    /// malformed.
    pub fn get<T>(
        &mut self,
        name: &'static str,
        default: Option<&str>,
        help: &'static str,
    ) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.text(Setting::new(name, default, help))?;
        self.parsed(name, &text)
    }

    /// A setting that may be unset (or empty): then `Some(None)`. `None` if it is malformed.
    pub fn optional<T>(&mut self, name: &'static str, help: &'static str) -> Option<Option<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        match self.given(Setting::new(name, Some(""), help)) {
            None => Some(None),
            Some(text) => self.parsed(name, &text).map(Some),
        }
    }

    /// A number in a range.
    pub fn in_range<T>(
        &mut self,
        name: &'static str,
        default: &str,
        range: RangeInclusive<T>,
        help: &'static str,
    ) -> Option<T>
    where
        T: FromStr + PartialOrd + Display + Copy,
        T::Err: Display,
    {
        let (least, most) = (*range.start(), *range.end());
        let mut setting = Setting::new(name, Some(default), help);
        setting.help = format!("{help} ({least} to {most})");
        let text = self.text(setting)?;
        let value = self.parsed(name, &text)?;
        if !range.contains(&value) {
            self.mistake(name, format!("must be from {least} to {most}, not {value}"));
            return None;
        }
        Some(value)
    }

    /// Values separated by commas; at least one.
    pub fn list<T>(
        &mut self,
        name: &'static str,
        default: Option<&str>,
        help: &'static str,
    ) -> Option<Vec<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.text(Setting::new(name, default, help))?;
        let values: Vec<Option<T>> =
            parts(&text).into_iter().map(|part| self.parsed(name, part)).collect();
        if values.is_empty() {
            self.mistake(name, "needs at least one value");
            return None;
        }
        values.into_iter().collect()
    }

    /// A value that is never shown. Better given by the environment: flags can be read by other
    /// users of a machine.
    pub fn secret(
        &mut self,
        name: &'static str,
        default: Option<&str>,
        help: &'static str,
    ) -> Option<Secret> {
        let setting = Setting { secret: true, ..Setting::new(name, default, help) };
        self.text(setting).map(Secret::new)
    }

    /// A value that is never shown, and may be unset.
    pub fn optional_secret(&mut self, name: &'static str, help: &'static str) -> Option<Secret> {
        let setting = Setting { secret: true, ..Setting::new(name, Some(""), help) };
        self.given(setting).map(Secret::new)
    }

    /// Secrets separated by commas; at least one.
    pub fn secrets(
        &mut self,
        name: &'static str,
        default: Option<&str>,
        help: &'static str,
    ) -> Option<Vec<Secret>> {
        let all = self.secret(name, default, help)?;
        let values: Vec<Secret> = parts(all.expose()).into_iter().map(Secret::new).collect();
        if values.is_empty() {
            self.mistake(name, "needs at least one value");
            return None;
        }
        Some(values)
    }

    /// Milliseconds; the name ends in `_MS` or `_MS_MAX`.
    pub fn millis(
        &mut self,
        name: &'static str,
        default: &str,
        range: RangeInclusive<u64>,
        help: &'static str,
    ) -> Option<Duration> {
        let in_millis = name.ends_with("_MS") || name.ends_with("_MS_MAX");
        assert!(in_millis, "{name} is in milliseconds, so its name says _MS");
        self.in_range(name, default, range, help).map(Duration::from_millis)
    }

    /// Records a mistake that only the program can see, such as two settings that exclude each
    /// other. The value must not be part of the text if it is a secret.
    pub fn mistake(&mut self, name: &'static str, problem: impl Display) {
        self.mistakes.push(format!("{name} (--{}): {problem}", flag_of(name)));
    }

    /// The configuration, if there was no mistake. Answers `--help` and `--print-config`, and exits
    /// then.
    ///
    /// # Errors
    /// Every mistake in one text.
    pub fn finish<C>(self, config: Option<C>) -> Result<C, ConfigErrors> {
        if let Some(answer) = self.answer() {
            println!("{answer}");
            std::process::exit(0);
        }
        let unknown = self.unknown_vars();
        if !unknown.is_empty() {
            eprintln!("{}: warning: unknown settings: {}", self.program, unknown.join(", "));
        }
        self.result(config)
    }

    fn result<C>(mut self, config: Option<C>) -> Result<C, ConfigErrors> {
        let known = |flag: &str| self.known.iter().any(|setting| flag_of(setting.name) == *flag);
        let unknown = self.flags.keys().filter(|flag| !known(flag));
        let unknown = unknown.map(|flag| format!("--{flag} is not a flag of this program"));
        self.mistakes.extend(unknown.collect::<Vec<_>>());
        match config {
            Some(config) if self.mistakes.is_empty() => Ok(config),
            _ => Err(ConfigErrors::new(self.program, self.mistakes)),
        }
    }

    fn unknown_vars(&self) -> Vec<&str> {
        let known = |name: &str| self.known.iter().any(|setting| setting.name == name);
        self.vars.keys().map(String::as_str).filter(|name| !known(name)).collect()
    }

    fn answer(&self) -> Option<String> {
        Some(match self.question? {
            Question::Help => self.help(),
            Question::PrintConfig => self.print_config(),
        })
    }

    fn help(&self) -> String {
        let settings: String = self.known.iter().map(Setting::help).collect();
        format!(
            "{}: settings (variable or flag; the flag wins)\n{settings}\n  \
             --help          prints this\n  --print-config  prints the settings as JSON",
            self.program
        )
    }

    fn print_config(&self) -> String {
        format!("{:#}", self.known.iter().map(Setting::json).collect::<serde_json::Value>())
    }

    /// The given value or the default; records that it is missing.
    fn text(&mut self, setting: Setting) -> Option<String> {
        let (name, default) = (setting.name, setting.default.clone());
        let text = self.given(setting).or(default.filter(|default| !default.is_empty()));
        if text.is_none() {
            self.mistake(name, "is required");
        }
        text
    }

    /// The given value, if it is not empty.
    fn given(&mut self, setting: Setting) -> Option<String> {
        let name = setting.name;
        assert!(name.starts_with(PREFIX), "{name}: names of settings start with {PREFIX}");
        assert!(self.known.iter().all(|known| known.name != name), "{name} is read twice");
        self.known.push(setting);
        let flag = self.flags.get(&flag_of(name));
        flag.or_else(|| self.vars.get(name)).filter(|text| !text.is_empty()).cloned()
    }

    fn parsed<T>(&mut self, name: &'static str, text: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        match text.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistake(name, format!("{text:?} is not valid: {error}"));
                None
            }
        }
    }
}

fn parts(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arg: &str) -> String {
        let args = ["--batch-max", "nonsense", arg].map(str::to_owned);
        let mut settings = Settings::from_parts("program", [], args);
        settings.in_range::<u16>("HEADWATER_BATCH_MAX", "10", 1..=100, "a size");
        settings.get::<String>("HEADWATER_NAME", None, "a name");
        settings.optional::<String>("HEADWATER_CITY", "a city");
        settings.secret("HEADWATER_KEY", Some("hunter2"), "a key");
        settings.answer().expect("an answer")
    }

    #[test]
    fn help_names_every_setting() {
        let text = asked("--help");
        for expected in [
            "HEADWATER_BATCH_MAX, --batch-max VALUE  [default 10]\n      a size (1 to 100)",
            "HEADWATER_NAME, --name VALUE  [required]\n      a name",
            "HEADWATER_CITY, --city VALUE  [unset]",
            "HEADWATER_KEY, --key VALUE  [default ***]",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn print_config_is_json_of_every_setting() {
        let expected = serde_json::json!([
            { "name": "HEADWATER_BATCH_MAX", "default": "10", "help": "a size (1 to 100)",
              "secret": false },
            { "name": "HEADWATER_NAME", "default": null, "help": "a name", "secret": false },
            { "name": "HEADWATER_CITY", "default": "", "help": "a city", "secret": false },
            { "name": "HEADWATER_KEY", "default": null, "help": "a key", "secret": true },
        ]);
        let printed: serde_json::Value = asked("--print-config").parse().expect("JSON");
        assert_eq!(printed, expected);
    }

    #[test]
    fn unknown_variables_are_only_told() {
        let var = |name: &str| (name.to_owned(), "1".to_owned());
        let vars = [var("HEADWATER_BATCH_MAX"), var("HEADWATER_OTHER"), var("PATH")];
        let mut settings = Settings::from_parts("program", vars, []);
        let size = settings.get::<u16>("HEADWATER_BATCH_MAX", None, "a size");
        assert_eq!(settings.unknown_vars(), ["HEADWATER_OTHER"]);
        assert_eq!(settings.result(size), Ok(1));
    }
}
