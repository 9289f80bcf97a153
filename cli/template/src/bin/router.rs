//! One address in front of the services.

fn main() -> anyhow::Result<()> {
    headwater_router::run_program(counter::FILE_DESCRIPTOR_SET)
}
