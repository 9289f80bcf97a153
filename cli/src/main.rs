//! `headwater` for the sample domain.

use std::process::ExitCode;

fn main() -> ExitCode {
    headwater_cli::run(headwater_cli::Domain::sample())
}
