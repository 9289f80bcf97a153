//! `command-svc`: decides commands and appends their events.

use headwater_domain_api::{FILE_DESCRIPTOR_SET, commands};

fn main() -> anyhow::Result<()> {
    headwater_command_svc::run_program(FILE_DESCRIPTOR_SET, commands::routes)
}
