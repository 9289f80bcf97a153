//! `query-svc`: answers queries from the nodes of the read database.

use headwater_domain_api::{FILE_DESCRIPTOR_SET, PROJECTION, queries};

fn main() -> anyhow::Result<()> {
    headwater_query_svc::run_program(&[PROJECTION], FILE_DESCRIPTOR_SET, queries::routes)
}
