//! `router`: one address in front of the services.

fn main() -> anyhow::Result<()> {
    headwater_router::run_program(headwater_domain_api::FILE_DESCRIPTOR_SET)
}
