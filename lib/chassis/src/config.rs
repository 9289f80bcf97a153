//! Configuration from environment and flags; every mistake is reported at once.
//!
//! A setting `HEADWATER_FOO_BAR` is also the flag `--foo-bar VALUE` (or `--foo-bar=VALUE`); the
//! flag wins. A variable that is set but empty counts as not set, since manifests cannot always
//! leave one out.
//!
//! A program declares its settings by reading them, in one function over [`Settings`].
//! [`Invocation::read`] runs that function twice: first with nothing given, which finds the flags
//! that clap is to parse and the help that it is to print, then with what was given.

mod errors;
mod secret;
mod setting;

mod command_line;
mod settings;

mod common;
mod invocation;

pub use common::{Common, LogFormat};
pub use errors::ConfigErrors;
pub use invocation::Invocation;
pub use secret::Secret;
pub use settings::Settings;
