//! Reads settings one by one, and remembers what was wrong.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::secret::Secret;
use super::setting::{PREFIX, Setting, flag_of};

/// Reads a program's settings, one call for each, and remembers what was wrong.
///
/// Every getter gives `None` after recording a mistake, so that a program reads all of its settings
/// before it looks at any. Settings that are asked for are the flags that the program has, and what
/// `--help` and `--print-config` list.
#[derive(Default)]
pub struct Settings {
    vars: BTreeMap<String, String>,
    flags: BTreeMap<&'static str, String>,
    group: Option<&'static str>,
    pub(super) mistakes: Vec<String>,
    pub(super) known: Vec<Setting>,
}

impl Settings {
    /// With variables, flags by the name of their setting, and what was wrong with the flags.
    pub(super) fn new(
        vars: BTreeMap<String, String>,
        flags: BTreeMap<&'static str, String>,
        mistakes: Vec<String>,
    ) -> Self {
        Self { vars, flags, mistakes, ..Self::default() }
    }

    /// The heading in `--help` of the settings that are asked for from here on.
    pub fn group(&mut self, heading: &'static str) {
        self.group = Some(heading);
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
        let help = format!("{help} ({least} to {most})");
        let value = if in_millis(name) { "MS" } else { "NUMBER" };
        let text = self.text(Setting { value, ..Setting::new(name, Some(default), &help) })?;
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
        let text = self.text(Setting { value: "LIST", ..Setting::new(name, default, help) })?;
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
        self.text(Setting::secret(name, default, help)).map(Secret::new)
    }

    /// A value that is never shown, and may be unset.
    pub fn optional_secret(&mut self, name: &'static str, help: &'static str) -> Option<Secret> {
        self.given(Setting::secret(name, Some(""), help)).map(Secret::new)
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
        assert!(in_millis(name), "{name} is in milliseconds, so its name says _MS");
        self.in_range(name, default, range, help).map(Duration::from_millis)
    }

    /// Records a mistake that only the program can see, such as two settings that exclude each
    /// other. The value must not be part of the text if it is a secret.
    pub fn mistake(&mut self, name: &'static str, problem: impl Display) {
        self.mistakes.push(format!("{name} (--{}): {problem}", flag_of(name)));
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
        self.known.push(Setting { group: self.group, ..setting });
        self.flags
            .get(name)
            .or_else(|| self.vars.get(name))
            .filter(|text| !text.is_empty())
            .cloned()
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

fn in_millis(name: &str) -> bool {
    name.ends_with("_MS") || name.ends_with("_MS_MAX")
}

fn parts(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect()
}
