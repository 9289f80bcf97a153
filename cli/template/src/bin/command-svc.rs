//! Decides commands and appends their events.

use counter::{FILE_DESCRIPTOR_SET, commands};

fn main() -> anyhow::Result<()> {
    headwater_command_svc::run_program(FILE_DESCRIPTOR_SET, commands)
}
