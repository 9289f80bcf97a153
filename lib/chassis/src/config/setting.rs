//! One setting: its names, and how it is listed for people and for programs.

pub(super) const PREFIX: &str = "HEADWATER_";

/// A setting that the program has asked for.
pub(super) struct Setting {
    pub name: &'static str,
    pub default: Option<String>,
    pub help: String,
    pub secret: bool,
}

impl Setting {
    pub(super) fn new(name: &'static str, default: Option<&str>, help: &str) -> Self {
        Self { name, default: default.map(str::to_owned), help: help.to_owned(), secret: false }
    }

    /// Its paragraph in `--help`.
    pub(super) fn help(&self) -> String {
        let default = match &self.default {
            None => "required".to_owned(),
            Some(default) if default.is_empty() => "unset".to_owned(),
            Some(_) if self.secret => "default ***".to_owned(),
            Some(default) => format!("default {default}"),
        };
        let (name, flag, help) = (self.name, flag_of(self.name), &self.help);
        format!("\n  {name}, --{flag} VALUE  [{default}]\n      {help}\n")
    }

    /// Its entry in `--print-config`.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "name": self.name,
            "default": if self.secret { None } else { self.default.as_deref() },
            "help": self.help,
            "secret": self.secret,
        })
    }
}

/// `HEADWATER_FOO_BAR` -> `foo-bar`.
pub(super) fn flag_of(name: &str) -> String {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    name.to_ascii_lowercase().replace('_', "-")
}
