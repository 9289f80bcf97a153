//! Configuration from environment and flags; every mistake is reported at once.
//!
//! A setting `HEADWATER_FOO_BAR` is also the flag `--foo-bar VALUE` (or `--foo-bar=VALUE`); the
//! flag wins. A variable that is set but empty counts as not set, since manifests cannot always
//! leave one out.

mod args;
mod errors;
mod secret;
mod setting;

mod settings;

mod common;

pub use common::{Common, LogFormat};
pub use errors::ConfigErrors;
pub use secret::Secret;
pub use settings::Settings;
