//! One setting: its names, and how it is listed for people and for programs.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction};

pub(super) const PREFIX: &str = "HEADWATER_";

/// A setting that the program has asked for.
pub(super) struct Setting {
    pub name: &'static str,
    pub default: Option<String>,
    pub help: String,
    pub secret: bool,
    /// Heading in `--help`.
    pub group: Option<&'static str>,
    /// Kind of its value, as `--help` names it.
    pub value: &'static str,
}

impl Setting {
    pub(super) fn new(name: &'static str, default: Option<&str>, help: &str) -> Self {
        Self {
            name,
            default: default.map(str::to_owned),
            help: help.to_owned(),
            secret: false,
            group: None,
            value: "VALUE",
        }
    }

    pub(super) fn secret(name: &'static str, default: Option<&str>, help: &str) -> Self {
        Self { secret: true, value: "SECRET", ..Self::new(name, default, help) }
    }

    /// Flag for clap, with its paragraph in `--help`.
    pub(super) fn arg(&self) -> Arg {
        let required = if self.default.is_none() { " [required]" } else { "" };
        let help = format!("{}{required}", capitalized(&self.help));
        let arg = Arg::new(self.name)
            .long(flag_of(self.name))
            .value_name(self.value)
            .help(help)
            .help_heading(self.group)
            // For the help: what the variable holds is read elsewhere, and may be a secret.
            .env(self.name)
            .hide_env_values(true)
            // Any text, any number of times: what is wrong with values is found after parsing, so
            // that all of it is reported.
            .value_parser(ValueParser::os_string())
            .action(ArgAction::Append)
            .allow_negative_numbers(true);
        match self.default.as_deref() {
            None | Some("") => arg,
            Some(_) if self.secret => arg.default_value("***"),
            Some(default) => arg.default_value(default.to_owned()),
        }
    }

    /// Entry in `--print-config`.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "name": self.name,
            "flag": format!("--{}", flag_of(self.name)),
            "group": self.group,
            "default": if self.secret { None } else { self.default.as_deref() },
            "help": self.help,
            "secret": self.secret,
        })
    }
}

/// With a capital letter first, as clap's own help has it.
fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(char::to_uppercase).into_iter().flatten().chain(letters).collect()
}

/// `HEADWATER_FOO_BAR` -> `foo-bar`.
pub(super) fn flag_of(name: &str) -> String {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    name.to_ascii_lowercase().replace('_', "-")
}
